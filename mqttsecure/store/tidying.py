# -*- test-case-name: tests.store.test_database -*-
"""What hangs on ended sessions goes in small steps, each a transaction of its own, so that no commit waits for long.

A step reads and deletes a few hundred rows. What is left to do stands in the table ``ended``, so a restart goes on
where the last process was.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import Final

from mqttsecure.store.applying import apply_references
from mqttsecure.store.statements import ManyRows
from mqttsecure.store.tables import WRITERS

__all__ = ["STEP", "Tidying"]

STEP: Final = 500
"""Rows of one step: a few milliseconds."""

_SCANNED: Final = 5_000
"""Messages that one step looks at in search of writers that are still needed."""

_ENTRIES: Final = """
    SELECT max(number), json_group_array(message) FROM (
        SELECT number, message FROM entries WHERE session = ? ORDER BY number LIMIT ?
    )
"""

_OTHERS: Final = (
    "DELETE FROM subscriptions WHERE session = ?1 AND topic_filter IN "
    "(SELECT topic_filter FROM subscriptions WHERE session = ?1 LIMIT ?2)",
    "DELETE FROM incoming WHERE session = ?1 AND packet_id IN "
    "(SELECT packet_id FROM incoming WHERE session = ?1 LIMIT ?2)",
)

_WRITERS_OF: Final = """
    SELECT max(id), json_group_array(DISTINCT writer) FROM (
        SELECT id, writer FROM messages WHERE id > ? ORDER BY id LIMIT ?
    )
"""

_WRITERS: Final = "SELECT json_group_array(id) FROM writers WHERE id <= ?"


class Tidying:
    """What there is to tidy up at ``connection``. Each call is within a transaction of the caller.

    ``last_writer`` is the highest number of the writers of earlier processes. One of this process may be needed again
    by its connection's next message, so it stays.
    """

    def __init__(self, connection: sqlite3.Connection, rows: ManyRows, last_writer: int) -> None:
        self._connection = connection
        self._rows = rows
        self._ended = {key for (key,) in connection.execute("SELECT session FROM ended")}
        self.last_writer = last_writer
        self._needed: set[int] = set()
        self._scanned = 0
        self._unneeded: list[tuple[int]] | None = None

    @property
    def is_left(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._ended or self.last_writer)

    def add(self, ended: list[int]) -> None:
        """These sessions have ended."""
        self._ended.update(ended)

    def finish(self, keys: list[int]) -> None:
        """Tidy up all of these sessions, where they have ended: their keys are about to be used again."""
        for key in keys:
            while key in self._ended:
                self._session(key)

    def step(self) -> None:
        """Do a little."""
        if self._ended:
            self._session(next(iter(self._ended)))
        else:
            self._writers()

    def _session(self, key: int) -> None:
        ((last, messages),) = self._connection.execute(_ENTRIES, (key, STEP)).fetchall()
        if last is not None:
            counts = Counter(json.loads(messages))
            del counts[0]  # of those that wait for PUBCOMP
            apply_references({message: -count for message, count in counts.items()}, self._rows)
            self._connection.execute("DELETE FROM entries WHERE session = ? AND number <= ?", (key, last))
            return
        for text in _OTHERS:
            if self._connection.execute(text, (key, STEP)).rowcount == STEP:
                return
        self._connection.execute("DELETE FROM ended WHERE session = ?", (key,))
        self._ended.discard(key)

    def _writers(self) -> None:
        """Find the writers that no message refers to any more, and delete them once all messages have been seen."""
        if self._unneeded is None:
            ((last, writers),) = self._connection.execute(_WRITERS_OF, (self._scanned, _SCANNED)).fetchall()
            if last is not None:
                self._scanned = last
                self._needed.update(json.loads(writers))
                return
            ((present,),) = self._connection.execute(_WRITERS, (self.last_writer,)).fetchall()
            self._unneeded = [(writer,) for writer in json.loads(present) if writer not in self._needed]
            self._needed.clear()
        self._rows.delete(WRITERS, self._unneeded[:STEP])
        del self._unneeded[:STEP]
        if not self._unneeded:
            self.last_writer = 0
