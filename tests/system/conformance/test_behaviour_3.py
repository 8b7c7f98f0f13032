"""MQTT 3.1.1 and 3.1: connecting, publishing, subscribing, sessions and wills."""

from __future__ import annotations

from mqttsecure.wire.packets import (
    Connack,
    Connect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from tests.system.conformance.case import ConformanceCase
from tests.system.conformance.client import frame, text, unique


class ConnectTests(ConformanceCase):
    """Who gets in, and for how long."""

    version = 4

    def test_no_session(self) -> None:
        """[MQTT-3.2.2-1] With Clean Session there is no Session Present, also at the second time."""
        name = unique("c")
        for _ in range(2):
            client = self.socket()
            self.assertFalse(client.connect(name).session_present)
            client.disconnect()

    def test_session(self) -> None:
        """[MQTT-3.2.2-2], [MQTT-3.2.2-3] Without Clean Session I am told whether there was one."""
        name = unique("c")
        for present in (False, True, True):
            client = self.socket()
            self.assertEqual(client.connect(name, clean=False).session_present, present)
            client.disconnect()

    def test_clean_session_discards(self) -> None:
        """[MQTT-3.1.2-6] Clean Session ends what there was, and leaves nothing."""
        name, topic = unique("c"), unique("t")
        client = self.client(name, clean=False)
        client.subscribe(topic, qos=1)
        client.disconnect()
        self.client(name).disconnect()
        client = self.socket()
        self.assertFalse(client.connect(name, clean=False).session_present)
        self.client().publish(topic, b"x", 1)
        client.nothing()

    def test_empty_client_identifier(self) -> None:
        """[MQTT-3.1.3-6], [MQTT-3.1.3-7] With Clean Session I need no Client Identifier."""
        first, second = self.client(""), self.client("")
        first.ping()
        second.ping()

    def test_client_identifiers_that_must_be_taken(self) -> None:
        """[MQTT-3.1.3-5] 1 to 23 letters and digits are always good; others are taken too."""
        for name in ("1", "abcdefghijklmnopqrstuvw", "ABCDEFGHIJKLMNOPQRSTUVW", "x" * 100, "a/b c#+"):
            self.client(name).disconnect()

    def test_takeover(self) -> None:
        """[MQTT-3.1.4-2] A second connection of my Client Identifier ends the first, in silence."""
        name = unique("c")
        first = self.client(name)
        second = self.client(name)
        self.assertIsNone(first.expect_closed())
        second.ping()

    def test_user_name_and_password(self) -> None:
        """[MQTT-3.1.2-18] to [MQTT-3.1.2-21] User name and password are read from where their flags say."""
        self.client(username="alice").disconnect()
        self.client(username="alice", password=b"\0\xff").disconnect()

    def test_packets_behind_connect(self) -> None:
        """[MQTT-3.2.0-1] CONNACK comes first, whatever I send behind CONNECT at once."""
        client = self.socket()
        topic = unique("t")
        client.send(Connect(4, unique("c")), Subscribe(1, [SubscriptionRequest(topic)]), Publish(topic, b"x"))
        client.expect(Connack, reason_code=0)
        client.expect(Suback)
        client.expect(Publish)

    def test_padded_remaining_length(self) -> None:
        """[MQTT-2.2.3] 3.1.1 does not forbid a Remaining Length in more bytes than it needs."""
        client = self.client()
        client.send(b"\xc0\x80\0")
        self.assertEqual(type(client.receive()).__name__, "Pingresp")

    def test_keep_alive(self) -> None:
        """[MQTT-3.1.2-24] Silent for one and a half times the Keep Alive, I am cut off."""
        client = self.client(keep_alive=1)
        self.assertRaises(TimeoutError, client.receive, 1.2)
        self.assertIsNone(client.expect_closed(seconds=1.5))

    def test_ping(self) -> None:
        """[MQTT-3.12.4-1] PINGREQ is answered."""
        client = self.client()
        for _ in range(3):
            client.ping()

    def test_disconnect(self) -> None:
        """[MQTT-3.14.4-1] After DISCONNECT the connection is closed and nothing more is done."""
        client, topic = self.client(), unique("t")
        reader = self.client()
        reader.subscribe(topic)
        client.send(b"\xe0\0", Publish(topic, b"too late"))
        client.expect_end()
        reader.nothing()


class MessageTests(ConformanceCase):
    """What becomes of a message."""

    version = 4

    def test_each_qos_to_each(self) -> None:
        """[MQTT-3.8.4-6] The lower of both QoS counts."""
        for granted in range(3):
            topic = unique("t")
            reader, writer = self.client(), self.client()
            self.assertEqual(reader.subscribe(topic, qos=granted), [granted])
            for sent in range(3):
                writer.publish(topic, b"%d" % sent, sent)
                reader.take(topic=topic, payload=b"%d" % sent, qos=min(sent, granted), retain=False, dup=False)

    def test_suback(self) -> None:
        """[MQTT-3.8.4-2], [MQTT-3.9.3-1] SUBACK has my Packet Identifier and a code for each filter."""
        client = self.client()
        client.send(Subscribe(65_535, [SubscriptionRequest(unique("t"), qos) for qos in (2, 0, 1)]))
        client.expect(Suback, packet_id=65_535, reason_codes=[2, 0, 1])

    def test_refused_filter(self) -> None:
        """[MQTT-3.9.3-2] A filter that is refused gets 0x80, the others are granted."""
        self.assertEqual(self.client().subscribe(unique("t"), "test/nosubscribe", unique("t"), qos=1), [1, 0x80, 1])

    def test_unsubscribe(self) -> None:
        """[MQTT-3.10.4-4], [MQTT-3.10.4-5] UNSUBACK comes even where nothing was subscribed; then it is quiet."""
        client, topic = self.client(), unique("t")
        client.subscribe(topic, qos=1)
        self.assertEqual(client.unsubscribe(unique("t")), [])
        self.assertEqual(client.unsubscribe(topic), [])
        self.client().publish(topic, b"x", 1)
        client.nothing()

    def test_overlapping(self) -> None:
        """[MQTT-3.3.5-1] With several filters that match I get the highest QoS."""
        root = unique("t")
        client = self.client()
        client.subscribe(f"{root}/#", qos=2)
        client.subscribe(f"{root}/+", qos=1)
        self.client().publish(f"{root}/a", b"x", 2)
        client.take(qos=2)
        client.nothing()

    def test_subscribing_anew(self) -> None:
        """[MQTT-3.8.4-3] The same filter again replaces the first and brings kept messages again."""
        client, topic = self.client(), unique("t")
        self.client().publish(topic, b"kept", 1, retain=True)
        for qos in (0, 1):
            client.subscribe(topic, qos=qos)
            client.take(retain=True, qos=qos)
        self.client().publish(topic, b"live", 1)
        client.take(payload=b"live", retain=False)
        client.nothing()

    def test_retained(self) -> None:
        """[MQTT-3.3.1-5] to [MQTT-3.3.1-9] Kept for those who come later, marked then and only then."""
        topic = unique("t")
        early, writer = self.client(), self.client()
        early.subscribe(topic, qos=2)
        for qos in range(3):
            writer.publish(topic, b"%d" % qos, qos, retain=True)
            early.take(payload=b"%d" % qos, retain=False)
            late = self.client()
            late.subscribe(topic, qos=2)
            late.take(payload=b"%d" % qos, qos=qos, retain=True)

    def test_retained_is_cleared(self) -> None:
        """[MQTT-3.3.1-10], [MQTT-3.3.1-11] An empty one clears it."""
        topic = unique("t")
        writer, reader = self.client(), self.client()
        writer.publish(topic, b"kept", retain=True)
        writer.publish(topic, b"", retain=True)
        reader.subscribe(topic)
        reader.nothing()

    def test_exactly_once(self) -> None:
        """[MQTT-4.3.3-2] Sent again before PUBREL, a QoS 2 message is delivered once; then its identifier is free."""
        topic = unique("t")
        reader, writer = self.client(), self.client()
        reader.subscribe(topic)
        for payload in (b"1", b"2"):
            for dup in (False, True):
                writer.send(Publish(topic, payload, 2, dup=dup, packet_id=1))
                writer.expect(Pubrec, packet_id=1)
            writer.send(Pubrel(1))
            writer.expect(Pubcomp, packet_id=1)
        reader.expect_messages(b"1", b"2")
        reader.nothing()

    def test_pubrel_for_nothing(self) -> None:
        """[MQTT-4.3.3-2] A PUBREL is answered by PUBCOMP in any case, so that its sender can go on."""
        client = self.client()
        client.send(Pubrel(9))
        client.expect(Pubcomp, packet_id=9)

    def test_unknown_acknowledgements(self) -> None:
        """[MQTT-4.3.2-1] Acknowledging what was never sent ends nothing."""
        client = self.client()
        client.send(Puback(77), Pubcomp(78), Pubrec(79))
        client.expect(Pubrel, packet_id=79)
        client.nothing()

    def test_dollar(self) -> None:
        """[MQTT-4.7.2-1] A wildcard at the front leaves out topics that begin with $."""
        client = self.client()
        client.subscribe("#", "+/#")
        topic = f"$test/{unique('x')}"
        other = self.client()
        other.subscribe(topic)
        other.publish(unique("plain/"), b"plain")
        other.send(Publish(topic, b"dollar"))
        other.take(payload=b"dollar")
        while (message := client.expect(Publish)).payload != b"plain":
            self.assertFalse(message.topic.startswith("$"))
        client.nothing()

    def test_levels(self) -> None:
        """[MQTT-4.7.1-2], [MQTT-4.7.1-3] The examples of the standard."""
        root = unique("t")
        for topic_filter, yes, no in (
            ("sport/tennis/player1/#", ("sport/tennis/player1", "sport/tennis/player1/ranking"), ("sport/tennis",)),
            ("sport/tennis/+", ("sport/tennis/player1", "sport/tennis/"), ("sport/tennis/player1/ranking",)),
            ("sport/+", ("sport/",), ("sport", "sport/a/b")),
            ("+/+", ("a/finance", "/finance"), ("finance",)),
        ):
            reader, writer = self.client(), self.client()
            reader.subscribe(f"{root}/{topic_filter}")
            for topic in (*no, *yes):
                writer.publish(f"{root}/{topic}", topic.encode())
            reader.expect_messages(*[topic.encode() for topic in yes])
            reader.nothing()
            reader.disconnect()

    def test_long_topic(self) -> None:
        """[MQTT-4.7.3-3] A Topic Name of 65,535 bytes."""
        topic = unique("long").ljust(65_535, "x")
        reader = self.client()
        self.assertEqual(reader.subscribe(topic), [0])
        self.client().publish(topic, b"x")
        reader.take(topic=topic)

    def test_byte_order_mark(self) -> None:
        """[MQTT-1.5.3-3] U+FEFF stays where it is."""
        topic = "\ufeff" + unique("t")
        reader = self.client()
        reader.subscribe(topic)
        self.client().publish(topic, b"x")
        reader.take(topic=topic)

    def test_denied(self) -> None:
        """[MQTT-3.3.5-2] What I may not write is acknowledged, where the listener is set so, and goes nowhere."""
        client = self.client()
        for qos in range(3):
            client.publish("$not/permitted", b"x", qos)
        client.ping()


class SessionTests(ConformanceCase):
    """Sessions and wills."""

    version = 4

    def test_waiting_messages(self) -> None:
        """[MQTT-3.1.2-5] QoS 1 and 2 await who is away, in order."""
        name, topic = unique("c"), unique("t")
        client = self.client(name, clean=False)
        client.subscribe(topic, qos=2)
        client.drop()
        writer = self.client()
        for qos in (1, 2, 1):
            writer.publish(topic, b"%d" % qos, qos)
        client = self.client(name, clean=False)
        received = [client.expect(Publish) for _ in range(3)]
        self.assertEqual([message.qos for message in received], [1, 2, 1])
        self.assertFalse(any(message.dup for message in received))

    def test_sent_again(self) -> None:
        """[MQTT-4.4.0-1] What was not acknowledged comes again with DUP and its identifier; a PUBREL too."""
        name, topic = unique("c"), unique("t")
        client = self.client(name, clean=False)
        client.subscribe(topic, qos=2)
        writer = self.client()
        for number, qos in enumerate((1, 2, 2)):
            writer.publish(topic, b"%d" % number, qos)
        first, second, third = [client.expect(Publish) for _ in range(3)]
        client.send(Pubrec(second.packet_id))
        client.expect(Pubrel)
        client.drop()
        client = self.client(name, clean=False)
        again = [client.receive() for _ in range(3)]
        client.nothing()
        messages = [(packet.packet_id, packet.dup) for packet in again if isinstance(packet, Publish)]
        self.assertEqual(messages, [(first.packet_id, True), (third.packet_id, True)])
        self.assertIn(Pubrel(second.packet_id), again)

    def test_subscriptions_are_kept(self) -> None:
        """[MQTT-3.1.2-4] Subscriptions are part of the session."""
        name, topic = unique("c"), unique("t")
        client = self.client(name, clean=False)
        client.subscribe(topic)
        client.disconnect()
        client = self.client(name, clean=False)
        self.client().publish(topic, b"x")
        client.take(payload=b"x")

    def test_will(self) -> None:
        """[MQTT-3.1.2-8], [MQTT-3.1.2-16], [MQTT-3.1.2-17] A will goes out with its QoS, and is kept if told so."""
        topic = unique("t")
        reader = self.client()
        reader.subscribe(topic, qos=2)
        for qos in range(3):
            self.client(will=Will(topic, b"gone", qos, qos == 2)).drop()
            reader.take(payload=b"gone", qos=qos, retain=False)
        late = self.client()
        late.subscribe(topic)
        late.take(payload=b"gone", retain=True)

    def test_no_will(self) -> None:
        """[MQTT-3.1.2-10], [MQTT-3.14.4-3] After DISCONNECT there is no will."""
        topic = unique("t")
        reader = self.client()
        reader.subscribe(topic)
        self.client(will=Will(topic, b"gone")).disconnect()
        reader.nothing()

    def test_will_of_who_is_taken_over(self) -> None:
        """[MQTT-3.1.2-8] Another connection takes over: my connection ended without DISCONNECT."""
        topic, name = unique("t"), unique("c")
        reader = self.client()
        reader.subscribe(topic)
        self.client(name, will=Will(topic, b"gone"))
        self.client(name)
        reader.take(payload=b"gone")

    def test_will_of_who_breaks_a_rule(self) -> None:
        """[MQTT-3.1.2-8] The same where the broker cuts me off."""
        topic = unique("t")
        reader = self.client()
        reader.subscribe(topic)
        client = self.client(will=Will(topic, b"gone"))
        client.send(frame(0x30, text("#")))
        self.assertIsNone(client.expect_closed())
        reader.take(payload=b"gone")


class OldestTests(ConformanceCase):
    """MQTT 3.1."""

    version = 3

    def test_connect(self) -> None:
        """v3.1 section 3.1: MQIsdp with level 3 is let in; CONNACK has no Session Present."""
        name = unique("c")
        for _ in range(2):
            client = self.socket()
            self.assertFalse(client.connect(name, clean=False).session_present)
            client.disconnect()

    def test_empty_client_identifier(self) -> None:
        """v3.1 section 3.1: without a Client Identifier nobody is let in."""
        client = self.socket()
        client.send(frame(0x10, text("MQIsdp"), b"\3\2\0\x3c", text("")))
        client.expect(Connack, reason_code=2)
        client.expect_end()

    def test_long_client_identifier(self) -> None:
        """v3.1 section 3.1 wants at most 23 characters; more are common, and taken."""
        self.client("x" * 60).ping()

    def test_unused_flag(self) -> None:
        """v3.1 section 3.1: the lowest CONNECT flag is not used."""
        client = self.socket()
        client.send(frame(0x10, text("MQIsdp"), b"\3\3\0\x3c", text(unique("c"))))
        client.expect(Connack, reason_code=0)

    def test_messages(self) -> None:
        """v3.1 section 4.1: each QoS, between 3.1 and the others."""
        for other in (3, 4, 5):
            topic = unique("t")
            reader, writer = self.client(), self.client(version=other)
            self.assertEqual(reader.subscribe(topic, qos=2), [2])
            for qos in range(3):
                writer.publish(topic, b"%d" % qos, qos)
                reader.take(payload=b"%d" % qos, qos=qos)

    def test_sent_again_with_dup(self) -> None:
        """v3.1 section 2.1: PUBREL, SUBSCRIBE and UNSUBSCRIBE may be sent again with the DUP flag."""
        client, topic = self.client(), unique("t")
        client.send(frame(0x8A, b"\0\1", text(topic), b"\0"))
        client.expect(Suback, packet_id=1)
        client.send(Publish(topic, b"x", 2, packet_id=2))
        client.expect(Pubrec)
        client.take(payload=b"x")
        client.send(frame(0x6A, b"\0\2"))
        client.expect(Pubcomp)
        client.send(frame(0xAA, b"\0\3", text(topic)))
        self.assertEqual(type(client.receive()).__name__, "Unsuback")

    def test_bridge_bit(self) -> None:
        """Bridges of 3.x set bit 7 of the level: they do not get back what they bring, and see RETAIN as published."""
        topic = unique("t")
        bridge = self.socket()
        bridge.send(Connect(3, unique("c"), bridge=True))
        bridge.expect(Connack, reason_code=0)
        bridge.subscribe(topic)
        bridge.publish(topic, b"from the bridge")
        bridge.nothing()
        self.client().publish(topic, b"to the bridge", retain=True)
        bridge.take(payload=b"to the bridge", retain=True)
