"""MQTT 5.0: Receive Maximum, Maximum Packet Size, and the exchanges of what the broker sends."""

from __future__ import annotations

from typing import Any

from mqttsecure.wire.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.system.conformance.case import ConformanceCase
from tests.system.conformance.client import Client, unique


class OutgoingTests(ConformanceCase):
    """QoS 1 and 2 from the broker to me."""

    def reader(self, qos: int, **arguments: Any) -> Client:
        """Who gets all that :meth:`write` writes."""
        self.topic = unique("t")
        self.name = unique("c")
        reader = self.client(self.name, session_expiry_interval=60, **arguments)
        reader.subscribe(self.topic, qos=qos)
        self.writer = self.client()
        return reader

    def write(self, *payloads: bytes, qos: int = 2, **properties: Any) -> None:
        for payload in payloads:
            self.writer.publish(self.topic, payload, qos, **properties)

    def back(self, **arguments: Any) -> Client:
        """The reader comes back to its session."""
        client = self.socket()
        connack = client.connect(self.name, clean=False, session_expiry_interval=60, **arguments)
        self.assertTrue(connack.session_present)
        return client

    def test_no_more_than_receive_maximum(self) -> None:
        """[MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2] No more is under way than I said; each PUBACK frees one."""
        reader = self.reader(1, receive_maximum=2)
        self.write(b"1", b"2", b"3", b"4")
        first, second = reader.expect(Publish), reader.expect(Publish)
        reader.nothing()
        reader.send(Puback(second.packet_id))
        third = reader.expect(Publish, payload=b"3")
        reader.nothing()
        reader.send(Puback(first.packet_id), Puback(third.packet_id))
        reader.take(payload=b"4")

    def test_pubrec_frees_nothing(self) -> None:
        """[MQTT-4.9.0-2] A QoS 2 message counts until PUBCOMP."""
        reader = self.reader(2, receive_maximum=1)
        self.write(b"1", b"2")
        first = reader.expect(Publish, payload=b"1")
        reader.send(Pubrec(first.packet_id))
        reader.expect(Pubrel, packet_id=first.packet_id)
        reader.nothing()
        reader.send(Pubcomp(first.packet_id))
        reader.take(payload=b"2")

    def test_a_refusal_frees(self) -> None:
        """[MQTT-4.9.0-2], [MQTT-4.3.3-4] A PUBREC of 0x80 or more ends the exchange: no PUBREL, the next comes."""
        reader = self.reader(2, receive_maximum=1)
        self.write(b"1", b"2")
        reader.send(Pubrec(reader.expect(Publish, payload=b"1").packet_id, 0x80))
        reader.take(payload=b"2")
        reader.nothing()

    def test_qos_0_is_not_counted(self) -> None:
        """[MQTT-4.9.0-3] QoS 0 and other packets pass while the quota is spent."""
        reader = self.reader(1, receive_maximum=1)
        self.write(b"1", b"2")
        reader.expect(Publish, payload=b"1")
        self.write(b"0", qos=0)
        reader.take(payload=b"0", qos=0)
        reader.ping()
        self.assertEqual(reader.subscribe(unique("t")), [0])

    def test_nothing_is_sent_again(self) -> None:
        """[MQTT-4.4.0-1] While connected I get a message once, even if I am slow to acknowledge it."""
        reader = self.reader(1)
        self.write(b"1")
        reader.expect(Publish)
        self.assertRaises(TimeoutError, reader.receive, 1.0)
        reader.nothing()

    def test_sent_again_after_coming_back(self) -> None:
        """[MQTT-4.4.0-1], [MQTT-4.6.0-1] What I had not acknowledged comes again in order, marked DUP, as it was."""
        for qos in (1, 2):
            reader = self.reader(qos)
            self.write(b"1", b"2", b"3")
            before = [reader.expect(Publish) for _ in range(3)]
            reader.drop()
            reader = self.back()
            for message in before:
                reader.expect(Publish, payload=message.payload, packet_id=message.packet_id, dup=True, qos=qos)
            reader.nothing()

    def test_pubrel_is_sent_again(self) -> None:
        """[MQTT-4.4.0-1], [MQTT-4.3.3-5] After PUBREC the PUBREL comes again, not the message."""
        reader = self.reader(2)
        self.write(b"1")
        message = reader.expect(Publish)
        reader.send(Pubrec(message.packet_id))
        reader.expect(Pubrel)
        reader.drop()
        reader = self.back()
        reader.expect(Pubrel, packet_id=message.packet_id)
        reader.send(Pubcomp(message.packet_id))
        reader.nothing()

    def test_acknowledged_is_over(self) -> None:
        """[MQTT-4.4.0-2] What I acknowledged, even with a refusal, never comes again."""
        reader = self.reader(1)
        self.write(b"1", b"2")
        reader.send(Puback(reader.expect(Publish).packet_id), Puback(reader.expect(Publish).packet_id, 0x80))
        reader.nothing()
        reader.drop()
        self.back().nothing()

    def test_waiting_messages(self) -> None:
        """[MQTT-4.5.0-1] QoS 1 and 2 written while I was away await me, in order, behind what was under way."""
        reader = self.reader(2)
        self.write(b"0")
        reader.expect(Publish)
        reader.drop()
        self.write(b"1", qos=1)
        self.write(b"2")
        reader = self.back()
        reader.expect(Publish, payload=b"0", dup=True)
        reader.expect(Publish, payload=b"1", dup=False, qos=1)
        reader.expect(Publish, payload=b"2", dup=False, qos=2)

    def test_waiting_within_receive_maximum(self) -> None:
        """[MQTT-3.3.4-9] What awaits me comes no faster than my new Receive Maximum."""
        reader = self.reader(1)
        reader.disconnect()
        self.write(b"1", b"2", b"3")
        reader = self.back(receive_maximum=1)
        for payload in (b"1", b"2", b"3"):
            message = reader.expect(Publish, payload=payload)
            reader.nothing()
            reader.send(Puback(message.packet_id))

    def test_expired_while_waiting(self) -> None:
        """[MQTT-3.3.2-5] What has expired while it waited for me is not sent; the rest tells what time is left."""
        reader = self.reader(1)
        reader.disconnect()
        self.write(b"short", message_expiry_interval=1)
        self.write(b"long", message_expiry_interval=100)
        self.assertRaises(TimeoutError, self.writer.receive, 1.2)
        message = self.back().take(payload=b"long")
        self.assertIn(message.properties["message_expiry_interval"], (98, 99))

    def test_expiry_does_not_end_what_has_begun(self) -> None:
        """[MQTT-4.3.3-7], [MQTT-4.3.3-13] A message that was sent once is sent again and goes to its end."""
        reader = self.reader(2)
        self.write(b"1", message_expiry_interval=1)
        message = reader.expect(Publish)
        reader.drop()
        self.assertRaises(TimeoutError, self.writer.receive, 1.2)
        self.back().take(payload=b"1", packet_id=message.packet_id, dup=True)

    def test_maximum_packet_size(self) -> None:
        """[MQTT-3.1.2-24], [MQTT-3.1.2-25] A message larger than I take is left out as if it had been delivered."""
        reader = self.reader(2, maximum_packet_size=100)
        self.write(b"x" * 200, b"small")
        self.write(b"x" * 200, qos=0)
        reader.take(payload=b"small")
        reader.nothing()

    def test_maximum_packet_size_to_the_byte(self) -> None:
        """[MQTT-3.1.2-24] A packet of just the size that I take comes."""
        topic = unique("t")
        size = 2 + 2 + len(topic) + 1 + 50
        readers = [self.client(maximum_packet_size=size), self.client(maximum_packet_size=size - 1)]
        for reader in readers:
            reader.subscribe(topic)
        self.client().publish(topic, b"x" * 50)
        readers[0].take(payload=b"x" * 50)
        readers[1].nothing()

    def test_trimmed_answers(self) -> None:
        """[MQTT-3.4.2-2], [MQTT-3.9.2-2] Where I take small packets alone, an answer leaves out what is not needed."""
        client = self.client(maximum_packet_size=20)
        client.send(Publish("$not/permitted", b"", 1, packet_id=1))
        self.assertEqual(client.expect(Puback, packet_id=1, reason_code=0x87).properties, {})
        self.assertGreaterEqual(client.subscribe("test/nosubscribe")[0], 0x80)

    def test_unknown_acknowledgements(self) -> None:
        """[MQTT-3.5.2-1] Acknowledging what was never sent ends nothing; a PUBREC for it gets 0x92."""
        client = self.client()
        client.send(Puback(77), Pubcomp(78), Pubrec(79))
        client.expect(Pubrel, packet_id=79, reason_code=0x92)
        client.send(Pubrec(80, 0x80))
        client.nothing()

    def test_identifiers_are_used_again(self) -> None:
        """[MQTT-2.2.1-4] An identifier in use is not given to another message."""
        reader = self.reader(1)
        self.write(*[b"%d" % number for number in range(20)], qos=1)
        messages = [reader.expect(Publish) for _ in range(20)]
        self.assertEqual(len({message.packet_id for message in messages}), 20)
        self.assertNotIn(0, {message.packet_id for message in messages})
