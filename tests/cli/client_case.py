"""``mqttsecure pub`` and ``sub`` as programs that are run, each a process of its own."""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.constants import ReasonCode
from tests.support.config import BrokerFiles, write_config
from tests.support.process import CHECKOUT, BrokerProcess
from tests.system.conformance.client import Client

__all__ = ["PATIENCE", "ClientCase", "Running", "command", "run_command"]

PATIENCE: Final = 60.0
"""Seconds; only guards hangs: the machine may be loaded."""

_LAUNCHER: Final = """
import sys
from importlib import import_module
name = sys.argv.pop(1)
getattr(import_module(f"mqttsecure.cli.{name}"), name)(prog_name=f"mqttsecure {name}")
"""
"""Does what ``mqttsecure`` does, without the time that it takes to load all other commands."""

_RULES: Final = ("permit user:alice publish,read lab/#", "permit user:bob read lab/#")


def command(*arguments: object) -> list[str]:
    """The command line of ``mqttsecure``."""
    return [sys.executable, "-c", _LAUNCHER, *map(str, arguments)]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of this process, without what would change the commands."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("MQTTSECURE_")}
    return {**found, "PYTHONPATH": str(CHECKOUT), **(more or {})}


def run_command(
    *arguments: object, stdin: bytes = b"", more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run ``mqttsecure`` to its end."""
    return subprocess.run(
        command(*arguments), input=stdin, capture_output=True, env=environment(more), timeout=PATIENCE, check=False
    )


class Running:
    """A command that goes on."""

    def __init__(self, *arguments: object, stdout: int | IO[bytes] = subprocess.PIPE, stdin: int = -3) -> None:
        self.process = subprocess.Popen(
            command(*arguments), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment()
        )

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> tuple[int, bytes, str]:
        """Wait for its end: exit code, stdout, stderr."""
        stdout, stderr = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, stdout or b"", stderr.decode()

    def kill(self) -> None:
        """End it, for ``addCleanup``."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class _Started:
    """A broker that runs, with its files."""

    def __init__(self, directory: Path) -> None:
        self.files: BrokerFiles = write_config(directory, rules=_RULES, plaintext=True)
        for user, password in self.files.passwords.items():
            file = directory / f"{user}.password"
            file.touch(0o600)
            file.write_text(f"{password}\n")
        self.broker = BrokerProcess(self.files.config, directory)
        self.broker.start(listeners=2)


_shared: list[_Started] = []
"""The broker of all tests that do nothing to it, ended with the process: a start takes longer than most tests."""


class ClientCase(SynchronousTestCase):
    """A started broker; alice may write and read ``lab/#``, bob may read it. Tests use topics of their own."""

    has_own_broker = False
    """Whether the tests of the class stop it."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        if self.has_own_broker:
            started = _Started(self.directory)
            self.addCleanup(started.broker.kill)
        else:
            if not _shared or _shared[0].broker.has_ended:
                _shared[:] = [_Started(self.directory)]
                atexit.register(_shared[0].broker.kill)
            (started,) = _shared
        self.files, self.broker = started.files, started.broker

    def client(self) -> Client:
        """A client of the test's own, to publish with."""
        client = Client(self.broker.ports["plain"])
        self.addCleanup(client.drop)
        client.connect(username="alice", password=self.files.passwords["alice"].encode())
        return client

    def wait_for_log(self, pattern: str) -> None:
        """Wait until the broker has written that."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.broker.log):
            self.assertLess(time.monotonic(), deadline, pattern)
            time.sleep(0.02)

    def arguments(self, name: str, user: str = "alice") -> list[str]:
        """Of a user with the right password."""
        url = f"mqtts://localhost:{self.broker.ports['tls']}"
        password = str(self.files.config.parent / f"{user}.password")
        return [name, "-L", url, "--cafile", str(self.files.ca), "-u", user, "--password-file", password]

    def run_client(
        self, name: str, *arguments: object, code: int = 0, stdin: bytes = b"", user: str = "alice"
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end, with that exit code."""
        done = run_command(*self.arguments(name, user), *arguments, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        self.assertNotIn(b"Traceback", done.stderr)
        return done

    def start(self, name: str, *arguments: object, **options: Any) -> Running:
        """Start it."""
        running = Running(*self.arguments(name), *arguments, **options)
        self.addCleanup(running.kill)
        return running

    def subscribe(self, client_id: str, *arguments: object, **options: Any) -> Running:
        """Start a subscriber, and wait until a message reaches it: one to itself, which it does not show."""
        ready = f"lab/ready/{client_id}"
        running = self.start("sub", "-i", client_id, "-t", ready, "-T", "lab/ready/#", *arguments, **options)
        self.wait_for_subscriber(ready)
        return running

    def wait_for_subscriber(self, topic: str) -> None:
        """Wait until somebody subscribes to that."""
        deadline = time.monotonic() + PATIENCE
        client = self.client()
        while client.publish(topic, b"", 1) == ReasonCode.NO_MATCHING_SUBSCRIBERS:
            self.assertLess(time.monotonic(), deadline, topic)
            time.sleep(0.02)
        client.disconnect()

    def stop(self, running: Running, number: int = signal.SIGINT) -> tuple[int, bytes, str]:
        """End it by a signal, and give what it has said."""
        running.signal(number)
        return running.wait()


def lines(data: bytes) -> Sequence[bytes]:
    """Lines that are not empty: those of the probes are."""
    return [line for line in data.split(b"\n") if line]
