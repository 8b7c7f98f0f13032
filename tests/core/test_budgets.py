"""What a client can make the broker keep is bounded in bytes, and who spends it is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.events import Dropped
from mqttsecure.core.limits import Limits
from mqttsecure.store.memory import MemoryStore
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Puback, Will
from tests.support.core import Bench, Client

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 1000}
_QUOTA = ReasonCode.QUOTA_EXCEEDED


class InflightTests(SynchronousTestCase):
    """A client that takes everything and acknowledges nothing."""

    def test_bytes(self) -> None:
        """It gets no more than its budget; the rest waits in its queue, and comes as it acknowledges."""
        bench = Bench(Limits(maximum_inflight_bytes=2000))
        reader = bench.connected("reader", **_KEPT)
        reader.subscribe("t", qos=2)
        writer = bench.connected("writer")
        for number in range(8):
            writer.publish("t", bytes((number,)) * 500, qos=1 + number % 2)
        got = reader.messages()
        self.assertEqual(len(got), 5)
        session = bench.core.state.sessions["reader"]
        self.assertEqual(session.inflight_octets, 2500)
        payloads = [packet.payload[0] for packet in got]
        reader.inbox.extend(got)
        while taken := reader.acknowledge():
            payloads += [payload[0] for payload in taken]
        self.assertEqual(sorted(set(payloads)), list(range(8)))
        self.assertEqual(session.inflight_octets, 0)
        bench.check_nothing_left(self)

    def test_counted_again_after_a_return(self) -> None:
        """What is sent again counts again."""
        for store in (None, MemoryStore()):
            bench = Bench(Limits(maximum_inflight_bytes=2000), store=store)
            reader = bench.connected("reader", **_KEPT)
            reader.subscribe("t", qos=1)
            bench.connected("writer").publish("t", b"x" * 500, qos=1)
            reader.lose()
            bench.connected("reader", **_KEPT)
            self.assertEqual(bench.core.state.sessions["reader"].inflight_octets, 500)
            bench.check_nothing_left(self)


class OverflowTests(SynchronousTestCase):
    """A queue that is full."""

    def queue(self, overflow: str, *, store: MemoryStore | None) -> list[bytes]:
        """Twenty messages for a client that is away and may have ten; what it gets when it is back."""
        bench = Bench(Limits(maximum_queued_messages=10, queue_overflow=overflow), store=store)  # type: ignore[arg-type]
        reader = bench.connected("reader", **_KEPT)
        reader.subscribe("t", qos=1)
        reader.lose()
        writer = bench.connected("writer")
        for number in range(20):
            writer.publish("t", b"%d" % number, qos=1)
        self.assertEqual(len(writer.take(Puback)), 20)
        dropped = [event for event in bench.events if isinstance(event, Dropped)]
        reader = bench.connected("reader", **_KEPT)
        got: list[bytes] = []
        while taken := reader.acknowledge():
            got += taken
        self.assertEqual(bench.core.counters.messages_dropped + len(got), 20)
        self.assertEqual(len(dropped), 1, "it is told once")
        bench.check_nothing_left(self)
        if store is not None:
            self.assertEqual((store.contents.entries, store.contents.messages), ({}, {}))
        return got

    def test_newest(self) -> None:
        """As it comes, what is there stays."""
        for store in (None, MemoryStore()):
            self.assertEqual(self.queue("newest", store=store), [b"%d" % number for number in range(10)])

    def test_oldest(self) -> None:
        """Where that is asked for, the latest ones are kept."""
        self.assertEqual(self.queue("oldest", store=None), [b"%d" % number for number in range(10, 20)])

    def test_oldest_on_disk(self) -> None:
        """The same for messages that are on disk alone, but for those that came while it was read."""
        got = self.queue("oldest", store=MemoryStore())
        self.assertEqual(got, [b"%d" % number for number in range(20 - len(got), 20)])
        self.assertLessEqual(len(got), 12)
        self.assertGreaterEqual(len(got), 9)

    def test_connected_and_slow(self) -> None:
        """A client that is there keeps its connection then, and gets the latest."""
        bench = Bench(Limits(maximum_queued_messages=10, queue_overflow="oldest"))
        reader = bench.connected("reader", receive_maximum=1)
        reader.subscribe("t", qos=1)
        writer = bench.connected("writer")
        for number in range(20):
            writer.publish("t", b"%d" % number, qos=1)
        self.assertTrue(reader.connection.is_open)
        got: list[bytes] = []
        while taken := reader.acknowledge():
            got += taken
        self.assertEqual(got, [b"0", *(b"%d" % number for number in range(10, 20))])


class WillTests(SynchronousTestCase):
    """All wills together."""

    def test_no_room(self) -> None:
        """One too many is refused with its CONNECT; when one is gone there is room again."""
        bench = Bench(Limits(maximum_will_bytes_total=4000))
        will = Will("w", b"x" * 500, 0, False, {})
        first = bench.connected("a", will=will)
        second = bench.connected("b", will=will)
        answer = bench.client().connect("c", will=will)
        self.assertEqual(answer and answer.reason_code, _QUOTA)
        first.disconnect()
        bench.connected("c", will=will)
        second.lose()
        bench.connected("d", will=will)
        bench.end_all()
        self.assertEqual(bench.core.state.will_octets, 0)

    def test_waiting(self) -> None:
        """A will that waits for its delay counts on, also after a crash, until it is sent or its client is back."""
        will = Will("w", b"x" * 500, 0, False, {"will_delay_interval": 100})
        bench = Bench(store=MemoryStore())
        bench.connected("a", will=will, **_KEPT).lose()
        bench.connected("b", will=will, **_KEPT)
        before = bench.core.state.will_octets
        self.assertGreater(before, 1000)
        bench = bench.crashed()
        self.assertEqual(bench.core.state.will_octets, before)
        bench.connected("a", **_KEPT)
        self.assertEqual(bench.core.state.will_octets, before / 2)
        bench.advance(101)
        self.assertEqual(bench.core.state.will_octets, 0)


class SubscriptionTests(SynchronousTestCase):
    """All subscriptions together."""

    def test_no_room(self) -> None:
        """Beyond the budget 0x97, until something was unsubscribed; the same filter again is no new one."""
        bench = Bench(Limits(maximum_subscription_bytes_total=1500))
        client = bench.connected("c")
        self.assertEqual(client.subscribe("a", "b", "c", "d"), [0, 0, 0, _QUOTA])
        self.assertEqual(client.subscribe("a"), [0])
        client.unsubscribe("b")
        self.assertEqual(client.subscribe("d"), [0])
        client.lose()
        self.assertEqual(bench.core.state.tree.octets, 0)


class PressureTests(SynchronousTestCase):
    """Memory is running out."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.reader = self.bench.connected("reader")
        self.reader.subscribe("t", qos=1)

    def publish(self, writer: Client, size: int, qos: int = 1) -> list[int]:
        writer.publish("t", b"x" * size, qos=qos)
        return [each.reason_code for each in writer.take(Puback)]

    def test_large_messages(self) -> None:
        """They are refused while small ones go on, and taken again afterwards; the short ways look as well."""
        writer = self.bench.connected("writer")
        self.publish(writer, 20_000), self.publish(writer, 20_000)
        self.bench.core.press(1)
        self.assertEqual(self.publish(writer, 20_000), [_QUOTA])
        self.assertEqual(self.publish(writer, 100), [0])
        self.assertEqual(self.publish(writer, 20_000), [_QUOTA])
        self.reader.received()
        self.publish(writer, 20_000, qos=0)
        self.assertEqual(self.reader.messages(), [])
        self.bench.core.press(0)
        self.assertEqual(self.publish(writer, 20_000), [0])

    def test_old_clients(self) -> None:
        """One of 3.1.1 has no word for it: its connection ends, and nothing was acknowledged."""
        writer = self.bench.connected("writer", 4)
        self.bench.core.press(1)
        self.assertEqual(self.publish(writer, 20_000), [])
        self.assertFalse(writer.connection.is_open)

    def test_the_heaviest_are_cut(self) -> None:
        """Those for whom most is kept go first, no more of them than it takes; and nobody for whom little is kept."""
        writer = self.bench.connected("writer")
        slow = [self.bench.connected(name) for name in ("one", "two")]
        for number, client in enumerate(slow):
            client.subscribe(f"s{number}", qos=1)
            client.reads = False
            for _ in range(5 + number):
                writer.publish(f"s{number}", b"x" * 100_000, qos=1)
        self.assertEqual(self.bench.core.relieve(300_000, self.bench.now), 1)
        self.bench.flush()
        self.assertEqual([client.connection.is_open for client in slow], [True, False])
        self.assertEqual(self.bench.core.relieve(10_000_000, self.bench.now), 1)
        self.assertTrue(writer.connection.is_open and self.reader.connection.is_open)
        self.assertEqual(self.bench.core.counters.cut_for_memory, 2)
