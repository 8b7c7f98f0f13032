# -*- test-case-name: tests.core.test_journal -*-
"""What is kept on disk, as plain values: what the core hands to a store in one transaction, and what it gets back.

Sessions have keys and entries have numbers that the core gives out and never uses for anything else; a store keeps
rows and knows nothing of MQTT. Times are seconds since 1970 (wall clock), since monotonic ones end with the process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "Batch",
    "EntryRow",
    "Highest",
    "MessageRow",
    "RetainedRow",
    "SessionRow",
    "StoredEntry",
    "StoredRetained",
    "StoredSession",
    "SubscriptionRow",
    "WriterRow",
]


class SessionRow(NamedTuple):
    """One durable session. ``key`` is above 0 and never used again while anything under it is left.

    ``expiry`` is the Session Expiry Interval in seconds, 4294967295.0 for never; ``left_at`` when its connection
    ended, None while it has one. ``facts`` and ``will`` are JSON, ``will`` None for no will; ``will_due`` is when a
    """

    key: int
    namespace: str
    client_id: str
    authority: str
    name: str
    expiry: float
    left_at: float | None
    facts: bytes
    will: bytes | None
    will_due: float | None


class SubscriptionRow(NamedTuple):
    """One subscription of a session with its options."""

    session: int
    topic_filter: str
    qos: int
    no_local: bool
    retain_as_published: bool
    retain_handling: int
    identifier: int


class WriterRow(NamedTuple):
    """Who wrote messages, as JSON; shared by all messages of one connection."""

    id: int
    content: bytes


class MessageRow(NamedTuple):
    """A message body, kept once however many sessions and topics refer to it.

    ``references`` counts them at the time of the insert. ``properties`` are the forwarded ones as they are on the wire
    (5.0, without their length). ``expires_at`` is None for never.
    """

    id: int
    references: int
    namespace: str
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: bytes | None
    expires_at: float | None
    writer: int


class EntryRow(NamedTuple):
    """A message on its way to one session. Entries of a session are in the order of ``number``.

    ``octets`` is what it costs the session's budget. ``identifiers`` are the Subscription Identifiers with commas
    between, "" for none; ``share`` is the Topic Filter of the shared subscription it came by, "" for none.
    ``packet_id`` is 0 until it has been sent. ``released`` is above 0 once PUBREC has come, rising in the order of the
    PUBRECs; such an entry waits for PUBCOMP and its message counts no more (``message`` is 0).
    """

    session: int
    number: int
    message: int
    octets: int
    qos: int
    retain: bool
    identifiers: str
    share: str
    packet_id: int
    released: int


class RetainedRow(NamedTuple):
    """The retained message of a Topic Name."""

    namespace: str
    topic: str
    message: int


@dataclass(slots=True)
class Batch:
    """All that one transaction changes. Applied in the order of the fields; the result must be as if in one step.

    So a message of an ended session stays where ``references`` have it belong to another one from now on.

    Attributes:
        number: counts up by one from batch to batch.
        ended: keys of sessions that are gone; with them go their subscriptions, entries and Packet Identifiers, and
            the references of their entries. A store may take its time with what hangs on them.
        writers: new ones.
        messages: new ones.
        references: by how much the references of messages that were there before change; one at 0 or less is deleted.
        sessions: put whole, new or in place of the row of the same key.
        subscriptions: put whole, new or in place of the same (session, topic_filter).
        unsubscribed: (session, topic_filter) to delete.
        entries: put whole, new or in place of the same (session, number).
        removed: (session, number) of entries to delete; their references are in ``references``.
        incoming: (session, Packet Identifier) of QoS 2 messages taken in and not released.
        completed: (session, Packet Identifier) of those to delete.
        retained: put whole, in place of the same (namespace, topic).
        forgotten: (namespace, topic) of retained messages to delete.
    """

    number: int
    ended: list[int] = field(default_factory=list)
    writers: list[WriterRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    references: dict[int, int] = field(default_factory=dict)
    sessions: list[SessionRow] = field(default_factory=list)
    subscriptions: list[SubscriptionRow] = field(default_factory=list)
    unsubscribed: list[tuple[int, str]] = field(default_factory=list)
    entries: list[EntryRow] = field(default_factory=list)
    removed: list[tuple[int, int]] = field(default_factory=list)
    incoming: list[tuple[int, int]] = field(default_factory=list)
    completed: list[tuple[int, int]] = field(default_factory=list)
    retained: list[RetainedRow] = field(default_factory=list)
    forgotten: list[tuple[str, str]] = field(default_factory=list)


class StoredSession(NamedTuple):
    """A session as it is read at the start: without its entries, of which only a few numbers are known.

    ``entries`` is how many they are, ``octets`` their size, ``highest`` the highest ``number`` of one, 0 for none.
    """

    row: SessionRow
    subscriptions: list[SubscriptionRow]
    entries: int
    octets: int
    highest: int


class StoredEntry(NamedTuple):
    """An entry as it is read when its client is back, with its message (None once released) and that one's writer."""

    row: EntryRow
    message: MessageRow | None
    writer: bytes


class StoredRetained(NamedTuple):
    """A retained message as it is read at the start."""

    message: MessageRow
    writer: bytes


class Highest(NamedTuple):
    """The highest numbers in use, 0 for none: what is given out next must be above them.

    ``session`` counts keys of sessions that have ended too, as long as anything under them is left.
    """

    session: int
    message: int
    writer: int
    released: int
