"""Tests for mqttsecure.lab.capture: files, pcap, pcapng."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.files import parse_capture
from mqttsecure.lab.capture.frames import CaptureFile
from mqttsecure.lab.capture.limits import Budget

_FRAME = b"\x02" * 60


def parse(data: bytes) -> CaptureFile:
    return parse_capture(data, Budget())


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1, version: tuple[int, int] = (2, 4)) -> bytes:
    head = struct.pack(order + "IHHiIII", magic, *version, 0, 0, 65535, link)
    return head + struct.pack(order + "IIII", 100, 5, len(_FRAME), 90) + _FRAME


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<", major: int = 1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1), order)


def interface(link: int = 1, options: bytes = b"", order: str = "<", snap: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def packet(ticks: int, number: int = 0, order: str = "<", kept: int = len(_FRAME)) -> bytes:
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, kept, 90)
    return block(6, head + _FRAME, order)


class PcapTests(SynchronousTestCase):
    """Captures of tcpdump."""

    def test_both_orders_and_resolutions(self) -> None:
        """Made on any machine, with microseconds or nanoseconds."""
        for order in "<>":
            for magic, time in ((0xA1B2C3D4, 100.000005), (0xA1B23C4D, 100.000000005)):
                (frame,) = parse(pcap(order, magic)).frames
                self.assertEqual((frame.number, frame.time, frame.data, frame.length), (1, time, _FRAME, 90))

    def test_link_type_without_its_flags(self) -> None:
        """The upper bits tell of a frame check sequence, not of the link."""
        self.assertEqual(parse(pcap(link=0x14000071)).frames[0].link_type, 113)

    def test_cut(self) -> None:
        """What stands before the cut is read, and the cut is told; a header cut short is no capture."""
        whole = pcap()
        self.assertIn("within frame 1", parse(whole[:-1]).notes[0])
        self.assertIn("within the header of frame 1", parse(whole[:30]).notes[0])
        self.assertRaisesRegex(CaptureError, "within its header", parse, whole[:20])

    def test_damaged(self) -> None:
        """An unknown version, a frame of gigabytes."""
        self.assertRaisesRegex(CaptureError, "version 3.4", parse, pcap(version=(3, 4)))
        data = bytearray(pcap())
        data[32:36] = b"\xff\xff\xff\x7f"
        self.assertRaisesRegex(CaptureError, "damaged", parse, bytes(data))


class PcapngTests(SynchronousTestCase):
    """Captures of Wireshark."""

    def test_both_orders_and_resolutions(self) -> None:
        """Times by the resolution and the offset of their interface; each section in its own order."""
        nanoseconds = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)
        binary = struct.pack(">HHB3xHHqHH", 9, 1, 0x8A, 14, 8, 1000, 0, 0)
        data = section() + interface() + interface(113, nanoseconds) + packet(3_000_000) + packet(5_000_000_000, 1)
        data += section(">") + interface(101, binary, ">") + packet(2048, 0, ">")
        frames = parse(data).frames
        self.assertEqual([frame.time for frame in frames], [3.0, 5.0, 1002.0])
        self.assertEqual([frame.link_type for frame in frames], [1, 113, 101])
        self.assertEqual([frame.number for frame in frames], [1, 2, 3])

    def test_old_and_simple_packets(self) -> None:
        """Blocks that other programs write; a simple packet has no time."""
        old = block(2, struct.pack("<HHIIII", 0, 0, 0, 7_000_000, 60, 60) + _FRAME)
        simple = block(3, struct.pack("<I", 60) + _FRAME)
        frames = parse(section() + interface(snap=40) + old + simple).frames
        self.assertEqual([(frame.time, len(frame.data)) for frame in frames], [(7.0, 60), (0.0, 40)])

    def test_secrets(self) -> None:
        """TLS secrets are taken, others are told; unknown blocks are passed over."""
        secrets = block(10, struct.pack("<II", 0x544C534B, 5) + b"lines")
        others = block(10, struct.pack("<II", 0x57474B4C, 1) + b"x")
        capture = parse(section() + secrets + others + block(0x0BAD, b"anything") + interface() + packet(0))
        self.assertEqual(capture.secrets, [b"lines"])
        self.assertIn("not for TLS", capture.notes[0])
        self.assertEqual(len(capture.frames), 1)

    def test_cut(self) -> None:
        """What stands before the cut is read, and the cut is told."""
        data = section() + interface() + packet(0) + packet(0)
        for missing in (1, 50, 90):
            capture = parse(data[:-missing])
            self.assertEqual(len(capture.frames), 1)
            self.assertIn("cut", capture.notes[0])

    def test_damaged(self) -> None:
        """Blocks that contradict themselves."""
        good = section() + interface()
        for bad, text in (
            (section(major=2), "version 2.0"),
            (good[:28] + struct.pack("<III", 6, 13, 0), "says it has 13 bytes"),
            (good + packet(0)[:-4] + bytes(4), "two lengths"),
            (section() + packet(0), "does not describe"),
            (good + packet(0, kept=9999), "claims 9999 bytes"),
            (good + block(6, b"1234"), "too short"),
            (good + block(10, struct.pack("<II", 0x544C534B, 99)), "shorter than it says"),
            (b"\x0a\x0d\x0d\x0a" + bytes(24), "no byte order"),
            (section() + interface() * 1025, "more than 1024 interfaces"),
        ):
            self.assertRaisesRegex(CaptureError, text, parse, bad)
