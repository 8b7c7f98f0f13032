# -*- test-case-name: tests.cli.test_store -*-
"""All rows as lines of JSON, and back: for another machine, another version, or eyes.

The first line says what follows, the last how many rows that was; between them each line is a row with the name of its
table and its columns. What is JSON in the file is JSON here; payloads and properties are base64.
"""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from mqttsecure.errors import ConfigError
from mqttsecure.store.invariants import find_faults
from mqttsecure.store.salvage import JSON_COLUMNS, check_value
from mqttsecure.store.statements import MOST_ROWS, ManyRows
from mqttsecure.store.tables import ALL, Table

__all__ = ["FORMAT", "export_rows", "import_rows"]

FORMAT: Final = "mqttsecure-store"
_VERSION: Final = 1
"""Of this form; raised when a reader of an older one could misunderstand it."""


def export_rows(connection: sqlite3.Connection, progress: Callable[[int, int], object]) -> Iterator[str]:
    """The lines, of one state of the file.

    Args:
        connection: to it, in no transaction.
        progress: told how many rows are done, of how many.
    """
    connection.execute("BEGIN")
    try:
        counts = {}
        for table in ALL:
            ((counts[table.name],),) = connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()  # noqa: S608
        total, done = sum(counts.values()), 0
        yield _line({"format": FORMAT, "version": _VERSION, "exported_at": time.time(), "rows": counts})
        for table in ALL:
            for row in connection.execute(f"SELECT * FROM {table.name}"):  # noqa: S608 - constants
                yield _line({"table": table.name, **_to_json(table, row)})
                done += 1
                if done % MOST_ROWS == 0:
                    progress(done, total)
        yield _line({"end": done})
        progress(done, total)
    finally:
        connection.rollback()


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def _to_json(table: Table, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column: _value_to_json(table.name, column, value) for column, value in zip(table.columns, row, strict=True)}


def _value_to_json(table: str, column: str, value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    if (table, column) in JSON_COLUMNS:
        return json.loads(value)
    return base64.b64encode(value).decode()


def import_rows(
    connection: sqlite3.Connection, lines: Iterable[str], name: str, progress: Callable[[int], object]
) -> int:
    """Take in all rows, or none.

    Args:
        connection: to an empty store, in no transaction.
        lines: what :func:`export_rows` gave.
        name: of where the lines come from, for messages.
        progress: told how many rows are done.

    Returns:
        How many rows there were.

    Raises:
        ConfigError: a line is wrong, one is missing, or there are rows already.
    """
    for table in ALL:
        if connection.execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchall():  # noqa: S608 - constants
            raise ConfigError("the store is not empty; import into a new file, or move the old one away")
    connection.execute("BEGIN IMMEDIATE")
    try:
        count = _Import(ManyRows(connection), name, progress).take(lines)
        faults = find_faults(connection)
        if faults:
            raise ConfigError([f"{name}: {fault.rows} {fault.text}; export it again" for fault in faults])
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()
    return count


class _Import:
    """One import being read."""

    def __init__(self, rows: ManyRows, name: str, progress: Callable[[int], object]) -> None:
        self._rows = rows
        self._name = name
        self._progress = progress
        self._tables = {table.name: table for table in ALL}
        self._pending: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in ALL}
        self._count = 0

    def take(self, lines: Iterable[str]) -> int:
        is_over = False
        number = 0
        for number, line in enumerate(lines, 1):
            try:
                read = json.loads(line)
                if not isinstance(read, dict):
                    raise ValueError("it is no object")
                if number == 1:
                    self._begin(read)
                elif is_over:
                    raise ValueError("nothing may follow the line with `end`")
                elif "end" in read:
                    is_over = self._end(read["end"])
                else:
                    self._row(read)
            except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
                what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
                raise ConfigError(f"{self._name}:{number}: {what}; export it again") from error
        if not is_over:
            raise ConfigError(f"{self._name}:{number + 1}: it breaks off; export it again")
        for table in ALL:
            self._write(table)
        return self._count

    @staticmethod
    def _begin(read: dict[str, Any]) -> None:
        if read.get("format") != FORMAT:
            raise ValueError("this is no export of `mqttsecure store export`")
        if read.get("version") != _VERSION:
            raise ValueError(
                f"version {read.get('version')} of the form is not known here; use the release that wrote it"
            )

    def _end(self, count: object) -> bool:
        if count != self._count:
            raise ValueError(f"{self._count} rows came where there were {count}")
        return True

    def _row(self, read: dict[str, Any]) -> None:
        table = self._tables[read.pop("table")]
        row = tuple(
            check_value(table.name, column, kind, _from_json(table.name, column, kind, read.pop(column)))
            for column, kind in zip(table.columns, table.types, strict=True)
        )
        if read:
            raise ValueError(f"unknown column {next(iter(read))!r}")
        pending = self._pending[table.name]
        pending.append(row)
        self._count += 1
        if len(pending) == MOST_ROWS:
            self._write(table)
            self._progress(self._count)

    def _write(self, table: Table) -> None:
        self._rows.put(table, self._pending[table.name])
        self._pending[table.name] = []


def _from_json(table: str, column: str, kind: str, value: Any) -> Any:
    """The value as it is read from a file whose texts come as bytes."""
    if value is None:
        return None
    if (table, column) in JSON_COLUMNS:
        # As the broker writes it, so that equal writers are found to be equal.
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    if kind.startswith("BLOB"):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"{column} is no base64: {error}") from None
    if kind == "TEXT":
        return value.encode()
    return float(value) if kind.startswith("REAL") else value
