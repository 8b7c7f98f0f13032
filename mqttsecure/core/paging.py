# -*- test-case-name: tests.core.test_paging -*-
"""Which sessions have their messages in memory: those whose client is here. The others' are on disk alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Pending
from mqttsecure.core.journal import Record
from mqttsecure.core.queues import Queues
from mqttsecure.core.records import StoredEntry
from mqttsecure.core.session import Delivery, Session
from mqttsecure.core.state import BrokerState, Load
from mqttsecure.core.stored_json import Unreadable
from mqttsecure.core.subscriptions import SharedGroup

__all__ = ["Paging"]


class Paging:
    """Takes sessions out of memory and back."""

    def __init__(self, state: BrokerState, queues: Queues) -> None:
        self._state = state
        self._queues = queues

    def make_ready(
        self, connection: Connection, session: Session, changes: int, then: Callable[[float], None], now: float
    ) -> None:
        """Go on with ``then(now)`` once what the claim changed is on disk and the session in memory.

        Args:
            connection: that has claimed the session; nothing is read from it meanwhile.
            session: claimed.
            changes: what the journal counted before the claim.
            then: what comes next; not called if the connection ends first.
            now: the time.
        """
        state = self._state
        record = session.record
        touched = state.journal.changes != changes
        if not touched and (record is None or not record.is_out):
            then(now)
            return
        pending = Pending()
        state.hold(connection, pending)

        def ready(now: float) -> None:
            if connection.pending is pending:
                state.hold(connection, None)
                then(now)

        def on_disk(now: float) -> None:
            if touched:
                state.when_committed(number, ready, now)
            else:
                ready(now)

        number = state.journal.changes
        if record is not None and record.is_out:
            self._read_back(connection, session, record, on_disk)
        else:
            on_disk(now)

    def _read_back(
        self, connection: Connection, session: Session, record: Record, then: Callable[[float], None]
    ) -> None:
        def loaded(entries: Sequence[StoredEntry], incoming: Sequence[int], now: float) -> None:
            if session.record is not record or record.loading is not load:
                return  # the session has ended, or goes to someone else
            record.loading = None
            if session.claimant is not connection:
                return  # who has gone again
            record.is_out = False
            if incoming:
                session.incoming = set(incoming)
            self._queues.take_in(session, record, load, entries, now)
            then(now)

        at_least = self._state.limits.maximum_inflight
        load = record.loading = Load(record.key, 0, loaded, at_least=at_least, expected=record)
        self._state.loads.append(load)

    def page_out(self, session: Session, record: Record) -> None:
        """Keep nothing in memory of what is on disk: the client is away."""
        state = self._state
        count = octets = 0
        for delivery in (*session.inflight.values(), *(session.queue or ())):
            count += 1
            if not isinstance(delivery, int):
                octets += delivery[0].size
                state.journal.put_out(record, delivery)
        self._watch_for_expiry(session, record)
        state.queued_octets -= session.queue_octets
        session.queue_octets = 0
        session.queue = None
        session.inflight.clear()
        session.inflight_octets = 0
        record.behind += count
        record.behind_octets += octets
        state.stored_octets += octets
        record.loaded_to = 0
        record.is_out = record.is_out or record.behind > 0 or session.incoming is not None
        session.incoming = None

    def _watch_for_expiry(self, session: Session, record: Record) -> None:
        """Of messages that leave memory, the first that expires is to be found on disk then."""
        waiting = [each[0].expires_at for each in (session.queue or ())]
        ends = [each for each in waiting if each is not None]
        if ends:
            self._queues.pruning.watch(session, record, min(ends))

    def hand_on(self, session: Session, record: Record, groups: Mapping[str, SharedGroup]) -> None:
        """Give what an ended session has on disk alone of shared subscriptions to other members; then that may go."""
        state = self._state

        def loaded(entries: Sequence[StoredEntry], incoming: Sequence[int], now: float) -> None:
            owed: list[Delivery] = []
            for entry in entries:
                group = groups.get(entry.row.share)
                was_sent = entry.row.qos == 2 and entry.row.packet_id  # v5.0 [MQTT-4.8.2-5]
                if group is not None and entry.message is not None and not was_sent:
                    with suppress(Unreadable):  # it goes with the session
                        delivery = state.restoring.delivery(session, entry, now)
                        owed.append((*delivery[:4], group, 0))
            self._queues.redistribute(owed, now)
            if entries:
                state.loads.append(Load(record.key, entries[-1].row.number, loaded))
            else:
                state.journal.end_key(record.key)

        state.loads.append(Load(record.key, record.loaded_to, loaded))
