# -*- test-case-name: tests.store.test_merging -*-
"""Several batches as one: what a later one undoes is not written at all, and the rest goes with few statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from mqttsecure.core.records import Batch, MessageRow

__all__ = ["merge"]

_K = TypeVar("_K")
_V = TypeVar("_V")


def merge(batches: Sequence[Batch]) -> list[Batch]:
    """Fewer batches that come to the same when they are applied in their order.

    One that ends sessions starts anew, as what hangs on these has to be in the tables by then.
    """
    groups: list[list[Batch]] = []
    for batch in batches:
        if batch.ended or not groups:
            groups.append([])
        groups[-1].append(batch)
    return [_merge(group) if len(group) > 1 else group[0] for group in groups]


def _merge(group: Sequence[Batch]) -> Batch:
    messages, references = _messages(group)
    entries, removed = _last((_by_pair(each.entries), each.removed) for each in group)
    subscriptions, unsubscribed = _last((_by_pair(each.subscriptions), each.unsubscribed) for each in group)
    retained, forgotten = _last((_by_pair(each.retained), each.forgotten) for each in group)
    incoming, completed = _last(({pair: pair for pair in each.incoming}, each.completed) for each in group)
    return Batch(
        group[-1].number,
        ended=group[0].ended,
        writers=list({row.id: row for each in group for row in each.writers}.values()),
        messages=messages,
        references=references,
        sessions=list({row.key: row for each in group for row in each.sessions}.values()),
        subscriptions=subscriptions,
        unsubscribed=unsubscribed,
        entries=entries,
        removed=removed,
        incoming=incoming,
        completed=completed,
        retained=retained,
        forgotten=forgotten,
    )


def _messages(group: Sequence[Batch]) -> tuple[list[MessageRow], dict[int, int]]:
    """New messages with what later batches changed of their references, and the changes to older ones."""
    messages: dict[int, MessageRow] = {}
    references: dict[int, int] = {}
    for batch in group:
        for row in batch.messages:
            messages[row.id] = row
        for message, by in batch.references.items():
            new = messages.get(message)
            if new is None:
                references[message] = references.get(message, 0) + by
            elif new.references + by > 0:
                messages[message] = new._replace(references=new.references + by)
            else:
                del messages[message]
    return list(messages.values()), references


def _by_pair(rows: Iterable[Any]) -> dict[tuple[Any, Any], Any]:
    return {row[:2]: row for row in rows}


def _last(changes: Iterable[tuple[dict[_K, _V], Sequence[_K]]]) -> tuple[list[_V], list[_K]]:
    """Rows that are put and keys that are deleted: for each key, what was done last."""
    put: dict[_K, _V] = {}
    deleted: set[_K] = set()
    for rows, keys in changes:
        if deleted:
            deleted.difference_update(rows)
        put.update(rows)
        for key in keys:
            put.pop(key, None)
        deleted.update(keys)
    return list(put.values()), list(deleted)
