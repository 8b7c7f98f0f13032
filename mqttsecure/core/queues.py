# -*- test-case-name: tests.core.test_queues -*-
"""What a session keeps for a client that is away, slow, or back again: its queue, and what it did not acknowledge."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Effect, Pending, Verdict
from mqttsecure.core.judging import Judging, capped
from mqttsecure.core.session import Delivery, Session
from mqttsecure.core.state import BrokerState
from mqttsecure.core.waiting import Waiting
from mqttsecure.wire.constants import ReasonCode

if TYPE_CHECKING:
    from mqttsecure.core.delivery import Deliveries

__all__ = ["Queues"]


class Queues:
    """Fills and empties the queues. What is sent from one is judged at that time, whatever was said when it came."""

    def __init__(self, state: BrokerState, judging: Judging, waiting: Waiting, deliveries: Deliveries) -> None:
        self._state = state
        self._judging = judging
        self._waiting = waiting
        self._deliveries = deliveries

    def add(self, session: Session, delivery: Delivery, now: float) -> None:
        """Queue one message; a client that is there and has too many waiting reads too slowly, and is cut."""
        state = self._state
        limits = state.limits
        message = delivery[0]
        size = message.size
        if session.ended:
            return  # while it was looked up
        if (
            session.queue is not None and len(session.queue) >= limits.maximum_queued_messages
        ) or session.queue_octets + session.waiting_octets + size > limits.maximum_queued_bytes:
            state.drop(session.client_id, message, "its queue is full")
            if session.connection is not None:
                state.cut(session.connection, ReasonCode.QUOTA_EXCEEDED, "reads too slowly", now)
        elif state.queued_octets + size > limits.maximum_queued_bytes_total:
            # No fault of this client alone: it stays connected.
            state.drop(session.client_id, message, "the queues of all sessions together are full")
        else:
            session.enqueue(delivery)
            state.queued_octets += size

    def drain(self, session: Session, now: float) -> None:
        """Send what the client takes now: unacknowledged messages again, then the queue, then retained messages."""
        connection = session.connection
        if connection is None or not connection.is_connected or session.waiting is not None:
            return
        if session.unsent is not None and not self._send_again(session, connection, now):
            return
        limit = self._state.outbox_limit
        while session.queue is not None and connection.send_quota > 0 and connection.outbox_bytes <= limit:
            if not self._send_head(session, connection, now):
                return
        if connection.replays:
            self._deliveries.replaying.go_on(connection, now)

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
        message, qos, retain, _, _ = delivery
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
        message, qos, retain, identifiers, group = delivery
        self._state.queued_octets -= message.size
        if verdict.effect is not Effect.PERMIT:
            self._deliveries.denied(session, message, group, frozenset(), verdict, now)
            return
        if verdict.obligations:
            qos = capped(qos, verdict)
            delivery = (message, qos, retain, identifiers, group)
        if qos:
            self._deliveries.transmit_new(session, connection, delivery, now)
        else:
            self._deliveries.transmit(connection, delivery, 0, False, now)

    def _head_resumed(self, session: Session, verdict: Verdict, now: float) -> None:
        """The verdict on the first of the queue has come."""
        delivery, session.head, session.pending = session.head, None, None
        connection = session.connection
        if delivery is not None and connection is not None:
            message, qos, retain, _, _ = delivery
            learned = self._judging.learn(session, message, qos, retain, verdict, now)
            if learned is None:
                session.put_back(delivery)
            else:
                self._head_decided(session, connection, delivery, learned, now)
        self._waiting.work_off(session, now)

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
            if delivery is None:
                unsent.popleft()
                connection.send_quota -= 1
                self._state.send(connection, b"\x62\x02" + packet_id.to_bytes(2, "big"), now)
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
        del session.inflight[packet_id]
        if not permitted:
            message, qos, _, _, group = delivery
            # v5.0 [MQTT-4.8.2-5]: a QoS 2 message that was sent to one member goes to no other.
            group = group if qos == 1 else None
            self._deliveries.denied(session, message, group, frozenset(), verdict, now)

    def _unsent_resumed(self, session: Session, verdict: Verdict, now: float) -> None:
        """The verdict on the first of ``unsent`` has come."""
        session.pending = None
        connection = session.connection
        delivery = session.inflight.get(session.unsent[0]) if session.unsent else None
        if delivery is not None and connection is not None:
            message, qos, retain, _, _ = delivery
            learned = self._judging.learn(session, message, qos, retain, verdict, now)
            if learned is not None:
                self._unsent_decided(session, connection, delivery, learned, now)
        self._waiting.work_off(session, now)

    # -- shared subscriptions whose member is gone ---------------------------------------------------------------

    def hand_over(self, session: Session, now: float) -> None:
        """A member of shared subscriptions is away: what it was not sent goes to members that are here, if any are.

        What it was sent waits for its return (v5.0 section 4.8.2).
        """
        if session.connection is not None or session.ended or session.queue is None:
            return
        for _ in range(len(session.queue)):
            delivery = session.dequeue()
            if delivery is None:
                return
            message, _, _, _, group = delivery
            self._state.queued_octets -= message.size
            if group is None or not (
                group.has_connected_member()
                and self._deliveries.deliver_shared(group, message, now, frozenset((session,)))
            ):
                self.add(session, delivery, now)

    def redistribute(self, deliveries: list[Delivery], now: float) -> None:
        """A member of shared subscriptions is gone for good: give what it was owed to another member.

        v5.0 section 4.8.2: QoS 2 that was sent never goes to another ([MQTT-4.8.2-5]): the caller's part.
        """
        for message, _, _, _, group in deliveries:
            if group is not None:
                self._deliveries.deliver_shared(group, message, now)
