"""Tests for mqttsecure.lab.capture.synthesis: what is drawn around recorded bytes is right."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.scenarios import recording_of
from tests.lab.traffic import capture, record
from tests.support.foreign import require


class SynthesisTests(SynchronousTestCase):
    """Frames that never were on a wire."""

    def test_checksums_and_numbers_are_right(self) -> None:
        """Wireshark finds nothing to complain about: no bad checksum, no lost segment, no odd acknowledgement."""
        for addresses in (("10.9.0.2", "10.9.0.1"), ("fd00::2", "fd00::1")):
            file = Path(self.mktemp())
            file.write_bytes(capture(record(recording_of("rsa"), mss=333, addresses=addresses).frames))
            options = [
                "-o",
                "tcp.check_checksum:TRUE",
                "-o",
                "ip.check_checksum:TRUE",
                "-Y",
                "tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0",
            ]
            command = [require("tshark"), "-r", str(file), *options]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
            self.assertEqual(done.stdout, "")
