# -*- test-case-name: tests.lab.experiment.test_traffic -*-
"""``lab run``: capture, traffic, secrets; and what the capture shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mqttsecure.errors import LabError
from mqttsecure.lab.capture.files import parse_capture, read_file
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.writer import PcapngWriter
from mqttsecure.lab.document import reading_document
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.preparing import BROKER_NAME, READER, WRITER
from mqttsecure.lab.experiment.roles import Orders
from mqttsecure.lab.experiment.state import State
from mqttsecure.lab.model import Reading
from mqttsecure.lab.network.firewall import counters
from mqttsecure.lab.network.lan import SWITCH
from mqttsecure.lab.network.plan import BROKER, PLAIN_PORT, PORT, PUBLISHER, SUBSCRIBER, Host
from mqttsecure.lab.network.processes import environment, read_line
from mqttsecure.lab.network.relay import Relay
from mqttsecure.lab.reading import read_capture

__all__ = ["CAPTURE", "RUN", "Run", "RunOptions", "run_traffic"]

CAPTURE: Final = "capture.pcapng"
RUN: Final = "run.json"
_READING: Final = "reading.json"
_PATIENCE: Final = 60.0
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
class Run:
    """What came of it.

    Attributes:
        folder: with the capture, its secrets, and all of this as JSON.
        published: messages that the publisher handed over, as it tells them.
        received: those that the subscriber got.
        failures: by role, what went wrong.
        password_visible: whether a password stands readable in a frame.
        resumed: whether the broker took the offer to resume a session; None where none was made.
        reading: of the capture.
        counters: of the firewall; None without one.
    """

    folder: Path
    published: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    password_visible: bool = False
    resumed: bool | None = None
    reading: Reading | None = None
    counters: list[dict[str, Any]] | None = None

    @property
    def complete(self) -> bool:
        """Whether every message arrived, and nothing was readable on the way."""
        same = [each["payload"] for each in self.published] == [each["payload"] for each in self.received]
        return bool(self.published) and same and not self.failures and not self.password_visible


def run_traffic(folder: LabFolder, state: State, options: RunOptions, tell: Tell) -> Run:
    """Capture while the publisher writes and the subscriber reads.

    Raises:
        LabError: a program does not start, or hangs.
    """
    if options.plaintext and not state.plaintext:
        raise LabError(
            f"there is no listener without TLS; bring the lab up with one: mqttsecure lab up {folder.path} --plaintext"
        )
    run = Run(folder.new_run())
    port = PLAIN_PORT if options.plaintext else PORT
    frames = run.folder / "frames.pcapng"
    with ExitStack() as stack:
        if state.mode.has_lan:
            stack.enter_context(_captured(state, frames))
            programs = _Programs(folder, state, options, run, {})
        else:
            relays = {
                host.name: Relay(host.address(state.network), (BROKER.address(state.network), port))
                for host in _CLIENTS
            }
            stack.enter_context(_drawn(relays, frames))
            programs = _Programs(folder, state, options, run, {name: each.port for name, each in relays.items()})
        programs.work(tell)
    _put_together(run.folder, frames)
    run.password_visible = _is_visible(folder, run.folder / CAPTURE)
    run.reading = read_capture(run.folder / CAPTURE, authorities=folder.ca_file)
    if state.space is not None:
        run.counters = counters(state.space)
    _write(run, state, options)
    return run


_CLIENTS: Final = (SUBSCRIBER, PUBLISHER)


@contextmanager
def _captured(state: State, file: Path) -> Iterator[None]:
    """Capture off the switch meanwhile; begun before anything else, and ended after the last frame."""
    space = state.space
    if space is None:
        raise RuntimeError("there is a LAN")
    command = [sys.executable, "-m", "mqttsecure.lab.network.capturing", SWITCH, str(file)]
    process = space.popen(None, command, stderr=file.with_name("capture.log"))
    try:
        if process.stdout is None or read_line(process.stdout, _PATIENCE) != "ready\n":
            raise LabError(f"frames cannot be captured; see {file.with_name('capture.log')} and: mqttsecure lab doctor")
        yield
    finally:
        _finish(process)


def _finish(process: subprocess.Popen[str]) -> None:
    """Tell a program that it is over, and wait; one that does not hear is killed."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _drawn(relays: dict[str, Relay], file: Path) -> Iterator[None]:
    with ExitStack() as stack:
        for relay in relays.values():
            stack.enter_context(relay)
        yield
    with (
        file.open("wb") as stream,
        PcapngWriter(stream, comment="drawn by a relay; TCP and below are not real") as writer,
    ):
        writer.add_interface(name="relay")
        everything = (frame for relay in relays.values() for frame in relay.frames)
        for moment, data in sorted(everything, key=lambda frame: frame[0]):
            writer.write_frame(data, moment)


class _Programs:
    """The two programs, on their hosts or behind their relays."""

    def __init__(self, folder: LabFolder, state: State, options: RunOptions, run: Run, relays: dict[str, int]) -> None:
        self._folder = folder
        self._state = state
        self._options = options
        self._run = run
        self._relays = relays

    def work(self, tell: Tell) -> None:
        subscriber = self._start(SUBSCRIBER, READER)
        publisher: subprocess.Popen[str] | None = None
        try:
            if self._until(subscriber, SUBSCRIBER, "subscribed", tell):
                publisher = self._start(PUBLISHER, WRITER)
                if self._until(publisher, PUBLISHER, "done", tell):
                    self._until(subscriber, SUBSCRIBER, "done", tell)
                    if self._options.resume:
                        _finish(publisher)
                        publisher = self._start(PUBLISHER, WRITER, "resumer")
                        self._until(publisher, PUBLISHER, "done", tell)
        finally:
            for process in filter(None, (subscriber, publisher)):
                process.kill() if process.poll() is None and self._run.failures else None
                _finish(process)

    def _start(self, host: Host, user: str, role: str | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mqttsecure.lab.experiment.roles", role or host.name]
        space = self._state.space
        error = self._run.folder / f"{host.name}.log"
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
            key_log=str(self._run.folder / f"{host.name}.keys"),
            tls=self._options.tls,
            suites=self._options.suites,
        )

    def _until(self, process: subprocess.Popen[str], host: Host, wanted: str, tell: Tell) -> bool:
        """Take what a program tells until it tells ``wanted``; False where it failed."""
        if process.stdout is None:
            raise RuntimeError("it has pipes")
        while True:
            line = read_line(process.stdout, _PATIENCE)
            if line is None:
                raise LabError(f"the {host.name} has said nothing for {_PATIENCE:g} s; see {self._run.folder}")
            if not line:
                self._run.failures[host.name] = f"ended without a word; see {self._run.folder / f'{host.name}.log'}"
                return False
            event: dict[str, Any] = json.loads(line)
            self._note(host, event, tell)
            if event["event"] == "failed":
                return False
            if event["event"] == wanted:
                return True

    def _note(self, host: Host, event: dict[str, Any], tell: Tell) -> None:
        kind = event.pop("event")
        event_words = {"published": self._run.published, "received": self._run.received}
        if kind in event_words:
            event_words[kind].append(event)
            tell(f"{host.name}: {kind} {event['payload']!r} on {event['topic']} with QoS {event['qos']}")
        elif kind == "resumed":
            self._run.resumed = event["taken"]
            answer = "took it" if event["taken"] else "made a new one"
            tell(f"{host.name}: offered to resume its session, and the broker {answer}")
        elif kind == "failed":
            self._run.failures[host.name] = event["text"]
            tell(f"{host.name}: {event['text']}")
        event["event"] = kind


def _put_together(folder: Path, frames: Path) -> None:
    """The capture with the secrets before the frames, where Wireshark looks for them."""
    secrets = b"".join(each.read_bytes() for each in sorted(folder.glob("*.keys")))
    budget = Budget()
    captured = parse_capture(read_file(frames, budget.limits.file_bytes, "capture"), budget)
    if not captured.frames:
        raise LabError("no frame was captured, though there was traffic; see: mqttsecure lab doctor")
    with (folder / CAPTURE).open("wb") as stream, PcapngWriter(stream, comment="mqttsecure lab run") as writer:
        if secrets:
            writer.write_secrets(secrets)
        writer.add_interface(name=SWITCH)
        for frame in captured.frames:
            writer.write_frame(frame.data, round(frame.time * 1e9))
    frames.unlink()


def _is_visible(folder: LabFolder, capture: Path) -> bool:
    content = capture.read_bytes()
    return any(folder.password(user).read_bytes().strip() in content for user in (WRITER, READER))


def _write(run: Run, state: State, options: RunOptions) -> None:
    reading = run.reading
    if reading is None:
        raise RuntimeError("the capture was read")
    (run.folder / _READING).write_text(json.dumps(reading_document(reading)))
    summary = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "mode": state.mode.value,
        "tunnel": state.tunnel,
        "options": asdict(options),
        "complete": run.complete,
        "published": run.published,
        "received": run.received,
        "failures": run.failures,
        "password_visible": run.password_visible,
        "resumed": run.resumed,
        "connections": [each.verdict.text for each in reading.connections],
        "tunnels": [each.text for each in reading.tunnels],
        "counters": run.counters,
    }
    (run.folder / RUN).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
