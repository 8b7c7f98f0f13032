# -*- test-case-name: tests.lab.attacks.test_table -*-
"""What is no MQTT: rows A22 and A23."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.attacks.client import AttackClient, Unexpected
from mqttsecure.lab.attacks.dialling import dial, login, marker
from mqttsecure.lab.attacks.outcome import Seen, resisted, succeeded
from mqttsecure.lab.attacks.target import Target
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.encoder import encode_packet, encode_remaining_length
from mqttsecure.wire.packets import Connect

__all__ = ["bad_topics", "broken_frames"]

_SHARE: Final = 4
"""A quarter of the target's patience: whoever does not close by then leaves open."""

_FRAMES: Final[dict[str, bytes]] = {
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "packet type 0": b"\x00\x00",
    "QoS 3": b"\x36\x0a\x00\x05lab/x\x00\x01\x00",
    "HTTP": b"GET / HTTP/1.1\r\nHost: " + b"x" * 100 + b"\r\n\r\n",
}


def broken_frames(target: Target) -> Seen:
    """A22: broken frames, a second CONNECT, a PUBLISH first, another protocol's name."""
    left_open: list[str] = []
    for name, data in _FRAMES.items():
        with login(target, target.writer) as client:
            _try(target, client, name, data, left_open)
        target.pardon()
    with login(target, target.writer) as client:
        again = Connect(target.version, "x", username=target.writer.name, password=target.writer.password.encode())
        _try(target, client, "a second CONNECT", encode_packet(again, target.version), left_open)
    for name, data in (
        (
            "a PUBLISH before CONNECT",
            b"\x30\x08\x00\x05lab/x\x00" if target.version == MQTT_5_0 else b"\x30\x07\x00\x05lab/x",
        ),
        ("the protocol name MQTX", b"\x10\x0d\x00\x04MQTX\x04\x02\x00\x3c\x00\x01x"),
    ):
        with dial(target) as client:
            _try(target, client, name, data, left_open)
    target.pardon()
    if left_open:
        return succeeded(f"left open: {', '.join(left_open)}")
    return resisted("closed at once, all seven")


def _try(target: Target, client: AttackClient, name: str, data: bytes, left_open: list[str]) -> None:
    client.send(data)
    try:
        client.remaining(target.patience / _SHARE)
    except Unexpected:
        left_open.append(name)


def bad_topics(target: Target) -> Seen:
    """A23: topics with a wildcard, NUL, and bytes that are no UTF-8."""
    prefix = target.topics.encode()
    delivered = []
    for name, topic in (
        ("a wildcard", prefix + b"/+/x"),
        ("NUL", prefix + b"/\0x"),
        ("broken UTF-8", prefix + b"/\xff\xfe"),
    ):
        payload = marker()
        body = len(topic).to_bytes(2, "big") + topic + (b"\0" if target.version == MQTT_5_0 else b"") + payload
        with login(target, target.reader) as witness, login(target, target.writer) as client:
            witness.subscribe(f"{target.topics}/#")
            client.send(b"\x30" + encode_remaining_length(len(body)) + body)
            try:
                client.remaining(target.patience / _SHARE)
            except Unexpected:
                pass
            if _hears(witness, payload):
                delivered.append(name)
        target.pardon()
    if delivered:
        return succeeded(f"delivered to others: {', '.join(delivered)}")
    return resisted("not delivered to anyone")


def _hears(witness: AttackClient, payload: bytes) -> bool:
    """Whether the bytes reach another client, whatever it makes of them."""
    try:
        return any(getattr(each, "payload", None) == payload for each in witness.ping(3))
    except Exception as error:  # what reaches the witness may itself be beyond reading: that is the damage
        return not isinstance(error, Unexpected | TimeoutError)
