# -*- test-case-name: tests.core.test_waiting -*-
"""Messages behind a DELIVER verdict that takes its time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Purpose, Stage
from mqttsecure.core.events import Dropped
from mqttsecure.core.limits import Limits
from mqttsecure.wire.packets import Pubcomp, Pubrel
from tests.support.core import Bench, Client

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 1000}


class WaitingTests(SynchronousTestCase):
    """Order holds, publishers do not wait, budgets count."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.reader = self.reading()
        self.reader.subscribe("#", qos=2)
        self.writer = self.bench.connected("writer")

    def reading(self) -> Client:
        return self.bench.connected("reader", **_KEPT)

    def test_order(self) -> None:
        """What comes while a verdict is awaited comes after it, whatever its QoS; the publisher goes on at once."""
        self.bench.chain.delay(Stage.DELIVER, topic="slow")
        for number, (topic, qos) in enumerate((("slow", 1), ("fast", 0), ("slow", 2), ("fast", 1), ("fast", 2))):
            self.writer.publish(topic, b"%d" % number, qos=qos)
        self.assertEqual(len(self.writer.received()), 4)
        self.assertEqual(self.reader.messages(), [])
        self.bench.chain.answer()
        self.assertEqual(self.reader.acknowledge(), [b"0", b"1"])
        self.bench.chain.answer()
        self.assertEqual(self.reader.acknowledge(), [b"2", b"3", b"4"])
        self.assertEqual(self.bench.core.state.queued_octets, 0)

    def test_learned(self) -> None:
        """An answer that came late is remembered: the next message of the kind waits no more."""
        rule = self.bench.chain.delay(Stage.DELIVER)
        self.writer.publish("t", b"1")
        self.bench.chain.answer()
        self.bench.chain.forget(rule)
        self.bench.chain.deny(Stage.DELIVER)
        for _ in range(3):
            self.writer.publish("t", b"2")
        self.assertEqual(self.reader.payloads(), [b"1", b"2", b"2", b"2"])

    def test_denied_late(self) -> None:
        """A late denial drops its message alone, and is reported."""
        self.bench.chain.delay(Stage.DELIVER, topic="slow")
        self.writer.publish("slow", b"1", qos=1)
        self.writer.publish("fast", b"2", qos=1)
        self.bench.chain.answer(False)
        self.assertEqual(self.reader.payloads(), [b"2"])
        self.assertEqual(self.bench.denied, [(Stage.DELIVER, "slow")])
        self.assertEqual(self.bench.core.counters.deliveries_denied, 1)

    def test_others_are_not_held_up(self) -> None:
        """Another reader gets its messages meanwhile."""
        other = self.bench.connected("other")
        other.subscribe("#")
        self.bench.chain.delay(Stage.DELIVER, client="reader")
        for _ in range(4):
            self.writer.publish("t", b"x")
        self.assertEqual(len(other.messages()), 4)
        self.bench.chain.answer()
        self.assertEqual(len(self.reader.messages()), 4)

    def test_asked_again_under_new_policies(self) -> None:
        """An answer of replaced policies is worth nothing; the writer's right is looked at again too."""
        self.bench.chain.delay(Stage.DELIVER)
        self.writer.publish("t", b"x", qos=1)
        old = self.bench.chain.waiting.pop()
        verdict = self.bench.chain.permit(old.request)
        self.bench.change_policy()
        old.pending.resolve(verdict)
        self.assertEqual(self.reader.messages(), [])
        self.assertEqual(self.bench.chain.requests[-2].purpose, Purpose.RECHECK)
        self.bench.chain.answer()
        self.assertEqual(self.reader.payloads(), [b"x"])

    def test_writer_asked_late(self) -> None:
        """Where both are asked, the writer comes first; each may say no."""
        for permit_writer, permit_reader in ((True, True), (True, False), (False, True)):
            self.writer.publish("t", b"x", retain=True)
            self.reader.received()
            self.bench.change_policy()
            rules = [self.bench.chain.delay(Stage.PUBLISH), self.bench.chain.delay(Stage.DELIVER)]
            self.reader.subscribe("t")
            self.assertEqual([each.request.stage for each in self.bench.chain.waiting], [Stage.PUBLISH])
            self.bench.chain.answer(permit_writer)
            if permit_writer:
                self.assertEqual([each.request.stage for each in self.bench.chain.waiting], [Stage.DELIVER])
                self.bench.chain.answer(permit_reader)
            self.assertEqual(self.reader.payloads(), [b"x"] if permit_writer and permit_reader else [])
            for rule in rules:
                self.bench.chain.forget(rule)

    def test_connection_ends(self) -> None:
        """When the reader leaves, the question is cancelled; QoS 1 and 2 wait in its queue, in order, QoS 0 is lost."""
        rule = self.bench.chain.delay(Stage.DELIVER)
        for qos in (1, 0, 2, 1):
            self.writer.publish("t", b"%d" % qos, qos=qos)
        self.reader.lose()
        self.assertTrue(self.bench.chain.waiting.pop().cancelled)
        self.bench.chain.forget(rule)
        self.reader = self.reading()
        self.assertEqual(self.reader.acknowledge(), [b"1", b"2", b"1"])
        self.assertEqual(self.bench.core.state.queued_octets, 0)

    def test_away(self) -> None:
        """Questions about a reader that is away end when it is back, and when its session ends."""
        self.reader.lose()
        self.bench.chain.delay(Stage.DELIVER)
        self.writer.publish("t", b"1", qos=1)
        self.writer.publish("t", b"2", qos=1)
        self.reader = self.reading()
        self.assertTrue(self.bench.chain.waiting.pop(0).cancelled)
        self.assertEqual(len(self.bench.chain.waiting), 1)
        self.bench.chain.answer()
        self.assertEqual(self.reader.payloads(), [b"1", b"2"])
        self.reader.lose()
        self.writer.publish("t", b"3", qos=1)
        self.bench.advance(1001)
        self.assertTrue(self.bench.chain.waiting[0].cancelled)
        self.bench.check_nothing_left(self)

    def test_away_and_answered(self) -> None:
        """A message for a reader that is away is queued once the answer is there."""
        self.reader.lose()
        self.bench.chain.delay(Stage.DELIVER)
        self.writer.publish("t", b"1", qos=1)
        self.bench.chain.answer()
        self.assertGreater(self.bench.core.state.sessions["reader"].queue_octets, 0)

    def test_budget(self) -> None:
        """What waits for verdicts counts in the budgets of the session and of all together."""
        for limits in (
            Limits(maximum_queued_messages=5),
            Limits(maximum_queued_bytes=1500),
            Limits(maximum_queued_bytes_total=1500),
        ):
            bench = Bench(limits)
            reader = bench.connected("reader")
            reader.subscribe("t", qos=1)
            bench.chain.delay(Stage.DELIVER)
            writer = bench.connected("writer")
            for _ in range(20):
                writer.publish("t", b"x" * 30, qos=1)
            self.assertLessEqual(bench.core.state.queued_octets, 1500)
            self.assertGreater(bench.core.counters.messages_dropped, 13)
            self.assertTrue(any(isinstance(event, Dropped) for event in bench.events))
            bench.check_nothing_left(self)


class HeadTests(SynchronousTestCase):
    """Verdicts that come late for what is sent from the queue, and for what is sent again."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.reader = self.bench.connected("reader", **_KEPT)
        self.reader.subscribe("#", qos=2)
        self.writer = self.bench.connected("writer")

    def back(self, **more: object) -> Client:
        self.reader = self.bench.connected("reader", **_KEPT, **more)
        return self.reader

    def test_queue(self) -> None:
        """Each queued message waits for its verdict; what is new lines up behind."""
        self.reader.lose()
        for number in range(3):
            self.writer.publish("slow", b"%d" % number, qos=1)
        rule = self.bench.chain.delay(Stage.DELIVER, topic="slow")
        self.back()
        self.writer.publish("fast", b"3", qos=1)
        self.assertEqual(self.reader.messages(), [])
        self.bench.chain.answer()
        self.assertEqual(self.reader.acknowledge(), [b"0", b"1", b"2", b"3"])  # learned from the first
        self.assertEqual(self.bench.core.state.queued_octets, 0)
        self.bench.chain.forget(rule)

    def test_queue_denied(self) -> None:
        """A late denial drops the message from the queue."""
        self.reader.lose()
        self.writer.publish("slow", b"1", qos=1)
        self.writer.publish("fast", b"2", qos=1)
        self.bench.chain.delay(Stage.DELIVER, topic="slow")
        self.back()
        self.bench.chain.answer(False)
        self.assertEqual(self.reader.payloads(), [b"2"])
        self.assertEqual(self.bench.core.state.queued_octets, 0)
        self.assertEqual(self.bench.denied, [(Stage.DELIVER, "slow")])

    def test_queue_under_new_policies(self) -> None:
        """A verdict of replaced policies leaves the message where it was, and asks again."""
        self.reader.lose()
        self.writer.publish("slow", b"1", qos=1)
        self.writer.publish("slow", b"2", qos=1)
        self.bench.chain.delay(Stage.DELIVER)
        self.back()
        old = self.bench.chain.waiting.pop()
        verdict = self.bench.chain.permit(old.request)
        self.bench.change_policy()
        old.pending.resolve(verdict)
        self.assertEqual(self.reader.messages(), [])
        self.bench.chain.answer()
        self.assertEqual(self.reader.payloads(), [b"1", b"2"])

    def test_left_again(self) -> None:
        """Who leaves while the first is asked about finds all of them when he is back."""
        self.reader.lose()
        for number in range(3):
            self.writer.publish("slow", b"%d" % number, qos=1)
        rule = self.bench.chain.delay(Stage.DELIVER)
        self.back().lose()
        self.assertTrue(self.bench.chain.waiting.pop().cancelled)
        self.bench.chain.forget(rule)
        self.assertEqual(self.back().acknowledge(), [b"0", b"1", b"2"])
        self.assertEqual(self.bench.core.state.queued_octets, 0)

    def test_sent_again(self) -> None:
        """What was under way waits for a late verdict, keeps its order and identifier, and new messages come after."""
        for number in range(3):
            self.writer.publish("slow", b"%d" % number, qos=1 + number % 2)
        self.reader.lose()
        self.writer.publish("queued", b"3", qos=1)
        self.bench.chain.delay(Stage.DELIVER, topic="slow")
        self.back()
        self.writer.publish("new", b"4", qos=1)
        self.assertEqual(self.reader.messages(), [])
        while self.bench.chain.waiting:
            self.bench.chain.answer()
        messages = self.reader.messages()
        self.assertEqual([each.payload for each in messages], [b"0", b"1", b"2", b"3", b"4"])
        self.assertEqual([each.packet_id for each in messages], [1, 2, 3, 4, 5])
        self.assertEqual([each.dup for each in messages], [True] * 3 + [False] * 2)

    def test_sent_again_denied_and_asked_again(self) -> None:
        """A late denial ends it, without the message; an answer of older policies asks again."""
        self.writer.publish("slow", b"1", qos=2)
        self.writer.publish("fast", b"2", qos=2)
        self.reader.lose()
        self.bench.chain.delay(Stage.DELIVER, topic="slow")
        self.back()
        old = self.bench.chain.waiting.pop()
        verdict = self.bench.chain.permit(old.request)
        self.bench.change_policy()
        old.pending.resolve(verdict)
        self.bench.chain.answer(False)
        self.assertEqual([(each.payload, each.packet_id) for each in self.reader.messages()], [(b"2", 2)])
        # It may have arrived, and would make the reader take the next one with its identifier for the same.
        self.assertEqual([each.packet_id for each in self.reader.take(Pubrel)], [1])
        self.reader.send(Pubcomp(1))
        self.assertEqual(list(self.bench.core.state.sessions["reader"].inflight), [2])

    def test_acknowledged_before_the_verdict(self) -> None:
        """A client that acknowledges what was not sent again yet is content, and so is the broker."""
        self.writer.publish("slow", b"1", qos=1)
        self.reader.lose()
        self.bench.chain.delay(Stage.DELIVER)
        self.back()
        self.reader.send_bytes(b"\x40\x02\x00\x01")
        self.bench.chain.answer()
        self.assertEqual(self.reader.messages(), [])
        self.assertFalse(self.reader.closed)
