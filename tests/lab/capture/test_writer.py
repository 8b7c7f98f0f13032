"""Tests for mqttsecure.lab.capture.writer, read by us and by Wireshark's own programs."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.files import parse_capture
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.link import LINUX_SLL2
from mqttsecure.lab.capture.writer import PcapngWriter, PcapWriter
from tests.lab.scenarios import recording_of
from tests.lab.traffic import capture, record
from tests.support.foreign import require


class WriterTests(SynchronousTestCase):
    """The lab's own captures."""

    def test_what_is_written_is_read(self) -> None:
        """Frames of two interfaces to the nanosecond, secrets, and what the capture cut."""
        file = io.BytesIO()
        with PcapngWriter(file, comment="a lesson") as writer:
            writer.write_secrets(b"CLIENT_RANDOM 00 00\n")
            self.assertEqual((writer.add_interface(name="br0"), writer.add_interface(LINUX_SLL2)), (0, 1))
            writer.write_frame(b"abc", 1_500_000_000)
            writer.write_frame(b"defgh", 1_700_000_000_123_456_789, interface=1, length=99)
        read = parse_capture(file.getvalue(), Budget())
        self.assertEqual(read.secrets, [b"CLIENT_RANDOM 00 00\n"])
        first, second = read.frames
        self.assertEqual((first.data, first.time, first.link_type, first.length), (b"abc", 1.5, 1, 3))
        self.assertEqual((second.data, second.link_type, second.length), (b"defgh", LINUX_SLL2, 99))
        self.assertAlmostEqual(second.time, 1_700_000_000.1234567, places=5)

    def test_interface_that_was_not_added(self) -> None:
        """A mistake of the program that writes."""
        self.assertRaises(ValueError, PcapngWriter(io.BytesIO()).write_frame, b"", 0)

    def test_pcap(self) -> None:
        """The old format, to the microsecond."""
        file = io.BytesIO()
        PcapWriter(file, LINUX_SLL2).write_frame(b"abc", 1_700_000_000_123_456_789, length=7)
        (frame,) = parse_capture(file.getvalue(), Budget()).frames
        self.assertEqual((frame.data, frame.length, frame.link_type), (b"abc", 7, LINUX_SLL2))
        self.assertAlmostEqual(frame.time, 1_700_000_000.123456, places=5)

    def test_wireshark_opens_it_decrypted(self) -> None:
        """Without any setting, by the secrets inside."""
        recording = recording_of("tls13")
        file = Path(self.mktemp())
        file.write_bytes(capture(record(recording).frames, secrets=recording.key_log))
        command = [require("tshark"), "-r", str(file), "-Y", "mqtt", "-T", "fields", "-e", "mqtt.passwd"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        self.assertIn("s3cret-alice", done.stdout)
