# -*- test-case-name: tests.policy.test_slots -*-
"""How many questions one policy may have under way at a time; what comes beyond waits its turn, for a while.

A policy that asks a slow service would otherwise be handed every question there is: each costs it a connection, a
thread or memory. This module is on the path of each message, where only two numbers are compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["InLine", "Slots"]

LINE: Final = 8
"""Questions in line for each slot: beyond it nobody's turn comes within a time-out, so they are refused at once."""


class InLine:
    """A question whose turn has not come. ``cancel`` is for one that nobody wants answered any more."""

    __slots__ = ("_on_turn", "_slots", "_timer", "done")

    def __init__(self, slots: Slots, timeout: float, clock: IReactorTime, on_turn: Callable[[bool], None]) -> None:
        self.done = False
        self._slots = slots
        self._on_turn = on_turn
        self._timer: IDelayedCall | None = clock.callLater(timeout, self._end, False)

    def turn(self) -> None:
        """It is its turn."""
        self._end(True)

    def cancel(self) -> None:
        """Leave the line."""
        self._leave()

    def _end(self, in_time: bool) -> None:
        if not self.done:
            self._leave()
            self._on_turn(in_time)

    def _leave(self) -> None:
        self.done = True
        self._slots.left(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class Slots:
    """The questions of one policy that are under way.

    Attributes:
        taken: how many are.
        maximum: how many may be.
    """

    __slots__ = ("_is_calling", "_line", "maximum", "taken")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.taken = 0
        self._line: deque[InLine] = deque()
        self._is_calling = False

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._line)

    def line_up(self, timeout: float, clock: IReactorTime, on_turn: Callable[[bool], None]) -> InLine | None:
        """Wait for a slot; None where the line is too long already.

        Args:
            timeout: seconds to wait for it.
            clock: for these.
            on_turn: called once, later: True when a slot is free, False when the time is up.
        """
        if len(self._line) >= self.maximum * LINE:
            return None
        place = InLine(self, timeout, clock, on_turn)
        self._line.append(place)
        return place

    def left(self, place: InLine) -> None:
        """One is in line no more."""
        if self._line and self._line[0] is place:
            self._line.popleft()
        elif place in self._line:
            self._line.remove(place)

    def take(self) -> None:
        """A question is under way."""
        self.taken += 1

    def free(self) -> None:
        """One is under way no more; those in line have their turn."""
        self.taken -= 1
        if self._is_calling:
            return  # whoever calls goes on
        self._is_calling = True
        try:
            while self._line and self.taken < self.maximum:
                self._line[0].turn()
        finally:
            self._is_calling = False
