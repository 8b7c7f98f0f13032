# -*- test-case-name: tests.lab.network.test_plan -*-
"""Who is where."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.network.plan import BROKER, HOSTS, LOOPBACK, Mode


class PlanTests(SynchronousTestCase):
    """The hosts of the lab."""

    def test_addresses_are_each_ones_own(self) -> None:
        """In every network."""
        for mode in Mode:
            addresses = {host.address(mode.network) for host in HOSTS}
            self.assertEqual(len(addresses), len(HOSTS))
        self.assertEqual(BROKER.address(), "10.77.0.10")
        self.assertEqual(BROKER.address(LOOPBACK), "127.77.0.10")

    def test_modes_in_the_order_in_which_they_are_tried(self) -> None:
        """Root, rootless, loopback; the last has no LAN."""
        self.assertEqual([mode.has_lan for mode in Mode], [True, True, False])
        self.assertEqual([mode.value for mode in Mode], ["root", "rootless", "loopback"])
