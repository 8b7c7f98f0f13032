# -*- test-case-name: tests.core.test_broker -*-
"""The broker as a whole: what the adapter sees, and what is left when all is over."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Effect, Pending, Stage, Throttle, Verdict
from mqttsecure.core.limits import Limits
from mqttsecure.wire.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel, Will
from tests.support.core import Bench, Client, CountingMeter

_NAMES = ("a", "b", "c")
_TOPICS = ("t", "u", "t/1")
_FILTERS = ("t", "#", "+/1", "$share/g/#", "$share/g/t", "$share/h/t/#")


class AdapterTests(SynchronousTestCase):
    """What the adapter relies on."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_touched_once(self) -> None:
        """A connection that was touched many times is listed once, until it is taken."""
        reader, writer = self.bench.connected("reader"), self.bench.connected("writer")
        reader.subscribe("t")
        for _ in range(3):
            self.bench.core.receive_bytes(writer.connection, b"\x30\x04\x00\x01t\x00", self.bench.now)
        self.assertEqual(self.bench.core.touched, [reader.connection])
        self.assertEqual(self.bench.core.take_touched(), [reader.connection])
        self.assertEqual(self.bench.core.touched, [])

    def test_closed_connections_are_deaf(self) -> None:
        """Bytes, losses and drains that come after the end change nothing."""
        client = self.bench.connected("c")
        client.disconnect()
        events = len(self.bench.events)
        self.bench.core.receive_bytes(client.connection, b"\xc0\x00", self.bench.now)
        self.bench.core.connection_lost(client.connection, self.bench.now)
        self.bench.core.drained(client.connection, self.bench.now)
        self.bench.flush()
        self.assertEqual((client.raw[-2:] == b"\xd0\x00", len(self.bench.events)), (False, events))

    def test_deadlines(self) -> None:
        """There is a next deadline while something lives, none after."""
        self.assertIsNone(self.bench.core.next_deadline())
        client = self.bench.client()
        self.assertEqual(self.bench.core.next_deadline(), self.bench.now + 10)
        client.connect("c", keep_alive=20)
        self.assertEqual(self.bench.core.next_deadline(), self.bench.now + 30)
        client.disconnect()
        self.assertIsNone(self.bench.core.next_deadline())

    def test_verdict_that_nobody_waits_for(self) -> None:
        """A verdict without an asker is ignored."""
        self.bench.core.verdict(Pending(), Verdict(Effect.PERMIT, Stage.PUBLISH), self.bench.now)

    def test_observed(self) -> None:
        """Whoever observes is told of each client that is let in, once CONNACK is on its way."""
        seen: list[str] = []
        self.bench.core.observe_authenticated(lambda facts: seen.append(facts.client_id))
        self.bench.connected("c")
        self.bench.chain.deny(Stage.AUTHENTICATE)
        self.bench.client().connect("d")
        self.assertEqual(seen, ["c"])

    def test_counters(self) -> None:
        """What came, went and was refused is counted."""
        reader, writer = self.bench.connected("reader"), self.bench.connected("writer")
        reader.subscribe("t", qos=1)
        for qos in (0, 0, 0, 1, 2):
            writer.publish("t", b"x", qos=qos)
        counters = self.bench.core.counters
        self.assertEqual((counters.messages_received, counters.messages_sent), (5, 5))
        self.assertEqual(counters.connections_accepted, 2)
        self.assertGreater(counters.bytes_received, 50)


class BrokerMachine(RuleBasedStateMachine):
    """Clients that come, go, read, write, wait and misbehave in any order."""

    @initialize(inflight=st.integers(1, 3), late=st.booleans())
    def begin(self, inflight: int, late: bool) -> None:
        self.bench = Bench(
            Limits(
                maximum_inflight=inflight,
                maximum_queued_messages=6,
                maximum_queued_bytes=4000,
                maximum_queued_bytes_total=8000,
                maximum_retained_messages=3,
                outbox_bytes=2000,
                maximum_session_expiry=500,
            )
        )
        self.online: dict[str, Client] = {}
        self.late = late
        chain = self.bench.chain
        chain.on(Stage.DELIVER, self._delivery)
        chain.oblige(
            Stage.PUBLISH,
            topic="u",
            meters=(CountingMeter(3, Decision.abstain(obligations=(Throttle(1),)), batchable=True),),
        )

    def _delivery(self, request):
        if request.payload == b"forbidden":
            return self.bench.chain.refuse(request, residual=self._delivery)
        if self.late and request.topic == "t":
            return self.bench.chain._leave_open(request)
        return self.bench.chain.permit(request, residual=self._delivery)

    @rule(
        name=st.sampled_from(_NAMES),
        version=st.sampled_from([4, 5]),
        clean=st.booleans(),
        expiry=st.sampled_from([0, 10, 1000]),
        will=st.booleans(),
        delay=st.sampled_from([0, 5]),
        reads=st.booleans(),
    )
    def connect(self, name: str, version: int, clean: bool, expiry: int, will: bool, delay: int, reads: bool) -> None:
        properties = {"session_expiry_interval": expiry, "receive_maximum": 2} if version == 5 else {}
        words = Will("t", b"gone", 1, True, {"will_delay_interval": delay} if version == 5 else {}) if will else None
        client = self.bench.client(version)
        self.online[name] = client
        client.connect(name, user=name, clean=clean, will=words, keep_alive=30, **properties)
        client.reads = reads

    def _client(self, name: str) -> Client | None:
        client = self.online.get(name)
        return client if client is not None and not client.closed else None

    @rule(name=st.sampled_from(_NAMES), gentle=st.booleans(), expiry=st.sampled_from([None, 0, 20]))
    def leave(self, name: str, gentle: bool, expiry: int | None) -> None:
        client = self._client(name)
        if client is not None:
            if gentle:
                client.disconnect(
                    **({} if expiry is None or client.version < 5 else {"session_expiry_interval": expiry})
                )
            client.lose()

    @rule(name=st.sampled_from(_NAMES), topic_filter=st.sampled_from(_FILTERS), qos=st.integers(0, 2))
    def subscribe(self, name: str, topic_filter: str, qos: int) -> None:
        client = self._client(name)
        if client is not None:
            client.subscribe(topic_filter, qos=qos)

    @rule(name=st.sampled_from(_NAMES), topic_filter=st.sampled_from(_FILTERS))
    def unsubscribe(self, name: str, topic_filter: str) -> None:
        client = self._client(name)
        if client is not None:
            client.unsubscribe(topic_filter)

    @rule(
        name=st.sampled_from(_NAMES),
        topic=st.sampled_from(_TOPICS),
        qos=st.integers(0, 2),
        retain=st.booleans(),
        size=st.sampled_from([0, 1, 100, 1200]),
        count=st.integers(1, 4),
        forbidden=st.booleans(),
    )
    def publish(self, name: str, topic: str, qos: int, retain: bool, size: int, count: int, forbidden: bool) -> None:
        client = self._client(name)
        if client is not None:
            payload = b"forbidden" if forbidden else b"x" * size
            client.send(
                *(
                    Publish(topic, payload, qos, retain, packet_id=client.packet_id() if qos else 0)
                    for _ in range(count)
                )
            )

    @rule(name=st.sampled_from(_NAMES))
    def answer_packets(self, name: str) -> None:
        client = self._client(name)
        if client is not None and client.reads:
            for packet in client.received():
                if isinstance(packet, Publish) and packet.qos == 1:
                    client.send(Puback(packet.packet_id))
                elif isinstance(packet, Publish) and packet.qos == 2:
                    client.send(Pubrec(packet.packet_id))
                elif isinstance(packet, Pubrel):
                    client.send(Pubcomp(packet.packet_id))
                elif isinstance(packet, Pubrec) and packet.reason_code < 0x80:
                    client.send(Pubrel(packet.packet_id))

    @rule(name=st.sampled_from(_NAMES))
    def read(self, name: str) -> None:
        client = self._client(name)
        if client is not None:
            client.read_again()

    @rule(name=st.sampled_from(_NAMES), data=st.sampled_from([b"\x00", b"\xc0\x00", b"\x30\x05\x00\x01t", b"\xf0\x00"]))
    def send_anything(self, name: str, data: bytes) -> None:
        client = self._client(name)
        if client is not None:
            client.send_bytes(data)

    @rule(permit=st.booleans(), last=st.booleans())
    def settle(self, permit: bool, last: bool) -> None:
        waiting = self.bench.chain.waiting
        waiting[:] = [each for each in waiting if not each.pending.done]
        if waiting:
            self.bench.chain.answer(permit, -1 if last else 0, policy_version=self.bench.chain.version)

    @precondition(lambda self: self.bench.chain.version < 4)
    @rule()
    def new_policies(self) -> None:
        self.bench.change_policy()

    @rule(seconds=st.sampled_from([0.1, 3, 12, 50]))
    def wait(self, seconds: float) -> None:
        self.bench.advance(seconds)

    @invariant()
    def budgets_hold(self) -> None:
        state = self.bench.core.state
        queued = sum(session.queue_octets + session.waiting_octets for session in state.sessions.values())
        heads = sum(session.head[0].size for session in state.sessions.values() if session.head is not None)
        assert state.queued_octets == queued + heads, (state.queued_octets, queued, heads)
        assert state.tree.count == sum(len(session.subscriptions) for session in state.sessions.values())
        for session in state.sessions.values():
            connection = session.connection
            if connection is not None:
                assert connection.session is session and connection.is_open
                assert 0 <= connection.send_quota <= connection.send_quota_maximum
                assert connection.outbox_bytes == sum(map(len, connection.outbox))
                assert (
                    session.queue is None
                    or session.waiting is not None
                    or (connection.send_quota == 0 or connection.outbox_bytes > 0 or session.unsent is not None)
                ), "messages wait for nothing"
            assert not session.ended

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.late = False
            self.bench.check_nothing_left(SynchronousTestCase())


class AnythingTests(SynchronousTestCase):
    """In whatever order things happen."""

    def test_interleavings(self) -> None:
        """Budgets hold at every step, nothing waits for nothing, and nothing is left in the end."""
        run_state_machine_as_test(
            BrokerMachine,
            settings=settings(
                max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
