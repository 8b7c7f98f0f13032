"""Tests for mqttsecure.store.sqlite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from mqttsecure.core.records import Batch, WriterRow
from mqttsecure.store.contract import StoreContract, entry, message, session
from mqttsecure.store.database import Database
from mqttsecure.store.sqlite import SqliteStore
from tests.store.faulty import Faults


class SqliteContractTests(StoreContract, TestCase):
    """The store in a file does what a store has to."""

    timeout = 60
    interval: float | None = None

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "state.sqlite"
        self.path.parent.parent.mkdir(exist_ok=True, parents=True)

    def make_store(self) -> SqliteStore:
        return SqliteStore(self.path, reactor, interval=self.interval)


class IntervalContractTests(SqliteContractTests):
    """The same where what is written comes to disk every second."""

    interval = 1.0


class FailingTests(TestCase):
    """The file cannot be written for a while. The clock that says when to try again is the test's."""

    timeout = 60

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.clock = Clock()
        self.clock.callFromThread = reactor.callFromThread
        self.faults = Faults()
        self.told: list[str] = []
        self.open()
        self.addCleanup(lambda: self.store.close())

    def open(self) -> None:
        database = Database(self.path / "s", connect=self.faults.connect)
        self.store = SqliteStore(database.path, self.clock, database=database)
        self.store.on_problem = lambda text: self.told.append(text)
        self.store.on_recovered = lambda: self.told.append("recovered")
        self.store.open()

    async def until(self, holds: Callable[[], object]) -> None:
        """Let the threads work until something holds."""
        while not holds():
            await deferLater(reactor, 0.001)

    async def fail(self, times: int) -> list[float]:
        """Let that many more attempts fail; after how many seconds each of the next was made."""
        delays = []
        for number in range(1, times + 1):
            await self.until(lambda number=number: self.faults.failed == number and self.clock.getDelayedCalls())
            (call,) = self.clock.getDelayedCalls()
            delays.append(round(call.getTime() - self.clock.seconds(), 3))
            self.clock.advance(delays[-1])
        return delays

    async def test_tries_again_until_it_can(self) -> None:
        """The disk is full for some seconds: nobody is told that anything is kept before it is, and then in order."""
        self.faults.fail("COMMIT", 6)
        done: list[int] = []
        commits = [self.store.commit(Batch(number, sessions=[session(number)])) for number in (1, 2, 3)]
        for number, commit in enumerate(commits, 1):
            commit.addCallback(lambda _, number=number: done.append(number))
        delays = await self.fail(6)
        self.assertEqual(delays, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
        self.assertEqual(done, [])
        await commits[-1]
        self.assertEqual(done, [1, 2, 3])
        await self.until(lambda: len(self.told) == 2)
        self.assertIn("cannot be written", self.told[0])
        self.assertEqual(self.told[1], "recovered")

    async def test_each_statement_may_fail(self) -> None:
        """Whatever statement fails, and however, the batch is there once and whole in the end."""
        codes = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)
        number = 0
        for prefix in (
            "BEGIN",
            "INSERT OR REPLACE INTO messages",
            "UPDATE",
            "INSERT OR REPLACE INTO entries",
            "COMMIT",
        ):
            for code in codes:
                number += 1
                self.faults.failed = 0
                key = 10 * number
                await self.store.commit(Batch(1, messages=[message(key, 5)], writers=[WriterRow(1, b"{}")]))
                self.faults.fail(prefix, 1, code)
                rows = {"sessions": [session(number)], "entries": [entry(number, 1, key)]}
                commit = self.store.commit(
                    Batch(2, messages=[message(key + 1)], references={key: 7, key + 2: -1}, **rows)
                )
                await self.fail(1)
                await commit
                (stored,) = await self.store.load_entries(number, 0, 9, 9)
                self.assertEqual(stored.message.references, 12, (prefix, code))

    async def test_questions_wait_too(self) -> None:
        """A client that comes back while the disk is full gets its queue, with what was given before, later."""
        self.faults.fail("COMMIT", 2)
        self.store.commit(Batch(1, sessions=[session(1)], incoming=[(1, 7)]))
        answer = self.store.load_incoming(1)
        await self.fail(2)
        self.assertEqual(await answer, [7])

    async def test_the_start_does_not_wait(self) -> None:
        """What blocks the reactor is never made to wait for it: it fails at once."""
        self.faults.fail("COMMIT", 1000)
        commit = self.store.commit(Batch(1, sessions=[session(1)]))
        await self.until(lambda: self.told)
        self.assertRaises(sqlite3.OperationalError, self.store.load_sessions, 0, 10)
        self.faults.left = 0
        self.assertEqual(len(self.store.load_sessions(0, 10)), 1)
        await commit

    async def test_close_gives_up(self) -> None:
        """A stop does not wait for room on the disk; nobody is told that anything is kept that is not."""
        self.faults.fail("COMMIT", 1000)
        commit = self.store.commit(Batch(1, sessions=[session(1)]))
        await self.until(lambda: self.told)
        await self.store.close()
        self.assertFalse(commit.called)
        self.faults.left = 0
        self.open()
        self.assertEqual(self.store.load_sessions(0, 10), [])

    async def test_what_waits_goes_together(self) -> None:
        """What comes while the thread is busy is one transaction."""
        self.faults.fail("COMMIT", 1)
        self.store.commit(Batch(1, sessions=[session(1)]))
        await self.until(lambda: self.faults.failed)
        commits = [self.store.commit(Batch(number, sessions=[session(number)])) for number in range(2, 200)]
        self.faults.executed.clear()
        await self.until(self.clock.getDelayedCalls)
        self.clock.advance(0.1)
        await commits[-1]
        self.assertEqual(self.faults.executed.count("COMMIT"), 1)
        self.assertLess(len(self.faults.executed), 10)

    async def test_damage_is_told(self) -> None:
        """A file that goes bad while the broker runs is mended, and what happened is told."""
        await self.store.commit(Batch(1, sessions=[session(1)]))
        self.faults.fail("BEGIN", 1, sqlite3.SQLITE_CORRUPT)
        await self.store.commit(Batch(2, sessions=[session(2)]))
        await self.until(lambda: len(self.told) == 2)
        self.assertIn("is kept as", self.told[0])
        self.assertIn("was damaged", self.store.losses()[0])
        self.assertEqual([each.row.key for each in self.store.load_sessions(0, 10)], [1, 2])
