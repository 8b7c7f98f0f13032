# -*- test-case-name: tests.policy.test_breaker -*-
"""A circuit breaker: a policy that keeps failing is left alone for a while.

While it is open every request that would have met the policy is denied at once, so that nobody waits a whole time-out
for a policy that is known to hang. This module is on the path of each message, where only two fields are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["CircuitBreaker"]

FAILURES: Final = 5
"""Failures in a row that open the breaker: one is an accident, five are a state."""

WINDOW: Final = 30.0
"""Seconds within which they must lie: a policy that fails once a minute is asked on."""

SHORTEST: Final = 1.0
"""Seconds for which it opens at first; each failed trial doubles them."""

LONGEST: Final = 30.0
"""The most that they grow to: a policy that works again is noticed within half a minute."""


class CircuitBreaker:
    """Closed (asked), open (not asked), or half open (one request is the trial, the others are not asked).

    Attributes:
        tripped: whether it is anything but closed; :meth:`admit` tells whether the policy may be asked all the same.
        failures: how many failures came in a row.
    """

    __slots__ = ("_first_failure", "_open_for", "_open_until", "_seconds", "_trial", "failures", "tripped")

    def __init__(self, seconds: Callable[[], float]) -> None:
        """
        Args:
            seconds: tells the time, in monotonic seconds.
        """
        self._seconds = seconds
        self._first_failure = 0.0
        self._open_for = SHORTEST
        self._open_until = 0.0
        self._trial = False
        self.failures = 0
        self.tripped = False

    def admit(self) -> bool:
        """Whether the policy may be asked now. True from a tripped breaker makes this request its one trial."""
        if not self.tripped:
            return True
        if self._trial or self._seconds() < self._open_until:
            return False
        self._trial = True
        return True

    def succeeded(self) -> None:
        """The policy answered: whatever it said, it works."""
        self.failures = 0
        self.tripped = self._trial = False
        self._open_for = SHORTEST

    def failed(self) -> None:
        """The policy raised or did not answer in time."""
        now = self._seconds()
        if self._trial:
            self._trial = False
            self._open_for = min(self._open_for * 2, LONGEST)
            self._open_until = now + self._open_for
        elif not self.tripped:
            if self.failures == 0 or now - self._first_failure > WINDOW:
                self._first_failure = now
                self.failures = 0
            self.failures += 1
            if self.failures >= FAILURES:
                self.tripped = True
                self._open_until = now + self._open_for

    def abandoned(self) -> None:
        """The request was given up before the policy answered: if it was the trial, the next request is."""
        self._trial = False
