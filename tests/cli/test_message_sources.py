"""Where messages come from."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli import message_sources
from mqttsecure.cli.message_sources import Files, Lines, Repeated, read_all
from mqttsecure.client.failures import OptionsInvalid


class WholeTests(SynchronousTestCase):
    """One payload, or a file each."""

    def all_of(self, source: Repeated | Files) -> list[bytes]:
        found = []
        while (payload := self.successResultOf(Deferred.fromCoroutine(source.next()))) is not None:
            found.append(payload)
        return found

    def test_repeated(self) -> None:
        """So often, and it is known how often."""
        source = Repeated(b"x", 3)
        self.assertEqual((source.total, self.all_of(source)), (3, [b"x"] * 3))

    def test_files(self) -> None:
        """In order, all of them again."""
        files = []
        for name in ("one", "two"):
            file = Path(self.mktemp())
            file.write_bytes(name.encode())
            files.append(file)
        source = Files(files, 2)
        self.assertEqual((source.total, self.all_of(source)), (4, [b"one", b"two"] * 2))

    def test_no_regular_file(self) -> None:
        """A pipe or a folder in place of a file does not hang it."""
        pipe = Path(self.mktemp())
        os.mkfifo(pipe)
        self.failureResultOf(Deferred.fromCoroutine(Files([pipe], 1).next()), OSError)

    def test_too_large(self) -> None:
        """More than a message can be is refused, from a file and from stdin."""
        self.patch(message_sources, "MAXIMUM_PAYLOAD", 10)
        file = Path(self.mktemp())
        file.write_bytes(b"x" * 11)
        self.failureResultOf(Deferred.fromCoroutine(Files([file], 1).next()), OptionsInvalid)
        descriptor = os.open(file, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        self.assertRaises(OptionsInvalid, read_all, descriptor, "stdin")


class LinesTests(SynchronousTestCase):
    """Lines as they come."""

    def setUp(self) -> None:
        self.ours, self.theirs = os.pipe()
        self.addCleanup(os.close, self.ours)
        self.reactor = MemoryReactor()
        self.lines = Lines(self.ours, self.reactor)

    def write(self, data: bytes) -> None:
        os.write(self.theirs, data)

    def next(self) -> Deferred[bytes | None]:
        return Deferred.fromCoroutine(self.lines.next())

    def test_as_they_come(self) -> None:
        """A line is there with its end; nothing is read while nobody asks."""
        line = self.next()
        self.assertEqual(len(self.reactor.getReaders()), 1)
        self.write(b"fi")
        self.lines.doRead()
        self.assertNoResult(line)
        self.write(b"rst\nsecond\r\nth")
        self.lines.doRead()
        self.assertEqual(self.successResultOf(line), b"first")
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertEqual(self.successResultOf(self.next()), b"second")
        line = self.next()
        os.close(self.theirs)
        self.lines.doRead()
        self.assertEqual(self.successResultOf(line), b"th")
        self.assertIsNone(self.successResultOf(self.next()))

    def test_ends_with_a_line_end(self) -> None:
        """Then there is no empty message behind it; an empty line is one."""
        self.write(b"a\n\n")
        os.close(self.theirs)
        line = self.next()
        self.lines.doRead()
        self.assertEqual(self.successResultOf(line), b"a")
        self.assertEqual(self.successResultOf(self.next()), b"")
        line = self.next()
        self.lines.doRead()
        self.assertIsNone(self.successResultOf(line))

    def test_without_end(self) -> None:
        """A line that never ends does not fill the memory."""
        self.patch(message_sources, "MAXIMUM_LINE", 10)
        self.write(b"x" * 20)
        line = self.next()
        self.lines.doRead()
        self.failureResultOf(line, OptionsInvalid)
        os.close(self.theirs)

    def test_cancelled(self) -> None:
        """Ctrl-C while it waits leaves nothing behind in the reactor."""
        line = self.next()
        line.cancel()
        self.failureResultOf(line)
        self.assertEqual(self.reactor.getReaders(), [])
        os.close(self.theirs)
