# -*- test-case-name: tests.wire.test_constants -*-
"""The numbers of the standard."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.constants import MAX_VARIABLE_BYTE_INTEGER, PacketType, ReasonCode, connack_return_code


class ConstantsTests(SynchronousTestCase):
    """Numbers that a peer sees."""

    def test_packet_types_are_complete(self) -> None:
        """There is a name for each of the fifteen packet types."""
        self.assertEqual([int(packet_type) for packet_type in PacketType], list(range(1, 16)))

    def test_largest_variable_byte_integer(self) -> None:
        """Four bytes of seven bits each."""
        self.assertEqual(MAX_VARIABLE_BYTE_INTEGER, 2**28 - 1)

    def test_connack_return_codes(self) -> None:
        """A 3.x client gets the nearest of its five refusals for any Reason Code."""
        self.assertEqual(connack_return_code(ReasonCode.SUCCESS), 0)
        self.assertEqual(connack_return_code(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION), 1)
        self.assertEqual(connack_return_code(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID), 2)
        self.assertEqual(connack_return_code(ReasonCode.SERVER_BUSY), 3)
        self.assertEqual(connack_return_code(ReasonCode.BAD_USER_NAME_OR_PASSWORD), 4)
        self.assertEqual(connack_return_code(ReasonCode.NOT_AUTHORIZED), 5)
        for reason_code in ReasonCode:
            self.assertEqual(
                connack_return_code(reason_code) == 0, reason_code == 0, "a refusal must not look like success"
            )
