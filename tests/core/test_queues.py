# -*- test-case-name: tests.core.test_queues -*-
"""What a session keeps for a client that is away or slow, and how it is sent when the client is back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.limits import Limits
from mqttsecure.wire.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.support.core import Bench, Client

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 1000}


class ResumingTests(SynchronousTestCase):
    """Back again."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.reader = self.back()
        self.reader.subscribe("#", qos=2)
        self.writer = self.bench.connected("writer")

    def back(self, version: int = 5, **more: object) -> Client:
        self.reader = self.bench.connected("reader", version, **{**_KEPT, **more})
        return self.reader

    def summary(self) -> list[tuple[str, int, bool]]:
        return [
            (
                type(each).__name__ + (each.payload.decode() if isinstance(each, Publish) else ""),
                each.packet_id,
                isinstance(each, Publish) and each.dup,
            )
            for each in self.reader.received()
            if isinstance(each, Publish | Pubrel)
        ]

    def test_in_order(self) -> None:
        """Unacknowledged messages come first, in their order with DUP and their identifiers, then what was queued."""
        for number in range(4):
            self.writer.publish("t", b"%d" % number, qos=1 + number % 2)
        self.reader.received()
        self.reader.send(Puback(1))
        self.reader.lose()
        for number in range(4, 6):
            self.writer.publish("t", b"%d" % number, qos=1)
        self.writer.publish("t", b"lost", qos=0)
        for version in (5, 4, 3):
            self.back(version)
            expected = [("Publish1", 2, True), ("Publish2", 3, True), ("Publish3", 4, True)]
            again = version != 5
            expected += [("Publish4", 5, again), ("Publish5", 6, again)]
            self.assertEqual(self.summary(), expected)
            self.reader.lose()

    def test_pubrel_in_the_order_of_pubrec(self) -> None:
        """Of QoS 2 messages that were received the release is sent again, in the order of the PUBREC packets."""
        for number in range(3):
            self.writer.publish("t", b"%d" % number, qos=2)
        self.reader.received()
        self.reader.send(Pubrec(3), Pubrec(1))
        self.assertEqual(self.summary(), [("Pubrel", 3, False), ("Pubrel", 1, False)])
        self.reader.lose()
        self.back()
        self.assertEqual(self.summary(), [("Publish1", 2, True), ("Pubrel", 3, False), ("Pubrel", 1, False)])
        self.reader.send(Pubcomp(3), Pubcomp(1), Pubrec(2), Pubcomp(2))
        self.assertEqual(self.bench.core.state.sessions["reader"].inflight, {})

    def test_no_faster_than_the_client_takes(self) -> None:
        """The new connection's Receive Maximum holds for what is sent again as well."""
        for number in range(5):
            self.writer.publish("t", b"%d" % number, qos=1)
        self.reader.received()
        self.reader.lose()
        self.writer.publish("t", b"5", qos=1)
        self.back(receive_maximum=2)
        got: list[bytes] = []
        while messages := self.reader.messages():
            self.assertLessEqual(len(messages), 2)
            for message in messages:
                got.append(message.payload)
                self.reader.send(Puback(message.packet_id))
        self.assertEqual(got, [b"0", b"1", b"2", b"3", b"4", b"5"])

    def test_expired_but_under_way(self) -> None:
        """A message whose delivery had begun is sent again though its time is over meanwhile."""
        self.writer.publish("t", b"x", qos=2, message_expiry_interval=5)
        self.reader.lose()
        self.bench.advance(10)
        self.back()
        self.assertEqual(self.summary(), [("Publishx", 1, True)])

    def test_too_large_now(self) -> None:
        """A message that was under way and is larger than the new connection takes is forgotten."""
        self.writer.publish("t", b"x" * 200, qos=1)
        self.writer.publish("t", b"y", qos=1)
        self.reader.lose()
        self.back(maximum_packet_size=100)
        self.assertEqual(self.summary(), [("Publishy", 2, True)])
        self.assertEqual(list(self.bench.core.state.sessions["reader"].inflight), [2])

    def test_slow_and_resuming(self) -> None:
        """Sending again stops at a full outbox, and goes on when it has been taken or something is acknowledged."""
        bench = Bench(Limits(outbox_bytes=3000))
        reader = bench.connected("reader", **_KEPT)
        reader.subscribe("t", qos=2)
        writer = bench.connected("writer")
        for number in range(10):
            writer.publish("t", bytes((number,)) * 1000, qos=1)
        reader.received()
        reader.lose()
        for number in range(10, 20):
            writer.publish("t", bytes((number,)) * 1000, qos=1)
        reader = bench.client()
        reader.reads = False
        reader.connect("reader", **_KEPT)
        self.assertLess(reader.connection.outbox_bytes, 5000)
        reader.read_again()
        got: list[bytes] = []
        for _ in range(30):
            got += [payload[:1] for payload in reader.acknowledge()]
            bench.core.drained(reader.connection, bench.now)
            bench.flush()
        self.assertEqual(got, [bytes((number,)) for number in range(20)])
        bench.check_nothing_left(self)

    def test_sent_from_the_queue_when_drained(self) -> None:
        """QoS 1 queued behind a full outbox goes out when the client reads again, in order."""
        bench = Bench(Limits(outbox_bytes=3000))
        reader = bench.connected("reader")
        reader.subscribe("t", qos=1)
        reader.reads = False
        writer = bench.connected("writer")
        for number in range(20):
            writer.publish("t", bytes((number,)) * 1000, qos=1)
        self.assertGreater(bench.core.state.queued_octets, 0)
        reader.read_again()
        self.assertEqual([payload[:1] for payload in reader.payloads()], [bytes((number,)) for number in range(20)])
        self.assertEqual(bench.core.state.queued_octets, 0)
