# -*- test-case-name: tests.store.test_database -*-
"""Writes a batch, in the order of its fields, within a transaction that somebody else begins and ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mqttsecure.core.records import Batch, MessageRow
from mqttsecure.store.statements import ManyRows
from mqttsecure.store.tables import ENDED, ENTRIES, INCOMING, MESSAGES, RETAINED, SESSIONS, SUBSCRIPTIONS, WRITERS

__all__ = ["apply", "apply_references"]

_MOST_OCTETS: Final = 1024 * 1024
"""Of the messages of one statement: SQLite copies them, and a statement that is kept for the next time keeps them."""


def apply(batch: Batch, rows: ManyRows) -> None:
    """Write all that ``batch`` changes. What hangs on its ended sessions stays for :mod:`mqttsecure.store.tidying`."""
    if batch.ended:
        keys = [(key,) for key in batch.ended]
        rows.delete(SESSIONS, keys)
        rows.put(ENDED, keys)
    rows.put(WRITERS, batch.writers)
    for messages in _some_at_a_time(batch.messages):
        # A bool costs fifteen times what an int does to bind.
        rows.put(MESSAGES, [(*row[:6], +row[6], *row[7:]) for row in messages])
    apply_references(batch.references, rows)
    rows.put(SESSIONS, batch.sessions)
    rows.put(SUBSCRIPTIONS, batch.subscriptions)
    rows.delete(SUBSCRIPTIONS, batch.unsubscribed)
    entries = [(*row[:5], +row[5], *row[6:]) for row in batch.entries]
    entries.sort()  # neighbours go to the same page
    rows.put(ENTRIES, entries)
    rows.delete(ENTRIES, sorted(batch.removed))
    rows.put(INCOMING, batch.incoming)
    rows.delete(INCOMING, batch.completed)
    rows.put(RETAINED, batch.retained)
    rows.delete(RETAINED, batch.forgotten)


def _some_at_a_time(messages: Sequence[MessageRow]) -> Iterator[Sequence[MessageRow]]:
    """As they are where they are small, as they mostly are; otherwise in pieces of a megabyte, or of one message."""
    octets = sum([len(row.payload) for row in messages])
    if octets <= _MOST_OCTETS:
        yield messages
        return
    start = octets = 0
    for at, row in enumerate(messages):
        octets += len(row.payload)
        if octets > _MOST_OCTETS and at > start:
            yield messages[start:at]
            start, octets = at, len(row.payload)
    yield messages[start:]


def apply_references(references: Mapping[int, int], rows: ManyRows) -> None:
    """Change the references of messages; those at 0 or less go."""
    released: list[int] = []
    others: list[tuple[int, int]] = []
    for message, by in references.items():
        if by == -1:
            released.append(message)
        elif by:
            others.append((message, by))
    if released:
        released.sort()
        rows.release(released)
    if others:
        others.sort()
        rows.change(others)
