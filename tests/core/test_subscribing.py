# -*- test-case-name: tests.core.test_subscribing -*-
"""SUBSCRIBE and UNSUBSCRIBE: each filter decided, one answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import CapQos, Disconnect, Stage
from mqttsecure.core.limits import Limits
from mqttsecure.wire.packets import Pingreq, Pingresp, Suback, Subscribe, SubscriptionRequest, Unsuback
from tests.support.core import Bench


class SubscribeTests(SynchronousTestCase):
    """Asking for messages."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(maximum_subscriptions=3, maximum_topic_levels=4, maximum_topic_bytes=40))

    def test_each_filter_is_decided(self) -> None:
        """Granted and refused filters stand side by side, in order; what is refused adds nothing."""
        self.bench.chain.deny(Stage.SUBSCRIBE, topic="secret/#")
        for version, refused in ((5, 0x87), (4, 0x80), (3, 0x80)):
            client = self.bench.connected("c", version)
            self.assertEqual(client.subscribe("a", "secret/#", "b", qos=1), [1, refused, 1])
            self.assertEqual(self.bench.core.state.tree.count, 2)
            client.disconnect()
        self.assertEqual(self.bench.denied, [(Stage.SUBSCRIBE, "secret/#")] * 3)
        self.assertEqual(self.bench.core.counters.subscriptions_denied, 3)

    def test_any_code(self) -> None:
        """A code that SUBACK cannot carry is told as the nearest one; the decision id goes with it."""
        self.bench.chain.deny(Stage.SUBSCRIBE, reason_code=0x96)
        client = self.bench.connected("c")
        client.send(Subscribe(1, [SubscriptionRequest("a"), SubscriptionRequest("b")]))
        self.assertEqual(client.received(), [Suback(1, [0x97, 0x97], {"reason_string": "decision d1, d1"})])

    def test_shared(self) -> None:
        """The chain is asked about the inner filter of a shared subscription, and told its group."""
        self.bench.chain.deny(Stage.SUBSCRIBE, topic="secret/#")
        client = self.bench.connected("c")
        self.assertEqual(client.subscribe("$share/g/secret/#", "$share/g/open"), [0x87, 0])
        self.assertEqual([each.share_group for each in self.bench.chain.asked(Stage.SUBSCRIBE)], ["g", "g"])

    def test_cap_qos(self) -> None:
        """A policy may grant a lower QoS than was asked for."""
        self.bench.chain.oblige(Stage.SUBSCRIBE, CapQos(1))
        self.assertEqual(self.bench.connected("c").subscribe("a", qos=2), [1])

    def test_limits(self) -> None:
        """Too many, too deep, too long: refused filter by filter, without a question."""
        client = self.bench.connected("c")
        codes = client.subscribe("a/b/c/d/#", "x" * 41, "1", "2", "3", "4", "3")
        self.assertEqual(codes, [0x8F, 0x8F, 0, 0, 0, 0x97, 0])
        self.assertEqual(len(self.bench.chain.asked(Stage.SUBSCRIBE)), 3)
        old = self.bench.connected("d", 4)
        self.assertEqual(old.subscribe("a/b/c/d/#"), [0x80])

    def test_same_filter_in_one_packet(self) -> None:
        """The same filter many times over costs one question; with other options it is another."""
        client = self.bench.connected("c")
        requests = [SubscriptionRequest("a", qos) for qos in (0, 0, 0, 1, 1)]
        client.send(Subscribe(1, requests))
        self.assertEqual(client.take(Suback)[0].reason_codes, [0, 0, 0, 1, 1])
        self.assertEqual(len(self.bench.chain.asked(Stage.SUBSCRIBE)), 2)

    def test_replaced(self) -> None:
        """Subscribing again replaces the subscription, its QoS and its identifier."""
        client = self.bench.connected("c")
        client.subscribe("a", subscription_identifier=[1])
        client.subscribe("a", qos=1, subscription_identifier=[2])
        client.publish("a", qos=1)
        (message,) = client.messages()
        self.assertEqual((message.qos, message.properties), (1, {"subscription_identifier": [2]}))
        self.assertEqual(self.bench.core.state.tree.count, 1)

    def test_late_verdicts(self) -> None:
        """Verdicts may come late, one filter after the other; the answer and what was sent meanwhile wait."""
        self.bench.chain.delay(Stage.SUBSCRIBE)
        client = self.bench.connected("c")
        client.send(Subscribe(1, [SubscriptionRequest("a"), SubscriptionRequest("b")]), Pingreq())
        self.bench.chain.answer()
        self.assertEqual(client.received(), [])
        self.bench.chain.answer(False)
        suback, pingresp = client.received()
        self.assertEqual((suback, pingresp), (Suback(1, [0, 0x87], {"reason_string": "decision d1"}), Pingresp()))

    def test_gone_before_the_verdict(self) -> None:
        """A client that leaves meanwhile subscribes to nothing."""
        self.bench.chain.delay(Stage.SUBSCRIBE)
        client = self.bench.connected("c", user="u", session_expiry_interval=100)
        client.send(Subscribe(1, [SubscriptionRequest("a")]))
        client.lose()
        self.assertTrue(self.bench.chain.waiting[0].cancelled)
        self.bench.chain.answer()
        self.assertEqual(self.bench.core.state.tree.count, 0)

    def test_denied_with_disconnect(self) -> None:
        """A policy may end the connection with its denial, at once or late."""
        for late in (False, True):
            bench = Bench()
            if late:
                bench.chain.delay(Stage.SUBSCRIBE)
            else:
                bench.chain.deny(Stage.SUBSCRIBE, Disconnect(), reason_code=0x98)
            client = bench.connected("c")
            client.send(Subscribe(1, [SubscriptionRequest("a"), SubscriptionRequest("b")]))
            if late:
                bench.chain.answer(False, obligations=(Disconnect(),), reason_code=0x98)
            self.assertEqual((client.closed, client.goodbye, client.take(Suback)), (True, 0x98, []))

    def test_unsubscribe(self) -> None:
        """What was subscribed ends, what was not is told so in 5.0; messages stop."""
        for version, codes in ((5, [0, 0x11]), (4, []), (3, [])):
            client = self.bench.connected("c", version)
            client.subscribe("a", "$share/g/b")
            client.unsubscribe("a", "x")
            self.assertEqual([each.reason_codes for each in client.take(Unsuback)], [codes])
            client.unsubscribe("$share/g/b")
            for topic in ("a", "b"):
                client.publish(topic)
            self.assertEqual(client.messages(), [])
            self.assertEqual(self.bench.core.state.tree.count, 0)
            client.disconnect()
