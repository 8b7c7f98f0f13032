# -*- test-case-name: tests.wire.test_vectors -*-
"""The byte-level vectors of ``tests/vectors/``, every one."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import EncodeError, MqttError
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Packet
from tests.wire.codec_vectors import load, to_packet

CODEC = load("codec.json")
MALFORMED = load("malformed.json")

SERVER_TYPES = {"connack", "suback", "unsuback", "pingresp"}

SERVER_SENDS = {
    "ok-publish-02": "a Subscription Identifier in a PUBLISH",
    "ok-publish-03": "Subscription Identifiers in a PUBLISH",
    "ok-publish-05": "Subscription Identifiers in a PUBLISH",
    "ok-publish-06": "Subscription Identifiers in a PUBLISH",
    "ok-puback-08": "No matching subscribers",
    "ok-puback-09": "No matching subscribers",
    "ok-pubrec-02": "No matching subscribers",
    "ok-auth-01": "Success in an AUTH",
    "ok-auth-02": "Success in an AUTH",
}
"""Valid vectors of a two-way packet type that only a server may send, and why."""

DISPUTED = {
    "ok-connect-04": (0x84, "v3.1.1 [MQTT-3.1.2-1]: the name of level 4 is MQTT; MQIsdp is that of level 3"),
    "ok-connack-06": (0x81, "v5.0 section 3.2.2.2: the Connect Reason Code may not be left out"),
    "ok-connack-11": (0x82, "v5.0 section 3.2.2.3.4: a Maximum QoS other than 0 or 1 is a protocol error"),
    "ok-connack-12": (0x82, "v5.0 section 3.2.2.3.4: a Maximum QoS other than 0 or 1 is a protocol error"),
}
"""Vectors called valid that the standard rules out: the Reason Code for them, and the statement."""

CORRECTED = {
    "ok-connect-04": "101000044d51545484 00001e000474657374",
    "ok-connack-06": "20020100",
    "ok-connack-11": (
        "205700005411000004d22101b0240125012700000064120004746573742201c81f0004746573742600047465737400047465737428012901"
        "2a001304d21a0004746573741c0004746573741500047465737416000401020304"
    ),
    "ok-connack-12": (
        "206400006111000004d22101b0240125012700000064120004746573742201c81f0004746573742600047465737400047465737426000474"
        "65737400047465737428012901 2a001304d21a0004746573741c0004746573741500047465737416000401020304"
    ),
}
"""The same packets with only the disputed bytes set right."""

NOT_OURS = {
    "noenc-01": "a packet without a type is no packet class",
    "noenc-07": "a protocol name is not a field: it follows from the version",
    "noenc-22": "an unknown type is no packet class",
    "noenc-23": "a protocol name is not a field: it follows from the version",
}
"""Unencodable vectors that our packet classes cannot even express, and why."""


def _decode(data: bytes, version: int, from_client: bool, step: int) -> Packet | None:
    """Feed ``data`` in pieces of ``step`` bytes until the first packet is there."""
    decoder = Decoder(version, maximum_packet_size=1 << 22, from_client=from_client)
    for start in range(0, len(data), step):
        decoder.feed(data[start : start + step])
        packet = decoder.next_packet()
        if packet is not None:
            return packet
    return None


def _from_client(vector: dict[str, Any]) -> bool:
    return vector["type"] not in SERVER_TYPES and vector["id"] not in SERVER_SENDS


class ValidVectorTests(SynchronousTestCase):
    """Packets of others mean the same here."""

    def test_decodes_whole(self) -> None:
        """I read every valid packet of the shared vectors as what it means."""
        self._each("decode", lambda data: len(data))

    def test_decodes_byte_by_byte(self) -> None:
        """The network may cut a packet anywhere; I read the same."""
        self._each("decode", lambda data: 1)

    def _each(self, direction: str, step_of: Any) -> None:
        for vector in CODEC["valid"]:
            if vector["direction"] not in ("both", direction) or vector["id"] in DISPUTED:
                continue
            data = bytes.fromhex(vector["hex"])
            version = 0 if vector["type"] == "connect" else vector["version"]
            packet = _decode(data, version, _from_client(vector), step_of(data))
            self.assertEqual(packet, to_packet(vector["packet"], vector["version"]), vector["id"])

    def test_encodes(self) -> None:
        """I write every valid packet as the bytes that others write."""
        for vector in CODEC["valid"]:
            if vector["direction"] not in ("both", "encode") or vector["id"] in DISPUTED:
                continue
            data = encode_packet(to_packet(vector["packet"], vector["version"]), vector["version"])
            self.assertEqual(data.hex(), vector["hex"], vector["id"])

    def test_server_only_forms_are_refused_from_a_client(self) -> None:
        """A client cannot pass off as its own what only a server may send."""
        for vector in CODEC["valid"]:
            if vector["id"] in SERVER_SENDS:
                with self.assertRaises(MqttError, msg=vector["id"]):
                    _decode(bytes.fromhex(vector["hex"]), vector["version"], True, 64)

    def test_disputed(self) -> None:
        """Where the vectors are more lenient than the standard, the standard holds, with its Reason Code."""
        for vector in CODEC["valid"]:
            if vector["id"] in DISPUTED:
                code, statement = DISPUTED[vector["id"]]
                version = 0 if vector["type"] == "connect" else vector["version"]
                with self.assertRaises(MqttError, msg=vector["id"]) as caught:
                    _decode(bytes.fromhex(vector["hex"]), version, _from_client(vector), 64)
                self.assertEqual(caught.exception.reason_code, code, statement)

    def test_disputed_bytes_corrected(self) -> None:
        """Nothing but the disputed bytes is wrong with those vectors."""
        for identifier, text in CORRECTED.items():
            data = bytes.fromhex(text)
            is_connect = data[0] == 0x10
            packet = _decode(data, 0 if is_connect else 5, is_connect, 1)
            self.assertIsNotNone(packet, identifier)


class InvalidVectorTests(SynchronousTestCase):
    """Packets that nobody may send."""

    def test_refused(self) -> None:
        """No invalid packet of the shared vectors gets through, whole or byte by byte, whoever sends it."""
        for vector in CODEC["invalid"]:
            data = bytes.fromhex(vector["hex"])
            version = 0 if vector["type"] == "connect" else vector["version"]
            for from_client in (True, False):
                for step in (1, len(data)):
                    with self.assertRaises(MqttError, msg=vector["id"]):
                        _decode(data, version, from_client, step)


class UnencodableVectorTests(SynchronousTestCase):
    """Packets that may not leave."""

    def test_refused(self) -> None:
        """I cannot be made to send what the standard forbids."""
        for vector in CODEC["unencodable"]:
            if vector["id"] not in NOT_OURS:
                packet = to_packet(vector["packet"], vector["version"])
                with self.assertRaises(EncodeError, msg=vector["id"]):
                    encode_packet(packet, vector["version"])

    def test_exceptions_are_real(self) -> None:
        """The vectors set aside are there, and no others."""
        self.assertLessEqual(NOT_OURS.keys(), {vector["id"] for vector in CODEC["unencodable"]})
        self.assertLessEqual(DISPUTED.keys() | SERVER_SENDS.keys(), {vector["id"] for vector in CODEC["valid"]})


class MalformedVectorTests(SynchronousTestCase):
    """Our own list of broken packets, by statement of the standard."""

    def test_reason_codes(self) -> None:
        """Each broken packet is refused with exactly the Reason Code of its fault, whole and byte by byte."""
        for vector in MALFORMED:
            data = bytes.fromhex(vector["hex"])
            for step in (1, len(data)):
                with self.assertRaises(MqttError, msg=vector) as caught:
                    _decode(data, vector["version"], vector["sender"] == "client", step)
                self.assertEqual(f"0x{caught.exception.reason_code:02x}", vector["reason_code"], vector)

    def test_the_list_is_wide(self) -> None:
        """Every packet type is in the list, and every vector has a name of its own."""
        self.assertEqual({bytes.fromhex(vector["hex"])[0] >> 4 for vector in MALFORMED}, set(range(16)))
        self.assertEqual(len({vector["id"] for vector in MALFORMED}), len(MALFORMED))
        self.assertGreater(len(MALFORMED), 300)
