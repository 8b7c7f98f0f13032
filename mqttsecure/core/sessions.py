# -*- test-case-name: tests.core.test_sessions -*-
"""All sessions: who owns a Client Identifier, taking over, resuming, leaving, expiring."""

from __future__ import annotations

from collections import deque
from typing import Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Principal
from mqttsecure.core.delivery import Deliveries
from mqttsecure.core.paging import Paging
from mqttsecure.core.records import StoredSession
from mqttsecure.core.session import Delivery, Session, session_key
from mqttsecure.core.state import BrokerState
from mqttsecure.core.stored_json import UNREADABLE, Unreadable
from mqttsecure.core.will import Wills
from mqttsecure.wire.constants import ReasonCode

__all__ = ["Sessions"]

_NEVER: Final = float(0xFFFFFFFF)


class Sessions:
    """Ties connections to sessions. Identity owns state: only the principal that made a session comes back to it."""

    def __init__(self, state: BrokerState, deliveries: Deliveries, wills: Wills) -> None:
        self._state = state
        self._deliveries = deliveries
        self._wills = wills
        self.paging = Paging(state, deliveries.queues)

    def refusal(self, client_id: str, principal: Principal, namespace: str = "") -> tuple[int, str] | None:
        """Why ``principal`` may not have ``client_id``, as (Reason Code, text for the log); None if it may."""
        existing = self._state.sessions.get(session_key(namespace, client_id))
        if existing is not None:
            if not existing.owner.is_same_as(principal):
                return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, f"the Client Identifier belongs to {existing.owner}"
        elif len(self._state.sessions) >= self._state.limits.maximum_sessions:
            return ReasonCode.QUOTA_EXCEEDED, "the broker holds as many sessions as it may"
        return None

    def claim(
        self, connection: Connection, principal: Principal, *, clean_start: bool, expiry: float, now: float
    ) -> tuple[Session, bool]:
        """Have the connection's session belong to it, taking over from an older connection of the same principal.

        It gets nothing of it before :meth:`tie`: until what changes here is on disk, the client counts as away.

        Returns:
            The session, and whether it was there before (Session Present).
        """
        client_id = connection.facts.client_id
        key = session_key(connection.facts.namespace, client_id)
        sessions = self._state.sessions
        session = sessions.get(key)
        older = None if session is None else session.connection or session.claimant
        if older is not None:
            self._state.counters.sessions_taken_over += 1
            # v5.0 [MQTT-3.1.4-3]
            self._state.close(older, ReasonCode.SESSION_TAKEN_OVER, "taken over by a newer connection", now)
            session = sessions.get(key)
        if session is not None and clean_start:
            self.end(session, now)  # v5.0 [MQTT-3.1.2-4]
            session = None
        present = session is not None
        if session is not None:
            self._deliveries.waiting.stop(session)  # those questions were about the older connection
        if session is None:
            session = sessions[key] = Session(client_id, principal, connection.facts)
        connection.session = session
        session.claimant = connection
        session.facts = connection.facts
        session.verdicts.clear()
        session.expiry = expiry
        session.left_at = None
        self._wills.forget(session)
        if session.expiry_deadline is not None:
            session.expiry_deadline.cancel()
            session.expiry_deadline = None
        if session.record is not None:
            session.record.loading = session.record.trimming = None
            self._state.journal.change_row(session)
        elif self._state.journal.is_on and expiry > 0:
            self._state.journal.begin(session)
        return session, present

    def tie(self, session: Session, connection: Connection) -> None:
        """Give the connection the session that it has claimed."""
        session.claimant = None
        session.connection = connection
        if session.subscriptions:
            self._state.tree.stamp += 1

    def resume(self, session: Session, now: float) -> None:
        """After CONNACK: send again what was unacknowledged, then what is queued."""
        if session.inflight:
            session.unsent = deque(session.inflight)
        if session.unsent is not None or session.queue is not None:
            self._deliveries.drain(session, now)

    def detach(self, connection: Connection, now: float, will: bool) -> None:
        """The connection is over: the session goes on without it, or ends."""
        session = connection.session
        connection.session = None
        if session is None or connection not in (session.connection, session.claimant):
            return
        session.connection = session.claimant = None
        session.left_at = now
        session.unsent = None
        if session.record is not None:
            session.record.loading = None  # it goes out, and is read again for the next connection
        connection.replays = None
        self._deliveries.waiting.stop(session)
        session.verdicts.clear()
        if session.subscriptions:
            self._state.tree.stamp += 1
        if will:
            self._wills.leave(connection, session, now)
        if session.expiry <= 0:
            self.end(session, now)
        else:
            self._state.journal.change_row(session)
            self._watch_expiry(session, now + session.expiry)
        if session.queue is not None:
            self._state.afterwards.append(lambda now: self._deliveries.queues.hand_over(session, now))

    def _watch_expiry(self, session: Session, due: float) -> None:
        if session.expiry < _NEVER:
            session.expiry_deadline = self._state.deadlines.at(due, lambda now: self._expire(session, now))

    def restore(self, stored: StoredSession, now: float) -> None:
        """Have a session that was on disk; one whose time is over is ended. Its client counts as away.

        The time of one that was connected when the process died starts now: nobody knows when that was. Of two of one
        Client Identifier the later one, with the higher key, holds.
        """
        state = self._state
        session = state.restoring.session(stored)
        older = state.sessions.get(session.key)
        if older is not None:
            self.end(older, now)  # it had ended, and was still being given to others when the process died
        state.sessions[session.key] = session
        state.stored_octets += stored.octets
        if session.record is not None:
            self._deliveries.queues.pruning.watch_restored(session, session.record, now)
        left_at = stored.row.left_at
        session.left_at = now if left_at is None else min(now, left_at - state.wall_offset)
        if left_at is None:
            state.journal.change_row(session)
        self._restore_will(session, stored, now)
        if session.expiry < _NEVER and session.left_at + session.expiry <= now:
            self.end(session, now)
        else:
            self._watch_expiry(session, session.left_at + session.expiry)

    def _restore_will(self, session: Session, stored: StoredSession, now: float) -> None:
        row = stored.row
        if row.will is None:
            return
        try:
            pending = self._state.restoring.will(row.will, row.namespace)
        except Unreadable:
            self._state.drop(session, "its will", UNREADABLE)
            self._state.journal.change_row(session)
            return
        if row.will_due is None:
            due = now + min(pending.will.properties.get("will_delay_interval", 0), session.expiry)
        else:
            due = row.will_due - self._state.wall_offset
        self._wills.wait(session, pending, max(now, due))

    def _expire(self, session: Session, now: float) -> None:
        session.expiry_deadline = None
        self.end(session, now)

    def end(self, session: Session, now: float) -> None:
        """The session is over: nothing of it remains but what others are owed."""
        state = self._state
        session.ended = True
        self._deliveries.waiting.stop(session)
        if state.sessions.get(session.key) is session:
            del state.sessions[session.key]
        if session.expiry_deadline is not None:
            session.expiry_deadline.cancel()
            session.expiry_deadline = None
        groups = {each.topic_filter: each.group for each in session.subscriptions.values() if each.group is not None}
        for subscription in session.subscriptions.values():
            state.tree.remove(subscription)
        session.subscriptions.clear()
        state.queued_octets -= session.queue_octets
        record = state.journal.forget(session)
        unread: list[Delivery] = []
        if record is not None:
            state.stored_octets -= record.behind_octets
            unread = [each for number, each in record.new.items() if number in (record.out or ())]
            if groups and record.behind > len(unread):
                self.paging.hand_on(session, record, groups)
            else:
                state.journal.end_key(record.key)
        # v5.0 [MQTT-4.8.2-5]: QoS 2 that was sent goes to no other member; all else of a shared subscription does.
        owed = [each for each in session.inflight.values() if not isinstance(each, int) and each[1] == 1]
        owed.extend(session.queue or ())
        owed.extend(unread)
        owed = [delivery for delivery in owed if delivery[4] is not None]
        session.inflight.clear()
        session.inflight_octets = 0
        session.queue = None
        session.queue_octets = 0
        if owed:
            state.afterwards.append(lambda now: self._deliveries.queues.redistribute(owed, now))
        self._wills.send_waiting(session, now)
