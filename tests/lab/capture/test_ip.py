"""Tests for mqttsecure.lab.capture.ip: fragments, extension headers, what is malformed."""

from __future__ import annotations

import itertools
import struct

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.ip import Datagram, Defragmenter
from mqttsecure.lab.capture.limits import Budget, Limits
from mqttsecure.lab.capture.synthesis import End, ip_header

_CLIENT, _SERVER = End("10.0.0.1", 1), End("10.0.0.2", 2)
_CLIENT_6, _SERVER_6 = End("fd00::1", 1), End("fd00::2", 2)
_DATA = bytes(range(100))


def fragment(offset: int, more: bool, data: bytes, identifier: int = 7) -> bytes:
    packet = bytearray(ip_header(_CLIENT, _SERVER, data, identifier=identifier))
    packet[6:8] = struct.pack(">H", offset // 8 | (0x2000 if more else 0))
    return bytes(packet)


def fragment_6(offset: int, more: bool, data: bytes) -> bytes:
    head = struct.pack(">BBHI", 6, 0, offset | more, 99)
    return ip_header(_CLIENT_6, _SERVER_6, head + data, protocol=44)


class WholeTests(SynchronousTestCase):
    """Packets that are in one piece."""

    def feed(self, packet: bytes) -> Datagram | None:
        return Defragmenter(Budget()).feed(packet)

    def test_padding_is_taken_off(self) -> None:
        """Short frames are padded by the link."""
        found = self.feed(ip_header(_CLIENT, _SERVER, b"abc") + bytes(20))
        self.assertEqual(found, Datagram("10.0.0.1", "10.0.0.2", 6, b"abc"))
        found = self.feed(ip_header(_CLIENT_6, _SERVER_6, b"abc") + bytes(20))
        self.assertEqual(found, Datagram("fd00::1", "fd00::2", 6, b"abc"))

    def test_length_of_zero(self) -> None:
        """A card that segments by itself leaves the total length to be filled in later."""
        packet = bytearray(ip_header(_CLIENT, _SERVER, b"abc"))
        packet[2:4] = b"\0\0"
        found = self.feed(bytes(packet))
        self.assertEqual(found.payload if found else None, b"abc")

    def test_cut_by_the_capture(self) -> None:
        """What is missing is counted."""
        for packet in (ip_header(_CLIENT, _SERVER, _DATA), ip_header(_CLIENT_6, _SERVER_6, _DATA)):
            found = self.feed(packet[:-30])
            self.assertEqual((found.missing, len(found.payload)) if found else None, (30, 70))

    def test_extension_headers(self) -> None:
        """Hop-by-hop, routing, destination and authentication headers are passed over."""
        options = bytes((60, 0)) + bytes(6) + bytes((43, 1)) + bytes(14) + bytes((51, 0)) + bytes(6)
        authentication = bytes((6, 1)) + bytes(10)
        found = self.feed(ip_header(_CLIENT_6, _SERVER_6, options + authentication + _DATA, protocol=0))
        self.assertEqual(found, Datagram("fd00::1", "fd00::2", 6, _DATA))

    def test_malformed(self) -> None:
        """Headers that cannot be; endless extension headers."""
        endless = ip_header(_CLIENT_6, _SERVER_6, bytes(8) * 40, protocol=0)
        packets = (b"\x45", bytes((0x41,)) + bytes(30), b"\x60" + bytes(20), endless, b"\x00" * 40)
        short = bytearray(ip_header(_CLIENT, _SERVER, _DATA))
        short[2:4] = b"\0\5"
        for packet in (*packets, bytes(short)):
            reader = Defragmenter(Budget())
            self.assertIsNone(reader.feed(packet))
            self.assertEqual(reader.malformed, 1, packet)
        self.assertIsNone(self.feed(b""))


class FragmentTests(SynchronousTestCase):
    """Packets in pieces."""

    def test_any_order(self) -> None:
        """Three pieces, in each order, and one of them twice."""
        for make in (fragment, fragment_6):
            pieces = [make(0, True, _DATA[:40]), make(40, True, _DATA[40:80]), make(80, False, _DATA[80:])]
            for order in itertools.permutations(pieces):
                reader = Defragmenter(Budget())
                found = [reader.feed(piece) for piece in (order[0], *order)]
                self.assertEqual([each.payload for each in found if each], [_DATA])
                self.assertEqual(reader.unfinished, 0)

    def test_the_first_bytes_stay(self) -> None:
        """Overlapping pieces with other contents change nothing of what came first."""
        reader = Defragmenter(Budget())
        reader.feed(fragment(0, True, _DATA[:40]))
        reader.feed(fragment(32, True, b"X" * 48))
        found = reader.feed(fragment(80, False, _DATA[80:]))
        self.assertEqual(found.payload if found else b"", _DATA[:40] + b"X" * 40 + _DATA[80:])

    def test_a_whole_packet_with_a_fragment_header(self) -> None:
        """An "atomic fragment" waits for nothing."""
        found = Defragmenter(Budget()).feed(fragment_6(0, False, _DATA))
        self.assertEqual(found.payload if found else b"", _DATA)

    def test_bounds(self) -> None:
        """Beyond 64 KiB, too many pieces, too many packets that wait."""
        reader = Defragmenter(Budget(Limits(fragments=3)))
        reader.feed(fragment(65528, True, _DATA))
        self.assertEqual(reader.malformed, 1)
        for number in range(300):
            reader.feed(fragment(8 * number + 8, True, b"12345678"))
        self.assertEqual(reader.malformed, 2)
        for number in range(10):
            reader.feed(fragment(8, True, b"12345678", identifier=number))
        self.assertEqual(reader.unfinished, 11)
        self.assertIsNone(reader.feed(ip_header(_CLIENT_6, _SERVER_6, b"123", protocol=44)))
