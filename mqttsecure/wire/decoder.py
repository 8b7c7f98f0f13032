# -*- test-case-name: tests.wire.test_decoder -*-
"""Bytes to packets: one packet whose fixed header is off already, or a stream of them.

On the path of each message.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.errors import MalformedPacket, MqttError, PacketTooLarge
from mqttsecure.wire.bodies import DECODERS, decode_publish
from mqttsecure.wire.constants import MQTT_5_0, PacketType
from mqttsecure.wire.packets import Connect, Packet
from mqttsecure.wire.rules import check_first_byte

__all__ = ["Decoder", "decode_packet"]

_PUBLISH: Final = int(PacketType.PUBLISH)


def decode_packet(first_byte: int, body: bytes, version: int, *, from_client: bool = True) -> Packet:
    """Decode one packet.

    Args:
        first_byte: of the fixed header.
        body: all that Remaining Length counts.
        version: 3, 4 or 5, or 0 before CONNECT, which tells its own.
        from_client: which end sent it; a packet that this end may not send is refused.

    Raises:
        MqttError: the subclass whose Reason Code the standard gives to the fault.
    """
    check_first_byte(first_byte, version, from_client=from_client)
    packet_type = first_byte >> 4
    if packet_type == _PUBLISH:
        return decode_publish(first_byte, body, version, from_client)
    return DECODERS[packet_type](body, version, from_client)


class Decoder:
    """Takes a stream of bytes in pieces of any size and gives its packets.

    Feed it, then take packets until there is none: what is kept is then at most ``maximum_packet_size`` bytes. The
    type, flags and size of a packet are judged when its fixed header is there, before any more of it is waited for.
    Each byte is copied a fixed number of times, however small the pieces are. After an error nothing more is decoded.

    Attributes:
        version: 3, 4 or 5, or 0 until the CONNECT that tells it.
        maximum_packet_size: bytes of the largest packet taken, fixed header included; may be changed between packets.
    """

    def __init__(self, version: int = 0, maximum_packet_size: int = 65536, from_client: bool = True) -> None:
        self.version = version
        self.maximum_packet_size = maximum_packet_size
        self._from_client = from_client
        self._buffer = bytearray()
        # Where the first packet that was not given yet begins, where its body begins and ends; the latter two are 0
        # until its fixed header is complete.
        self._start = 0
        self._body = 0
        self._end = 0
        self._error: MqttError | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes; nothing is parsed until :meth:`next_packet`. Bytes behind an error are dropped."""
        if self._error is None:
            self._buffer += data

    def next_packet(self) -> Packet | None:
        """Give the next packet, or None where more bytes are needed.

        Raises:
            MqttError: what the peer did wrong; each later call raises it again.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next_packet()
        except MqttError as error:
            self._error = error
            self._buffer.clear()
            raise

    def _next_packet(self) -> Packet | None:
        buffer = self._buffer
        if not self._end and not self._read_fixed_header():
            self._drop_taken()
            return None
        if len(buffer) < self._end:
            self._drop_taken()
            return None
        first_byte = buffer[self._start]
        body = bytes(memoryview(buffer)[self._body : self._end])
        length_bytes = self._body - self._start - 1
        packet = decode_packet(first_byte, body, self.version, from_client=self._from_client)
        if not self.version and isinstance(packet, Connect):
            self.version = packet.protocol_version
        if self.version == MQTT_5_0 and length_bytes > 1 and len(body) >> 7 * (length_bytes - 1) == 0:
            # v5.0 [MQTT-1.5.5-1]; 3.x has no such rule.
            raise MalformedPacket("the Remaining Length is padded with zeros; use the fewest bytes")
        self._start = self._end
        self._end = 0
        return packet

    def _read_fixed_header(self) -> bool:
        """Find where the body begins and ends; False where the fixed header is not complete yet."""
        buffer = self._buffer
        start = self._start
        available = len(buffer) - start
        if available <= 0:
            return False
        check_first_byte(buffer[start], self.version, from_client=self._from_client)
        value = 0
        for index in range(1, min(available, 5)):
            byte = buffer[start + index]
            value |= (byte & 0x7F) << 7 * (index - 1)
            if byte < 0x80:
                if index + 1 + value > self.maximum_packet_size:
                    # v5.0 [MQTT-3.1.2-24] for a client, section 3.2.2.3.6 for a server
                    raise PacketTooLarge(
                        f"a packet of {index + 1 + value} bytes; send at most {self.maximum_packet_size}"
                    )
                self._body = start + index + 1
                self._end = self._body + value
                return True
            if index == 4:
                raise MalformedPacket("the Remaining Length has more than four bytes; send a smaller packet")
        return False

    def _drop_taken(self) -> None:
        """Forget the bytes of packets already given, once for all that one feed brought."""
        if self._start:
            del self._buffer[: self._start]
            self._body -= self._start
            self._end -= self._start if self._end else 0
            self._start = 0
