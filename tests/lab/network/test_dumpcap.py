# -*- test-case-name: tests.lab.network.test_dumpcap -*-
"""Our capture and Wireshark's, on the same switch at the same time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.files import parse_capture
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.network.lan import SWITCH, build_lan
from mqttsecure.lab.network.plan import BROKER, MALLORY
from mqttsecure.lab.network.processes import read_line
from tests.lab.network.case import open_space
from tests.support.foreign import require

_SERVE = """
import socket
server = socket.create_server(("", 8883))
print("ready", flush=True)
for _ in range(5):
    connection, _ = server.accept()
    connection.sendall(connection.recv(100) * 100)
    connection.close()
"""
_ASK = """
import socket
for _ in range(5):
    with socket.create_connection(("10.77.0.10", 8883), 30) as connection:
        connection.sendall(b"x" * 50)
        while connection.recv(65536):
            pass
"""


class DumpcapTests(SynchronousTestCase):
    """Frames pass."""

    def test_the_same_frames(self) -> None:
        """All that dumpcap has, we have, byte for byte, and no others."""
        dumpcap = require("dumpcap")
        space = open_space()
        self.addCleanup(space.close)
        build_lan(space)
        ours, theirs = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
        theirs.parent.mkdir(parents=True, exist_ok=True)
        # No IPv6 while both start: what it says of itself then would be in one of them alone.
        space.run(None, "sh", "-c", "for each in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $each; done")
        for host in (BROKER, MALLORY):
            space.run(host, "ip", "link", "set", "eth0", "addrgenmode", "none")
            space.run(host, "ip", "-6", "addr", "flush", "dev", "eth0")
        server = space.popen(BROKER, [sys.executable, "-c", _SERVE])
        other = space.popen(None, ["sh", "-c", f'exec {dumpcap} -q -i {SWITCH} -f tcp -w "$1" 2>&1', "sh", str(theirs)])
        mine = space.popen(None, [sys.executable, "-m", "mqttsecure.lab.network.capturing", SWITCH, str(ours)])
        for process in (server, other, mine):
            assert process.stdout is not None and process.stdin is not None
        assert server.stdout and other.stdout and mine.stdout and mine.stdin and server.stdin and other.stdin
        self.assertEqual(read_line(server.stdout, 60), "ready\n")
        self.assertIn("Capturing on", read_line(other.stdout, 60) or "")
        self.assertIn("File:", read_line(other.stdout, 60) or "")
        self.assertEqual(read_line(mine.stdout, 60), "ready\n")
        space.run(MALLORY, sys.executable, "-c", _ASK)
        mine.stdin.close()
        mine.wait(60)
        frames = [frame.data for frame in parse_capture(ours.read_bytes(), Budget()).frames if _is_tcp(frame.data)]
        deadline = time.monotonic() + 30
        while _count(theirs) < len(frames) and time.monotonic() < deadline:  # dumpcap writes when it likes
            time.sleep(0.02)
        space.close()
        other.wait(60)
        for process in (server, other, mine):
            for stream in filter(None, (process.stdin, process.stdout)):
                stream.close()
        server.wait(60)
        expected = [frame.data for frame in parse_capture(theirs.read_bytes(), Budget()).frames]
        self.assertEqual(frames, expected)
        self.assertGreater(len(frames), 40)


def _count(file: Path) -> int:
    """Frames that are whole in the file so far."""
    try:
        return len(parse_capture(file.read_bytes(), Budget()).frames)
    except (CaptureError, OSError):
        return 0


def _is_tcp(frame: bytes) -> bool:
    return frame[12:14] == b"\x08\x00" and frame[23] == 6
