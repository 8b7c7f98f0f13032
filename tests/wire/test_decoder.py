# -*- test-case-name: tests.wire.test_decoder -*-
"""Streams of packets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import MalformedPacket, PacketTooLarge, ProtocolError
from mqttsecure.wire.decoder import Decoder, decode_packet
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect, Packet, Pingreq, Publish


class DecoderTests(SynchronousTestCase):
    """Bytes as the network brings them."""

    def test_gives_packets_in_order(self) -> None:
        """Several packets in one piece come out one by one, and then there is none."""
        decoder = Decoder(4)
        decoder.feed(bytes.fromhex("c000c00030030001 61c0"))
        found: list[Packet | None] = [decoder.next_packet() for _ in range(4)]
        self.assertEqual(found, [Pingreq(), Pingreq(), Publish("a"), None])
        decoder.feed(b"\0")
        self.assertEqual(decoder.next_packet(), Pingreq())
        self.assertIsNone(decoder.next_packet())
        self.assertIsNone(Decoder().next_packet())

    def test_learns_the_version(self) -> None:
        """What follows a CONNECT is read in its version."""
        for version in (3, 4, 5):
            decoder = Decoder()
            decoder.feed(encode_packet(Connect(version, "c"), version) + encode_packet(Publish("a", b"x"), version))
            self.assertEqual(decoder.next_packet(), Connect(version, "c"))
            self.assertEqual(decoder.version, version)
            self.assertEqual(decoder.next_packet(), Publish("a", b"x"))

    def test_refuses_size_at_the_fixed_header(self) -> None:
        """A packet that is too large is refused before its body is waited for, at the exact byte."""
        fits = encode_packet(Publish("a", bytes(96)), 4)
        self.assertEqual(len(fits), 101)
        decoder = Decoder(4, maximum_packet_size=101)
        decoder.feed(fits)
        self.assertEqual(decoder.next_packet(), Publish("a", bytes(96)))
        decoder.feed(encode_packet(Publish("a", bytes(97)), 4)[:2])
        self.assertRaises(PacketTooLarge, decoder.next_packet)

    def test_size_is_of_the_whole_packet(self) -> None:
        """A Remaining Length of four bytes counts too, and 256 MB are refused after five bytes."""
        decoder = Decoder(4)
        decoder.feed(bytes.fromhex("30ffffff"))
        self.assertIsNone(decoder.next_packet())
        decoder.feed(b"\x7f")
        self.assertRaises(PacketTooLarge, decoder.next_packet)

    def test_size_may_grow(self) -> None:
        """After authentication larger packets may be taken."""
        decoder = Decoder(4, maximum_packet_size=10)
        decoder.maximum_packet_size = 1000
        decoder.feed(encode_packet(Publish("a", bytes(500)), 4))
        self.assertEqual(decoder.next_packet(), Publish("a", bytes(500)))

    def test_refuses_at_the_first_byte(self) -> None:
        """Type and flags are judged before any second byte."""
        for first_byte, error in ((b"\0", MalformedPacket), (b"\x36", MalformedPacket), (b"\x20", ProtocolError)):
            decoder = Decoder(4)
            decoder.feed(first_byte)
            self.assertRaises(error, decoder.next_packet)

    def test_refuses_long_length_as_soon_as_seen(self) -> None:
        """The fourth length byte that promises a fifth is enough."""
        decoder = Decoder(4)
        decoder.feed(bytes.fromhex("30808080"))
        self.assertIsNone(decoder.next_packet())
        decoder.feed(b"\x80")
        self.assertRaises(MalformedPacket, decoder.next_packet)

    def test_padded_length(self) -> None:
        """5.0 forbids a Remaining Length with zeros at its end, even in the CONNECT; 3.1.1 has no such rule."""
        decoder = Decoder(4)
        decoder.feed(bytes.fromhex("c08000"))
        self.assertEqual(decoder.next_packet(), Pingreq())
        for version, data in ((5, "c08000"), (5, "30838000000161"), (0, "108e00 00044d515454 05 02 0000 00 000163")):
            decoder = Decoder(version)
            decoder.feed(bytes.fromhex(data))
            self.assertRaises(MalformedPacket, decoder.next_packet)

    def test_nothing_after_an_error(self) -> None:
        """After an error the same error comes again, and later bytes are neither kept nor read."""
        decoder = Decoder(4)
        decoder.feed(bytes.fromhex("c000 00 c000"))
        self.assertEqual(decoder.next_packet(), Pingreq())
        first = self.assertRaises(MalformedPacket, decoder.next_packet)
        decoder.feed(bytes(100_000))
        self.assertEqual(len(decoder._buffer), 0)
        self.assertIs(self.assertRaises(MalformedPacket, decoder.next_packet), first)

    def test_keeps_no_more_than_one_packet(self) -> None:
        """What was given is forgotten: a long stream does not grow the buffer."""
        decoder = Decoder(4)
        piece = encode_packet(Publish("a", bytes(200)), 4)
        stream = piece * 300
        largest = 0
        for start in range(0, len(stream), 37):
            decoder.feed(stream[start : start + 37])
            while decoder.next_packet() is not None:
                pass
            largest = max(largest, len(decoder._buffer))
        self.assertLess(largest, len(piece))

    def test_byte_by_byte_is_linear(self) -> None:
        """A large packet that drips in does not cost the square of its size: nothing is copied while it waits."""
        decoder = Decoder(4, maximum_packet_size=1 << 20)
        data = encode_packet(Publish("a", bytes(200_000)), 4)
        for index in range(len(data) - 1):
            decoder.feed(data[index : index + 1])
            self.assertIsNone(decoder.next_packet())
        buffer = decoder._buffer
        decoder.feed(data[-1:])
        self.assertIs(decoder._buffer, buffer)
        self.assertEqual(decoder.next_packet(), Publish("a", bytes(200_000)))

    def test_decode_packet_checks_the_first_byte_too(self) -> None:
        """A caller with a frame loop of its own gets the same refusals."""
        self.assertRaises(MalformedPacket, decode_packet, 0x36, b"\0\1a\0\1", 4)
        self.assertRaises(ProtocolError, decode_packet, 0xD0, b"", 5)
        self.assertRaises(ProtocolError, decode_packet, 0xC0, b"", 0)
