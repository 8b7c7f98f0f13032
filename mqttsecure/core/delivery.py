# -*- test-case-name: tests.core.test_delivery -*-
"""The one delivery path: whatever reaches a client passes :class:`Deliveries`, and so the DELIVER stage.

On the path of each message. Live messages, retained ones, queued ones after a reconnect and wills all come here.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Disconnect, Effect, Pending, Verdict
from mqttsecure.core.events import Dropped
from mqttsecure.core.judging import Judging, capped
from mqttsecure.core.model import Message
from mqttsecure.core.queues import Queues
from mqttsecure.core.replaying import Replaying
from mqttsecure.core.session import Delivery, Session
from mqttsecure.core.state import BrokerState
from mqttsecure.core.subscriptions import SharedGroup, Subscription
from mqttsecure.core.throttling import within_meters
from mqttsecure.core.waiting import Waiting

__all__ = ["Deliveries", "Target"]

_SMALL: Final = 1024
"""Packets below this are joined into one piece; the payload of larger ones is shared by reference."""

_TOO_LARGE: Final = "larger than its Maximum Packet Size"

_NOBODY: Final[frozenset[Session]] = frozenset()


class Target:
    """One session that a message goes to, with what its subscriptions settle.

    ``verdict`` is a DELIVER PERMIT that holds for every message of the same Topic Name, QoS and RETAIN; None has the
    chain asked for each. ``passed_over`` are members of ``group`` that may not have the message.
    """

    __slots__ = ("group", "identifiers", "passed_over", "qos", "retain", "session", "verdict")

    def __init__(
        self,
        session: Session,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...] = (),
        group: SharedGroup | None = None,
    ) -> None:
        self.session = session
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers
        self.group = group
        self.passed_over = _NOBODY
        self.verdict: Verdict | None = None


class Deliveries:
    """Takes messages to sessions and sessions' messages to their connections."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state
        self._judging = Judging(state)
        self._decide = self._judging.decide
        self.waiting = Waiting(state, self._judging, self)
        self.queues = Queues(state, self._judging, self.waiting, self)
        self.replaying = Replaying(state, self)
        self.drain = self.queues.drain
        self.settled = self.queues.settled

    # -- resolving receivers -------------------------------------------------------------------------------------

    def resolve(
        self, topic: str, qos: int, retain: bool, writer: Session | None, namespace: str
    ) -> tuple[list[Target], list[SharedGroup]]:
        """Who subscribes to ``topic`` in ``namespace``: one target a session, however many of its filters overlap.

        v5.0 [MQTT-3.3.4-2]: the highest QoS of the matching subscriptions, with all their Subscription Identifiers.
        """
        found, groups = self._state.tree.match(topic, namespace)
        targets: dict[Session, Target] = {}
        for subscription in found:
            session = subscription.session
            if subscription.no_local and session is writer:
                continue  # v5.0 [MQTT-3.8.3-3]
            granted = min(qos, subscription.qos)
            kept = retain and subscription.retain_as_published  # v5.0 [MQTT-3.3.1-12], [MQTT-3.3.1-13]
            target = targets.get(session)
            if target is None:
                target = targets[session] = Target(session, granted, kept)
            else:
                target.qos = max(target.qos, granted)
                target.retain = target.retain or kept
            if subscription.identifier:
                target.identifiers += (subscription.identifier,)
        return list(targets.values()), groups

    # -- delivering ----------------------------------------------------------------------------------------------

    def deliver(self, target: Target, message: Message, now: float) -> None:
        """Take ``message`` to ``target``, behind whatever its session still waits for."""
        session = target.session
        if session.waiting is not None:
            self.waiting.line_up(target, message)
            return
        verdict = target.verdict or self._decide(session, message, target.qos, target.retain, now)
        if isinstance(verdict, Pending):
            self.waiting.start(target, message, verdict)
        else:
            self.decided(target, message, verdict, now)

    def deliver_settled(self, target: Target, message: Message, now: float) -> None:
        """The same for QoS 1 or 2 and a verdict that obliges to nothing: the short way, where it is free."""
        session = target.session
        connection = session.connection
        if (
            connection is not None
            and connection.send_quota > 0
            and session.queue is None
            and session.waiting is None
            and session.unsent is None
            and connection.outbox_bytes <= self._state.outbox_limit
            and session.inflight_octets <= self._state.inflight_limit
        ):
            delivery = (message, target.qos, target.retain, target.identifiers, None, 0)
            self.transmit_new(session, connection, delivery, now)
        else:
            self.deliver(target, message, now)

    def deliver_retained(self, session: Session, subscription: Subscription, message: Message, now: float) -> None:
        """Take a retained ``message`` to a session that has just subscribed."""
        if subscription.no_local and message.envelope.writer.client_id == session.client_id:
            return  # v5.0 [MQTT-3.8.3-3]
        qos = min(message.qos, subscription.qos)
        # v5.0 [MQTT-3.3.1-8]: RETAIN is 1 in what is sent because of a new subscription.
        verdict = None if session.waiting is not None else self._decide(session, message, qos, True, now)
        if (
            isinstance(verdict, Verdict)
            and verdict.effect is Effect.PERMIT
            and not (verdict.meters or verdict.obligations)
        ):
            self._send_or_queue(session, (message, qos, True, _identifiers(subscription), None, 0), now)
            return
        target = Target(session, qos, True, _identifiers(subscription))
        if isinstance(verdict, Pending):
            self.waiting.start(target, message, verdict)
        elif verdict is None:
            self.waiting.line_up(target, message)
        else:
            self.decided(target, message, verdict, now)

    def deliver_shared(
        self, group: SharedGroup, message: Message, now: float, passed_over: frozenset[Session] = _NOBODY
    ) -> bool:
        """Take ``message`` to one member of ``group``: ready ones first, then busy ones, then those that are away.

        A member that may not have it is passed over. Whether a member was found (or is still being asked).
        """
        denied = bool(passed_over)
        for member in self._by_readiness(group):
            session = member.session
            target = Target(session, min(message.qos, member.qos), False, _identifiers(member), group)
            if session in passed_over or (target.qos == 0 and session.connection is None):
                continue
            target.retain = message.retain and member.retain_as_published
            target.passed_over = passed_over
            if session.waiting is not None:
                group.taken(member)
                self.waiting.line_up(target, message)
                return True
            verdict = self._decide(session, message, target.qos, target.retain, now)
            if isinstance(verdict, Pending):
                group.taken(member)
                self.waiting.start(target, message, verdict)
                return True
            if verdict.effect is Effect.PERMIT and within_meters(verdict.meters, len(message.payload), now):
                group.taken(member)
                self._send_or_queue(session, _delivery(target, message, verdict), now)
                return True
            denied = True
            passed_over |= {session}
        if denied:
            self._state.counters.deliveries_denied += 1
        return False

    def decided(self, target: Target, message: Message, verdict: Verdict, now: float, number: int = 0) -> None:
        """Go on with a message whose verdict is there; ``number`` is that of an entry which is kept on disk already."""
        session = target.session
        delivery = _delivery(target, message, verdict, number)
        if verdict.effect is not Effect.PERMIT or (
            verdict.meters and not within_meters(verdict.meters, len(message.payload), now)
        ):
            self.forget(session, delivery)
            self.denied(session, message, target.group, target.passed_over, verdict, now)
            return
        self._send_or_queue(session, delivery, now)

    def forget(self, session: Session, delivery: Delivery) -> None:
        """A delivery is over: nothing of it need be kept on disk."""
        if delivery[5] and session.record is not None:
            self._state.journal.settle(session, session.record, delivery)

    def denied(
        self,
        session: Session,
        message: Message,
        group: SharedGroup | None,
        passed_over: frozenset[Session],
        verdict: Verdict,
        now: float,
    ) -> None:
        """The session may not have the message: another member of the shared subscription perhaps may."""
        connection = session.connection
        if group is not None:
            self.deliver_shared(group, message, now, passed_over | {session})
        else:
            self._state.counters.deliveries_denied += 1
        if connection is not None and any(isinstance(each, Disconnect) for each in verdict.obligations):
            self._state.close(connection, verdict.reason_code, "a policy ended the connection", now)

    def _by_readiness(self, group: SharedGroup) -> list[Subscription]:
        """Members in turn: those that can take a message now, then connected ones, then those that are away."""
        ready: list[Subscription] = []
        busy: list[Subscription] = []
        away: list[Subscription] = []
        limit = self._state.outbox_limit
        for member in group.candidates():
            session = member.session
            connection = session.connection
            if connection is None:
                away.append(member)
            elif (
                connection.writable
                and connection.send_quota > 0
                and session.queue is None
                and session.waiting is None
                and connection.outbox_bytes <= limit
            ):
                ready.append(member)
            else:
                busy.append(member)
        return ready + busy + away

    def _send_or_queue(self, session: Session, delivery: Delivery, now: float) -> None:
        connection = session.connection
        if delivery[1] == 0:
            self.forget(session, delivery)  # a policy has capped it
            if connection is None:
                return  # QoS 0 is not kept for clients that are away
            if connection.outbox_bytes > self._state.outbox_limit:
                self._state.overflow(connection, 1, now)
                return
            self.transmit(connection, delivery, 0, False, now)
        elif (
            connection is None
            or session.queue is not None
            or session.unsent is not None
            or connection.send_quota <= 0
            or connection.outbox_bytes > self._state.outbox_limit
            or session.inflight_octets > self._state.inflight_limit
        ):
            self.queues.add(session, delivery, now)
        else:
            self.transmit_new(session, connection, delivery, now)

    # -- onto the wire -------------------------------------------------------------------------------------------

    def transmit_new(self, session: Session, connection: Connection, delivery: Delivery, now: float) -> None:
        """Send a QoS 1 or 2 message for the first time."""
        packet_id = session.take_packet_id()
        record = session.record
        if record is not None:
            journal = self._state.journal
            if not delivery[5]:
                delivery = journal.enter(session, record, delivery)
            if delivery[5] > record.loaded_to:
                record.loaded_to = delivery[5]
            journal.sent(session, record, delivery, packet_id)
        session.inflight[packet_id] = delivery
        session.inflight_octets += len(delivery[0].payload)
        connection.send_quota -= 1
        if not self.transmit(connection, delivery, packet_id, False, now):
            del session.inflight[packet_id]
            session.inflight_octets -= len(delivery[0].payload)
            connection.send_quota += 1
            self.forget(session, delivery)

    def _too_large(self, connection: Connection, message: Message) -> bool:
        """v5.0 [MQTT-3.1.2-24], [MQTT-3.1.2-25]: not sent, and treated as if it had been completed."""
        self._state.counters.messages_dropped += 1
        self._state.events.append(Dropped(connection.facts.client_id, message.topic, _TOO_LARGE))
        return False

    def transmit(  # noqa: C901  # one function: on this path a call costs as much as what it does
        self, connection: Connection, delivery: Delivery, packet_id: int, dup: bool, now: float
    ) -> bool:
        """Put one PUBLISH into the outbox; False where it has expired or is larger than the peer takes."""
        message, qos, retain, identifiers, _, number = delivery
        state = self._state
        if message.expires_at is not None and now >= message.expires_at and not dup:
            # v5.0 [MQTT-3.3.2-5]. One whose delivery has begun goes on: [MQTT-4.4.0-1], and a QoS 2 receiver that got
            # it would otherwise wait for its PUBREL and take the next message of this identifier for the same.
            state.counters.messages_expired += 1
            return False
        alias = 0
        if connection.five and (identifiers or message.expires_at is not None or connection.aliases_out_maximum):
            alias, is_known = _alias(connection, message.topic)
            head, tail = message.form_with(qos, retain, now, identifiers, alias, is_known)
        else:
            head, tail = message.form(connection.five, qos, retain)
        size = len(head) + len(tail) + (2 if qos else 0)
        if size > connection.peer_maximum_packet_size:
            if not alias:
                return self._too_large(connection, message)
            # A new alias costs three bytes, which may be those too many.
            alias = 0
            head, tail = message.form_with(qos, retain, now, identifiers)
            size = len(head) + len(tail) + (2 if qos else 0)
            if size > connection.peer_maximum_packet_size:
                return self._too_large(connection, message)
        if alias and connection.aliases_out is not None:
            connection.aliases_out[message.topic] = alias
        if dup:
            head = bytes((head[0] | 0x08,)) + head[1:]
        if qos:
            head += packet_id.to_bytes(2, "big")
        outbox = connection.outbox
        if number and (qos == 2 or connection.gated is not None):
            # Its receiver keeps the Packet Identifier: after a crash we must not have given it to another message.
            # One of QoS 1 keeps its place behind those, whatever the standard leaves open between levels.
            state.counters.messages_sent += 1
            state.gate(connection, head + tail, qos == 2, now)
            return True
        if size < _SMALL:
            outbox.append(head + tail)
        else:
            outbox.append(head)
            outbox.append(tail)
        connection.outbox_bytes += size
        state.counters.messages_sent += 1
        if not connection.touched:
            connection.touched = True
            state.touched.append(connection)
        return True


def _alias(connection: Connection, topic: str) -> tuple[int, bool]:
    """The Topic Alias for ``topic`` towards this client, 0 for none, and whether the client knows it already."""
    if not connection.aliases_out_maximum:
        return 0, False
    if connection.aliases_out is None:
        connection.aliases_out = {}
    known = connection.aliases_out.get(topic)
    if known is not None:
        return known, True
    if len(connection.aliases_out) < connection.aliases_out_maximum:
        return len(connection.aliases_out) + 1, False
    return 0, False


def _delivery(target: Target, message: Message, verdict: Verdict, number: int = 0) -> Delivery:
    qos = capped(target.qos, verdict) if verdict.obligations else target.qos
    return (message, qos, target.retain, target.identifiers, target.group, number)


def _identifiers(subscription: Subscription) -> tuple[int, ...]:
    return (subscription.identifier,) if subscription.identifier else ()
