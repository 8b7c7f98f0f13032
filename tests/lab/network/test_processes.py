# -*- test-case-name: tests.lab.network.test_processes -*-
"""Processes that outlive who started them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.network.processes import Known, held, identify, read_line


class KnownTests(SynchronousTestCase):
    """A process is found again."""

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "600"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_the_same_process_is_ended(self) -> None:
        """From what was written down of it."""
        process = self.start()
        known = identify(process.pid)
        assert known is not None
        again = Known.read(known.as_json())
        self.assertTrue(again.is_alive())
        self.assertTrue(again.kill())
        self.assertEqual(process.wait(), -9)
        self.assertFalse(again.kill())

    def test_another_of_the_same_number_is_left_alone(self) -> None:
        """The number was given out again, or the machine was started anew."""
        process = self.start()
        known = identify(process.pid)
        assert known is not None
        for other in (replace(known, start="1"), replace(known, boot="x")):
            self.assertFalse(other.is_alive())
            self.assertFalse(other.kill())
        self.assertIsNone(process.poll())

    def test_what_has_ended_is_nobody(self) -> None:
        """Also while nobody has waited for it."""
        process = subprocess.Popen(["true"])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.assertIsNone(identify(process.pid))
        process.wait()
        self.assertIsNone(identify(process.pid))


class HeldTests(SynchronousTestCase):
    """A program waits until its number was written down."""

    def test_it_begins_with_the_line(self) -> None:
        """And not before."""
        file = Path(self.mktemp())
        with file.open("w") as output:
            process = held(["echo", "begun"], output)
        assert process.stdin is not None
        self.assertEqual(file.read_text(), "")
        process.stdin.write("go\n")
        process.stdin.close()
        process.wait(30)
        self.assertEqual(file.read_text(), "begun\n")

    def test_without_the_line_it_never_begins(self) -> None:
        """Whoever started it has died."""
        file = Path(self.mktemp())
        with file.open("w") as output:
            process = held(["echo", "begun"], output)
        assert process.stdin is not None
        process.stdin.close()
        self.assertNotEqual(process.wait(30), 0)
        self.assertEqual(file.read_text(), "")


class ReadLineTests(SynchronousTestCase):
    """A program tells something, or does not."""

    def test_line_silence_and_end(self) -> None:
        """Each is told apart."""
        read, write = os.pipe()
        with open(read) as stream:
            os.write(write, b"line\nanother\n")
            self.assertEqual(read_line(stream, 30), "line\n")
            self.assertEqual(read_line(stream, 30), "another\n")
            self.assertIsNone(read_line(stream, 0))
            os.close(write)
            self.assertEqual(read_line(stream, 30), "")
