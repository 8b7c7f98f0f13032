# -*- test-case-name: tests.store.test_database -*-
"""The file as one thread uses it: transactions, what is read, and what is tidied away. It blocks, and knows no reactor.

Whatever goes wrong while it writes, the transaction is undone and the connection given up; the next attempt starts
from a new one, as nobody can say what state an error of the device leaves behind.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from mqttsecure.core.records import Batch
from mqttsecure.errors import ConfigError
from mqttsecure.store.applying import apply
from mqttsecure.store.checkpoints import Checkpoints
from mqttsecure.store.copying import copy_database
from mqttsecure.store.merging import merge
from mqttsecure.store.places import Lock, beside, check_modes, make_folder, make_private_file, sync_folder
from mqttsecure.store.schema import Schema, check_sqlite
from mqttsecure.store.statements import CACHED_STATEMENTS, ManyRows
from mqttsecure.store.tidying import Tidying

__all__ = ["Database", "connect", "in_words"]

_T = TypeVar("_T")

_PATIENCE: Final = 2.0
"""Seconds to wait for a lock of SQLite's. Ours keeps other brokers out; this is for a look with other tools."""

_TIDY_EVERY: Final = 16
"""Transactions after which a step of tidying is done although others wait, so that load never stops it for good."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection for any one thread at a time, in which transactions are begun by hand."""
    return sqlite3.connect(
        path,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )


def in_words(path: Path, error: BaseException) -> str:
    """What keeps ``path`` from being written, with the mend."""
    name = getattr(error, "sqlite_errorname", "")
    code = name.removeprefix("SQLITE_").partition("_")[0]
    mend = {
        "FULL": "the disk is full; make room",
        "READONLY": "it became read-only; make it writable",
        "IOERR": "the device reports an error; look at the kernel's log, and make room if the disk is full",
        "CANTOPEN": "it cannot be opened; check that it and its folder are there, their owner and mode",
        "BUSY": "another program has locked it; end that",
        "LOCKED": "another program has locked it; end that",
        "CORRUPT": "it is damaged, and cannot be mended at the moment; restart the broker",
        "NOTADB": "it is damaged, and cannot be mended at the moment; restart the broker",
    }.get(code, "restart the broker, and report it if that does not help")
    return f"{path} cannot be written: {error}{f' ({name})' if name else ''}: {mend}"


class Database:
    """The file ``path``.

    Args:
        path: of the file; made if it is not there.
        synchronous: whether each transaction is on disk when :meth:`write` is back; otherwise at :meth:`sync`.
        connect: makes connections.
        schema: of the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: bool = True,
        connect: Callable[[Path], sqlite3.Connection] = connect,
        schema: Schema | None = None,
    ) -> None:
        self.path = path
        self.losses: list[str] = []
        self._synchronous = synchronous
        self._connect = connect
        self._schema = Schema() if schema is None else schema
        self._lock: Lock | None = None
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._since_tidied = 0

    def open(self) -> None:
        """Make ready.

        Raises:
            ConfigError: it may not or cannot be used.
        """
        check_sqlite()
        make_folder(self.path)
        self._lock = Lock(self.path)
        try:
            check_modes(self.path)
            if make_private_file(self.path):
                sync_folder(self.path)
            self._reconnect()
        except (sqlite3.Error, OSError) as error:
            self._give_up()
            raise ConfigError(in_words(self.path, error)) from error
        except ConfigError:
            self._give_up()
            raise
        self._lock.note(ended_in_order=False)

    def _give_up(self) -> None:
        self._disconnect()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _reconnect(self) -> sqlite3.Connection:
        connection = self._connection = self._connect(self.path)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._synchronous else 'NORMAL'}")
        self._schema.make_ready(connection, self.path, lambda version: self._back_up(connection, version))
        self._rows = ManyRows(connection)
        self._tidying = Tidying(connection, self._rows)
        self._checkpoints = Checkpoints(connection, self.path)
        status = self.path.stat()
        self._inode = (status.st_dev, status.st_ino)
        return connection

    def _back_up(self, connection: sqlite3.Connection, version: int) -> None:
        copy_database(connection, beside(self.path, f".schema-{version:03}"))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except sqlite3.Error:
            pass  # it was given up because of an error that has been told
        checkpoints = getattr(self, "_checkpoints", None)
        if checkpoints is not None:
            checkpoints.close()

    def _connected(self) -> sqlite3.Connection:
        return self._reconnect() if self._connection is None else self._connection

    def write(self, batches: Sequence[Batch]) -> None:
        """All that the batches change, in one transaction that is on disk afterwards.

        Raises:
            Exception: nothing of them has been written.
        """
        try:
            connection = self._connected()
            self._check_place()
            connection.execute("BEGIN IMMEDIATE")
            for batch in merge(batches):
                self._tidying.finish([row.key for row in batch.sessions])
                apply(batch, self._rows)
                self._tidying.add(batch.ended)
            self._since_tidied += 1
            if self._since_tidied >= _TIDY_EVERY and self._tidying.is_left:
                self._since_tidied = 0
                self._tidying.step()
            connection.execute("COMMIT")
        except BaseException:
            self._disconnect()  # which undoes what was begun
            raise

    def _check_place(self) -> None:
        """A file that was removed or replaced would be written on, and be gone with the process."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._inode:
            raise OSError("the file has been removed or replaced while the broker runs")

    def read(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """What ``function`` reads of one state of the file."""
        try:
            return function(self._connected())
        except sqlite3.Error:
            self._disconnect()
            raise

    @property
    def is_untidy(self) -> bool:
        """Whether :meth:`tidy` has anything to do."""
        return self._connection is not None and self._tidying.is_left

    def tidy(self) -> None:
        """Do a little of what can wait."""
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            self._tidying.step()
            connection.execute("COMMIT")
        except BaseException:
            self._disconnect()
            raise

    def checkpoint(self, *, idle: bool) -> None:
        """Keep the WAL small."""
        if self._connection is not None:
            self._checkpoints.run_if_due(idle=idle)

    def sync(self) -> None:
        """Have on disk all that was written."""
        if self._connection is not None:
            self._checkpoints.run()

    def close(self) -> None:
        """Let go of the file and of the lock."""
        if self._lock is None:
            return
        self._disconnect()
        self._lock.note(ended_in_order=not os.path.exists(beside(self.path, "-wal")))
        self._lock.release()
        self._lock = None
