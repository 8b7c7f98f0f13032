"""Messages on disk that nobody will get."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.limits import Limits
from mqttsecure.store.memory import MemoryStore
from tests.support.core import Bench, Client

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 100_000}


class PruningTests(SynchronousTestCase):
    """A reader of ``t`` that is away."""

    def setUp(self) -> None:
        self.bench = self.with_limits(Limits())

    def with_limits(self, limits: Limits) -> Bench:
        self.store = MemoryStore()
        bench = Bench(limits, store=self.store)
        reader = bench.connected("reader", **_KEPT)
        reader.subscribe("t", qos=1)
        reader.lose()
        self.writer = bench.connected("writer", keep_alive=0)
        return bench

    def publish(self, *numbers: int, **properties: int) -> None:
        for number in numbers:
            self.writer.publish("t", b"%d" % number, qos=1, **properties)

    def back(self, bench: Bench | None = None) -> list[bytes]:
        client: Client = (bench or self.bench).connected("reader", **_KEPT)
        got: list[bytes] = []
        while taken := client.acknowledge():
            got += taken
        return got

    def test_expired(self) -> None:
        """They are deleted when their time is over, though nobody comes for them; the others stay."""
        self.publish(*range(5), message_expiry_interval=10)
        self.publish(5, 6)
        self.publish(7, message_expiry_interval=500)
        self.bench.advance(11)
        self.assertEqual(len(self.store.contents.entries), 3)
        self.assertEqual(self.bench.core.counters.messages_expired, 5)
        self.bench.advance(500)
        self.assertEqual((len(self.store.contents.entries), len(self.store.contents.messages)), (2, 2))
        self.assertEqual(self.back(), [b"5", b"6"])
        self.bench.check_nothing_left(self)

    def test_expired_in_memory_first(self) -> None:
        """The same for what its client left in its queue."""
        client = self.bench.connected("reader", receive_maximum=1, **_KEPT)
        self.publish(1, 2, 3, message_expiry_interval=10)
        client.lose()
        self.bench.advance(12)
        self.assertEqual(len(self.store.contents.entries), 1, "the one whose delivery has begun")

    def test_expired_after_a_restart(self) -> None:
        """What came back from disk is looked through some time after the start."""
        self.publish(1, 2, message_expiry_interval=10)
        self.publish(3)
        bench = self.bench.crashed(seconds=20)
        self.assertEqual(bench.store and len(bench.store.contents.entries), 3)
        bench.advance(61)
        self.assertEqual(bench.store and len(bench.store.contents.entries), 1)
        self.assertEqual(self.back(bench), [b"3"])
        bench.check_nothing_left(self)

    def test_back_before(self) -> None:
        """A client that comes first finds what is still good, and nothing is looked for any more."""
        self.publish(1, message_expiry_interval=10)
        self.publish(2)
        self.assertEqual(self.back(), [b"1", b"2"])
        self.bench.check_nothing_left(self)

    def test_gone_before(self) -> None:
        """A session that ends takes the search along."""
        self.publish(1, message_expiry_interval=10_000_000)
        self.bench.check_nothing_left(self)

    def test_oldest_of_a_full_queue(self) -> None:
        """As many as are too many, oldest first."""
        self.bench = self.with_limits(Limits(maximum_queued_messages=5, queue_overflow="oldest"))
        self.publish(*range(30))
        got = self.back()
        self.assertEqual(got, [b"%d" % number for number in range(30 - len(got), 30)])
        self.assertIn(len(got), (4, 5, 6))
        self.bench.check_nothing_left(self)
