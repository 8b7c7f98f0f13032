# -*- test-case-name: tests.core.test_will -*-
"""Will Messages: armed after CONNACK, sent through the one publish path when the client leaves without a word."""

from __future__ import annotations

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import ConnectionFacts, Effect, Pending, Request, Stage, Verdict
from mqttsecure.core.events import Denied
from mqttsecure.core.model import Envelope
from mqttsecure.core.publishing import Publishing
from mqttsecure.core.session import Session
from mqttsecure.core.state import BrokerState
from mqttsecure.core.throttling import within_meters
from mqttsecure.wire.packets import Will

__all__ = ["PendingWill", "Wills", "arm", "cost", "disarm"]

_OVERHEAD = 1000
"""Bytes of a will beyond topic and payload: its object, properties, and the facts that are kept to send it."""


def cost(will: Will) -> int:
    """What a will takes of the budget of all wills."""
    return len(will.topic) + len(will.payload) + _OVERHEAD


def arm(state: BrokerState, connection: Connection, will: Will | None) -> None:
    """Have the connection leave ``will``, if it does not say goodbye."""
    connection.will = will
    if will is not None:
        state.will_octets += cost(will)


def disarm(state: BrokerState, connection: Connection) -> Will | None:
    """Have it leave none; the one that it would have left."""
    will, connection.will = connection.will, None
    if will is not None:
        state.will_octets -= cost(will)
    return will


class PendingWill:
    """A will that waits for its delay, with all that is needed to send it when its connection is long gone."""

    __slots__ = ("envelope", "facts", "will")

    def __init__(self, will: Will, envelope: Envelope, facts: ConnectionFacts) -> None:
        self.will = will
        self.envelope = envelope
        self.facts = facts


class Wills:
    """Sends wills, after their delay."""

    def __init__(self, state: BrokerState, publishing: Publishing) -> None:
        self._state = state
        self._publishing = publishing

    def leave(self, connection: Connection, session: Session, now: float) -> None:
        """The connection ended without a normal DISCONNECT: send its will, now or after its delay."""
        will = disarm(self._state, connection)
        if will is None:
            return
        pending = PendingWill(will, self._publishing.envelope(connection), connection.facts)
        # v5.0 [MQTT-3.1.3-9]: after the Will Delay Interval or the end of the session, whichever is first.
        delay = min(will.properties.get("will_delay_interval", 0), session.expiry)
        if delay <= 0:
            self._state.afterwards.append(lambda now: self._send(pending, session, now))
            return
        self.wait(session, pending, now + delay)

    def wait(self, session: Session, pending: PendingWill, due: float) -> None:
        """Send a will at ``due``, unless its client comes back before."""
        session.will = pending
        self._state.will_octets += cost(pending.will)
        session.will_deadline = self._state.deadlines.at(due, lambda now: self.send_waiting(session, now))

    def send_waiting(self, session: Session, now: float) -> None:
        """The delay is over, or the session ends: send the session's will if one waits."""
        pending = session.will
        self.forget(session)
        if pending is not None:
            self._state.journal.change_row(session)
            self._state.afterwards.append(lambda now: self._send(pending, session, now))

    def forget(self, session: Session) -> None:
        """The client came back in time: its will is not sent."""
        if session.will_deadline is not None:
            session.will_deadline.cancel()
            session.will_deadline = None
        if session.will is not None:
            self._state.will_octets -= cost(session.will.will)
            session.will = None

    def _send(self, pending: PendingWill, session: Session, now: float) -> None:
        will = pending.will
        request = Request(
            Stage.PUBLISH,
            pending.facts,
            now,
            topic=will.topic,
            qos=will.qos,
            retain=will.retain,
            payload=will.payload,
            properties=will.properties,
            is_will=True,
        )

        def decided(verdict: Verdict, now: float) -> None:
            if verdict.effect is not Effect.PERMIT:
                self._state.counters.publishes_denied += 1
                self._state.events.append(Denied(request, verdict))
                return
            if not within_meters(verdict.meters, len(will.payload), now):
                self._state.counters.publishes_denied += 1
                return
            message = self._publishing.message_of(will, pending.envelope, now)
            message.checked_version = self._state.policy_version
            if message.retain and not self._publishing.retain(message):
                self._state.counters.messages_dropped += 1
                return
            if not self._publishing.distribute(message, session, now) and not message.retain:
                self._state.unheard.note(pending.facts, message.topic, now)

        self._state.ask(request, decided, _let_go, now)


def _let_go(pending: Pending | None) -> None:
    """Nobody is left who could end this question early; the chain's own time-out ends it."""
