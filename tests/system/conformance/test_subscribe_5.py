"""MQTT 5.0: filters, options, overlapping and shared subscriptions, and their end."""

from __future__ import annotations

from mqttsecure.wire.packets import Publish, Suback, Subscribe, SubscriptionRequest, Unsuback, Unsubscribe
from tests.system.conformance.case import ConformanceCase
from tests.system.conformance.client import Client, unique


class AcknowledgementTests(ConformanceCase):
    """SUBACK and UNSUBACK."""

    def test_identifier_and_codes(self) -> None:
        """[MQTT-3.9.2-1], [MQTT-3.9.3-1] SUBACK has my Packet Identifier and a code for each filter, in order."""
        client = self.client()
        client.send(Subscribe(65_535, [SubscriptionRequest(unique("t"), qos) for qos in (2, 0, 1)]))
        client.expect(Suback, packet_id=65_535, reason_codes=[2, 0, 1])

    def test_many_filters(self) -> None:
        """[MQTT-3.8.4-5] Many filters in one SUBSCRIBE are as many SUBSCRIBE packets."""
        client = self.client()
        root = unique("many")
        self.assertEqual(client.subscribe(*[f"{root}/{number}" for number in range(300)], qos=1), [1] * 300)

    def test_a_filter_that_is_refused(self) -> None:
        """[MQTT-3.8.4-6] One filter is refused, the others are granted."""
        client = self.client()
        codes = client.subscribe(unique("t"), "test/nosubscribe", unique("t"), qos=1)
        self.assertEqual([code if code < 0x80 else 0x80 for code in codes], [1, 0x80, 1])

    def test_user_property(self) -> None:
        """[MQTT-3.8.2.1.3] SUBSCRIBE and UNSUBSCRIBE may carry User Properties."""
        client = self.client()
        topic = unique("t")
        client.send(Subscribe(1, [SubscriptionRequest(topic)], {"user_property": [("a", "b"), ("a", "b")]}))
        client.expect(Suback, reason_codes=[0])
        client.send(Unsubscribe(2, [topic], {"user_property": [("a", "b")]}))
        client.expect(Unsuback, reason_codes=[0])

    def test_unsuback(self) -> None:
        """[MQTT-3.11.3-1], [MQTT-3.11.3-2] UNSUBACK has a code for each filter: success, or 0x11 for none there."""
        client = self.client()
        first, second = unique("t"), unique("t")
        client.subscribe(first)
        client.send(Unsubscribe(65_535, [first, second, first]))
        client.expect(Unsuback, packet_id=65_535, reason_codes=[0, 0x11, 0x11])

    def test_unsubscribe_compares_characters(self) -> None:
        """[MQTT-3.10.4-1] A filter is removed by its own spelling, not by what it matches."""
        client = self.client()
        root = unique("t")
        client.subscribe(f"{root}/a", f"{root}/+")
        self.assertEqual(client.unsubscribe(f"{root}/#", f"{root}/b", f"{root}/+"), [0x11, 0x11, 0])
        client.publish(f"{root}/b")
        self.client().publish(f"{root}/a", b"left")
        client.take(payload=b"left")

    def test_no_more_after_unsubscribe(self) -> None:
        """[MQTT-3.10.4-2] After UNSUBACK nothing new comes."""
        client, topic = self.client(), unique("t")
        client.subscribe(topic, qos=2)
        client.unsubscribe(topic)
        self.client().publish(topic, b"x", 2)
        client.nothing()

    def test_what_is_under_way_is_completed(self) -> None:
        """[MQTT-3.10.4-3] A message that was begun before UNSUBSCRIBE goes to its end."""
        client, topic = self.client(), unique("t")
        client.subscribe(topic, qos=1)
        self.client().publish(topic, b"x", 1)
        message = client.expect(Publish)
        client.unsubscribe(topic)
        client.send(b"\x40\2" + message.packet_id.to_bytes(2, "big"))
        client.nothing()

    def test_subscribing_anew_replaces(self) -> None:
        """[MQTT-3.8.4-3] The same filter again changes the options, and there is still one copy."""
        client, topic = self.client(), unique("t")
        for qos in (0, 2, 1):
            self.assertEqual(client.subscribe(topic, qos=qos), [qos])
        self.client().publish(topic, b"x", 2)
        client.take(qos=1)
        client.nothing()


class MatchingTests(ConformanceCase):
    """Which filter gets which Topic Name."""

    def matching(self, topic_filter: str, *topics: str) -> list[str]:
        """Those of ``topics`` that come to a subscriber of ``topic_filter``, below a root of their own."""
        root = unique("root")
        reader, writer = self.client(), self.client()
        self.assertEqual(reader.subscribe(f"{root}/{topic_filter}"), [0])
        for topic in topics:
            writer.publish(f"{root}/{topic}", topic.encode())
        self.client().publish(f"{root}/{topic_filter.replace('+', 'end').replace('#', 'end')}", b"end of test")
        came = []
        while (payload := reader.take().payload) != b"end of test":
            came.append(payload.decode())
        return came

    def test_exact(self) -> None:
        """[MQTT-4.7.3-4] Without wildcards only the same name matches."""
        self.assertEqual(self.matching("a/b", "a", "a/b", "a/b/", "a/B", "/a/b", "a//b"), ["a/b"])

    def test_plus(self) -> None:
        """[MQTT-4.7.1-2] + stands for one level, an empty one too."""
        self.assertEqual(self.matching("a/+/c", "a/b/c", "a//c", "a/c", "a/b/b/c", "a/b/c/"), ["a/b/c", "a//c"])
        self.assertEqual(self.matching("+", "a", "", "a/b"), ["a", ""])
        self.assertEqual(self.matching("+/+", "a/b", "/b", "/", "a"), ["a/b", "/b", "/"])

    def test_hash(self) -> None:
        """[MQTT-4.7.1-1] # stands for its parent and all below."""
        self.assertEqual(self.matching("a/#", "a", "a/b", "a/b/c", "a/", "b"), ["a", "a/b", "a/b/c", "a/"])

    def test_both(self) -> None:
        """[MQTT-4.7.1-2] Both wildcards in one filter."""
        self.assertEqual(self.matching("+/b/#", "a/b", "a/b/c/d", "/b", "b", "a/c"), ["a/b", "a/b/c/d", "/b"])

    def test_slashes_count(self) -> None:
        """[MQTT-4.7.3] A leading or trailing slash makes another topic."""
        self.assertEqual(self.matching("/finance", "finance", "/finance", "/finance/"), ["/finance"])

    def test_leading_wildcards_leave_out_dollar(self) -> None:
        """[MQTT-4.7.2-1] Neither # nor + at the front brings a topic that begins with $."""
        reader = self.client()
        reader.subscribe("#", "+/broker/#", "+/+", SubscriptionRequest("$test/#"))
        topic = f"$test/{unique('x')}"
        self.client().publish(topic, b"x")
        while (message := reader.expect(Publish)).topic != topic:
            self.assertFalse(message.topic.startswith("$"), message)
        reader.unsubscribe("$test/#")
        self.client().publish(topic, b"x")
        reader.nothing()

    def test_counters(self) -> None:
        """[MQTT-4.7.2-1] $SYS is read by its name."""
        reader = self.client()
        reader.subscribe("$SYS/#")
        self.assertTrue(reader.expect(Publish).topic.startswith("$SYS/"))


class OptionTests(ConformanceCase):
    """Subscription Identifiers, No Local and overlapping filters."""

    def test_no_local(self) -> None:
        """[MQTT-3.8.3-3] With No Local I do not hear myself; without it I do."""
        topic = unique("t")
        deaf, hearing = self.client(), self.client()
        deaf.subscribe(SubscriptionRequest(topic, no_local=True))
        hearing.subscribe(topic)
        deaf.publish(topic, b"from deaf")
        deaf.nothing()
        hearing.send(Publish(topic, b"from hearing"))
        hearing.expect_messages(b"from deaf", b"from hearing")
        deaf.take(payload=b"from hearing")

    def test_overlapping(self) -> None:
        """[MQTT-3.3.4-2] However many of my filters match, I get the highest QoS among them."""
        root = unique("t")
        client = self.client()
        client.subscribe(SubscriptionRequest(f"{root}/a", 0), SubscriptionRequest(f"{root}/+", 2))
        client.subscribe(SubscriptionRequest(f"{root}/#", 1))
        self.client().publish(f"{root}/a", b"x", 2)
        client.take(qos=2)
        client.nothing()

    def test_identifier(self) -> None:
        """[MQTT-3.3.4-3] A message carries the identifier of the subscription that brought it."""
        client, topic = self.client(), unique("t")
        for identifier in (1, 127, 128, 268_435_455):
            client.subscribe(topic, identifier=identifier)
            self.client().publish(topic)
            self.assertEqual(client.take().properties, {"subscription_identifier": [identifier]})

    def test_no_identifier(self) -> None:
        """[MQTT-3.3.4-3] Without an identifier there is none, also where there was one before."""
        client, topic = self.client(), unique("t")
        client.subscribe(topic, identifier=5)
        client.subscribe(topic)
        self.client().publish(topic)
        self.assertEqual(client.take().properties, {})

    def test_identifiers_of_overlapping(self) -> None:
        """[MQTT-3.3.4-4], [MQTT-3.3.4-5] One message with the identifiers of all filters that match."""
        root = unique("t")
        client = self.client()
        client.subscribe(f"{root}/a", identifier=1)
        client.subscribe(f"{root}/+", identifier=2)
        client.subscribe(f"{root}/#")
        client.subscribe(f"{root}/b", identifier=3)
        self.client().publish(f"{root}/a")
        self.assertEqual(sorted(client.take().properties["subscription_identifier"]), [1, 2])
        client.nothing()

    def test_identifier_of_another_is_not_shown(self) -> None:
        """[MQTT-3.3.4-3] Identifiers are mine; another subscriber sees his own."""
        first, second, topic = self.client(), self.client(), unique("t")
        first.subscribe(topic, identifier=1)
        second.subscribe(topic, identifier=2)
        self.client().publish(topic)
        self.assertEqual(first.take().properties["subscription_identifier"], [1])
        self.assertEqual(second.take().properties["subscription_identifier"], [2])


class SharedTests(ConformanceCase):
    """Shared subscriptions."""

    def setUp(self) -> None:
        super().setUp()
        self.topic = unique("t")
        self.shared = f"$share/group/{self.topic}"
        self.writer = self.client()

    def members(self, count: int, qos: int = 0) -> list[Client]:
        members = [self.client() for _ in range(count)]
        for member in members:
            self.assertEqual(member.subscribe(self.shared, qos=qos), [qos])
        return members

    def shares(self, members: list[Client]) -> list[int]:
        """How many messages each has got by now; all are acknowledged."""
        counts = []
        for member in members:
            member.send(b"\xc0\0")
            count = 0
            while isinstance(packet := member.receive(), Publish):
                count += 1
            self.assertEqual(type(packet).__name__, "Pingresp")
            counts.append(count)
        return counts

    def test_each_message_to_one(self) -> None:
        """[MQTT-4.8.2-4] Each message goes to one member, and all have their turn."""
        members = self.members(3)
        for _ in range(12):
            self.writer.publish(self.topic)
        shares = self.shares(members)
        self.assertEqual(sum(shares), 12)
        self.assertTrue(all(shares), shares)

    def test_groups_and_others(self) -> None:
        """[MQTT-4.8.2-4] Each group and each plain subscriber gets its copy."""
        members, other, plain = self.members(2), self.client(), self.client()
        other.subscribe(f"$share/other/{self.topic}")
        plain.subscribe(self.topic)
        for _ in range(4):
            self.writer.publish(self.topic)
        self.assertEqual(sum(self.shares(members)), 4)
        self.assertEqual(self.shares([other, plain]), [4, 4])

    def test_own_qos(self) -> None:
        """[MQTT-4.8.2-3] A member gets a message with its granted QoS at most."""
        member = self.members(1, 1)[0]
        self.writer.publish(self.topic, b"x", 2)
        member.take(qos=1)

    def test_no_retained(self) -> None:
        """[MQTT-4.8.2] Kept messages are not sent to a shared subscription."""
        self.writer.publish(self.topic, b"kept", retain=True)
        self.members(1)[0].nothing()
        self.writer.publish(self.topic, b"", retain=True)

    def test_a_member_that_leaves(self) -> None:
        """[MQTT-4.8.2-4] Those who stay share what comes."""
        members = self.members(3)
        members[0].unsubscribe(self.shared)
        members[1].disconnect()
        for _ in range(4):
            self.writer.publish(self.topic)
        self.assertEqual(self.shares([members[0], members[2]]), [0, 4])

    def test_handed_over(self) -> None:
        """[MQTT-4.8.2] What a member had not acknowledged when its session ended goes to another (QoS 1)."""
        first, second = self.members(2, 1)
        for _ in range(4):
            self.writer.publish(self.topic, b"x", 1)
        for _ in range(2):
            self.assertEqual(first.expect(Publish).qos, 1)
        first.disconnect()
        self.assertEqual(sum(self.shares([second])), 4)

    def test_not_handed_over(self) -> None:
        """[MQTT-4.8.2-5] A QoS 2 message that was sent to a member goes to no other when that member's session ends."""
        first, second = self.members(2, 2)
        self.writer.publish(self.topic, b"x", 2)
        self.assertEqual(first.expect(Publish).qos, 2)
        first.disconnect()
        second.nothing()

    def test_a_refused_message_is_gone(self) -> None:
        """[MQTT-4.8.2-6] A message that a member refuses is not offered to another."""
        first, second = self.members(2, 1)
        self.writer.publish(self.topic, b"x", 1)
        self.writer.publish(self.topic, b"x", 1)
        message = first.expect(Publish)
        first.send(b"\x40\3" + message.packet_id.to_bytes(2, "big") + b"\x83")
        first.nothing()
        self.assertEqual(self.shares([second]), [1])

    def test_wildcards(self) -> None:
        """[MQTT-4.8.2-2] The filter behind the share name may have wildcards."""
        member = self.client()
        self.assertEqual(member.subscribe(f"$share/g/{self.topic}/+/#"), [0])
        self.writer.publish(f"{self.topic}/a/b", b"x")
        member.take(topic=f"{self.topic}/a/b")

    def test_unsuback(self) -> None:
        """[MQTT-3.11.3-2] A shared subscription is removed by its whole name."""
        member = self.members(1)[0]
        self.assertEqual(member.unsubscribe(self.topic, self.shared, self.shared), [0x11, 0, 0x11])

    def test_subscription_identifier(self) -> None:
        """[MQTT-3.3.4-3] A member's message carries its Subscription Identifier."""
        member = self.client()
        member.subscribe(self.shared, identifier=9)
        self.writer.publish(self.topic)
        self.assertEqual(member.take().properties, {"subscription_identifier": [9]})
