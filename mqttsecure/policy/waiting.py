# -*- test-case-name: tests.policy.test_waiting -*-
"""Waits for one policy's Deferred: until it fires, its time is up, or nobody wants the answer any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["Waiting"]


class Waiting:
    """The first of answer, time-out and cancellation counts; what comes later is ignored.

    Not ``Deferred.addTimeout``: that waits for the cancelled Deferred to fire, which one that catches the cancellation
    and goes on waiting never does, and nothing may hang on a policy.

    Attributes:
        done: whether there is an answer, or none is wanted any more.
        answer: of a Deferred that had fired already; of any other it goes to ``on_answer``.
    """

    class TimedOut(Exception):
        """The policy did not answer in time."""

    _log = Logger()
    __slots__ = ("_deferred", "_on_answer", "_timer", "answer", "done")

    def __init__(
        self, deferred: Deferred[Any], timeout: float, clock: IReactorTime, on_answer: Callable[[object], None]
    ) -> None:
        """
        Args:
            deferred: what the policy returned.
            timeout: seconds until it has failed.
            clock: for the time-out.
            on_answer: called once, later, with the result or a Failure; never if ``deferred`` had fired already.
        """
        self.done = False
        self.answer: object = None
        self._deferred = deferred
        self._on_answer = on_answer
        self._timer: IDelayedCall | None = None
        deferred.addBoth(self._fired)
        if not self.done:
            self._timer = clock.callLater(timeout, self._time_out)

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        if not self.done:
            self.done = True
            self._stop_timer()
            self._cancel_deferred()

    def _fired(self, result: object) -> None:
        if self.done:
            return
        self.done = True
        if self._timer is None:
            self.answer = result
        else:
            self._stop_timer()
            self._on_answer(result)

    def _time_out(self) -> None:
        self.done = True
        self._cancel_deferred()
        self._on_answer(Failure(Waiting.TimedOut()))

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _cancel_deferred(self) -> None:
        """Tell the policy's work to stop; what it does about that is its own affair."""
        try:
            self._deferred.cancel()
        except Exception:  # a canceller is the policy's code and may do anything
            self._log.failure("a policy's Deferred could not be cancelled")
