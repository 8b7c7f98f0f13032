# -*- test-case-name: tests.store.test_statements -*-
"""The tables of the file and their columns, in the order of the rows of ``core.records``."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "ALL",
    "ENDED",
    "ENTRIES",
    "INCOMING",
    "MESSAGES",
    "RETAINED",
    "SESSIONS",
    "SUBSCRIPTIONS",
    "WRITERS",
    "Table",
]


class Table(NamedTuple):
    """A table. ``key`` are the columns by which a row is replaced and deleted, the first of ``columns``."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


SESSIONS: Final = Table(
    "sessions",
    ("key", "namespace", "client_id", "authority", "name", "expiry", "left_at", "facts", "will", "will_due"),
    ("key",),
)
SUBSCRIPTIONS: Final = Table(
    "subscriptions",
    ("session", "topic_filter", "qos", "no_local", "retain_as_published", "retain_handling", "identifier"),
    ("session", "topic_filter"),
)
WRITERS: Final = Table("writers", ("id", "content"), ("id",))
MESSAGES: Final = Table(
    "messages",
    ("id", "refs", "namespace", "topic", "payload", "qos", "retain", "properties", "expires_at", "writer"),
    ("id",),
)
ENTRIES: Final = Table(
    "entries",
    (
        "session",
        "number",
        "message",
        "octets",
        "qos",
        "retain",
        "identifiers",
        "share",
        "packet_id",
        "released",
    ),
    ("session", "number"),
)
INCOMING: Final = Table("incoming", ("session", "packet_id"), ("session", "packet_id"))
RETAINED: Final = Table("retained", ("namespace", "topic", "message"), ("namespace", "topic"))
ENDED: Final = Table("ended", ("session",), ("session",))

ALL: Final = (SESSIONS, SUBSCRIPTIONS, WRITERS, MESSAGES, ENTRIES, INCOMING, RETAINED, ENDED)
