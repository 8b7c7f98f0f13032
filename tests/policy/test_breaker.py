"""Tests of the circuit breaker."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.breaker import CircuitBreaker


class CircuitBreakerTests(SynchronousTestCase):
    """A policy that keeps failing is left alone for a while."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.breaker = CircuitBreaker(self.clock.seconds)

    def fail_times(self, count: int) -> None:
        for _ in range(count):
            self.breaker.failed()

    def test_four_failures_change_nothing(self) -> None:
        """A few accidents are borne."""
        self.fail_times(4)
        self.assertEqual((self.breaker.tripped, self.breaker.admit()), (False, True))

    def test_fifth_failure_opens(self) -> None:
        """Five in a row open it for a second."""
        self.fail_times(5)
        self.assertEqual((self.breaker.tripped, self.breaker.admit()), (True, False))
        self.clock.advance(0.99)
        self.assertFalse(self.breaker.admit())
        self.clock.advance(0.01)
        self.assertTrue(self.breaker.admit())

    def test_success_in_between_starts_the_count_anew(self) -> None:
        """Failures count only in a row."""
        self.fail_times(4)
        self.breaker.succeeded()
        self.fail_times(4)
        self.assertFalse(self.breaker.tripped)

    def test_old_failures_are_forgotten(self) -> None:
        """A policy that fails now and then, over minutes, is asked on."""
        for _ in range(20):
            self.breaker.failed()
            self.clock.advance(10.0)
        self.assertFalse(self.breaker.tripped)

    def test_half_open_tries_one(self) -> None:
        """After the pause one request is the trial; the others are denied until it has succeeded."""
        self.fail_times(5)
        self.clock.advance(1.0)
        self.assertEqual([self.breaker.admit() for _ in range(3)], [True, False, False])
        self.breaker.succeeded()
        self.assertEqual((self.breaker.tripped, self.breaker.admit()), (False, True))

    def test_pause_doubles_up_to_half_a_minute(self) -> None:
        """Each failed trial waits longer for the next, but never longer than 30 s."""
        self.fail_times(5)
        for pause in (1, 2, 4, 8, 16, 30, 30):
            self.clock.advance(pause - 0.01)
            self.assertFalse(self.breaker.admit())
            self.clock.advance(0.02)
            self.assertTrue(self.breaker.admit())
            self.breaker.failed()

    def test_pause_is_short_again_after_a_success(self) -> None:
        """A policy that recovered starts with a clean slate."""
        self.fail_times(5)
        self.clock.advance(1.0)
        self.breaker.admit()
        self.breaker.failed()
        self.clock.advance(2.0)
        self.breaker.admit()
        self.breaker.succeeded()
        self.fail_times(5)
        self.clock.advance(1.0)
        self.assertTrue(self.breaker.admit())

    def test_failures_of_requests_asked_before_it_opened(self) -> None:
        """Requests that were under way when it opened do not prolong the pause."""
        self.fail_times(50)
        self.clock.advance(1.0)
        self.assertTrue(self.breaker.admit())

    def test_abandoned_trial_is_given_to_the_next(self) -> None:
        """If the client of the trial goes away, the next request is the trial."""
        self.fail_times(5)
        self.clock.advance(1.0)
        self.breaker.admit()
        self.breaker.abandoned()
        self.assertTrue(self.breaker.admit())
