# -*- test-case-name: tests.core.test_broker -*-
"""The broker, without input, output or clock: fed with bytes and verdicts, drained of bytes and events.

The adapter calls :meth:`BrokerCore.receive_bytes`, :meth:`BrokerCore.connection_lost`, :meth:`BrokerCore.verdict`,
:meth:`BrokerCore.drained` and :meth:`BrokerCore.expire`; after each it looks at ``touched`` (outboxes to write,
connections to close, reading to pause), at ``events``, and at :meth:`BrokerCore.next_deadline`.
Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mqttsecure.core.acknowledging import Acknowledging
from mqttsecure.core.connecting import Connecting
from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import ConnectionFacts, Decide, Pending, Verdict
from mqttsecure.core.delivery import Deliveries
from mqttsecure.core.events import Dropped, Event
from mqttsecure.core.inbound import Inbound
from mqttsecure.core.limits import Limits
from mqttsecure.core.model import Message
from mqttsecure.core.publishing import Publishing
from mqttsecure.core.records import Batch, StoredEntry, StoredRetained, StoredSession
from mqttsecure.core.rejudging import Rejudging
from mqttsecure.core.restoring import Restoring
from mqttsecure.core.routing import Routing
from mqttsecure.core.sessions import Sessions
from mqttsecure.core.state import BrokerState, Counters, Load
from mqttsecure.core.stored_json import UNREADABLE, Unreadable
from mqttsecure.core.subscribing import Subscribing
from mqttsecure.core.throttling import Throttling
from mqttsecure.core.will import Wills, disarm
from mqttsecure.errors import ProtocolError
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Disconnect, Pingreq, Publish

__all__ = ["BrokerCore"]

_LIGHT = 64 * 1024
"""Bytes kept for one client below which cutting it would help nobody."""

_PINGRESP = b"\xd0\x00"


class BrokerCore:
    """One broker.

    Args:
        limits: every bound.
        decide: the policy chain's ``decide``. Whoever wraps it sets ``listener`` of each :class:`Pending` so that
            :meth:`verdict` gets called.
        random_bytes: ``random_bytes(n)`` gives n unpredictable bytes.
        acknowledge_denied: the listeners that acknowledge a denied PUBLISH of MQTT 3.x in place of closing.
        reason_strings: the listeners that tell 5.0 clients the id of the decision that refused them.
    """

    def __init__(
        self,
        limits: Limits,
        decide: Decide,
        random_bytes: Callable[[int], bytes],
        acknowledge_denied: Iterable[str] = (),
        reason_strings: Iterable[str] = (),
    ) -> None:
        state = self.state = BrokerState(limits, decide, random_bytes)
        state.acknowledge_denied = frozenset(acknowledge_denied)
        state.reason_strings = frozenset(reason_strings)
        self._deliveries = Deliveries(state)
        routing = Routing(state, self._deliveries)
        throttling = Throttling(state)
        self._publishing = Publishing(state, self._deliveries, routing, throttling)
        self._wills = Wills(state, self._publishing)
        self._sessions = Sessions(state, self._deliveries, self._wills)
        self._connecting = Connecting(state, self._sessions)
        self._subscribing = Subscribing(state, self._deliveries)
        acknowledging = Acknowledging(state, self._deliveries)
        self._rejudging = Rejudging(state)
        state.detach = self._sessions.detach
        state.forget_will = partial(disarm, state)
        state.restoring = Restoring(state)
        state.journal.page_out = self._sessions.paging.page_out
        self._connecting.on_credential_expired = self._rejudging.judge
        self._connecting.on_session_resumed = self._rejudging.judge_session
        self.handle_connect = self._connecting.handle_connect
        self.handle_auth = self._connecting.handle_auth
        self.handle_subscribe = self._subscribing.handle_subscribe
        self.handle_unsubscribe = self._subscribing.handle_unsubscribe
        self.handle_puback = acknowledging.handle_puback
        self.handle_pubrec = acknowledging.handle_pubrec
        self.handle_pubrel = acknowledging.handle_pubrel
        self.handle_pubcomp = acknowledging.handle_pubcomp
        self._inbound = Inbound(
            state, self._publishing, routing, throttling, self._deliveries, self, self._connecting.refuse_undecodable
        )

    # -- what the adapter calls ----------------------------------------------------------------------------------

    def connection_made(self, facts: ConnectionFacts) -> Connection:
        """A connection was accepted; ``facts`` has what is known. Its CONNECT is due within the connect time-out."""
        connection = Connection(facts, self.state.limits.connect_packet_size)
        connection.tells_decisions = facts.listener in self.state.reason_strings
        self.state.connections.add(connection)
        due = facts.accepted_at + self.state.limits.connect_timeout
        connection.deadline = self.state.deadlines.at(due, lambda now: self._check_introduced(connection, now))
        return connection

    def receive_bytes(self, connection: Connection, data: bytes, now: float) -> None:
        """The network brought ``data``."""
        if connection.is_open:
            self._inbound.receive(connection, data, now)
        if self.state.afterwards:
            self._settle(now)

    def connection_lost(self, connection: Connection, now: float) -> None:
        """The network connection is gone; harmless when the core had closed it."""
        self.state.lost(connection, now)
        self._settle(now)

    def verdict(self, pending: Pending, verdict: Verdict, now: float) -> None:
        """A verdict that was pending has come."""
        resume, pending.resume = pending.resume, None
        if resume is not None:
            resume(verdict, now)
        self._settle(now)

    def drained(self, connection: Connection, now: float) -> None:
        """The network has taken what was written; send what waits."""
        session = connection.session
        if session is not None and (session.queue is not None or session.unsent is not None or connection.replays):
            self._deliveries.drain(session, now)
            self._settle(now)

    def change_policy(self, version: int) -> None:
        """The chain behind ``decide`` was replaced: nothing that an older version said holds any longer."""
        self.state.policy_version = version
        self.state.tree.stamp += 1  # which the short ways look at

    def rejudge(self, connections: Iterable[Connection] | None = None) -> None:
        """Have what lives judged again, by :meth:`rejudge_step`: these connections, or all of them and all sessions."""
        if connections is None:
            self._rejudging.put_all()
        else:
            self._rejudging.put(connections, ())

    def rejudge_step(self, now: float) -> bool:
        """Judge one connection or session again; whether there are more."""
        if self._rejudging.has_work:
            self._rejudging.step(now)
            self._settle(now)
        return self._rejudging.has_work

    def change_limits(self, limits: Limits) -> None:
        """Go by other limits from now on; what is above them already is left to shrink by itself."""
        self.state.change_limits(limits)

    def close(self, connection: Connection, reason_code: int, text: str, now: float) -> None:
        """End a connection from outside the core."""
        self.state.close(connection, reason_code, text, now)
        self._settle(now)

    def next_deadline(self) -> float | None:
        """When to call :meth:`expire`, None for never."""
        return self.state.deadlines.next()

    def expire(self, now: float) -> None:
        """Do what is due: Keep Alive, delayed wills, expiring sessions, the end of pauses."""
        self.state.deadlines.expire(now)
        self._settle(now)

    def publish(self, topic: str, payload: bytes, now: float, *, retain: bool = False) -> None:
        """Publish as the broker itself, through the same delivery path and DELIVER decisions as all else."""
        message = Message(topic, payload, 0, retain, self.state.broker_envelope)
        if not retain or self._publishing.retain(message):
            self._publishing.distribute(message, None, now)
            self._settle(now)

    # -- what is kept on disk ------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Have a store from now on: acknowledgements wait until it has what they promise."""
        self.state.journal.is_on = True

    def restore_session(self, stored: StoredSession, now: float) -> None:
        """Have a session that was on disk. Comes after :meth:`keep` and before the first connection."""
        self._sessions.restore(stored, now)

    def restore_retained(self, stored: StoredRetained, now: float) -> None:
        """Have a retained message that was on disk."""
        try:
            message = self.state.restoring.retained(stored)
        except Unreadable:
            row = stored.message
            self.state.counters.messages_dropped += 1
            self.state.events.append(Dropped("", row.topic, UNREADABLE))
            self.state.journal.forget_retained((row.namespace, row.topic), row.id)
            return
        self._publishing.restore_retained(message)

    def take_batch(self, now: float, wall: float) -> Batch:
        """All that has changed on disk; ``wall`` is the time of day at ``now``, in seconds since 1970."""
        self.state.wall_offset = wall - now
        return self.state.journal.take(now, wall)

    def committed(self, number: int, now: float) -> None:
        """All changes up to ``number``, as the journal counts them, are on disk or were undone."""
        self.state.committed(number, now)
        self._settle(now)

    def take_loads(self) -> list[Load]:
        """What is to be read from the store, once all batches were given to it; answered by :meth:`loaded`."""
        loads, self.state.loads = self.state.loads, []
        return loads

    def loaded(self, load: Load, entries: Sequence[StoredEntry], incoming: Sequence[int], now: float) -> None:
        """What a load has brought."""
        load.then(entries, incoming, now)
        self._settle(now)

    def storage_fails(self, why: str | None, now: float) -> None:
        """The store cannot write at the moment; with None it can again.

        What needs the disk is refused meanwhile (0x97) where the protocol has a word for it; others are read no more.
        """
        self.state.storage_problem = why
        self.state.tree.stamp += 1  # the short ways do not look
        self._settle(now)

    # -- running out of memory ------------------------------------------------------------------------------------

    def press(self, level: int) -> None:
        """Say how scarce memory is: 0 not at all; from 1 on large messages are refused."""
        self.state.pressure = level
        self.state.tree.stamp += 1  # the short ways do not look

    def relieve(self, octets: int, now: float) -> int:
        """Cut the clients for whom most is kept in memory, until ``octets`` are free; how many were cut."""
        cut = 0
        for connection in sorted(self.state.connections, key=_weight, reverse=True):
            weight = _weight(connection)
            if octets <= 0 or weight < _LIGHT:
                break
            octets -= weight
            cut += 1
            self.state.counters.cut_for_memory += 1
            self.state.cut(connection, ReasonCode.QUOTA_EXCEEDED, "reads too slowly while memory is scarce", now)
        self._settle(now)
        return cut

    def shut_down(self, now: float) -> None:
        """Say 0x8B to everyone and close; sessions are kept and wills are not sent, since the broker is what leaves."""
        for connection in list(self.state.connections):
            self.state.close(connection, ReasonCode.SERVER_SHUTTING_DOWN, "the broker shuts down", now, will=False)
        self._settle(now)

    @property
    def touched(self) -> list[Connection]:
        """Connections to look at; the adapter takes the list by :meth:`take_touched`."""
        return self.state.touched

    def take_touched(self) -> list[Connection]:
        """The connections to look at, each once; the list starts anew."""
        touched, self.state.touched = self.state.touched, []
        for connection in touched:
            connection.touched = False
        return touched

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self.state.events = self.state.events, []
        return events

    @property
    def counters(self) -> Counters:
        return self.state.counters

    def observe_authenticated(self, observer: Callable[[ConnectionFacts], None]) -> None:
        """Have ``observer`` called with the facts of each connection that gets CONNACK with success."""
        self._connecting.on_authenticated = observer

    # -- packets -------------------------------------------------------------------------------------------------

    def handle_publish(self, connection: Connection, packet: Publish, now: float) -> None:
        self._publishing.receive(connection, packet, now)

    def handle_pingreq(self, connection: Connection, packet: Pingreq, now: float) -> None:
        self.state.send(connection, _PINGRESP, now)

    def handle_disconnect(self, connection: Connection, packet: Disconnect, now: float) -> None:
        """The client says goodbye; with 0x04 its will is sent all the same (v5.0 section 3.14.2.1)."""
        session = connection.session
        expiry = packet.properties.get("session_expiry_interval")
        if expiry is not None and session is not None and connection.connect is not None:
            if expiry and not connection.connect.properties.get("session_expiry_interval", 0):
                raise ProtocolError("a Session Expiry Interval after one of 0")  # v5.0 section 3.14.2.2.2
            if session.owner.shared:
                session.expiry = float(min(expiry, self._connecting.longest_session_expiry(connection)))
        if packet.reason_code == ReasonCode.SUCCESS:
            disarm(self.state, connection)  # v5.0 [MQTT-3.14.4-3]
        connection.by_peer = True
        self.state.end(connection, packet.reason_code, "disconnected", now)

    # -- inside --------------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Do what follows from what was done: wills, messages to hand over, bytes that were held."""
        state = self.state
        while state.afterwards or state.released:
            while state.afterwards:
                state.afterwards.popleft()(now)
            released, state.released = state.released, []
            for connection in released:
                self._inbound.go_on(connection, now)

    def _check_introduced(self, connection: Connection, now: float) -> float | None:
        if not connection.is_open or connection.is_connected:
            return None
        if connection.pending is not None:
            return now + 1.0  # the chain thinks; its own time-outs bound that
        self.state.close(connection, ReasonCode.KEEP_ALIVE_TIMEOUT, "no whole CONNECT in time", now)
        return None


def _weight(connection: Connection) -> int:
    """Bytes that are kept in memory for a client."""
    session = connection.session
    kept = 0 if session is None else session.queue_octets + session.waiting_octets + session.inflight_octets
    return connection.outbox_bytes + connection.partial_bytes + kept
