# -*- test-case-name: tests.client.test_liveness -*-
"""Is the other end still there: pings, and how long an answer may take. Sans-IO; time comes in as ``now``."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["Liveness", "Silence"]

_EARLY: Final = 0.75
"""Of the Keep Alive: what is sent then is at the broker in time, however late a timer or a network is."""


class Silence(enum.Enum):
    """What an expired time means."""

    PING = "a ping is due"
    NO_PONG = "the ping was not answered"
    NO_ANSWER = "nothing that was sent is answered"
    STUCK = "the broker takes nothing of what is sent"


class Liveness:
    """The clocks of one connection."""

    def __init__(self, ping_timeout: float, answer_timeout: float) -> None:
        self._ping_timeout = ping_timeout
        self._answer_timeout = answer_timeout
        self._interval = 0.0
        self._sent = 0.0
        self._received = 0.0
        self._pinged: float | None = None
        self._progress: float | None = None
        self._stuck: float | None = None
        self._is_deaf = False

    def begin(self, now: float, keep_alive: int) -> None:
        """A connection is there, with a Keep Alive in seconds."""
        self._interval = keep_alive * _EARLY
        self._sent = self._received = now
        self._pinged = self._progress = self._stuck = None
        self._is_deaf = False

    def sent(self, now: float) -> None:
        """Something was sent."""
        self._sent = now

    def received(self, now: float) -> None:
        """A packet came."""
        self._received = now

    def pinged(self, now: float) -> None:
        """PINGREQ was sent."""
        self._pinged = now

    def ponged(self) -> None:
        """PINGRESP came."""
        self._pinged = None

    def answered(self, now: float) -> None:
        """An answer came, or the first thing was sent that wants one."""
        self._progress = now

    def follow(self, now: float, *, awaits_answers: bool, is_blocked: bool, is_deaf: bool) -> None:
        """See whether answers are owed, the network takes bytes, and we read what comes."""
        if not awaits_answers:
            self._progress = None
        elif self._progress is None or is_blocked:
            # What is not sent yet cannot be answered yet.
            self._progress = now
        if not is_blocked:
            self._stuck = None
        elif self._stuck is None:
            self._stuck = now
        if self._is_deaf and not is_deaf:
            # What came meanwhile is only read now: the silence was ours.
            self._received = now
            if self._pinged is not None:
                self._pinged = now
        self._is_deaf = is_deaf

    def next_deadline(self) -> float | None:
        """When to look again; None for never."""
        return min((when for when, _ in self._times()), default=None)

    def expired(self, now: float) -> Silence | None:
        """What is due; the gravest first."""
        due = [silence for when, silence in self._times() if when <= now]
        return max(due, key=_GRAVITY.index, default=None)

    def _times(self) -> list[tuple[float, Silence]]:
        times = []
        if self._stuck is not None:
            times.append((self._stuck + self._answer_timeout, Silence.STUCK))
        elif self._progress is not None:
            times.append((self._progress + self._answer_timeout, Silence.NO_ANSWER))
        if self._pinged is not None and not self._is_deaf:
            times.append((self._pinged + self._ping_timeout, Silence.NO_PONG))
        elif self._interval and self._stuck is None:
            # Also where only one direction is silent: a peer that is gone takes what is sent for a while.
            quiet = self._sent if self._is_deaf else min(self._sent, self._received)
            times.append((quiet + self._interval, Silence.PING))
        return times


_GRAVITY: Final = [Silence.PING, Silence.NO_ANSWER, Silence.NO_PONG, Silence.STUCK]
