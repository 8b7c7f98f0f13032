"""Bytes to stdout."""

from __future__ import annotations

import fcntl
import os

from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.standard_output import StandardOutput


class OutputTests(SynchronousTestCase):
    """A pipe with a reader of any kind."""

    def setUp(self) -> None:
        self.theirs, self.ours = os.pipe()
        self.reactor = MemoryReactor()
        self.output = StandardOutput(self.ours, self.reactor, os.write)
        self.addCleanup(os.close, self.ours)

    def test_slow_reader(self) -> None:
        """What does not fit waits, in order, without blocking; it goes on when there is room."""
        size = fcntl.fcntl(self.ours, fcntl.F_GETPIPE_SZ)
        first, second = self.output.write(b"1" * (size + 10_000)), self.output.write(b"2" * 10)
        self.assertNoResult(first)
        self.assertEqual(self.reactor.getWriters(), [self.output])
        taken = b""
        while len(taken) < size + 10_010:
            taken += os.read(self.theirs, 65536)
            self.output.doWrite()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(taken, b"1" * (size + 10_000) + b"2" * 10)
        self.assertEqual(self.reactor.getWriters(), [])
        os.close(self.theirs)

    def test_nobody_reads(self) -> None:
        """It is an error of every write from then on."""
        os.close(self.theirs)
        self.failureResultOf(self.output.write(b"x"), BrokenPipeError)
        self.failureResultOf(self.output.write(b"x"), BrokenPipeError)

    def test_reader_goes_away(self) -> None:
        """Also of what waits."""
        waiting = self.output.write(b"1" * 1_000_000)
        os.close(self.theirs)
        self.output.doWrite()
        self.failureResultOf(waiting, BrokenPipeError)
        self.assertEqual(self.reactor.getWriters(), [])

    def test_nothing(self) -> None:
        """Nothing is written at once."""
        self.successResultOf(self.output.write(b""))
        os.close(self.theirs)
