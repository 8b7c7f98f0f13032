# -*- test-case-name: tests.core.test_timers -*-
"""Deadlines of the core: one ordered list of them for everything, never a timer each.

Deadlines that move often (Keep Alive moves with each packet) are not moved here: the owner keeps the true one and,
when the old one comes up, says when to look again. So a packet costs no work in this module.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

__all__ = ["Deadline", "Deadlines"]

_MANY_CANCELLED: Final = 1024
"""Cancelled deadlines are swept out once there are this many and they are the majority."""

_AT_ONCE: Final = 256
"""Calls made in one go: of a hundred thousand sessions that expire in one moment each takes some 20 us to end."""


class Deadline:
    """A call to make at ``when`` (monotonic seconds), unless cancelled.

    ``action`` gets ``now`` and returns the time at which to be called again, or None.
    """

    __slots__ = ("action", "owner", "sequence", "when")

    def __init__(self, owner: Deadlines, when: float, sequence: int, action: Callable[[float], float | None]) -> None:
        self.owner = owner
        self.when = when
        self.sequence = sequence
        self.action: Callable[[float], float | None] | None = action

    def cancel(self) -> None:
        """Forget it; harmless when it is over."""
        if self.action is not None:
            self.action = None
            self.owner.cancelled()

    def __lt__(self, other: Deadline) -> bool:
        return (self.when, self.sequence) < (other.when, other.sequence)


class Deadlines:
    """All deadlines, the nearest first."""

    def __init__(self) -> None:
        self._heap: list[Deadline] = []
        self._sequence = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def at(self, when: float, action: Callable[[float], float | None]) -> Deadline:
        """Call ``action(now)`` once ``when`` has come."""
        self._sequence += 1
        deadline = Deadline(self, when, self._sequence, action)
        heappush(self._heap, deadline)
        return deadline

    def next(self) -> float | None:
        """When :meth:`expire` has something to do, or None."""
        heap = self._heap
        while heap and heap[0].action is None:
            heappop(heap)
            self._cancelled -= 1
        return heap[0].when if heap else None

    def expire(self, now: float) -> None:
        """Make calls that are due, so many at a time: who asks for the next one is told that it is due now."""
        for _ in range(_AT_ONCE):
            if not self._heap or self._heap[0].when > now:
                return
            self._call_first(now)

    def _call_first(self, now: float) -> None:
        deadline = heappop(self._heap)  # first of all: an action may cancel others, which may rebuild the heap
        action = deadline.action
        if action is None:
            self._cancelled -= 1
            return
        deadline.action = None
        again = action(now)
        if again is not None:
            self._sequence += 1
            deadline.when = max(again, now + 0.001)
            deadline.sequence = self._sequence
            deadline.action = action
            heappush(self._heap, deadline)

    def cancelled(self) -> None:
        """Count a cancelled deadline; sweep when they have become the majority."""
        self._cancelled += 1
        if self._cancelled > _MANY_CANCELLED and self._cancelled * 2 > len(self._heap):
            self._heap = [deadline for deadline in self._heap if deadline.action is not None]
            heapify(self._heap)
            self._cancelled = 0
