# -*- test-case-name: tests.core.test_publishing -*-
"""Routes: what one connection's next message on a topic needs neither to ask nor to search for.

On the path of each message. A :class:`Route` remembers, for one connection, Topic Name, QoS and RETAIN, what the
chain said and who receives; it holds as long as the policies and the subscriptions do.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Effect, Meter, Verdict
from mqttsecure.core.delivery import Deliveries, Target
from mqttsecure.core.model import Message
from mqttsecure.core.state import BrokerState
from mqttsecure.core.subscriptions import SharedGroup
from mqttsecure.wire.encoder import encode_string

__all__ = ["Route", "Routing"]

_FOREVER: Final = float("inf")


class Route:
    """What is known ahead of a message: the PUBLISH verdict, and its receivers sorted by how they are served.

    ``same`` take the publisher's bytes as they are (QoS 0, same packet format), ``cross`` take QoS 0 in the other
    packet format, ``acknowledged`` are online and take QoS 1 or 2, ``rest`` needs a look at each message, ``groups``
    are shared subscriptions. The receivers hold while ``stamp`` is the tree's.
    """

    __slots__ = (
        "acknowledged",
        "batchable",
        "cross",
        "groups",
        "matched",
        "meters",
        "policy_version",
        "qos",
        "request",
        "rest",
        "retain",
        "same",
        "smallest_maximum",
        "stamp",
        "topic",
        "valid_until",
        "verdict",
    )

    def __init__(self, topic: str, qos: int, retain: bool, verdict: Verdict) -> None:
        self.topic = topic
        self.qos = qos
        self.retain = retain
        self.verdict = verdict
        self.policy_version = verdict.policy_version
        self.valid_until = _FOREVER if verdict.valid_until is None else verdict.valid_until
        self.meters: tuple[Meter, ...] = verdict.meters
        self.batchable = all(meter.batchable for meter in verdict.meters)
        self.stamp = -1
        self.same: list[Connection] = []
        self.cross: list[Connection] = []
        self.acknowledged: list[Target] = []
        self.rest: list[Target] = []
        self.groups: list[SharedGroup] = []
        self.smallest_maximum = 0
        self.matched = False


class Routing:
    """Finds the receivers of routes, and delivers along them."""

    def __init__(self, state: BrokerState, deliveries: Deliveries) -> None:
        self._state = state
        self._deliveries = deliveries

    def resolve(self, connection: Connection, route: Route, now: float) -> None:
        """Find the receivers of ``route`` anew, sorted by what the DELIVER stage is known to say about each."""
        targets, route.groups = self._deliveries.resolve(
            route.topic, route.qos, route.retain, connection.session, connection.facts.namespace
        )
        route.same, route.cross, route.acknowledged, route.rest = [], [], [], []
        route.smallest_maximum = 0xFFFFFFFF
        route.valid_until = _FOREVER if route.verdict.valid_until is None else route.verdict.valid_until
        route.matched = bool(targets or route.groups)
        if not route.matched and not route.retain:  # a retained message waits for whoever comes
            self._state.unheard.note(connection.facts, route.topic, now)
        settled = True
        for target in targets:
            settled = self._sort_in(connection, route, target, now) and settled
        # A receiver that was never asked about gets this message by the long way, and is sorted in with the next one.
        route.stamp = self._state.tree.stamp if settled else -1
        if settled:
            self._offer_shortcut(connection, route)

    def _sort_in(self, connection: Connection, route: Route, target: Target, now: float) -> bool:
        session = target.session
        verdict = session.verdicts.get(route.topic, target.qos, target.retain, self._state.policy_version, now)
        if verdict is None:
            route.rest.append(target)
            return False
        if verdict.residual is not None or verdict.meters or verdict.obligations or session.waiting is not None:
            route.rest.append(target)
            return session.waiting is None
        if verdict.valid_until is not None:
            route.valid_until = min(route.valid_until, verdict.valid_until)
        if verdict.effect is not Effect.PERMIT:
            return True
        target.verdict = verdict
        self._sort_by_form(connection, route, target)
        return True

    @staticmethod
    def _sort_by_form(connection: Connection, route: Route, target: Target) -> None:
        reader = target.session.connection
        if reader is None:
            if target.qos:
                route.rest.append(target)
        elif target.qos:
            route.acknowledged.append(target)
        elif target.retain or (reader.five and (target.identifiers or reader.aliases_out_maximum)):
            route.rest.append(target)
        else:
            route.smallest_maximum = min(route.smallest_maximum, reader.peer_maximum_packet_size)
            (route.same if reader.five == connection.five else route.cross).append(reader)

    def _offer_shortcut(self, connection: Connection, route: Route) -> None:
        """Let the frame loop find this route by the bytes of its Topic Name, where all is settled ahead."""
        if route.retain or route.verdict.residual is not None or route.verdict.obligations or self._state.pressure:
            return
        if route.qos == 0 and not route.rest and not route.groups:
            connection.routes_q0[encode_string(route.topic)] = route
        elif route.qos == 0:
            connection.routes_q0.pop(encode_string(route.topic), None)  # it was settled while nobody else listened
        elif route.qos == 1:
            connection.routes_q1[encode_string(route.topic)] = route

    def follow(self, route: Route, message: Message, five: bool, now: float) -> bool:
        """Deliver ``message`` along a route whose receivers are known; whether there are any."""
        if route.same:
            self._fan_out(route.same, message, five, now)
        if route.cross:
            self._fan_out(route.cross, message, not five, now)
        deliveries = self._deliveries
        for target in route.acknowledged:
            deliveries.deliver_settled(target, message, now)
        for target in route.rest:
            deliveries.deliver(target, message, now)
        for group in route.groups:
            deliveries.deliver_shared(group, message, now)
        return route.matched

    def _fan_out(self, readers: list[Connection], message: Message, five: bool, now: float) -> None:
        """QoS 0 to connections that all take the same bytes, encoded once."""
        transmit = self._deliveries.transmit
        plain = message.expires_at is None
        head, tail = message.form(five, 0, False)
        pieces = (head + tail,) if len(tail) < 1024 else (head, tail)
        size = len(head) + len(tail)
        state = self._state
        limit = state.outbox_limit
        for reader in readers:
            if reader.outbox_bytes > limit:
                state.overflow(reader, 1, now)
            elif plain and size <= reader.peer_maximum_packet_size:
                reader.outbox.extend(pieces)
                reader.outbox_bytes += size
                state.counters.messages_sent += 1
                if not reader.touched:
                    reader.touched = True
                    state.touched.append(reader)
            else:
                transmit(reader, (message, 0, False, (), None, 0), 0, False, now)
