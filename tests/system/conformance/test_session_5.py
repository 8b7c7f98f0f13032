"""MQTT 5.0: sessions, their expiry, and wills."""

from __future__ import annotations

from typing import Any

from mqttsecure.wire.packets import Disconnect, Properties, Publish, SubscriptionRequest, Will
from tests.system.conformance.case import ConformanceCase
from tests.system.conformance.client import Client, frame, unique


class SessionTests(ConformanceCase):
    """What is still there when I come back."""

    def setUp(self) -> None:
        super().setUp()
        self.name = unique("c")

    def present(self, *, clean: bool = False, **properties: Any) -> bool:
        """Whether coming back finds a session."""
        client = self.socket()
        present = client.connect(self.name, clean=clean, **properties).session_present
        client.disconnect()
        return present

    def test_no_expiry_no_session(self) -> None:
        """[MQTT-3.1.2-23] Without a Session Expiry Interval my session ends with my connection."""
        self.client(self.name).disconnect()
        self.assertFalse(self.present())

    def test_expiry_keeps_the_session(self) -> None:
        """[MQTT-3.1.2-5], [MQTT-3.2.2-3] With one I come back to my session, and am told so."""
        self.client(self.name, session_expiry_interval=60).drop()
        self.assertTrue(self.present())

    def test_clean_start_ends_it(self) -> None:
        """[MQTT-3.1.2-4], [MQTT-3.2.2-2] Clean Start leaves nothing of it."""
        client = self.client(self.name, session_expiry_interval=60)
        client.subscribe("some/topic", qos=1)
        client.disconnect()
        self.assertFalse(self.present(clean=True, session_expiry_interval=60))
        client = self.client(self.name, clean=False)
        self.assertEqual(client.unsubscribe("some/topic"), [0x11])

    def test_clean_start_0_without_a_session(self) -> None:
        """[MQTT-3.1.2-6] Clean Start 0 with nothing to come back to starts anew."""
        self.assertFalse(self.present())

    def test_subscriptions_are_kept(self) -> None:
        """[MQTT-4.1.0-1] My subscriptions are there with their options, without asking again."""
        topic = unique("t")
        client = self.client(self.name, session_expiry_interval=60)
        client.subscribe(SubscriptionRequest(topic, 1, no_local=True), identifier=4)
        client.disconnect()
        client = self.client(self.name, clean=False)
        client.publish(topic)
        self.client().publish(topic, b"x", 1)
        self.assertEqual(client.take(qos=1).properties, {"subscription_identifier": [4]})

    def test_expires(self) -> None:
        """[MQTT-4.1.0-2] After its interval the session is gone; before, it is there."""
        self.client(self.name, session_expiry_interval=2).disconnect()
        self.assertTrue(self.present(session_expiry_interval=1))
        self.assertRaises(TimeoutError, self.client().receive, 1.3)
        self.assertFalse(self.present())

    def test_counts_from_the_disconnect(self) -> None:
        """[MQTT-4.1.0-1] While I am connected my session does not expire."""
        client = self.client(self.name, session_expiry_interval=1)
        self.assertRaises(TimeoutError, client.receive, 1.3)
        client.disconnect()
        self.assertTrue(self.present())

    def test_never_expires(self) -> None:
        """[MQTT-3.1.2.11.2] 0xFFFFFFFF is a valid interval."""
        self.client(self.name, session_expiry_interval=0xFFFFFFFF).disconnect()
        self.assertTrue(self.present())

    def test_disconnect_changes_the_expiry(self) -> None:
        """[MQTT-3.14.2.2.2] DISCONNECT can end the session at once, or set another interval."""
        self.client(self.name, session_expiry_interval=60).disconnect(0, session_expiry_interval=0)
        self.assertFalse(self.present())
        self.client(self.name, session_expiry_interval=1).disconnect(0, session_expiry_interval=60)
        self.assertRaises(TimeoutError, self.client().receive, 1.3)
        self.assertTrue(self.present())

    def test_takeover_keeps_the_session(self) -> None:
        """[MQTT-3.1.4-3] Who takes over without Clean Start has the session of the one before."""
        first = self.client(self.name, session_expiry_interval=60)
        first.subscribe("kept/topic")
        second = self.socket()
        self.assertTrue(second.connect(self.name, clean=False).session_present)
        self.assertEqual(first.expect_closed(), 0x8E)
        self.assertEqual(second.unsubscribe("kept/topic"), [0])

    def test_a_session_of_3_1_1(self) -> None:
        """[MQTT-3.1.2-5] A session that was begun with 3.1.1 is there for 5.0."""
        self.client(self.name, version=4, clean=False).drop()
        self.assertTrue(self.present())


class WillTests(ConformanceCase):
    """What is said when I go without a word."""

    def setUp(self) -> None:
        super().setUp()
        self.topic = unique("will/")
        self.reader = self.client()
        self.reader.subscribe(SubscriptionRequest(self.topic, 2, retain_as_published=True))

    def leaving(
        self, qos: int = 0, retain: bool = False, name: str | None = None, expiry: int = 0, **properties: Any
    ) -> Client:
        """A client with a will."""
        will = Will(self.topic, b"gone", qos, retain, Properties(**properties))  # type: ignore[typeddict-item]  # named by the caller
        return self.client(name, will=will, session_expiry_interval=expiry)

    def silent(self, seconds: float) -> None:
        self.assertRaises(TimeoutError, self.reader.receive, seconds)

    def test_lost_connection(self) -> None:
        """[MQTT-3.1.2-8] My connection breaks: my will is published."""
        self.leaving().drop()
        self.reader.take(payload=b"gone", retain=False)

    def test_each_qos(self) -> None:
        """[MQTT-3.1.2-12] With the QoS that I gave it."""
        for qos in range(3):
            self.leaving(qos).drop()
            self.reader.take(qos=qos)

    def test_normal_disconnect(self) -> None:
        """[MQTT-3.1.2-10], [MQTT-3.14.4-3] After a normal DISCONNECT there is no will."""
        self.leaving().disconnect()
        self.reader.nothing()

    def test_disconnect_with_will(self) -> None:
        """[MQTT-3.14.2.1] DISCONNECT with 0x04, or with an error of mine, sends it."""
        for code in (0x04, 0x80, 0x81):
            self.leaving().disconnect(code)
            self.reader.take(payload=b"gone")

    def test_protocol_error(self) -> None:
        """[MQTT-3.1.2-8] When the broker cuts me off, my will is published."""
        client = self.leaving()
        client.send(frame(0xC1))
        self.assertEqual(client.expect_closed(), 0x81)
        self.reader.take(payload=b"gone")

    def test_keep_alive(self) -> None:
        """[MQTT-3.1.2-8] The same when I fall silent."""
        client = self.client(keep_alive=1, will=Will(self.topic, b"gone"))
        self.reader.expect(Publish, 3.0, payload=b"gone")
        self.assertEqual(client.expect_closed(), 0x8D)

    def test_takeover(self) -> None:
        """[MQTT-3.1.4-3] A will without delay is published when another connection takes over."""
        name = unique("c")
        self.leaving(name=name)
        self.client(name)
        self.reader.take(payload=b"gone")

    def test_retained(self) -> None:
        """[MQTT-3.1.2-14], [MQTT-3.1.2-15] Will Retain keeps it for those who come later; without, it is not kept."""
        self.leaving().drop()
        self.reader.take(retain=False)
        late = self.client()
        late.subscribe(self.topic)
        late.nothing()
        self.leaving(retain=True).drop()
        self.reader.take(retain=True)
        late = self.client()
        late.subscribe(self.topic)
        late.take(retain=True, payload=b"gone")

    def test_properties(self) -> None:
        """[MQTT-3.1.3-10] The will's properties arrive, User Properties in their order."""
        properties = {
            "payload_format_indicator": 1,
            "content_type": "t",
            "response_topic": "r",
            "correlation_data": b"c",
            "user_property": [("b", "1"), ("a", "2"), ("b", "1")],
        }
        self.leaving(**properties).drop()
        self.assertEqual(dict(self.reader.take().properties), properties)

    def test_empty_payload(self) -> None:
        """[MQTT-3.1.3.4] A will may say nothing at all."""
        self.client(will=Will(self.topic, b"")).drop()
        self.reader.take(payload=b"")

    def test_delay(self) -> None:
        """[MQTT-3.1.3-9] With a Will Delay it is published that much later."""
        self.leaving(expiry=60, will_delay_interval=1).drop()
        self.silent(0.7)
        self.reader.expect(Publish, 1.0, payload=b"gone")

    def test_back_in_time(self) -> None:
        """[MQTT-3.1.3-9] Who comes back before has no will published."""
        name = unique("c")
        self.leaving(name=name, expiry=60, will_delay_interval=1).drop()
        self.client(name, clean=False)
        self.silent(1.3)

    def test_session_ends_before_the_delay(self) -> None:
        """[MQTT-3.1.2.5] The end of the session publishes it, however long the delay."""
        self.leaving(expiry=1, will_delay_interval=60).drop()
        self.silent(0.7)
        self.reader.expect(Publish, 1.0, payload=b"gone")

    def test_no_session_no_delay(self) -> None:
        """[MQTT-3.1.2.5] Without a session there is no delay."""
        self.leaving(will_delay_interval=60).drop()
        self.reader.take(payload=b"gone")

    def test_clean_start_ends_the_delay(self) -> None:
        """[MQTT-3.1.2.5] Clean Start ends the old session, and so publishes its will."""
        name = unique("c")
        self.leaving(name=name, expiry=60, will_delay_interval=60).drop()
        self.client(name)
        self.reader.take(payload=b"gone")

    def test_normal_disconnect_ends_the_delay(self) -> None:
        """[MQTT-3.14.4-3] A normal DISCONNECT forgets a delayed will too."""
        self.leaving(expiry=1, will_delay_interval=1).disconnect()
        self.silent(1.3)

    def test_message_expiry(self) -> None:
        """[MQTT-3.1.3.2.4] Its Message Expiry Interval counts from when it is published."""
        self.leaving(message_expiry_interval=5).drop()
        self.assertIn(self.reader.take().properties["message_expiry_interval"], (4, 5))

    def test_not_of_a_refused_connect(self) -> None:
        """[MQTT-3.1.2-8] A connection that was never accepted has no will."""
        client = self.socket()
        client.connect(will=Will(self.topic, b"gone"), code=0x8C, authentication_method="UNKNOWN")
        client.expect_end()
        self.reader.nothing()

    def test_no_local(self) -> None:
        """[MQTT-3.8.3-3] My own will does not come to me where I asked for No Local."""
        name = unique("c")
        client = self.leaving(name=name, expiry=60)
        client.subscribe(SubscriptionRequest(self.topic, 1, no_local=True))
        client.send(Disconnect(4))
        client.expect_end()
        self.reader.take(payload=b"gone")
        self.client(name, clean=False).nothing()
