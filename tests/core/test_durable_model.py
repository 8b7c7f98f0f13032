"""The core and its store against clients that remember: whatever happens in whatever order, promises are kept.

A random history of connecting, publishing, acknowledging in part, subscribing, leaving, taking over, expiring, slow
disks, slow policies and crashes; after each step and at the end everything that MQTT and an acknowledgement promise is
looked for: see :mod:`tests.support.peers`. ``MQTTSECURE_EXAMPLES=2000`` runs so many other histories each time.
"""

from __future__ import annotations

import os
from typing import Any
from unittest import TestCase

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

from mqttsecure.core import queues
from mqttsecure.core.decisions import Purpose, Request, Stage
from mqttsecure.core.limits import Limits
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Disconnect
from tests.support.core import Bench, Client, Rule
from tests.support.late_store import LateStore, faults
from tests.support.peers import EXPIRY, FILTERS, SHARED, TOPICS, Message, Peer, require

_PEERS = st.integers(0, 4)
_MESSAGES = st.lists(
    st.tuples(
        _PEERS,
        st.sampled_from(TOPICS),
        st.sampled_from((0, 1, 1, 2, 2)),
        st.sampled_from((1, 1, 2, 6)),
        st.sampled_from((False, False, True)),
    ),
    min_size=1,
    max_size=6,
)
"""Index of the client, Topic Name, QoS, how many, whether they expire."""


class DurableModel(RuleBasedStateMachine):
    """One broker over its lives, and its clients."""

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(maximum_session_expiry=int(EXPIRY), maximum_inflight=5, maximum_keep_alive=60_000)
        self.store = LateStore()
        self.bench = Bench(limits, store=self.store)
        self.messages: dict[int, Message] = {}
        self.peers = [
            Peer("d0", "u0", 5, True, 3, self.messages),
            Peer("d1", "u1", 4, True, 5, self.messages),
            Peer("d2", "u2", 5, True, 2, self.messages),
            Peer("d3", "u3", 5, True, 5, self.messages),
            Peer("c0", "u4", 5, False, 4, self.messages),
        ]
        for peer in self.peers:
            peer.receivers = self._receivers
            peer.on_retained = self._retained
            peer.on_doubt = self._forget_shared
        self.denials: dict[tuple[str, str], Rule] = {}
        self.delays: list[Rule] = []
        self.is_disk_slow = False
        self.shared_out: set[Message] = set()
        """Messages that some member of the shared subscription must get."""
        self.values: list[int] = [0]
        """Numbers of what was retained under "r" one after another since the last that was acknowledged, 0 for none."""

    # -- what is expected ----------------------------------------------------------------------------------------

    def _receivers(self, message: Message) -> dict[Peer, int]:
        """Who must get ``message`` once it is acknowledged."""
        is_shared_out = message.topic == "s/1" and message.qos > 0 and any(peer.shares for peer in self.peers)
        message.is_shared_out = is_shared_out and (message.owed is None or message.is_shared_out)
        if not message.qos:
            return {}
        return {
            peer: peer.era
            for peer in self.peers
            if peer.durable and peer.certain_qos(message.topic) and (peer.name, message.topic) not in self.denials
        }

    def _forget_shared(self) -> None:
        """A member of the shared subscription may be gone, and with it what was sent to it."""
        self.shared_out.clear()
        for message in self.messages.values():
            message.is_shared_out = False

    def _retained(self, message: Message) -> None:
        """A message was sent that is to be retained: what the core has now is one more value."""
        kept = self._value(self.bench)
        if kept != self.values[-1]:
            self.values.append(kept)
        message.value = kept

    @staticmethod
    def _value(bench: Bench) -> int:
        kept = bench.core.state.retained.get("r")
        return int(kept.payload.split()[0]) if kept is not None else 0

    def _settle(self) -> None:
        """Have everybody hear what has come, a quick disk write, and the prompt ones answer, until all is quiet."""
        while True:
            while any([peer.hear(self.bench.now) for peer in self.peers]):
                pass
            prompt = [peer for peer in self.peers if peer.is_prompt and peer.is_here and peer.answers]
            for peer in prompt:
                peer.answer(100)
            if not prompt and (self.is_disk_slow or not self.store.waiting):
                break
            if not self.is_disk_slow:
                self.bench.disk()
        for message in self.messages.values():
            if message.is_acknowledged and message.is_shared_out:
                message.is_shared_out = False
                self.shared_out.add(message)
            if message.retain and message.is_acknowledged and message.value in self.values:
                del self.values[: self.values.index(message.value)]
            elif message.is_acknowledged and message.owed is not None:
                message.owed = None

    def _here(self, index: int) -> Peer | None:
        """One of those that are connected."""
        here = [peer for peer in self.peers if peer.is_here]
        return here[index % len(here)] if here else None

    # -- clients -------------------------------------------------------------------------------------------------

    @initialize(
        filters=st.lists(st.tuples(_PEERS, st.sampled_from(tuple(FILTERS)), st.sampled_from((1, 2))), max_size=8)
    )
    def begin(self, filters: list[tuple[int, str, int]]) -> None:
        """All are connected, and some have subscribed."""
        for index in range(len(self.peers)):
            self.connect(index, False)
        for index, topic_filter, qos in filters:
            self.subscribe(index, topic_filter, qos)

    @rule(index=_PEERS, clean=st.sampled_from((False, False, False, True)))
    def connect(self, index: int, clean: bool) -> None:
        """Connect, resume, take over, start clean."""
        peer = self.peers[index]
        peer.connect(self.bench.client(peer.version), self.bench.now, clean)
        self._settle()

    @rule(index=_PEERS, orderly=st.booleans())
    def leave(self, index: int, orderly: bool) -> None:
        peer = self.peers[index]
        client = peer.client
        if client is not None:
            if orderly and peer.is_here:
                client.send(Disconnect())
            client.lose()
            peer.lost(self.bench.now)
            self._settle()

    @rule(index=_PEERS)
    def intrude(self, index: int) -> None:
        """Someone else wants the session."""
        peer = self.peers[index]
        if self.bench.now < peer.surely_until:
            client = self.bench.client(5)
            connack = client.connect(peer.name, clean=False, user="somebody", session_expiry_interval=60)
            require(connack is not None, "no answer")
            if connack is not None:
                require(connack.reason_code == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "somebody got in:", connack)
            client.lose()
            self._settle()

    @rule(index=_PEERS, topic_filter=st.sampled_from(tuple(FILTERS)), qos=st.sampled_from((0, 1, 1, 2, 2)))
    def subscribe(self, index: int, topic_filter: str, qos: int) -> None:
        peer = self._here(index)
        if peer is not None and (peer.durable or topic_filter != SHARED):
            peer.subscribe(topic_filter, qos)
            self._settle()

    @rule(index=_PEERS, topic_filter=st.sampled_from(tuple(FILTERS)))
    def unsubscribe(self, index: int, topic_filter: str) -> None:
        peer = self._here(index)
        if peer is not None:
            peer.unsubscribe(topic_filter)
            self._settle()

    @rule(sent=_MESSAGES)
    def publish(self, sent: list[tuple[int, str, int, int, bool]]) -> None:
        for index, topic, qos, count, expires in sent:
            for _ in range(count):
                peer = self._here(index)
                if peer is not None and len(peer.unacknowledged) < 20:
                    message = Message(len(self.messages) + 1, peer, topic, qos, topic == "r")
                    if expires and peer.version == 5 and not message.retain:
                        message.expiry = 100
                        message.expires_at = self.bench.now + 100
                    self.messages[message.number] = message
                    peer.publish(message)
        self._settle()

    @rule(sent=_MESSAGES)
    def publish_more(self, sent: list[tuple[int, str, int, int, bool]]) -> None:
        """The same, so that it is done more often."""
        self.publish(sent)

    @rule(sent=_MESSAGES, written=st.integers(0, 4), back=st.sets(_PEERS))
    def publish_and_crash(self, sent: list[tuple[int, str, int, int, bool]], written: int, back: set[int]) -> None:
        """Messages and acknowledgements are under way when the process is killed."""
        self.is_disk_slow = True
        self.publish(sent)
        self.crash(written, 0, back)

    @rule(index=_PEERS, count=st.sampled_from((1, 1, 3, 100)))
    def acknowledge(self, index: int, count: int) -> None:
        waiting = [peer for peer in self.peers if peer.is_here and peer.answers]
        if waiting:
            waiting[index % len(waiting)].answer(count)
            self._settle()

    @rule(index=_PEERS)
    def dawdle(self, index: int) -> None:
        """A client acknowledges no more by itself, or does so again."""
        peer = self._here(index)
        if peer is not None:
            peer.is_prompt = not peer.is_prompt
            self._settle()

    @rule(index=_PEERS, reads=st.booleans())
    def stop_reading(self, index: int, reads: bool) -> None:
        peer = self._here(index)
        client = None if peer is None else peer.client
        if isinstance(client, Client):
            client.reads = reads
            if reads:
                client.read_again()
            self._settle()

    # -- time, disk, policies ------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1, 1, 60, 60, 300, 1100)))
    def wait(self, seconds: int) -> None:
        self.bench.advance(seconds)
        self._settle()

    @rule()
    def slow_disk(self) -> None:
        """The disk does no more than it is told, or all at once again."""
        self.is_disk_slow = not self.is_disk_slow
        self._settle()

    @precondition(lambda self: self.store.waiting)
    @rule(count=st.sampled_from((1, 1, 2, 3, None)))
    def disk(self, count: int | None) -> None:
        """The disk does the next things it was asked for, or all."""
        self.bench.disk(count)
        self._settle()

    @rule(
        written=st.integers(0, 4),
        seconds=st.sampled_from((0, 0, 0, 1, 500, 1100)),
        back=st.sets(_PEERS),
    )
    def crash(self, written: int, seconds: int, back: set[int]) -> None:
        """The process is killed, and started again; some clients come back at once."""
        self._settle()
        self.bench = self.bench.crashed(written, float(seconds))
        self.store = self.bench.store  # type: ignore[assignment]
        self.delays.clear()
        for place in list(self.denials):
            self.denials[place] = self._deny(*place)
        for peer in self.peers:
            peer.lost(self.bench.now, crash=True)
        kept = self._value(self.bench)
        require(kept in self.values, "retained is", kept, "and may be", self.values)
        self.values = [kept]
        for index in back:
            self.connect(index, False)

    @rule(index=_PEERS)
    def be_slow(self, index: int) -> None:
        """Questions about deliveries to one client, and about writers, stay open."""
        self.delays.append(self.bench.chain.delay(Stage.DELIVER, client=self.peers[index].name))
        if index == 0:
            self.delays.append(self.bench.chain.on(Stage.PUBLISH, self._slow_about_writers))

    def _slow_about_writers(self, request: Request) -> Any:
        if request.purpose is Purpose.RECHECK:
            return self.bench.chain._leave_open(request)
        return None

    @precondition(lambda self: self.bench.chain.waiting)
    @rule(count=st.sampled_from((1, 1, 5)))
    def decide(self, count: int) -> None:
        """Policies answer the oldest questions."""
        for _ in range(count):
            self._forget_cancelled()
            if self.bench.chain.waiting:
                request = self.bench.chain.waiting[0].request
                denied = (request.connection.client_id, request.topic) in self.denials
                self.bench.chain.answer(not (denied and request.stage is Stage.DELIVER))
                self._settle()

    def _forget_cancelled(self) -> None:
        chain = self.bench.chain
        chain.waiting = [each for each in chain.waiting if not each.cancelled]

    @rule()
    def be_quick(self) -> None:
        for each in self.delays:
            self.bench.chain.forget(each)
        self.delays.clear()

    @rule()
    def change_policy(self) -> None:
        self.bench.change_policy()
        self._settle()

    @rule(index=_PEERS, topic=st.sampled_from("ab"))
    def deny(self, index: int, topic: str) -> None:
        """From now on a client may not get a topic; or again it may."""
        place = (self.peers[index].name, topic)
        if place in self.denials:
            self.bench.chain.forget(self.denials.pop(place))
        else:
            self.denials[place] = self._deny(*place)
            self.peers[index].owed -= {each.number for each in self.messages.values() if each.topic == topic}
            for message in self.messages.values():
                if message.owed is not None and message.topic == topic:
                    message.owed.pop(self.peers[index], None)
        self.bench.change_policy()
        self._settle()

    def _deny(self, client: str, topic: str) -> Rule:
        return self.bench.chain.deny(Stage.DELIVER, topic=topic, client=client)

    # -- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def rows_fit(self) -> None:
        require(not faults(self.store.contents), faults(self.store.contents))

    @invariant()
    def budgets_are_right(self) -> None:
        state = self.bench.core.state
        for session in state.sessions.values():
            queued = sum(each[0].size for each in session.queue or ())
            require(queued == session.queue_octets, session.client_id, "counts", session.queue_octets, "of", queued)
            record = session.record
            if record is not None:
                require(record.behind >= 0 and record.behind_octets >= 0, session.client_id, record.behind)
        behind = [each.record for each in state.sessions.values() if each.record is not None]
        stored = sum(each.behind_octets for each in behind)
        require(stored == state.stored_octets, "stored octets are", stored, "not", state.stored_octets)
        waiting = sum(
            each.queue_octets + each.waiting_octets + (each.head[0].size if each.head else 0)
            for each in state.sessions.values()
        )
        require(waiting == state.queued_octets, "queued octets are", waiting, "not", state.queued_octets)

    def teardown(self) -> None:
        """In the end everybody comes back and gets what it is owed; then all leave, and nothing is left."""
        self.be_quick()
        self.is_disk_slow = False
        for peer in self.peers:
            if isinstance(peer.client, Client):
                peer.client.read_again()
            if peer.client is None and peer.durable and self.bench.now < peer.surely_until:
                peer.connect(self.bench.client(peer.version), self.bench.now, False)
        self._come_to_rest()
        for peer in self.peers:
            if peer.is_here:
                missing = {each for each in peer.owed - peer.got if self.messages[each].expires_at > self.bench.now}
                require(not missing, peer.name, "has lost", missing)
        lost = [each.number for each in self.shared_out if not each.is_shared and each.expires_at > self.bench.now]
        if not all(peer.is_here for peer in self.peers if SHARED in peer.subscriptions):
            lost = []  # the session of a member may have expired, with all that was sent to it
        require(not lost, "no member has got", lost)
        self._check_nothing_left()

    def _come_to_rest(self) -> None:
        while True:
            self.bench.disk()
            self._settle()
            self._forget_cancelled()
            if self.bench.chain.waiting:
                self.decide(1)
                continue
            if any(peer.answers and peer.is_here for peer in self.peers):
                for peer in self.peers:
                    peer.answer(100)
                continue
            if not self.store.waiting:
                return

    def _check_nothing_left(self) -> None:
        cleaner = self.bench.client(5)
        cleaner.connect("cleaner", user="cleaner")
        cleaner.publish("r", b"", retain=True)
        self.bench.end_all()
        while self.store.waiting or self.bench.chain.waiting:
            self.bench.disk()
            self._forget_cancelled()
            if self.bench.chain.waiting:
                self.bench.chain.answer()
        self.bench.end_all()
        self.bench.disk()
        contents = self.store.contents
        left = [contents.sessions, contents.subscriptions, contents.messages, contents.entries, contents.incoming]
        require(not any(left), "the store still has", [each for each in left if each])
        self.bench.check_nothing_left(TestCase())


class DurableModelTests(TestCase):
    def test_keeps_every_promise_in_every_order_of_things(self) -> None:
        """Nothing acknowledged is lost, nothing of QoS 2 comes twice, and nothing is left over."""
        asked = os.environ.get("MQTTSECURE_EXAMPLES")
        in_memory, queues._IN_MEMORY = queues._IN_MEMORY, 3  # so that a few messages are too many for memory
        try:
            run_state_machine_as_test(  # type: ignore[no-untyped-call]
                DurableModel,
                settings=settings(
                    max_examples=int(asked or "60"),
                    derandomize=not asked,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            queues._IN_MEMORY = in_memory
