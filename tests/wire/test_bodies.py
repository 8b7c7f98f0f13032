# -*- test-case-name: tests.wire.test_bodies -*-
"""Packet bodies: the forms that the standard lets a sender choose from."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import MalformedPacket, MqttError, ProtocolError
from mqttsecure.wire import packets
from mqttsecure.wire.decoder import decode_packet
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Properties


class PublishTests(SynchronousTestCase):
    """PUBLISH."""

    def test_flags(self) -> None:
        """QoS, DUP and RETAIN are read from the first byte."""
        body = b"\0\1a\0\7x"
        self.assertEqual(decode_packet(0x3D, body, 4), packets.Publish("a", b"x", 2, True, True, 7))
        self.assertEqual(decode_packet(0x32, body, 4), packets.Publish("a", b"x", 1, False, False, 7))

    def test_dup_of_qos_0_means_nothing_in_3_1(self) -> None:
        """A 3.1 client that sets DUP at QoS 0 is heard; the flag is dropped."""
        self.assertEqual(decode_packet(0x38, b"\0\1ax", 3), packets.Publish("a", b"x"))
        self.assertRaises(MalformedPacket, decode_packet, 0x38, b"\0\1ax", 4)

    def test_topic_alias_alone(self) -> None:
        """An empty Topic Name passes with a Topic Alias, and a Topic Name may come with one."""
        packet = decode_packet(0x30, b"\0\0\3\x23\0\5x", 5)
        self.assertEqual(packet, packets.Publish("", b"x", properties=Properties(topic_alias=5)))
        packet = decode_packet(0x30, b"\0\1a\3\x23\0\5x", 5)
        self.assertEqual(packet, packets.Publish("a", b"x", properties=Properties(topic_alias=5)))

    def test_empty_payload(self) -> None:
        """A message may be empty: that is how a retained one is removed."""
        self.assertEqual(decode_packet(0x31, b"\0\1a", 4), packets.Publish("a", b"", retain=True))


class AckTests(SynchronousTestCase):
    """PUBACK, PUBREC, PUBREL, PUBCOMP."""

    def test_short_forms(self) -> None:
        """Success may be left out, and so may empty properties (v5.0 section 3.4.2.1)."""
        for first_byte, kind in (
            (0x40, packets.Puback),
            (0x50, packets.Pubrec),
            (0x62, packets.Pubrel),
            (0x70, packets.Pubcomp),
        ):
            for tail in (b"", b"\0", b"\0\0"):
                self.assertEqual(decode_packet(first_byte, b"\1\2" + tail, 5), kind(258))

    def test_bodies_cut_anywhere(self) -> None:
        """A packet that stops in the middle of a field is refused."""
        properties = Properties(reason_string="why", user_property=[("a", "b")])
        for packet in (
            packets.Puback(1, 0x87, properties),
            packets.Pubrec(1, 0x87, properties),
            packets.Pubrel(1, 0x92, properties),
            packets.Pubcomp(1, 0x92, properties),
        ):
            encoded = encode_packet(packet, 5)
            # Two bytes are a whole acknowledgement, three and four are one with a Reason Code.
            for length in {*range(len(encoded) - 2)} - {2, 3}:
                with self.assertRaises(MalformedPacket, msg=(packet, length)):
                    decode_packet(encoded[0], encoded[2 : 2 + length], 5)


class SubscribeTests(SynchronousTestCase):
    """SUBSCRIBE and UNSUBSCRIBE."""

    def test_options(self) -> None:
        """All legal Subscription Options, and only they, are read for what they say."""
        legal = 0
        for options in range(256):
            try:
                packet = decode_packet(0x82, b"\0\1\0\0\1a" + bytes((options,)), 5)
            except MqttError:
                continue
            legal += 1
            assert isinstance(packet, packets.Subscribe)
            self.assertEqual(encode_packet(packet, 5)[-1], options)
        self.assertEqual(legal, 3 * 2 * 2 * 3)

    def test_options_before_5_0(self) -> None:
        """Before 5.0 the byte is a QoS and nothing else."""
        for version in (3, 4):
            for options in range(256):
                try:
                    packet = decode_packet(0x82, b"\0\1\0\1a" + bytes((options,)), version)
                except MalformedPacket:
                    self.assertGreater(options, 2)
                else:
                    request = packets.SubscriptionRequest("a", options)
                    self.assertEqual(packet, packets.Subscribe(1, [request]))

    def test_several(self) -> None:
        """One packet may hold many filters, shared ones among them."""
        packet = decode_packet(0x82, b"\0\1\0\1a\1\0\x0a$share/g/b\2", 4)
        requests = [packets.SubscriptionRequest("a", 1), packets.SubscriptionRequest("$share/g/b", 2)]
        self.assertEqual(packet, packets.Subscribe(1, requests))
        self.assertEqual(decode_packet(0xA2, b"\0\1\0\1a\0\1b", 4), packets.Unsubscribe(1, ["a", "b"]))


class OtherTests(SynchronousTestCase):
    """The rest."""

    def test_connack_of_an_older_server(self) -> None:
        """A server of 3.1.1 refuses a 5.0 client in two bytes, and the client understands."""
        self.assertEqual(decode_packet(0x20, b"\0\1", 5, from_client=False), packets.Connack(False, 1))
        self.assertRaises(ProtocolError, decode_packet, 0x20, b"\0\x87", 4, from_client=False)

    def test_disconnect_forms(self) -> None:
        """A normal disconnection may be spelled out, shortened or empty."""
        for body in (b"", b"\0", b"\0\0"):
            self.assertEqual(decode_packet(0xE0, body, 5), packets.Disconnect())
        self.assertEqual(decode_packet(0xE0, b"\4", 5), packets.Disconnect(4))
        self.assertEqual(decode_packet(0xE0, b"", 4), packets.Disconnect())

    def test_a_server_ends_an_exchange_in_short(self) -> None:
        """AUTH with nothing in it is the server's success (v5.0 section 3.15.2.1); a client has no such form."""
        self.assertEqual(decode_packet(0xF0, b"", 5, from_client=False), packets.Auth())
        self.assertRaises(ProtocolError, decode_packet, 0xF0, b"", 5)
