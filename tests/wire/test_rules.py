# -*- test-case-name: tests.wire.test_rules -*-
"""First bytes, senders and Reason Codes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import MalformedPacket, MqttError, ProtocolError
from mqttsecure.wire.constants import PacketType, ReasonCode
from mqttsecure.wire.rules import (
    FROM_CLIENT_ONLY,
    FROM_SERVER_ONLY,
    REASON_CODES,
    REASON_CODES_OF_CLIENT_ONLY,
    REASON_CODES_OF_SERVER_ONLY,
    check_first_byte,
    check_reason_code,
)


def accepted(version: int, from_client: bool) -> set[int]:
    """All first bytes that pass."""
    found = set()
    for first_byte in range(256):
        try:
            check_first_byte(first_byte, version, from_client=from_client)
        except MqttError:
            continue
        found.add(first_byte)
    return found


PUBLISH = {0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3A, 0x3B, 0x3C, 0x3D}
ACKS = {0x40, 0x50, 0x62, 0x70}


class FirstByteTests(SynchronousTestCase):
    """A packet is judged by its first byte, before anything is kept of it."""

    def test_all_first_bytes(self) -> None:
        """Of the 256 first bytes exactly those of the standard pass, for each version and end."""
        client = PUBLISH | ACKS | {0x10, 0x82, 0xA2, 0xC0, 0xE0}
        server = PUBLISH | ACKS | {0x20, 0x90, 0xB0, 0xD0}
        self.assertEqual(accepted(5, True), client | {0xF0})
        self.assertEqual(accepted(5, False), server | {0xE0, 0xF0})
        self.assertEqual(accepted(4, True), client)
        self.assertEqual(accepted(4, False), server)

    def test_only_connect_comes_first(self) -> None:
        """Before CONNECT nothing else gets as far as a second byte."""
        self.assertEqual(accepted(0, True), {0x10})
        self.assertEqual(accepted(0, False), set())

    def test_resent_in_3_1(self) -> None:
        """A 3.1 client that sends PUBREL, SUBSCRIBE or UNSUBSCRIBE again sets DUP, and may."""
        self.assertEqual(accepted(3, True) - accepted(4, True), {0x6A, 0x8A, 0xAA, 0x38, 0x39})

    def test_classes_of_fault(self) -> None:
        """A reserved bit is malformed, a packet of the other side a protocol error."""
        self.assertRaises(MalformedPacket, check_first_byte, 0x00, 5)
        self.assertRaises(MalformedPacket, check_first_byte, 0x21, 5)
        self.assertRaises(ProtocolError, check_first_byte, 0x20, 5)
        self.assertRaises(MalformedPacket, check_first_byte, ord("G"), 0)  # "GET / HTTP/1.1"
        self.assertRaises(MalformedPacket, check_first_byte, 0x16, 0)  # a TLS ClientHello


class ReasonCodeTests(SynchronousTestCase):
    """Who may say what."""

    def test_tables_hold_together(self) -> None:
        """Codes of one side only are among the codes of their packet, and every code has a name and a packet."""
        for table in (REASON_CODES_OF_CLIENT_ONLY, REASON_CODES_OF_SERVER_ONLY):
            for packet_type, codes in table.items():
                self.assertLess(codes, REASON_CODES[packet_type])
        self.assertEqual(frozenset().union(*REASON_CODES.values()), frozenset(map(int, ReasonCode)))
        self.assertFalse(FROM_CLIENT_ONLY & FROM_SERVER_ONLY)

    def test_sides(self) -> None:
        """A client is not told a shutdown by a client, nor a server a will by a server."""
        check_reason_code(PacketType.DISCONNECT, 0x8B, False)
        check_reason_code(PacketType.DISCONNECT, 0x04, True)
        self.assertRaises(ProtocolError, check_reason_code, PacketType.DISCONNECT, 0x8B, True)
        self.assertRaises(ProtocolError, check_reason_code, PacketType.DISCONNECT, 0x04, False)
        self.assertRaises(ProtocolError, check_reason_code, PacketType.PUBREL, 0x10, False)
