# -*- test-case-name: tests.lab.network.test_lan -*-
"""A switch and cables."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.network.lan import build_lan
from mqttsecure.lab.network.plan import BROKER, HOSTS, MALLORY
from tests.lab.network.case import links, open_space


class LanTests(SynchronousTestCase):
    """The lab's hosts are connected."""

    def test_every_host_hears_the_broker(self) -> None:
        """By its address; the machine's own network stays as it was, meanwhile and afterwards."""
        before = links()
        space = open_space()
        self.addCleanup(space.close)
        build_lan(space)
        self.assertEqual(links(), before)
        for host in HOSTS:
            self.assertIn(f"{host.address()}/24", space.run(host, "ip", "-brief", "addr", "show", "eth0"))
        program = (
            "import socket; s = socket.socket(2, 2); s.connect(('10.77.0.10', 9)); s.send(b'x'); print(s.getsockname())"
        )
        self.assertIn("10.77.0.40", space.run(MALLORY, "python3", "-c", program))
        self.assertIn(BROKER.address(), space.run(MALLORY, "ip", "neigh"))
        space.close()
        self.assertEqual(links(), before)

    def test_a_second_one_in_the_same_space_is_told(self) -> None:
        """With what ip says."""
        space = open_space()
        self.addCleanup(space.close)
        build_lan(space)
        with self.assertRaisesRegex(LabError, "the LAN cannot be built .*see: mqttsecure lab doctor"):
            build_lan(space)
