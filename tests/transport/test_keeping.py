"""When a store is given what is durable, and when clients hear of it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.records import Batch
from mqttsecure.store.memory import MemoryStore
from mqttsecure.transport.keeping import Keeping
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Connack, Puback, Publish, Suback
from tests.support.core import Bench, Client

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 1000}


class Log(MemoryStore):
    """A slow store that remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(at_once=False)
        self.batches: list[Batch] = []

    def commit(self, batch: Batch) -> Deferred[None]:
        self.batches.append(batch)
        return super().commit(batch)


class KeptBench(Bench):
    """A bench whose turns end as the driver's do."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.log = Log()
        self.keeping = Keeping(self.core, self.log, self.clock, lambda: 1_000_000.0 + self.clock.seconds(), self.flush)
        self.restored = self.keeping.restore()

    def flush(self) -> None:
        super().flush()
        while self.keeping.is_due:
            self.keeping.turn_ended()
            super().flush()

    def written(self) -> None:
        """The disk has done what it was asked."""
        while self.log.pending:
            self.log.finish()
            self.flush()


class KeepingTests(SynchronousTestCase):
    """A writer that keeps nothing, and a reader whose session is durable."""

    def setUp(self) -> None:
        self.bench = KeptBench()
        self.reader = self.join("reader")
        self.reader.subscribe("t", qos=1)
        self.bench.written()
        self.reader.received()
        self.writer = self.bench.connected("writer")
        self.bench.log.batches.clear()

    def join(self, name: str) -> Client:
        """A client with a durable session, CONNACK taken."""
        client = self.bench.client()
        self.assertIsNone(client.connect(name, **_KEPT))
        self.bench.written()
        self.assertEqual([each.reason_code for each in client.take(Connack)], [0])
        return client

    def away(self) -> None:
        """The reader leaves, and that is on disk."""
        self.reader.lose()
        self.bench.written()
        self.bench.log.batches.clear()

    def acknowledged(self) -> list[int]:
        return [each.packet_id for each in self.writer.take(Puback)]

    def test_written_first(self) -> None:
        """For a reader that is away the message is written at once, and acknowledged when it is on disk."""
        self.away()
        packet_id = self.writer.publish("t", b"x", qos=1)
        self.assertEqual((len(self.bench.log.batches), self.acknowledged()), (1, []))
        self.bench.written()
        self.assertEqual(self.acknowledged(), [packet_id])

    def test_one_batch_under_way(self) -> None:
        """What comes while the disk writes is the next batch, as one."""
        self.away()
        for number in range(5):
            self.writer.publish("t", b"%d" % number, qos=1)
        self.assertEqual(len(self.bench.log.batches), 1)
        self.bench.written()
        self.assertEqual([len(batch.entries) for batch in self.bench.log.batches], [1, 4])
        self.assertEqual(len(self.acknowledged()), 5)

    def test_nothing_to_write(self) -> None:
        """A message that its reader acknowledges in time is never written, and the writer is told at once."""
        packet_id = self.writer.publish("t", b"x", qos=1)
        self.assertEqual((self.bench.log.batches, self.acknowledged()), ([], []))
        self.reader.acknowledge()
        self.assertEqual((self.bench.log.batches, self.acknowledged()), ([], [packet_id]))
        self.bench.clock.advance(1)
        self.assertEqual(self.bench.log.batches, [])

    def test_some_readers_are_slow(self) -> None:
        """What is acknowledged in time waits for nobody behind it; the rest is written a moment later."""
        other = self.join("other")
        other.subscribe("o", qos=1)
        self.bench.written()
        self.bench.log.batches.clear()
        first = self.writer.publish("t", b"x", qos=1)
        second = self.writer.publish("o", b"y", qos=1)
        self.reader.acknowledge()
        self.assertEqual(self.acknowledged(), [first])
        self.bench.clock.pump([0.003, 0.003])
        self.assertEqual([len(batch.entries) for batch in self.bench.log.batches], [1])
        self.bench.written()
        self.assertEqual(self.acknowledged(), [second])

    def test_order(self) -> None:
        """Acknowledgements leave in the order of the messages, also where a later one could have left earlier."""
        self.away()
        first = self.writer.publish("t", b"x", qos=1)
        second = self.writer.publish("nobody", b"y", qos=1)
        self.assertEqual(self.acknowledged(), [])
        self.bench.written()
        self.assertEqual(self.acknowledged(), [first, second])

    def test_what_touches_nothing_durable_waits_for_nothing(self) -> None:
        """A message for nobody, and one for a session that ends with its connection."""
        plain = self.bench.connected("plain")
        plain.subscribe("p", qos=1)
        ids = [self.writer.publish(topic, b"x", qos=1) for topic in ("nobody", "p")]
        self.assertEqual(self.acknowledged(), ids)
        self.assertEqual(self.bench.log.batches, [])

    def test_readers_that_are_too_slow_are_not_waited_for(self) -> None:
        """After some waits for nothing the disk is asked at once, and after many batches they get another chance."""
        waited = 0
        for number in range(100):
            self.writer.publish("t", b"%d" % number, qos=1)
            if not self.bench.log.pending:
                waited += 1
                self.bench.clock.advance(0.003)
            self.bench.written()
            self.reader.acknowledge()
            self.bench.written()
        self.assertGreater(waited, 3)
        self.assertLess(waited, 10)

    def test_reads_what_was_written_before(self) -> None:
        """A client that returns gets what is still on its way to the disk."""
        self.away()
        self.writer.publish("t", b"1", qos=1)
        self.writer.publish("t", b"2", qos=1)
        reader = self.bench.client()
        answer = reader.connect("reader", **_KEPT)  # this store is quick when it is read
        self.assertTrue(answer is not None and answer.session_present)
        self.assertEqual(reader.payloads(), [b"1", b"2"])

    def test_trouble(self) -> None:
        """While nothing can be written, 5.0 hears 0x97 and what was taken waits; then all goes on."""
        self.away()
        taken = self.writer.publish("t", b"1", qos=1)
        self.bench.log.on_problem("the disk is full")
        self.writer.publish("t", b"2", qos=1)
        free = self.writer.publish("nobody", b"3", qos=1)
        self.assertEqual(self.writer.take(Puback), [])
        answers = self.reader_comes()
        self.assertEqual(answers, [ReasonCode.QUOTA_EXCEEDED])
        self.bench.log.on_recovered()
        self.bench.written()
        codes = [(each.packet_id, each.reason_code) for each in self.writer.take(Puback)]
        self.assertEqual(codes[0], (taken, 0))
        self.assertEqual(codes[1][1], ReasonCode.QUOTA_EXCEEDED)
        self.assertEqual(codes[2], (free, ReasonCode.NO_MATCHING_SUBSCRIBERS))
        self.assertEqual(self.reader_comes(), [0])
        self.flushLoggedErrors()

    def reader_comes(self) -> list[int]:
        client = self.bench.client()
        answer = client.connect("reader", **_KEPT)
        self.bench.written()
        return [each.reason_code for each in (answer, *client.take(Connack)) if each is not None]

    def test_subscriptions_during_trouble(self) -> None:
        """A durable subscription that cannot be kept is refused."""
        self.bench.log.on_problem("the disk is full")
        self.reader.subscribe("u")
        self.bench.written()
        self.assertEqual(self.reader.inbox, [])
        self.reader.lose()

    def test_end(self) -> None:
        """What is not written yet is, before the store is let go of."""
        self.writer.publish("t", b"x", qos=1)
        done = self.bench.keeping.close()
        self.successResultOf(done)
        self.assertEqual([len(batch.entries) for batch in self.bench.log.batches], [1])
        self.assertEqual(len(self.bench.log.contents.entries), 1)

    def test_restored(self) -> None:
        """How much came back is told."""
        self.writer.send(Publish("r", b"x", 1, True, False, 1))
        self.bench.written()
        self.assertEqual(self.bench.restored, (0, 0))
        bench = Bench(store=self.bench.log.crash())
        self.assertEqual((list(bench.core.state.sessions), bench.core.state.retained.count), (["reader"], 1))

    def test_suback_before_what_is_retained(self) -> None:
        """SUBACK waits for the disk, and retained messages for SUBACK."""
        self.writer.send(Publish("r", b"x", 1, True, False, 9))
        self.bench.written()
        self.reader.subscribe("r", qos=1)
        self.assertEqual(self.reader.inbox, [])
        self.bench.written()
        self.assertEqual([type(each) for each in self.reader.received()], [Suback, Publish])
