# -*- test-case-name: tests.core.test_sessions -*-
"""All sessions: who owns a Client Identifier, taking over, resuming, leaving, expiring."""

from __future__ import annotations

from collections import deque
from typing import Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Principal
from mqttsecure.core.delivery import Deliveries
from mqttsecure.core.session import Session, session_key
from mqttsecure.core.state import BrokerState
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
        self, connection: Connection, principal: Principal, *, clean_start: bool, now: float
    ) -> tuple[Session, bool]:
        """Give the connection its session, taking over from an older connection of the same principal.

        Returns:
            The session, and whether it was there before (Session Present).
        """
        client_id = connection.facts.client_id
        key = session_key(connection.facts.namespace, client_id)
        sessions = self._state.sessions
        session = sessions.get(key)
        if session is not None and session.connection is not None:
            self._state.counters.sessions_taken_over += 1
            # v5.0 [MQTT-3.1.4-3]
            self._state.close(
                session.connection, ReasonCode.SESSION_TAKEN_OVER, "taken over by a newer connection", now
            )
            session = sessions.get(key)
        if session is not None and clean_start:
            self.end(session, now)  # v5.0 [MQTT-3.1.2-4]
            session = None
        present = session is not None
        if session is not None:
            self._deliveries.waiting.stop(session)  # those questions were about the older connection
        if session is None:
            session = sessions[key] = Session(client_id, principal, connection.facts)
        session.connection = connection
        session.facts = connection.facts
        session.verdicts.clear()
        self._wills.forget(session)
        if session.expiry_deadline is not None:
            session.expiry_deadline.cancel()
            session.expiry_deadline = None
        if session.subscriptions:
            self._state.tree.stamp += 1
        return session, present

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
        if session is None or session.connection is not connection:
            return
        session.connection = None
        session.unsent = None
        connection.replays = None
        self._deliveries.waiting.stop(session)
        session.verdicts.clear()
        if session.subscriptions:
            self._state.tree.stamp += 1
        if will:
            self._wills.leave(connection, session, now)
        if session.expiry <= 0:
            self.end(session, now)
        elif session.expiry < _NEVER:
            session.expiry_deadline = self._state.deadlines.at(
                now + session.expiry, lambda now: self._expire(session, now)
            )
        if session.queue is not None:
            self._state.afterwards.append(lambda now: self._deliveries.queues.hand_over(session, now))

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
        for subscription in session.subscriptions.values():
            state.tree.remove(subscription)
        session.subscriptions.clear()
        state.queued_octets -= session.queue_octets
        # v5.0 [MQTT-4.8.2-5]: QoS 2 that was sent goes to no other member; all else of a shared subscription does.
        owed = [delivery for delivery in session.inflight.values() if delivery is not None and delivery[1] == 1]
        owed.extend(session.queue or ())
        owed = [delivery for delivery in owed if delivery[4] is not None]
        session.inflight.clear()
        session.queue = None
        session.queue_octets = 0
        if owed:
            state.afterwards.append(lambda now: self._deliveries.queues.redistribute(owed, now))
        self._wills.send_waiting(session, now)
