# -*- test-case-name: tests.store.test_damage -*-
"""What can be read of a damaged file, into a new one; what fits together stays."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from mqttsecure.store.invariants import mend_faults
from mqttsecure.store.places import beside
from mqttsecure.store.statements import MOST_ROWS, ManyRows
from mqttsecure.store.tables import ALL, HIGHEST, Table
from mqttsecure.store.walking import Walk

__all__ = ["JSON_COLUMNS", "check_value", "salvage"]

_PAGE: Final = 4096
_MAGIC: Final = b"SQLite format 3\0"

_TYPES: Final[dict[str, Any]] = {"I": int, "R": float, "T": bytes, "B": bytes}

JSON_COLUMNS: Final = {("sessions", "facts"), ("sessions", "will"), ("writers", "content")}


def salvage(damaged: Path, target: sqlite3.Connection, scratch: Path) -> list[str]:
    """Copy what can be read.

    Args:
        damaged: the file; it stays as it is, but for what its WAL brings.
        target: to a new file with all tables and no rows, in no transaction.
        scratch: where a copy with another first page may be made; removed again.

    Returns:
        A line for each kind of loss.

    Raises:
        sqlite3.Error: the new file cannot be written.
    """
    losses: list[str] = []
    rows = ManyRows(target)
    target.execute("BEGIN")
    try:
        with closing(_open(damaged, target, scratch)) as source:
            for table in ALL:
                losses += _copy(source, table, rows)
        for fault in mend_faults(target):
            losses.append(f"{fault.rows} {fault.text}")
        target.execute("COMMIT")
    finally:
        if target.in_transaction:
            target.rollback()
        for suffix in ("", "-wal", "-shm"):
            beside(scratch, suffix).unlink(missing_ok=True)
    return losses


def _open(damaged: Path, target: sqlite3.Connection, scratch: Path) -> sqlite3.Connection:
    """A connection to what is damaged, or to a copy of it whose first page is mended; in the end to nothing at all."""
    expected = _tables_of(target)
    for prepare in (_as_it_is, _with_true_size, _with_new_first_page):
        try:
            connection = _connect(prepare(damaged, target, scratch))
        except (sqlite3.Error, OSError, ValueError):
            continue  # the next way needs less of what is there
        if expected <= _tables_of(connection):
            return connection
        connection.close()
    nothing = sqlite3.connect(":memory:")
    nothing.text_factory = bytes
    return nothing


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes  # a damaged text may be none
    return connection


def _tables_of(connection: sqlite3.Connection) -> set[bytes]:
    try:
        found = connection.execute("SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE type = 'table'").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return set()
    return {sql for (sql,) in found}


def _as_it_is(damaged: Path, target: sqlite3.Connection, scratch: Path) -> Path:
    if not damaged.stat().st_size:
        raise ValueError("SQLite would remove the WAL of an empty file")
    return damaged


def _with_true_size(damaged: Path, target: sqlite3.Connection, scratch: Path) -> Path:
    """A copy whose header says how many pages there are: a file that was cut off is refused otherwise."""
    with damaged.open("rb") as file:
        page = file.read(_PAGE)
    if len(page) < _PAGE or not page.startswith(_MAGIC):
        raise ValueError("there is no first page")
    return _copy_with(damaged, scratch, page)


def _with_new_first_page(damaged: Path, target: sqlite3.Connection, scratch: Path) -> Path:
    """A copy with the first page of the new file: tables are always made in the same order, at the same places."""
    ((_, _, name),) = [row for row in target.execute("PRAGMA database_list") if row[1] == "main"]
    with open(name, "rb") as file:
        return _copy_with(damaged, scratch, file.read(_PAGE))


def _copy_with(damaged: Path, scratch: Path, page: bytes) -> Path:
    for suffix in ("", "-wal"):
        beside(scratch, suffix).unlink(missing_ok=True)
        if beside(damaged, suffix).exists():
            shutil.copyfile(beside(damaged, suffix), beside(scratch, suffix))
            beside(scratch, suffix).chmod(0o600)
    size = max(1, scratch.stat().st_size // _PAGE)
    header = bytearray(page)
    header[28:40] = struct.pack(">III", size, 0, 0)  # pages of the file, and no list of free ones
    header[18:20] = b"\x02\x02"  # there may be a WAL
    header[92:96] = header[24:28]  # the size is valid
    with scratch.open("r+b") as file:
        file.write(header)
        file.truncate(max(size, 1) * _PAGE)
        file.flush()
        os.fsync(file.fileno())
    return scratch


def _copy(source: sqlite3.Connection, table: Table, rows: ManyRows) -> list[str]:
    walk = Walk(source, table)
    wrong = 0
    page: list[tuple[Any, ...]] = []
    for row in _checked(walk, table):
        if row is None:
            wrong += 1
            continue
        page.append(row)
        if len(page) == MOST_ROWS:
            rows.put(table, page)
            page = []
    rows.put(table, page)
    losses = []
    if walk.gaps:
        losses.append(f"{table.name}: {walk.gaps} place{'s' if walk.gaps > 1 else ''} could not be read")
    if wrong:
        losses.append(f"{table.name}: {wrong} row{'s hold' if wrong > 1 else ' holds'} what was never written")
    return losses


def _checked(walk: Walk, table: Table) -> Iterator[tuple[Any, ...] | None]:
    kinds = list(zip(table.columns, table.types, strict=True))
    for row in walk.rows():
        try:
            yield tuple([check_value(table.name, *each, value) for each, value in zip(kinds, row, strict=True)])
        except ValueError:  # of one column, or too few of them
            yield None


def _check_json(value: bytes) -> None:
    try:
        json.loads(value)
    except RecursionError:
        raise ValueError("it is no JSON of ours") from None


def check_value(table: str, column: str, kind: str, value: Any) -> Any:
    """The value as it was given to the store.

    Raises:
        ValueError: it cannot have been.
    """
    if value is None:
        if kind.endswith("?"):
            return None
        raise ValueError("there is none")
    if not isinstance(value, _TYPES[kind[0]]):
        raise ValueError("it is of another type")
    if kind == "TEXT":
        return value.decode()
    if kind == "INTEGER" and not 0 <= value <= HIGHEST.get((table, column), value):
        raise ValueError("it is out of range")
    if (table, column) in JSON_COLUMNS:
        _check_json(value)
    return value
