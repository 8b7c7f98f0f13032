# -*- test-case-name: tests.store.test_database -*-
"""The file as one thread uses it: transactions, what is read, and what is tidied away. It blocks, and knows no reactor.

Whatever goes wrong while it writes, the transaction is undone. A file that shows itself to be damaged is mended on the
spot, at the start as well as later.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from mqttsecure.core.records import Batch
from mqttsecure.errors import ConfigError
from mqttsecure.store.applying import apply
from mqttsecure.store.checkpoints import Checkpoints
from mqttsecure.store.copying import copy_database
from mqttsecure.store.damage import DAMAGE, check_whole, finish_mending, is_damage, look_at, mend
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

_MOST_MENDS: Final = 8
"""In one process: a device that damages more than that is not to be filled with damaged files."""

_NEEDS_NEW_CONNECTION: Final = frozenset(
    (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
    )
)
"""Errors that a connection does not get over by itself, all of them told before anything is committed."""


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """A connection for any one thread at a time, in which transactions are begun by hand."""
    return sqlite3.connect(
        path,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        factory=factory,
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
        self._checkpoints: Checkpoints | None = None
        self._tidying: Tidying | None = None
        self._inode: tuple[int, int] | None = None
        self._mended = 0
        self._has_written = False
        self._is_name_synced = False
        self._since_tidied = 0

    def open(self) -> None:
        """Make ready, and mend what is damaged.

        Raises:
            ConfigError: it may not or cannot be used.
        """
        check_sqlite()
        make_folder(self.path)
        self._lock = Lock(self.path)
        try:
            check_modes(self.path)
            self._open_file(self._lock)
        except (sqlite3.Error, OSError) as error:
            self._give_up()
            raise ConfigError(in_words(self.path, error)) from error
        except ConfigError:
            self._give_up()
            raise

    def _open_file(self, lock: Lock) -> None:
        finish_mending(self.path)
        if make_private_file(self.path):
            sync_folder(self.path)
        found: list[str] = []
        try:
            found = look_at(self.path, was_used=not lock.is_first, ended_in_order=bool(lock.ended_in_order))
            connection = self._reconnect()
            found += check_whole(connection, self.path)
            if found:
                at = time.time()
                connection.executemany("INSERT INTO losses VALUES (?, ?)", [(at, text) for text in found])
            self.losses += found
        except DAMAGE as error:
            if not is_damage(error):
                raise
            if lock.is_first:
                raise ConfigError(f"{self.path} is not a store: {error}; name another file, or move it away") from error
            self.losses += found
            self._mend(error)

    def _mend(self, error: Exception) -> None:
        """Put a damaged file aside, and go on with what can be read of it."""
        if self._mended >= _MOST_MENDS:
            raise error
        self._mended += 1
        self._disconnect()
        self.losses += mend(self.path, self._schema, str(error))
        self._reconnect()

    def _give_up(self) -> None:
        self._disconnect()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _reconnect(self) -> sqlite3.Connection:
        connection = self._connection = self._connect(self.path)
        try:
            self._make_ready(connection)
        except BaseException:
            self._disconnect()  # half ready it would be taken for ready the next time
            raise
        return connection

    def _make_ready(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._synchronous else 'NORMAL'}")
        self._schema.make_ready(connection, self.path, lambda version: self._back_up(connection, version))
        self._rows = ManyRows(connection)
        self._tidy_anew(connection)
        self._checkpoints = Checkpoints(connection, self.path)
        status = self.path.stat()
        self._inode = (status.st_dev, status.st_ino)

    def _tidy_anew(self, connection: sqlite3.Connection) -> None:
        if self._tidying is None:
            ((last_writer,),) = connection.execute("SELECT coalesce(max(id), 0) FROM writers").fetchall()
        else:
            last_writer = self._tidying.last_writer
        self._tidying = Tidying(connection, self._rows, last_writer)

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
        if self._checkpoints is not None:
            self._checkpoints.close()
            self._checkpoints = None

    def write(self, batches: Sequence[Batch]) -> None:
        """All that the batches change, in one transaction that is on disk afterwards.

        Raises:
            Exception: nothing of them has been written.
        """
        merged = merge(batches)

        def put(connection: sqlite3.Connection, tidying: Tidying) -> None:
            for batch in merged:
                tidying.finish([row.key for row in batch.sessions])
                apply(batch, self._rows)
                tidying.add(batch.ended)
            self._since_tidied += 1
            if self._since_tidied >= _TIDY_EVERY and tidying.is_left:
                self._since_tidied = 0
                tidying.step()

        self._transact(put)

    def tidy(self) -> None:
        """Do a little of what can wait."""
        self._transact(lambda connection, tidying: tidying.step())

    def _transact(self, action: Callable[[sqlite3.Connection, Tidying], object]) -> None:
        try:
            self._attempt(action)
        except DAMAGE as error:
            if not is_damage(error):
                raise
            self._mend(error)
            self._attempt(action)
        if self._lock is not None and not self._has_written:
            # Not before: until a transaction is on disk, the name of the WAL may not be.
            self._lock.note(ended_in_order=False)
            self._has_written = True

    def _attempt(self, action: Callable[[sqlite3.Connection, Tidying], object]) -> None:
        connection = self._connection or self._reconnect()
        if self._tidying is None:
            raise RuntimeError("the file has never been open")
        self._check_place()
        try:
            connection.execute("BEGIN IMMEDIATE")
            action(connection, self._tidying)
            connection.execute("COMMIT")
        except BaseException as error:
            self._undo(connection, error)
            raise

    def _undo(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """Back to before the transaction.

        The connection is kept where that can be: what a failed commit left in the WAL counts for nothing to it, while
        a new one could take it for written, and the same batch would then be applied twice.
        """
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        try:
            if connection.in_transaction:
                connection.rollback()
            if code in _NEEDS_NEW_CONNECTION:
                self._disconnect()
                return
            self._tidy_anew(connection)
            if self._checkpoints is not None and code == sqlite3.SQLITE_FULL:
                self._checkpoints.run()  # then the WAL begins anew, within the room that it has
        except sqlite3.Error:
            self._disconnect()

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
            return function(self._connection or self._reconnect())
        except DAMAGE as error:
            if not is_damage(error):
                raise
            self._mend(error)
            return function(self._connection or self._reconnect())

    @property
    def is_untidy(self) -> bool:
        """Whether :meth:`tidy` has anything to do."""
        return self._tidying is not None and self._tidying.is_left

    def checkpoint(self, *, idle: bool) -> None:
        """Keep the WAL small."""
        if self._checkpoints is not None:
            self._checkpoints.run_if_due(idle=idle)

    def wal_pages(self) -> int:
        """How many pages are in the WAL alone."""
        return 0 if self._checkpoints is None else self._checkpoints.pages()

    def sync(self) -> None:
        """Have on disk all that was written."""
        # SQLite has no locks on this file that closing it could drop.
        descriptor = os.open(beside(self.path, "-wal"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if not self._is_name_synced:
            sync_folder(self.path)
            self._is_name_synced = True

    def close(self) -> None:
        """Let go of the file and of the lock."""
        if self._lock is None:
            return
        in_wal = 1
        try:
            if self._checkpoints is not None:
                self._checkpoints.run()
                in_wal = self._checkpoints.pages()
        except sqlite3.Error:
            pass  # what is in the WAL stays there
        if in_wal == 0:
            self._lock.note(ended_in_order=True)  # before the WAL is removed
        self._disconnect()
        if in_wal and not beside(self.path, "-wal").exists():
            self._lock.note(ended_in_order=True)
        self._lock.release()
        self._lock = None
