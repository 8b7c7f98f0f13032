# -*- test-case-name: tests.lab.attacks.test_table -*-
"""Too much of everything: rows A11, A12, A20, A21, A24, A25, A26."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Final

from mqttsecure.lab.attacks.client import PATIENCE, AttackClient, Unexpected, is_open, is_readable, reset
from mqttsecure.lab.attacks.dialling import dial, login
from mqttsecure.lab.attacks.outcome import Seen, resisted, succeeded
from mqttsecure.lab.attacks.target import Target
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.encoder import encode_remaining_length
from mqttsecure.wire.packets import Disconnect, Pingreq, Pingresp

__all__ = [
    "guess",
    "idle_connections",
    "large_connect",
    "large_publish",
    "publish_flood",
    "slow_reader",
    "subscriptions",
]

_GUESSES: Final = 60
"""Enough to tell a broker that slows down from one that answers all; 300 would tell no more."""
_CONNECTIONS: Final = 400
_MEBIBYTE: Final = 2**20


def guess(target: Target) -> Seen:
    """A11: wrong passwords, as fast as they are answered."""
    answered = 0
    for number in range(_GUESSES):
        try:
            with dial(target) as client:
                code = client.connect(target.writer.name, target.writer.name, f"guess-{number}")
        except (OSError, Unexpected):
            continue
        if code == 0:
            return succeeded("the password was guessed")
        answered += code in (0x86, 0x87, 4, 5)
    if answered >= _GUESSES - 2:
        return succeeded(f"all {answered} guesses were judged; nothing slows a guesser down")
    return resisted(f"{answered} of {_GUESSES} guesses were judged, the rest told to wait or not heard")


def idle_connections(target: Target) -> Seen:
    """A12: connections of one address that say nothing."""
    sockets: list[socket.socket] = []
    try:
        for _ in range(_CONNECTIONS):
            try:
                made = dial_tcp_fast(target)
            except OSError:
                continue
            sockets.append(made)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and sum(map(is_open, sockets)) > 100:
            time.sleep(0.1)
        alive = sum(map(is_open, sockets))
    finally:
        for each in sockets:
            reset(each)
    text = f"{alive} of {_CONNECTIONS} idle connections of one address stay"
    return resisted(text) if alive <= 100 else succeeded(text)


def dial_tcp_fast(target: Target) -> socket.socket:
    """Not waiting long: a firewall that drops says nothing."""
    made = socket.socket(socket.AF_INET6 if ":" in target.host else socket.AF_INET)
    made.settimeout(0.05 if target.source else PATIENCE)
    try:
        if target.source is not None:
            made.bind((target.source, 0))
        made.connect(target.address)
    except OSError:
        made.close()
        raise
    return made


def large_connect(target: Target) -> Seen:
    """A20: before any password, a CONNECT that says it has 50 MB."""
    with dial(target) as client:
        head = (
            b"\x10" + encode_remaining_length(50_000_000) + b"\x00\x04MQTT" + bytes((target.version,)) + b"\xc2\x00\x3c"
        )
        taken = _pour(client, head, 50_000_000)
    text = f"{taken / _MEBIBYTE:.1f} MiB of it were taken"
    return resisted(text) if taken < 10_000_000 else succeeded(text)


def large_publish(target: Target) -> Seen:
    """A21: a known user publishes 20 MB."""
    with login(target, target.writer) as client:
        topic = f"{target.topics}/large".encode()
        head = b"\x30" + encode_remaining_length(20_000_000) + len(topic).to_bytes(2, "big") + topic
        _pour(client, head, 20_000_000 - len(topic) - 2)
        client.send(Pingreq())
        said = client.collect(3)
    if any(isinstance(each, Pingresp) for each in said):
        return succeeded("20 MB were taken")
    codes = [f"{each.reason_code:#04x}" for each in said if isinstance(each, Disconnect)]
    return resisted(f"ended{f' with {codes[0]}' if codes else ''}; it is not taken")


def _pour(client: AttackClient, head: bytes, size: int) -> int:
    """Send ``head`` and ``size`` bytes; how many were taken before the broker closed."""
    client.socket.settimeout(5)
    sent = 0
    try:
        client.socket.sendall(head)
        while sent < size:
            sent += client.socket.send(b"x" * min(65536, size - sent))
    except (OSError, ssl.SSLError):
        pass
    return sent


def slow_reader(target: Target) -> Seen:
    """A24: a subscriber that never reads, and 20 MB for it; does its publisher have to wait?"""
    size = 100_000
    with (
        login(target, target.reader, receive_buffer=4096) as reader,
        login(target, target.writer) as writer,
    ):
        reader.subscribe(f"{target.topics}/#")
        started = time.monotonic()
        for _ in range(200):
            writer.send(_publish_packet(f"{target.topics}/slow", size))
        try:
            writer.ping(20)
        except (Unexpected, TimeoutError, OSError):
            return succeeded("its publisher was blocked, or thrown out")
        seconds = time.monotonic() - started
    return resisted(f"the publisher was through after {seconds:.1f} s")


def _publish_packet(topic: str, size: int) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic.encode() + bytes(size)
    return b"\x30" + encode_remaining_length(len(body)) + body


def publish_flood(target: Target) -> Seen:
    """A25: 50,000 messages, as fast as they go."""
    topic = f"{target.topics}/flood"
    message = b"\x30" + encode_remaining_length(len(topic) + 3) + len(topic).to_bytes(2, "big") + topic.encode() + b"x"
    if target.version == MQTT_5_0:
        message = (
            b"\x30" + encode_remaining_length(len(topic) + 4) + len(topic).to_bytes(2, "big") + topic.encode() + b"\0x"
        )
    with login(target, target.writer) as client:
        started, taken = time.monotonic(), 0
        client.socket.settimeout(0.5)
        while taken < 50_000 and time.monotonic() - started < 4:
            try:
                client.socket.sendall(message * 100)
            except TimeoutError:
                break
            except OSError:
                break
            taken += 100
        quiet = not is_readable(client.socket, 0)
        done = taken >= 50_000 and quiet
        if done:
            try:
                client.ping(2)
            except (Unexpected, TimeoutError, OSError):
                done = False
    seconds = time.monotonic() - started
    if done:
        return succeeded(f"50,000 messages taken in {seconds:.1f} s; there is no limit")
    if taken >= 50_000:
        return resisted("slowed down: they wait in the network, and the broker reads on at its own pace")
    return resisted(f"slowed down or ended after about {taken} messages")


def subscriptions(target: Target) -> Seen:
    """A26: 5,000 subscriptions of one client."""
    granted = 0
    with login(target, target.reader) as client:
        try:
            for start in range(0, 5000, 250):
                codes = client.subscribe(*(f"{target.topics}/{number}" for number in range(start, start + 250)))
                granted += sum(code < 0x80 for code in codes)
        except (Unexpected, TimeoutError):
            return resisted(f"ended after {granted} were granted")
    text = f"{granted} of 5,000 were granted"
    return succeeded(text) if granted == 5000 else resisted(text)
