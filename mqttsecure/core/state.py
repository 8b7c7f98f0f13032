# -*- test-case-name: tests.core.test_state -*-
"""What the parts of the core share: limits, counters, the sessions and trees, and the way out to connections."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mqttsecure.core.connection import Connection, State
from mqttsecure.core.decisions import BROKER_PRINCIPAL, Decide, Pending, Request, Verdict, Writer
from mqttsecure.core.events import Disconnected, Dropped, Event
from mqttsecure.core.journal import Journal, Record
from mqttsecure.core.limits import Limits
from mqttsecure.core.model import Envelope
from mqttsecure.core.reasons import refusal_code
from mqttsecure.core.records import StoredEntry
from mqttsecure.core.retained import RetainedMessages
from mqttsecure.core.subscriptions import SubscriptionTree
from mqttsecure.core.timers import Deadlines
from mqttsecure.core.unheard import UnheardTopics
from mqttsecure.core.usage import SessionTable
from mqttsecure.wire.constants import PacketType, ReasonCode
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Disconnect, Packet

if TYPE_CHECKING:
    from mqttsecure.core.restoring import Restoring
    from mqttsecure.core.session import Session

__all__ = ["BrokerState", "Counters", "Load"]

_JOURNAL_OCTETS = 16 * 1024 * 1024
"""Payloads that may wait for the next batch before publishers are read no more: some tens of milliseconds of a disk."""


class Load:
    """Entries of one session that the adapter is to read, from the one after ``after`` on.

    ``then(entries, incoming, now)`` gets them. With ``at_least`` they are those that a client comes back to, all that
    were sent to it included, and ``incoming`` are the Packet Identifiers of QoS 2 messages that it has open; without,
    there are none. ``expected`` is how many entries ought to be there, with ``expected_octets``: those that the record
    counts behind what is in memory.
    """

    __slots__ = ("after", "at_least", "expected", "expected_octets", "key", "then")

    def __init__(
        self,
        key: int,
        after: int,
        then: Callable[[Sequence[StoredEntry], Sequence[int], float], None],
        *,
        at_least: int = 0,
        expected: Record | None = None,
    ) -> None:
        self.key = key
        self.after = after
        self.then = then
        self.at_least = at_least
        self.expected = 0 if expected is None else expected.behind
        self.expected_octets = 0 if expected is None else expected.behind_octets


class Counters:
    """Plain integers, read by whatever exports them."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "connections_accepted",
        "connections_refused",
        "cut_for_memory",
        "deliveries_denied",
        "internal_errors",
        "messages_dropped",
        "messages_expired",
        "messages_received",
        "messages_sent",
        "publishes_denied",
        "sessions_taken_over",
        "subscriptions_denied",
        "throttled",
    )

    def __init__(self) -> None:
        self.bytes_received = 0
        self.bytes_sent = 0
        self.connections_accepted = 0
        self.connections_refused = 0
        self.cut_for_memory = 0
        self.deliveries_denied = 0
        self.internal_errors = 0
        self.messages_dropped = 0
        self.messages_expired = 0
        self.messages_received = 0
        self.messages_sent = 0
        self.publishes_denied = 0
        self.sessions_taken_over = 0
        self.subscriptions_denied = 0
        self.throttled = 0


class BrokerState:
    """Shared by the parts of one :class:`~mqttsecure.core.broker.BrokerCore`.

    ``touched`` lists the connections the adapter must look at, each once; ``released`` those whose held bytes may be
    read on. ``afterwards`` holds what follows from the end of connections and sessions (wills to send, messages to
    hand over): done when what is under way is done, so that one end that leads to the next nests nothing.
    ``queued_octets`` counts what waits in all sessions, be it for the client or for a verdict.
    ``will_octets`` is what all wills take of their budget. ``pressure`` says that memory is running out: from 1 on
    nothing large is taken. ``wall_offset`` is how far the time of day is ahead of the monotonic one.
    ``stored_octets`` counts what sessions have on disk alone. ``gated`` are, in their order, the packets of all
    connections that wait for the disk, ``uncommitted`` what else is done once a batch is there, by its number.
    ``loads`` are what the adapter is to read from the store. ``storage_problem`` says why nothing can be written at the
    moment, None for no problem.
    ``acknowledge_denied`` names the listeners that acknowledge a denied 3.x PUBLISH, ``reason_strings`` those that tell
    5.0 clients the id of the decision that refused them. ``random_bytes(n)`` must be
    unpredictable. ``sessions`` holds each under its :attr:`~mqttsecure.core.session.Session.key`.
    """

    def __init__(self, limits: Limits, decide: Decide, random_bytes: Callable[[int], bytes]) -> None:
        self.limits = limits
        self.decide = decide
        self.random_bytes = random_bytes
        self.policy_version = 1
        self.counters = Counters()
        self.touched: list[Connection] = []
        self.events: list[Event] = []
        self.released: list[Connection] = []
        self.deadlines = Deadlines()
        self.tree = SubscriptionTree()
        self.unheard = UnheardTopics()
        self.retained = RetainedMessages(limits.maximum_retained_messages, limits.maximum_retained_bytes)
        self.sessions = SessionTable()
        self.connections: set[Connection] = set()
        self.queued_octets = 0
        self.stored_octets = 0
        self.journal = Journal()
        self.gated: deque[tuple[int, Connection, object]] = deque()
        self.uncommitted: list[tuple[int, Callable[[float], None]]] = []
        self.loads: list[Load] = []
        self.storage_problem: str | None = None
        self.will_octets = 0
        self.pressure = 0
        self.wall_offset = 0.0
        self.restoring: Restoring
        self.afterwards: deque[Callable[[float], None]] = deque()
        self.outbox_limit = limits.outbox_bytes
        self.inflight_limit = limits.maximum_inflight_bytes
        self.acknowledge_denied: frozenset[str] = frozenset()
        self.reason_strings: frozenset[str] = frozenset()
        self.detach: Callable[[Connection, float, bool], None] = _not_wired
        self.forget_will: Callable[[Connection], object] = lambda connection: None
        self.broker_envelope = Envelope(Writer(BROKER_PRINCIPAL), self.policy_version)

    def change_limits(self, limits: Limits) -> None:
        """Replace the limits."""
        self.limits = limits
        self.outbox_limit = limits.outbox_bytes
        self.inflight_limit = limits.maximum_inflight_bytes
        self.retained.maximum_messages = limits.maximum_retained_messages
        self.retained.maximum_bytes = limits.maximum_retained_bytes

    def ask(
        self,
        request: Request,
        then: Callable[[Verdict, float], None],
        hold: Callable[[Pending | None], None],
        now: float,
        decide: Decide | None = None,
    ) -> None:
        """Ask the chain and go on with ``then(verdict, now)``, at once or later.

        ``hold`` is told the :class:`Pending` to cancel when whoever asked is gone, and None when it is over. A verdict
        of an older policy version is thrown away and the question asked again.
        """
        answer = (decide or self.decide)(request)
        if not isinstance(answer, Pending):
            then(answer, now)
            return

        def resume(verdict: Verdict, now: float) -> None:
            hold(None)
            if verdict.policy_version != self.policy_version:
                request.now = now
                self.ask(request, then, hold, now)
            else:
                then(verdict, now)

        answer.resume = resume
        hold(answer)

    def hold(self, connection: Connection, pending: Pending | None) -> None:
        """Stop or go on reading from ``connection`` while the chain thinks."""
        connection.pending = pending
        if pending is None:
            self.released.append(connection)
        else:
            connection.reading = False
            self.touch(connection)

    def touch(self, connection: Connection) -> None:
        """Have the adapter look at ``connection`` at the end of this turn."""
        if not connection.touched:
            connection.touched = True
            self.touched.append(connection)

    def send(self, connection: Connection, data: bytes, now: float) -> None:
        """Add a whole packet to the outbox.

        A peer that asks and never reads (PINGREQ without end, acks that pile up) is cut at the budget.
        """
        if connection.state is State.CLOSED:
            return  # nothing follows a DISCONNECT
        connection.outbox.append(data)
        connection.outbox_bytes += len(data)
        if not connection.touched:
            connection.touched = True
            self.touched.append(connection)
        if connection.outbox_bytes > 2 * self.outbox_limit:
            # Twice: deliveries stop at the limit itself, so that acknowledgements have room of their own.
            self.cut(connection, ReasonCode.QUOTA_EXCEEDED, "does not read what it is sent", now)

    def send_packet(self, connection: Connection, packet: Packet, now: float) -> bool:
        """Encode and :meth:`send`; a packet above the peer's Maximum Packet Size is trimmed, then left out.

        Returns:
            Whether it was sent.
        """
        data = self._encode(connection, packet)
        if data is None:
            return False
        self.send(connection, data, now)
        return True

    def acknowledge(
        self,
        connection: Connection,
        packet: Packet,
        touched: bool,
        now: float,
        then: Callable[[float], None] | None = None,
    ) -> None:
        """Send an acknowledgement, in the order of all of them, and not before what it promises is on disk.

        Args:
            connection: whose client is told.
            packet: what it is told.
            touched: whether anything was done since the last batch that is kept on disk.
            now: the time.
            then: what is done once it was sent.
        """
        data = self._encode(connection, packet)
        if data is None:
            if then is not None:
                then(now)
        elif touched or connection.gated is not None:
            self.gate(connection, data, touched, now, then)
        else:
            self.send(connection, data, now)
            if then is not None:
                then(now)

    def gate(
        self,
        connection: Connection,
        data: bytes,
        touched: bool,
        now: float,
        then: Callable[[float], None] | None = None,
    ) -> None:
        """Have a packet wait for what has changed so far to be on disk, or only behind those that wait already.

        A client that sends on without waiting for its acknowledgements is read no more once it has sent as much as any
        may have open, or while the disk is behind.
        """
        if connection.state is State.CLOSED:
            return
        gated = connection.gated
        if gated is None:
            if self.journal.committed >= self.journal.changes:
                self.send(connection, data, now)
                if then is not None:
                    then(now)
                return
            gated = connection.gated = deque()
        number = self.journal.changes if touched or not gated else gated[-1][0]
        self.gated.append((number, connection, gated))
        gated.append((number, data, then))
        connection.gated_octets += len(data)
        connection.outbox_bytes += len(data)
        if connection.reading and (
            len(gated) > self.limits.receive_maximum
            or self.journal.octets > _JOURNAL_OCTETS
            or self.storage_problem is not None
        ):
            connection.reading = False
            self.touch(connection)

    def committed(self, number: int, now: float) -> None:
        """All changes up to ``number`` are on disk, or were undone: send what waited for them."""
        self.journal.committed = number
        waiting = self.gated
        while waiting and waiting[0][0] <= number:
            _, connection, gated = waiting.popleft()
            if connection.gated is gated:  # else it has ended, or ended and begun anew
                self._open_gate(connection, now)
        due = bisect_right(self.uncommitted, number, key=_number)
        actions, self.uncommitted = self.uncommitted[:due], self.uncommitted[due:]
        for _, action in actions:
            action(now)

    def when_committed(self, number: int, action: Callable[[float], None], now: float) -> None:
        """Call ``action(now)`` once all changes up to ``number`` are on disk."""
        if number <= self.journal.committed:
            action(now)
        else:
            insort(self.uncommitted, (number, action), key=_number)

    def _open_gate(self, connection: Connection, now: float) -> None:
        """Send the first packet that waits on a connection."""
        gated = connection.gated
        if not gated:
            return
        _, data, then = gated.popleft()
        connection.gated_octets -= len(data)
        connection.outbox_bytes -= len(data)
        if not gated:
            connection.gated = None
        self.send(connection, data, now)
        if then is not None:
            then(now)
        if connection.gated is None and not connection.reading and connection.is_open:
            self._read_on(connection)

    def _read_on(self, connection: Connection) -> None:
        if connection.pending is None and not connection.paused_until:
            connection.reading = True
            self.touch(connection)

    def _encode(self, connection: Connection, packet: Packet) -> bytes | None:
        data = encode_packet(packet, connection.facts.protocol_version, shortest=True)
        if len(data) > connection.peer_maximum_packet_size:
            # v5.0 [MQTT-3.1.2-24], [MQTT-3.2.2-19..20] and the like: Reason String and User Property go first.
            properties = getattr(packet, "properties", None)
            if properties:
                properties.pop("reason_string", None)
                properties.pop("user_property", None)
                data = encode_packet(packet, connection.facts.protocol_version, shortest=True)
            if len(data) > connection.peer_maximum_packet_size:
                return None
        return data

    def drop(self, session: Session, topic: str, why: str) -> None:
        """A message for a client is not kept. All are counted, and the first is told until its queue has moved."""
        self.counters.messages_dropped += 1
        if not session.drop_told:
            session.drop_told = True
            self.events.append(Dropped(session.client_id, topic, why))

    def overflow(self, connection: Connection, messages: int, now: float) -> None:
        """QoS 0 messages for a client whose outbox is full are lost; one that takes nothing for long is cut.

        Told once, not for each message, until the client has caught up.
        """
        self.counters.messages_dropped += messages
        if not connection.full_since:
            connection.full_since = now or 0.001  # 0 is for "not full"
            why = "reads too slowly, QoS 0 messages are lost until it has caught up"
            self.events.append(Dropped(connection.facts.client_id, "", why))
        elif now - connection.full_since > self.limits.slow_reader_patience:
            self.cut(connection, ReasonCode.QUOTA_EXCEEDED, "took nothing of what it was sent", now)

    def close(self, connection: Connection, reason_code: int, text: str, now: float, *, will: bool = True) -> None:
        """End a Network Connection from our side: DISCONNECT with the reason where there is a way to say it (5.0)."""
        if connection.state is State.CLOSED:
            return
        if connection.five and connection.is_connected:
            self.send_packet(connection, Disconnect(refusal_code(PacketType.DISCONNECT, reason_code)), now)
        self.end(connection, reason_code, text, now, will=will)

    def cut(self, connection: Connection, reason_code: int, text: str, now: float) -> None:
        """End a connection whose peer does not read: what waits for it is dropped, the reason alone is kept."""
        if connection.state is State.CLOSED:
            return
        connection.outbox.clear()
        connection.outbox_bytes = connection.gated_octets
        self.close(connection, reason_code, text, now)

    def lost(self, connection: Connection, now: float) -> None:
        """The Network Connection is gone."""
        if connection.state is not State.CLOSED:
            connection.by_peer = True
            self.end(connection, 0, "connection lost", now)

    def end(self, connection: Connection, reason_code: int, text: str, now: float, *, will: bool = True) -> None:
        """End a Network Connection without a word, and let its session go on without it."""
        introduced = connection.connect is not None or connection.packets_received > 0
        connection.state = State.CLOSED
        self.detach(connection, now, will)
        if connection.will is not None:
            self.forget_will(connection)
        connection.closing = True
        connection.close_reason = reason_code
        connection.close_text = text
        connection.partial = None
        connection.partial_bytes = 0
        connection.routes_q0.clear()
        connection.routes_q1.clear()
        connection.routes.clear()
        if connection.pending is not None:
            connection.pending.cancel()
            connection.pending = None
        connection.cancel_deadlines()
        self.connections.discard(connection)
        if connection.gated is not None:
            # What was not told was not promised: the client asks again, or sends again.
            connection.gated = None
            connection.outbox_bytes -= connection.gated_octets
            connection.gated_octets = 0
        self.touch(connection)
        if introduced or reason_code:
            self.events.append(
                Disconnected(connection.facts, reason_code, text, connection.by_peer, connection.repeated)
            )


def _number(entry: tuple[int, Callable[[float], None]]) -> int:
    return entry[0]


def _not_wired(connection: Connection, now: float, will: bool) -> None:
    raise RuntimeError("BrokerCore sets detach")
