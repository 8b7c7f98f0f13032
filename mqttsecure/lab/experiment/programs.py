# -*- test-case-name: tests.lab.experiment.test_traffic -*-
"""The publisher and the subscriber of a run, started on their hosts and listened to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mqttsecure.errors import LabError
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.preparing import BROKER_NAME, READER, WRITER
from mqttsecure.lab.experiment.roles import Orders
from mqttsecure.lab.experiment.state import State
from mqttsecure.lab.network.plan import BROKER, PLAIN_PORT, PORT, PUBLISHER, SUBSCRIBER, Host
from mqttsecure.lab.network.processes import environment, read_line

__all__ = ["PATIENCE", "Programs", "RunOptions", "Tell", "Told", "finish"]

PATIENCE: Final = 60.0
"""Seconds for the next thing that a program tells: two busy cores may take a while."""

Tell = Callable[[str], None]


@dataclass(slots=True, frozen=True)
class RunOptions:
    """How the clients connect.

    Attributes:
        tls: "1.2" or "1.3" alone.
        suites: in OpenSSL's names.
        mutual: they show a certificate in place of a password.
        resume: the publisher connects twice more, and offers to resume its session.
        plaintext: they do without TLS, to see what can be read.
    """

    tls: str | None = None
    suites: str | None = None
    mutual: bool = False
    resume: bool = False
    plaintext: bool = False


@dataclass(slots=True)
class Told:
    """What the programs tell.

    Attributes:
        folder: of the run, with the programs' logs.
        published: messages that the publisher handed over.
        received: those that the subscriber got.
        failures: by host, what went wrong.
        resumed: whether the broker took the offer to resume a session; None where none was made.
    """

    folder: Path
    published: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    resumed: bool | None = None


def finish(process: subprocess.Popen[str]) -> None:
    """Tell a program that it is over, and wait; one that does not hear is killed."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Programs:
    """The two programs, on their hosts or behind their relays."""

    def __init__(
        self, folder: LabFolder, state: State, options: RunOptions, told: Told, relays: dict[str, int]
    ) -> None:
        self._folder = folder
        self._state = state
        self._options = options
        self._told = told
        self._relays = relays

    def work(self, tell: Tell) -> None:
        """Let them work until both are done, or one has failed; whatever happens, none is left."""
        subscriber = self._start(SUBSCRIBER, READER)
        publisher: subprocess.Popen[str] | None = None
        try:
            if self._until(subscriber, SUBSCRIBER, "subscribed", tell):
                publisher = self._start(PUBLISHER, WRITER)
                if self._until(publisher, PUBLISHER, "done", tell):
                    self._until(subscriber, SUBSCRIBER, "done", tell)
                    if self._options.resume:
                        finish(publisher)
                        publisher = self._start(PUBLISHER, WRITER, "resumer")
                        self._until(publisher, PUBLISHER, "done", tell)
        finally:
            for process in filter(None, (subscriber, publisher)):
                if self._told.failures:
                    process.kill()
                finish(process)

    def _start(self, host: Host, user: str, role: str | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mqttsecure.lab.experiment.roles", role or host.name]
        space = self._state.space
        error = self._told.folder / f"{host.name}.log"
        if space is not None:
            process = space.popen(host, command, stderr=error)
        else:
            with error.open("a") as log:
                process = subprocess.Popen(  # noqa: S603  # what runs is ours
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment()
                )
        if process.stdin is None:
            raise RuntimeError("it has pipes")
        process.stdin.write(self._orders(host, user).line())
        process.stdin.flush()
        return process

    def _orders(self, host: Host, user: str) -> Orders:
        if host.name in self._relays:
            where = f"{host.address(self._state.network)}:{self._relays[host.name]}"
        else:
            where = f"{BROKER.address(self._state.network)}:{PLAIN_PORT if self._options.plaintext else PORT}"
        endpoint = f"{'mqtt' if self._options.plaintext else 'mqtts'}://{where}"
        mutual = self._options.mutual
        return Orders(
            endpoint=endpoint,
            server_name=BROKER_NAME,
            user=user,
            password_file=None if mutual else str(self._folder.password(user)),
            ca_file=str(self._folder.ca_file),
            certificate=str(self._folder.path / f"{user}.pem") if mutual else None,
            key=str(self._folder.path / f"{user}.key") if mutual else None,
            key_log=str(self._told.folder / f"{host.name}.keys"),
            tls=self._options.tls,
            suites=self._options.suites,
        )

    def _until(self, process: subprocess.Popen[str], host: Host, wanted: str, tell: Tell) -> bool:
        """Take what a program tells until it tells ``wanted``; False where it failed."""
        if process.stdout is None:
            raise RuntimeError("it has pipes")
        while True:
            line = read_line(process.stdout, PATIENCE)
            if line is None:
                raise LabError(f"the {host.name} has said nothing for {PATIENCE:g} s; see {self._told.folder}")
            if not line:
                self._told.failures[host.name] = f"ended without a word; see {self._told.folder / f'{host.name}.log'}"
                return False
            event: dict[str, Any] = json.loads(line)
            self._note(host, event, tell)
            if event["event"] == "failed":
                return False
            if event["event"] == wanted:
                return True

    def _note(self, host: Host, event: dict[str, Any], tell: Tell) -> None:
        kind = event["event"]
        lists = {"published": self._told.published, "received": self._told.received}
        if kind in lists:
            lists[kind].append({name: event[name] for name in ("topic", "payload", "qos")})
            tell(f"{host.name}: {kind} {event['payload']!r} on {event['topic']} with QoS {event['qos']}")
        elif kind == "resumed":
            self._told.resumed = event["taken"]
            answer = "took it" if event["taken"] else "made a new one"
            tell(f"{host.name}: offered to resume its session, and the broker {answer}")
        elif kind == "failed":
            self._told.failures[host.name] = event["text"]
            tell(f"{host.name}: {event['text']}")
