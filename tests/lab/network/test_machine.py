# -*- test-case-name: tests.lab.network.test_machine -*-
"""What a machine can do."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.network import machine, space
from mqttsecure.lab.network.machine import choose_mode, examine
from mqttsecure.lab.network.plan import Mode
from tests.lab.network.case import open_space


class MachineTests(SynchronousTestCase):
    """Someone asks the doctor."""

    def test_this_machine(self) -> None:
        """What is said to work was done, and the way that is taken is the first that works."""
        open_space().close()  # or skip
        found = examine()
        works = {ability.name: ability.works for ability in found.abilities}
        self.assertTrue(works[f"{found.mode.value}: LAN"])
        self.assertEqual(choose_mode()[0], found.mode)
        self.assertTrue(works["loopback: addresses"])

    def test_a_machine_without_the_programs(self) -> None:
        """Each is named with its package; the lab does without a LAN."""
        nothing = {"PATH": "/nowhere"}
        self.patch(os, "environ", nothing)
        self.patch(machine, "environment", lambda: nothing)
        self.patch(space, "environment", lambda: nothing)
        found = examine()
        self.assertIs(found.mode, Mode.LOOPBACK)
        told = {ability.name: ability.detail for ability in found.abilities if not ability.works}
        self.assertIn("install the package nftables", told["program nft"])
        self.assertIn("install the package util-linux", told["rootless: namespaces"])
        self.assertIn("install the package wireguard-tools", told["tunnel (--vpn)"])
        mode, reasons = choose_mode()
        self.assertIs(mode, Mode.LOOPBACK)
        self.assertEqual(len(reasons), 2)

    def test_a_way_that_is_wished_for_and_does_not_work(self) -> None:
        """Is refused, with the reason, and no other is taken."""
        self.patch(os, "geteuid", lambda: 1000)
        with self.assertRaisesRegex(LabError, "does not do .*as root: .*you are not root"):
            choose_mode(Mode.ROOT)
        self.assertEqual(choose_mode(Mode.LOOPBACK), (Mode.LOOPBACK, []))
