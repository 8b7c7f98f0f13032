# -*- test-case-name: tests.wire.test_connect -*-
"""CONNECT in its three versions."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import EncodeError, MalformedPacket, UnsupportedProtocolVersion
from mqttsecure.wire.connect import decode_connect, encode_connect
from mqttsecure.wire.packets import Connect, Properties, Will


class DecodeTests(SynchronousTestCase):
    """What a client says of itself."""

    def test_versions(self) -> None:
        """The name and level tell the version; bit 7 of a 3.x level tells a bridge."""
        for head, version, bridge in (
            ("00064d5149736470 03", 3, False),
            ("00064d5149736470 83", 3, True),
            ("00044d515454 04", 4, False),
            ("00044d515454 84", 4, True),
        ):
            packet = decode_connect(bytes.fromhex(head + "02 003c 000163"))
            self.assertEqual(packet, Connect(version, "c", True, 60, bridge=bridge))
        packet = decode_connect(bytes.fromhex("00044d515454 05 02 003c 00 000163"))
        self.assertEqual(packet, Connect(5, "c", True, 60))

    def test_unknown_level_is_read_no_further(self) -> None:
        """What follows an unknown level may be anything, and is not held against the client."""
        for tail in (b"", b"\xff", bytes(100)):
            with self.assertRaises(UnsupportedProtocolVersion):
                decode_connect(b"\0\4MQTT\6" + tail)

    def test_password_without_user_name(self) -> None:
        """5.0 allows a password alone, as a token; 3.1.1 does not."""
        packet = decode_connect(bytes.fromhex("00044d515454 05 42 0000 00 000163 000170"))
        self.assertEqual((packet.username, packet.password), (None, b"p"))
        with self.assertRaises(MalformedPacket):
            decode_connect(bytes.fromhex("00044d515454 04 42 0000 000163 000170"))

    def test_empty_and_absent_differ(self) -> None:
        """An empty user name or password is not the same as none."""
        packet = decode_connect(bytes.fromhex("00044d515454 04 c2 0000 000163 0000 0000"))
        self.assertEqual((packet.username, packet.password), ("", b""))
        packet = decode_connect(bytes.fromhex("00044d515454 04 02 0000 000163"))
        self.assertEqual((packet.username, packet.password), (None, None))

    def test_empty_client_identifier_is_not_judged_here(self) -> None:
        """The session layer answers an empty Client Identifier with a CONNACK; it must get to see it."""
        self.assertEqual(decode_connect(bytes.fromhex("00044d515454 04 00 0000 0000")).client_id, "")

    def test_cut_anywhere(self) -> None:
        """A CONNECT that stops early is malformed, wherever it stops."""
        will = Will("w", b"p", 1, True, Properties(will_delay_interval=1))
        whole = encode_connect(Connect(5, "c", True, 9, "u", b"p", will, Properties(receive_maximum=3)))
        decode_connect(whole)
        for length in range(len(whole)):
            with self.assertRaises(MalformedPacket, msg=length):
                decode_connect(whole[:length])


class EncodeTests(SynchronousTestCase):
    """What our client may not say."""

    def test_refusals(self) -> None:
        """A CONNECT that no server may accept is not sent."""
        for packet in (
            Connect(6, "c"),
            Connect(3, ""),
            Connect(4, "", clean_start=False),
            Connect(4, "c", password=b"p"),
            Connect(5, "c", bridge=True),
            Connect(5, "c", keep_alive=65536),
            Connect(5, "c", properties=Properties(authentication_data=b"d")),
            Connect(5, "c", will=Will("a/#", b"")),
            Connect(5, "c", will=Will("", b"")),
            Connect(5, "c", will=Will("a", b"", 3)),
            Connect(5, "c", will=Will("a", bytes(65536))),
            Connect(5, "c\0"),
        ):
            with self.assertRaises(EncodeError, msg=type(packet).__name__):
                encode_connect(packet)
