# -*- test-case-name: tests.lab.network.test_firewall -*-
"""The policy's ACCEPT stage in the kernel of the broker's host."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.network.firewall import counters, firewall_of, load_firewall
from mqttsecure.lab.network.lan import build_lan
from mqttsecure.lab.network.plan import BROKER, MALLORY, PUBLISHER, Host
from mqttsecure.lab.network.processes import read_line
from mqttsecure.lab.network.space import Space
from tests.lab.experiment.case import short_folder
from tests.lab.network.case import open_space

_LISTEN = """
import socket
sockets = [socket.create_server(("", port)) for port in (8883, 8885)]
print("ready", flush=True)
input()
"""
_CONNECT = """
import socket, sys
try:
    socket.create_connection(("10.77.0.10", int(sys.argv[1])), 0.7)
    print("connected")
except TimeoutError:
    print("silence")
"""


class FirewallTests(SynchronousTestCase):
    """Hosts knock."""

    def knock(self, space: Space, host: Host, port: int) -> str:
        return space.run(host, sys.executable, "-c", _CONNECT, str(port)).strip()

    def test_who_is_permitted_passes_and_nobody_else(self) -> None:
        """The publisher reaches the broker's port; mallory does not, nor does anyone another port. It is counted."""
        folder = short_folder(self)
        space = open_space()
        self.addCleanup(space.close)
        build_lan(space)
        load_firewall(space, firewall_of(folder.policy))
        process = space.popen(BROKER, [sys.executable, "-c", _LISTEN])
        assert process.stdout is not None and process.stdin is not None
        self.assertEqual(read_line(process.stdout, 60), "ready\n")
        self.assertEqual(self.knock(space, PUBLISHER, 8883), "connected")
        self.assertEqual(self.knock(space, MALLORY, 8883), "silence")
        self.assertEqual(self.knock(space, PUBLISHER, 8885), "silence")
        found = counters(space)
        self.assertTrue(any(each["packets"] and each["verdict"] == "drop" for each in found), found)
        process.stdin.close()
        process.stdout.close()
        process.wait(60)

    def test_a_policy_with_mistakes(self) -> None:
        """They are told, and nothing is loaded."""
        file = Path(self.mktemp())
        file.write_text("[[listener]]\n")
        with self.assertRaisesRegex(LabError, "listener"):
            firewall_of(file)
