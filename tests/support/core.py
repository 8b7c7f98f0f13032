# -*- test-case-name: tests.core -*-
"""A broker core in memory: a chain that says what the test wants, clients that speak bytes, time that is a number.

The bench does what the transport does: it takes the outboxes, tells the core when they are empty, and closes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, TypeVar
from unittest import TestCase

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.python.failure import Failure

from mqttsecure.core.broker import BrokerCore
from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import (
    ConnectionFacts,
    Decision,
    Effect,
    Obligation,
    Peer,
    Pending,
    Principal,
    Request,
    Stage,
    Verdict,
)
from mqttsecure.core.events import Denied, Event
from mqttsecure.core.limits import Limits
from mqttsecure.core.state import Load
from mqttsecure.store.memory import MemoryStore
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)

__all__ = ["WALL", "Bench", "Chain", "Client", "CountingMeter", "Waiting"]

WALL = 1_000_000.0
"""What the time of day is ahead of the monotonic one."""

P = TypeVar("P", bound=Packet)

Rule = Callable[[Request], "Verdict | Pending | None"]


@dataclass
class Waiting:
    """A question that the test has left open."""

    request: Request
    pending: Pending
    cancelled: bool = False


class Chain:
    """Permits everything, but for what a test has said otherwise; the last rule said comes first."""

    def __init__(self) -> None:
        self.version = 1
        self.requests: list[Request] = []
        self.rules: list[Rule] = []
        self.waiting: list[Waiting] = []
        self.listener: Callable[[Pending, Verdict], None] | None = None

    def __call__(self, request: Request) -> Verdict | Pending:
        self.requests.append(request)
        for rule in reversed(self.rules):
            answer = rule(request)
            if answer is not None:
                return answer
        return self.permit(request)

    def permit(self, request: Request, *obligations: Obligation, **more: Any) -> Verdict:
        """A PERMIT; the principal is the user name's, or anonymous."""
        if request.stage is Stage.AUTHENTICATE and "principal" not in more:
            name = request.connection.username
            more["principal"] = Principal("users", name) if name else Principal("anonymous", "anonymous", shared=False)
        more.setdefault("policy_version", self.version)
        return Verdict(Effect.PERMIT, request.stage, obligations=obligations, **more)

    def refuse(self, request: Request, *obligations: Obligation, **more: Any) -> Verdict:
        """A DENY."""
        more.setdefault("policy_version", self.version)
        more.setdefault("decision_id", "d1")
        return Verdict(Effect.DENY, request.stage, obligations=obligations, **more)

    def on(self, stage: Stage, answer: Rule, *, topic: str | None = None, client: str | None = None) -> Rule:
        """Answer requests of ``stage``, about ``topic`` and ``client`` where given, by ``answer``; returns the rule."""

        def rule(request: Request) -> Verdict | Pending | None:
            if request.stage is not stage or (topic is not None and request.topic != topic):
                return None
            if client is not None and request.connection.client_id != client:
                return None
            return answer(request)

        self.rules.append(rule)
        return rule

    def deny(
        self, stage: Stage, *obligations: Obligation, topic: str | None = None, client: str | None = None, **more: Any
    ) -> Rule:
        """Deny ``stage``."""
        return self.on(stage, lambda request: self.refuse(request, *obligations, **more), topic=topic, client=client)

    def oblige(
        self, stage: Stage, *obligations: Obligation, topic: str | None = None, client: str | None = None, **more: Any
    ) -> Rule:
        """Permit ``stage`` with obligations or whatever else a verdict may carry."""
        return self.on(stage, lambda request: self.permit(request, *obligations, **more), topic=topic, client=client)

    def delay(self, stage: Stage, *, topic: str | None = None, client: str | None = None) -> Rule:
        """Leave questions of ``stage`` open, in ``waiting``."""
        return self.on(stage, self._leave_open, topic=topic, client=client)

    def _leave_open(self, request: Request) -> Pending:
        waiting = Waiting(request, Pending(lambda: setattr(waiting, "cancelled", True)))
        waiting.pending.listener = self.listener
        self.waiting.append(waiting)
        return waiting.pending

    def forget(self, rule: Rule) -> None:
        """Take a rule back."""
        self.rules.remove(rule)

    def answer(
        self, permit: bool = True, index: int = 0, obligations: tuple[Obligation, ...] = (), **more: Any
    ) -> None:
        """Settle an open question, the oldest one unless told."""
        waiting = self.waiting.pop(index)
        say = self.permit if permit else self.refuse
        verdict = say(waiting.request, *obligations, **more)
        waiting.pending.resolve(verdict)

    def asked(self, stage: Stage, topic: str | None = None) -> list[Request]:
        """What was asked at ``stage`` so far."""
        return [each for each in self.requests if each.stage is stage and (topic is None or each.topic == topic)]


@dataclass
class CountingMeter:
    """A meter that takes so many messages, then says ``then``."""

    budget: int = 1_000_000
    then: Decision = field(default_factory=lambda: Decision.deny(reason_code=ReasonCode.MESSAGE_RATE_TOO_HIGH))
    batchable: bool = False
    messages: int = 0
    octets: int = 0

    def spend(self, messages: int, octets: int, now: float) -> Decision | None:
        self.messages += messages
        self.octets += octets
        return self.then if self.messages > self.budget else None


class Bench:
    """One core, its chain and its clients."""

    store_type: type[MemoryStore] | None = None
    """What keeps what is durable; None for nothing, as with `durability = "memory"`."""

    def __init__(
        self,
        limits: Limits | None = None,
        acknowledge_denied: tuple[str, ...] = (),
        *,
        store: MemoryStore | None = None,
        now: float = 100.0,
    ) -> None:
        self.now = now
        self.chain = Chain()
        self.chain.listener = self._verdict_came
        counter = itertools.count(1)
        self.core = BrokerCore(
            limits or Limits(),
            self.chain,
            lambda size: next(counter).to_bytes(size, "big"),
            acknowledge_denied,
            ("lab",),
        )
        self.events: list[Event] = []
        self.clients: list[Client] = []
        self._numbers = itertools.count(1)
        self._faults: list[Failure] = []
        self.store = store or (self.store_type and self.store_type())
        if self.store is not None:
            self._restore(self.store)

    # -- the disk ------------------------------------------------------------------------------------------------

    def _restore(self, store: MemoryStore) -> None:
        """Have the core know what is on disk; the time of day is 1,000,000 seconds ahead of ``now``."""
        self.core.keep()
        self.core.state.wall_offset = WALL
        self.core.state.journal.start_after(*store.highest())
        for session in store.load_sessions(0, 1_000_000):
            self.core.restore_session(session, self.now)
        for retained in store.load_retained(("", ""), 1_000_000):
            self.core.restore_retained(retained, self.now)

    def crashed(self, written: int = 0, seconds: float = 0.0) -> Bench:
        """What is there after the process was killed and another one started, ``seconds`` later.

        Of the batches that the disk had not confirmed the first ``written`` are on it.
        """
        if self.store is None:
            raise AssertionError("nothing is kept")
        return Bench(self.core.state.limits, store=self.store.crash(written), now=self.now + seconds)

    def disk(self, count: int | None = None) -> None:
        """Let the disk write the first ``count`` batches that were given to it, or all."""
        if self.store is not None:
            self.store.finish(count)
            self.flush()

    def _keep(self) -> bool:
        """What the adapter does at the end of a turn; whether it changed anything."""
        store, core = self.store, self.core
        if store is None:
            return False
        journal = core.state.journal
        loads = core.take_loads()
        if not journal.is_empty():
            number = journal.changes
            batch = core.take_batch(self.now, self.now + WALL)
            written = store.commit(batch).addCallback(lambda _: core.committed(number, self.now))
            written.addErrback(self._faults.append)
            changed = True
        elif journal.changes > journal.committed and not store.pending:
            core.committed(journal.changes, self.now)
            changed = True
        else:
            changed = bool(loads)
        for load in loads:
            self._read(store, load)
        return changed

    def _read(self, store: MemoryStore, load: Load) -> None:
        entries = store.load_entries(load.key, load.after, load.at_least or 3, 1 << 20)
        incoming: Deferred[Sequence[int]] = store.load_incoming(load.key) if load.at_least else succeed(())
        both: Deferred[Any] = gatherResults([entries, incoming])
        both.addCallback(lambda read: self.core.loaded(load, read[0], read[1], self.now))
        both.addErrback(self._faults.append)

    # -- clients -------------------------------------------------------------------------------------------------

    def client(self, version: int = 5, *, listener: str = "lab") -> Client:
        """A network connection that has sent nothing yet."""
        facts = ConnectionFacts(
            next(self._numbers), listener, Peer(ip_address("192.0.2.1"), 40_000), accepted_at=self.now
        )
        client = Client(self, self.core.connection_made(facts), version)
        client.connection.adapter = client
        self.clients.append(client)
        return client

    def connected(self, client_id: str, version: int = 5, **connect: Any) -> Client:
        """A client that is connected, its CONNACK taken out; see :meth:`Client.connect`."""
        client = self.client(version, listener=connect.pop("listener", "lab"))
        connack = client.connect(client_id, **connect)
        if connack is None or connack.reason_code:
            raise AssertionError(f"{client_id} was not let in: {connack}")
        return client

    # -- time and turns ------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline as the adapter does."""
        end = self.now + seconds
        while (due := self.core.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.expire(self.now)
            self.flush()
        self.now = end
        self.core.expire(self.now)
        self.flush()

    def change_policy(self) -> None:
        """Have the chain replaced by one of a new version."""
        self.chain.version += 1
        self.core.change_policy(self.chain.version)

    def _verdict_came(self, pending: Pending, verdict: Verdict) -> None:
        self.core.verdict(pending, verdict, self.now)
        self.flush()

    def flush(self) -> None:
        """The end of a reactor turn."""
        while self.core.touched or self._keep():
            for connection in self.core.take_touched():
                if connection.adapter is not None:
                    connection.adapter.flush()
        self.events += self.core.take_events()
        for fault in self._faults:
            fault.raiseException()

    def publish(self, topic: str, payload: bytes = b"", *, retain: bool = False) -> None:
        """Publish as the broker."""
        self.core.publish(topic, payload, self.now, retain=retain)
        self.flush()

    # -- looking back --------------------------------------------------------------------------------------------

    @property
    def denied(self) -> list[tuple[Stage, str]]:
        """Stage and topic of each denial that was reported."""
        return [(event.request.stage, event.request.topic) for event in self.events if isinstance(event, Denied)]

    def end_all(self) -> None:
        """Everyone leaves, and every session expires."""
        for client in self.clients:
            client.lose()
        self.advance(self.core.state.limits.maximum_session_expiry + 1)

    def check_nothing_left(self, test: TestCase) -> None:
        """Assert that nothing is kept once everyone has left and every session has expired."""
        self.end_all()
        state = self.core.state
        test.assertEqual(state.sessions, {})
        test.assertEqual(state.connections, set())
        test.assertEqual((state.queued_octets, state.stored_octets), (0, 0))
        self.disk()
        test.assertEqual((len(state.gated), state.uncommitted, state.loads), (0, [], []))
        test.assertEqual(state.tree.count, 0)
        test.assertTrue(state.tree.is_empty())
        test.assertEqual(len(state.deadlines), 0)
        test.assertEqual((list(state.afterwards), state.released), ([], []))
        test.assertEqual([waiting for waiting in self.chain.waiting if not waiting.pending.done], [])


class Client:
    """One end of a network connection: packets in, packets out.

    ``reads`` False leaves what the core sends in its outbox, as a transport does whose peer does not read.
    """

    def __init__(self, bench: Bench, connection: Connection, version: int) -> None:
        self.bench = bench
        self.connection = connection
        self.version = version
        self.reads = True
        self.closed = False
        self.lost = False
        self.inbox: list[Packet] = []
        self.raw = b""
        self._decoder = Decoder(version, 1 << 24, from_client=False)
        self._next_packet_id = 1
        self._sends = True

    def connect(
        self,
        client_id: str = "",
        *,
        clean: bool = True,
        keep_alive: int = 60,
        user: str | None = None,
        password: bytes | None = None,
        will: Will | None = None,
        bridge: bool = False,
        **properties: Any,
    ) -> Connack | None:
        """Send CONNECT; the CONNACK, if there is one."""
        self.send(self.connect_packet(client_id, clean, keep_alive, user, password, will, bridge, **properties))
        answers = self.take(Connack)
        return answers[0] if answers else None

    def connect_packet(
        self,
        client_id: str = "",
        clean: bool = True,
        keep_alive: int = 60,
        user: str | None = None,
        password: bytes | None = None,
        will: Will | None = None,
        bridge: bool = False,
        **properties: Any,
    ) -> Connect:
        return Connect(
            self.version,
            client_id,
            clean,
            keep_alive,
            user,
            password,
            will,
            dict(properties),
            bridge,
        )

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, *packets: Packet) -> None:
        """Send packets in one segment."""
        self.send_bytes(b"".join(encode_packet(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as one segment."""
        self.bench.core.receive_bytes(self.connection, data, self.bench.now)
        self.bench.flush()

    def drip(self, data: bytes) -> None:
        """Send bytes one at a time."""
        for index in range(len(data)):
            self.send_bytes(data[index : index + 1])

    def packet_id(self) -> int:
        """A Packet Identifier of this client's own."""
        self._next_packet_id += 1
        return self._next_packet_id - 1

    def publish(
        self,
        topic: str,
        payload: bytes = b"",
        *,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        packet_id: int | None = None,
        **properties: Any,
    ) -> int:
        """Send a PUBLISH; its Packet Identifier."""
        if packet_id is None:
            packet_id = self.packet_id() if qos else 0
        self.send(Publish(topic, payload, qos, retain, dup, packet_id, dict(properties)))
        return packet_id

    def subscribe(
        self,
        *topic_filters: str,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        **properties: Any,
    ) -> list[int]:
        """Send a SUBSCRIBE; the codes of its SUBACK, empty where none came."""
        requests = [
            SubscriptionRequest(each, qos, no_local, retain_as_published, retain_handling) for each in topic_filters
        ]
        self.send(Subscribe(self.packet_id(), requests, dict(properties)))
        answers = self.take(Suback)
        return answers[0].reason_codes if answers else []

    def unsubscribe(self, *topic_filters: str) -> None:
        """Send an UNSUBSCRIBE."""
        self.send(Unsubscribe(self.packet_id(), list(topic_filters)))

    def disconnect(self, reason_code: int = 0, **properties: Any) -> None:
        """Send DISCONNECT, then close."""
        self.send(Disconnect(reason_code, dict(properties)))
        self.lose()

    def lose(self) -> None:
        """The network connection breaks."""
        if not self.lost:
            self.lost = True
            self.bench.core.connection_lost(self.connection, self.bench.now)
            self.bench.flush()
            self.connection.adapter = None

    # -- receiving -----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """What the transport does at the end of a turn."""
        connection = self.connection
        if connection.outbox and self.reads:
            self._read()
        if connection.closing:
            self.closed = True
        elif self.reads and not connection.outbox:
            session = connection.session
            if connection.replays is not None or (session is not None and session.queue is not None):
                self.bench.core.drained(connection, self.bench.now)

    def _read(self) -> None:
        connection = self.connection
        data = b"".join(connection.outbox)
        if len(data) + connection.gated_octets != connection.outbox_bytes:
            raise AssertionError(f"outbox_bytes is {connection.outbox_bytes}, {len(data)} are there")
        connection.outbox = []
        connection.outbox_bytes = connection.gated_octets
        connection.full_since = 0.0
        self.raw += data
        self._decoder.feed(data)
        while (packet := self._decoder.next_packet()) is not None:
            self.inbox.append(packet)

    def read_again(self) -> None:
        """Read what was left, and on from there."""
        self.reads = True
        self.bench.core.state.touch(self.connection)
        self.bench.flush()

    def received(self) -> list[Packet]:
        """All packets since the last call."""
        packets, self.inbox = self.inbox, []
        return packets

    def take(self, kind: type[P]) -> list[P]:
        """The packets of one type since the last call; the others stay."""
        taken = [packet for packet in self.inbox if isinstance(packet, kind)]
        self.inbox = [packet for packet in self.inbox if not isinstance(packet, kind)]
        return taken

    def messages(self) -> list[Publish]:
        """The PUBLISH packets since the last call."""
        return self.take(Publish)

    def payloads(self) -> list[bytes]:
        """The payloads of the PUBLISH packets since the last call."""
        return [packet.payload for packet in self.take(Publish)]

    def acknowledge(self) -> list[bytes]:
        """Answer the PUBLISH packets since the last call as far as they go now; their payloads."""
        messages = self.messages()
        for packet in messages:
            if packet.qos == 1:
                self.send(Puback(packet.packet_id))
            elif packet.qos == 2:
                self.send(Pubrec(packet.packet_id))
        return [packet.payload for packet in messages]

    def complete(self, packet_id: int) -> None:
        """Release a QoS 2 message that this client has sent."""
        self.send(Pubrel(packet_id))

    @property
    def goodbye(self) -> int | None:
        """The Reason Code of the DISCONNECT that came, if one came."""
        packets = self.take(Disconnect)
        return packets[0].reason_code if packets else None
