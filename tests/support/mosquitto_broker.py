"""A real mosquitto, started as a child on a free port of loopback and ended by its process."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.support.foreign import require

__all__ = ["MosquittoBroker", "free_port", "hash_with_mosquitto"]

_SECONDS: Final = 30.0
"""Within which it must listen: a guard against a hang."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def hash_with_mosquitto(file: Path, passwords: dict[str, str]) -> None:
    """Write a password file with mosquitto's own program."""
    file.touch(0o600)
    for user, password in passwords.items():
        subprocess.run(
            [require("mosquitto_passwd"), "-b", str(file), user, password], check=True, capture_output=True, timeout=30
        )


class MosquittoBroker:
    """Starts with a configuration whose listener is ``port``."""

    def __init__(self, config: Path, port: int) -> None:
        self.port = port
        self._log = config.with_name("mosquitto.log")
        self._process: subprocess.Popen[bytes] | None = None
        self._config = config

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [require("mosquitto"), "-c", str(self._config), "-v"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
            )
        deadline = time.monotonic() + _SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"mosquitto did not start:\n{self.log}")
            time.sleep(0.01)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it; nothing where it has ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(15)
