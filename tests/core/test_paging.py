"""Sessions whose client is away are on disk, and come back a page at a time. The bench reads three entries at once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Stage
from mqttsecure.core.limits import Limits
from mqttsecure.store.memory import MemoryStore
from mqttsecure.wire.packets import Connack, Puback, Publish, Pubrec, Pubrel
from tests.support.core import Bench, Client

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 1000}


class PagingTests(SynchronousTestCase):
    """A durable reader of ``t`` that comes and goes."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(maximum_inflight=4), store=MemoryStore())
        self.reader = self.bench.connected("reader", **_KEPT)
        self.reader.subscribe("t", qos=2)
        self.writer = self.bench.connected("writer")

    def back(self, **connect: object) -> Client:
        self.reader = self.bench.connected("reader", **{**_KEPT, **connect})
        return self.reader

    def publish(self, *numbers: int, qos: int = 1) -> None:
        for number in numbers:
            self.writer.publish("t", b"%d" % number, qos=qos)

    def all_of_it(self) -> list[int]:
        """What the reader gets, acknowledging as it comes."""
        got: list[int] = []
        while payloads := self.reader.acknowledge():
            got += map(int, payloads)
        return got

    def test_nothing_in_memory(self) -> None:
        """Of a client that is away neither queue nor inflight messages stay in memory."""
        self.publish(1, 2)
        self.reader.lose()
        self.publish(3, 4)
        session = self.bench.core.state.sessions["reader"]
        self.assertEqual((session.queue, session.inflight, session.queue_octets), (None, {}, 0))
        record = session.record
        self.assertTrue(record is not None and record.is_out)
        self.assertEqual(record and record.behind, 4)
        self.assertGreater(self.bench.core.state.stored_octets, 800)
        self.back()
        self.assertEqual(self.all_of_it(), [1, 2, 3, 4])
        self.bench.check_nothing_left(self)

    def test_in_order_while_more_comes(self) -> None:
        """What comes while pages are read stands behind them."""
        self.reader.lose()
        self.publish(*range(10))
        self.back(receive_maximum=2)
        got = []
        for number in range(10, 20):
            self.publish(number)
            got += [int(payload) for payload in self.reader.acknowledge()]
        got += self.all_of_it()
        self.assertEqual(got, list(range(20)))
        self.bench.check_nothing_left(self)

    def test_leaving_in_the_middle(self) -> None:
        """A client that leaves after some pages gets the rest later, and what it had not acknowledged again."""
        self.reader.lose()
        self.publish(*range(10))
        self.back(receive_maximum=2)
        first = [int(payload) for payload in self.reader.acknowledge()]
        self.reader.lose()
        self.back()
        again = self.reader.messages()
        self.assertEqual([packet.dup for packet in again][:2], [True, True])
        self.reader.inbox.extend(again)
        self.assertEqual(first + self.all_of_it(), list(range(10)))
        self.bench.check_nothing_left(self)

    def test_packet_identifiers(self) -> None:
        """What was sent keeps its Packet Identifier over being away; PUBREL goes in the order of PUBREC."""
        self.publish(*range(6), qos=2)
        sent = {packet.packet_id: packet.payload for packet in self.reader.messages()}
        released = [list(sent)[3], list(sent)[1]]
        for packet_id in released:
            self.reader.send(Pubrec(packet_id))
        self.reader.lose()
        self.back()
        got = self.reader.received()
        publishes = {each.packet_id: each.payload for each in got if isinstance(each, Publish)}
        self.assertEqual(publishes, {key: value for key, value in sent.items() if key not in released})
        self.assertEqual([each.packet_id for each in got if isinstance(each, Pubrel)], released)

    def test_open_messages_of_its_own(self) -> None:
        """A QoS 2 message that it has not released is not taken a second time when it is back."""
        other = self.bench.connected("other")
        other.subscribe("o", qos=1)
        self.reader.publish("o", b"x", qos=2, packet_id=9)
        self.reader.lose()
        self.back()
        self.reader.publish("o", b"x", qos=2, packet_id=9, dup=True)
        self.assertEqual(other.payloads(), [b"x"])

    def test_gone_before_it_is_read(self) -> None:
        """A client that leaves while its session is read costs nothing, and the next one gets all."""
        store = MemoryStore(at_once=False)
        bench = self.bench = Bench(store=store)
        self.reader = bench.client()
        self.reader.connect("reader", **_KEPT)
        bench.disk()
        self.reader.subscribe("t", qos=1)
        bench.disk()
        self.reader.lose()
        bench.disk()
        self.writer = bench.connected("writer")
        self.publish(1, 2)
        bench.disk()
        client = bench.client()
        client.connect("reader", **_KEPT)
        client.lose()
        bench.disk()
        session = bench.core.state.sessions["reader"]
        self.assertIsNone(session.claimant)
        self.reader = bench.client()
        answer = self.reader.connect("reader", **_KEPT)  # this store catches up when it is read
        self.assertTrue(answer is not None and answer.session_present)
        self.assertEqual(self.reader.payloads(), [b"1", b"2"])

    def test_two_at_once(self) -> None:
        """Of two connections for one session the later one gets it, also while the first still waits for the disk."""
        bench = Bench(store=MemoryStore(at_once=False))
        first, second = bench.client(), bench.client()
        first.connect("c", **_KEPT)
        second.connect("c", **_KEPT)
        bench.disk()
        self.assertTrue(first.closed)
        self.assertEqual(first.take(Connack), [])
        self.assertEqual([each.session_present for each in second.take(Connack)], [True])
        self.assertIs(bench.core.state.sessions["c"].connection, second.connection)

    def test_shared_subscription_of_a_session_that_ends(self) -> None:
        """What it had on disk goes to another member, page by page."""
        bench = Bench(store=MemoryStore())
        away = bench.connected("away", **_KEPT)
        away.subscribe("$share/g/t", qos=1)
        away.lose()
        self.writer = bench.connected("writer")
        self.publish(*range(8))
        here = self.reader = bench.connected("here", keep_alive=0)
        here.subscribe("$share/g/t", qos=1)
        self.assertEqual(self.reader.messages(), [])
        bench.advance(1001)
        self.assertEqual(self.all_of_it(), list(range(8)))
        bench.check_nothing_left(self)
        self.assertEqual(bench.store and bench.store.contents.entries, {})

    def test_judged_when_it_is_back(self) -> None:
        """A message that waited on disk is judged like any other, and one that may not be read is gone from there."""
        self.reader.lose()
        self.publish(1, 2)
        self.bench.change_policy()
        self.bench.chain.deny(Stage.DELIVER)
        self.back()
        self.assertEqual(self.reader.messages(), [])
        self.assertEqual(self.bench.store and self.bench.store.contents.entries, {})
        self.bench.check_nothing_left(self)

    def test_kept_while_a_verdict_is_awaited(self) -> None:
        """A message whose delivery is still being decided is on disk before its publisher is told."""
        self.bench.chain.delay(Stage.DELIVER)
        packet_id = self.writer.publish("t", b"7", qos=1)
        self.assertEqual([each.packet_id for each in self.writer.take(Puback)], [packet_id])
        bench = self.bench.crashed()
        self.reader = bench.connected("reader", **_KEPT)
        self.assertEqual(self.reader.payloads(), [b"7"])
        self.bench.chain.answer(permit=False)
        self.assertEqual(self.bench.store and self.bench.store.contents.entries, {})
