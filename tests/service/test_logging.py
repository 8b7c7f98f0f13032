# -*- test-case-name: tests.service.test_logging -*-
"""The log: one event, one line, whatever a peer put into it."""

from __future__ import annotations

import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial import unittest

from mqttsecure.service.logging import MAXIMUM_LINE, escape, log_observer


class LogTestCase(unittest.SynchronousTestCase):
    """Logs into a string."""

    def lines(self, style: str = "text", level: str = "info", **fields: object) -> list[str]:
        stream = io.StringIO()
        observer = log_observer(stream, style, level)
        logger = Logger(namespace="mqttsecure.test", observer=observer)
        logger.debug("quiet {name}", **fields)
        logger.info("connected {name}", **fields)
        return stream.getvalue().splitlines()


class TextTests(LogTestCase):
    """Lines that people read."""

    def test_line(self) -> None:
        """Time in UTC, level, source, text."""
        (line,) = self.lines(name="alice")
        self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info mqttsecure\.test: connected alice$")

    def test_level(self) -> None:
        """Only what was asked for is written."""
        self.assertEqual(len(self.lines(level="debug", name="a")), 2)
        self.assertEqual(self.lines(level="warn", name="a"), [])

    def test_chatter_of_twisted_is_left_out(self) -> None:
        """What Twisted's older parts say of factories and ports is not written, but their warnings and errors are."""
        for level in ("debug", "info", "warn"):
            stream = io.StringIO()
            logger = Logger(namespace="log_legacy", observer=log_observer(stream, level=level))
            logger.info("ListenerFactory starting on 8883")
            logger.error("it broke")
            (line,) = stream.getvalue().splitlines()
            self.assertIn("it broke", line)

    def test_a_peer_cannot_forge_a_line(self) -> None:
        """A Client Identifier with line ends and terminal controls stays in its line, visible as what it is."""
        (line,) = self.lines(name="eve\r\n2026-01-01 info: all is well\x1b[2J\u2028\u202e\x00")
        self.assertIn("eve\\r\\n2026-01-01 info: all is well\\x1b[2J\\u2028\\u202e\\x00", line)

    def test_a_peer_cannot_fill_the_disk(self) -> None:
        """A long name is cut, and that is said."""
        (line,) = self.lines(name="x" * 100_000)
        self.assertLess(len(line), MAXIMUM_LINE + 200)
        self.assertIn("more)", line)

    def test_traceback_stays_in_the_line(self) -> None:
        """An error of ours is whole, in one line."""
        stream = io.StringIO()
        logger = Logger(namespace="x", observer=log_observer(stream))
        try:
            raise ValueError("bad\nluck")
        except ValueError:
            logger.failure("went wrong", failure=Failure())
        (line,) = stream.getvalue().splitlines()
        self.assertIn("critical x: went wrong [traceback: ", line)
        self.assertIn("ValueError: bad\\nluck", line)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=50))
    def test_escaped_text_is_printable(self, text: str) -> None:
        """Nothing gets through that a terminal would act on."""
        self.assertTrue(escape(text).isprintable())


class JsonTests(LogTestCase):
    """Lines that programs read."""

    def test_line(self) -> None:
        """One object with the event's own fields."""
        (line,) = self.lines("json", name="alice", count=3, ratio=float("inf"), other=[1], none=None)
        event = json.loads(line)
        self.assertEqual(event["level"], "info")
        self.assertEqual(event["source"], "mqttsecure.test")
        self.assertEqual(event["message"], "connected alice")
        self.assertEqual(event["fields"], {"name": "alice", "count": 3, "ratio": "inf", "other": "[1]", "none": None})

    def test_hostile_fields(self) -> None:
        """Still one line, still JSON."""
        (line,) = self.lines("json", name="\n\ud800\u2028" + "x" * 9999)
        self.assertTrue(json.loads(line)["fields"]["name"].startswith("\\n\\ud800\\u2028"))
        self.assertTrue(line.isascii())

    def test_traceback(self) -> None:
        """In a field of its own."""
        stream = io.StringIO()
        logger = Logger(namespace="x", observer=log_observer(stream, "json"))
        logger.failure("went wrong", failure=Failure(ValueError("bad luck")))
        self.assertIn("bad luck", json.loads(stream.getvalue())["traceback"])
