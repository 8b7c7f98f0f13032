# -*- test-case-name: tests.core.test_inbound -*-
"""From bytes to packets to what they do: the frame loop.

On the path of each message. Whole reads are worked off in one go; PUBLISH packets whose route is settled and PUBACK
packets are handled here on the bytes themselves, all else is decoded and dispatched by the state table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mqttsecure.core.connection import HANDLERS, Connection, State
from mqttsecure.core.decisions import Effect
from mqttsecure.core.delivery import Deliveries
from mqttsecure.core.model import Message
from mqttsecure.core.publishing import Publishing
from mqttsecure.core.routing import Route, Routing
from mqttsecure.core.state import BrokerState
from mqttsecure.core.throttling import Throttling
from mqttsecure.errors import MalformedPacket, MqttError, PacketTooLarge, ProtocolError
from mqttsecure.wire.constants import MQTT_5_0, PacketType, ReasonCode
from mqttsecure.wire.decoder import decode_packet
from mqttsecure.wire.encoder import encode_remaining_length
from mqttsecure.wire.packets import Packet
from mqttsecure.wire.rules import check_first_byte

__all__ = ["Inbound"]

_NEED_MORE: Final = -1
_PUBLISH_AGAIN: Final = 0x38
"""The first byte of a PUBLISH with DUP, but for QoS and RETAIN."""
_MANY_PIECES: Final = 64
"""Pieces of a packet kept as they came; more are put together, since an object each outweighs the bytes in it."""

_PUBACK_OK: Final = b"\x40\x02"
_PUBACK_NO_SUBSCRIBERS: Final = b"\x40\x03"


class Inbound:
    """Feeds connections' bytes to the handlers of ``broker``, an object with the methods named in HANDLERS.

    ``refuse_connect`` is told the body of a CONNECT that cannot be decoded and why, and may answer it.
    """

    def __init__(
        self,
        state: BrokerState,
        publishing: Publishing,
        routing: Routing,
        throttling: Throttling,
        deliveries: Deliveries,
        broker: object,
        refuse_connect: Callable[[Connection, bytes, MqttError, float], None],
    ) -> None:
        self._state = state
        self._publishing = publishing
        self._routing = routing
        self._throttling = throttling
        self._deliveries = deliveries
        self._refuse_connect = refuse_connect
        self._handlers: dict[tuple[State, int], Callable[[Connection, Any, float], None]] = {
            (state_of, int(packet_type)): getattr(broker, name) for (state_of, packet_type), name in HANDLERS.items()
        }

    def receive(self, connection: Connection, data: bytes, now: float) -> None:
        """Take in what the network brought."""
        self._state.counters.bytes_received += len(data)
        if connection.partial is not None:
            connection.partial.append(data)
            connection.partial_bytes += len(data)
            if len(connection.partial) > _MANY_PIECES:
                _compact(connection.partial)
            if connection.pending is not None or connection.paused_until:
                self._check_held(connection, now)
                return
            if connection.partial_bytes < connection.needed:
                return  # joined only when whole: linear time, however small the pieces
            data = b"".join(connection.partial)
            connection.partial = None
            connection.partial_bytes = 0
        elif connection.pending is not None or connection.paused_until:
            self._hold(connection, data, 0)
            return
        self._parse(connection, data, now)

    def go_on(self, connection: Connection, now: float) -> None:
        """Read on after a verdict has come or a pause is over."""
        if connection.pending is not None or connection.paused_until or connection.state is State.CLOSED:
            return
        connection.reading = True
        connection.last_packet = now  # Keep Alive stood still meanwhile
        self._state.touch(connection)
        if connection.partial is not None:
            data = b"".join(connection.partial)
            connection.partial = None
            connection.partial_bytes = 0
            self._parse(connection, data, now)

    def _hold(self, connection: Connection, rest: bytes, needed: int) -> None:
        if rest:
            connection.partial = [rest]
            connection.partial_bytes = len(rest)
            connection.needed = needed

    def _check_held(self, connection: Connection, now: float) -> None:
        """Reading is paused, yet TLS may deliver what it had read; more than that is not for us to keep.

        Twice, since the read that led to the pause may have brought as much.
        """
        if connection.partial_bytes > 2 * self._state.limits.pending_bytes:
            self._state.close(connection, ReasonCode.QUOTA_EXCEEDED, "sent too much while it had to wait", now)

    def _parse(self, connection: Connection, data: bytes, now: float) -> None:
        position = 0
        try:
            while position < len(data):
                following = self._frame(connection, data, position, now)
                if following == _NEED_MORE:
                    break
                position = following
                connection.packets_received += 1
                if connection.pending is not None or connection.paused_until or connection.state is State.CLOSED:
                    break
        except MqttError as error:
            connection.repeated = data[position] & 0xF8 == _PUBLISH_AGAIN
            self._fault(connection, error, now)
        if connection.state is State.CLOSED:
            return
        if position:
            connection.last_packet = now
        if position < len(data) and connection.partial is None:
            rest = data[position:] if position else data
            self._hold(connection, rest, connection.needed)

    def _frame(  # noqa: C901  # one function: on this path a call costs as much as what it does
        self, connection: Connection, data: bytes, position: int, now: float
    ) -> int:
        """Handle the packet at ``position``; where the next one starts, or _NEED_MORE with ``needed`` set."""
        size = len(data)
        first = data[position]
        body = position + 2
        if body > size:
            self._check_header(connection, first, 0)
            connection.needed = 2
            return _NEED_MORE
        length = data[position + 1]
        if length > 127:
            length, body = _long_length(data, position, connection.five)
            if body == 0:
                self._check_header(connection, first, 0)
                connection.needed = size - position + 1
                return _NEED_MORE
            if body - position + length > connection.maximum_packet_size:  # no shorter packet can be too large
                self._check_header(connection, first, body - position + length)
        end = body + length
        if end > size:
            self._check_header(connection, first, end - position)
            connection.needed = end - position
            return _NEED_MORE
        if first == 0x30:
            if length > 2:
                topic_end = body + 2 + (data[body] << 8 | data[body + 1])
                route = connection.routes_q0.get(data[body:topic_end])
                if (
                    route is not None
                    and route.stamp == self._state.tree.stamp
                    and now < route.valid_until
                    # 5.0: no properties; the byte that says so must belong to this packet.
                    and ((topic_end < end and data[topic_end] == 0) if connection.five else topic_end <= end)
                ):
                    return self._forward(connection, route, data, position, topic_end, end, now)
        elif first == 0x32:
            if length > 4:
                topic_end = body + 2 + (data[body] << 8 | data[body + 1])
                route = connection.routes_q1.get(data[body:topic_end])
                if route is not None and self._publish_acknowledged(connection, route, data, body, topic_end, end, now):
                    return end
        elif first == 0x40 and length == 2 and connection.session is not None:
            self._acknowledged(connection, data[body] << 8 | data[body + 1], now)
            return end
        self._general(connection, first, data, position, body, end, now)
        return end

    def _general(
        self, connection: Connection, first: int, data: bytes, position: int, body: int, end: int, now: float
    ) -> None:
        handler = self._handlers.get((connection.state, first >> 4))
        if handler is None or end - position > connection.maximum_packet_size:
            self._check_header(connection, first, end - position)
            return
        if connection.state is State.AWAITING_CONNECT:
            packet = self._decode_connect(connection, first, data[body:end], body - position, now)
        else:
            packet = decode_packet(first, data[body:end], connection.facts.protocol_version)
        handler(connection, packet, now)

    def _decode_connect(self, connection: Connection, first: int, body: bytes, header_size: int, now: float) -> Packet:
        """Decode a CONNECT; one that cannot be is answered, before it raises, as its version has words for it."""
        try:
            packet = decode_packet(first, body, 0)
            # Only now is known whether the rule of v5.0 [MQTT-1.5.5-1] holds for the Remaining Length that was read.
            if packet.protocol_version == MQTT_5_0 and header_size > 1 + len(encode_remaining_length(len(body))):  # type: ignore[union-attr]  # nothing but a CONNECT is decoded here
                raise MalformedPacket("the Remaining Length is padded with zeros; use the fewest bytes")
        except MqttError as error:
            self._refuse_connect(connection, body, error, now)
            raise
        return packet

    def _check_header(self, connection: Connection, first: int, size: int) -> None:
        """Refuse a packet by its fixed header, before any of it is kept."""
        check_first_byte(first, connection.facts.protocol_version)
        if (connection.state, first >> 4) not in self._handlers:
            raise ProtocolError(f"{PacketType(first >> 4).name} is not allowed while {connection.state.value}")
        if size > connection.maximum_packet_size:
            raise PacketTooLarge(f"a packet of {size} bytes; {connection.maximum_packet_size} are taken")

    def _fault(self, connection: Connection, error: MqttError, now: float) -> None:
        self._state.close(connection, error.reason_code, str(error), now)

    # -- the short way -------------------------------------------------------------------------------------------

    def _forward(
        self, connection: Connection, route: Route, data: bytes, position: int, topic_end: int, end: int, now: float
    ) -> int:
        """Pass on QoS 0 messages of one settled route: as many in a row as have the same header, as one piece."""
        step = end - position
        stop = end
        count = 1
        if route.batchable:
            head = data[position:topic_end]
            size = len(data)
            while stop + step <= size and data.startswith(head, stop):
                if connection.five and data[stop + len(head)]:
                    break  # this one has properties
                stop += step
                count += 1
        state = self._state
        if route.meters and not self._metered(connection, route, count, count * (end - topic_end), now):
            return stop
        state.counters.messages_received += count
        if route.same:
            piece = data[position:stop] if stop - position < len(data) else data
            self._to_all(route.same, route, piece, step, count, now)
        if route.cross:
            start = topic_end - position
            piece = b"".join(
                [_other_format(data, at, at + start, at + step, connection.five) for at in range(position, stop, step)]
            )
            self._to_all(route.cross, route, piece, len(piece) // count, count, now)
        return stop

    def _to_all(self, readers: list[Connection], route: Route, piece: bytes, step: int, count: int, now: float) -> None:
        state = self._state
        limit = state.outbox_limit
        touched = state.touched
        size = len(piece)
        fits_all = step <= route.smallest_maximum
        dropped = 0
        for reader in readers:
            if reader.outbox_bytes > limit:
                dropped += count
                state.overflow(reader, count, now)
                continue
            if not (fits_all or step <= reader.peer_maximum_packet_size):
                dropped += count
                state.counters.messages_dropped += count
                continue
            reader.outbox.append(piece)
            reader.outbox_bytes += size
            if not reader.touched:
                reader.touched = True
                touched.append(reader)
        state.counters.messages_sent += count * len(readers) - dropped

    def _metered(self, connection: Connection, route: Route, count: int, octets: int, now: float) -> bool:
        """Spend on the route's meters; False where a meter refuses, which for QoS 0 means silence or the end."""
        for meter in route.meters:
            decision = meter.spend(count, octets, now)
            if decision is None:
                continue
            if decision.effect is Effect.DENY:
                self._state.counters.publishes_denied += count - 1  # and one more by the refusal itself
                self._publishing.refuse_unacknowledged(connection, decision, now)
                return False
            self._throttling.oblige(connection, decision.obligations, now)
        return True

    def _publish_acknowledged(
        self, connection: Connection, route: Route, data: bytes, topic_start: int, topic_end: int, end: int, now: float
    ) -> bool:
        """Handle one QoS 1 PUBLISH of a settled route; False where it must go the long way."""
        state = self._state
        payload_start = topic_end + 2
        if (
            route.stamp != state.tree.stamp
            or now >= route.valid_until
            or payload_start > end
            or state.storage_problem is not None
            or state.pressure
        ):
            return False
        packet_id = data[topic_end:payload_start]
        if packet_id == b"\0\0":
            return False
        if connection.five:
            if data[payload_start : payload_start + 1] != b"\0" or payload_start >= end:
                return False
            payload_start += 1
        payload = data[payload_start:end]
        publishing = self._publishing
        if route.meters:
            refusal = self._throttling.spend(connection, route.meters, len(payload), now)
            if refusal is not None:
                publishing.refuse_acknowledged(connection, refusal, int.from_bytes(packet_id, "big"), now)
                return True
        state.counters.messages_received += 1
        message = Message(
            route.topic, payload, 1, False, publishing.envelope(connection), None, None, data[topic_start:topic_end]
        )
        changes = state.journal.changes
        self._routing.follow(route, message, connection.five, now)
        answer = _PUBACK_OK + packet_id
        if connection.five and not route.matched:
            answer = _PUBACK_NO_SUBSCRIBERS + packet_id + b"\x10"
        touched = changes != state.journal.changes
        if touched or connection.gated is not None:
            state.gate(connection, answer, touched, now)
        else:
            state.send(connection, answer, now)
        return True

    def _acknowledged(self, connection: Connection, packet_id: int, now: float) -> None:
        """A PUBACK without properties."""
        session = connection.session
        if session is None:
            return
        delivery = session.inflight.get(packet_id)
        if delivery is not None and not isinstance(delivery, int) and delivery[1] == 1:
            del session.inflight[packet_id]
            session.inflight_octets -= len(delivery[0].payload)
            if session.record is not None:
                self._state.journal.settle(session, session.record, delivery)
            if connection.send_quota < connection.send_quota_maximum:
                connection.send_quota += 1
            if session.queue is not None or session.unsent is not None or connection.replays:
                self._deliveries.drain(session, now)
        elif packet_id in session.inflight:
            raise ProtocolError("PUBACK for a message of QoS 2")
        elif packet_id == 0:
            raise ProtocolError("Packet Identifier 0")


def _compact(pieces: list[bytes | bytearray]) -> None:
    """Make one of many pieces, in linear time over all calls."""
    whole = pieces[0]
    if not isinstance(whole, bytearray):
        whole = bytearray(whole)
    for piece in pieces[1:]:
        whole += piece
    pieces[:] = [whole]


def _long_length(data: bytes, position: int, shortest: bool) -> tuple[int, int]:
    """The Remaining Length and where the body starts; (0, 0) where bytes are missing.

    Raises:
        MalformedPacket: more than four bytes (v5.0 section 1.5.5), or with ``shortest`` more than were needed, which
            5.0 forbids ([MQTT-1.5.5-1]) and some clients of 3.x do.
    """
    length = 0
    for index in range(4):
        at = position + 1 + index
        if at >= len(data):
            return 0, 0
        byte = data[at]
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if index and byte == 0 and shortest:
                break
            return length, at + 1
    raise MalformedPacket("a Remaining Length of more than four bytes, or not in its shortest form")


def _other_format(data: bytes, start: int, topic_end: int, end: int, five: bool) -> bytes:
    """A QoS 0 PUBLISH without properties in the packet format that its publisher does not speak."""
    topic = data[start + _header_size(data, start) : topic_end]
    rest = data[topic_end + 1 : end] if five else b"\0" + data[topic_end:end]
    return b"\x30" + encode_remaining_length(len(topic) + len(rest)) + topic + rest


def _header_size(data: bytes, start: int) -> int:
    size = 2
    while data[start + size - 1] > 127:
        size += 1
    return size
