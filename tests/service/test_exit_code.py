# -*- test-case-name: tests.service.test_exit_code -*-
"""How the process ends, on a really started twistd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial import unittest

from mqttsecure.service import exit_code
from tests.support.process import CHECKOUT

STOPS = """
from twisted.application import service
from twisted.internet import reactor
from mqttsecure.service.exit_code import stop_on_sigterm

class Stub(service.Service):
    def startService(self):
        stop_on_sigterm(reactor)
        reactor.callWhenRunning(lambda: reactor.callLater(0, print, "ready"))
    def stopService(self):
        print("stopping in order")

application = service.Application("stub")
Stub().setServiceParent(application)
"""

FAILS_AT_START = """
from twisted.application import service
from twisted.internet import reactor
from mqttsecure.service.exit_code import fail_start

class Stub(service.Service):
    def startService(self):
        fail_start("port 8883 is taken", reactor)

application = service.Application("stub")
Stub().setServiceParent(application)
"""

FAILS_LATER = """
from twisted.application import service
from twisted.internet import reactor
from mqttsecure.service.exit_code import fail_start

class Stub(service.Service):
    def startService(self):
        reactor.callWhenRunning(fail_start, "port 8883 is taken", reactor)
    def stopService(self):
        print("stopping in order")

application = service.Application("stub")
Stub().setServiceParent(application)
"""


class TwistdTests(unittest.SynchronousTestCase):
    """A stub application under ``twistd``, foreground and daemon."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def command(self, application: str, *arguments: str) -> list[str]:
        (self.directory / "stub.tac").write_text(application)
        launcher = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; sys.exit(run())"
        return [sys.executable, "-c", launcher, *arguments, "-oy", "stub.tac"]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}

    def run_to_end(self, application: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(application, *arguments),
            cwd=self.directory,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )

    def test_sigterm_ends_with_0(self) -> None:
        """A supervisor that stops the broker sees success, not death by signal."""
        output = self.directory / "out"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                self.command(STOPS, "-n", "--pidfile="),
                cwd=self.directory,
                env=self.environment(),
                stdout=stream,
                stderr=stream,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 20
        while b"ready" not in output.read_bytes():
            self.assertLess(time.monotonic(), deadline, output.read_text())
            self.assertIsNone(process.poll(), output.read_text())
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0, output.read_text())
        self.assertIn("stopping in order", output.read_text())

    def test_failed_start_ends_with_1_and_one_line(self) -> None:
        """Who starts a broker whose port is taken reads that, and no traceback."""
        ended = self.run_to_end(FAILS_AT_START, "-n", "--logfile=log")
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(ended.stderr, "mqttsecure: cannot start: port 8883 is taken\n")
        log = (self.directory / "log").read_text()
        self.assertIn("cannot start: port 8883 is taken", log)
        self.assertNotIn("Traceback", log)

    def test_failed_start_removes_the_pid_file(self) -> None:
        """A start that failed leaves nothing that would stand in the way of the next."""
        self.run_to_end(FAILS_AT_START, "-n", "--pidfile=stub.pid")
        self.assertFalse((self.directory / "stub.pid").exists())

    def test_failed_start_of_a_daemon_is_told_to_its_starter(self) -> None:
        """``twistd`` without ``-n`` returns 1 too, with the reason."""
        ended = self.run_to_end(FAILS_AT_START, "--pidfile=stub.pid", "--logfile=log")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("port 8883 is taken", ended.stderr)
        self.assertIn("cannot start: port 8883 is taken", (self.directory / "log").read_text())

    def test_failure_after_the_start_stops_in_order_and_ends_with_1(self) -> None:
        """A failure that shows only once the reactor runs still ends the process with 1."""
        ended = self.run_to_end(FAILS_LATER, "-n", "--pidfile=stub.pid")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("stopping in order", ended.stdout)
        self.assertIn("mqttsecure: cannot start: port 8883 is taken", ended.stderr)
        self.assertFalse((self.directory / "stub.pid").exists())


class FailStartTests(unittest.SynchronousTestCase):
    """``fail_start`` without a process."""

    def test_raises_before_the_reactor_runs(self) -> None:
        """The caller in ``startService`` does not go on."""
        reactor = Clock()
        reactor.running = False
        self.patch(sys, "excepthook", sys.excepthook)
        self.patch(sys, "__stderr__", None)
        with self.assertRaisesRegex(exit_code.StartFailed, "taken"):
            exit_code.fail_start("taken", reactor)
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_other_exceptions_keep_their_traceback(self) -> None:
        """Only a failure that was already reported is kept quiet."""
        seen: list[type[BaseException]] = []
        hook = exit_code._without_traceback(lambda kind, value, traceback: seen.append(kind))
        hook(ValueError, ValueError(), None)
        hook(exit_code.StartFailed, exit_code.StartFailed(), None)
        self.assertEqual(seen, [ValueError])
