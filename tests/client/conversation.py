"""A machine and the broker that a test plays, packet by packet; no network, and time only when the test says so."""

from __future__ import annotations

from typing import Any

from mqttsecure.client.events import Answered, Arrived, Connected, Ended, Event
from mqttsecure.client.machine import Machine
from mqttsecure.client.options import ClientOptions
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connack, Connect, Packet, Properties, Publish

__all__ = ["Conversation"]


class Conversation:
    """What the client says, and what happens to it."""

    def __init__(self, *, at_a_time: int = 1 << 20, **options: Any) -> None:
        """
        Args:
            at_a_time: bytes in one read of the client.
            options: of the client.
        """
        self.machine = Machine(ClientOptions(**{"client_id": "c", **options}))
        self.version = self.machine._options.version
        self.now = 100.0
        self._at_a_time = at_a_time
        self._decoder = Decoder()

    def open(self) -> Connect:
        """A connection; the CONNECT."""
        self._decoder = Decoder(maximum_packet_size=1 << 24)
        self.machine.connection_made(self.now, self.now + 30)
        (connect,) = self.sent()
        assert isinstance(connect, Connect)
        return connect

    def connect(self, session_present: bool = False, **properties: Any) -> Connected:
        """A connection and a CONNACK with success."""
        self.open()
        (event,) = self.say(Connack(session_present, 0, Properties(**properties)))  # type: ignore[typeddict-item]
        assert isinstance(event, Connected), event
        return event

    def lose(self) -> None:
        """The connection is gone."""
        self.machine.connection_lost()

    def say(self, *packets: Packet | bytes) -> list[Event]:
        """The broker says that; what happens."""
        data = b"".join(each if isinstance(each, bytes) else encode_packet(each, self.version) for each in packets)
        events: list[Event] = []
        for position in range(0, len(data), self._at_a_time):
            self.machine.feed(data[position : position + self._at_a_time], self.now)
            events += self.events()
        return events

    def events(self) -> list[Event]:
        """What has happened."""
        found = []
        while (event := self.machine.next_event(self.now)) is not None:
            found.append(event)
        return found

    def sent(self) -> list[Packet]:
        """What the client has sent since."""
        while data := self.machine.take_outbox(self.now):
            self._decoder.feed(data)
        packets = []
        while (packet := self._decoder.next_packet()) is not None:
            packets.append(packet)
        self.follow()
        return packets

    def follow(self, is_blocked: bool = False, is_deaf: bool = False) -> None:
        """Whether the network takes bytes, and whether the client reads."""
        self.machine.follow(self.now, is_blocked=is_blocked, is_deaf=is_deaf)

    def wait(self, seconds: float) -> list[Event]:
        """Time goes by, and the client's timer with it."""
        end = self.now + seconds
        while (deadline := self.machine.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            before = self.machine.next_deadline()
            self.machine.expire(self.now)
            data = self.machine.take_outbox(self.now)
            self._decoder.feed(data)
            self.follow()
            if self.machine.next_deadline() == before:
                break
        self.now = end
        return self.events()

    def publish(self, qos: int = 0, payload: bytes = b"x", topic: str = "t", **more: Any) -> int:
        """The application publishes; the token."""
        return self.machine.publish(Publish(topic, payload, qos, **more))

    def error(self, events: list[Event]) -> Any:
        """The error of the one event."""
        (event,) = events
        assert isinstance(event, Ended | Answered), event
        return event.error

    def message(self, events: list[Event]) -> Arrived:
        """The one message."""
        (event,) = events
        assert isinstance(event, Arrived), event
        return event
