# -*- test-case-name: tests.core.test_subscribing -*-
"""SUBSCRIBE and UNSUBSCRIBE."""

from __future__ import annotations

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Disconnect, Effect, Request, Stage, Verdict
from mqttsecure.core.delivery import Deliveries
from mqttsecure.core.events import Denied
from mqttsecure.core.judging import capped
from mqttsecure.core.reasons import refusal_code
from mqttsecure.core.state import BrokerState
from mqttsecure.core.subscriptions import Subscription
from mqttsecure.wire.constants import MQTT_5_0, PacketType, ReasonCode
from mqttsecure.wire.packets import Suback, Subscribe, SubscriptionRequest, Unsuback, Unsubscribe
from mqttsecure.wire.topics import split_shared

__all__ = ["Subscribing"]

_FAILURE_3_X = 0x80
"""v3.1.1 section 3.9.3: the one code for a refusal. MQTT 3.1 has none of its own."""

_MANY_DECISIONS = 8
"""Decision ids told in one SUBACK."""


class _Round:
    """One SUBSCRIBE being worked off: filters are decided one after another, in order."""

    __slots__ = ("changes", "codes", "decisions", "known", "packet", "replays")

    def __init__(self, packet: Subscribe, changes: int) -> None:
        self.packet = packet
        self.changes = changes
        self.codes: list[int] = []
        self.decisions: list[str] = []
        self.known: dict[str, tuple[SubscriptionRequest, int]] = {}
        self.replays: list[Subscription] = []


class Subscribing:
    """Adds and removes subscriptions as the chain permits."""

    def __init__(self, state: BrokerState, deliveries: Deliveries) -> None:
        self._state = state
        self._deliveries = deliveries

    def handle_subscribe(self, connection: Connection, packet: Subscribe, now: float) -> None:
        """Decide each Topic Filter, then answer once, then send the retained messages."""
        self._go_on(connection, _Round(packet, self._state.journal.changes), now)

    def _go_on(self, connection: Connection, work: _Round, now: float) -> None:
        requests = work.packet.subscriptions
        while len(work.codes) < len(requests):
            asked = requests[len(work.codes)]
            # The same filter over and over in one packet costs one decision.
            known = work.known.get(asked.topic_filter)
            if known is not None and known[0] == asked:
                work.codes.append(known[1])
                continue
            refusal = self._refusal(connection, asked)
            if refusal:
                self._settle(work, asked, refusal)
                continue
            if not self._decide(connection, work, asked, now):
                return
        self._answer(connection, work, now)

    def _refusal(self, connection: Connection, asked: SubscriptionRequest) -> int:
        """A Reason Code where limits alone refuse the filter, else 0."""
        limits = self._state.limits
        session = connection.session
        topic_filter = asked.topic_filter
        if (
            topic_filter.count("/") >= limits.maximum_topic_levels
            or len(topic_filter.encode()) > limits.maximum_topic_bytes
        ):
            return ReasonCode.TOPIC_FILTER_INVALID
        if session is None:
            return ReasonCode.QUOTA_EXCEEDED
        if topic_filter not in session.subscriptions and (
            len(session.subscriptions) >= limits.maximum_subscriptions
            or self._state.tree.octets >= limits.maximum_subscription_bytes_total
        ):
            return ReasonCode.QUOTA_EXCEEDED
        if session.record is not None and self._state.storage_problem is not None:
            return ReasonCode.QUOTA_EXCEEDED  # it could not be kept
        return 0

    def _decide(self, connection: Connection, work: _Round, asked: SubscriptionRequest, now: float) -> bool:
        """Ask the chain about one filter; False where the answer comes later and goes on by itself."""
        share_group, inner = split_shared(asked.topic_filter)
        request = Request(
            Stage.SUBSCRIBE,
            connection.facts,
            now,
            topic=inner,
            qos=asked.qos,
            share_group=share_group,
            properties=work.packet.properties,
        )
        at_once = True

        def decided(verdict: Verdict, now: float) -> None:
            if not connection.is_connected:
                return
            if verdict.effect is Effect.PERMIT:
                self._settle(work, asked, self._grant(connection, work, asked, verdict))
            else:
                self._state.counters.subscriptions_denied += 1
                self._state.events.append(Denied(request, verdict))
                self._settle(work, asked, refusal_code(PacketType.SUBACK, verdict.reason_code))
                if any(isinstance(obligation, Disconnect) for obligation in verdict.obligations):
                    self._state.close(connection, verdict.reason_code, "a policy ended the connection", now)
                    return
                if verdict.decision_id and len(work.decisions) < _MANY_DECISIONS:
                    work.decisions.append(verdict.decision_id)
            if not at_once:
                self._go_on(connection, work, now)

        before = len(work.codes)
        self._state.ask(request, decided, lambda pending: self._state.hold(connection, pending), now)
        at_once = False
        return len(work.codes) > before and connection.is_connected

    @staticmethod
    def _settle(work: _Round, asked: SubscriptionRequest, code: int) -> None:
        work.codes.append(code)
        work.known[asked.topic_filter] = (asked, code)

    def _grant(self, connection: Connection, work: _Round, asked: SubscriptionRequest, verdict: Verdict) -> int:
        session = connection.session
        if session is None:
            return ReasonCode.UNSPECIFIED_ERROR
        qos = capped(asked.qos, verdict)
        identifiers = work.packet.properties.get("subscription_identifier")
        subscription = Subscription(
            session,
            asked.topic_filter,
            qos,
            # Bridges of 3.x ask by bit 7 of the protocol level for what 5.0 has these two options for.
            asked.no_local or connection.facts.bridge,
            asked.retain_as_published or connection.facts.bridge,
            asked.retain_handling,
            identifiers[0] if identifiers else 0,
        )
        is_new = self._state.tree.add(subscription)
        session.subscriptions[asked.topic_filter] = subscription
        self._state.journal.subscribe(session, subscription)
        if subscription.group is None and (
            asked.retain_handling == 0 or (asked.retain_handling == 1 and is_new)
        ):  # v5.0 [MQTT-3.3.1-9..11]; none for shared subscriptions, section 4.8.2
            work.replays.append(subscription)
        return qos

    def _answer(self, connection: Connection, work: _Round, now: float) -> None:
        codes = work.codes
        if connection.facts.protocol_version != MQTT_5_0:
            codes = [code if code <= 2 else _FAILURE_3_X for code in codes]
        properties = connection.refusal_properties(", ".join(work.decisions))
        self._state.acknowledge(
            connection,
            Suback(work.packet.packet_id, codes, properties),
            self._state.journal.changes != work.changes,
            now,
            lambda now: self._deliveries.replaying.start(connection, work.replays, now),
        )

    def handle_unsubscribe(self, connection: Connection, packet: Unsubscribe, now: float) -> None:
        """Remove subscriptions; always granted."""
        session = connection.session
        if session is None:
            return
        codes: list[int] = []
        changes = self._state.journal.changes
        for topic_filter in packet.topic_filters:
            subscription = session.subscriptions.pop(topic_filter, None)
            if subscription is None:
                codes.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
            else:
                self._state.tree.remove(subscription)
                self._state.journal.unsubscribe(session, topic_filter)
                codes.append(ReasonCode.SUCCESS)
        if connection.facts.protocol_version != MQTT_5_0:
            codes = []
        touched = self._state.journal.changes != changes
        self._state.acknowledge(connection, Unsuback(packet.packet_id, codes), touched, now)
