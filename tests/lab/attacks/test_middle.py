# -*- test-case-name: tests.lab.attacks.test_middle -*-
"""A man in the middle, and the clients that meet it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.attacks import middle
from mqttsecure.lab.attacks.middle import BAD_ROWS, careless, verifying
from mqttsecure.lab.attacks.outcome import Outcome
from mqttsecure.lab.attacks.target import Account, Target
from mqttsecure.pki.bad import make_bad, throwaway_ca


class MiddleTests(SynchronousTestCase):
    """Bad certificates are shown to clients."""

    def setUp(self) -> None:
        self.bad = Path(self.mktemp())
        now = datetime.now(UTC)
        make_bad(self.bad, ["broker.lab.test", "127.0.0.1"], throwaway_ca(now), now)
        self.target = Target(
            "127.0.0.1", 1, True, "broker.lab.test", str(self.bad / "ca.pem"), Account("alice", "s3cret-alice"),
            Account("bob", "b"), bad=str(self.bad),
        )  # fmt: skip

    def test_a_client_that_verifies_leaves_without_a_byte(self) -> None:
        """With its reason, for each of the six."""
        for row in BAD_ROWS:
            outcome, seen = verifying(self.target, row)
            self.assertIs(outcome, Outcome.RESISTED, f"{row}: {seen}")
            self.assertRegex(seen, "^0 bytes leaked; the client says: .{20}", row)

    def test_the_man_in_the_middle_is_a_real_one(self) -> None:
        """With a good certificate he gets the password; so what is refused above is refused for the certificate."""
        self.patch(middle, "BAD_ROWS", {"B1": type(BAD_ROWS["B1"])("B1", "good", "nothing", "nothing")})
        outcome, seen = verifying(self.target, "B1")
        self.assertIs(outcome, Outcome.SUCCEEDED)
        self.assertIn("the password was stolen", seen)

    def test_a_careless_client_loses_its_password(self) -> None:
        """Six times; one with a pin does not."""
        outcome, seen = careless(self.target)
        self.assertIs(outcome, Outcome.RESISTED)
        self.assertIn("6 of 6", seen)
