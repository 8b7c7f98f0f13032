# -*- test-case-name: tests.core.test_replaying -*-
"""Retained messages for new subscriptions."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Stage
from mqttsecure.core.limits import Limits
from mqttsecure.wire.packets import Puback, Publish, Suback, Subscribe, SubscriptionRequest
from tests.support.core import Bench


class ReplayingTests(SynchronousTestCase):
    """What a new subscriber gets."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(outbox_bytes=4000))
        self.writer = self.bench.connected("writer")

    def keep(self, count: int, size: int = 1, qos: int = 1) -> None:
        for number in range(count):
            self.writer.publish(f"t/{number}", b"x" * size, retain=True, qos=qos)
        self.writer.received()

    def test_retain_handling(self) -> None:
        """0: at each SUBSCRIBE; 1: if the subscription is new; 2: never."""
        self.keep(1)
        for handling, expected in ((0, [1, 1]), (1, [1, 0]), (2, [0, 0])):
            reader = self.bench.connected(f"reader{handling}")
            for count in expected:
                reader.subscribe("t/0", retain_handling=handling)
                self.assertEqual(len(reader.messages()), count)

    def test_form(self) -> None:
        """They come after SUBACK, with RETAIN, at the lower QoS, with identifier and remaining expiry."""
        self.writer.publish("t", b"x", qos=2, retain=True, message_expiry_interval=100, content_type="c")
        self.bench.advance(40)
        reader = self.bench.connected("reader")
        reader.send(Subscribe(5, [SubscriptionRequest("t", 1)], {"subscription_identifier": [7]}))
        properties = {"content_type": "c", "message_expiry_interval": 60, "subscription_identifier": [7]}
        self.assertEqual(
            reader.received(), [Suback(5, [1]), Publish("t", b"x", 1, True, packet_id=1, properties=properties)]
        )

    def test_no_faster_than_read(self) -> None:
        """A client that does not read does not have them piled up; it gets all when it reads."""
        self.keep(50, 500)
        reader = self.bench.connected("reader")
        reader.reads = False
        reader.subscribe("#")
        self.assertLess(reader.connection.outbox_bytes, 4000)
        reader.read_again()
        self.assertEqual(len(reader.messages()), 50)
        self.assertIsNone(reader.connection.replays)

    def test_no_faster_than_acknowledged(self) -> None:
        """Nor are they queued beyond what the client takes unacknowledged."""
        self.keep(20)
        reader = self.bench.connected("reader", receive_maximum=3)
        reader.subscribe("#", qos=1)
        total = 0
        session = self.bench.core.state.sessions["reader"]
        while messages := reader.messages():
            self.assertLessEqual(len(session.queue or ()), 1)
            total += len(messages)
            for message in messages:
                reader.send(Puback(message.packet_id))
        self.assertEqual(total, 20)

    def test_part_by_part(self) -> None:
        """Very many are judged in turns, so that the broker can do other things between."""
        self.keep(1200)
        self.bench.chain.deny(Stage.DELIVER)
        reader = self.bench.connected("reader")
        reader.subscribe("#", "t/+")
        self.assertLessEqual(len(self.bench.chain.asked(Stage.DELIVER)), 600)
        self.bench.advance(0.1)
        self.assertEqual(self.bench.core.counters.deliveries_denied, 2400)
        self.assertIsNone(reader.connection.replays)
        reader.subscribe("#")
        reader.disconnect()
        self.bench.check_nothing_left(self)

    def test_unsubscribed_meanwhile(self) -> None:
        """Who unsubscribes before all are sent gets no more of them."""
        self.keep(50, 500)
        reader = self.bench.connected("reader")
        reader.reads = False
        reader.subscribe("#")
        reader.unsubscribe("#")
        reader.read_again()
        self.assertLess(len(reader.messages()), 10)

    def test_asked_for_twice(self) -> None:
        """A filter asked for again before its turn is sent once; many filters stay a bounded list."""
        self.keep(10, 500)
        reader = self.bench.connected("reader")
        reader.reads = False
        for _ in range(5):
            reader.subscribe("#", "t/+", "t/1")
        self.assertLessEqual(len(reader.connection.replays or ()), 3)

    def test_late_verdicts(self) -> None:
        """Verdicts that come late are waited for one at a time; nothing is lost, nothing piles up."""
        self.keep(30)
        rule = self.bench.chain.delay(Stage.DELIVER)
        reader = self.bench.connected("reader")
        reader.subscribe("#")
        for _ in range(29):
            self.assertEqual(len(self.bench.chain.waiting), 1)
            self.bench.chain.answer()
        self.bench.chain.forget(rule)
        self.bench.chain.answer()
        self.assertEqual(len(reader.messages()), 30)

    def test_gone_meanwhile(self) -> None:
        """A retained message that was cleared before its turn is not sent."""
        self.keep(30, 500)
        reader = self.bench.connected("reader")
        reader.reads = False
        reader.subscribe("#")
        for number in range(30):
            self.writer.publish(f"t/{number}", b"", retain=True)
        reader.read_again()
        self.assertLess(len([each for each in reader.messages() if each.retain]), 10)

    def test_cut_while_sending(self) -> None:
        """A client that is cut by what it is sent ends in good order."""
        bench = Bench(Limits(maximum_queued_bytes=100, maximum_inflight=1))
        writer = bench.connected("writer")
        for number in range(5):
            writer.publish(f"t/{number}", b"x", retain=True, qos=1)
        reader = bench.connected("reader", user="u", session_expiry_interval=100)
        reader.subscribe("#", qos=1)
        self.assertEqual((reader.closed, reader.goodbye), (True, 0x97))
        bench.check_nothing_left(self)
