"""Tests for mqttsecure.lab.capture.tcp."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.synthesis import End, tcp_header
from mqttsecure.lab.capture.tcp import ACK, SYN, parse_segment


class SegmentTests(SynchronousTestCase):
    """One segment."""

    def test_fields(self) -> None:
        """Ports, numbers, flags, bytes."""
        data = tcp_header(End("10.0.0.1", 5, 70), End("10.0.0.2", 8883, 90), ACK, b"abc")
        segment = parse_segment(data, 9, 1.5, 0)
        if segment is None:
            self.fail("not read")
        self.assertEqual((segment.source_port, segment.destination_port), (5, 8883))
        self.assertEqual((segment.sequence, segment.acknowledgement, segment.flags), (70, 90, ACK))
        self.assertEqual((segment.payload, segment.frame, segment.time, segment.mss), (b"abc", 9, 1.5, None))

    def test_maximum_segment_size(self) -> None:
        """Told by a SYN, among other options, however these are written."""
        for options, expected in (
            (bytes((2, 4, 5, 180)), 1460),
            (bytes((1, 1, 1, 1, 3, 3, 7, 1, 2, 4, 1, 144)), 400),
            (bytes((0, 2, 4, 5)), None),
            (bytes((3, 0, 2, 4)), None),
            (bytes((1, 1, 1, 2)), None),
        ):
            head = bytearray(tcp_header(End("10.0.0.1", 5), End("10.0.0.2", 6), SYN, b""))
            head[12] = (20 + len(options)) // 4 << 4
            segment = parse_segment(bytes(head) + options, 1, 0.0, 0)
            self.assertEqual(segment.mss if segment else "not read", expected)

    def test_malformed(self) -> None:
        """Too short, or a header longer than the segment."""
        head = bytearray(20)
        self.assertIsNone(parse_segment(bytes(19), 1, 0.0, 0))
        self.assertIsNone(parse_segment(bytes(head), 1, 0.0, 0))
        head[12] = 0xF0
        self.assertIsNone(parse_segment(bytes(head), 1, 0.0, 0))
