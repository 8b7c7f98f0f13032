# -*- test-case-name: tests.core.test_model -*-
"""Messages: what they cost, and how they look on the wire."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import BROKER_PRINCIPAL, Writer
from mqttsecure.core.model import MESSAGE_OVERHEAD, Envelope, Message, forwarded_properties
from mqttsecure.wire.decoder import decode_packet
from mqttsecure.wire.packets import Properties, Publish

_ENVELOPE = Envelope(Writer(BROKER_PRINCIPAL), 1)


def decoded(head: bytes, tail: bytes, version: int) -> Publish:
    qos = head[0] >> 1 & 3
    data = head + (b"\x00\x07" if qos else b"") + tail
    body = 2 if data[1] < 0x80 else 3
    packet = decode_packet(data[0], data[body:], version, from_client=False)
    assert isinstance(packet, Publish)
    return packet


class MessageTests(SynchronousTestCase):
    """One message, many receivers."""

    def test_forms(self) -> None:
        """Each form is the PUBLISH it should be, and is made once."""
        message = Message("t", b"payload", 2, True, _ENVELOPE, {"user_property": [("a", "b"), ("a", "c")]})
        for qos in (0, 1, 2):
            for retain in (False, True):
                packet = decoded(*message.form(True, qos, retain), 5)
                self.assertEqual((packet.qos, packet.retain, packet.payload), (qos, retain, b"payload"))
                self.assertEqual(packet.properties, {"user_property": [("a", "b"), ("a", "c")]})
                self.assertEqual(decoded(*message.form(False, qos, retain), 4).properties, {})
                # What is retained is kept for long, and sent to one client at a time.
                same = self.assertEqual if retain else self.assertIs
                same(message.form(True, qos, retain), message.form(True, qos, retain))

    def test_form_for_one(self) -> None:
        """What belongs to one receiver is added: remaining expiry, its identifiers, its alias."""
        message = Message("t", b"p", 0, False, _ENVELOPE, {"content_type": "x"}, expires_at=20.0)
        packet = decoded(*message.form_with(1, False, 12.4, (3, 4), 9), 5)
        self.assertEqual(
            packet.properties,
            {"content_type": "x", "message_expiry_interval": 8, "subscription_identifier": [3, 4], "topic_alias": 9},
        )
        self.assertEqual(decoded(*message.form_with(0, False, 30.0, (), 9, True), 5).topic, "")
        self.assertEqual(decoded(*message.form_with(0, False, 30.0), 5).properties["message_expiry_interval"], 0)

    def test_what_is_forwarded(self) -> None:
        """Properties of one hop stay behind, all others go on in their order."""
        properties: Properties = {
            "message_expiry_interval": 5,
            "topic_alias": 1,
            "subscription_identifier": [1],
            "will_delay_interval": 3,
            "response_topic": "r",
            "correlation_data": b"c",
        }
        self.assertEqual(forwarded_properties(properties), {"response_topic": "r", "correlation_data": b"c"})
        self.assertIsNone(forwarded_properties({"topic_alias": 1}))

    def test_size(self) -> None:
        """A message is charged for all that it holds; User Properties cannot be smuggled past a budget."""
        self.assertEqual(Message("topic", b"12345", 0, False, _ENVELOPE).size, 10 + MESSAGE_OVERHEAD)
        pairs = [("", "")] * 1000
        message = Message("t", b"", 0, False, _ENVELOPE, {"user_property": pairs})
        self.assertGreater(message.size, 1000 * 100)
        self.assertGreater(Message("t", b"", 0, False, _ENVELOPE, {"response_topic": "r" * 900}).size, 900)
