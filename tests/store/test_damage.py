"""Tests for mqttsecure.store.damage."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.records import Batch
from mqttsecure.errors import ConfigError
from mqttsecure.store.contract import session
from mqttsecure.store.database import Database
from mqttsecure.store.invariants import find_faults
from tests.store.rows import dump, flip, opened, read_all, write

_PAGE = 4096


def _overwrite(path: Path, page: int, random: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(page * _PAGE)
        file.write(random.randbytes(_PAGE))


def _page(path: Path, random: random.Random) -> None:
    _overwrite(path, random.randrange(1, path.stat().st_size // _PAGE), random)


def _first_page(path: Path, random: random.Random) -> None:
    _overwrite(path, 0, random)


def _header(path: Path, random: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(random.randrange(100))
        file.write(random.randbytes(4))


def _truncate(path: Path, random: random.Random) -> None:
    os.truncate(path, random.randrange(path.stat().st_size))


def _empty(path: Path, random: random.Random) -> None:
    os.truncate(path, 0)


def _garbage(path: Path, random: random.Random) -> None:
    path.write_bytes(random.randbytes(random.randrange(1, 20_000)))


def _one_byte(path: Path, random: random.Random) -> None:
    flip(path, random, 1)


def _many_bytes(path: Path, random: random.Random) -> None:
    flip(path, random, 50)


_KINDS: tuple[Callable[[Path, random.Random], None], ...] = (
    _page,
    _first_page,
    _header,
    _truncate,
    _empty,
    _garbage,
    _one_byte,
    _many_bytes,
)


class DamageCase(SynchronousTestCase):
    """A store with a few hundred pages, and copies of it to damage."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True, mode=0o700)
        self.intact = self.folder / "intact" / "s"
        self.contents = write(self.intact, 20, 40)
        self.number = 0

    def copy(self) -> Path:
        self.number += 1
        shutil.copytree(self.intact.parent, self.folder / str(self.number))
        return self.folder / str(self.number) / "s"

    def aside(self, path: Path) -> list[Path]:
        return sorted(path.parent.glob("s.damaged-*"))


class DamageTests(DamageCase):
    """The broker starts, whatever has become of its file."""

    @given(st.sampled_from(_KINDS), st.integers(0, 2**32))
    @example(_many_bytes, 1327)  # a key became NULL
    @settings(max_examples=60, deadline=None)
    def test_any_damage(self, kind: Callable[[Path, random.Random], None], seed: int) -> None:
        """The file opens, everything in it can be read and fits together, and what is missing is told."""
        path = self.copy()
        kind(path, random.Random(seed))
        damaged = path.read_bytes()
        try:
            with opened(path) as database:
                rows = dump(database)
                read_all(database)
                self.assertEqual(database.read(find_faults), [])
                database.write([Batch(1, sessions=[session(1)])])
                losses = database.losses
        except ConfigError:
            self.assertEqual(path.read_bytes(), damaged)
            return
        if losses:
            if "is kept as" in losses[0]:
                (aside,) = self.aside(path)
                self.assertEqual(len(aside.read_bytes()), len(damaged))
            with opened(path) as database:
                self.assertEqual(database.losses, [])
                kept = database.read(lambda connection: connection.execute("SELECT text FROM losses").fetchall())
                self.assertEqual([text for (text,) in kept], losses)
        elif kind not in (_one_byte, _many_bytes, _header):
            self.assertEqual(len(rows["entries"]), 800)

    def test_one_page_costs_its_rows_alone(self) -> None:
        """A damaged page loses what was on it, and says how much that is."""
        for seed in range(12):
            path = self.copy()
            numbers = random.Random(seed)
            _overwrite(path, numbers.randrange(40, path.stat().st_size // _PAGE), numbers)
            with opened(path) as database:
                rows = dump(database)
                self.assertGreater(len(rows["entries"]), 700)
                self.assertEqual(len(rows["sessions"]), 20)
                told = "\n".join(database.losses)
                if len(rows["entries"]) < 800:
                    self.assertIn(f"{800 - len(rows['entries'])} queued messages have no content", told)

    def test_pages_of_large_tables(self) -> None:
        """Behind each damaged page of a large tree all is found again, within a long queue as well."""
        self.intact = self.folder / "large" / "s"
        write(self.intact, 4, 3000, payload=2)
        for seed in range(3):
            path = self.copy()
            numbers = random.Random(seed)
            pages = numbers.sample(range(20, path.stat().st_size // _PAGE), 3)
            for page in pages:
                _overwrite(path, page, numbers)
            with opened(path) as database:
                rows = dump(database)
                self.assertGreater(len(rows["entries"]), 11_000)
                told = [loss for loss in database.losses if "could not be read" in loss]
                self.assertTrue(all(int(re.search(r": (\d+) place", loss)[1]) <= 6 for loss in told), told)

    def test_a_lost_first_page_costs_nothing(self) -> None:
        """The beginning of the file can be made anew: all rows come back."""
        path = self.copy()
        _first_page(path, random.Random(1))
        with opened(path) as database:
            self.assertEqual(sorted(dump(database)["messages"]), sorted(self.contents.messages.values()))
            self.assertIn("is kept as", database.losses[0])

    def test_half_a_file(self) -> None:
        """Of a file that was cut in two, the first half is there."""
        path = self.copy()
        os.truncate(path, path.stat().st_size // 2)
        with opened(path) as database:
            self.assertGreater(read_all(database), 300)
            self.assertTrue(database.losses)

    def test_what_was_never_a_store_is_left_alone(self) -> None:
        """Where the configuration names another program's file by mistake, it is not touched."""
        for content in (b"root:x:0:0\n", b"SQLite format 3\0" + bytes(5000)):
            path = self.folder / "other"
            path.write_bytes(content)
            path.chmod(0o600)
            self.assertRaises(ConfigError, Database(path).open)
            self.assertEqual(path.read_bytes(), content)
            path.unlink()
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE t (x)")
        other.close()
        path.chmod(0o600)
        error = self.assertRaises(ConfigError, Database(path).open)
        self.assertIn("another program", str(error))


class WalTests(DamageCase):
    """What stands in FILE-wal when a process dies."""

    def killed(self, batches: int = 10) -> Path:
        """The file as a killed process leaves it, with that many transactions in the WAL."""
        path = self.copy()
        database = Database(path)
        database.open()
        for number in range(batches):
            database.write([Batch(number, sessions=[session(1000 + number)])])
        left = self.folder / f"killed-{self.number}"
        shutil.copytree(path.parent, left)
        database.close()
        return left / "s"

    def test_nothing_is_lost(self) -> None:
        """All transactions of a killed process are there, and nothing is said."""
        with opened(self.killed()) as database:
            self.assertEqual((len(dump(database)["sessions"]), database.losses), (30, []))

    def test_a_torn_last_transaction_is_no_loss(self) -> None:
        """What was being written when the power went was acknowledged to nobody."""
        path = self.killed()
        wal = path.with_name("s-wal")
        os.truncate(wal, wal.stat().st_size - 100)
        with opened(path) as database:
            self.assertEqual((len(dump(database)["sessions"]), database.losses), (29, []))

    def test_a_damaged_transaction_is_told(self) -> None:
        """Where transactions follow the damage, they were on disk, and are counted as lost."""
        path = self.killed()
        wal = path.with_name("s-wal")
        with wal.open("r+b") as file:
            file.seek(wal.stat().st_size // 2)
            file.write(b"\xaa" * 64)
        with opened(path) as database:
            kept = len(dump(database)["sessions"])
            self.assertLess(kept, 29)
            (told,) = database.losses
            found = re.search(r"at least (\d+) of the last transactions are lost", told)
            self.assertTrue(found and 3 <= int(found[1]) <= 30 - kept, told)

    def test_a_missing_wal_is_told(self) -> None:
        """Somebody tidied up the file that he did not know: what is left is served, and the loss told."""
        path = self.killed()
        path.with_name("s-wal").unlink()
        with opened(path) as database:
            self.assertEqual(len(dump(database)["sessions"]), 20)
            self.assertIn("is missing", database.losses[0])

    def test_an_empty_file_with_its_wal(self) -> None:
        """The WAL of a file that was emptied is not thrown away unread."""
        path = self.killed()
        os.truncate(path, 0)
        with opened(path) as database:
            self.assertIn("it is empty", database.losses[0])
            self.assertEqual(len(self.aside(path)), 2)


class RunningTests(DamageCase):
    """Damage that shows while the broker runs."""

    def test_is_mended_on_the_spot(self) -> None:
        """A page goes bad under a running broker: what can be read is kept, and writing goes on."""
        path = self.copy()
        database = Database(path)
        database.open()
        self.addCleanup(database.close)
        with path.open("r+b") as file:
            # Closing this drops SQLite's locks, which nobody else asks for here.
            for page in range(30, path.stat().st_size // _PAGE):
                file.seek(page * _PAGE)
                file.write(b"\xff" * 512)
        database._disconnect()  # whose cache would not see it
        read_all(database)
        self.assertIn("was damaged", database.losses[0])
        database.write([Batch(1, sessions=[session(7000)])])
        self.assertEqual(database.read(find_faults), [])

    def test_a_cut_off_mend_is_done_again(self) -> None:
        """The machine dies while a file is being mended: the next start has the damaged file, or the new one."""
        path = self.copy()
        new = path.with_name("s.mending")
        new.write_bytes(b"half of it")
        with opened(path) as database:
            self.assertEqual((len(dump(database)["entries"]), database.losses), (800, []))
        self.assertFalse(new.exists())
        os.rename(path, new)
        with opened(path) as database:
            self.assertEqual(len(dump(database)["entries"]), 800)


class RowsTests(DamageCase):
    """The file is sound, and rows in it are not."""

    def test_rows_that_do_not_fit_are_mended(self) -> None:
        """A flipped bit within a row: what refers to nothing goes, references are right again, and it is told."""
        path = self.copy()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE entries SET message = 999999 WHERE session = 1 AND number = 1")
            connection.execute("UPDATE entries SET qos = 7 WHERE session = 1 AND number = 2")
            connection.execute("UPDATE sessions SET facts = x'7b00' WHERE key = 2")
        with opened(path) as database:
            rows = dump(database)
            self.assertEqual((len(rows["entries"]), len(rows["sessions"])), (758, 19))
            self.assertEqual(len(rows["messages"]), 758 + 20)
            told = "\n".join(database.losses)
        for text in ("1 sessions hold what was never", "1 queued messages hold", "1 queued messages have no content"):
            self.assertIn(text, told)
        with opened(path) as database:
            self.assertEqual(database.losses, [])
