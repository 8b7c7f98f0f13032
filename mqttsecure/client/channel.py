# -*- test-case-name: tests.client.test_machine -*-
"""One Network Connection as the parts of the machine see it: bytes to send, events to tell, the broker's limits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from mqttsecure.client.events import Event
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Packet, Properties

__all__ = ["OUTBOX_BYTES", "Announced", "Channel"]

OUTBOX_BYTES: Final = 65536
"""Beyond that much no further message is put into the outbox before it is taken: so much is written at once."""

_LARGEST_PACKET: Final = 268_435_455 + 5


@dataclass(slots=True)
class Announced:
    """What the broker's CONNACK allows (v5.0 section 3.2.2.3); 3.1.1 has none of it, and allows all."""

    receive_maximum: int = 65535
    maximum_qos: int = 2
    is_retain_available: bool = True
    maximum_packet_size: int = _LARGEST_PACKET

    @classmethod
    def by(cls, properties: Properties) -> Announced:
        """Read it from the properties of a CONNACK."""
        return cls(
            properties.get("receive_maximum", 65535),
            properties.get("maximum_qos", 2),
            bool(properties.get("retain_available", 1)),
            properties.get("maximum_packet_size", _LARGEST_PACKET),
        )


class Channel:
    """What is to be sent and told.

    Attributes:
        version: 4 or 5.
        announced: what the broker allows.
        events: not taken yet.
        connection: counts Network Connections, so that what belongs to an earlier one is known.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self.announced = Announced()
        self.events: deque[Event] = deque()
        self.connection = 0
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def has_room(self) -> bool:
        """Whether another message may be added."""
        return self._size < OUTBOX_BYTES

    def open(self) -> None:
        """A new Network Connection."""
        self.connection += 1
        self.announced = Announced()
        self.take()

    def send(self, packet: Packet) -> None:
        """Encode a packet and have it sent."""
        self.send_bytes(encode_packet(packet, self.version, shortest=True))

    def send_bytes(self, data: bytes) -> None:
        """Have bytes sent."""
        self._parts.append(data)
        self._size += len(data)

    def take(self) -> bytes:
        """All that is to be sent."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return data
