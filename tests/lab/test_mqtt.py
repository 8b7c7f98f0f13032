"""Tests for mqttsecure.lab.mqtt: the packets inside, in pieces, malformed, and without their beginning."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.model import Message
from mqttsecure.lab.mqtt import MqttReader
from mqttsecure.lab.tls.assembly import Origin
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Will,
)


def encoded(packet: Packet, version: int) -> bytes:
    return bytes(encode_packet(packet, version))


def conversation(version: int) -> list[tuple[bool, bytes]]:
    will = Will("lab/last", b"gone", 1)
    subscribe = Subscribe(2, [SubscriptionRequest("lab/#", 1), SubscriptionRequest("secret/#")])
    refused = 0x87 if version == 5 else 0x80
    packets: list[tuple[bool, Packet]] = [
        (True, Connect(version, "c-1", username="u", password=b"pw", will=will, keep_alive=9)),
        (False, Connack()),
        (True, subscribe),
        (False, Suback(2, [1, refused])),
        (True, Publish("lab/1", b"x", retain=True)),
        (True, Pingreq()),
        (True, Disconnect()),
    ]
    return [(from_client, encoded(packet, version)) for from_client, packet in packets]


def read(said: list[tuple[bool, bytes]], reader: MqttReader | None = None) -> list[Message]:
    reader = reader or MqttReader(encrypted=False)
    found: list[Message] = []
    for number, (from_client, data) in enumerate(said, 1):
        found += reader.feed("client" if from_client else "server", data, Origin((number,), 0.0))
    return found


class MqttTests(SynchronousTestCase):
    """What is spoken inside."""

    def test_each_version(self) -> None:
        """All packets with what they say, whole and byte by byte."""
        for version in (3, 4, 5):
            said = conversation(version)
            found = read(said)
            self.assertEqual(
                [each.name for each in found],
                ["CONNECT", "CONNACK", "SUBSCRIBE", "SUBACK", "PUBLISH", "PINGREQ", "DISCONNECT"],
            )
            pieces = [(who, data[at : at + 1]) for who, data in said for at in range(len(data))]
            self.assertEqual([(each.name, each.value) for each in read(pieces)], [(e.name, e.value) for e in found])
        self.assertIn("client identifier 'c-1', user 'u' with a password", found[0].value)
        self.assertEqual(found[0].field("password"), b"pw".hex())
        self.assertIn("topic lab/last", next(each.text for each in found[0].fields if each.name == "will"))
        self.assertEqual(found[3].value, "0x01 (granted qos 1), 0x87 (not authorized)")
        self.assertEqual(found[4].value, "'lab/1', QoS 0, 1 bytes, retained")

    def test_malformed_packets_are_told_and_the_rest_read(self) -> None:
        """A broker would close; I want to see what follows."""
        said = conversation(4)[:2]
        bad = b"\x30\3\0\1#"
        found = read([*said, (True, bad), (True, encoded(Pingreq(), 4)), (False, b"\xf0\0")])
        self.assertEqual([each.kind for each in found][2:], ["malformed_mqtt", "pingreq", "malformed_mqtt"])
        self.assertIn("malformed", found[2].value)

    def test_without_its_beginning(self) -> None:
        """Where CONNECT is missing, packets are still recognized, by either end."""
        for version, said in ((4, conversation(4)[2:]), (5, conversation(5)[1:])):
            reader = MqttReader(encrypted=True)
            found = read(said, reader)
            self.assertNotIn("application_data", [each.kind for each in found])
            self.assertEqual(reader.version, version)

    def test_something_else(self) -> None:
        """Bytes that are no MQTT are not made into it; WebSocket is named."""
        found = read([(True, b"GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), (False, b"HTTP/1.1 101 x\r\n\r\n")])
        self.assertEqual([each.kind for each in found], ["application_data"] * 2)
        self.assertIn("WebSocket", found[0].value)
        self.assertIn("no MQTT", read([(True, b"\0\1\2\3\4\5\6\7\x08")])[0].value)

    def test_unfinished(self) -> None:
        """A packet whose end is missing."""
        reader = MqttReader(encrypted=False)
        first = conversation(4)[0][1]
        self.assertEqual(read([(True, first + b"\x30\x7fabc")], reader)[0].name, "CONNECT")
        self.assertEqual(reader.unfinished("client"), 5)
        self.assertEqual(read([(True, encoded(Puback(1), 4)[:0])]), [])
