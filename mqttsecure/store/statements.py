# -*- test-case-name: tests.store.test_statements -*-
"""Many rows with one statement.

Each statement lets go of Python's global lock, and a reactor that is busy gives it back only after the switch interval
(5 ms). Rows that are written one statement each would so be written 200 a second; thousands go with one.
This is on the path of each durable message.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from mqttsecure.store.tables import MESSAGES, Table

__all__ = ["CACHED_STATEMENTS", "MOST_ROWS", "ManyRows", "pieces"]

MOST_ROWS: Final = 2048
"""Of one statement: ten columns of them stay below the 32,766 variables that SQLite allows, and 3 MiB when compiled."""

CACHED_STATEMENTS: Final = 192
"""Compiled ones that a connection keeps: a dozen kinds, each in the sizes 1, 2, 4 ... 2048."""


def pieces(count: int, most: int = MOST_ROWS) -> Iterator[tuple[int, int, int]]:
    """Cut ``count`` rows into few statements whose sizes are powers of two, so that few need to be compiled.

    Returns:
        For each: the first row, the row after the last, and the size, which is larger than that where the last row is
        to be repeated: rather than three more statements, a quarter more rows.
    """
    start = 0
    while start < count:
        left = count - start
        size = min(1 << (left.bit_length() - 1), most)
        if size < most and left > size and 2 * size - left <= size // 4:
            yield start, count, 2 * size
            return
        yield start, start + size, size
        start += size


class ManyRows:
    """Writes to ``connection`` with few statements. Rows are tuples in the order of the table's columns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._texts: dict[tuple[str, str, int], str] = {}
        variables = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        self._most = max(1, min(MOST_ROWS, 1 << (variables // 10).bit_length() - 1))

    def put(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, each in place of that of the same key."""
        self._run("put", table, rows)

    def delete(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> None:
        """Delete the rows of these keys; those that are not there do not matter."""
        self._run("delete", table, keys)

    def release(self, messages: Sequence[int]) -> None:
        """Count one reference less of each message, and delete those that had no other."""
        keys = [(message,) for message in messages]
        self._run("drop", MESSAGES, keys)
        self._run("lower", MESSAGES, keys)

    def change(self, references: Sequence[tuple[int, int]]) -> None:
        """Change the references of each message by a number, and delete those at 0 or less."""
        self._run("change", MESSAGES, references)
        self._run("sweep", MESSAGES, [(message,) for message, _ in references])

    def _run(self, kind: str, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        for start, end, size in pieces(len(rows), self._most):
            values = tuple(chain.from_iterable(rows[start:end]))
            if end - start < size:
                values += tuple(rows[end - 1]) * (size - (end - start))
            key = (kind, table.name, size)
            text = self._texts.get(key)
            if text is None:
                text = self._texts[key] = _text(kind, table, size)
            self._execute(text, values)


def _text(kind: str, table: Table, size: int) -> str:
    # All names are constants of this package; what comes from outside is bound.
    if kind == "put":
        return f"INSERT OR REPLACE INTO {table.name} VALUES {_rows(len(table.columns), size)}"  # noqa: S608
    if kind == "delete":
        names = ", ".join(table.key)
        # Written so that each key is looked up; `IN (VALUES ...)` would read the whole table.
        return (
            f"WITH gone({names}) AS (VALUES {_rows(len(table.key), size)}) "  # noqa: S608
            f"DELETE FROM {table.name} WHERE ({names}) IN (SELECT {names} FROM gone)"
        )
    some = ", ".join("?" * size)
    return {
        "drop": f"DELETE FROM messages WHERE id IN ({some}) AND refs <= 1",  # noqa: S608
        "lower": f"UPDATE messages SET refs = refs - 1 WHERE id IN ({some})",  # noqa: S608
        "sweep": f"DELETE FROM messages WHERE id IN ({some}) AND refs <= 0",  # noqa: S608
        "change": "UPDATE messages SET refs = refs + by.column2 "  # noqa: S608
        f"FROM (VALUES {_rows(2, size)}) AS by WHERE id = by.column1",
    }[kind]


def _rows(columns: int, size: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * size)
