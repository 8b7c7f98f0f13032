# -*- test-case-name: tests.testing.test_questions -*-
"""Requests as the broker makes them: ordinary ones of a client, and the oddest that peers can bring about."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final

from mqttsecure.core.decisions import (
    ConnectionFacts,
    Evidence,
    Peer,
    Principal,
    Purpose,
    Request,
    Stage,
    TlsFacts,
    Writer,
)
from mqttsecure.wire.packets import Will

__all__ = ["NUMBERS", "TOPIC_STAGES", "facts", "odd_requests", "ordinary_requests", "request"]

TOPIC_STAGES: Final = (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)

_EARLY: Final = (Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT)
NUMBERS: Final = itertools.count(1_000_000)
"""Of connections: each has one of its own."""

_UNSET: Final = object()


def facts(connection_id: int | None = None, *, principal: Any = _UNSET, **more: Any) -> ConnectionFacts:
    """A connection of users:alice over TLS, on the listener "test"; each has a number of its own.

    Args:
        connection_id: its number.
        principal: who it is; None for nobody yet.
        more: any other field of :class:`~mqttsecure.interfaces.ConnectionFacts`.
    """
    more.setdefault("peer", Peer(ip_address("192.0.2.7"), 40_000))
    more.setdefault("tls", TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256"))
    more.setdefault("protocol_version", 5)
    more.setdefault("client_id", "alice-1")
    more.setdefault("username", "alice")
    more.setdefault("keep_alive", 60)
    return ConnectionFacts(
        connection_id=next(NUMBERS) if connection_id is None else connection_id,
        listener=more.pop("listener", "test"),
        principal=Principal("users", "alice") if principal is _UNSET else principal,
        **more,
    )


def request(stage: Stage, connection: ConnectionFacts | None = None, **more: Any) -> Request:
    """A question at ``stage``, about what makes sense there; ``more`` are other fields of the Request."""
    known = connection
    if known is None:
        known = facts() if stage in TOPIC_STAGES else facts(principal=None)
        if stage in (Stage.ACCEPT, Stage.HANDSHAKE):
            known = replace(known, client_id="", username=None, protocol_version=0, keep_alive=0)
        if stage is Stage.ACCEPT:
            known.tls = None
    if stage in TOPIC_STAGES:
        more.setdefault("topic", "plant/#" if stage is Stage.SUBSCRIBE else "plant/1/temperature")
    if stage is Stage.DELIVER:
        more.setdefault("writer", Writer(Principal("users", "bob"), "bob-1", listener=known.listener))
    if stage is Stage.AUTHENTICATE:
        more.setdefault("password", b"secret")
        if more.get("purpose") is not Purpose.RECHECK:
            more["exchange"] = {"principal": Principal("users", "alice"), **more.get("exchange", {})}
    more.setdefault("now", 0.0)
    return Request(stage, known, **more)


def ordinary_requests(stages: Iterable[Stage]) -> list[Request]:
    """What a well-behaved client brings about at these stages, for every purpose."""
    found = []
    for stage, purpose in itertools.product(stages, Purpose):
        if purpose is Purpose.RECHECK and stage is Stage.AUTHENTICATE:
            # The chain hands each policy what it left itself.
            known = facts(evidence=(Evidence("policy", "no fingerprint of anything"),))
            found.append(request(stage, known, purpose=purpose, password=None))
        else:
            found.append(request(stage, purpose=purpose))
        if stage in (Stage.PUBLISH, Stage.DELIVER):
            found.append(request(stage, purpose=purpose, retain=True, qos=1, payload=b'{"value": 1}'))
    return found


def odd_requests(stages: Iterable[Stage]) -> list[Request]:
    """What peers may bring about that no test of one's own would think of. All of it is valid MQTT."""
    return [each for stage in stages for each in _odd(stage)]


def _odd(stage: Stage) -> list[Request]:
    nobody: dict[str, Any] = {"client_id": "", "username": None, "principal": None, "tls": None}
    found = [
        request(stage, facts(peer=Peer(None, 0, 1000), **nobody)),  # a Unix socket
        request(stage, facts(peer=Peer(ip_address("2001:db8::1"), 1), protocol_version=3, **nobody)),
        request(stage, facts(listener="another", attributes={"tenant": "x", "number": 7})),
    ]
    if stage not in _EARLY:
        found.append(request(stage, facts(principal=Principal("anonymous", "7", shared=False), username=None)))
    if stage not in (Stage.ACCEPT, Stage.HANDSHAKE):
        for name in (
            "\ufeff\U0001f916" * 500,
            "a/+/#",
            "{user}",
            "' or 1=1 --",
            "../../etc/passwd",
            "%s%n{0}",
            "x" * 65_535,
        ):
            found.append(request(stage, facts(client_id=name, username=name, principal=Principal("users", name))))
    if stage in (Stage.CONNECT, Stage.AUTHENTICATE):
        found.append(request(stage, will=Will("w/" * 60 + "w", b"\xff" * 1000, qos=2, retain=True)))
        found.append(request(stage, authentication_method="X-" + "m" * 1000))
    if stage is Stage.AUTHENTICATE:
        for password in (None, b"", b"\0" * 65_535, bytes(range(256))):
            found.append(request(stage, password=password))
        found.append(
            request(stage, password=None, authentication_method="SCRAM-SHA-256", authentication_data=b"n,,\xff")
        )
        found.append(Request(stage, facts(principal=None), 0.0, password=b"x"))  # nobody above has permitted anyone
    if stage in TOPIC_STAGES:
        found += _odd_topics(stage)
    return found


def _odd_topics(stage: Stage) -> list[Request]:
    names = ["/", "//", "$SYS/x", "$", "a" * 4096, "a/" * 127 + "a", " ", "\U0001f40d/ä", "plant/1\u200b"]
    if stage is Stage.SUBSCRIBE:
        names += ["#", "+", "+/+", "/#", "$SYS/#", "+/" * 127 + "#"]
        return [request(stage, topic=name, qos=2, share_group=group) for name in names for group in (None, "g")]
    payloads: list[bytes] = [b"", b"\xff\xfe\x00", b"{" * 5000, bytes(262_144)]
    found = [request(stage, topic=name, qos=2, retain=True) for name in names]
    found += [request(stage, payload=payload) for payload in payloads]
    found.append(
        request(
            stage,
            payload=b"x",
            properties={
                "content_type": "\U0001f4a9",
                "payload_format_indicator": 1,
                "user_property": [("k" * 1000, "v")] * 50,
                "correlation_data": b"\0",
                "response_topic": "r",
            },
        )
    )
    if stage is Stage.PUBLISH:
        found.append(request(stage, is_will=True))
        # A writer whose connection is gone: nothing is known but what came with the message.
        gone = ConnectionFacts(0, "test", Peer(None), principal=Principal("users", "alice"))
        found.append(Request(stage, gone, 0.0, Purpose.RECHECK, topic="plant/1"))
    return found
