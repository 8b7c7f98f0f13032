# -*- test-case-name: tests.lab.experiment.test_traffic -*-
"""``lab run``: capture, traffic, secrets; and what the capture shows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mqttsecure.errors import LabError
from mqttsecure.lab.capture.files import parse_capture, read_file
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.writer import PcapngWriter
from mqttsecure.lab.document import reading_document
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.preparing import READER, WRITER
from mqttsecure.lab.experiment.programs import PATIENCE, Programs, RunOptions, Tell, Told, finish
from mqttsecure.lab.experiment.state import State
from mqttsecure.lab.model import Reading
from mqttsecure.lab.network.firewall import counters
from mqttsecure.lab.network.lan import SWITCH
from mqttsecure.lab.network.plan import BROKER, PLAIN_PORT, PORT, PUBLISHER, SUBSCRIBER
from mqttsecure.lab.network.processes import read_line
from mqttsecure.lab.network.relay import Relay
from mqttsecure.lab.reading import read_capture

__all__ = ["CAPTURE", "RUN", "Run", "RunOptions", "run_traffic"]

CAPTURE: Final = "capture.pcapng"
RUN: Final = "run.json"
_READING: Final = "reading.json"


@dataclass(slots=True)
class Run(Told):
    """What came of it.

    Attributes:
        password_visible: whether a password stands readable in a frame.
        reading: of the capture.
        counters: of the firewall; None without one.
    """

    password_visible: bool = False
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
            programs = Programs(folder, state, options, run, {})
        else:
            relays = {
                host.name: Relay(host.address(state.network), (BROKER.address(state.network), port))
                for host in _CLIENTS
            }
            stack.enter_context(_drawn(relays, frames))
            programs = Programs(folder, state, options, run, {name: each.port for name, each in relays.items()})
        programs.work(tell)
    _put_together(run.folder, frames)
    run.password_visible = _is_visible(folder, run.folder / CAPTURE)
    run.reading = read_capture(run.folder / CAPTURE, authorities=folder.ca_file)
    run.counters = _counters(state)
    _write(run, state, options)
    return run


_CLIENTS: Final = (SUBSCRIBER, PUBLISHER)


def _counters(state: State) -> list[dict[str, Any]] | None:
    """What the firewall has counted; None where there is none."""
    space = state.space
    try:
        return None if space is None else counters(space)
    except LabError:
        return None  # no nft here: `lab up` has told that the broker alone keeps strangers out


@contextmanager
def _captured(state: State, file: Path) -> Iterator[None]:
    """Capture off the switch meanwhile; begun before anything else, and ended after the last frame."""
    space = state.space
    if space is None:
        raise RuntimeError("there is a LAN")
    command = [sys.executable, "-m", "mqttsecure.lab.network.capturing", SWITCH, str(file)]
    process = space.popen(None, command, stderr=file.with_name("capture.log"))
    try:
        if process.stdout is None or read_line(process.stdout, PATIENCE) != "ready\n":
            raise LabError(f"frames cannot be captured; see {file.with_name('capture.log')} and: mqttsecure lab doctor")
        yield
    finally:
        finish(process)


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
