# -*- test-case-name: tests.client.test_backoff -*-
"""How long to wait before the next attempt: longer each time, and never as long as others wait."""

from __future__ import annotations

from collections.abc import Callable

from mqttsecure.client.options import Backoff

__all__ = ["Waits"]


class Waits:
    """The waits of one client.

    Half of each is chance: after a broker's restart its clients come back spread out, and none at once.
    """

    def __init__(self, backoff: Backoff, random: Callable[[], float]) -> None:
        """
        Args:
            backoff: how waits grow.
            random: gives numbers from 0 up to 1.
        """
        self._backoff = backoff
        self._random = random
        self._next = backoff.first
        self.failures = 0
        """In a row."""

    def next(self) -> float | None:
        """Seconds before the next attempt; None where there is to be no more."""
        attempts = self._backoff.attempts
        if attempts is not None and self.failures >= attempts:
            return None
        self.failures += 1
        wait = self._next
        self._next = min(self._next * self._backoff.factor, self._backoff.longest)
        return wait * (0.5 + 0.5 * self._random())

    def reset(self) -> None:
        """An attempt has succeeded."""
        self.failures = 0
        self._next = self._backoff.first
