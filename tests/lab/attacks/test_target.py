# -*- test-case-name: tests.lab.attacks.test_target -*-
"""Whom attacks are for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.attacks.target import Account, Target, check_target, parse_target


class CheckTests(SynchronousTestCase):
    """Someone names a target."""

    def test_only_ones_own(self) -> None:
        """This machine, and the lab from within it; a network that only looks like the lab's is refused."""
        for host in ("127.0.0.1", "127.77.0.10", "::1", "localhost"):
            check_target(host, in_lab=False)
        self.assertEqual(check_target("10.77.0.10", in_lab=True), "10.77.0.10")
        self.assertEqual(check_target("10.99.0.10", in_lab=True), "10.99.0.10")
        for host, in_lab in (("10.77.0.10", False), ("192.0.2.1", True), ("10.78.0.1", True), ("0.0.0.0", True)):
            with self.assertRaisesRegex(LabError, "attacks are for a broker of your own"):
                check_target(host, in_lab=in_lab)

    def test_names_that_are_none(self) -> None:
        """In plain words."""
        with self.assertRaisesRegex(LabError, "no such host"):
            check_target("no-such-host.invalid", in_lab=False)
        for text in ("localhost", "localhost:0", "localhost:70000", "a b:1", ":1"):
            with self.assertRaisesRegex(LabError, "write HOST:PORT"):
                parse_target(text)
        self.assertEqual(parse_target("[::1]:8883"), ("::1", 8883))
        self.assertEqual(parse_target("127.0.0.1:1883"), ("127.0.0.1", 1883))

    def test_a_target_goes_over_a_pipe(self) -> None:
        """With its users; a password is in no list of processes."""
        target = Target("127.0.0.1", 1, True, "x", None, Account("a", "secret-a"), Account("b", "secret-b"))
        self.assertEqual(Target.read(target.line()), target)
