"""Tests for mqttsecure.store.database."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.records import Batch
from mqttsecure.store.contract import session
from mqttsecure.store.database import Database, in_words
from mqttsecure.store.invariants import find_faults
from tests.store.faulty import Faults
from tests.store.model import Model
from tests.store.rows import batches, dump, expected, opened


class DatabaseTests(SynchronousTestCase):
    """The file as the writing thread uses it."""

    def path(self) -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True, mode=0o700)
        return folder / "s"

    @given(st.integers(0, 2**32), st.lists(st.integers(1, 4), min_size=1, max_size=6))
    @settings(max_examples=25, deadline=None)
    def test_does_what_batches_say(self, seed: int, groups: list[int]) -> None:
        """Whatever the broker does, the file holds it, in whatever groups it was written and tidied."""
        model = Model(seed)
        with opened(self.path()) as database:
            for count in groups:
                database.write([model.batch() for _ in range(count)])
                if model.random.random() < 0.5:
                    database.tidy()
            while database.is_untidy:
                database.tidy()
            rows = dump(database)
            self.assertEqual(rows.pop("writers"), [(1, b"{}")])
            self.assertEqual(rows, expected(model.contents))
            self.assertEqual(database.read(find_faults), [])

    def test_nothing_of_a_failed_transaction_is_there(self) -> None:
        """A batch is written whole or not at all, and the next one is."""
        with opened(self.path()) as database:
            wrong = session(2, facts="no bytes")
            self.assertRaises(
                sqlite3.Error, database.write, [Batch(1, sessions=[session(1)]), Batch(2, sessions=[wrong])]
            )
            self.assertEqual(dump(database)["sessions"], [])
            database.write([Batch(3, sessions=[session(1)])])
            self.assertEqual(dump(database)["sessions"], [session(1)])

    def test_a_file_that_was_removed_is_not_written(self) -> None:
        """Somebody deletes the file of a running broker: no acknowledgement is given for what would be gone."""
        path = self.path()
        with opened(path) as database:
            aside = path.with_name("aside")
            os.rename(path, aside)
            batch = Batch(1, sessions=[session(1)])
            self.assertRaises(OSError, database.write, [batch])
            os.rename(aside, path)
            database.write([batch])
        with opened(path) as database:
            self.assertEqual(len(dump(database)["sessions"]), 1)

    def test_every_error_has_a_mend(self) -> None:
        """Each message says what to do, also about an error that nobody has met yet."""
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        self.assertIn("make room", in_words(Path("/x"), error))
        self.assertIn("report it", in_words(Path("/x"), ValueError("odd")))

    def test_writers_of_earlier_processes_go(self) -> None:
        """A writer that no message refers to is forgotten after a restart, and never while its process runs."""
        path = self.path()
        model = Model(1)
        with opened(path) as database:
            database.write([model.batch()])
            database.write([Batch(2, writers=[(number, b"{}") for number in range(2, 2000)])])
            while database.is_untidy:
                database.tidy()
            self.assertEqual(len(dump(database)["writers"]), 1999)
        with opened(path) as database:
            database.write([Batch(3, writers=[(5000, b"{}")])])
            while database.is_untidy:
                database.tidy()
            self.assertEqual([key for key, _ in dump(database)["writers"]], [1, 5000])

    def test_a_restart_goes_on_tidying(self) -> None:
        """A broker that stops in the middle of removing an ended session's queue removes the rest when it is back."""
        path = self.path()
        with opened(path) as database:
            for batch in batches(2, 2000):
                database.write([batch])
            database.write([Batch(9, ended=[1])])
            database.tidy()
            self.assertEqual(len(dump(database)["entries"]), 3500)
        with opened(path) as database:
            while database.is_untidy:
                database.tidy()
            rows = dump(database)
            self.assertEqual((len(rows["entries"]), len(rows["messages"]), rows["ended"]), (2000, 2002, []))
            self.assertEqual(database.read(find_faults), [])

    def test_load_does_not_stop_tidying(self) -> None:
        """Where the broker is never idle, ended sessions are removed all the same."""
        with opened(self.path()) as database:
            for batch in batches(2, 100):
                database.write([batch])
            database.write([Batch(9, ended=[1])])
            for number in range(200):
                database.write([Batch(10 + number)])
            self.assertFalse(database.is_untidy)

    def test_interval(self) -> None:
        """Where acknowledgements need not wait for the disk, `sync` brings to it what has come."""
        path = self.path()
        database = Database(path, synchronous=False)
        database.open()
        self.addCleanup(database.close)
        synced: list[str] = []
        fdatasync = os.fdatasync
        self.patch(os, "fdatasync", lambda file: (synced.append(os.readlink(f"/proc/self/fd/{file}")), fdatasync(file)))
        for number in (1, 2):
            database.write([Batch(number, sessions=[session(number)])])
            database.sync()
        self.assertEqual(synced, [f"{path}-wal"] * 2)

    def test_connection_that_is_half_ready(self) -> None:
        """A new connection that fails while it is made ready is given up as well, and the next one serves."""
        faults = Faults()
        database = Database(self.path(), connect=faults.connect)
        database.open()
        self.addCleanup(database.close)
        batch = Batch(1, sessions=[session(1)])
        faults.fail("BEGIN", 1, sqlite3.SQLITE_CANTOPEN)
        self.assertRaises(sqlite3.OperationalError, database.write, [batch])
        faults.fail("PRAGMA synchronous", 1)
        self.assertRaises(sqlite3.OperationalError, database.write, [batch])
        database.write([batch])
        self.assertEqual(len(dump(database)["sessions"]), 1)
