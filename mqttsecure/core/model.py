# -*- test-case-name: tests.core.test_model -*-
"""Messages and their envelope. On the path of each message: plain slots classes, nothing computed twice."""

from __future__ import annotations

from typing import Final

from mqttsecure.core.decisions import ConnectionFacts, Principal, Writer
from mqttsecure.wire.encoder import encode_properties, encode_remaining_length, encode_string
from mqttsecure.wire.packets import Properties

__all__ = ["MESSAGE_OVERHEAD", "Envelope", "Message", "forwarded_properties", "writer_of"]

MESSAGE_OVERHEAD: Final = 200
"""Bytes that a queued message costs beyond topic and payload: its object, envelope share and queue slot, measured."""

_PAIR_OVERHEAD: Final = 160
"""Bytes that a User Property costs beyond its text: a tuple and two strings. On the wire it may have five bytes."""

_PUBLISH: Final = 0x30


def forwarded_properties(properties: Properties) -> Properties | None:
    """The properties that go on unaltered to receivers (v5.0 [MQTT-3.3.2-4], -15, -16, -17, -20), None for none.

    Left out are those that concern one hop alone, the expiry, which counts down, and what a will has of its own.
    """
    kept = properties.copy()
    kept.pop("message_expiry_interval", None)
    kept.pop("topic_alias", None)
    kept.pop("subscription_identifier", None)
    kept.pop("will_delay_interval", None)
    return kept or None


class Envelope:
    """What is known of a message beyond its MQTT fields; shared by all messages of one writer.

    ``namespace`` is part of every topic, session and retained key (empty: the only one). ``origin`` names the node
    that took the message in, ``hops`` counts the nodes it passed. ``policy_version`` is the one under which the
    chain let it in. ``trace`` is room for trace context. ``stored_id`` is the writer's number on disk, 0 for none.
    """

    __slots__ = ("hops", "namespace", "origin", "policy_version", "stored_id", "trace", "writer")

    def __init__(self, writer: Writer, policy_version: int, namespace: str = "", origin: str = "") -> None:
        self.writer = writer
        self.policy_version = policy_version
        self.namespace = namespace
        self.origin = origin
        self.hops = 0
        self.trace: bytes | None = None
        self.stored_id = 0


def writer_of(facts: ConnectionFacts, principal: Principal) -> Writer:
    """The client of ``facts`` as a writer of messages."""
    return Writer(principal, facts.client_id, facts.groups, dict(facts.attributes), facts.listener)


class Message:
    """An application message, shared by reference among all its receivers.

    ``expires_at`` is monotonic seconds. ``properties`` are those that are forwarded, None for none.
    ``checked_version`` is the policy version under which the writer's right to write it was last confirmed.
    ``topic_bytes`` is the Topic Name as it is on the wire, with its length; made when it is first needed.
    ``stored_id`` is its body's number on disk, 0 for none; ``references`` says how much of what refers to that there is
    in memory, and goes with this object.
    """

    __slots__ = (
        "_forms",
        "_property_bytes",
        "checked_version",
        "envelope",
        "expires_at",
        "payload",
        "properties",
        "qos",
        "references",
        "retain",
        "stored_id",
        "topic",
        "topic_bytes",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        envelope: Envelope,
        properties: Properties | None = None,
        expires_at: float | None = None,
        topic_bytes: bytes | None = None,
    ) -> None:
        self.topic = topic
        self.topic_bytes = topic_bytes
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.envelope = envelope
        self.checked_version = envelope.policy_version
        self.properties = properties
        self.expires_at = expires_at
        self.stored_id = 0
        self.references = 0
        self._forms: dict[int, tuple[bytes, bytes]] | None = None
        self._property_bytes: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes to charge a queue for it."""
        size = len(self.topic) + len(self.payload) + MESSAGE_OVERHEAD
        properties = self.properties
        if properties is not None:
            size += len(self.property_bytes()) + _PAIR_OVERHEAD * len(properties.get("user_property", ()))
        return size

    def form(self, five: bool, qos: int, retain: bool) -> tuple[bytes, bytes]:
        """The encoded packet without its Packet Identifier, as (before it, after it); encoded once per distinct form,
        but for those with RETAIN.

        For receivers of 5.0 that need Subscription Identifiers, a Topic Alias or an expiry see :meth:`form_with`.
        """
        if retain:  # what is retained is sent to one client at a time, and stays for long: kept once is enough
            return self._assemble(self._topic(), _length_prefixed(self.property_bytes()) if five else b"", qos, retain)
        key = (8 if five else 0) | qos << 1
        forms = self._forms
        if forms is None:
            forms = self._forms = {}
        form = forms.get(key)
        if form is None:
            properties = _length_prefixed(self.property_bytes()) if five else b""
            form = forms[key] = self._assemble(self._topic(), properties, qos, retain)
        return form

    def forget_forms(self) -> None:
        """Keep no encoded packets: it was sent to whoever there is, and is kept for long."""
        self._forms = None

    def form_with(
        self,
        qos: int,
        retain: bool,
        now: float,
        identifiers: tuple[int, ...] = (),
        alias: int = 0,
        alias_is_known: bool = False,
    ) -> tuple[bytes, bytes]:
        """A 5.0 form with what belongs to one receiver: remaining expiry, Subscription Identifiers, Topic Alias."""
        extra: Properties = {}
        if self.expires_at is not None:
            # v5.0 [MQTT-3.3.2-6]: the received value minus the time that the message has been waiting here.
            extra["message_expiry_interval"] = max(0, int(self.expires_at - now + 0.5))
        if identifiers:
            extra["subscription_identifier"] = list(identifiers)
        if alias:
            extra["topic_alias"] = alias
        properties = _length_prefixed(self.property_bytes() + _encode_bare(extra))
        topic = b"\0\0" if alias_is_known else self._topic()
        return self._assemble(topic, properties, qos, retain)

    def property_bytes(self) -> bytes:
        """The forwarded properties, encoded, without their length."""
        encoded = self._property_bytes
        if encoded is None:
            encoded = self._property_bytes = _encode_bare(self.properties) if self.properties else b""
        return encoded

    def _topic(self) -> bytes:
        encoded = self.topic_bytes
        if encoded is None:
            encoded = self.topic_bytes = encode_string(self.topic)
        return encoded

    def _assemble(self, topic: bytes, properties: bytes, qos: int, retain: bool) -> tuple[bytes, bytes]:
        payload = self.payload
        length = len(topic) + (2 if qos else 0) + len(properties) + len(payload)
        head = bytes((_PUBLISH | qos << 1 | retain,)) + encode_remaining_length(length) + topic
        return head, properties + payload if properties else payload


def _length_prefixed(properties: bytes) -> bytes:
    return encode_remaining_length(len(properties)) + properties


def _encode_bare(properties: Properties) -> bytes:
    encoded = encode_properties(properties, 3)
    prefix = 1
    while encoded[prefix - 1] & 0x80:
        prefix += 1
    return encoded[prefix:]
