# -*- test-case-name: tests.store.test_damage -*-
"""Reads a table of a damaged file by its key, and steps over what cannot be read.

A row behind a damaged page is found again by its key: the tree leads to it by another way. How far to step is tried
out, as nobody knows where the damaged page ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from mqttsecure.store.tables import Table

__all__ = ["Walk"]

_MOST_GAPS: Final = 2_000
"""Of one table: at a hundred attempts each, some seconds."""

_DOUBLINGS: Final = 62

ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file ends with: SQLite's own message may hold what it found there."""

Key = tuple[Any, ...]


class Walk:
    """The rows of ``table`` that can be read at ``connection``, whose texts come as bytes.

    ``gaps`` counts the places where something could not be.
    """

    def __init__(self, connection: sqlite3.Connection, table: Table) -> None:
        self._connection = connection
        self._table = table.name
        self._width = len(table.key)
        self._order = ", ".join(table.key)
        self._first: Key = tuple(b"" if kind == "TEXT" else 0 for kind in table.types[: self._width])
        # A condition on all of the key at once would be looked up by its first column alone.
        terms = [
            f"{name} {{}} {'CAST(? AS TEXT)' if kind == 'TEXT' else '?'}"
            for name, kind in zip(table.key, table.types, strict=False)
        ]
        self._conditions = [
            (" AND ".join([*(term.format("=") for term in terms[:at]), terms[at]]), at + 1)
            for at in reversed(range(self._width))
        ]
        self.gaps = 0

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Each row once, by rising key."""
        last: Key | None = None
        # The first time without a condition: a negative key would be a sign of damage, but is read all the same.
        start: Key | None = None
        while True:
            try:
                for row in self._read(start):
                    key = row[: self._width]
                    if not self._rises(last, key):
                        break  # a tree that leads back into itself
                    last = key
                    yield row
                else:
                    return
            except ERRORS:
                pass
            # The iterator was one row ahead, and has dropped that row with the error.
            while (dropped := self._one_behind(self._furthest(start, last))) is not None:
                last = dropped[: self._width]
                yield dropped
            self.gaps += 1
            start = self._beyond(self._furthest(start, last)) if self.gaps <= _MOST_GAPS else None
            if start is None:
                return

    def _select(self, key: Key, comparison: str, columns: str = "*", limit: int = -1) -> Iterator[tuple[Any, ...]]:
        """The rows at (``>=``) or behind (``>``) ``key``."""
        for condition, parts in self._conditions:
            text = (
                f"SELECT {columns} FROM {self._table} WHERE {condition.format(comparison)} "  # noqa: S608 - constants
                f"ORDER BY {self._order} LIMIT {limit}"
            )
            yield from self._connection.execute(text, key[:parts])
            comparison = ">"

    def _read(self, start: Key | None) -> Iterator[tuple[Any, ...]]:
        if start is None:
            return self._connection.execute(f"SELECT * FROM {self._table} ORDER BY {self._order}")  # noqa: S608
        return self._select(start, ">=")

    def _one_behind(self, key: Key) -> tuple[Any, ...] | None:
        try:
            row = next(self._select(key, ">", limit=1), None)
        except ERRORS:
            return None
        return row if row is not None and self._rises(key, row[: self._width]) else None

    def _furthest(self, start: Key | None, last: Key | None) -> Key:
        if start is None or last is None:
            return start or last or self._first
        return max(start, last)

    def _rises(self, after: Key | None, key: Key) -> bool:
        """Whether ``key`` may follow; not where the damage made a part of it another type."""
        is_key = all(type(part) is type(first) for part, first in zip(key, self._first, strict=True))
        return is_key and (after is None or key > after)

    def _beyond(self, key: Key) -> Key | None:
        """A key behind the damage, from which on can be read; None where there is none."""
        for position in reversed(range(self._width)):
            part = key[position]
            found = self._number(key, position) if isinstance(part, int) else self._text(key, position)
            if found is not None:
                return found
        return None

    def _number(self, key: Key, position: int) -> Key | None:
        """Step further and further until something can be read, then back to where that begins."""
        good = next((step for step in range(_DOUBLINGS) if self._is_readable(self._at(key, position, 1 << step))), None)
        if good is None:
            return None
        low, high = (1 << good) >> 1, 1 << good
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_readable(self._at(key, position, middle)):
                high = middle
            else:
                low = middle
        return self._at(key, position, high)

    def _at(self, key: Key, position: int, step: int) -> Key:
        return (*key[:position], key[position] + step, *self._first[position + 1 :])

    def _text(self, key: Key, position: int) -> Key | None:
        """The next texts that begin otherwise, nearest first."""
        text = key[position]
        for end in reversed(range(len(text))):
            if text[end] < 0xFF and (found := self._try_text(key, position, text[:end] + bytes([text[end] + 1]))):
                return found
        if not text:
            for byte in range(1, 256):
                if found := self._try_text(key, position, bytes([byte])):
                    return found
        return None

    def _try_text(self, key: Key, position: int, text: bytes) -> Key | None:
        candidate = (*key[:position], text, *self._first[position + 1 :])
        return candidate if self._is_readable(candidate) else None

    def _is_readable(self, key: Key) -> bool:
        """Whether there is a row at or behind ``key`` that can be read, or certainly none."""
        try:
            row = next(self._select(key, ">=", self._order, 1), None)
        except (*ERRORS, OverflowError):
            return False
        return row is None or self._rises(None, row)
