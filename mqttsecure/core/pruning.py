# -*- test-case-name: tests.core.test_pruning -*-
"""Dropping messages that are on disk alone: those that have expired, and the oldest of a queue that is full.

They have to be read to be known. That is done a page at a time, while the client is away or has enough in memory; when
it returns meanwhile, or reads on, what was read is for nothing, and delivery drops what has expired as always.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mqttsecure.core.journal import Record
from mqttsecure.core.records import StoredEntry
from mqttsecure.core.session import Session
from mqttsecure.core.state import BrokerState, Load

__all__ = ["OLDEST", "Pruning"]

OLDEST: Final = "its queue is full, and this one had waited longest"

_LATER: Final = 60.0
"""Seconds after a start, or when it cannot be done now, until a queue is looked through for expired messages."""

_SPACING: Final = 0.02
"""Seconds between two queues that are looked through after a start: a hundred thousand take half an hour."""


class Pruning:
    """Looks through queues on disk."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state
        self._restored = 0

    def watch(self, session: Session, record: Record, expires_at: float) -> None:
        """A message that expires is on disk alone: look for it when its time is over."""
        deadline = record.pruning
        if deadline is not None and deadline.when <= expires_at:
            return
        if deadline is not None:
            deadline.cancel()
        record.pruning = self._state.deadlines.at(expires_at, lambda now: self._look_through(session, record, now))

    def watch_restored(self, session: Session, record: Record, now: float) -> None:
        """Nobody knows whether what came back from disk expires: look, one queue after another."""
        if record.behind:
            self._restored += 1
            self.watch(session, record, now + _LATER + self._restored * _SPACING)

    def _look_through(self, session: Session, record: Record, now: float) -> float | None:
        if session.record is not record or not record.behind:
            record.pruning = None
            return None
        if record.loading is not None or record.trimming is not None:
            return now + _LATER
        record.pruning = None
        self._expire_page(session, record, record.loaded_to, float("inf"))
        return None

    def _expire_page(self, session: Session, record: Record, after: int, next_expiry: float) -> None:
        """Drop what has expired after one number; ``next_expiry`` is the earliest that is still to come."""

        def loaded(entries: Sequence[StoredEntry], now: float) -> None:
            earliest = next_expiry
            for entry in entries:
                message = entry.message
                if message is None or message.expires_at is None or entry.row.packet_id:
                    continue
                expires_at = message.expires_at - self._state.wall_offset
                if now < expires_at:
                    earliest = min(earliest, expires_at)
                else:
                    self._state.counters.messages_expired += 1
                    self._drop(session, record, entry)
            if entries and record.behind:
                self._expire_page(session, record, entries[-1].row.number, earliest)
            elif record.behind and earliest < float("inf"):
                self.watch(session, record, max(earliest, now + 1.0))

        self._read(session, record, after, loaded)

    def trim(self, session: Session, record: Record, is_full: Callable[[], bool]) -> None:
        """Drop what has waited longest, as long as ``is_full()``."""
        if not record.behind or record.trimming is not None or record.loading is not None:
            return

        def loaded(entries: Sequence[StoredEntry], now: float) -> None:
            for entry in entries:
                if entry.message is None or entry.row.packet_id:
                    continue  # its delivery has begun
                if not is_full():
                    break
                self._state.drop(session, entry.message.topic, OLDEST)
                self._drop(session, record, entry)

        self._read(session, record, record.loaded_to, loaded)

    def _read(
        self, session: Session, record: Record, after: int, then: Callable[[Sequence[StoredEntry], float], None]
    ) -> None:
        def loaded(entries: Sequence[StoredEntry], incoming: Sequence[int], now: float) -> None:
            if session.record is record and record.trimming is load:  # else it ended, or was read meanwhile
                record.trimming = None
                then(entries, now)

        load = record.trimming = Load(record.key, after, loaded)
        self._state.loads.append(load)

    def _drop(self, session: Session, record: Record, entry: StoredEntry) -> None:
        record.behind -= 1
        record.behind_octets -= entry.row.octets
        self._state.stored_octets -= entry.row.octets
        self._state.journal.drop(session, record, entry)
