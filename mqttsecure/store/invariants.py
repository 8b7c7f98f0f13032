# -*- test-case-name: tests.store.test_damage -*-
"""What always holds between the rows of a store: each refers to rows that are there, and references are counted right.

`mqttsecure store check` asks; what is left of a damaged file is made to fit.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from mqttsecure.store.tables import HIGHEST

__all__ = ["Fault", "find_faults", "mend_faults"]


class Fault(NamedTuple):
    """Rows that do not fit."""

    name: str
    rows: int
    text: str


class _Rule(NamedTuple):
    """``where`` selects the rows of ``table`` that do not fit; ``text`` says what they are."""

    name: str
    table: str
    where: str
    text: str


_GONE: Final = "session NOT IN (SELECT key FROM sessions) AND session NOT IN (SELECT session FROM ended)"

_NEVER: Final = "hold what was never written"

# In the order in which they can be mended: what the first delete may leave others without what these refer to.
_RULES: Final = (
    _Rule(
        "wrong_sessions",
        "sessions",
        "NOT json_valid(CAST(facts AS TEXT)) OR (will IS NOT NULL AND NOT json_valid(CAST(will AS TEXT)))",
        f"sessions {_NEVER}",
    ),
    _Rule("wrong_writers", "writers", "NOT json_valid(CAST(content AS TEXT))", f"writers {_NEVER}"),
    *(
        _Rule(
            f"wrong_{table}",
            table,
            " OR ".join(f"{column} NOT BETWEEN 0 AND {most}" for (of, column), most in HIGHEST.items() if of == table),
            f"{text} {_NEVER}",
        )
        for table, text in (
            ("subscriptions", "subscriptions"),
            ("messages", "messages"),
            ("entries", "queued messages"),
            ("incoming", "Packet Identifiers"),
        )
    ),
    _Rule(
        "subscriptions_without_session", "subscriptions", _GONE, "subscriptions belong to sessions that are not there"
    ),
    _Rule("incoming_without_session", "incoming", _GONE, "Packet Identifiers belong to sessions that are not there"),
    _Rule("entries_without_session", "entries", _GONE, "queued messages belong to sessions that are not there"),
    # Nobody could judge whether its writer still may write it.
    _Rule(
        "messages_without_writer",
        "messages",
        "writer NOT IN (SELECT id FROM writers)",
        "messages have no writer, and so nobody who answers for them",
    ),
    _Rule(
        "entries_without_message",
        "entries",
        "message <> 0 AND message NOT IN (SELECT id FROM messages)",
        "queued messages have no content",
    ),
    _Rule(
        "retained_without_message",
        "retained",
        "message NOT IN (SELECT id FROM messages)",
        "retained messages have no content",
    ),
)

_COUNT: Final = (
    "DROP TABLE IF EXISTS temp.counted",
    "CREATE TEMP TABLE counted (message INTEGER PRIMARY KEY, refs INTEGER NOT NULL)",
    """
    INSERT INTO temp.counted SELECT message, count(*) FROM (
        SELECT message FROM entries WHERE message <> 0 UNION ALL SELECT message FROM retained
    ) GROUP BY message
    """,
)

_WRONG: Final = """
    SELECT count(*) FROM messages AS m LEFT JOIN temp.counted AS c ON c.message = m.id
    WHERE m.refs <> coalesce(c.refs, 0)
"""


def find_faults(connection: sqlite3.Connection) -> list[Fault]:
    """Which rows do not fit. Only temporary tables are written."""
    faults = []
    for rule in _RULES:
        text = f"SELECT count(*) FROM {rule.table} WHERE {rule.where}"  # noqa: S608 - constants
        ((rows,),) = connection.execute(text).fetchall()
        faults.append(Fault(rule.name, rows, rule.text))
    _count(connection)
    ((rows,),) = connection.execute(_WRONG).fetchall()
    faults.append(Fault("wrong_references", rows, "messages count their references wrong"))
    connection.execute("DROP TABLE temp.counted")
    return [fault for fault in faults if fault.rows]


def mend_faults(connection: sqlite3.Connection) -> list[Fault]:
    """Delete what does not fit and count references anew, in a transaction of the caller; what was deleted."""
    faults = []
    for rule in _RULES:
        rows = connection.execute(f"DELETE FROM {rule.table} WHERE {rule.where}").rowcount  # noqa: S608 - constants
        if rows:
            faults.append(Fault(rule.name, rows, rule.text))
    _count(connection)
    connection.execute("DELETE FROM messages WHERE id NOT IN (SELECT message FROM temp.counted)")
    connection.execute("UPDATE messages SET refs = c.refs FROM temp.counted AS c WHERE c.message = messages.id")
    connection.execute("DROP TABLE temp.counted")
    return faults


def _count(connection: sqlite3.Connection) -> None:
    for text in _COUNT:
        connection.execute(text)
