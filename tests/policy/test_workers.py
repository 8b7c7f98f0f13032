"""Tests of the worker pool, with real threads."""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mqttsecure.errors import QuotaExceeded
from mqttsecure.policy.workers import STOP_GRACE, WorkerPool


class WorkerPoolTests(TestCase):
    """Work runs in few threads and comes back."""

    timeout = 10

    def make(self, **more: Any) -> WorkerPool:
        pool = WorkerPool(reactor, **more)
        self.addCleanup(pool.stop)
        return pool

    async def test_result_comes_back_to_the_reactor(self) -> None:
        """A job runs in another thread, its result arrives in the reactor's."""
        pool = self.make()
        pool.start()
        pool.start()
        self.assertNotEqual(await pool.defer(threading.get_ident), threading.get_ident())
        self.assertEqual(await pool.defer(divmod, 7, 2), (3, 1))
        self.assertEqual((pool.running, pool.waiting), (0, 0))

    async def test_failure_comes_back(self) -> None:
        """A job that raises, or tries to exit, fails its Deferred and nothing else."""
        pool = self.make(size=1)
        pool.start()
        await self.assertFailure(pool.defer(int, "x"), ValueError)
        await self.assertFailure(pool.defer(exit), SystemExit)
        self.assertEqual(await pool.defer(int, "7"), 7)

    async def test_at_most_size_at_once(self) -> None:
        """However many jobs there are, two threads do them."""
        pool = self.make(size=2)
        pool.start()
        threads = await gatherResults([pool.defer(threading.get_ident) for _ in range(50)])
        self.assertLessEqual(len(set(threads)), 2)

    async def test_cancel_of_a_running_job(self) -> None:
        """The result of a job that nobody wants any more is dropped."""
        pool = self.make(size=1)
        pool.start()
        gate = threading.Event()
        first, second = pool.defer(gate.wait, 5), pool.defer(int, "7")
        first.cancel()
        gate.set()
        await self.assertFailure(first, CancelledError)
        self.assertEqual(await second, 7)

    async def test_stop_waits_for_running_jobs(self) -> None:
        """A stop lets a running hash end and refuses what waits and what comes."""
        pool = self.make(size=1)
        pool.start()
        gate = threading.Event()
        running, waiting = pool.defer(gate.wait, 5), pool.defer(int, "7")
        stopped = pool.stop()
        await self.assertFailure(waiting, QuotaExceeded)
        await self.assertFailure(pool.defer(int, "7"), QuotaExceeded)
        self.assertFalse(stopped.called)
        gate.set()
        self.assertTrue(await running)
        await stopped


class QueueTests(SynchronousTestCase):
    """What waits, without threads."""

    def test_no_thread_before_the_start(self) -> None:
        """A daemon forks before it starts the pool; jobs given earlier wait."""
        before = threading.active_count()
        pool = WorkerPool(Clock())
        job = pool.defer(int, "7")
        self.assertEqual((threading.active_count(), pool.waiting, pool.running), (before, 1, 0))
        self.assertNoResult(job)

    def test_full_queue_refuses_at_once(self) -> None:
        """The hundredth login of a flood is refused now instead of being answered in a minute."""
        pool = WorkerPool(Clock(), queue=3)
        jobs = [pool.defer(int, "7") for _ in range(4)]
        self.failureResultOf(jobs.pop(), QuotaExceeded)
        jobs[1].cancel()
        self.failureResultOf(jobs[1], CancelledError)
        self.assertEqual(pool.waiting, 2)
        self.assertNoResult(pool.defer(int, "7"))

    def test_stop_before_the_start(self) -> None:
        """A start that fails half-way can stop a pool that never ran; it does not run later."""
        pool = WorkerPool(Clock())
        job = pool.defer(int, "7")
        self.successResultOf(pool.stop())
        self.successResultOf(pool.stop())
        self.failureResultOf(job, QuotaExceeded)
        pool.start()
        self.failureResultOf(pool.defer(int, "7"), QuotaExceeded)

    def test_hung_job_does_not_hold_up_the_stop(self) -> None:
        """A job that never ends has its grace, then the broker stops without it."""
        clock = Clock()
        clock.callFromThread = lambda function, *arguments: None
        pool = WorkerPool(clock, size=1)
        pool.start()
        gate = threading.Event()
        self.addCleanup(gate.set)
        pool.defer(gate.wait, 5)
        stopped: Deferred[None] = pool.stop()
        clock.advance(STOP_GRACE)
        self.successResultOf(stopped)
