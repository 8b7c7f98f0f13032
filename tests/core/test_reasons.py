# -*- test-case-name: tests.core.test_reasons -*-
"""Whatever code a policy gives, the packet that tells it can be sent."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.reasons import refusal_code
from mqttsecure.wire.constants import PacketType
from mqttsecure.wire.rules import REASON_CODES


class RefusalCodeTests(SynchronousTestCase):
    """Policies name Reason Codes freely."""

    def test_every_code_in_every_packet(self) -> None:
        """Any number a policy may give becomes a code that the packet may carry, and never a success."""
        for packet_type, permitted in REASON_CODES.items():
            if packet_type in (PacketType.PUBREL, PacketType.PUBCOMP, PacketType.AUTH):
                continue
            for code in [None, *range(-1, 300)]:
                told = refusal_code(PacketType(packet_type), code)
                self.assertIn(told, permitted)
                self.assertGreaterEqual(told, 0x80)
                if code in permitted and code is not None and code >= 0x80:
                    self.assertEqual(told, code)

    def test_the_nearest(self) -> None:
        """A rate limit reads as a quota where the standard has no word for rates, the unknown as a refusal."""
        self.assertEqual(refusal_code(PacketType.PUBACK, 0x96), 0x97)
        self.assertEqual(refusal_code(PacketType.SUBACK, 0x96), 0x97)
        self.assertEqual(refusal_code(PacketType.DISCONNECT, 0x96), 0x96)
        self.assertEqual(refusal_code(PacketType.DISCONNECT, 0x8A), 0x87)
        self.assertEqual(refusal_code(PacketType.DISCONNECT, 0x8C), 0x82)
        self.assertEqual(refusal_code(PacketType.CONNACK, 0x8A), 0x8A)
        self.assertEqual(refusal_code(PacketType.PUBREC, 0x8A), 0x87)
        self.assertEqual(refusal_code(PacketType.PUBACK, 0), 0x87)
