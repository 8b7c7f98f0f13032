# -*- test-case-name: tests.service.test_explain_command -*-
"""The ``mqttsecure explain`` command for a denial, to be pasted from the log into a shell.

With an audit log it names the decision, and nothing in it comes from the network. Without one it says what was asked.
Then names that a client chose are in it: each is one quoted word, and with one that does not print, or is long, there
is no command at all.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mqttsecure.core.decisions import ConnectionFacts, Request, Stage

__all__ = ["explain_command"]

_LONGEST: Final = 256
"""Characters of one word: what people name topics and clients, not what an attacker fills logs with."""

_ACTIONS: Final = {Stage.PUBLISH: "publish", Stage.SUBSCRIBE: "subscribe", Stage.DELIVER: "receive"}
_VERSIONS: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}


def explain_command(request: Request, decision: str, config: Path, *, audited: bool) -> str | None:
    """The command, or None where there is none.

    Args:
        request: what was denied.
        decision: its id.
        config: of the broker.
        audited: whether the decision can be looked up.
    """
    if audited:
        return f"mqttsecure explain --id {shlex.quote(decision)} --config {shlex.quote(str(config))}"
    words = ["--config", str(config), *_words(request)] if _can_be_said(request) else []
    if not words or not all(word.isprintable() and len(word) <= _LONGEST for word in words):
        return None
    return shlex.join(["mqttsecure", "explain", *words])


def _can_be_said(request: Request) -> bool:
    """Whether options say all of it: a certificate can be named, and made up, but not shown, and no exchange typed."""
    facts = request.connection
    if request.stage is Stage.AUTHENTICATE and request.authentication_method is not None:
        return False
    shown = facts.tls is not None and facts.tls.peer_certificate is not None
    return not facts.attributes and (request.stage in _ACTIONS or request.stage is Stage.ACCEPT or not shown)


def _words(request: Request) -> Iterator[str]:
    # Each value is in one word with its option, so that none is taken for an option itself.
    facts = request.connection
    yield f"--listener={facts.listener}"
    yield f"--from={_peer(facts)}"
    if facts.tls is not None and facts.tls.version in ("TLSv1.2", "TLSv1.3"):
        yield f"--tls-version={facts.tls.version}"
        yield f"--cipher={facts.tls.cipher}"
    if request.stage in _ACTIONS and facts.principal is not None:
        yield f"--principal={facts.principal}"
        yield from (f"--group={group}" for group in sorted(facts.groups))
    elif facts.username is not None:
        yield f"--user={facts.username}"
    if facts.client_id:
        yield f"--client-id={facts.client_id}"
    if facts.protocol_version in _VERSIONS:
        yield f"--version={_VERSIONS[facts.protocol_version]}"
    yield from _action(request)


def _peer(facts: ConnectionFacts) -> str:
    if facts.peer.address is not None:
        return str(facts.peer.address)
    return "unix" if facts.peer.uid is None else f"unix:{facts.peer.uid}"


def _action(request: Request) -> Iterator[str]:
    if request.stage not in _ACTIONS:
        yield "connect"
        return
    if request.qos:
        yield f"--qos={request.qos}"
    if request.retain:
        yield "--retain"
    if request.payload:
        yield f"--size={len(request.payload)}"
    yield _ACTIONS[request.stage]
    yield "--"
    share = f"$share/{request.share_group}/" if request.share_group is not None else ""
    yield share + request.topic
