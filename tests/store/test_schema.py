"""Tests for mqttsecure.store.schema."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.records import Batch
from mqttsecure.errors import ConfigError
from mqttsecure.store.contract import session
from mqttsecure.store.database import Database
from mqttsecure.store.schema import APPLICATION_ID, Schema
from mqttsecure.store.tables import ALL
from tests.store.rows import opened


class SchemaTests(SynchronousTestCase):
    """A file outlives releases."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True, mode=0o700)
        self.path = self.folder / "s"
        self.scripts = self.folder / "schema"
        shutil.copytree(str(files("mqttsecure.store") / "schema"), self.scripts)

    def newer(self, script: str = "ALTER TABLE ended ADD COLUMN since REAL;") -> Schema:
        version = Schema().version
        (self.scripts / f"upgrade-{version:03}-to-{version + 1:03}.sql").write_text(script)
        return Schema(self.scripts)

    def test_tables_are_as_described(self) -> None:
        """The names and types that the code writes are those of the file."""
        with opened(self.path) as database:
            for table in ALL:
                columns = database.read(
                    lambda connection, name=table.name: connection.execute(f"PRAGMA table_info({name})").fetchall()
                )
                self.assertEqual(tuple(name for _, name, *_ in columns), table.columns)
                for (_, name, kind, is_required, _, key), expected in zip(columns, table.types, strict=True):
                    self.assertEqual(kind, expected.rstrip("?"), name)
                    self.assertEqual(bool(is_required or key), not expected.endswith("?"), name)
                self.assertEqual(tuple(name for _, name, *_, key in columns if key), table.key)
            ((application,),) = database.read(lambda connection: connection.execute("PRAGMA application_id").fetchall())
            self.assertEqual(application, APPLICATION_ID)

    def test_an_upgrade_keeps_rows_and_makes_a_backup(self) -> None:
        """A newer release takes over the file, and leaves a private copy of how it was."""
        with opened(self.path) as database:
            database.write([Batch(1, sessions=[session(1)])])
        upgraded = Database(self.path, schema=self.newer())
        upgraded.open()
        with closing(upgraded):
            rows = upgraded.read(lambda connection: connection.execute("SELECT key FROM sessions").fetchall())
            upgraded.read(lambda connection: connection.execute("SELECT since FROM ended").fetchall())
        self.assertEqual(rows, [(1,)])
        backup = self.folder / "s.schema-001"
        self.assertEqual(stat.S_IMODE(backup.stat().st_mode), 0o600)
        with opened(backup) as database:
            self.assertEqual(database.losses, [])
            self.assertEqual(
                database.read(lambda connection: connection.execute("SELECT key FROM sessions").fetchall()), rows
            )

    def test_a_newer_file_is_refused(self) -> None:
        """Going back to an older release does not spoil the file: it says what to do."""
        newer = Database(self.path, schema=self.newer())
        newer.open()
        newer.close()
        before = self.path.read_bytes()
        error = self.assertRaises(ConfigError, Database(self.path).open)
        self.assertIn("newer release (schema 2; this one knows 1)", str(error))
        self.assertIn("the backup", str(error))
        self.assertEqual(self.path.read_bytes(), before)

    def test_an_upgrade_that_fails_changes_nothing(self) -> None:
        """A step that does not fit leaves the file as it was."""
        with opened(self.path):
            pass
        schema = self.newer("ALTER TABLE ended ADD COLUMN since REAL; SELECT * FROM nothing;")
        self.assertRaises(ConfigError, Database(self.path, schema=schema).open)
        with opened(self.path) as database:
            self.assertEqual(database.losses, [])

    def test_old_library(self) -> None:
        """An SQLite without what is needed is told before anything is made."""
        self.patch(sqlite3, "sqlite_version_info", (3, 30, 0))
        error = self.assertRaises(ConfigError, Database(self.path).open)
        self.assertIn("too old", str(error))
        self.assertFalse(self.path.exists())
