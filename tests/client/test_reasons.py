"""Every code has words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.reasons import connack_words, disconnect_words, is_refusal, name_of, publish_words, words
from mqttsecure.wire.constants import PacketType, ReasonCode
from mqttsecure.wire.rules import REASON_CODES


class ReasonsTests(SynchronousTestCase):
    """The broker says no, and I want to know why."""

    def test_every_refusal_has_words(self) -> None:
        """No code of the standard that says no leaves me with a number alone."""
        for packet_type in PacketType:
            for code in REASON_CODES.get(packet_type, ()):
                if is_refusal(code):
                    cause, mend = words(code)
                    self.assertIn(f"0x{code:02X}", cause)
                    self.assertNotIn("unknown here", cause)
                    self.assertTrue(mend)

    def test_return_codes_of_3(self) -> None:
        """The five numbers of MQTT 3.1.1 say the same as those of 5.0."""
        self.assertEqual(connack_words(5, 4)[0], ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(connack_words(4, 4)[0], ReasonCode.BAD_USER_NAME_OR_PASSWORD)
        self.assertIn("password is wrong", connack_words(4, 4)[1])
        self.assertEqual(connack_words(1, 5)[0], ReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
        self.assertEqual(connack_words(0x87, 5)[0], ReasonCode.NOT_AUTHORIZED)

    def test_what_the_broker_says_cannot_steer_my_terminal(self) -> None:
        """A Reason String is shown without control characters, and not longer than a line."""
        cause, _ = disconnect_words(0x98, "\x1b[2Jgo\nforge" + "x" * 70000)
        self.assertNotIn("\x1b", cause)
        self.assertNotIn("\n", cause)
        self.assertLess(len(cause), 400)

    def test_unknown_code(self) -> None:
        """A code of tomorrow is a number, and no fault."""
        self.assertEqual(name_of(0xFE), "0xFE")
        self.assertIn("0xFE", publish_words(0xFE, "t")[0])
