# -*- test-case-name: tests.service.test_report -*-
"""The log lines of the broker: one per connection event and per denial, with who, from where, what, and which rule."""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path

from twisted.logger import Logger

from mqttsecure.core.decisions import ConnectionFacts, Request, Stage
from mqttsecure.core.events import Connected, Denied, Disconnected, Dropped, Event, Throttled
from mqttsecure.service.explain_command import explain_command

__all__ = ["report"]

_log = Logger(namespace="mqttsecure")

_VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}


def report(events: list[Event], config: Path | None = None, *, audited: bool = False) -> None:
    """Write what happened to the log. Names from the network are escaped by the log itself.

    Args:
        events: what happened.
        config: the configuration of the broker, by which a denial can be explained.
        audited: whether there is an audit log in which it can be looked up.
    """
    for event in events:
        if isinstance(event, Denied):
            command = (
                None
                if config is None
                else explain_command(event.request, event.verdict.decision_id, config, audited=audited)
            )
            _tell_denial(event, command)
        else:
            _tell(event)


@singledispatch
def _tell(event: object) -> None:
    raise TypeError(f"no log line for {type(event).__name__}")


@_tell.register
def _(event: Connected) -> None:
    facts = event.facts
    _log.info(
        "{listener}: {principal} connected as {client_id!r} from {peer}, MQTT {version}, {tls}, {session}",
        listener=facts.listener,
        principal=str(facts.principal),
        client_id=facts.client_id,
        peer=str(facts.peer),
        version=_VERSIONS.get(facts.protocol_version, "?"),
        tls=_tls_of(facts),
        session="session resumed" if event.session_present else "new session",
    )


def _tell_denial(event: Denied, command: str | None) -> None:
    request, verdict = event.request, event.verdict
    facts = request.connection
    # The parts that there are, so that a program finds each under its name and a person reads no empty brackets.
    by = ["policy {policy}" if verdict.policy else "default deny"]
    by += ["rule {rule}"] if verdict.rule else []
    by += ["{source}"] if verdict.source else []
    _log.warn(
        "{listener}: denied {what} to {who} from {peer}: {why} ["
        + ", ".join(by)
        + ", 0x{code:02x}, decision {decision}]"
        + ("; to see why: {command}" if command is not None else ""),
        listener=facts.listener,
        stage=request.stage.value,
        what=_what(request),
        who=_who(facts),
        peer=str(facts.peer),
        why=verdict.text or ("no policy permits it" if not verdict.policy else "the policy says no"),
        policy=verdict.policy,
        rule=verdict.rule,
        source=str(verdict.source or ""),
        code=verdict.reason_code,
        decision=verdict.decision_id,
        **({} if command is None else {"command": command}),
    )


@_tell.register
def _(event: Disconnected) -> None:
    facts = event.facts
    _log.info(
        "{listener}: {who} from {peer} {how}: {why}" + (" [0x{code:02x}]" if event.reason_code else ""),
        listener=facts.listener,
        who=_who(facts),
        peer=str(facts.peer),
        how="left" if event.by_peer else "closed",
        why=event.text,
        code=event.reason_code,
    )


@_tell.register
def _(event: Throttled) -> None:
    facts = event.facts
    _log.info(
        "{listener}: {who} from {peer} sends more than it may: not read from for {seconds:.3f} s, and so on",
        listener=facts.listener,
        who=_who(facts),
        peer=str(facts.peer),
        seconds=event.seconds,
    )


@_tell.register
def _(event: Dropped) -> None:
    _log.warn(
        "{what} not kept for {client_id!r}: {why}",
        what=f"message on {event.topic!r}" if event.topic else "messages",
        client_id=event.client_id,
        why=event.why,
    )


def _tls_of(facts: ConnectionFacts) -> str:
    return "no TLS" if facts.tls is None else f"{facts.tls.version} {facts.tls.cipher}"


def _who(facts: ConnectionFacts) -> str:
    if facts.principal is not None:
        return f"{facts.principal} ({facts.client_id!r})"
    claim = "" if facts.username is None else f" who says {facts.username!r}"
    return f"someone{claim} ({facts.client_id!r})" if claim or facts.client_id else "someone"


def _what(request: Request) -> str:
    if request.stage is Stage.PUBLISH:
        kind = "a will on" if request.is_will else "PUBLISH to"
        return f"{kind} {request.topic!r} qos {request.qos}{' retain' if request.retain else ''}"
    if request.stage is Stage.SUBSCRIBE:
        shared = f"$share/{request.share_group}/" if request.share_group is not None else ""
        return f"SUBSCRIBE to {shared + request.topic!r} qos {request.qos}"
    if request.stage is Stage.DELIVER:
        return f"delivery of {request.topic!r} qos {request.qos}"
    return str(request.stage.value)
