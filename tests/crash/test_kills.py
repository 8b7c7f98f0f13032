"""A broker that is killed while many clients are at it keeps its promises: `python -m tests.crash`, shorter."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.__main__ import run

_SEED = 1
"""What is done is always the same; when it is done is chance enough."""


class KillsTests(SynchronousTestCase):
    def test_thirty_kills(self) -> None:
        """No acknowledged message is lost, none of QoS 2 comes twice, and nobody gets another's session."""
        outcome = run(30, _SEED, Path(self.mktemp()).absolute())
        self.assertEqual(outcome.problems, [], str(outcome))
        self.assertEqual(outcome.kills, 30)
        self.assertGreater(outcome.acknowledged, 300)

    def test_disks_that_fail(self) -> None:
        """Full, read-only, unable to write, unable to sync: clients are refused or wait, and the broker recovers."""
        outcome = run(2, _SEED, Path(self.mktemp()).absolute(), faults=True)
        self.assertEqual(outcome.problems, [], str(outcome))
        self.assertEqual(outcome.faults, 4)
