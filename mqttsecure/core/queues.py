# -*- test-case-name: tests.core.test_queues -*-
"""What a session keeps for a client that is away, slow, or back again: its queue, and what it did not acknowledge."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Effect, Pending, Verdict
from mqttsecure.core.journal import Record
from mqttsecure.core.judging import Judging, capped
from mqttsecure.core.pruning import OLDEST, Pruning
from mqttsecure.core.records import StoredEntry
from mqttsecure.core.session import Delivery, Session
from mqttsecure.core.state import BrokerState, Load
from mqttsecure.core.stored_json import UNREADABLE, Unreadable
from mqttsecure.core.waiting import Waiting
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Pubrel

if TYPE_CHECKING:
    from mqttsecure.core.delivery import Deliveries

__all__ = ["Queues"]

_IN_MEMORY: Final = 1000
"""Messages queued in memory for one client that is connected; more stay on disk until it has taken these."""

_IN_MEMORY_OCTETS: Final = 1024 * 1024
"""The same in bytes: as much as its outbox."""

_OVERSHOOT: Final = 1.25
"""How far a queue on disk may exceed its budget while its oldest messages are read to be dropped."""

_ITS_QUEUE: Final = "its queue is full"
_ALL_IN_MEMORY: Final = "the queues of all sessions together are full"
_ALL_ON_DISK: Final = "the queues of all sessions on disk are full"


class Queues:
    """Fills and empties the queues. What is sent from one is judged at that time, whatever was said when it came."""

    def __init__(self, state: BrokerState, judging: Judging, waiting: Waiting, deliveries: Deliveries) -> None:
        self._state = state
        self._judging = judging
        self._waiting = waiting
        self._deliveries = deliveries
        self.pruning = Pruning(state)

    def add(self, session: Session, delivery: Delivery, now: float) -> None:
        """Queue one message; a client that is there and has too many waiting reads too slowly, and is cut."""
        if session.ended:
            return  # while it was looked up
        state = self._state
        message = delivery[0]
        size = message.size
        record = session.record
        goes_out = record is not None and self._goes_out(session, record)
        full = self._is_full(session, size, goes_out)
        if full == _ITS_QUEUE and state.limits.queue_overflow == "oldest" and self._make_room(session, size, now):
            goes_out = record is not None and self._goes_out(session, record)
            full = self._is_full(session, size, goes_out, overshoot=goes_out)
        if full:
            self._deliveries.forget(session, delivery)
            state.drop(session, message.topic, full)
            if session.connection is not None and full == _ITS_QUEUE:
                # The others are no fault of this client alone: it stays connected.
                state.cut(session.connection, ReasonCode.QUOTA_EXCEEDED, "reads too slowly", now)
            return
        self.put(session, delivery)

    def _make_room(self, session: Session, size: int, now: float) -> bool:
        """Drop what has waited longest, for one that comes; False where nothing that waits can be dropped."""
        while session.queue and self._is_full(session, size, False) == _ITS_QUEUE:
            delivery = session.dequeue()
            if delivery is not None:
                self._state.queued_octets -= delivery[0].size
                self._deliveries.forget(session, delivery)
                self._state.drop(session, delivery[0].topic, OLDEST)
        if session.record is not None:
            self.pruning.trim(session, session.record, lambda: bool(self._is_full(session, 0, False)))
        return True

    def put(self, session: Session, delivery: Delivery) -> None:
        """Queue one message for which there is room, in memory or on disk alone."""
        state = self._state
        record = session.record
        size = delivery[0].size
        if record is None:
            session.enqueue(delivery)
            state.queued_octets += size
            return
        goes_out = self._goes_out(session, record)
        if not delivery[5]:
            delivery = state.journal.enter(session, record, delivery)
        if goes_out:
            record.behind += 1
            record.behind_octets += size
            state.stored_octets += size
            state.journal.put_out(record, delivery)
            expires_at = delivery[0].expires_at
            if expires_at is not None:
                self.pruning.watch(session, record, expires_at)
            if session.queue is None and session.connection is not None:
                session.queue = deque()
            return
        record.loaded_to = max(record.loaded_to, delivery[5])
        session.enqueue(delivery)
        state.queued_octets += size

    @staticmethod
    def _goes_out(session: Session, record: Record) -> bool:
        """Whether what is queued next is kept on disk alone: behind what is, and for a client that reads slowly."""
        return (
            record.is_out
            or record.behind > 0
            or (session.queue is not None and len(session.queue) >= _IN_MEMORY)
            or session.queue_octets > _IN_MEMORY_OCTETS
        )

    def _is_full(self, session: Session, size: int, goes_out: bool, *, overshoot: bool = False) -> str:
        """Why nothing of ``size`` can be queued, "" where it can; ``overshoot`` lets it be for a moment a bit more."""
        state = self._state
        limits = state.limits
        count = 0 if session.queue is None else len(session.queue)
        octets = session.queue_octets + session.waiting_octets + size
        if session.record is not None:
            count += session.record.behind
            octets += session.record.behind_octets
        more = _OVERSHOOT if overshoot else 1.0
        if count >= limits.maximum_queued_messages * more or octets > limits.maximum_queued_bytes * more:
            return _ITS_QUEUE
        if goes_out:
            return _ALL_ON_DISK if state.stored_octets + size > limits.maximum_stored_bytes else ""
        return _ALL_IN_MEMORY if state.queued_octets + size > limits.maximum_queued_bytes_total else ""

    def drain(self, session: Session, now: float) -> None:
        """Send what the client takes now: unacknowledged messages again, then the queue, then retained messages."""
        connection = session.connection
        if connection is None or not connection.is_connected or session.waiting is not None:
            return
        if session.unsent is not None and not self._send_again(session, connection, now):
            return
        while session.queue is not None and self._takes_more(session, connection):
            if not session.queue:
                self.load_more(session)
                return
            if not self._send_head(session, connection, now):
                return
        if connection.replays and session.queue is None:
            self._deliveries.replaying.go_on(connection, now)

    def _takes_more(self, session: Session, connection: Connection) -> bool:
        state = self._state
        return (
            connection.send_quota > 0
            and connection.outbox_bytes <= state.outbox_limit
            and session.inflight_octets <= state.inflight_limit
        )

    def settled(self, session: Session, connection: Connection, now: float) -> None:
        """One message to the client is acknowledged for good; the next may go."""
        if connection.send_quota < connection.send_quota_maximum:
            connection.send_quota += 1
        if session.queue is not None or session.unsent is not None or connection.replays:
            self.drain(session, now)

    # -- the queue -----------------------------------------------------------------------------------------------

    def _send_head(self, session: Session, connection: Connection, now: float) -> bool:
        """Send the first of the queue; False where its verdict has to be waited for."""
        delivery = session.dequeue()
        if delivery is None:
            return False
        message, qos, retain, _, _, _ = delivery
        verdict = self._judging.decide(session, message, qos, retain, now)
        if isinstance(verdict, Pending):
            session.head = delivery
            self._waiting.hold(session, verdict, partial(self._head_resumed, session))
            return False
        self._head_decided(session, connection, delivery, verdict, now)
        return True

    def _head_decided(
        self, session: Session, connection: Connection, delivery: Delivery, verdict: Verdict, now: float
    ) -> None:
        message, qos, retain, identifiers, group, number = delivery
        session.drop_told = False
        self._state.queued_octets -= message.size
        if verdict.effect is not Effect.PERMIT:
            self._deliveries.forget(session, delivery)
            self._deliveries.denied(session, message, group, frozenset(), verdict, now)
            return
        if verdict.obligations:
            qos = capped(qos, verdict)
            delivery = (message, qos, retain, identifiers, group, number)
        if qos:
            self._deliveries.transmit_new(session, connection, delivery, now)
        else:
            self._deliveries.forget(session, delivery)
            self._deliveries.transmit(connection, delivery, 0, False, now)

    def _head_resumed(self, session: Session, verdict: Verdict, now: float) -> None:
        """The verdict on the first of the queue has come."""
        delivery, session.head, session.pending = session.head, None, None
        connection = session.connection
        if delivery is not None and connection is not None:
            message, qos, retain, _, _, _ = delivery
            learned = self._judging.learn(session, message, qos, retain, verdict, now)
            if learned is None:
                session.put_back(delivery)
            else:
                self._head_decided(session, connection, delivery, learned, now)
        self._waiting.work_off(session, now)

    # -- what is on disk -----------------------------------------------------------------------------------------

    def load_more(self, session: Session) -> None:
        """Have the next messages read that are on disk alone."""
        record = session.record
        if record is None or record.loading is not None:
            return
        record.trimming = None

        def loaded(entries: Sequence[StoredEntry], incoming: Sequence[int], now: float) -> None:
            if session.record is record and record.loading is load:
                record.loading = None
                self.take_in(session, record, load, entries, now)
                self.drain(session, now)

        load = record.loading = Load(record.key, record.loaded_to, loaded, expected=record)
        self._state.loads.append(load)

    def take_in(self, session: Session, record: Record, load: Load, entries: Sequence[StoredEntry], now: float) -> None:
        """Have entries that were read from disk in memory."""
        state = self._state
        if not entries:
            # Whatever was counted by then is not there; a store says what it has lost.
            state.stored_octets -= load.expected_octets
            record.behind -= load.expected
            record.behind_octets -= load.expected_octets
        released: list[tuple[int, int, int]] = []
        sent: list[int] = []
        in_memory = {number for _, _, number in session.waiting or ()}
        for entry in entries:
            row = entry.row
            if row.number in in_memory:
                continue  # it came in the turn in which this was asked for, and waits for a verdict
            record.behind -= 1
            record.behind_octets -= row.octets
            state.stored_octets -= row.octets
            record.loaded_to = row.number
            if row.released or entry.message is None:
                released.append((row.released, row.packet_id, row.number))
                continue
            try:
                delivery = state.restoring.delivery(session, entry, now)
            except Unreadable:
                state.drop(session, entry.message.topic, UNREADABLE)
                state.journal.drop(session, record, entry)
                continue
            if row.packet_id:
                session.inflight[row.packet_id] = delivery
                session.inflight_octets += len(delivery[0].payload)
                sent.append(row.packet_id)
            else:
                session.enqueue(delivery)
                state.queued_octets += delivery[0].size
        for _, packet_id, number in sorted(released):  # v5.0 [MQTT-4.6.0-4]: in the order of PUBREC
            session.inflight[packet_id] = number
            sent.append(packet_id)
        if sent and session.connection is not None:
            session.unsent = session.unsent or deque()
            session.unsent.extend(sent)
        if not session.queue:
            session.queue = deque() if record.behind else None

    # -- what was not acknowledged -------------------------------------------------------------------------------

    def _send_again(self, session: Session, connection: Connection, now: float) -> bool:
        """Send unacknowledged PUBLISH and PUBREL packets again in their order, v5.0 [MQTT-4.4.0-1], [MQTT-4.6.0-1].

        Whether all are sent.
        """
        unsent = session.unsent
        while unsent:
            packet_id = unsent[0]
            if packet_id not in session.inflight:
                unsent.popleft()
                continue
            if connection.send_quota <= 0 or connection.outbox_bytes > self._state.outbox_limit:
                return False
            delivery = session.inflight[packet_id]
            if isinstance(delivery, int):
                unsent.popleft()
                connection.send_quota -= 1
                # It may be that PUBREC's receipt is not on disk yet.
                touched = not self._state.journal.is_empty()
                self._state.acknowledge(connection, Pubrel(packet_id), touched, now)
                continue
            verdict = self._judging.decide(session, delivery[0], delivery[1], delivery[2], now)
            if isinstance(verdict, Pending):
                self._waiting.hold(session, verdict, partial(self._unsent_resumed, session))
                return False
            self._unsent_decided(session, connection, delivery, verdict, now)
        session.unsent = None
        return True

    def _unsent_decided(
        self, session: Session, connection: Connection, delivery: Delivery, verdict: Verdict, now: float
    ) -> None:
        """Send the first of ``unsent`` again, or forget it where it may go no more."""
        if session.unsent is None:
            return
        packet_id = session.unsent.popleft()
        permitted = verdict.effect is Effect.PERMIT
        if permitted and self._deliveries.transmit(connection, delivery, packet_id, True, now):
            connection.send_quota -= 1
            return
        message, qos, _, _, group, _ = delivery
        del session.inflight[packet_id]
        session.inflight_octets -= len(message.payload)
        if qos == 2:
            self._release(session, connection, delivery, packet_id, now)
        else:
            self._deliveries.forget(session, delivery)
        if not permitted:
            # v5.0 [MQTT-4.8.2-5]: a QoS 2 message that was sent to one member goes to no other.
            group = group if qos == 1 else None
            self._deliveries.denied(session, message, group, frozenset(), verdict, now)

    def _release(
        self, session: Session, connection: Connection, delivery: Delivery, packet_id: int, now: float
    ) -> None:
        """End a QoS 2 delivery that may have arrived, and goes no more, with PUBREL as if PUBREC had come.

        A client that has it keeps its Packet Identifier until then, and would take the next message of that identifier
        for the same; one that has not answers PUBCOMP all the same (v5.0 section 3.7.2.1, 0x92).
        """
        session.inflight[packet_id] = delivery[5]
        if session.record is not None:
            self._state.journal.release(session, session.record, delivery, packet_id)
        connection.send_quota -= 1
        self._state.acknowledge(connection, Pubrel(packet_id), session.record is not None, now)

    def _unsent_resumed(self, session: Session, verdict: Verdict, now: float) -> None:
        """The verdict on the first of ``unsent`` has come."""
        session.pending = None
        connection = session.connection
        delivery = session.inflight.get(session.unsent[0]) if session.unsent else None
        if delivery is not None and not isinstance(delivery, int) and connection is not None:
            message, qos, retain, _, _, _ = delivery
            learned = self._judging.learn(session, message, qos, retain, verdict, now)
            if learned is not None:
                self._unsent_decided(session, connection, delivery, learned, now)
        self._waiting.work_off(session, now)

    # -- shared subscriptions whose member is gone ---------------------------------------------------------------

    def hand_over(self, session: Session, now: float) -> None:
        """A member of shared subscriptions is away: what it was not sent goes to members that are here, if any are.

        What it was sent waits for its return (v5.0 section 4.8.2).
        """
        is_away = session.connection is None and session.claimant is None
        if not is_away or session.ended or session.queue is None:
            return
        for _ in range(len(session.queue)):
            delivery = session.dequeue()
            if delivery is None:
                return
            message, _, _, _, group, _ = delivery
            if (
                group is not None
                and group.has_connected_member()
                and self._deliveries.deliver_shared(group, message, now, frozenset((session,)))
            ):
                self._state.queued_octets -= message.size
                self._deliveries.forget(session, delivery)
            else:
                session.enqueue(delivery)

    def redistribute(self, deliveries: list[Delivery], now: float) -> None:
        """A member of shared subscriptions is gone for good: give what it was owed to another member.

        v5.0 section 4.8.2: QoS 2 that was sent never goes to another ([MQTT-4.8.2-5]): the caller's part.
        """
        for message, _, _, _, group, _ in deliveries:
            if group is not None:
                self._deliveries.deliver_shared(group, message, now)
