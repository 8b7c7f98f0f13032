# -*- test-case-name: tests.store.test_sqlite -*-
"""Rows as the core wants them back.

What is read at the start is read row by row, as nobody else runs then. What is read while the broker serves comes as
one row of JSON: each row that is fetched would wait for Python's global lock.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from mqttsecure.core.records import (
    EntryRow,
    Highest,
    MessageRow,
    SessionRow,
    StoredEntry,
    StoredRetained,
    StoredSession,
    SubscriptionRow,
)

__all__ = ["read_entries", "read_highest", "read_incoming", "read_retained", "read_sessions"]

_HIGHEST: Final = """
    SELECT
        max((SELECT coalesce(max(key), 0) FROM sessions), (SELECT coalesce(max(session), 0) FROM ended)),
        (SELECT coalesce(max(id), 0) FROM messages),
        (SELECT coalesce(max(id), 0) FROM writers),
        (SELECT coalesce(max(released), 0) FROM entries)
"""

_SESSIONS: Final = "SELECT * FROM sessions WHERE key > ? ORDER BY key LIMIT ?"

# `count` over the primary key in its own order needs no sorting: a million entries take a third of a second.
_COUNTS: Final = """
    SELECT session, count(*), total(octets), max(number) FROM entries
    WHERE session > ? AND session <= ? GROUP BY session
"""

_SUBSCRIPTIONS: Final = "SELECT * FROM subscriptions WHERE session > ? AND session <= ? ORDER BY session, topic_filter"

_OCTETS: Final = """
    SELECT json_group_array(octets), json_group_array(number) FROM (
        SELECT octets, number FROM entries
        WHERE session = (SELECT key FROM sessions WHERE key = ?) AND number > ? ORDER BY number LIMIT ?
    )
"""

_ENTRIES: Final = """
    SELECT json_group_array(json_array(
        e.number, e.message, e.octets, e.qos, e.retain, e.identifiers, e.share, e.packet_id, e.released,
        m.id, m.refs, m.namespace, m.topic, hex(m.payload), m.qos, m.retain, hex(m.properties), m.properties IS NULL,
        m.expires_at, m.writer
    )) FROM (SELECT * FROM entries WHERE session = ? AND number > ? AND number <= ? ORDER BY number) AS e
    LEFT JOIN messages AS m ON m.id = e.message
"""

_WRITERS: Final = "SELECT json_group_array(json_array(id, hex(content))) FROM writers WHERE id IN ({})"

_INCOMING: Final = """
    SELECT json_group_array(packet_id) FROM (
        SELECT packet_id FROM incoming WHERE session = (SELECT key FROM sessions WHERE key = ?) ORDER BY packet_id
    )
"""

_RETAINED: Final = """
    SELECT m.*, coalesce(w.content, x'') FROM (
        SELECT * FROM retained WHERE (namespace, topic) > (?, ?) ORDER BY namespace, topic LIMIT ?
    ) AS r CROSS JOIN messages AS m ON m.id = r.message LEFT JOIN writers AS w ON w.id = m.writer
"""


def read_highest(connection: sqlite3.Connection) -> Highest:
    """As :meth:`mqttsecure.interfaces.ISessionStore.highest`."""
    return Highest(*connection.execute(_HIGHEST).fetchone())


def read_sessions(connection: sqlite3.Connection, after: int, limit: int) -> Sequence[StoredSession]:
    """As :meth:`mqttsecure.interfaces.ISessionStore.load_sessions`."""
    rows = [SessionRow(*row) for row in connection.execute(_SESSIONS, (after, limit))]
    if not rows:
        return []
    span = (rows[0].key - 1, rows[-1].key)
    counts = {key: (count, int(octets), top) for key, count, octets, top in connection.execute(_COUNTS, span)}
    of_sessions: dict[int, list[SubscriptionRow]] = {
        key: [_subscription(row) for row in group]
        for key, group in groupby(connection.execute(_SUBSCRIPTIONS, span), itemgetter(0))
    }
    return [StoredSession(row, of_sessions.get(row.key, []), *counts.get(row.key, (0, 0, 0))) for row in rows]


def _subscription(row: Sequence[Any]) -> SubscriptionRow:
    session, topic_filter, qos, no_local, retain_as_published, retain_handling, identifier = row
    return SubscriptionRow(
        session, topic_filter, qos, bool(no_local), bool(retain_as_published), retain_handling, identifier
    )


def read_entries(
    connection: sqlite3.Connection, session: int, after: int, limit: int, octets: int
) -> Sequence[StoredEntry]:
    """As :meth:`mqttsecure.interfaces.ISessionStore.load_entries`."""
    ((sizes, numbers),) = connection.execute(_OCTETS, (session, after, limit)).fetchall()
    until, total = after, 0
    for size, number in zip(json.loads(sizes), json.loads(numbers), strict=True):
        until, total = number, total + size
        if total >= octets:
            break
    if until == after:
        return []
    ((found,),) = connection.execute(_ENTRIES, (session, after, until)).fetchall()
    rows = json.loads(found)
    writers = _read_writers(connection, {row[19] for row in rows if row[19] is not None})
    return [_entry(session, row, writers) for row in rows if row[1] == 0 or row[9] is not None]


def _entry(session: int, row: Sequence[Any], writers: dict[int, bytes]) -> StoredEntry:
    number, message, octets, qos, retain, identifiers, share, packet_id, released = row[:9]
    entry = EntryRow(session, number, message, octets, qos, bool(retain), identifiers, share, packet_id, released)
    if message == 0:
        return StoredEntry(entry, None, b"")
    key, references, namespace, topic, payload, qos, retain, properties, without, expires_at, writer = row[9:]
    body = MessageRow(
        key,
        references,
        namespace,
        topic,
        bytes.fromhex(payload),
        qos,
        bool(retain),
        None if without else bytes.fromhex(properties),
        expires_at,
        writer,
    )
    return StoredEntry(entry, body, writers.get(writer, b""))


def _read_writers(connection: sqlite3.Connection, keys: set[int]) -> dict[int, bytes]:
    if not keys:
        return {}
    # At most as many as entries were asked for; written as numbers, as there may be more than variables.
    text = _WRITERS.format(",".join(str(int(key)) for key in sorted(keys)))
    ((found,),) = connection.execute(text).fetchall()
    return {key: bytes.fromhex(content) for key, content in json.loads(found)}


def read_incoming(connection: sqlite3.Connection, session: int) -> Sequence[int]:
    """As :meth:`mqttsecure.interfaces.ISessionStore.load_incoming`."""
    ((found,),) = connection.execute(_INCOMING, (session,)).fetchall()
    answer: list[int] = json.loads(found)
    return answer


def read_retained(connection: sqlite3.Connection, after: tuple[str, str], limit: int) -> Sequence[StoredRetained]:
    """As :meth:`mqttsecure.interfaces.IRetainedStore.load_retained`."""
    return list(_retained(connection.execute(_RETAINED, (*after, limit))))


def _retained(rows: Iterator[Any]) -> Iterator[StoredRetained]:
    for *row, writer in rows:
        row[6] = bool(row[6])
        yield StoredRetained(MessageRow(*row), writer)
