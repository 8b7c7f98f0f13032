# -*- test-case-name: tests.lab.experiment.test_attacking -*-
"""``lab attack``: the attacks on the lab's broker, from a device that mallory took over; or on another of one's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mqttsecure.errors import LabError
from mqttsecure.lab.attacks.outcome import Outcome, Result
from mqttsecure.lab.attacks.table import Attack
from mqttsecure.lab.attacks.target import Account, Target
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.preparing import BROKER_NAME, READER, WRITER
from mqttsecure.lab.experiment.state import State
from mqttsecure.lab.network.plan import BROKER, MALLORY, PORT, SUBSCRIBER, Mode
from mqttsecure.lab.network.processes import environment, read_line

__all__ = ["account_of", "attack", "knock", "target_of_lab", "write_results"]

_PATIENCE: Final = 180.0
"""Seconds for one result: the slow ones come together."""

_KNOCK: Final = """\
import socket, sys
host, port, source = sys.argv[1:]
try:
    with socket.create_connection((host, int(port)), 2, (source, 0)) as s:
        s.settimeout(2)
        try:
            print("closed at once" if not s.recv(1) else "answered")
        except TimeoutError:
            print("open")
except TimeoutError:
    print("silence")
except OSError as error:
    print(error.strerror)
"""


def account_of(folder: LabFolder, user: str) -> Account:
    """A user of the lab."""
    return Account(user, folder.password(user).read_text().strip())


def target_of_lab(folder: LabFolder, state: State, *, patience: float) -> Target:
    """The lab's own broker, as it is seen by the subscriber's host."""
    return Target(
        host=BROKER.address(state.network),
        port=PORT,
        tls=True,
        server_name=BROKER_NAME,
        ca_file=str(folder.ca_file),
        writer=account_of(folder, WRITER),
        reader=account_of(folder, READER),
        source=SUBSCRIBER.address(state.network),
        control=str(folder.control),
        bad=str(folder.bad),
        patience=patience,
    )


def attack(target: Target, attacks: Sequence[Attack], state: State | None) -> Iterator[Result]:
    """Run attacks, on the subscriber's host where ``state`` is a lab with a LAN; results come one by one.

    Raises:
        LabError: the broker cannot be reached, does not let its users in, or an attack hangs.
    """
    command = [sys.executable, "-m", "mqttsecure.lab.attacks.work", *(each.row for each in attacks)]
    with _started(command, state) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("it has pipes")
        process.stdin.write(target.line())
        process.stdin.flush()
        for _ in attacks:
            line = read_line(process.stdout, _PATIENCE)
            if line is None:
                raise LabError(f"an attack has said nothing for {_PATIENCE:g} s; try the rows one by one")
            if not line:
                raise LabError("the attacks ended without a word; run them again, and report it")
            answer: dict[str, Any] = json.loads(line)
            if "failed" in answer:
                raise LabError(answer["failed"])
            yield Result.read(answer)


@contextmanager
def _started(command: list[str], state: State | None) -> Iterator[subprocess.Popen[str]]:
    space = None if state is None else state.space
    if space is not None:
        process = space.popen(SUBSCRIBER, command)
    else:
        process = subprocess.Popen(  # noqa: S603  # what runs is ours
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        )
    try:
        yield process
    finally:
        process.kill()
        for stream in filter(None, (process.stdin, process.stdout)):
            stream.close()
        process.wait()


def knock(state: State) -> Result:
    """N1: mallory itself, whose address the policy does not permit."""
    space = state.space
    if space is not None:
        network = state.mode.network  # beside the tunnel, where there is one
        said = space.run(
            MALLORY, sys.executable, "-c", _KNOCK, BROKER.address(network), str(PORT), MALLORY.address(network)
        )
    else:
        arguments = [BROKER.address(state.network), str(PORT), MALLORY.address(state.network)]
        done = subprocess.run([sys.executable, "-c", _KNOCK, *arguments], capture_output=True, text=True, timeout=60)  # noqa: S603
        said = done.stdout
    words = said.strip()
    outcome = Outcome.SUCCEEDED if words in ("open", "answered") else Outcome.RESISTED
    by = "broker" if state.mode is Mode.LOOPBACK else "firewall"
    return Result("N1", "knock from an address that is not permitted", outcome, words, f"the {by} lets nobody else in")


def write_results(file: Path, target: str, results: Sequence[Result]) -> None:
    """Keep a table for the report; what was run before against the same target stays where it was not run again."""
    kept = _kept(file, target)
    kept |= {each.row: each.as_json() for each in results}
    content = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": target,
        "results": list(kept.values()),
    }
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _kept(file: Path, target: str) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["target"] == target:
            return {each["row"]: each for each in found["results"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or not ours to keep
    return {}
