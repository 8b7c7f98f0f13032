# -*- test-case-name: tests.wire.test_properties -*-
"""The MQTT 5.0 properties: every property in every packet."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import EncodeError, MalformedPacket, PacketTooLarge, ProtocolError
from mqttsecure.wire.constants import PacketType
from mqttsecure.wire.packets import Properties
from mqttsecure.wire.properties import (
    MAX_USER_PROPERTIES,
    WILL,
    decode_properties,
    encode_properties,
    encode_property_items,
    property_type,
)

PLACES = {
    "payload_format_indicator": "PUBLISH WILL",
    "message_expiry_interval": "PUBLISH WILL",
    "content_type": "PUBLISH WILL",
    "response_topic": "PUBLISH WILL",
    "correlation_data": "PUBLISH WILL",
    "subscription_identifier": "PUBLISH SUBSCRIBE",
    "session_expiry_interval": "CONNECT CONNACK DISCONNECT",
    "assigned_client_identifier": "CONNACK",
    "server_keep_alive": "CONNACK",
    "authentication_method": "CONNECT CONNACK AUTH",
    "authentication_data": "CONNECT CONNACK AUTH",
    "request_problem_information": "CONNECT",
    "will_delay_interval": "WILL",
    "request_response_information": "CONNECT",
    "response_information": "CONNACK",
    "server_reference": "CONNACK DISCONNECT",
    "reason_string": "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH",
    "receive_maximum": "CONNECT CONNACK",
    "topic_alias_maximum": "CONNECT CONNACK",
    "topic_alias": "PUBLISH",
    "maximum_qos": "CONNACK",
    "retain_available": "CONNACK",
    "user_property": "CONNECT CONNACK PUBLISH WILL PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK"
    " DISCONNECT AUTH",
    "maximum_packet_size": "CONNECT CONNACK",
    "wildcard_subscription_available": "CONNACK",
    "subscription_identifier_available": "CONNACK",
    "shared_subscription_available": "CONNACK",
}
"""v5.0 table 2-4, typed in a second time and by name."""

PACKET_TYPES = {"WILL": WILL, **{packet_type.name: int(packet_type) for packet_type in PacketType}}
SAMPLES: dict[str, Any] = {
    "byte": 1,
    "two byte integer": 513,
    "four byte integer": 65536,
    "variable byte integer": [200],
    "string": "topic/é",
    "binary": b"\0\xff",
    "pair": [("name", "value"), ("name", "")],
}


def sample(name: str) -> Properties:
    """One property with a legal value."""
    return cast(Properties, {name: SAMPLES[property_type(name)]})


class PropertyTests(SynchronousTestCase):
    """Properties stand where they may, and nowhere else."""

    def test_every_property_in_every_packet(self) -> None:
        """Each of 27 properties passes in the packets of the standard's table and is refused in all others."""
        for name, places in PLACES.items():
            home = PACKET_TYPES[places.split()[0]]
            for place, packet_type in PACKET_TYPES.items():
                encoded = encode_properties(sample(name), home)
                if place in places.split():
                    self.assertEqual(encode_properties(sample(name), packet_type), encoded)
                    from_client = not (name == "subscription_identifier" and place == "PUBLISH")
                    found = decode_properties(b"." + encoded + b".", 1, packet_type, from_client)
                    self.assertEqual(found, (sample(name), 1 + len(encoded)), (name, place))
                else:
                    with self.assertRaises(EncodeError, msg=(name, place)):
                        encode_properties(sample(name), packet_type)
                    with self.assertRaises(MalformedPacket, msg=(name, place)):
                        decode_properties(encoded, 0, packet_type)

    def test_every_property_twice(self) -> None:
        """Twice is a protocol error, but for User Properties, and Subscription Identifiers in a server's PUBLISH."""
        for name, places in PLACES.items():
            for place in places.split():
                items = encode_property_items(sample(name), PACKET_TYPES[place]) * 2
                data = len(items).to_bytes(1, "big") + items
                if name == "user_property" or (name == "subscription_identifier" and place == "PUBLISH"):
                    found, _ = decode_properties(data, 0, PACKET_TYPES[place], False)
                    self.assertEqual(cast(dict[str, Any], found)[name], cast(dict[str, Any], sample(name))[name] * 2)
                else:
                    with self.assertRaises(ProtocolError, msg=(name, place)):
                        decode_properties(data, 0, PACKET_TYPES[place])

    def test_cut_anywhere(self) -> None:
        """A property that stops early is malformed, wherever it stops, and takes nothing from what follows."""
        for name, places in PLACES.items():
            place = PACKET_TYPES[places.split()[0]]
            one = Properties(user_property=[("name", "value")]) if name == "user_property" else sample(name)
            items = encode_property_items(one, place)
            for length in range(1, len(items)):
                with self.assertRaises(MalformedPacket, msg=(name, length)):
                    decode_properties(bytes((length,)) + items + b"\0" * 20, 0, place, False)

    def test_order_is_kept(self) -> None:
        """Properties go out in the order in which I set them, and User Properties keep theirs."""
        properties = Properties(user_property=[("b", "1"), ("a", "2"), ("b", "0")], topic_alias=7, content_type="t")
        encoded = encode_properties(properties, PacketType.PUBLISH)
        found, _ = decode_properties(encoded, 0, PacketType.PUBLISH)
        self.assertEqual(list(found.items()), list(properties.items()))

    def test_user_properties_are_bounded(self) -> None:
        """Thousands of User Properties in one small packet do not become thousands of objects."""
        pair = b"\x26\0\0\0\0"
        for count in (MAX_USER_PROPERTIES, MAX_USER_PROPERTIES + 1):
            items = pair * count
            data = bytes((len(items) & 0x7F | 0x80, len(items) >> 7)) + items
            if count == MAX_USER_PROPERTIES:
                self.assertEqual(len(decode_properties(data, 0, PacketType.PUBLISH)[0]["user_property"]), count)
            else:
                self.assertRaises(PacketTooLarge, decode_properties, data, 0, PacketType.PUBLISH)

    def test_values_that_may_not_be_sent(self) -> None:
        """Forbidden values are refused on the way out too."""
        bad: list[tuple[int, Any]] = [
            (PacketType.PUBLISH, {"topic_alias": 0}),
            (PacketType.PUBLISH, {"topic_alias": 65536}),
            (PacketType.PUBLISH, {"payload_format_indicator": 2}),
            (PacketType.PUBLISH, {"payload_format_indicator": -1}),
            (PacketType.PUBLISH, {"response_topic": "a/#"}),
            (PacketType.PUBLISH, {"subscription_identifier": [0]}),
            (PacketType.PUBLISH, {"no_such_property": 1}),
            (PacketType.SUBSCRIBE, {"subscription_identifier": [1, 2]}),
            (PacketType.CONNECT, {"receive_maximum": 0}),
            (PacketType.CONNECT, {"maximum_packet_size": 0}),
            (PacketType.CONNACK, {"maximum_qos": 2}),
            (WILL, {"will_delay_interval": 2**32}),
        ]
        for packet_type, properties in bad:
            with self.assertRaises(EncodeError, msg=properties):
                encode_properties(properties, packet_type)
