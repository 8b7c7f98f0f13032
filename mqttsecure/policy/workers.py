# -*- test-case-name: tests.policy.test_workers -*-
"""A few threads for work that would block the reactor: password hashes above all.

Everything here runs in the reactor's thread but the jobs themselves.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mqttsecure.errors import QuotaExceeded

__all__ = ["WorkerPool"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

STOP_GRACE = 5.0
"""Seconds that running jobs have left when the pool stops; a hash takes 50 ms, a hung job would take for ever."""


class _Reactor(Protocol):
    """What the pool needs of a reactor."""

    def callFromThread(self, callable: Callable[..., Any], *arguments: Any) -> object: ...

    def callInThread(self, callable: Callable[..., Any], *arguments: Any) -> object: ...

    def callLater(self, delay: float, callable: Callable[..., Any], *arguments: Any) -> IDelayedCall: ...


class _DaemonThread(threading.Thread):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more, daemon=True)


class _Job:
    __slots__ = ("deferred", "run")

    def __init__(self, run: Callable[[], Any], deferred: Deferred[Any]) -> None:
        self.run = run
        self.deferred = deferred


class WorkerPool:
    """At most ``size`` jobs run and at most ``queue`` wait; one more is refused at once.

    The queue is bounded since strangers fill it: each login attempt is a job that costs 19 MiB for a while.
    """

    def __init__(self, reactor: Any, size: int = 2, queue: int = 256) -> None:
        """
        Args:
            reactor: brings results back to its thread.
            size: threads; each runs one job at a time.
            queue: jobs that may wait for a thread.
        """
        self._reactor: _Reactor = reactor
        self._size = size
        self._queue = queue
        self._waiting: deque[_Job] = deque()
        self._running = 0
        self._pool: ThreadPool | None = None
        self._stopped = False
        self._idle: Deferred[None] | None = None
        self._grace: IDelayedCall | None = None

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many jobs run."""
        return self._running

    def start(self) -> None:
        """Begin to run jobs. Threads are made here and not before: a daemon's fork would not take them along."""
        if self._pool is not None or self._stopped:
            return
        self._pool = ThreadPool(minthreads=0, maxthreads=self._size, name="mqttsecure-worker")
        # Daemon threads, or a job that hangs would keep the process from ending.
        self._pool.threadFactory = _DaemonThread
        self._pool.start()
        self._dispatch()

    def stop(self) -> Deferred[None]:
        """Refuse all waiting and further jobs.

        Returns:
            A Deferred that fires when the running jobs have ended, or have had their grace.
        """
        if self._stopped:
            return succeed(None)
        self._stopped = True
        while self._waiting:
            self._waiting.popleft().deferred.errback(QuotaExceeded("the worker pool was stopped"))
        if self._pool is None:
            return succeed(None)
        if self._running == 0:
            self._quit()
            return succeed(None)
        self._idle = Deferred()
        self._grace = self._reactor.callLater(STOP_GRACE, self._stopped_waiting)
        return self._idle

    def defer(self, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_R]:
        """Run ``function`` in one of the threads.

        Returns:
            A Deferred of its result. It fails with :class:`~mqttsecure.errors.QuotaExceeded` at once where the queue
            is full or the pool stopped. Cancelled, a waiting job is never run; of a running one the result is dropped.
        """
        deferred: Deferred[_R] = Deferred(self._cancel)
        if self._stopped or len(self._waiting) >= self._queue:
            why = "stopped" if self._stopped else f"full ({self._queue} jobs wait)"
            deferred.errback(QuotaExceeded(f"the worker pool is {why}"))
            return deferred
        self._waiting.append(_Job(partial(function, *args, **kwargs), deferred))
        self._dispatch()
        return deferred

    def _cancel(self, deferred: Deferred[Any]) -> None:
        for job in self._waiting:
            if job.deferred is deferred:
                self._waiting.remove(job)
                return

    def _dispatch(self) -> None:
        while self._pool is not None and self._waiting and self._running < self._size:
            job = self._waiting.popleft()
            self._running += 1
            self._pool.callInThreadWithCallback(partial(self._finished_in_thread, job), job.run)

    def _finished_in_thread(self, job: _Job, success: bool, result: Any) -> None:
        """Called in the worker's thread."""
        self._reactor.callFromThread(self._finished, job, result)

    def _finished(self, job: _Job, result: Any) -> None:
        self._running -= 1
        if not job.deferred.called:
            if isinstance(result, Failure):
                job.deferred.errback(result)
            else:
                job.deferred.callback(result)
        if not self._stopped:
            self._dispatch()
        elif self._running == 0:
            self._quit()
            self._stopped_waiting()

    def _quit(self) -> None:
        """Let go of the threads, none of which has work."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()

    def _stopped_waiting(self) -> None:
        """All jobs have ended, or their grace has."""
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        if self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)
