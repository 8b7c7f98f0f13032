# -*- test-case-name: tests.store.test_schema -*-
"""Versions of the file. A new one is made as an old one is upgraded: ``001.sql``, then each step up to today's."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from mqttsecure.errors import ConfigError

__all__ = ["APPLICATION_ID", "Damaged", "Schema", "check_sqlite"]

APPLICATION_ID: Final = 0x6D717473
"""What ``file`` shows of our files: "mqts" in ASCII."""

_STEP: Final = re.compile(r"upgrade-(\d{3})-to-(\d{3})\.sql")
_OLDEST_SQLITE: Final = (3, 37, 0)
"""The first with STRICT tables."""


class Damaged(Exception):
    """The file does not hold what was once written; the text says what was found."""


def check_sqlite() -> None:
    """Refuse a library that is too old.

    Raises:
        ConfigError: with the mend.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ConfigError(
            f"SQLite {sqlite3.sqlite_version} is too old for a store; use a Python that is built with 3.37 or later"
        )


class Schema:
    """The scripts of a folder; the package's own unless another is given."""

    def __init__(self, folder: Traversable | None = None) -> None:
        folder = files("mqttsecure.store") / "schema" if folder is None else folder
        self._scripts = {1: (folder / "001.sql").read_text(encoding="utf-8")}
        for file in folder.iterdir():
            step = _STEP.fullmatch(file.name)
            if step is not None:
                self._scripts[int(step[2])] = file.read_text(encoding="utf-8")
        self.version = max(self._scripts)

    def make_ready(
        self, connection: sqlite3.Connection, path: Path, before_upgrade: Callable[[int], object] | None = None
    ) -> None:
        """Make or upgrade the tables.

        Args:
            connection: to the file, in no transaction.
            path: of the file, for messages.
            before_upgrade: told the version there is before it is changed; makes the backup.

        Raises:
            ConfigError: the file is another program's, or a newer release's.
        """
        version = self.check(connection, path)
        if version == self.version:
            return
        if version and before_upgrade is not None:
            before_upgrade(version)
        script = "".join(self._scripts[step] for step in range(version + 1, self.version + 1))
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {self.version}; COMMIT"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            raise

    def check(self, connection: sqlite3.Connection, path: Path) -> int:
        """The version of the file, 0 for one with no tables yet.

        Raises:
            ConfigError: the file is another program's, or a newer release's.
            Damaged: it has our tables, but says that it is another program's.
        """
        ((application,),) = connection.execute("PRAGMA application_id").fetchall()
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        if tables == 0 and application in (0, APPLICATION_ID):
            return 0
        if application != APPLICATION_ID or version < 1:
            found = connection.execute("SELECT name FROM sqlite_master WHERE name IN ('entries', 'retained', 'ended')")
            if len(found.fetchall()) == 3:
                raise Damaged(f"its application_id is {application}, its user_version {version}")
            raise ConfigError(f"{path} is a database of another program; name another file")
        if version > self.version:
            raise ConfigError(
                f"{path} was written by a newer release (schema {version}; this one knows {self.version}); "
                "use that release, or the backup that it made before it changed the file"
            )
        return int(version)
