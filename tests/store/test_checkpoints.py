"""Tests for mqttsecure.store.checkpoints."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.records import Batch
from mqttsecure.store import checkpoints
from mqttsecure.store.contract import message
from tests.store.rows import opened


class CheckpointsTests(SynchronousTestCase):
    """The WAL stays small."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "s"
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        self.key = 0

    def fill(self, database: object, count: int) -> None:
        ids = range(self.key + 1, self.key + count + 1)
        self.key += count
        database.write([Batch(1, messages=[message(each, payload=b"x" * 4096) for each in ids])])

    def test_when_it_is_due(self) -> None:
        """It is moved at leisure from a few pages on, and under load once there are many."""
        self.patch(checkpoints, "AT_LEISURE", 50)
        self.patch(checkpoints, "AT_THE_LATEST", 200)
        with opened(self.path) as database:
            self.fill(database, 10)
            database.checkpoint(idle=True)
            self.assertGreater(database.wal_pages(), 10)
            self.fill(database, 50)
            database.checkpoint(idle=False)
            self.assertGreater(database.wal_pages(), 60)
            database.checkpoint(idle=True)
            self.assertEqual(database.wal_pages(), 0)
            self.fill(database, 200)
            database.checkpoint(idle=False)
            self.assertEqual(database.wal_pages(), 0)

    def test_the_file_does_not_grow(self) -> None:
        """Written again and again, the WAL takes the room that it has."""
        self.patch(checkpoints, "AT_LEISURE", 50)
        wal = self.path.with_name("s-wal")
        with opened(self.path) as database:
            sizes = set()
            for _ in range(20):
                self.fill(database, 60)
                database.checkpoint(idle=True)
                sizes.add(wal.stat().st_size)
            self.assertLess(max(sizes), 2 * min(sizes))
