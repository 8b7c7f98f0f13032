# -*- test-case-name: tests.lab.network.test_capturing -*-
"""Frames off the switch."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.files import parse_capture
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.network.lan import SWITCH, build_lan
from mqttsecure.lab.network.plan import MALLORY
from mqttsecure.lab.network.processes import read_line
from tests.lab.network.case import open_space

_SENDER = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.77.0.10", 9999))
for number in range(100):
    try:
        s.send(b"datagram %03d" % number)
    except ConnectionRefusedError:
        s.send(b"datagram %03d" % number)
"""


class CapturingTests(SynchronousTestCase):
    """Traffic passes."""

    def test_every_frame_once_and_in_order(self) -> None:
        """Of a hundred datagrams between two others, none is missed and none is doubled, with the kernel's times."""
        space = open_space()
        self.addCleanup(space.close)
        build_lan(space)
        file = Path(self.mktemp()).absolute()
        process = space.popen(None, [sys.executable, "-m", "mqttsecure.lab.network.capturing", SWITCH, str(file)])
        assert process.stdout is not None and process.stdin is not None
        self.assertEqual(read_line(process.stdout, 60), "ready\n")
        space.run(MALLORY, "python3", "-c", _SENDER)
        process.stdin.close()
        self.assertEqual(process.wait(60), 0)
        process.stdout.close()
        frames = parse_capture(file.read_bytes(), Budget()).frames
        seen = [frame.data[42:] for frame in frames if frame.data[42:].startswith(b"datagram")]
        self.assertEqual(seen, [b"datagram %03d" % number for number in range(100)])
        times = [frame.time for frame in frames]
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[0], 1_700_000_000)
