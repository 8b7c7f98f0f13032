"""How messages are shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.message_format import Template, message_as_json, visible
from mqttsecure.client.events import Message
from mqttsecure.client.failures import OptionsInvalid

_NOW = datetime(2026, 11, 26, 12, 0, 0, 123000, UTC)
_MESSAGE = Message(
    "lab/t\u00e9",
    b'{"a": 1}',
    1,
    True,
    False,
    {"content_type": "text/plain", "correlation_data": b"\xff", "user_property": [("unit", "C"), ("unit", "K")]},
)


def show(template: str, message: Message = _MESSAGE, terminal: bool = False) -> str:
    """What comes out."""
    return Template(template).render(message, _NOW, terminal).decode()


class TemplateTests(SynchronousTestCase):
    """Someone writes a format."""

    def test_fields(self) -> None:
        """Each field, and what stands between them."""
        for template, expected in {
            "{topic}: {payload}": 'lab/t\u00e9: {"a": 1}',
            "{payload:hex}": _MESSAGE.payload.hex(),
            "{payload:base64}": "eyJhIjogMX0=",
            "{payload:json}": '{"a": 1}',
            "{payload:text}": '{"a": 1}',
            "{length} {qos} {retain} {dup}": "8 1 1 0",
            "{time}": "2026-11-26T12:00:00.123Z",
            "{time:unix}": "1795694400.123",
            "{property:content-type} {property:correlation_data} {property:response_topic}.": "text/plain /w== .",
            "{user:unit}": "C,K",
            "{user:none}": "",
            "{{x}} \\t\\n\\\\": "{x} \t\n\\",
            "50 %": "50 %",
        }.items():
            self.assertEqual(show(template), expected, template)
        self.assertEqual(json.loads(show("{properties}"))["content_type"], "text/plain")
        self.assertEqual(json.loads(show("{json}"))["topic"], "lab/t\u00e9")

    def test_payload_that_is_no_json(self) -> None:
        """It becomes a string of JSON."""
        self.assertEqual(show("{payload:json}", Message("t", b"no \xff")), '"no \\\\xff"')
        self.assertEqual(show("{payload:json}", Message("t", b"[" * 100_000))[:3], '"[[')

    def test_refused(self) -> None:
        """Unknown fields, lone braces, unknown escapes, and Mosquitto's letters, each with what to write."""
        for template, words in {
            "{topc}": "{topc}",
            "{": "brace",
            "a } b": "brace",
            "\\q": "escape",
            "a\\": "escape",
            "%t %p": "{topic}",
        }.items():
            self.assertIn(words, str(self.assertRaises(OptionsInvalid, Template, template)), template)

    def test_terminal(self) -> None:
        """Nothing of a payload steers a terminal, but lines may end."""
        message = Message("t", b"a\x1b[2Jb\r\x9b\xff\n\tc\x7f")
        self.assertEqual(show("{payload}", message, True), "a\\x1b[2Jb\\r\\x9b\\xff\n\tc\\x7f")
        self.assertEqual(Template("{payload}").render(message, _NOW, False), message.payload)

    def test_topics_forge_no_lines(self) -> None:
        """Topics and properties are made visible wherever they go."""
        message = Message("a\nb\x1b", b"", properties={"content_type": "x\ny"})
        self.assertEqual(show("{topic} {property:content_type}", message), "a\\nb\\x1b x\\ny")

    @given(st.binary(), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
    def test_any_message(self, payload: bytes, topic: str) -> None:
        """Whatever comes, what goes to a terminal is printable, and JSON is one line that reads back as it was."""
        message = Message(topic, payload)
        shown = show("{topic} {payload}", message, True)
        self.assertTrue(shown.replace("\n", "").replace("\t", "").isprintable())
        line = message_as_json(message, _NOW).decode()
        self.assertEqual(line.index("\n"), len(line) - 1)
        self.assertTrue(line[:-1].isprintable())
        value = json.loads(line)
        self.assertEqual(value["topic"], topic)
        if value["payload"] is not None:
            self.assertEqual(value["payload"].encode(), payload)
        else:
            self.assertIn("payload_base64", value)

    def test_visible(self) -> None:
        """What is visible stays as it is, in any script."""
        self.assertEqual(visible("\u6e29\u5ea6 21\u00b0"), "\u6e29\u5ea6 21\u00b0")
