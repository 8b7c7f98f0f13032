"""A broker that is really started, as ``twistd -n mqttsecure --config FILE``, from this checkout.

Blocking on purpose: a system test starts it in ``setUp`` and talks to it with foreign, blocking clients. A test that
uses the reactor calls :meth:`BrokerProcess.start` before anything is under way.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["CHECKOUT", "BrokerDidNotStart", "BrokerProcess"]

CHECKOUT: Final = Path(__file__).resolve().parents[2]

_LAUNCHER: Final = """
import sys
import mqttsecure
print("mqttsecure imported from", mqttsecure.__file__, file=sys.stderr, flush=True)
from twisted.scripts.twistd import run
sys.argv[0] = "twistd"
sys.exit(run())
"""
"""Does what the ``twistd`` script does, and says whose code it runs."""

_IMPORTED: Final = re.compile(r"^mqttsecure imported from (.+)$", re.MULTILINE)
_LISTENING: Final = re.compile(r"listening on ([A-Za-z0-9_.-]+) (\S+):(\d+)")


class BrokerDidNotStart(AssertionError):
    """It ended, or did not listen in time; the text holds its output."""


class BrokerProcess:
    """One broker process.

    Attributes:
        ports: the port of each listener by name, also of those bound to port 0; of several addresses, the first one.
        addresses: all (host, port) of each listener by name.
        pid: of the process.
    """

    def __init__(
        self,
        config: Path | str,
        directory: Path | str,
        *,
        twistd_arguments: Sequence[str] = ("-n", "--pidfile="),
        environment: dict[str, str] | None = None,
        python: Path | None = None,
    ) -> None:
        """
        Args:
            config: the configuration file.
            directory: a folder for the output, which is also the working folder; a test's ``self.mktemp()``, made.
            twistd_arguments: before ``mqttsecure``.
            environment: variables on top of this process's own.
            python: of another environment, in which the broker is installed; of this checkout is then nothing run.
        """
        self.config = Path(config).absolute()
        self.directory = Path(directory).absolute()
        self._arguments = list(twistd_arguments)
        self._environment = environment or {}
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._output = self.directory / f"broker-{id(self):x}.log"
        self.addresses: dict[str, list[tuple[str, int]]] = {}

    @property
    def ports(self) -> dict[str, int]:
        return {name: addresses[0][1] for name, addresses in self.addresses.items()}

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log(self) -> str:
        """All that it has written so far, to stdout and stderr."""
        return self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""

    def spawn(self) -> None:
        """Start it and do not wait."""
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", **self._environment}
        if self._python is not None:
            del environment["PYTHONPATH"]
        command = [
            str(self._python or sys.executable),
            "-c",
            _LAUNCHER,
            *self._arguments,
            "mqttsecure",
            "--config",
            str(self.config),
        ]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start(self, listeners: int = 1, timeout: float = 30.0) -> BrokerProcess:
        """Start it and wait until it listens and has been seen to be this checkout's code.

        Args:
            listeners: of how many addresses to wait.
            timeout: seconds.

        Raises:
            BrokerDidNotStart: it ended or took too long.
        """
        self.spawn()
        deadline = time.monotonic() + timeout
        while sum(map(len, self._listening().values())) < listeners:
            if self.has_ended:
                code = "" if self._process is None else f" with {self._process.returncode}"
                raise BrokerDidNotStart(f"ended{code}:\n{self.log}")
            if time.monotonic() > deadline:
                self.kill()
                raise BrokerDidNotStart(f"did not listen within {timeout} s:\n{self.log}")
            time.sleep(0.02)
        self.addresses = self._listening()
        imported = _IMPORTED.search(self.log)
        home = CHECKOUT if self._python is None else self._python.parent.parent
        if imported is None or not Path(imported[1]).is_relative_to(home):
            self.kill()
            raise BrokerDidNotStart(f"runs other code than that of {home}:\n{self.log}")
        return self

    def _listening(self) -> dict[str, list[tuple[str, int]]]:
        found: dict[str, list[tuple[str, int]]] = {}
        for name, host, port in _LISTENING.findall(self.log):
            found.setdefault(name, []).append((host.strip("[]"), int(port)))
        return found

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def has_ended(self) -> bool:
        return self._running().poll() is not None

    def wait(self, timeout: float = 15.0) -> int:
        """Wait for it to end by itself and return the exit code; a negative one is the signal that ended it."""
        try:
            return self._running().wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {timeout} s:\n{self.log}") from None

    def signal(self, number: int) -> None:
        if self._running().poll() is None:
            self._running().send_signal(number)

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, wait, and return the exit code; 0 is an orderly stop."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL, for ``addCleanup``; nothing where it has ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(15)
