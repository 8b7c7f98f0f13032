# -*- test-case-name: tests.store.test_memory -*-
"""A store that is gone with the process, and the reference for what a store means.

For tests it can be told when a commit is done, and what a process that dies leaves behind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mqttsecure.core.records import (
    Batch,
    EntryRow,
    Highest,
    MessageRow,
    RetainedRow,
    SessionRow,
    StoredEntry,
    StoredRetained,
    StoredSession,
    SubscriptionRow,
    WriterRow,
)
from mqttsecure.interfaces import IRetainedStore, ISessionStore

__all__ = ["Contents", "MemoryStore"]


@dataclass(slots=True)
class Contents:
    """All rows, by their keys."""

    sessions: dict[int, SessionRow] = field(default_factory=dict)
    subscriptions: dict[tuple[int, str], SubscriptionRow] = field(default_factory=dict)
    writers: dict[int, WriterRow] = field(default_factory=dict)
    messages: dict[int, MessageRow] = field(default_factory=dict)
    entries: dict[tuple[int, int], EntryRow] = field(default_factory=dict)
    incoming: set[tuple[int, int]] = field(default_factory=set)
    retained: dict[tuple[str, str], RetainedRow] = field(default_factory=dict)

    def apply(self, batch: Batch) -> None:
        """Change what ``batch`` says, as if in one step."""
        self.writers.update((row.id, row) for row in batch.writers)
        self.messages.update((row.id, row) for row in batch.messages)
        for message, by in batch.references.items():
            self._refer(message, by)
        for key in batch.ended:  # only now: what others get of theirs stays
            self._end(key)
        self.sessions.update((row.key, row) for row in batch.sessions)
        self.subscriptions.update(((row.session, row.topic_filter), row) for row in batch.subscriptions)
        for subscription in batch.unsubscribed:
            self.subscriptions.pop(subscription, None)
        self.entries.update(((row.session, row.number), row) for row in batch.entries)
        for entry in batch.removed:
            self.entries.pop(entry, None)
        self.incoming.update(batch.incoming)
        self.incoming.difference_update(batch.completed)
        self.retained.update(((row.namespace, row.topic), row) for row in batch.retained)
        for topic in batch.forgotten:
            self.retained.pop(topic, None)

    def _end(self, key: int) -> None:
        self.sessions.pop(key, None)
        self.subscriptions = {at: row for at, row in self.subscriptions.items() if row.session != key}
        self.incoming = {at for at in self.incoming if at[0] != key}
        for row in [row for row in self.entries.values() if row.session == key]:
            del self.entries[row.session, row.number]
            self._refer(row.message, -1)

    def _refer(self, message: int, by: int) -> None:
        row = self.messages.get(message)
        if row is None:
            return
        if row.references + by > 0:
            self.messages[message] = row._replace(references=row.references + by)
        else:
            del self.messages[message]

    def writer_of(self, message: MessageRow) -> bytes:
        """Who wrote it, as JSON."""
        writer = self.writers.get(message.writer)
        return b"" if writer is None else writer.content


@implementer(ISessionStore, IRetainedStore)
class MemoryStore:
    """Keeps everything in dictionaries.

    Args:
        contents: what is there at the start.
        at_once: whether each commit is done at once; otherwise :meth:`finish` says when.
    """

    def __init__(self, contents: Contents | None = None, *, at_once: bool = True) -> None:
        self.on_problem: Callable[[str], None] = lambda text: None
        self.on_recovered: Callable[[], None] = lambda: None
        self.contents = Contents() if contents is None else contents
        """What is committed."""
        self._at_once = at_once
        self._pending: list[tuple[Batch, Deferred[None]]] = []

    @property
    def pending(self) -> int:
        """How many commits are not done yet."""
        return len(self._pending)

    def finish(self, count: int | None = None) -> None:
        """Let the first ``count`` pending commits be done, or all."""
        done, self._pending = self._pending[:count], self._pending[len(self._pending[:count]) :]
        for batch, _ in done:
            self.contents.apply(batch)
        for _, deferred in done:
            deferred.callback(None)

    def crash(self, written: int = 0) -> MemoryStore:
        """What the next process finds: all that was committed, and the first ``written`` of the pending batches.

        These are the ones that had come to the disk when the process died before it heard of it. None of the pending
        Deferreds ever fires.
        """
        contents = copy.deepcopy(self.contents)
        for batch, _ in self._pending[:written]:
            contents.apply(batch)
        self._pending.clear()
        return MemoryStore(contents, at_once=self._at_once)

    def open(self) -> None:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""

    def losses(self) -> Sequence[str]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`: nothing is ever damaged."""
        return ()

    def commit(self, batch: Batch) -> Deferred[None]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        done: Deferred[None] = Deferred()
        self._pending.append((batch, done))
        if self._at_once:
            self.finish()
        return done

    def highest(self) -> Highest:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        self.finish()
        contents = self.contents
        return Highest(
            max(contents.sessions, default=0),
            max(contents.messages, default=0),
            max(contents.writers, default=0),
            max((row.released for row in contents.entries.values()), default=0),
        )

    def load_sessions(self, after: int, limit: int) -> Sequence[StoredSession]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        self.finish()
        keys = sorted(key for key in self.contents.sessions if key > after)[:limit]
        return [self._session(self.contents.sessions[key]) for key in keys]

    def _session(self, row: SessionRow) -> StoredSession:
        subscriptions = [each for each in self.contents.subscriptions.values() if each.session == row.key]
        entries = [each for each in self.contents.entries.values() if each.session == row.key]
        subscriptions.sort(key=lambda each: each.topic_filter)
        highest = max((each.number for each in entries), default=0)
        return StoredSession(row, subscriptions, len(entries), sum(each.octets for each in entries), highest)

    def load_entries(self, session: int, after: int, limit: int, octets: int) -> Deferred[Sequence[StoredEntry]]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        self.finish()
        rows = [row for row in self.contents.entries.values() if row.session == session and row.number > after]
        found: list[StoredEntry] = []
        total = 0
        for row in sorted(rows, key=lambda row: row.number)[:limit]:
            message = self.contents.messages[row.message] if row.message else None
            writer = b"" if message is None else self.contents.writer_of(message)
            found.append(StoredEntry(row, message, writer))
            total += row.octets
            if total >= octets:
                break
        return succeed(found)

    def load_incoming(self, session: int) -> Deferred[Sequence[int]]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        self.finish()
        return succeed(sorted(packet_id for key, packet_id in self.contents.incoming if key == session))

    def load_retained(self, after: tuple[str, str], limit: int) -> Sequence[StoredRetained]:
        """See :class:`~mqttsecure.interfaces.IRetainedStore`."""
        self.finish()
        keys = sorted(key for key in self.contents.retained if key > after)[:limit]
        messages = [self.contents.messages[self.contents.retained[key].message] for key in keys]
        return [StoredRetained(message, self.contents.writer_of(message)) for message in messages]

    def close(self) -> Deferred[None]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        self.finish()
        return succeed(None)
