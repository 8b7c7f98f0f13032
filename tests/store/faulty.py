"""Connections that fail when a test says so."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from mqttsecure.store.database import connect

__all__ = ["Faults"]


class Faults:
    """Statements that begin with ``prefix`` fail with the SQLite error ``code`` while ``left`` is above 0."""

    def __init__(self) -> None:
        self.prefix = ""
        self.code = sqlite3.SQLITE_FULL
        self.left = 0
        self.failed = 0
        self.executed: list[str] = []

    def fail(self, prefix: str, times: int, code: int = sqlite3.SQLITE_FULL) -> None:
        self.prefix, self.left, self.code = prefix, times, code

    def connect(self, path: Path) -> sqlite3.Connection:
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, text: str, *arguments: Any) -> sqlite3.Cursor:
                if faults.left > 0 and text.startswith(faults.prefix):
                    faults.left -= 1
                    faults.failed += 1
                    error = sqlite3.OperationalError("a test says so")
                    error.sqlite_errorcode = faults.code
                    error.sqlite_errorname = "SQLITE_TEST"
                    raise error
                faults.executed.append(text.split()[0])
                return super().execute(text, *arguments)

        return connect(path, factory=Connection)
