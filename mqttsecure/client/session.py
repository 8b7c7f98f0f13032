# -*- test-case-name: tests.client.test_session -*-
"""What outlives a Network Connection: messages under way in both directions, and what waits for the broker.

Sans-IO. It is kept in memory: a durable session resumes after lost connections, not after the end of the process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from mqttsecure.client.failures import OptionsInvalid, QueueFull
from mqttsecure.errors import EncodeError
from mqttsecure.wire.constants import MAX_PACKET_IDENTIFIER
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Publish, Subscribe, SubscriptionRequest, Unsubscribe

__all__ = ["MAXIMUM_REQUESTS", "Outgoing", "Request", "Session", "prepare"]

_DUP: Final = 0x08

MAXIMUM_REQUESTS: Final = 1000
"""SUBSCRIBE and UNSUBSCRIBE packets without an answer; each may hold many filters, so that nobody needs more."""


@dataclass(slots=True)
class Outgoing:
    """A message to the broker, encoded once; its Packet Identifier and DUP are set in place each time it is sent.

    Attributes:
        token: what the caller knows it by.
        encoded: the whole PUBLISH.
        topic: for errors.
        qos: 0, 1 or 2.
        retain: whether it is to be retained.
        identifier_at: where in ``encoded`` the Packet Identifier stands.
        packet_id: once it has one.
        is_released: QoS 2: the broker has it, and PUBREL is under way.
        reason_code: QoS 2: of the PUBREC.
        attempts: connections on which it was sent and not answered.
    """

    token: int
    encoded: bytearray
    topic: str
    qos: int
    retain: bool
    identifier_at: int
    packet_id: int = 0
    is_released: bool = False
    reason_code: int = 0
    attempts: int = 0

    def bytes_with(self, packet_id: int, dup: bool) -> bytes:
        """What goes on the wire."""
        self.packet_id = packet_id
        if self.qos:
            self.encoded[self.identifier_at : self.identifier_at + 2] = packet_id.to_bytes(2, "big")
            self.encoded[0] = self.encoded[0] | _DUP if dup else self.encoded[0] & ~_DUP
        return bytes(self.encoded)


@dataclass(slots=True)
class Request:
    """A SUBSCRIBE or UNSUBSCRIBE without an answer; without a token the machine has asked by itself."""

    token: int | None
    packet: Subscribe | Unsubscribe


def prepare(token: int, publish: Publish, version: int) -> Outgoing:
    """Encode a message.

    Raises:
        OptionsInvalid: it cannot be a message.
    """
    publish.packet_id = 1 if publish.qos else 0
    try:
        encoded = encode_packet(publish, version)
    except EncodeError as error:
        raise OptionsInvalid(f"the message cannot be sent: {error}", "mend it") from error
    length_bytes = 1
    while encoded[length_bytes] & 0x80:
        length_bytes += 1
    identifier_at = 1 + length_bytes + 2 + len(publish.topic.encode())
    return Outgoing(token, bytearray(encoded), publish.topic, publish.qos, publish.retain, identifier_at)


class Session:
    """The state of one client (v5.0 section 4.1), and the queue in front of it.

    Attributes:
        in_flight: QoS 1 and 2 messages sent and not acknowledged to the end, by Packet Identifier, in order.
        waiting: messages not sent yet, in order.
        requests: SUBSCRIBE and UNSUBSCRIBE packets without an answer.
        received: QoS 2 messages that came, until PUBREL; True once the application is done with one.
        subscriptions: those that were granted, with their Subscription Identifier or 0.
    """

    def __init__(self, queue_messages: int, queue_bytes: int) -> None:
        self.in_flight: dict[int, Outgoing] = {}
        self.waiting: deque[Outgoing] = deque()
        self.requests: dict[int, Request] = {}
        self.received: dict[int, bool] = {}
        self.subscriptions: dict[str, tuple[SubscriptionRequest, int]] = {}
        self._queue_messages = queue_messages
        self._queue_bytes = queue_bytes
        self._waiting_bytes = 0
        self._last_id = 0
        self._given_up: set[int] = set()
        """Packet Identifiers of QoS 2 messages that were given up: the broker might take a new one for the old."""

    @property
    def has_room(self) -> bool:
        """Whether a message could still wait."""
        return len(self.waiting) < self._queue_messages and self._waiting_bytes < self._queue_bytes

    def enqueue(self, outgoing: Outgoing) -> None:
        """Have a message wait for its turn.

        Raises:
            QueueFull: there is no room; a single message larger than the whole budget is taken into an empty queue.
        """
        size = len(outgoing.encoded)
        too_many = len(self.waiting) >= self._queue_messages
        if too_many or (self.waiting and self._waiting_bytes + size > self._queue_bytes):
            raise QueueFull(
                f"{len(self.waiting)} messages of {self._waiting_bytes} bytes wait for the broker already",
                "wait for earlier ones to be acknowledged, or allow a longer queue",
            )
        self.waiting.append(outgoing)
        self._waiting_bytes += size

    def dequeue(self) -> Outgoing:
        """Take the first of those that wait."""
        outgoing = self.waiting.popleft()
        self._waiting_bytes -= len(outgoing.encoded)
        return outgoing

    def new_id(self) -> int:
        """A Packet Identifier that nothing else uses (v5.0 [MQTT-2.2.1-3])."""
        while True:
            self._last_id = self._last_id % MAX_PACKET_IDENTIFIER + 1
            if not any(self._last_id in used for used in (self.in_flight, self.requests, self._given_up)):
                return self._last_id

    def give_up(self, packet_id: int) -> Outgoing:
        """Take a message that is under way out, whatever becomes of it."""
        outgoing = self.in_flight.pop(packet_id)
        if outgoing.qos == 2:
            self._given_up.add(packet_id)
        return outgoing

    def forget(self) -> list[Outgoing]:
        """The broker does not know the session any more: what was under way begins anew.

        QoS 1 messages go back to the front of the queue, as they may arrive twice. Those of QoS 2 may not.

        Returns:
            The QoS 2 messages of which nobody can say whether they arrived.
        """
        lost = [each for each in self.in_flight.values() if each.qos == 2]
        again = [each for each in self.in_flight.values() if each.qos == 1]
        for each in reversed(again):
            self.waiting.appendleft(each)
            self._waiting_bytes += len(each.encoded)
        self.in_flight.clear()
        self.received.clear()
        self._given_up.clear()
        return lost

    def abandon(self) -> list[int]:
        """Give up all that is not done; the tokens of it."""
        tokens = [each.token for each in (*self.in_flight.values(), *self.waiting)]
        tokens += [each.token for each in self.requests.values() if each.token is not None]
        self.in_flight.clear()
        self.waiting.clear()
        self.requests.clear()
        self._waiting_bytes = 0
        return tokens
