# -*- test-case-name: tests.interop -*-
"""Clients of another library in a process of their own, driven by lines of JSON.

A command is ``{"id": 1, "do": "publish", "client": "one", "topic": ...}`` and its answer ``{"id": 1, ...}``, with an
``error`` where the library reports one. In between come events, ``{"client": "one", "event": "message", ...}``.
``paho_driver.py`` and ``mqttjs_driver.mjs`` speak this, so that both libraries are put to the same scenarios.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["Driver", "ForeignClient", "Json"]

Json = dict[str, Any]

ANSWER_SECONDS: Final = 20.0
"""Longer than the drivers' own patience with the broker, so that it is they who tell what did not come."""

EVENT_SECONDS: Final = 10.0


class Driver:
    """One process with any number of clients in it."""

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self._errors = (directory / "driver.err").open("wb+")
        self._process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._answers: queue.Queue[Json | None] = queue.Queue()
        self._events: dict[str, queue.Queue[Json]] = {}
        self._last_id = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def client(self, name: str) -> ForeignClient:
        self._events[name] = queue.Queue()
        return ForeignClient(self, name)

    def ask(self, client: str, do: str, arguments: Mapping[str, Any]) -> Json:
        """Send a command and wait for its answer."""
        self._last_id += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**arguments, "id": self._last_id, "do": do, "client": client}) + "\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise AssertionError(f"no answer to {do} of {client}:\n{self._told()}") from None
        if answer is None:
            raise AssertionError(f"the driver ended at {do} of {client}:\n{self._told()}")
        assert answer.pop("id") == self._last_id, answer
        return answer

    def event(self, client: str, seconds: float) -> Json | None:
        """The next event of a client, or None where none comes in time."""
        try:
            return self._events[client].get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    def stop(self) -> None:
        """End the process; for ``addCleanup``."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(EVENT_SECONDS)
        self._reader.join(EVENT_SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "id" in message:
                self._answers.put(message)
            else:
                self._events[message["client"]].put(message)
        self._answers.put(None)

    def _told(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")


class ForeignClient:
    """One client of a driver. What the library refuses is in the answers as ``error`` and ``code``."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver = driver
        self.name = name

    def connect(self, **options: Any) -> Json:
        return self._driver.ask(self.name, "connect", options)

    def subscribe(self, topic_filter: str, qos: int = 0) -> list[int]:
        """Subscribe and return the codes of the SUBACK."""
        answer = self._driver.ask(self.name, "subscribe", {"filter": topic_filter, "qos": qos})
        if "granted" not in answer:
            raise AssertionError(f"{self.name} could not subscribe to {topic_filter}: {answer}")
        granted: list[int] = answer["granted"]
        return granted

    def unsubscribe(self, topic_filter: str) -> Json:
        return self._driver.ask(self.name, "unsubscribe", {"filter": topic_filter})

    def publish(self, topic: str, payload: str, qos: int = 0, retain: bool = False, **properties: Any) -> Json:
        """Publish and wait for what acknowledges it."""
        arguments: Json = {"topic": topic, "payload": payload, "qos": qos, "retain": retain}
        if properties:
            arguments["properties"] = properties
        return self._driver.ask(self.name, "publish", arguments)

    def disconnect(self) -> None:
        self._driver.ask(self.name, "disconnect", {})

    def drop(self) -> None:
        """End the connection without DISCONNECT."""
        self._driver.ask(self.name, "drop", {})

    def receive(self, seconds: float = EVENT_SECONDS) -> Json:
        """The next message."""
        event = self._driver.event(self.name, seconds)
        if event is None or event["event"] != "message":
            raise AssertionError(f"{self.name} waited for a message and had {event}")
        return event

    def messages(self, seconds: float) -> list[Json]:
        """All messages that come within a time."""
        deadline = time.monotonic() + seconds
        found: list[Json] = []
        while (event := self._driver.event(self.name, deadline - time.monotonic())) is not None:
            found.append(event)
        return found

    def disconnected(self) -> int | None:
        """Wait for the connection to end; the Reason Code of the broker's DISCONNECT, which only 5.0 has."""
        event = self._driver.event(self.name, EVENT_SECONDS)
        if event is None or event["event"] != "disconnected":
            raise AssertionError(f"{self.name} waited for its connection to end and had {event}")
        code: int | None = event["code"]
        return code
