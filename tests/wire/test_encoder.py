# -*- test-case-name: tests.wire.test_encoder -*-
"""Packets on their way out."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import EncodeError
from mqttsecure.wire import encoder, packets
from mqttsecure.wire.constants import MAX_REMAINING_LENGTH
from mqttsecure.wire.decoder import decode_packet
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Properties, SubscriptionRequest


class EncodeTests(SynchronousTestCase):
    """Whole packets."""

    def test_refusals(self) -> None:
        """What the standard forbids does not leave, whichever field it is in."""
        request = SubscriptionRequest
        bad: list[tuple[Any, int]] = [
            (packets.Publish("a", qos=3, packet_id=1), 4),
            (packets.Publish("a", qos=1), 4),
            (packets.Publish("a", qos=0, packet_id=1), 4),
            (packets.Publish("a", qos=1, packet_id=65536), 4),
            (packets.Publish("a", dup=True), 4),
            (packets.Publish(""), 4),
            (packets.Publish(""), 5),
            (packets.Publish("a/+"), 5),
            (packets.Publish("a", properties=Properties(reason_string="x")), 5),
            (packets.Publish("a", payload=bytes(MAX_REMAINING_LENGTH)), 4),
            (packets.Puback(0), 4),
            (packets.Puback(1, 0x92), 5),
            (packets.Pubrel(1, 0x10), 5),
            (packets.Subscribe(1, []), 4),
            (packets.Subscribe(0, [request("a")]), 4),
            (packets.Subscribe(1, [request("a#")]), 4),
            (packets.Subscribe(1, [request("a", 3)]), 4),
            (packets.Subscribe(1, [request("a", retain_handling=3)]), 5),
            (packets.Subscribe(1, [request("$share/g/a", no_local=True)]), 5),
            (packets.Subscribe(1, [request("$share/g")]), 5),
            (packets.Suback(1, []), 5),
            (packets.Suback(1, [3]), 5),
            (packets.Suback(1, [300]), 4),
            (packets.Unsubscribe(1, []), 5),
            (packets.Unsubscribe(1, [""]), 5),
            (packets.Unsuback(1, []), 5),
            (packets.Unsuback(1, [1]), 5),
            (packets.Connack(True, 5), 4),
            (packets.Connack(False, 0x87), 4),
            (packets.Connack(False, 1), 5),
            (packets.Disconnect(1), 5),
            (packets.Auth(), 4),
            (packets.Auth(1), 5),
            (packets.Auth(0x18), 5),
            (packets.Pingreq(), 6),
            (packets.Pingreq(), 0),
            ("PINGREQ", 5),
            (None, 5),
            (packets.Publish("a", payload="text"), 4),  # type: ignore[arg-type]
            (packets.Connect(4, 7), 4),  # type: ignore[arg-type]
        ]
        for packet, version in bad:
            with self.assertRaises(EncodeError, msg=(type(packet).__name__, version)):
                encode_packet(packet, version)

    def test_largest_packet_is_refused_before_it_is_copied(self) -> None:
        """Only the length of a payload beyond 256 MB is looked at."""
        payload = bytes(MAX_REMAINING_LENGTH - 2)
        error = self.assertRaises(EncodeError, encode_packet, packets.Publish("a", payload), 4)
        self.assertIn(str(MAX_REMAINING_LENGTH), str(error))

    def test_older_versions_leave_out_what_they_lack(self) -> None:
        """I may give Reason Codes and properties to a 3.x client; the packet has none."""
        why = Properties(reason_string="why")
        for packet, text in (
            (packets.Puback(1, 0x87, why), "40020001"),
            (packets.Pubrel(1, 0x92, why), "62020001"),
            (packets.Unsuback(1, [0x11], why), "b0020001"),
            (packets.Suback(1, [0, 2, 0x87], why), "90050001000280"),
            (packets.Disconnect(0x8B, why), "e000"),
            (packets.Publish("a", properties=Properties(topic_alias=1)), "3003000161"),
            (packets.Subscribe(1, [SubscriptionRequest("a", 1, True, True, 2)]), "820600010001 6101"),
        ):
            self.assertEqual(encode_packet(packet, 4), bytes.fromhex(text))

    def test_session_present_in_3_1(self) -> None:
        """3.1 has no Session Present; 3.1.1 has."""
        self.assertEqual(encode_packet(packets.Connack(True), 3).hex(), "20020000")
        self.assertEqual(encode_packet(packets.Connack(True), 4).hex(), "20020100")


class PartTests(SynchronousTestCase):
    """The parts from which one PUBLISH is shared among many receivers."""

    def test_parts_make_the_packet(self) -> None:
        """Put together, the parts are the packet that encode_packet writes."""
        properties = Properties(content_type="t", user_property=[("a", "b")])
        message = packets.Publish("a/b", b"x" * 200, 1, True, True, 9, Properties(topic_alias=3, **properties))
        shared = encoder.encode_property_items(properties, 3)
        own = encoder.encode_property_items(Properties(topic_alias=3), 3)
        body = b"".join(
            (
                encoder.encode_string("a/b"),
                encoder.encode_packet_id(9),
                encoder.encode_variable_byte_integer(len(own) + len(shared)),
                own,
                shared,
                message.payload,
            )
        )
        data = encoder.publish_head(encoder.publish_first_byte(1, True, True), len(body)) + body
        self.assertEqual(data, encode_packet(message, 5))
        self.assertEqual(decode_packet(data[0], body, 5), message)

    def test_remaining_length(self) -> None:
        """The fixed header holds up to four length bytes."""
        self.assertEqual(encoder.encode_remaining_length(321).hex(), "c102")
        self.assertEqual(encoder.publish_head(0x30, 127).hex(), "307f")
        self.assertEqual(encoder.publish_head(0x30, 128).hex(), "308001")
        self.assertRaises(EncodeError, encoder.publish_head, 0x30, MAX_REMAINING_LENGTH + 1)

    def test_empty_properties(self) -> None:
        """No properties are one byte."""
        self.assertEqual(encoder.encode_properties(Properties(), encoder.WILL), b"\0")
