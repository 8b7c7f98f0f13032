# -*- test-case-name: tests.core.test_delivery -*-
"""The one delivery path: whatever reaches a client passes :class:`Deliveries`, and so the DELIVER stage.

On the path of each message. Live messages, retained ones, queued ones after a reconnect and wills all come here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import (
    BROKER_PRINCIPAL,
    CapQos,
    ConnectionFacts,
    Effect,
    Peer,
    Pending,
    Purpose,
    Request,
    Stage,
    Verdict,
    Writer,
)
from mqttsecure.core.events import Denied, Dropped
from mqttsecure.core.model import Message
from mqttsecure.core.session import Delivery, Session
from mqttsecure.core.state import BrokerState
from mqttsecure.core.subscriptions import SharedGroup, Subscription
from mqttsecure.wire.constants import ReasonCode

__all__ = ["Deliveries", "Target", "cache_weight"]

_SMALL = 1024
"""Packets below this are joined into one piece; the payload of larger ones is shared by reference."""


class Target:
    """One session that a message goes to, with what its subscriptions settle.

    ``verdict`` is a DELIVER PERMIT that holds for every message of the same Topic Name, QoS and RETAIN; None has the
    chain asked for each.
    """

    __slots__ = ("group", "identifiers", "qos", "retain", "session", "verdict")

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
        self.verdict: Verdict | None = None


def cache_weight(topic: str) -> int:
    """How much of ``Limits.maximum_cached_decisions`` one entry takes: long topics count for several."""
    return 1 + len(topic) // 64


class Deliveries:
    """Takes messages to sessions and sessions' messages to their connections."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state

    # -- the DELIVER stage ---------------------------------------------------------------------------------------

    def decide(self, session: Session, message: Message, qos: int, retain: bool, now: float) -> Verdict | Pending:
        """Whether ``session`` may get ``message``: the reader's rights, and the writer's if they may have changed."""
        state = self._state
        if message.checked_version != state.policy_version:
            standing = self._decide_writer(message, now)
            if isinstance(standing, Pending) or standing.effect is not Effect.PERMIT:
                return standing
            message.checked_version = state.policy_version
        key = (message.topic, qos, retain)
        cached = session.deliver_cache.get(key)
        if (
            cached is not None
            and cached.policy_version == state.policy_version
            and (cached.valid_until is None or now < cached.valid_until)
        ):
            if cached.residual is None:
                return cached
            return cached.residual(self._request(session.facts, message, qos, retain, now))
        request = self._request(session.facts, message, qos, retain, now)
        answer = state.decide(request)
        if not isinstance(answer, Pending):
            self._remember(session, key, answer)
            if answer.effect is not Effect.PERMIT:
                state.events.append(Denied(request, answer))
        return answer

    def _remember(self, session: Session, key: tuple[str, int, bool], verdict: Verdict) -> None:
        session.deliver_cache_weight += cache_weight(key[0])
        if session.deliver_cache_weight > self._state.limits.maximum_cached_decisions:
            session.deliver_cache.clear()
            session.deliver_cache_weight = cache_weight(key[0])
        session.deliver_cache[key] = verdict

    @staticmethod
    def _request(facts: ConnectionFacts, message: Message, qos: int, retain: bool, now: float) -> Request:
        return Request(
            Stage.DELIVER,
            facts,
            now,
            topic=message.topic,
            qos=qos,
            retain=retain,
            payload=message.payload,
            properties=message.properties or {},
            writer=message.envelope.writer,
        )

    def _decide_writer(self, message: Message, now: float) -> Verdict | Pending:
        writer = message.envelope.writer
        if writer.principal is BROKER_PRINCIPAL:
            return Verdict(Effect.PERMIT, Stage.PUBLISH, policy_version=self._state.policy_version)
        request = Request(
            Stage.PUBLISH,
            _facts_of(writer),
            now,
            Purpose.RECHECK,
            topic=message.topic,
            qos=message.qos,
            retain=message.retain,
            payload=message.payload,
            properties=message.properties or {},
        )
        answer = self._state.decide(request)
        if not isinstance(answer, Pending) and answer.effect is not Effect.PERMIT:
            self._state.events.append(Denied(request, answer))
        return answer

    # -- resolving receivers -------------------------------------------------------------------------------------

    def resolve(
        self, topic: str, qos: int, retain: bool, writer: Session | None
    ) -> tuple[list[Target], list[SharedGroup]]:
        """Who subscribes to ``topic``: one target a session, however many of its filters overlap.

        v5.0 [MQTT-3.3.4-2]: the highest QoS of the matching subscriptions, with all their Subscription Identifiers.
        """
        found, groups = self._state.tree.match(topic)
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
            self._wait_in_line(session, target, message, now)
            return
        verdict = target.verdict or self.decide(session, message, target.qos, target.retain, now)
        if isinstance(verdict, Pending):
            self._start_waiting(target, message, verdict)
        else:
            self._decided(target, message, verdict, now)

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
        ):
            delivery = (message, target.qos, target.retain, target.identifiers, None)
            self._transmit_new(session, connection, delivery, now)
        else:
            self.deliver(target, message, now)

    def deliver_shared(
        self, group: SharedGroup, message: Message, now: float, passed_over: frozenset[Session] = frozenset()
    ) -> bool:
        """Take ``message`` to one member of ``group``: ready ones first, then busy ones, then those that are away.

        A member that may not have it is passed over. Whether a member was found (or is still being asked).
        """
        for member in _by_readiness(group):
            session = member.session
            target = Target(session, min(message.qos, member.qos), False, _identifiers(member), group)
            if session in passed_over or (target.qos == 0 and session.connection is None):
                continue
            target.retain = message.retain and member.retain_as_published
            if session.waiting is None:
                verdict = self.decide(session, message, target.qos, target.retain, now)
                if isinstance(verdict, Pending):
                    self._start_waiting(target, message, verdict)
                    verdict.resume = partial(self._resumed, session, passed_over)
                elif verdict.effect is not Effect.PERMIT or not self._spend(verdict, message, now):
                    continue
                else:
                    self._send_or_queue(session, _delivery(target, message, verdict), now)
            else:
                self._wait_in_line(session, target, message, now)
            group.taken(member)
            return True
        return False

    def _wait_in_line(self, session: Session, target: Target, message: Message, now: float) -> None:
        waiting = session.waiting
        if waiting is None:
            return
        limits = self._state.limits
        size = message.size
        if (
            len(waiting) >= limits.maximum_queued_messages
            or session.waiting_octets + session.queue_octets + size > limits.maximum_queued_bytes
        ):
            self._drop(session, message, "waits for too many verdicts")
            return
        session.waiting_octets += size
        waiting.append((target, message))

    def _start_waiting(self, target: Target, message: Message, pending: Pending) -> None:
        session = target.session
        session.waiting = deque([(target, message)])
        session.waiting_octets = message.size
        self._await(session, pending)

    @staticmethod
    def _next_waiting(session: Session) -> tuple[Target, Message] | None:
        if not session.waiting:
            return None
        target, message = session.waiting.popleft()
        session.waiting_octets -= message.size
        return target, message

    def _await(self, session: Session, pending: Pending) -> None:
        session.pending = pending
        pending.resume = partial(self._resumed, session, frozenset())

    def _resumed(self, session: Session, passed_over: frozenset[Session], verdict: Verdict, now: float) -> None:
        """The verdict on the first of ``session.waiting`` has come; go on with those behind it."""
        session.pending = None
        waiting = session.waiting
        if not waiting:
            session.waiting = None
            return
        target, message = waiting[0]
        if verdict.policy_version == self._state.policy_version:
            if verdict.stage is Stage.PUBLISH and verdict.effect is Effect.PERMIT:
                message.checked_version = verdict.policy_version  # the writer may; the reader is asked next
            else:
                self._next_waiting(session)
                if target.group is not None and verdict.effect is not Effect.PERMIT:
                    self.deliver_shared(target.group, message, now, passed_over | {session})
                else:
                    self._decided(target, message, verdict, now)
        self._work_off(session, now)

    def _work_off(self, session: Session, now: float) -> None:
        waiting = session.waiting
        while waiting:
            target, message = waiting[0]
            verdict = self.decide(session, message, target.qos, target.retain, now)
            if isinstance(verdict, Pending):
                self._await(session, verdict)
                return
            self._next_waiting(session)
            self._decided(target, message, verdict, now)
        session.waiting = None
        if session.queue is not None:
            self.drain(session, now)

    def _decided(self, target: Target, message: Message, verdict: Verdict, now: float) -> None:
        if verdict.effect is not Effect.PERMIT or (verdict.meters and not self._spend(verdict, message, now)):
            self._state.counters.deliveries_denied += 1
            return
        self._send_or_queue(target.session, _delivery(target, message, verdict), now)

    def _spend(self, verdict: Verdict, message: Message, now: float) -> bool:
        for meter in verdict.meters:
            decision = meter.spend(1, len(message.payload), now)
            if decision is not None and decision.effect is Effect.DENY:
                return False
        return True

    def _send_or_queue(self, session: Session, delivery: Delivery, now: float) -> None:
        connection = session.connection
        if delivery[1] == 0:
            if connection is None:
                return  # QoS 0 is not kept for clients that are away
            if connection.outbox_bytes > self._state.outbox_limit:
                self._drop(session, delivery[0], "its outbox is full")
                return
            self.transmit(connection, delivery, 0, False, now)
        elif (
            connection is None
            or session.queue is not None
            or session.unsent is not None
            or connection.send_quota <= 0
            or connection.outbox_bytes > self._state.outbox_limit
        ):
            self._enqueue(session, delivery, now)
        else:
            self._transmit_new(session, connection, delivery, now)

    def _enqueue(self, session: Session, delivery: Delivery, now: float) -> None:
        limits = self._state.limits
        size = delivery[0].size
        if (
            (session.queue is not None and len(session.queue) >= limits.maximum_queued_messages)
            or session.queue_octets + size > limits.maximum_queued_bytes
            or self._state.queued_octets + size > limits.maximum_queued_bytes_total
        ):
            self._drop(session, delivery[0], "its queue is full")
            if session.connection is not None:
                self._state.cut(session.connection, ReasonCode.QUOTA_EXCEEDED, "reads too slowly", now)
            return
        session.enqueue(delivery)
        self._state.queued_octets += size

    def _drop(self, session: Session, message: Message, why: str) -> None:
        self._state.counters.messages_dropped += 1
        self._state.events.append(Dropped(session.client_id, message.topic, why))

    # -- onto the wire -------------------------------------------------------------------------------------------

    def _transmit_new(self, session: Session, connection: Connection, delivery: Delivery, now: float) -> None:
        packet_id = session.take_packet_id()
        session.inflight[packet_id] = delivery
        connection.send_quota -= 1
        if not self.transmit(connection, delivery, packet_id, False, now):
            del session.inflight[packet_id]
            connection.send_quota += 1

    def transmit(self, connection: Connection, delivery: Delivery, packet_id: int, dup: bool, now: float) -> bool:
        """Put one PUBLISH into the outbox; False where it has expired or is larger than the peer takes."""
        message, qos, retain, identifiers, _ = delivery
        state = self._state
        if message.expires_at is not None and now >= message.expires_at and not dup:
            # v5.0 [MQTT-3.3.2-5]. One whose delivery has begun goes on: [MQTT-4.4.0-1], and a QoS 2 receiver that got
            # it would otherwise wait for its PUBREL and take the next message of this identifier for the same.
            state.counters.messages_expired += 1
            return False
        alias = 0
        if connection.five and (identifiers or message.expires_at is not None or connection.aliases_out_maximum):
            alias, is_known = self._alias(connection, message.topic)
            head, tail = message.form_with(qos, retain, now, identifiers, alias, is_known)
        else:
            head, tail = message.form(connection.five, qos, retain)
        size = len(head) + len(tail) + (2 if qos else 0)
        if size > connection.peer_maximum_packet_size:
            # v5.0 [MQTT-3.1.2-24], [MQTT-3.1.2-25]: not sent, and treated as if it had been completed.
            state.counters.messages_dropped += 1
            state.events.append(
                Dropped(connection.facts.client_id, message.topic, "larger than its Maximum Packet Size")
            )
            return False
        if alias and connection.aliases_out is not None:
            connection.aliases_out[message.topic] = alias
        if dup:
            head = bytes((head[0] | 0x08,)) + head[1:]
        if qos:
            head += packet_id.to_bytes(2, "big")
        outbox = connection.outbox
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

    @staticmethod
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

    # -- the session's own queue ---------------------------------------------------------------------------------

    def drain(self, session: Session, now: float) -> None:
        """Send what waits, as far as the client takes it: unacknowledged ones again, then the queue."""
        connection = session.connection
        if connection is None or not connection.is_connected:
            return
        if session.unsent is not None and not self._send_again(session, connection, now):
            return
        limit = self._state.outbox_limit
        while session.queue is not None and connection.send_quota > 0 and connection.outbox_bytes <= limit:
            if session.waiting is not None or not self._drain_one(session, connection, now):
                return
        if connection.replays:
            self.replay(connection, now)

    def _drain_one(self, session: Session, connection: Connection, now: float) -> bool:
        """Send the head of the queue, judged anew; False where its verdict has to be waited for."""
        delivery = session.dequeue()
        if delivery is None:
            return False
        message, qos, retain, _, _ = delivery
        verdict = self.decide(session, message, qos, retain, now)
        if isinstance(verdict, Pending):
            session.head = delivery
            session.pending = verdict
            verdict.resume = partial(self._head_resumed, session)
            session.waiting = deque()  # what comes meanwhile lines up behind
            return False
        self._state.queued_octets -= message.size
        if verdict.effect is Effect.PERMIT:
            self._transmit_new(session, connection, delivery, now)
        else:
            self._state.counters.deliveries_denied += 1
        return True

    def _head_resumed(self, session: Session, verdict: Verdict, now: float) -> None:
        """The verdict on the head of the queue has come."""
        delivery, session.head, session.pending = session.head, None, None
        connection = session.connection
        if delivery is not None and connection is not None:
            permitted = verdict.effect is Effect.PERMIT
            current = verdict.policy_version == self._state.policy_version
            if not current or (permitted and verdict.stage is Stage.PUBLISH):
                if current:
                    delivery[0].checked_version = verdict.policy_version
                session.put_back(delivery)  # to be asked again: under the new policies, or now about the reader
            else:
                self._state.queued_octets -= delivery[0].size
                if permitted:
                    self._transmit_new(session, connection, delivery, now)
        self._work_off(session, now)

    def stop_waiting(self, session: Session) -> None:
        """The session's connection has ended: questions are cancelled; QoS 1 and 2 messages go back to the queue."""
        if session.pending is not None:
            session.pending.cancel()
            session.pending = None
        if session.head is not None:
            session.put_back(session.head)
            session.head = None
        while (waiting := self._next_waiting(session)) is not None:
            target, message = waiting
            if target.qos:
                session.enqueue((message, target.qos, target.retain, target.identifiers, target.group))
                self._state.queued_octets += message.size
        session.waiting = None

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
            delivery = session.inflight[packet_id]
            if connection.send_quota <= 0 or connection.outbox_bytes > self._state.outbox_limit:
                return False
            unsent.popleft()
            connection.send_quota -= 1
            if delivery is None:
                self._state.send(connection, b"\x62\x02" + packet_id.to_bytes(2, "big"), now)
            elif not (
                self._still_may(session, delivery, now) and self.transmit(connection, delivery, packet_id, True, now)
            ):
                del session.inflight[packet_id]
                connection.send_quota += 1
        session.unsent = None
        return True

    def _still_may(self, session: Session, delivery: Delivery, now: float) -> bool:
        """Whether a message that was under way may still go; one that cannot be decided at once may not."""
        verdict = self.decide(session, delivery[0], delivery[1], delivery[2], now)
        if isinstance(verdict, Pending):
            verdict.cancel()
            return False
        return verdict.effect is Effect.PERMIT

    def settled(self, session: Session, connection: Connection, now: float) -> None:
        """One message to the client is acknowledged for good; the next may go."""
        if connection.send_quota < connection.send_quota_maximum:
            connection.send_quota += 1
        if session.queue is not None or session.unsent is not None or connection.replays:
            self.drain(session, now)

    # -- retained messages ---------------------------------------------------------------------------------------

    def replay(self, connection: Connection, now: float) -> None:
        """Send the retained messages that its new subscriptions match, no faster than the client takes them."""
        session = connection.session
        retained = self._state.retained
        while connection.replays and session is not None and connection.is_connected:
            subscription, topics = connection.replays[0]
            if topics is None:
                topics = retained.matching(subscription.inner)
                connection.replays[0] = (subscription, topics)
            while topics:
                if session.queue is not None or connection.outbox_bytes > self._state.outbox_limit // 2:
                    return
                message = retained.get(topics.pop())
                if message is not None:
                    self._replay_one(session, subscription, message, now)
            connection.replays.popleft()
        if not connection.replays:
            connection.replays = None

    def _replay_one(self, session: Session, subscription: Subscription, message: Message, now: float) -> None:
        if message.expires_at is not None and now >= message.expires_at:
            self._state.retained.remove(message.topic)
            self._state.counters.messages_expired += 1
            return
        if subscription.no_local and message.envelope.writer.client_id == session.client_id:
            return  # v5.0 [MQTT-3.8.3-3]
        qos = min(message.qos, subscription.qos)
        # v5.0 [MQTT-3.3.1-8]: RETAIN is 1 in what is sent because of a new subscription.
        self.deliver(Target(session, qos, True, _identifiers(subscription)), message, now)

    # -- shared subscriptions whose member is gone ---------------------------------------------------------------

    def redistribute(self, deliveries: Sequence[Delivery], now: float) -> None:
        """Give what a member of a shared subscription had not acknowledged to another member.

        v5.0 section 4.8.2: QoS 1 goes to another; QoS 2 that was sent never does ([MQTT-4.8.2-5]): the caller's part.
        """
        for message, _, _, _, group in deliveries:
            if group is not None:
                self.deliver_shared(group, message, now)


def _delivery(target: Target, message: Message, verdict: Verdict) -> Delivery:
    qos = target.qos
    for obligation in verdict.obligations:
        if isinstance(obligation, CapQos):
            qos = min(qos, obligation.qos)
    return (message, qos, target.retain, target.identifiers, target.group)


def _identifiers(subscription: Subscription) -> tuple[int, ...]:
    return (subscription.identifier,) if subscription.identifier else ()


def _by_readiness(group: SharedGroup) -> list[Subscription]:
    """Members in turn: those that can take a message now, then connected ones, then those that are away."""
    ready: list[Subscription] = []
    busy: list[Subscription] = []
    away: list[Subscription] = []
    for member in group.candidates():
        connection = member.session.connection
        if connection is None:
            away.append(member)
        elif connection.send_quota > 0 and member.session.queue is None and connection.writable:
            ready.append(member)
        else:
            busy.append(member)
    return ready + busy + away


def _facts_of(writer: Writer) -> ConnectionFacts:
    """Facts for asking about a writer whose connection may be long gone."""
    return ConnectionFacts(
        connection_id=0,
        listener=writer.listener,
        peer=Peer(None),
        client_id=writer.client_id,
        principal=writer.principal,
        groups=writer.groups,
        attributes=dict(writer.attributes),
    )
