"""Clients that keep their side of MQTT over crashes of the broker, and complain where it does not keep its own.

A :class:`Peer` is one Client Identifier: what it knows of its session, what it is owed, what it was sent. Messages have
numbers, which are their payloads. What cannot be known, such as whether a SUBSCRIBE without SUBACK has outlived a
crash, is a set of possibilities, and only what is certain is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mqttsecure.wire.packets import (
    Connack,
    Connect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)

__all__ = ["EXPIRY", "FILTERS", "SHARED", "TOPICS", "Line", "Message", "Peer", "require"]

EXPIRY: Final = 1000.0
"""Seconds for which a durable session outlives its connection."""

TOPICS: Final = ("a", "b", "r", "s/1")
"""What is published under "r" is retained; "s/1" is what the shared subscription is about."""

SHARED: Final = "$share/g/s/1"
FILTERS: Final = {"a": ("a",), "+": ("a", "b", "r"), "r": ("r",), SHARED: ("s/1",)}
"""The Topic Names that each Topic Filter matches."""

_ALWAYS: Final = float("inf")


class Line(Protocol):
    """A network connection to the broker, or what stands for one."""

    closed: bool
    lost: bool

    def connect_packet(
        self, client_id: str, clean: bool, keep_alive: int, user: str | None, **properties: Any
    ) -> Connect: ...

    def send(self, *packets: Packet) -> None: ...

    def received(self) -> list[Packet]: ...

    def lose(self) -> None: ...


def require(condition: object, *what: object) -> None:
    """Complain unless ``condition``."""
    if not condition:
        raise AssertionError(" ".join(map(str, what)))


@dataclass(eq=False)
class Message:
    """One message: who sent it, when it expires, and who must get it once it is acknowledged, each in which era.

    ``is_shared_out`` says that some member of the shared subscription must, ``is_shared`` that one has,
    ``shared_to`` which one by QoS 2. ``value`` is what was retained thereafter.
    """

    number: int
    sender: Peer
    topic: str
    qos: int
    retain: bool
    expiry: int = 0
    expires_at: float = _ALWAYS
    owed: dict[Peer, int] | None = None
    is_acknowledged: bool = False
    is_released: bool = False
    is_shared_out: bool = False
    is_shared: bool = False
    shared_to: Peer | None = None
    value: int = 0


@dataclass(eq=False)
class Peer:
    """One Client Identifier.

    Attributes:
        surely_until: until when its session is there for certain, forever while it is connected.
        maybe_until: until when it may be there.
        floor: the same as ``surely_until``, for what may be on disk.
        era: counts the sessions, as far as this side knows.
        subscriptions: per Topic Filter what may be granted: a QoS, or None for no subscription.
        refusals: Reason Codes with which its messages may be refused; ``refused`` counts how often they were.
        open: Packet Identifiers of QoS 2 messages received and not released.
        answers: acknowledgements that are not sent yet.
        got: numbers of messages that were received in this era; ``owed`` those that must be.
        unacknowledged: what was sent, by Packet Identifier, in its order.
    """

    name: str
    user: str
    version: int
    durable: bool
    maximum: int
    messages: dict[int, Message]
    client: Line | None = None
    is_here: bool = False
    is_prompt: bool = True
    is_clean: bool = False
    surely_until: float = -_ALWAYS
    maybe_until: float = -_ALWAYS
    floor: float = -_ALWAYS
    era: int = 0
    subscriptions: dict[str, set[int | None]] = field(default_factory=dict)
    open: dict[int, int] = field(default_factory=dict)
    identifiers: dict[int, int] = field(default_factory=dict)
    answers: deque[Packet] = field(default_factory=deque)
    got: set[int] = field(default_factory=set)
    owed: set[int] = field(default_factory=set)
    latest: dict[tuple[str, str, int, int], int] = field(default_factory=dict)
    unacknowledged: dict[int, Message] = field(default_factory=dict)
    requests: dict[int, list[tuple[str, int | None]]] = field(default_factory=dict)
    next_packet_id: int = 1
    on_retained: Callable[[Message], None] = lambda message: None
    on_doubt: Callable[[], None] = lambda: None
    receivers: Callable[[Message], dict[Peer, int]] = lambda message: {}
    refusals: frozenset[int] = frozenset()
    refused: int = 0
    was_there: bool = False
    was_gone: bool = True

    # -- the connection ------------------------------------------------------------------------------------------

    def connect(self, line: Line, now: float, clean: bool) -> None:
        """Connect, taking over where it is connected."""
        self.lost(now)
        self.client = line
        self.is_clean = (clean and self.version == 5) or not self.durable  # of 3.x such a session is not durable
        if self.is_clean:
            self._begin_era()
        properties = {"session_expiry_interval": int(EXPIRY), "receive_maximum": self.maximum}
        if self.version != 5:
            properties = {}
        elif not self.durable:
            del properties["session_expiry_interval"]
        self.was_there = not self.is_clean and now < self.surely_until
        self.was_gone = self.is_clean or now > self.maybe_until
        if self.durable:
            self.surely_until = _ALWAYS if self.was_there else -_ALWAYS
            self.maybe_until = _ALWAYS
            if self.is_clean:
                self.floor = -_ALWAYS
        line.send(line.connect_packet(self.name, self.is_clean, 60_000, user=self.user, **properties))

    def _begin_era(self) -> None:
        """A session of which nothing is known yet; an older one may still be there after a crash."""
        self.era += 1
        self.on_doubt()
        self.open.clear()
        self.identifiers.clear()
        self.got.clear()
        self.owed.clear()
        self.latest.clear()
        self.unacknowledged.clear()
        for possible in self.subscriptions.values():
            possible.add(None)

    def lost(self, now: float, *, crash: bool = False) -> None:
        """The connection is over, or the broker died, at ``now``."""
        if self.client is not None and not self.is_here and not self.was_there:
            # A new session may have been begun without a word of it: what is told of one later tells nothing.
            self._begin_era()
        was_connected, self.client, self.is_here = self.client is not None, None, False
        self.answers.clear()
        self.requests.clear()
        if not self.durable:
            if was_connected:
                self._begin_era()
                self.subscriptions.clear()
            return
        if crash:
            self.floor = min(self.floor, now + EXPIRY)
            self.surely_until = self.floor
            self.maybe_until = now + EXPIRY if self.maybe_until > -_ALWAYS else -_ALWAYS
            self.identifiers.clear()
        elif was_connected:
            self.floor = min(self.floor, now + EXPIRY)
            self.surely_until = min(self.surely_until, now + EXPIRY)
            self.maybe_until = min(self.maybe_until, now + EXPIRY)

    def hear(self, now: float) -> bool:
        """Take in what has come; whether there was anything."""
        client = self.client
        if client is None:
            return False
        packets = client.received()
        for packet in packets:
            self._take(packet, now)
        if client.closed:
            client.lose()
            if self.client is client:
                self.lost(now)
        return bool(packets)

    def _take(self, packet: Packet, now: float) -> None:
        if isinstance(packet, Connack):
            self._connected(packet)
        elif isinstance(packet, Publish):
            self._message(packet, now)
        elif isinstance(packet, Puback | Pubrec):
            self._acknowledged(packet, now)
        elif isinstance(packet, Pubrel):
            self.open.pop(packet.packet_id, None)
            self.answers.append(Pubcomp(packet.packet_id))
        elif isinstance(packet, Pubcomp):
            self.unacknowledged.pop(packet.packet_id, None)
        elif isinstance(packet, Suback | Unsuback):
            for topic_filter, qos in self.requests.pop(packet.packet_id):
                self.subscriptions[topic_filter] = {qos}

    def _connected(self, connack: Connack) -> None:
        if connack.reason_code in self.refusals:
            return  # and the end of the connection follows
        require(connack.reason_code == 0, self.name, "was refused", connack)
        if connack.session_present:
            require(not self.was_gone, self.name, "got a session that has ended")
        else:
            require(not self.was_there, self.name, "lost its session")
            if not self.is_clean:
                self._begin_era()
            self.subscriptions.clear()
        self.is_here = True
        if self.durable:
            self.surely_until = self.maybe_until = self.floor = _ALWAYS
        for packet_id, message in list(self.unacknowledged.items()):
            if message.is_released:
                self._send(Pubrel(packet_id))
            else:
                self._publish(packet_id, message, is_again=True)

    def _send(self, *packets: Packet) -> None:
        if self.client is not None and not self.client.lost:
            self.client.send(*packets)

    # -- receiving -----------------------------------------------------------------------------------------------

    def _message(self, packet: Publish, now: float) -> None:
        number = int(packet.payload.split()[0])
        message = self.messages[number]
        require(message.topic == packet.topic, self.name, "got", number, "by another topic")
        if packet.qos:
            known = self.identifiers.get(packet.packet_id)
            require(not packet.dup or known in (None, number), self.name, "got", number, "as", packet.packet_id, known)
            self.identifiers[packet.packet_id] = number
        if packet.qos == 1:
            self.answers.append(Puback(packet.packet_id))
        elif packet.qos == 2:
            self.answers.append(Pubrec(packet.packet_id))
            known = self.open.get(packet.packet_id)
            if known is not None:
                require(known == number, self.name, "took", number, "for", known, "of", packet.packet_id)
                return
            self.open[packet.packet_id] = number
        self._take_in(message, packet)

    def _take_in(self, message: Message, packet: Publish) -> None:
        number = message.number
        is_first = number not in self.got
        self.got.add(number)
        if packet.retain:
            return
        if packet.qos == 2 and not message.retain:
            require(is_first, self.name, "got", number, "twice")
        if message.topic == "s/1":
            message.is_shared = True
            if packet.qos == 2:
                require(message.shared_to in (None, self), number, "went to", self.name, "after another member")
                message.shared_to = self
            return
        place = (message.sender.name, message.topic, message.qos, packet.qos)
        if is_first:
            latest = self.latest.get(place, 0)
            require(latest < number, self.name, "got", number, "behind", latest, "of", place)
            self.latest[place] = number

    def answer(self, count: int) -> None:
        """Send so many of the acknowledgements that are due."""
        while count and self.answers and self.is_here:
            count -= 1
            answer = self.answers.popleft()
            if isinstance(answer, Puback | Pubcomp):
                self.identifiers.pop(answer.packet_id, None)
            self._send(answer)

    # -- sending -------------------------------------------------------------------------------------------------

    def take_packet_id(self) -> int:
        packet_id = self.next_packet_id
        while packet_id in self.unacknowledged or packet_id in self.requests:
            packet_id += 1
        self.next_packet_id = packet_id % 100 + 1
        return packet_id

    def publish(self, message: Message) -> None:
        """Send a message for the first time."""
        packet_id = self.take_packet_id() if message.qos else 0
        if message.qos:
            self.unacknowledged[packet_id] = message
        self._publish(packet_id, message, is_again=False)

    def _publish(self, packet_id: int, message: Message, *, is_again: bool) -> None:
        if self.client is None:
            return
        receivers = self.receivers(message)
        if message.owed is None:
            message.owed = receivers
        else:
            message.owed = {peer: era for peer, era in message.owed.items() if receivers.get(peer) == era}
        properties = {}
        if message.expires_at != _ALWAYS and self.version == 5:
            properties["message_expiry_interval"] = message.expiry
        payload = b"%d" % message.number + b" " * (message.number % 7 * 40)
        self._send(Publish(message.topic, payload, message.qos, message.retain, is_again, packet_id, properties))
        if message.retain:
            self.on_retained(message)

    def _acknowledged(self, packet: Puback | Pubrec, now: float) -> None:
        message = self.unacknowledged.get(packet.packet_id)
        if message is None:
            return
        if packet.reason_code in self.refusals:
            self.refused += 1
            del self.unacknowledged[packet.packet_id]
            return
        require(packet.reason_code < 0x80, self.name, "was refused", message.number)
        if isinstance(packet, Puback):
            del self.unacknowledged[packet.packet_id]
        elif not message.is_released:
            message.is_released = True
            # Behind the other ones, as PUBREL goes in the order of PUBREC.
            del self.unacknowledged[packet.packet_id]
            self.unacknowledged[packet.packet_id] = message
            self.answers.append(Pubrel(packet.packet_id))
        if not message.is_acknowledged:
            message.is_acknowledged = True
            for peer, era in (message.owed or {}).items():
                if peer.era == era:
                    peer.owed.add(message.number)

    # -- subscriptions -------------------------------------------------------------------------------------------

    def subscribe(self, topic_filter: str, qos: int) -> None:
        packet_id = self.take_packet_id()
        self.subscriptions.setdefault(topic_filter, {None}).add(qos)
        self.requests[packet_id] = [(topic_filter, qos)]
        self._send(Subscribe(packet_id, [SubscriptionRequest(topic_filter, qos)]))

    def unsubscribe(self, topic_filter: str) -> None:
        packet_id = self.take_packet_id()
        self.subscriptions.setdefault(topic_filter, {None}).add(None)
        self.on_doubt()
        self.requests[packet_id] = [(topic_filter, None)]
        self._send(Unsubscribe(packet_id, [topic_filter]))

    @property
    def shares(self) -> bool:
        """Whether it is a member of the shared subscription for certain."""
        possible = self.subscriptions.get(SHARED, {None})
        return None not in possible and 0 not in possible

    def certain_qos(self, topic: str) -> int | None:
        """The lowest QoS at which it gets messages on ``topic`` for certain; None where it may get none."""
        found = []
        for topic_filter, possible in self.subscriptions.items():
            if topic in FILTERS[topic_filter] and topic_filter != SHARED and None not in possible:
                found.append(min(each for each in possible if each is not None))
        return max(found, default=None)
