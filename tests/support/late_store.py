"""A store in memory whose disk is slow: commits and reads are done when a test says so, in the order they came in."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from mqttsecure.core.records import Batch, StoredEntry
from mqttsecure.store.memory import Contents, MemoryStore

__all__ = ["LateStore", "faults"]


class LateStore(MemoryStore):
    """One queue of commits and reads, as with a thread that does one after another."""

    def __init__(self, contents: Contents | None = None) -> None:
        super().__init__(contents, at_once=False)
        self._operations: deque[tuple[Batch | None, Callable[[], Any], Deferred[Any]]] = deque()

    @property
    def pending(self) -> int:
        """How many commits are not done yet."""
        return sum(batch is not None for batch, _, _ in self._operations)

    @property
    def waiting(self) -> int:
        """How many commits and reads are not done yet."""
        return len(self._operations)

    def finish(self, count: int | None = None) -> None:
        """Let the first ``count`` pending commits and reads be done, or all there are now."""
        for _ in range(len(self._operations) if count is None else min(count, len(self._operations))):
            _, do, done = self._operations.popleft()
            done.callback(do())

    def crash(self, written: int = 0) -> LateStore:
        """See :class:`MemoryStore`."""
        self._pending = [(batch, done) for batch, _, done in self._operations if batch is not None]
        self._operations.clear()
        return LateStore(super().crash(written).contents)

    def commit(self, batch: Batch) -> Deferred[None]:
        return self._put(batch, lambda: self.contents.apply(batch))

    def load_entries(self, session: int, after: int, limit: int, octets: int) -> Deferred[Sequence[StoredEntry]]:
        return self._put(None, lambda: self._now().load_entries(session, after, limit, octets).result)

    def load_incoming(self, session: int) -> Deferred[Sequence[int]]:
        return self._put(None, lambda: self._now().load_incoming(session).result)

    def _put(self, batch: Batch | None, do: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._operations.append((batch, do, done))
        return done

    def _now(self) -> MemoryStore:
        """What is on disk at this moment."""
        return MemoryStore(self.contents)


def faults(contents: Contents) -> list[str]:
    """What does not fit in ``contents``: each row refers to rows that are there, and references are counted right."""
    found: list[str] = []
    references: Counter[int] = Counter(row.message for row in contents.entries.values() if row.message)
    references.update(row.message for row in contents.retained.values())
    for row in contents.messages.values():
        if row.references != references[row.id]:
            found.append(f"message {row.id} counts {row.references} references, there are {references[row.id]}")
        if row.writer not in contents.writers:
            found.append(f"message {row.id} has no writer")
    found += [f"message {each} is not there" for each in references if each not in contents.messages]
    keys = {*(key for key, _ in contents.entries), *(key for key, _ in contents.incoming)}
    keys.update(key for key, _ in contents.subscriptions)
    found += [f"session {key} is not there" for key in keys if key not in contents.sessions]
    return found
