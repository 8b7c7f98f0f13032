# -*- test-case-name: tests.core.test_publishing -*-
"""The one publish path: decisions, their memory, Topic Aliases, answers to what may not be."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Disconnect, Effect, Stage, Throttle
from mqttsecure.core.limits import Limits
from mqttsecure.wire.packets import Pingreq, Pingresp, Puback, Pubcomp, Publish, Pubrec, Subscribe, SubscriptionRequest
from tests.support.core import Bench, Client, CountingMeter


class DecisionTests(SynchronousTestCase):
    """Every write asks the PUBLISH stage, or uses an answer that still holds."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.reader = self.bench.connected("reader")
        self.reader.subscribe("#", qos=2)
        self.writer = self.bench.connected("writer")

    def asked(self, topic: str | None = None) -> int:
        return len(self.bench.chain.asked(Stage.PUBLISH, topic))

    def test_asked_once(self) -> None:
        """The same topic, QoS and RETAIN is asked about once; a difference in any is asked anew."""
        for _ in range(5):
            self.writer.publish("t", b"x")
        self.assertEqual(self.asked(), 1)
        for qos, retain in ((1, False), (2, False), (0, True)):
            for _ in range(2):
                self.writer.publish("t", b"x", qos=qos, retain=retain)
        self.assertEqual(self.asked(), 4)
        self.writer.publish("u", b"x")
        self.assertEqual(self.asked(), 5)

    def test_denied(self) -> None:
        """A denial is told by 0x87 where the packet has an answer, delivers nothing, keeps nothing, and is reported."""
        self.bench.chain.deny(Stage.PUBLISH, topic="secret")
        for _ in range(2):
            self.writer.publish("secret", b"x", qos=0, retain=True)
            one = self.writer.publish("secret", b"x", qos=1, retain=True)
            two = self.writer.publish("secret", b"x", qos=2, retain=True)
            reason = {"reason_string": "decision d1"}
            self.assertEqual(
                self.writer.received(),
                [Puback(one, 0x87, reason), Pubrec(two, 0x87, reason)],
            )
        self.assertEqual(self.reader.received(), [])
        self.assertEqual(self.bench.core.state.retained.count, 0)
        self.assertEqual(self.bench.denied, [(Stage.PUBLISH, "secret")] * 3)
        self.assertEqual(self.bench.core.counters.publishes_denied, 6)
        self.assertFalse(self.writer.closed)

    def test_denied_by_any_code(self) -> None:
        """A code that PUBACK cannot carry is told as the nearest one."""
        self.bench.chain.deny(Stage.PUBLISH, reason_code=0x96)
        self.writer.publish("t", qos=1)
        self.assertEqual([each.reason_code for each in self.writer.take(Puback)], [0x97])

    def test_denied_with_disconnect(self) -> None:
        """A policy may end the connection with its denial."""
        self.bench.chain.deny(Stage.PUBLISH, Disconnect(), reason_code=0x98)
        self.writer.publish("t")
        self.assertEqual((self.writer.closed, self.writer.goodbye), (True, 0x98))

    def test_denied_in_3_x(self) -> None:
        """3.x cannot be told: the connection closes, or the listener is one that acknowledges and forgets."""
        for version in (3, 4):
            for qos in (0, 1, 2):
                bench = Bench(acknowledge_denied=("lenient",))
                bench.chain.deny(Stage.PUBLISH)
                strict = bench.connected("strict", version)
                strict.publish("t", qos=qos)
                self.assertEqual((strict.closed, strict.received()), (True, []))
                lenient = bench.connected("lenient", version, listener="lenient")
                packet_id = lenient.publish("t", qos=qos)
                answers = {0: [], 1: [Puback(packet_id)], 2: [Pubrec(packet_id)]}
                self.assertEqual((lenient.closed, lenient.received()), (False, answers[qos]))
                if qos == 2:
                    lenient.complete(packet_id)
                    self.assertEqual(lenient.received(), [Pubcomp(packet_id)])

    def test_new_policies_ask_anew(self) -> None:
        """Once the policies are replaced, no older answer is used, on the short ways either."""
        for qos in (0, 1, 2):
            for _ in range(4):
                self.writer.publish("t", b"before", qos=qos)
        self.reader.received()
        self.bench.chain.deny(Stage.PUBLISH, topic="t")
        self.bench.change_policy()
        for qos in (0, 1, 2):
            self.writer.publish("t", b"after", qos=qos)
        self.assertEqual(self.reader.received(), [])

    def test_valid_until(self) -> None:
        """An answer that holds until a time is asked again from that time on."""
        rule = self.bench.chain.oblige(Stage.PUBLISH, valid_until=self.bench.now + 10)
        for qos in (0, 1):
            for _ in range(3):
                self.writer.publish("t", b"x", qos=qos)
        self.assertEqual(self.asked(), 2)
        self.bench.advance(10)
        self.bench.chain.forget(rule)
        self.bench.chain.deny(Stage.PUBLISH)
        self.reader.received()
        for qos in (0, 1):
            self.writer.publish("t", b"late", qos=qos)
        self.assertEqual(self.reader.received(), [])

    def test_residual(self) -> None:
        """What depends on the message itself is asked for each message, by the part of the chain that must be."""
        seen: list[bytes] = []

        def residual(request):
            seen.append(request.payload)
            if request.payload == b"bad":
                return self.bench.chain.refuse(request)
            return self.bench.chain.permit(request, residual=residual)

        self.bench.chain.oblige(Stage.PUBLISH, residual=residual)
        for payload in (b"first", b"good", b"bad", b"good"):
            self.writer.publish("t", payload, qos=1)
        self.assertEqual(seen, [b"good", b"bad", b"good"])
        self.assertEqual(self.reader.payloads(), [b"first", b"good", b"good"])
        self.assertEqual([each.reason_code for each in self.writer.take(Puback)], [0, 0, 0x87, 0])
        self.assertEqual(self.bench.denied, [(Stage.PUBLISH, "t")])

    def test_cache_is_bounded(self) -> None:
        """A client that writes to ever new topics does not fill the memory with answers."""
        bench = Bench(Limits(maximum_cached_decisions=10))
        writer = bench.connected("writer")
        for number in range(100):
            writer.publish(f"topic/{number}")
        self.assertLessEqual(len(writer.connection.routes), 10)
        writer.publish("x" * 640)
        self.assertLessEqual(writer.connection.routes_count, 11)

    def test_pending(self) -> None:
        """While an answer is awaited the client is not read, what it sent meanwhile comes after, in order."""
        self.bench.chain.delay(Stage.PUBLISH, topic="slow")
        self.writer.send(Publish("slow", b"1", 1, packet_id=1), Publish("fast", b"2"), Pingreq())
        self.assertFalse(self.writer.connection.reading)
        self.writer.publish("fast", b"3")
        self.assertEqual((self.reader.received(), self.writer.received()), ([], []))
        self.bench.chain.answer()
        self.assertEqual(self.reader.payloads(), [b"1", b"2", b"3"])
        self.assertEqual(self.writer.received(), [Puback(1), Pingresp()])
        self.assertTrue(self.writer.connection.reading)

    def test_pending_bound(self) -> None:
        """Of what arrives while the client must wait, so much is kept and no more."""
        bench = Bench(Limits(pending_bytes=1000))
        writer = bench.connected("writer")
        bench.chain.delay(Stage.PUBLISH)
        writer.publish("t")
        for _ in range(20):
            writer.send_bytes(b"\xc0\x00" * 50)
        self.assertFalse(writer.closed)
        writer.send_bytes(b"\xc0\x00")
        self.assertEqual((writer.closed, writer.connection.close_reason), (True, 0x97))
        self.assertTrue(bench.chain.waiting[0].cancelled)
        bench.check_nothing_left(self)

    def test_pending_ends_with_the_connection(self) -> None:
        """A message whose writer left before the answer is not delivered."""
        self.bench.chain.delay(Stage.PUBLISH)
        self.writer.publish("t", b"x")
        self.writer.lose()
        self.assertTrue(self.bench.chain.waiting[0].cancelled)
        self.bench.chain.answer()
        self.assertEqual(self.reader.payloads(), [])

    def test_pending_is_asked_again_under_new_policies(self) -> None:
        """An answer of replaced policies decides nothing."""
        self.bench.chain.delay(Stage.PUBLISH)
        self.writer.publish("t", b"x", qos=1)
        waiting = self.bench.chain.waiting.pop()
        old = self.bench.chain.permit(waiting.request)
        self.bench.change_policy()
        waiting.pending.resolve(old)
        self.assertEqual(self.reader.payloads(), [])
        self.bench.chain.answer(False)
        self.assertEqual([each.reason_code for each in self.writer.take(Puback)], [0x87])


class MeterTests(SynchronousTestCase):
    """Rates and quotas count each message, whatever is remembered."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.reader = self.bench.connected("reader")
        self.reader.subscribe("#", qos=1)

    def test_counts_each_message(self) -> None:
        """Messages in a burst are counted one by one or in a row, always all of them."""
        for batchable in (False, True):
            for qos in (0, 1, 2):
                meter = CountingMeter(batchable=batchable)
                rule = self.bench.chain.oblige(Stage.PUBLISH, meters=(meter,))
                writer = self.bench.connected(f"writer{qos}{batchable}")
                for _ in range(3):
                    writer.publish("t", b"12345", qos=qos)
                writer.send(*(Publish("t", b"12345", qos, packet_id=100 + n if qos else 0) for n in range(50)))
                self.assertEqual(meter.messages, 53)
                self.assertGreaterEqual(meter.octets, 53 * 5)
                self.assertEqual(len(self.reader.acknowledge()), 53)
                self.bench.chain.forget(rule)

    def test_refuses(self) -> None:
        """Above the limit a message is refused: QoS 1 is told, QoS 0 is dropped, a client of 3.x is closed."""
        for qos, answers in ((0, []), (1, [0, 0, 0, 0x97, 0x97]), (2, [0, 0, 0, 0x97, 0x97])):
            bench = Bench()
            reader = bench.connected("reader")
            reader.subscribe("#")
            bench.chain.oblige(Stage.PUBLISH, meters=(CountingMeter(3),))
            writer = bench.connected("writer")
            for _ in range(5):
                writer.publish("t", b"x", qos=qos)
            self.assertEqual(len(reader.payloads()), 3)
            self.assertEqual([each.reason_code for each in writer.received()], answers)
            self.assertEqual(bench.core.counters.publishes_denied, 2)
        for qos in (0, 1):
            bench = Bench()
            bench.chain.oblige(Stage.PUBLISH, meters=(CountingMeter(3),))
            writer = bench.connected("writer", 4)
            for _ in range(5):
                writer.publish("t", b"x", qos=qos)
            self.assertTrue(writer.closed)

    def test_refuses_and_disconnects(self) -> None:
        """A meter may end the connection."""
        then = Decision.deny(reason_code=0x96, obligations=(Disconnect(),))
        self.bench.chain.oblige(Stage.PUBLISH, meters=(CountingMeter(1, then),))
        writer = self.bench.connected("writer")
        for _ in range(3):
            writer.publish("t")
        self.assertEqual((writer.closed, writer.goodbye), (True, 0x96))

    def test_throttles(self) -> None:
        """A meter may slow the client down: it is not read for a while, and nothing is lost."""
        for qos in (0, 1):
            bench = Bench()
            reader = bench.connected("reader")
            reader.subscribe("t")
            meter = CountingMeter(2, Decision.abstain(obligations=(Throttle(5),)), batchable=True)
            bench.chain.oblige(Stage.PUBLISH, meters=(meter,))
            writer = bench.connected("writer", keep_alive=60)
            for number in range(3):
                writer.publish("t", b"%d" % number, qos=qos)
            self.assertFalse(writer.connection.reading)
            writer.publish("t", b"3", qos=qos)
            self.assertEqual(reader.payloads(), [b"0", b"1", b"2"])
            bench.advance(5)
            self.assertEqual(reader.payloads(), [b"3"])
            self.assertEqual(bench.core.counters.throttled, 2)
            writer.disconnect()
            bench.check_nothing_left(self)


class ThrottleTests(SynchronousTestCase):
    """Pausing a client that writes too fast."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(pending_bytes=1000))

    def test_at_most_half_the_keep_alive(self) -> None:
        """However long a policy wants it to be, a client can ping in time; its Keep Alive stands still meanwhile."""
        self.bench.chain.oblige(Stage.PUBLISH, Throttle(3600))
        writer = self.bench.connected("writer", keep_alive=20)
        writer.publish("t")
        writer.send(Pingreq())
        self.bench.advance(9.9)
        self.assertEqual(writer.received(), [])
        self.bench.advance(0.2)
        self.assertEqual(writer.received(), [Pingresp()])
        self.assertFalse(writer.closed)

    def test_held_bytes_are_bounded(self) -> None:
        """A client that goes on sending while it is paused is cut."""
        self.bench.chain.oblige(Stage.PUBLISH, Throttle(10))
        writer = self.bench.connected("writer")
        writer.publish("t")
        for _ in range(41):
            writer.send_bytes(b"\xc0\x00" * 25)
        self.assertEqual((writer.closed, writer.connection.close_reason), (True, 0x97))
        self.bench.check_nothing_left(self)

    def test_longer_pauses_win(self) -> None:
        """A longer pause replaces a shorter one, a shorter one changes nothing."""
        seconds = [5.0, 1.0]
        self.bench.chain.on(Stage.PUBLISH, lambda request: self.bench.chain.permit(request, Throttle(seconds.pop())))
        writer = self.bench.connected("writer")
        writer.send(Publish("a"), Publish("b"))
        self.bench.advance(1)  # the first pause is over, the second message brings the next
        self.assertFalse(writer.connection.reading)
        self.bench.core.state.deadlines.expire(self.bench.now)
        self.bench.advance(4.5)
        self.assertFalse(writer.connection.reading)
        self.bench.advance(1)
        self.assertTrue(writer.connection.reading)

    def test_while_a_verdict_is_awaited(self) -> None:
        """A pause that ends while the chain still thinks releases nothing."""
        bench = self.bench
        reader = bench.connected("reader")
        reader.subscribe("#")
        bench.chain.on(Stage.PUBLISH, lambda request: bench.chain.permit(request, Throttle(5)), topic="a")
        bench.chain.delay(Stage.PUBLISH, topic="b")
        writer = bench.connected("writer")
        writer.send(Publish("b", b"1"), Publish("a", b"2"), Publish("c", b"3"))
        bench.advance(10)
        self.assertEqual(reader.payloads(), [])
        bench.chain.answer()
        self.assertEqual(reader.payloads(), [b"1", b"2"])
        bench.advance(5)
        self.assertEqual(reader.payloads(), [b"3"])


class TopicAliasTests(SynchronousTestCase):
    """Topic Aliases that clients set."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(topic_alias_maximum=2))
        self.reader = self.bench.connected("reader")
        self.reader.subscribe("#")
        self.writer = self.bench.connected("writer")

    def topics(self) -> list[str]:
        return [each.topic for each in self.reader.messages()]

    def test_set_and_used(self) -> None:
        """Once set, an alias stands for its Topic Name, until it is set anew; readers see the name."""
        self.writer.publish("a", topic_alias=1)
        self.writer.publish("", topic_alias=1)
        self.writer.publish("b", topic_alias=1)
        self.writer.publish("", topic_alias=1, qos=1)
        self.assertEqual(self.topics(), ["a", "a", "b", "b"])

    def test_out_of_range(self) -> None:
        """An alias above the maximum, or 0, ends the connection."""
        self.writer.publish("a", topic_alias=3)
        self.assertEqual(self.writer.goodbye, 0x94)
        other = self.bench.connected("other")
        other.send_bytes(b"\x30\x07\x00\x01a\x03\x23\x00\x00")
        self.assertEqual(other.goodbye, 0x94)

    def test_never_set(self) -> None:
        """An alias that was never set is a Protocol Error; aliases end with their connection."""
        self.writer.publish("a", topic_alias=1)
        self.writer.lose()
        again = self.bench.connected("writer")
        again.publish("", topic_alias=1)
        self.assertEqual(again.goodbye, 0x82)

    def test_alias_of_a_denied_message(self) -> None:
        """An alias that came with a refused message is not kept: its use is an error, 0x94."""
        for qos in (0, 1, 2):
            bench = Bench()
            bench.chain.deny(Stage.PUBLISH, topic="secret")
            writer = bench.connected("writer")
            writer.publish("open", topic_alias=1)
            writer.publish("secret", topic_alias=1, qos=qos)
            writer.publish("", b"x", topic_alias=1)
            self.assertEqual((writer.closed, writer.goodbye), (True, 0x94))
            self.assertEqual(len(bench.chain.asked(Stage.PUBLISH, "secret")), 1)

    def test_later_refusals_leave_it(self) -> None:
        """An alias once accepted stays, though a later message with it is refused by a rate limit."""
        self.bench.chain.oblige(Stage.PUBLISH, meters=(CountingMeter(1),))
        self.writer.publish("a", topic_alias=1)
        self.writer.publish("", topic_alias=1, qos=1)
        self.writer.publish("", topic_alias=1, qos=1)
        self.assertEqual([each.reason_code for each in self.writer.take(Puback)], [0x97, 0x97])
        self.assertFalse(self.writer.closed)

    def test_set_again_by_a_resent_message(self) -> None:
        """A QoS 2 message sent again on a new connection sets its alias there, though it is known already."""
        writer = self.bench.connected("w", user="u", clean=False, session_expiry_interval=100)
        packet_id = writer.publish("a", b"1", qos=2, topic_alias=1)
        writer.lose()
        writer = self.bench.connected("w", user="u", clean=False, session_expiry_interval=100)
        writer.publish("a", b"1", qos=2, topic_alias=1, dup=True, packet_id=packet_id)
        writer.publish("", b"2", topic_alias=1)
        self.assertEqual(self.reader.payloads(), [b"1", b"2"])


class ReceivingTests(SynchronousTestCase):
    """QoS 1 and 2 from clients to the broker."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(receive_maximum=3, maximum_topic_levels=4, maximum_topic_bytes=50))
        self.reader = self.bench.connected("reader")
        self.reader.subscribe("t/#")
        self.writer = self.bench.connected("writer", user="u", clean=False, session_expiry_interval=100)

    def test_acknowledged_in_order(self) -> None:
        """Acknowledgements come in the order of the messages, whatever their QoS."""
        self.writer.send(
            Publish("t/1", qos=1, packet_id=5), Publish("t/1", qos=2, packet_id=4), Publish("t/1", qos=1, packet_id=9)
        )
        self.assertEqual(self.writer.received(), [Puback(5), Pubrec(4), Puback(9)])

    def test_nobody_listens(self) -> None:
        """A client of 5.0 is told when nobody subscribes, one of 3.1.1 is not."""
        for version, code in ((5, 0x10), (4, 0)):
            writer = self.bench.connected(f"writer{version}", version)
            for _ in range(4):
                one, two = writer.publish("u", qos=1), writer.publish("u", qos=2)
                self.assertEqual(writer.received(), [Puback(one, code), Pubrec(two, code)])
                writer.complete(two)
                writer.received()

    def test_exactly_once(self) -> None:
        """A QoS 2 message sent again before its release is delivered once; after the release it is a new one."""
        packet_id = self.writer.publish("t/1", b"x", qos=2)
        self.writer.publish("t/1", b"x", qos=2, dup=True, packet_id=packet_id)
        self.assertEqual(self.writer.received(), [Pubrec(packet_id), Pubrec(packet_id)])
        self.assertEqual(self.reader.payloads(), [b"x"])
        self.writer.complete(packet_id)
        self.assertEqual(self.writer.received(), [Pubcomp(packet_id)])
        self.writer.publish("t/1", b"y", qos=2, packet_id=packet_id)
        self.assertEqual(self.reader.payloads(), [b"y"])

    def test_exactly_once_over_connections(self) -> None:
        """The session remembers unreleased Packet Identifiers when the connection is lost."""
        packet_id = self.writer.publish("t/1", b"x", qos=2)
        self.writer.lose()
        again = self.bench.connected("writer", user="u", clean=False, session_expiry_interval=100)
        again.publish("t/1", b"x", qos=2, dup=True, packet_id=packet_id)
        self.assertEqual(again.received(), [Pubrec(packet_id)])
        self.assertEqual(self.reader.payloads(), [b"x"])
        again.complete(packet_id)
        again.complete(packet_id)
        self.assertEqual(again.received(), [Pubcomp(packet_id), Pubcomp(packet_id, 0x92)])

    def test_qos_1_sent_again_is_delivered_again(self) -> None:
        """At least once: a QoS 1 message sent again is delivered again, and DUP is not passed on."""
        packet_id = self.writer.publish("t/1", b"x", qos=1)
        self.writer.publish("t/1", b"x", qos=1, dup=True, packet_id=packet_id)
        self.assertEqual([each.dup for each in self.reader.messages()], [False, False])

    def test_receive_maximum(self) -> None:
        """More open QoS 2 messages than were announced end the connection with 0x93."""
        for _ in range(3):
            self.writer.publish("t/1", qos=2)
        self.assertFalse(self.writer.closed)
        self.writer.publish("t/1", qos=2)
        self.assertEqual((self.writer.closed, self.writer.goodbye), (True, 0x93))

    def test_receive_maximum_is_shared_by_all_connections_of_a_session(self) -> None:
        """What is open stays open over connections, and counts."""
        for _ in range(3):
            self.writer.publish("t/1", qos=2)
        self.writer.lose()
        again = self.bench.connected("writer", user="u", clean=False, session_expiry_interval=100)
        again.publish("t/1", qos=2, packet_id=99)
        self.assertEqual(again.goodbye, 0x93)

    def test_topic_limits(self) -> None:
        """Topic Names deeper or longer than the broker takes end the connection with 0x90."""
        for topic in ("a/b/c/d/e", "x" * 51):
            writer = self.bench.connected("other")
            writer.publish(topic)
            self.assertEqual((writer.closed, writer.goodbye), (True, 0x90))

    def test_shortcut_gives_way(self) -> None:
        """A topic long written to by the short way reaches those who come later, whatever they ask for."""
        for _ in range(4):
            self.writer.publish("t/1", b"x")
        numbered = self.bench.connected("numbered")
        numbered.subscribe("t/1", subscription_identifier=[7])
        shared = self.bench.connected("shared")
        shared.subscribe("$share/g/t/1")
        for _ in range(4):
            self.writer.publish("t/1", b"y")
        self.assertEqual([each.properties for each in numbered.messages()], [{"subscription_identifier": [7]}] * 4)
        self.assertEqual(shared.payloads(), [b"y"] * 4)
        self.assertEqual(self.reader.payloads(), [b"x"] * 4 + [b"y"] * 4)


class RetainTests(SynchronousTestCase):
    """Messages with RETAIN."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(maximum_retained_messages=2))
        self.writer = self.bench.connected("writer")

    def test_kept_replaced_cleared(self) -> None:
        """The last message with RETAIN is kept; an empty one clears it, and is itself delivered."""
        reader = self.bench.connected("reader")
        reader.subscribe("t")
        self.writer.publish("t", b"1", retain=True)
        self.writer.publish("t", b"2", retain=True)
        self.writer.publish("t", b"3")
        self.assertEqual(self.bench.core.state.retained.count, 1)
        late = self.bench.connected("late")
        late.subscribe("t")
        self.assertEqual([(each.payload, each.retain) for each in late.messages()], [(b"2", True)])
        self.writer.publish("t", b"", retain=True)
        self.assertEqual(self.bench.core.state.retained.count, 0)
        self.assertEqual(
            [(each.payload, each.retain) for each in reader.messages()],
            [(b"1", False), (b"2", False), (b"3", False), (b"", False)],
        )

    def test_budget(self) -> None:
        """Beyond the budget a new retained message is refused with 0x97 and not delivered; old ones may change."""
        self.writer.publish("a", b"1", retain=True, qos=1)
        self.writer.publish("b", b"1", retain=True, qos=1)
        self.writer.publish("c", b"1", retain=True, qos=1)
        self.writer.publish("b", b"2", retain=True, qos=1)
        self.assertEqual([each.reason_code for each in self.writer.take(Puback)], [0x10, 0x10, 0x97, 0x10])

    def test_expired(self) -> None:
        """A retained message whose time is over is given to nobody, and its room is free."""
        self.writer.publish("a", b"1", retain=True, message_expiry_interval=10)
        self.writer.publish("b", b"1", retain=True, message_expiry_interval=10)
        self.writer.publish("b", b"2", retain=True, message_expiry_interval=20)
        self.bench.now += 10  # due, and the timer is late
        late = self.bench.connected("late")
        late.subscribe("#")
        self.assertEqual(late.payloads(), [b"2"])
        self.bench.advance(0)
        self.assertEqual(self.bench.core.state.retained.count, 1)
        self.writer.publish("b", b"", retain=True)
        self.assertEqual(len(self.bench.core.state.deadlines), 2)  # both Keep Alives
        self.assertEqual((self.bench.core.state.retained.count, self.bench.core.state.retained.octets), (0, 0))

    def test_broker_itself(self) -> None:
        """What the broker writes is delivered and kept like all else, by the DELIVER stage's leave."""
        denied = self.bench.connected("denied")
        self.bench.chain.deny(Stage.DELIVER, client="denied")
        reader = self.bench.connected("reader")
        for client in (denied, reader):
            client.subscribe("$SYS/#")
        self.bench.publish("$SYS/x", b"1", retain=True)
        self.bench.change_policy()
        late = self.bench.connected("late")
        late.subscribe("$SYS/#")
        self.assertEqual([denied.payloads(), reader.payloads(), late.payloads()], [[], [b"1"], [b"1"]])
        self.bench.publish("a", b"1", retain=True)
        self.bench.publish("b", b"1", retain=True)
        self.assertEqual(self.bench.core.state.retained.count, 2)


class PipelineTests(SynchronousTestCase):
    """A client that sends without waiting."""

    def bytes_of(self, client: Client) -> bytes:
        from mqttsecure.wire.encoder import encode_packet

        packets = (
            client.connect_packet("c"),
            Subscribe(1, [SubscriptionRequest("t", 1)]),
            Publish("t", b"payload", 1, packet_id=2),
            Pingreq(),
        )
        return b"".join(encode_packet(each, client.version) for each in packets)

    def test_in_one_segment_and_split_anywhere(self) -> None:
        """CONNECT, SUBSCRIBE and PUBLISH in one segment, in two at any byte, or byte by byte, do the same."""
        whole = Bench().client()
        data = self.bytes_of(whole)
        whole.send_bytes(data)
        self.assertEqual(len(whole.inbox), 5)
        for split in range(1, len(data)):
            client = Bench().client()
            client.send_bytes(data[:split])
            client.send_bytes(data[split:])
            self.assertEqual(client.inbox, whole.inbox)
        dripping = Bench().client()
        dripping.drip(data)
        self.assertEqual(dripping.inbox, whole.inbox)
        self.assertIs(Effect.PERMIT, Effect("permit"))
