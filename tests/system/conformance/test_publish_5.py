"""MQTT 5.0: what becomes of a message between the one who publishes and those who subscribe."""

from __future__ import annotations

from typing import Any

from mqttsecure.wire.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel, SubscriptionRequest
from tests.system.conformance.case import ConformanceCase
from tests.system.conformance.client import Client, frame, unique


class DeliveryTests(ConformanceCase):
    """Topic Name, payload, QoS and flags on the way."""

    def pair(self, qos: int = 2, **options: Any) -> tuple[Client, Client, str]:
        """A publisher, a subscriber, and the topic between them."""
        topic = unique("topic/")
        subscriber = self.client()
        self.assertEqual(subscriber.subscribe(SubscriptionRequest(topic, qos, **options)), [qos])
        return self.client(), subscriber, topic

    def test_the_lower_qos_counts(self) -> None:
        """[MQTT-3.8.4-8] I get a message with the lower of its QoS and that of my subscription."""
        for granted in range(3):
            publisher, subscriber, topic = self.pair(granted)
            for sent in range(3):
                publisher.publish(topic, b"%d" % sent, sent)
                subscriber.take(topic=topic, payload=b"%d" % sent, qos=min(sent, granted), dup=False, retain=False)

    def test_payload_of_any_bytes(self) -> None:
        """[MQTT-3.3.3] A payload is handed on byte for byte, none included."""
        publisher, subscriber, topic = self.pair()
        for payload in (b"", bytes(range(256)), b"\0", b"x" * 100_000):
            publisher.publish(topic, payload, 1)
            subscriber.take(payload=payload)

    def test_topic_is_that_of_the_publisher(self) -> None:
        """[MQTT-3.3.2-3] I get the Topic Name that was written, matched by my filter."""
        subscriber, publisher = self.client(), self.client()
        root = unique("root")
        subscriber.subscribe(f"{root}/+/b")
        publisher.publish(f"{root}/a/b", b"1")
        subscriber.take(topic=f"{root}/a/b")

    def test_byte_order_mark_stays(self) -> None:
        """[MQTT-1.5.4-3] U+FEFF in a string is a character like any other."""
        subscriber, publisher = self.client(), self.client()
        topic = "\ufeff" + unique("bom")
        subscriber.subscribe(topic)
        publisher.publish(topic[1:], b"without")
        publisher.publish(topic, b"with")
        subscriber.take(topic=topic, payload=b"with")

    def test_no_normalization(self) -> None:
        """[MQTT-4.7.3-4] Strings that only look the same are two topics."""
        subscriber, publisher = self.client(), self.client()
        root = unique("root")
        subscriber.subscribe(f"{root}/\u00c5")
        publisher.publish(f"{root}/A\u030a", b"decomposed")
        publisher.publish(f"{root}/\u212b", b"angstrom sign")
        publisher.publish(f"{root}/\u00c5", b"composed")
        subscriber.take(payload=b"composed")

    def test_case_and_spaces_count(self) -> None:
        """[MQTT-4.7.3-4] Topic Names are case sensitive and may contain spaces."""
        subscriber, publisher = self.client(), self.client()
        root = unique("root")
        subscriber.subscribe(f"{root}/Accounts payable")
        publisher.publish(f"{root}/ACCOUNTS payable")
        publisher.publish(f"{root}/Accounts payable", b"yes")
        subscriber.take(payload=b"yes")

    def test_topic_of_65535_bytes(self) -> None:
        """[MQTT-4.7.3-3] A Topic Name may be as long as its length bytes can say."""
        subscriber, publisher = self.client(), self.client()
        topic = unique("long").ljust(65_535, "x")
        self.assertEqual(subscriber.subscribe(topic), [0])
        publisher.publish(topic, b"long")
        subscriber.take(topic=topic)

    def test_dup_is_not_handed_on(self) -> None:
        """[MQTT-3.3.1-3] The DUP flag of who published says nothing to me."""
        publisher, subscriber, topic = self.pair()
        publisher.send(Publish(topic, b"again", 1, dup=True, packet_id=9))
        publisher.expect(Puback, packet_id=9)
        subscriber.take(dup=False)

    def test_own_packet_identifiers(self) -> None:
        """[MQTT-4.3.2-2], [MQTT-2.2.1-4] The broker numbers what it sends by itself, never with 0."""
        publisher, subscriber, topic = self.pair(1)
        publisher.send(Publish(topic, b"x", 1, packet_id=60_000))
        publisher.expect(Puback, packet_id=60_000)
        message = subscriber.take()
        self.assertNotIn(message.packet_id, (0, 60_000))

    def test_order(self) -> None:
        """[MQTT-4.6.0-5] Messages of one QoS come in the order in which they were sent."""
        for qos in range(3):
            publisher, subscriber, topic = self.pair(qos)
            for number in range(30):
                publisher.send(Publish(topic, b"%d" % number, qos, packet_id=number + 1 if qos else 0))
            received = [subscriber.expect(Publish).payload for _ in range(30)]
            self.assertEqual(received, [b"%d" % number for number in range(30)])

    def test_no_matching_subscribers(self) -> None:
        """[MQTT-3.4.2-1], [MQTT-3.5.2-1] Where nobody listens I am told so, or success."""
        client = self.client()
        self.assertIn(client.publish(unique("nobody/"), b"", 1), (0x00, 0x10))
        self.assertIn(client.publish(unique("nobody/"), b"", 2), (0x00, 0x10))

    def test_not_permitted(self) -> None:
        """[MQTT-3.4.2-1] What I may not write is answered with 0x87, and the connection lives on."""
        client = self.client()
        self.assertEqual(client.publish("$not/permitted", b"", 1), 0x87)
        self.assertEqual(client.publish("$not/permitted", b"", 2), 0x87)
        self.assertEqual(client.publish("$not/permitted", b"", 0), 0)

    def test_shortest_acknowledgement(self) -> None:
        """[MQTT-3.4.2.1] A PUBACK of success may be two bytes long, and so may mine be."""
        publisher, subscriber, topic = self.pair(1)
        for number, answer in enumerate((frame(0x40, b"\0\1"), frame(0x40, b"\0\2\0"), frame(0x40, b"\0\3\0\0"))):
            publisher.publish(topic, b"x", 1)
            self.assertEqual(subscriber.expect(Publish).packet_id, number + 1)
            subscriber.send(answer)
        subscriber.nothing()


class PropertyTests(ConformanceCase):
    """What is handed on with a message."""

    def handed_on(self, **properties: Any) -> dict[str, Any]:
        """The properties with which a message arrives that was sent with these."""
        publisher, subscriber, topic = self.client(), self.client(), unique("topic/")
        subscriber.subscribe(topic)
        publisher.publish(topic, "Grüße".encode(), 1, **properties)
        return dict(subscriber.take().properties)

    def test_none(self) -> None:
        """[MQTT-3.3.2-4] Where nothing was said nothing is added."""
        self.assertEqual(self.handed_on(), {})

    def test_payload_format_indicator(self) -> None:
        """[MQTT-3.3.2-4] The Payload Format Indicator arrives as it was sent."""
        for value in (0, 1):
            self.assertEqual(self.handed_on(payload_format_indicator=value), {"payload_format_indicator": value})

    def test_content_type(self) -> None:
        """[MQTT-3.3.2-20] The Content Type arrives as it was sent."""
        self.assertEqual(self.handed_on(content_type="text/plain"), {"content_type": "text/plain"})

    def test_response_topic_and_correlation_data(self) -> None:
        """[MQTT-3.3.2-15], [MQTT-3.3.2-16] What a request says about its response arrives unaltered."""
        properties = {"response_topic": "answers/here", "correlation_data": b"\0\1\xff"}
        self.assertEqual(self.handed_on(**properties), properties)

    def test_user_properties(self) -> None:
        """[MQTT-3.3.2-17], [MQTT-3.3.2-18] User Properties arrive in their order, the same name more than once."""
        pairs = [("a", "1"), ("b", ""), ("a", "1"), ("", "x"), ("ä", "ö"), ("a", "2")]
        self.assertEqual(self.handed_on(user_property=pairs), {"user_property": pairs})

    def test_all_together(self) -> None:
        """[MQTT-3.3.2-4] All of them at once, and for each QoS."""
        properties = {
            "payload_format_indicator": 1,
            "content_type": "t",
            "response_topic": "r",
            "correlation_data": b"c",
            "user_property": [("k", "v")],
        }
        publisher, subscriber, topic = self.client(), self.client(), unique("topic/")
        subscriber.subscribe(topic, qos=2)
        for qos in range(3):
            publisher.publish(topic, b"x", qos, **properties)
            self.assertEqual(dict(subscriber.take(qos=qos).properties), properties)

    def test_expiry_is_handed_on(self) -> None:
        """[MQTT-3.3.2-6] The Message Expiry Interval arrives, less what the message has waited."""
        self.assertIn(self.handed_on(message_expiry_interval=100)["message_expiry_interval"], (99, 100))

    def test_properties_are_not_for_3_1_1(self) -> None:
        """[MQTT-3.3.2-4] A subscriber of 3.1.1 gets the message without what its packets cannot carry."""
        topic = unique("topic/")
        old = self.client(version=4)
        old.subscribe(topic, qos=1)
        self.client().publish(topic, b"x", 1, user_property=[("a", "b")], content_type="t")
        old.take(payload=b"x", qos=1)

    def test_from_3_1_1(self) -> None:
        """[MQTT-3.3.2-4] A message of a 3.1.1 client arrives without properties."""
        topic = unique("topic/")
        subscriber, old = self.client(), self.client(version=4)
        subscriber.subscribe(topic, qos=2)
        for qos in range(3):
            old.publish(topic, b"%d" % qos, qos)
            self.assertEqual(subscriber.take(payload=b"%d" % qos, qos=qos).properties, {})


class AliasTests(ConformanceCase):
    """Topic Aliases both ways."""

    def setUp(self) -> None:
        super().setUp()
        self.root = unique("alias")
        self.subscriber = self.client()
        self.subscriber.subscribe(f"{self.root}/#")
        self.publisher = self.client()

    def test_set_and_use(self) -> None:
        """[MQTT-3.3.2-12] An alias stands for the topic with which it was set, and is not handed on."""
        self.publisher.publish(f"{self.root}/a", b"1", topic_alias=1)
        self.publisher.publish("", b"2", topic_alias=1)
        self.publisher.publish("", b"3", 1, topic_alias=1)
        for message in self.subscriber.expect_messages(b"1", b"2", b"3"):
            self.assertEqual((message.topic, dict(message.properties)), (f"{self.root}/a", {}))

    def test_set_anew(self) -> None:
        """[MQTT-3.3.2-12] An alias can be given to another topic."""
        self.publisher.publish(f"{self.root}/a", b"1", topic_alias=1)
        self.publisher.publish(f"{self.root}/b", b"2", topic_alias=1)
        self.publisher.publish("", b"3", topic_alias=1)
        topics = [message.topic for message in self.subscriber.expect_messages(b"1", b"2", b"3")]
        self.assertEqual(topics, [f"{self.root}/a", f"{self.root}/b", f"{self.root}/b"])

    def test_the_largest(self) -> None:
        """[MQTT-3.2.2-17] Aliases up to the announced maximum are good."""
        client = self.socket()
        largest = client.connect().properties["topic_alias_maximum"]
        client.publish(f"{self.root}/a", b"1", topic_alias=largest)
        client.publish("", b"2", topic_alias=largest)
        self.subscriber.expect_messages(b"1", b"2")

    def test_not_on_another_connection(self) -> None:
        """[MQTT-3.3.2-7] An alias is known on its own connection alone."""
        self.publisher.publish(f"{self.root}/a", b"1", topic_alias=1)
        other = self.client()
        other.send(Publish("", b"2", properties={"topic_alias": 1}))
        self.assertEqual(other.expect_closed(), 0x82)

    def test_not_after_coming_back(self) -> None:
        """[MQTT-3.3.2-7] Coming back to my session, I have no aliases."""
        name = unique("c")
        client = self.client(name, session_expiry_interval=60)
        client.publish(f"{self.root}/a", b"1", topic_alias=1)
        client.disconnect()
        client = self.client(name, clean=False)
        client.send(Publish("", b"2", properties={"topic_alias": 1}))
        self.assertEqual(client.expect_closed(), 0x82)

    def test_no_alias_unasked(self) -> None:
        """[MQTT-3.1.2-27] Who announces no Topic Alias Maximum gets no alias."""
        for number in range(3):
            self.publisher.publish(f"{self.root}/a", b"%d" % number)
            self.assertNotIn("topic_alias", self.subscriber.take().properties)

    def test_aliases_of_the_broker(self) -> None:
        """[MQTT-3.1.2-26] The broker's aliases keep within my maximum and mean what they were set to."""
        reader = self.client(topic_alias_maximum=2)
        reader.subscribe(f"{self.root}/#")
        known: dict[int, str] = {}
        for topic in ("a", "b", "c", "a", "b", "c", "d", "a"):
            self.publisher.publish(f"{self.root}/{topic}", topic.encode())
            message = reader.take(payload=topic.encode())
            alias = message.properties.get("topic_alias")
            if message.topic and alias:
                self.assertIn(alias, (1, 2))
                known[alias] = message.topic
            self.assertEqual(message.topic or known[alias or 0], f"{self.root}/{topic}")


class ExactlyOnceTests(ConformanceCase):
    """QoS 2 from me to the broker."""

    def setUp(self) -> None:
        super().setUp()
        self.topic = unique("topic/")
        self.subscriber = self.client()
        self.subscriber.subscribe(self.topic, qos=0)

    def test_whole_exchange(self) -> None:
        """[MQTT-4.3.3-8], [MQTT-4.3.3-11] PUBREC and PUBCOMP carry my Packet Identifier."""
        client = self.client()
        client.send(Publish(self.topic, b"x", 2, packet_id=65_535))
        client.expect(Pubrec, packet_id=65_535, reason_code=0)
        client.send(Pubrel(65_535))
        client.expect(Pubcomp, packet_id=65_535, reason_code=0)
        self.subscriber.take(payload=b"x")

    def test_sent_again(self) -> None:
        """[MQTT-4.3.3-10] Sent again before PUBREL, a message is acknowledged again and not delivered again."""
        client = self.client()
        for dup in (False, True, True):
            client.send(Publish(self.topic, b"x", 2, dup=dup, packet_id=1))
            client.expect(Pubrec, packet_id=1)
        client.send(Pubrel(1))
        client.expect(Pubcomp)
        self.subscriber.take(payload=b"x")
        self.subscriber.nothing()

    def test_identifier_is_free_again(self) -> None:
        """[MQTT-4.3.3-12] After PUBCOMP the identifier stands for a new message."""
        client = self.client()
        for payload in (b"1", b"2"):
            client.send(Publish(self.topic, payload, 2, packet_id=1))
            client.expect(Pubrec, packet_id=1)
            client.send(Pubrel(1))
            client.expect(Pubcomp, packet_id=1)
        self.subscriber.expect_messages(b"1", b"2")

    def test_pubrel_twice(self) -> None:
        """[MQTT-3.6.2-1] A PUBREL for what is not known is answered with 0x92."""
        client = self.client()
        client.send(Pubrel(5))
        client.expect(Pubcomp, packet_id=5, reason_code=0x92)
        client.ping()

    def test_sent_again_after_coming_back(self) -> None:
        """[MQTT-4.3.3-10] The identifiers of open messages are part of my session."""
        name = unique("c")
        client = self.client(name, session_expiry_interval=60)
        client.send(Publish(self.topic, b"x", 2, packet_id=1))
        client.expect(Pubrec, packet_id=1)
        client.drop()
        client = self.client(name, clean=False, session_expiry_interval=60)
        client.send(Publish(self.topic, b"x", 2, dup=True, packet_id=1))
        client.expect(Pubrec, packet_id=1)
        client.send(Pubrel(1))
        client.expect(Pubcomp, packet_id=1, reason_code=0)
        self.subscriber.take(payload=b"x")
        self.subscriber.nothing()

    def test_receive_maximum_of_the_broker(self) -> None:
        """[MQTT-3.3.4-7] More open messages than the broker announced end the connection with 0x93."""
        client = self.socket()
        most = client.connect().properties["receive_maximum"]
        client.send(*[Publish(self.topic, b"", 2, packet_id=number) for number in range(1, most + 2)])
        for _ in range(most):
            client.expect(Pubrec)
        self.assertEqual(client.expect_closed(), 0x93)


class RetainTests(ConformanceCase):
    """Retained messages."""

    def setUp(self) -> None:
        super().setUp()
        self.topic = unique("retained/")
        self.publisher = self.client()

    def late(self, **options: Any) -> Client:
        """Who subscribes after all was said."""
        client = self.client()
        client.subscribe(SubscriptionRequest(self.topic, 2, **options))
        return client

    def test_kept_and_marked(self) -> None:
        """[MQTT-3.3.1-5], [MQTT-3.3.1-8] The last message with RETAIN awaits whoever comes later, marked as such."""
        for payload in (b"1", b"2"):
            self.publisher.publish(self.topic, payload, 1, retain=True)
        client = self.late()
        client.take(payload=b"2", retain=True, qos=1)
        client.nothing()

    def test_of_each_qos(self) -> None:
        """[MQTT-3.3.1-5] It keeps its QoS, and comes with the lower of that and the subscription's."""
        for qos in range(3):
            self.publisher.publish(self.topic, b"%d" % qos, qos, retain=True)
            self.late().take(payload=b"%d" % qos, qos=qos, retain=True)
            client = self.client()
            client.subscribe(self.topic, qos=1)
            client.take(qos=min(qos, 1))

    def test_empty_clears(self) -> None:
        """[MQTT-3.3.1-6], [MQTT-3.3.1-7] An empty retained message forgets the kept one, and is not kept."""
        self.publisher.publish(self.topic, b"1", retain=True)
        self.publisher.publish(self.topic, b"", retain=True)
        self.late().nothing()

    def test_empty_is_delivered(self) -> None:
        """[MQTT-3.3.1-6] Who subscribes already gets the empty one as any message."""
        client = self.late()
        self.publisher.publish(self.topic, b"", retain=True)
        client.take(payload=b"", retain=False)

    def test_without_retain_nothing_changes(self) -> None:
        """[MQTT-3.3.1-8] A message without RETAIN leaves the kept one as it is."""
        self.publisher.publish(self.topic, b"kept", retain=True)
        self.publisher.publish(self.topic, b"passing")
        self.publisher.publish(self.topic, b"")
        self.late().take(payload=b"kept", retain=True)

    def test_retain_as_published(self) -> None:
        """[MQTT-3.3.1-12], [MQTT-3.3.1-13] RETAIN on a live message is as published if I ask for it, else 0."""
        plain, published = self.late(), self.late(retain_as_published=True)
        for retain in (True, False):
            self.publisher.publish(self.topic, b"x", retain=retain)
            plain.take(retain=False)
            published.take(retain=retain)

    def test_retain_handling(self) -> None:
        """[MQTT-3.3.1-9] to [MQTT-3.3.1-11] I get kept messages at each subscribe, at the first, or never."""
        self.publisher.publish(self.topic, b"x", retain=True)
        for handling, first, again in ((0, True, True), (1, True, False), (2, False, False)):
            client = self.client()
            for expected in (first, again):
                client.subscribe(SubscriptionRequest(self.topic, 0, retain_handling=handling))
                if expected:
                    client.take(retain=True)
                client.nothing()

    def test_properties_are_kept(self) -> None:
        """[MQTT-3.3.2-17] A kept message keeps its properties."""
        self.publisher.publish(self.topic, b"x", retain=True, user_property=[("a", "b")], content_type="t")
        self.assertEqual(self.late().take().properties, {"user_property": [("a", "b")], "content_type": "t"})

    def test_subscription_identifier(self) -> None:
        """[MQTT-3.3.4-3] A kept message carries the identifier of the subscription that brought it."""
        self.publisher.publish(self.topic, b"x", retain=True)
        client = self.client()
        client.subscribe(self.topic, identifier=77)
        self.assertEqual(client.take(retain=True).properties, {"subscription_identifier": [77]})

    def test_no_local(self) -> None:
        """[MQTT-3.8.3-3] With No Local I do not even get what I had written to be kept."""
        self.publisher.publish(self.topic, b"x", retain=True)
        self.publisher.subscribe(SubscriptionRequest(self.topic, no_local=True))
        self.publisher.nothing()

    def test_expired(self) -> None:
        """[MQTT-3.3.2-5] A kept message that has expired is there no more."""
        self.publisher.publish(self.topic, b"x", retain=True, message_expiry_interval=1)
        self.assertRaises(TimeoutError, self.publisher.receive, 1.2)
        self.late().nothing()

    def test_remaining_expiry(self) -> None:
        """[MQTT-3.3.2-6] It comes with the time that it still has."""
        self.publisher.publish(self.topic, b"x", retain=True, message_expiry_interval=10)
        self.assertRaises(TimeoutError, self.publisher.receive, 1.1)
        self.assertIn(self.late().take().properties["message_expiry_interval"], (8, 9))

    def test_wildcards(self) -> None:
        """[MQTT-3.3.1-9] A filter with wildcards brings all kept messages that it matches."""
        for name in ("", "/a", "/a/b", "/c"):
            self.publisher.publish(f"{self.topic}{name}", name.encode() or b"root", retain=True)
        client = self.client()
        client.subscribe(f"{self.topic}/#")
        self.assertEqual({client.take().payload for _ in range(4)}, {b"root", b"/a", b"/a/b", b"/c"})
        client.subscribe(f"{self.topic}/+")
        self.assertEqual({client.take().payload for _ in range(2)}, {b"/a", b"/c"})
        client.nothing()
