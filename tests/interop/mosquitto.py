# -*- test-case-name: tests.interop.test_mosquitto -*-
"""mosquitto_pub, mosquitto_sub and mosquitto_rr as programs that are run, at one version of the protocol."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from tests.interop.case import HOST, BrokerCase
from tests.support.config import USERS
from tests.support.foreign import require

__all__ = ["SECONDS", "MosquittoCase", "Subscriber"]

SECONDS: Final = 10.0
"""How long a program may take."""

_SUBSCRIBED: Final = re.compile(r"^Subscribed \(mid: \d+\): ([0-9, ]+)$")

Json = dict[str, Any]


class Subscriber:
    """A running mosquitto_sub, subscribed; its messages as the JSON that it prints."""

    def __init__(self, command: Sequence[str]) -> None:
        # By line: into a pipe it would write only once a buffer is full, and what a test waits for would be in there.
        command = ["stdbuf", "-oL", *command]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._other: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def granted(self) -> list[int]:
        """Wait for the SUBACK and return its codes."""
        while (line := self._line(SECONDS)) is not None:
            if (match := _SUBSCRIBED.match(line)) is not None:
                return [int(code) for code in match[1].split(", ")]
        raise AssertionError(f"mosquitto_sub did not subscribe: {self._other}")

    def receive(self) -> Json:
        """The next message."""
        message = self._message(SECONDS)
        if message is None:
            raise AssertionError(f"mosquitto_sub had no message: {self._other}")
        return message

    def messages(self, seconds: float) -> list[Json]:
        """All messages that come within a time."""
        deadline = time.monotonic() + seconds
        found = []
        while (message := self._message(deadline - time.monotonic())) is not None:
            found.append(message)
        return found

    def ended(self) -> str:
        """Wait for it to end by itself and return what it said."""
        while self._line(SECONDS) is not None:
            pass
        self._process.wait(SECONDS)
        return "\n".join(self._other)

    def kill(self) -> None:
        """SIGKILL: the connection ends without DISCONNECT."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _message(self, seconds: float) -> Json | None:
        deadline = time.monotonic() + seconds
        while (line := self._line(deadline - time.monotonic())) is not None:
            if line.startswith("{"):
                message: Json = json.loads(line)
                return message
        return None

    def _line(self, seconds: float) -> str | None:
        try:
            line = self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if line is not None:
            self._other.append(line)
        return line

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


class MosquittoCase(BrokerCase):
    """The Mosquitto clients at one protocol version."""

    version: ClassVar[str]

    def setUp(self) -> None:
        self.programs = {name: require(f"mosquitto_{name}") for name in ("pub", "sub", "rr")}
        super().setUp()

    def command(self, program: str, client_id: str, credential: str, *more: str) -> list[str]:
        """A command line for the user that the Client Identifier begins with."""
        user = client_id.partition("-")[0]
        command = [self.programs[program], "-V", self.version, "-h", HOST, "-p", str(self.port)]
        command += ["--cafile", str(self.files.ca), "-i", client_id]
        if credential == "certificate":
            certificate, key = self.certificates[user]
            return [*command, "--cert", str(certificate), "--key", str(key), *more]
        return [*command, "-u", user, "-P", USERS[user], *more]

    def run_program(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def publish(self, topic: str, payload: str, qos: int = 0, *more: str, credential: str = "password") -> None:
        """Publish as alice, and see it succeed."""
        arguments = ["-t", topic, "-q", str(qos), *more]
        arguments += ["-m", payload] if payload else ["-n"]
        done = self.run_program(self.command("pub", "alice-pub", credential, *arguments))
        self.assertEqual((0, ""), (done.returncode, done.stderr), self.broker.log)

    def start_subscriber(self, client_id: str, topic_filter: str, qos: int, *more: str, **options: str) -> Subscriber:
        credential = options.get("credential", "password")
        arguments = ["-t", topic_filter, "-q", str(qos), "-F", "%j", "-d", *more]
        subscriber = Subscriber(self.command("sub", client_id, credential, *arguments))
        self.addCleanup(subscriber.kill)
        return subscriber

    def subscribe(self, client_id: str, topic_filter: str, qos: int, *more: str, **options: str) -> Subscriber:
        """Subscribe, and see it granted."""
        subscriber = self.start_subscriber(client_id, topic_filter, qos, *more, **options)
        self.assertEqual([qos], subscriber.granted())
        return subscriber
