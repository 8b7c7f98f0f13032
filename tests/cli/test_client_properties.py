"""Properties on the command line."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.client_properties import properties_of
from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.wire.constants import PacketType


class PropertiesTests(SynchronousTestCase):
    """Someone writes names and values."""

    def test_kinds(self) -> None:
        """Numbers, text, bytes and pairs; names as in the standard, with - or _."""
        pairs = [
            ("Message-Expiry-Interval", "60"),
            ("content_type", "text/plain"),
            ("correlation-data", "\u00e9"),
            ("user-property", "a=1"),
            ("user-property", "a=2"),
        ]
        self.assertEqual(
            properties_of(pairs, PacketType.PUBLISH),
            {
                "message_expiry_interval": 60,
                "content_type": "text/plain",
                "correlation_data": "\u00e9".encode(),
                "user_property": [("a", "1"), ("a", "2")],
            },
        )

    def test_refused(self) -> None:
        """Each mistake is told with what to write."""
        for pairs, words in (
            ([("content-typ", "x")], "did you mean content-type"),
            ([("zzz", "x")], "2.2.2.2"),
            ([("message-expiry-interval", "soon")], "four byte integer"),
            ([("message-expiry-interval", "-1")], "mend"),
            ([("payload-format-indicator", "2")], "0 or 1"),
            ([("content-type", "a"), ("content-type", "b")], "twice"),
            ([("user-property", "a")], "KEY=VALUE"),
            ([("session-expiry-interval", "1")], "PUBLISH"),
        ):
            error = self.assertRaises(OptionsInvalid, properties_of, pairs, PacketType.PUBLISH)
            self.assertIn(words, str(error), pairs)
