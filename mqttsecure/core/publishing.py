# -*- test-case-name: tests.core.test_publishing -*-
"""The one publish path: whatever is written passes :class:`Publishing`, and so the PUBLISH stage.

On the path of each message; one whose route (:mod:`mqttsecure.core.routing`) still holds costs no question and no
search.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import (
    BROKER_PRINCIPAL,
    Decision,
    Disconnect,
    Effect,
    Obligation,
    Request,
    Stage,
    Verdict,
)
from mqttsecure.core.delivery import Deliveries, Target
from mqttsecure.core.events import Denied
from mqttsecure.core.model import Envelope, Message, forwarded_properties, writer_of
from mqttsecure.core.reasons import refusal_code
from mqttsecure.core.routing import Route, Routing
from mqttsecure.core.session import Session
from mqttsecure.core.state import BrokerState
from mqttsecure.core.subscriptions import SharedGroup
from mqttsecure.core.throttling import Throttling
from mqttsecure.core.timers import Deadline
from mqttsecure.core.verdict_cache import cache_weight
from mqttsecure.errors import ProtocolError, ReceiveMaximumExceeded, TopicAliasInvalid, TopicNameInvalid
from mqttsecure.wire.constants import PacketType, ReasonCode
from mqttsecure.wire.packets import Properties, Puback, Publish, Pubrec, Will

__all__ = ["Publishing"]

_LARGE: Final = 16 * 1024
"""Bytes of a payload that is refused while memory is scarce; what sensors and actuators say is smaller."""

_REFUSED: Final = ""
"""In place of the Topic Name of a Topic Alias whose message was refused: it is not kept, and its use is an error."""


class Publishing:
    """Judges what clients and the broker write, and hands it to the delivery path."""

    def __init__(self, state: BrokerState, deliveries: Deliveries, routing: Routing, throttling: Throttling) -> None:
        self._state = state
        self._deliveries = deliveries
        self._routing = routing
        self._throttling = throttling
        self._expiries: dict[tuple[str, str], Deadline] = {}

    # -- PUBLISH from a client -----------------------------------------------------------------------------------

    def receive(self, connection: Connection, packet: Publish, now: float) -> None:
        """Handle a PUBLISH packet that was fully decoded.

        Raises:
            TopicAliasInvalid: a Topic Alias above what was announced, or that came with a message that was refused.
            TopicNameInvalid: more levels or bytes than are taken.
            ProtocolError: a Topic Alias that was never set.
            ReceiveMaximumExceeded: more QoS 2 messages open than was announced.
        """
        session = connection.session
        if session is None:
            return
        if "topic_alias" in packet.properties or not packet.topic:
            self._resolve_alias(connection, packet)
        self._check_topic(packet.topic)
        if packet.qos == 2 and not self._is_new(connection, session, packet, now):
            return
        route = connection.routes.get((packet.topic, packet.qos, packet.retain))
        if route is None or route.policy_version != self._state.policy_version or now >= route.valid_until:
            self._find_verdict(connection, packet, now)
        elif route.verdict.residual is not None:
            self._ask(connection, packet, route, now)
        else:
            self._decided(connection, packet, route.verdict, route, now)

    def _is_new(self, connection: Connection, session: Session, packet: Publish, now: float) -> bool:
        """Whether a QoS 2 PUBLISH was not seen before; the answer to one that was is the same PUBREC again."""
        incoming = session.incoming
        if incoming is None:
            return True
        if packet.packet_id in incoming:
            self._set_alias(connection, packet, packet.topic)  # it was accepted, maybe on another connection
            # v5.0 [MQTT-4.3.3-10]. It may not be on disk yet.
            touched = not self._state.journal.is_empty()
            self._state.acknowledge(connection, Pubrec(packet.packet_id), touched, now)
            return False
        if len(incoming) >= self._state.limits.receive_maximum:
            raise ReceiveMaximumExceeded("more QoS 2 messages are open than the Receive Maximum allows")
        return True

    def _resolve_alias(self, connection: Connection, packet: Publish) -> None:
        alias = packet.properties.get("topic_alias")
        if alias is None:
            if not packet.topic:
                raise ProtocolError("a PUBLISH needs a Topic Name or a Topic Alias")
            return
        if not 0 < alias <= self._state.limits.topic_alias_maximum:
            raise TopicAliasInvalid(f"Topic Alias {alias} is above the Topic Alias Maximum")  # v5.0 [MQTT-3.3.2-9]
        if not packet.topic:
            topic = (connection.aliases_in or {}).get(alias)
            if topic is None:
                raise ProtocolError(f"Topic Alias {alias} was not set on this connection")
            if topic == _REFUSED:
                raise TopicAliasInvalid(f"Topic Alias {alias} came with a message that was refused; set it anew")
            packet.topic = topic

    @staticmethod
    def _set_alias(connection: Connection, packet: Publish, topic: str) -> None:
        """Keep the Topic Alias that ``packet`` sets, once it is known what becomes of the message."""
        alias = packet.properties.get("topic_alias")
        if alias is not None:
            if connection.aliases_in is None:
                connection.aliases_in = {}
            connection.aliases_in[alias] = topic

    def _refuse_alias(self, connection: Connection, packet: Publish) -> None:
        """Do not keep the Topic Alias that came with a refused message; one that stood for this topic before stays."""
        alias = packet.properties.get("topic_alias")
        if alias is not None and (connection.aliases_in or {}).get(alias) != packet.topic:
            self._set_alias(connection, packet, _REFUSED)

    def _check_topic(self, topic: str) -> None:
        limits = self._state.limits
        if topic.count("/") >= limits.maximum_topic_levels or len(topic.encode()) > limits.maximum_topic_bytes:
            raise TopicNameInvalid("the Topic Name is longer or deeper than this server takes")

    def _request(self, connection: Connection, packet: Publish, now: float) -> Request:
        return Request(
            Stage.PUBLISH,
            connection.facts,
            now,
            topic=packet.topic,
            qos=packet.qos,
            retain=packet.retain,
            payload=packet.payload,
            properties=packet.properties,
        )

    def _find_verdict(self, connection: Connection, packet: Publish, now: float) -> None:
        """For a Topic Name without a route: a PERMIT within whose scope it lies, else ask."""
        known = connection.verdicts.get(packet.topic, packet.qos, packet.retain, self._state.policy_version, now)
        if known is not None and known.effect is Effect.PERMIT and known.residual is None:
            self._decided(connection, packet, known, self._remember(connection, packet, known), now)
        else:
            self._ask(connection, packet, None, now)

    def _ask(self, connection: Connection, packet: Publish, route: Route | None, now: float) -> None:
        """Ask the chain, or with ``route`` those of its policies that must be asked each time."""
        request = self._request(connection, packet, now)

        def decided(verdict: Verdict, now: float) -> None:
            if not connection.is_connected:
                return
            if verdict.effect is not Effect.PERMIT:
                self._state.events.append(Denied(request, verdict))
            elif verdict.scope is not None:
                connection.verdicts.put(packet.topic, packet.qos, packet.retain, verdict, 0)
            remembered = self._remember(connection, packet, verdict) if route is None else None
            self._decided(connection, packet, verdict, remembered, now)

        decide = None if route is None else route.verdict.residual
        self._state.ask(request, decided, lambda pending: self._state.hold(connection, pending), now, decide)

    def _remember(self, connection: Connection, packet: Publish, verdict: Verdict) -> Route:
        route = Route(packet.topic, packet.qos, packet.retain, verdict)
        connection.routes_count += cache_weight(packet.topic)
        if connection.routes_count > self._state.limits.maximum_cached_decisions:
            connection.routes.clear()
            connection.routes_q0.clear()
            connection.routes_q1.clear()
            connection.routes_count = cache_weight(packet.topic)
        connection.routes[packet.topic, packet.qos, packet.retain] = route
        return route

    def _decided(
        self, connection: Connection, packet: Publish, verdict: Verdict, route: Route | None, now: float
    ) -> None:
        refusal = self._throttling.spend(connection, verdict.meters, len(packet.payload), now)
        self._throttling.oblige(connection, verdict.obligations, now)
        if refusal is not None:
            self.refuse(connection, packet, refusal.reason_code, refusal.obligations, now)
        elif verdict.effect is not Effect.PERMIT:
            self.refuse(connection, packet, verdict.reason_code, verdict.obligations, now, verdict.decision_id)
        else:
            self._accept(connection, packet, route, now)

    def refuse(
        self,
        connection: Connection,
        packet: Publish,
        reason_code: int | None,
        obligations: tuple[Obligation, ...],
        now: float,
        decision_id: str = "",
    ) -> None:
        """Answer a PUBLISH that may not be: as 5.0 can say it, and as the listener is configured for 3.x."""
        state = self._state
        state.counters.publishes_denied += 1
        code = refusal_code(PacketType.PUBACK, reason_code)
        self._refuse_alias(connection, packet)
        if any(isinstance(obligation, Disconnect) for obligation in obligations):
            state.close(connection, reason_code or code, "a policy ended the connection", now)
        elif connection.five:
            properties = connection.refusal_properties(decision_id)
            if packet.qos == 1:
                state.acknowledge(connection, Puback(packet.packet_id, code, properties), False, now)
            elif packet.qos == 2:
                state.acknowledge(connection, Pubrec(packet.packet_id, code, properties), False, now)
        elif connection.facts.listener in state.acknowledge_denied:
            # 3.x has no way to say no: v3.1.1 [MQTT-3.3.5-2] leaves a positive acknowledgement or a close.
            self._acknowledge(connection, packet, True, False, now)
        else:
            state.close(connection, code, "published what it may not", now)

    def refuse_unacknowledged(self, connection: Connection, decision: Decision, now: float) -> None:
        """A meter refused QoS 0 messages: 5.0 knows no answer to them, 3.x is handled as any denial."""
        self.refuse(connection, Publish(""), decision.reason_code, decision.obligations, now)

    def refuse_acknowledged(self, connection: Connection, decision: Decision, packet_id: int, now: float) -> None:
        """A meter refused a QoS 1 message."""
        packet = Publish("", qos=1, packet_id=packet_id)
        self.refuse(connection, packet, decision.reason_code, decision.obligations, now)

    def _accept(self, connection: Connection, packet: Publish, route: Route | None, now: float) -> None:
        state = self._state
        message = self.message_of(packet, self.envelope(connection), now)
        if (state.storage_problem is not None or state.pressure) and self._cannot_take(connection, packet, message):
            self._refuse_for_now(connection, packet, now)
            return
        changes = state.journal.changes
        if packet.retain and not self.retain(message):
            self.refuse(connection, packet, ReasonCode.QUOTA_EXCEEDED, (), now)
            return
        self._set_alias(connection, packet, packet.topic)
        state.counters.messages_received += 1
        if packet.qos == 2 and connection.session is not None:
            if connection.session.incoming is None:
                connection.session.incoming = set()
            connection.session.incoming.add(packet.packet_id)
            if connection.session.record is not None:
                state.journal.incoming(connection.session, connection.session.record, packet.packet_id, True)
        self._take_on(connection, packet, message, route, changes, now)
        if packet.retain:
            message.forget_forms()

    def _take_on(
        self,
        connection: Connection,
        packet: Publish,
        message: Message,
        route: Route | None,
        changes: int,
        now: float,
    ) -> None:
        """Deliver a message that was accepted, and acknowledge it.

        PUBREC goes first where it can: who subscribes to what it publishes then sees its own exchange in order. Where
        what it promises is noted only by the deliveries, it comes after them. The message is delivered with the
        PUBLISH and not again until PUBREL lets its identifier go (v5.0 figure 4.3, method B).
        ``changes`` is what the journal counted before the message was accepted.
        """
        journal = self._state.journal
        is_owed = packet.qos > 0
        is_noted = journal.changes != changes or not journal.is_on
        if route is None or route.verdict.residual is not None:
            targets, groups = self._receivers(message, connection.session)
            matched = bool(targets or groups)
            if packet.qos == 2 and (is_noted or not _any_durable(targets, groups)):
                is_owed = False
                self._acknowledge(connection, packet, matched, journal.changes != changes, now)
            self._deliver_all(targets, groups, message, now)
            if not matched and not packet.retain:
                self._state.unheard.note(connection.facts, message.topic, now)
        else:
            if route.stamp != self._state.tree.stamp:
                self._routing.resolve(connection, route, now)
            matched = route.matched
            if packet.qos == 2 and (is_noted or not _any_durable([*route.acknowledged, *route.rest], route.groups)):
                is_owed = False
                self._acknowledge(connection, packet, matched, journal.changes != changes, now)
            self._routing.follow(route, message, connection.five, now)
        if is_owed:
            self._acknowledge(connection, packet, matched, journal.changes != changes, now)

    def _acknowledge(self, connection: Connection, packet: Publish, matched: bool, touched: bool, now: float) -> None:
        if packet.qos == 0 or not connection.is_open:
            return
        code = 0 if matched or not connection.five else int(ReasonCode.NO_MATCHING_SUBSCRIBERS)
        answer = Puback(packet.packet_id, code) if packet.qos == 1 else Pubrec(packet.packet_id, code)
        self._state.acknowledge(connection, answer, touched, now)

    def _cannot_take(self, connection: Connection, packet: Publish, message: Message) -> bool:
        """Whether there is no room for ``message`` at the moment: on a disk that fails, or in memory.

        What needs the disk is taken from 3.x and waits: it has no way to hear a refusal.
        """
        state = self._state
        if state.pressure and len(message.payload) > _LARGE:
            return True
        if state.storage_problem is None or not (connection.five and packet.qos) or not state.journal.is_on:
            return False
        return message.retain or _any_durable(*self._receivers(message, None))

    def _refuse_for_now(self, connection: Connection, packet: Publish, now: float) -> None:
        """Refuse what a client may send at another time; one of 3.x can only be told by the end."""
        if connection.five:
            self.refuse(connection, packet, ReasonCode.QUOTA_EXCEEDED, (), now)
        else:
            self._state.close(connection, ReasonCode.QUOTA_EXCEEDED, "memory is scarce, and its message is large", now)

    def message_of(self, packet: Publish | Will, envelope: Envelope, now: float) -> Message:
        """The application message in a PUBLISH or a Will."""
        properties = packet.properties
        expires_at = None
        forwarded: Properties | None = None
        if properties:
            expiry = properties.get("message_expiry_interval")
            expires_at = None if expiry is None else now + expiry
            forwarded = forwarded_properties(properties)
        return Message(packet.topic, packet.payload, packet.qos, packet.retain, envelope, forwarded, expires_at)

    def envelope(self, connection: Connection) -> Envelope:
        """The envelope that all messages of this connection share while the policy version stays."""
        envelope = connection.envelope
        if envelope is None or envelope.policy_version != self._state.policy_version:
            facts = connection.facts
            principal = facts.principal
            if principal is None:
                raise RuntimeError("a connection without a principal publishes nothing")
            writer = writer_of(facts, principal)
            envelope = connection.envelope = Envelope(writer, self._state.policy_version, facts.namespace)
        return envelope

    # -- receivers -----------------------------------------------------------------------------------------------

    def retain(self, message: Message) -> bool:
        """Keep a message with RETAIN, or forget the topic's where it is empty; False where the budget is spent."""
        retained = self._state.retained
        place = (message.envelope.namespace, message.topic)
        replaced = retained.get(message.topic, message.envelope.namespace)
        if not message.payload:
            if replaced is not None:
                retained.remove(message.topic, message.envelope.namespace)  # v5.0 [MQTT-3.3.1-6], [MQTT-3.3.1-7]
        elif not retained.has_room_for(message, replaced):
            return False
        else:
            retained.put(message)
        if message.envelope.writer.principal is not BROKER_PRINCIPAL and (message.payload or replaced is not None):
            self._state.journal.retain(place, message if message.payload else None, replaced)
        self._watch_expiry(message, place)
        return True

    def restore_retained(self, message: Message) -> None:
        """Keep a retained message that was on disk."""
        self._state.retained.put(message)
        self._watch_expiry(message, (message.envelope.namespace, message.topic))

    def _watch_expiry(self, message: Message, place: tuple[str, str]) -> None:
        old = self._expiries.pop(place, None)
        if old is not None:
            old.cancel()
        if message.payload and message.expires_at is not None:
            self._expiries[place] = self._state.deadlines.at(message.expires_at, lambda now: self._expire(message))

    def _expire(self, message: Message) -> None:
        """The time of a retained message is over: it makes room."""
        namespace = message.envelope.namespace
        self._expiries.pop((namespace, message.topic), None)
        if self._state.retained.get(message.topic, namespace) is message:
            self._state.retained.remove(message.topic, namespace)
            self._state.journal.retain((namespace, message.topic), None, message)
            self._state.counters.messages_expired += 1

    def distribute(self, message: Message, writer: Session | None, now: float) -> bool:
        """Deliver to whoever subscribes, without a route; whether anyone does."""
        targets, groups = self._receivers(message, writer)
        self._deliver_all(targets, groups, message, now)
        return bool(targets or groups)

    def _receivers(self, message: Message, writer: Session | None) -> tuple[list[Target], list[SharedGroup]]:
        """Who subscribes to its topic in its namespace."""
        return self._deliveries.resolve(message.topic, message.qos, message.retain, writer, message.envelope.namespace)

    def _deliver_all(self, targets: list[Target], groups: list[SharedGroup], message: Message, now: float) -> None:
        for target in targets:
            self._deliveries.deliver(target, message, now)
        for group in groups:
            self._deliveries.deliver_shared(group, message, now)


def _any_durable(targets: list[Target], groups: list[SharedGroup]) -> bool:
    """Whether any of these receivers may have to be kept something on disk."""
    return any(target.qos and target.session.record is not None for target in targets) or any(
        member.session.record is not None for group in groups for member in group.members
    )
