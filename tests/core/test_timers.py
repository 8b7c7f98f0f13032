# -*- test-case-name: tests.core.test_timers -*-
"""One list for all deadlines."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.timers import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """What is due, and when."""

    def setUp(self) -> None:
        self.deadlines = Deadlines()
        self.called: list[tuple[str, float]] = []

    def note(self, name: str, again: float | None = None):
        def action(now: float) -> float | None:
            self.called.append((name, now))
            return again

        return action

    def test_in_order(self) -> None:
        """What is due is called, the earlier first, those of one time in the order of asking."""
        for when, name in ((3.0, "c"), (1.0, "a"), (1.0, "b"), (9.0, "d")):
            self.deadlines.at(when, self.note(name))
        self.assertEqual(self.deadlines.next(), 1.0)
        self.deadlines.expire(3.5)
        self.assertEqual(self.called, [("a", 3.5), ("b", 3.5), ("c", 3.5)])
        self.assertEqual((self.deadlines.next(), len(self.deadlines)), (9.0, 1))

    def test_again(self) -> None:
        """An action may ask to be called again, never at once, so that it cannot hold up the broker."""
        self.deadlines.at(1.0, self.note("a", 0.0))
        self.deadlines.expire(2.0)
        self.assertEqual(len(self.called), 1)
        following = self.deadlines.next()
        assert following is not None
        self.assertGreater(following, 2.0)

    def test_cancelled(self) -> None:
        """A cancelled deadline is not called, nor counted, and may be cancelled twice."""
        deadline = self.deadlines.at(1.0, self.note("a"))
        self.deadlines.at(2.0, self.note("b"))
        deadline.cancel()
        deadline.cancel()
        self.assertEqual((len(self.deadlines), self.deadlines.next()), (1, 2.0))
        self.deadlines.at(1.0, self.note("c")).cancel()
        self.deadlines.expire(5.0)
        self.assertEqual(self.called, [("b", 5.0)])
        self.assertEqual((len(self.deadlines), self.deadlines.next()), (0, None))

    def test_cancelled_ones_are_swept_out(self) -> None:
        """Deadlines of many short connections do not pile up until they would have been due."""
        kept = [self.deadlines.at(1000.0 + number, self.note("kept")) for number in range(10)]
        for number in range(10_000):
            self.deadlines.at(5000.0 + number, self.note("gone")).cancel()
        self.assertEqual(len(self.deadlines), len(kept))
        self.assertLess(len(self.deadlines._heap), 3000)
        self.deadlines.expire(20_000.0)
        self.assertEqual(len(self.called), 10)


class ManyTests(SynchronousTestCase):
    """Very many at the same moment."""

    def test_a_part_at_a_time(self) -> None:
        """None holds up everything else: after each part the next one is due at once, until all are done."""
        deadlines = Deadlines()
        done: list[int] = []
        for number in range(1000):
            deadlines.at(10.0, lambda now, number=number: done.append(number))  # type: ignore[misc]
        parts = 0
        while (due := deadlines.next()) is not None:
            self.assertEqual(due, 10.0)
            before = len(done)
            deadlines.expire(11.0)
            self.assertLessEqual(len(done) - before, 256)
            parts += 1
        self.assertEqual((done, parts), (list(range(1000)), 4))
