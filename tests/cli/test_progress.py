"""A progress bar."""

from __future__ import annotations

import io
import os
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.progress import Progress, Shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ProgressTests(SynchronousTestCase):
    """Something takes a while."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.stderr = _Terminal()
        self.patch(sys, "stderr", self.stderr)
        self.patch(os, "environ", {**os.environ, "TERM": "xterm", "COLUMNS": "120"})
        self.done = 0

    def shown(self, total: int | None = 10, size: int | None = None) -> Shown:
        return Shown(total, size, lambda: (self.done, self.done * 1024))

    def test_short_work_has_none(self) -> None:
        """What is done at once draws nothing, and leaves no timer behind."""
        with Progress(self.clock, self.shown(), enabled=True):
            self.clock.advance(0.1)
        self.assertEqual(self.stderr.getvalue(), "")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_long_work(self) -> None:
        """Messages and bytes are shown, also where nobody knows how many there are; of files the bytes count."""
        for total, size in ((10, None), (None, None), (1, 9 * 1024)):
            self.done = 0
            with Progress(self.clock, self.shown(total, size), enabled=True):
                for self.done in range(10):
                    self.clock.advance(0.5)
            self.assertIn("KiB sent", self.stderr.getvalue())
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_disabled(self) -> None:
        """Into a file or with --quiet there is none."""
        with Progress(self.clock, self.shown(), enabled=False):
            self.assertEqual(self.clock.getDelayedCalls(), [])
