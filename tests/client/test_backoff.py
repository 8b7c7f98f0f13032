"""Waits between attempts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.backoff import Waits
from mqttsecure.client.options import Backoff


class WaitsTests(SynchronousTestCase):
    """The broker is away."""

    def test_grow_to_the_longest(self) -> None:
        """Each wait is longer than the one before, up to the longest; after a success they begin anew."""
        waits = Waits(Backoff(1, 2, 5), lambda: 1.0)
        self.assertEqual([waits.next() for _ in range(5)], [1, 2, 4, 5, 5])
        waits.reset()
        self.assertEqual(waits.next(), 1)

    def test_chance(self) -> None:
        """A thousand clients do not come back in the same second: half of each wait is chance."""
        self.assertEqual(Waits(Backoff(8, 2, 60), lambda: 0.0).next(), 4)
        self.assertEqual(Waits(Backoff(8, 2, 60), lambda: 0.5).next(), 6)

    def test_ends(self) -> None:
        """I may say how often to try."""
        waits = Waits(Backoff(attempts=2), lambda: 0.0)
        self.assertIsNotNone(waits.next())
        self.assertIsNotNone(waits.next())
        self.assertIsNone(waits.next())
        self.assertIsNone(Waits(Backoff(attempts=0), lambda: 0.0).next())
