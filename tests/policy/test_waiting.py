"""Tests of waiting for one Deferred."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.waiting import Waiting


class WaitingTests(SynchronousTestCase):
    """The first of answer, time-out and cancellation counts."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers: list[Any] = []

    def wait(self, deferred: Deferred[Any]) -> Waiting:
        return Waiting(deferred, 1.0, self.clock, self.answers.append)

    def test_answer_that_was_there(self) -> None:
        """A fired Deferred is read at once, without a call or a timer."""
        waiting = self.wait(succeed(7))
        self.assertEqual((waiting.done, waiting.answer, self.answers), (True, 7, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answer_stops_the_timer(self) -> None:
        """An answer in time is given once, and no timer is left behind."""
        deferred: Deferred[Any] = Deferred()
        self.wait(deferred)
        deferred.callback(7)
        self.clock.advance(2.0)
        self.assertEqual((self.answers, self.clock.getDelayedCalls()), ([7], []))

    def test_time_out(self) -> None:
        """After its time the answer is a Failure, and what comes later is ignored."""
        deferred: Deferred[Any] = Deferred()
        self.wait(deferred)
        self.clock.advance(1.0)
        deferred.callback(7)
        self.assertEqual(len(self.answers), 1)
        self.assertIsInstance(self.answers[0], Failure)
        self.assertIsInstance(self.answers[0].value, Waiting.TimedOut)

    def test_cancel(self) -> None:
        """After cancel nothing is answered; a second cancel does nothing."""
        cancelled: list[Any] = []
        waiting = self.wait(Deferred(cancelled.append))
        waiting.cancel()
        waiting.cancel()
        self.clock.advance(2.0)
        self.assertEqual((len(cancelled), self.answers, self.clock.getDelayedCalls()), (1, [], []))
