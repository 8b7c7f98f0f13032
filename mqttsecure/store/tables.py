# -*- test-case-name: tests.store.test_schema -*-
"""The tables of the file and their columns, in the order of the rows of ``core.records``."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "ALL",
    "ENDED",
    "ENTRIES",
    "HIGHEST",
    "INCOMING",
    "MESSAGES",
    "RETAINED",
    "SESSIONS",
    "SUBSCRIPTIONS",
    "WRITERS",
    "Table",
]


class Table(NamedTuple):
    """A table.

    ``types`` are those of ``columns``, with a ``?`` where there may be none. ``key`` are the columns by which a row is
    replaced and deleted, the first of ``columns``.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]


def _table(name: str, columns: str, types: str, keys: int) -> Table:
    """A table whose types are written as one letter each: Integer, Text, Blob, Real."""
    names = tuple(columns.split())
    words = {"I": "INTEGER", "T": "TEXT", "B": "BLOB", "R": "REAL", "b": "BLOB?", "r": "REAL?"}
    return Table(name, names, tuple(words[letter] for letter in types), names[:keys])


SESSIONS: Final = _table(
    "sessions", "key namespace client_id authority name expiry left_at facts will will_due", "ITTTTRrBbr", 1
)
SUBSCRIPTIONS: Final = _table(
    "subscriptions",
    "session topic_filter qos no_local retain_as_published retain_handling identifier",
    "ITIIIII",
    2,
)
WRITERS: Final = _table("writers", "id content", "IB", 1)
MESSAGES: Final = _table(
    "messages", "id refs namespace topic payload qos retain properties expires_at writer", "IITTBIIbrI", 1
)
ENTRIES: Final = _table(
    "entries", "session number message octets qos retain identifiers share packet_id released", "IIIIIITTII", 2
)
INCOMING: Final = _table("incoming", "session packet_id", "II", 2)
RETAINED: Final = _table("retained", "namespace topic message", "TTI", 2)
ENDED: Final = _table("ended", "session", "I", 1)

ALL: Final = (SESSIONS, SUBSCRIPTIONS, WRITERS, MESSAGES, ENTRIES, INCOMING, RETAINED, ENDED)

HIGHEST: Final = {
    ("subscriptions", "qos"): 2,
    ("subscriptions", "no_local"): 1,
    ("subscriptions", "retain_as_published"): 1,
    ("subscriptions", "retain_handling"): 2,
    ("subscriptions", "identifier"): 268_435_455,
    ("messages", "qos"): 2,
    ("messages", "retain"): 1,
    ("entries", "qos"): 2,
    ("entries", "retain"): 1,
    ("entries", "packet_id"): 65_535,
    ("incoming", "packet_id"): 65_535,
}
"""The highest value of columns that have one: where a row holds another, it is not what was written."""
