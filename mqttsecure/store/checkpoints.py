# -*- test-case-name: tests.store.test_checkpoints -*-
"""When what is in ``FILE-wal`` moves to ``FILE``.

SQLite would do it within a commit, whose acknowledgements would wait. Here it is done after those have been let go:
when nothing else is to do and a few thousand pages are there, and at the latest when there are many.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from pathlib import Path
from typing import Final

from mqttsecure.store.places import beside

__all__ = ["AT_LEISURE", "AT_THE_LATEST", "Checkpoints"]

AT_LEISURE: Final = 2_000
"""Pages (of 4 KiB): 8 MiB, some ten milliseconds of work on an SSD."""

AT_THE_LATEST: Final = 16_000
"""64 MiB. What a reader keeps from being moved comes on top, until the reader is done."""

_PAGES: Final = struct.Struct("=I")
_PAGES_AT: Final = 16
_MOVED_AT: Final = 96
"""Where the wal-index holds the number of pages in the WAL, and of those that have been moved (walformat.html)."""


class Checkpoints:
    """Looks after the WAL of ``connection``."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        connection.execute(f"PRAGMA journal_size_limit = {2 * AT_THE_LATEST * 4096}")
        # Closing a descriptor of this file drops SQLite's locks: so it is closed after the connection, in `close`.
        self._index: int | None = None
        try:
            self._index = os.open(beside(path, "-shm"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # SQLite's own way stays in force
        connection.execute(f"PRAGMA wal_autocheckpoint = {2 * AT_THE_LATEST}")

    def pages(self) -> int:
        """How many pages wait in the WAL."""
        if self._index is None:
            return 0
        pages: int = _PAGES.unpack(os.pread(self._index, 4, _PAGES_AT))[0]
        moved: int = _PAGES.unpack(os.pread(self._index, 4, _MOVED_AT))[0]
        return max(0, pages - moved)

    def run_if_due(self, *, idle: bool) -> None:
        """Move what is there, where it is time to."""
        if self.pages() >= (AT_LEISURE if idle else AT_THE_LATEST):
            self.run()

    def run(self) -> None:
        """Move what no reader holds."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Let go of the index, after the connection has been closed."""
        if self._index is not None:
            os.close(self._index)
            self._index = None
