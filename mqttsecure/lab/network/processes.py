# -*- test-case-name: tests.lab.network.test_processes -*-
"""Processes that outlive the command that started them: known again after a crash, and ended for certain.

A number alone does not do: it may be another's by now. What is kept is the number, when the process began, and the
boot.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, TextIO

from mqttsecure.errors import LabError

__all__ = ["Known", "end_with_input", "environment", "held", "identify", "read_line"]

_PATH: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Folders of the administrator's programs, which an ordinary user's PATH often lacks."""
_START_TIME: Final = 19
"""The place of the start time in /proc/PID/stat, counted after the name in brackets."""
_PATIENCE: Final = 10.0


@dataclass(slots=True, frozen=True)
class Known:
    """A process that is known again."""

    pid: int
    start: str
    boot: str

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Known:
        return cls(int(value["pid"]), str(value["start"]), str(value["boot"]))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return identify(self.pid) == self

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal to it, if it is still the one; waits until a killed one is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            # Looked at after it was opened: the descriptor stays that process's, whoever gets the number next.
            if not self.is_alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
            if number == signal.SIGKILL:
                select.select([descriptor], [], [], _PATIENCE)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def identify(pid: int) -> Known | None:
    """The process of that number; None where there is none, or only what is left of one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Known(pid, fields[_START_TIME], boot)


def environment() -> dict[str, str]:
    """For programs of the lab: finds the administrator's ones, and this very package."""
    found = dict(os.environ)
    found["PATH"] = os.pathsep.join((found.get("PATH", os.defpath), *_PATH))
    found["PYTHONUNBUFFERED"] = "1"
    root = Path(__file__).resolve().parents[3]
    if root.name not in ("site-packages", "dist-packages"):  # a checkout
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), found.get("PYTHONPATH"))))
    return found


def held(command: Sequence[str], output: int | TextIO, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a program that does not begin until a line is written to its standard input.

    So whoever starts it can write down its number first: dies the starter in between, the program never begins.
    """
    try:
        return subprocess.Popen(  # noqa: S603  # what runs is ours
            ["/bin/sh", "-c", 'read go && exec "$@" </dev/null', "sh", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=environment(),
            cwd=cwd,
        )
    except OSError as error:
        raise LabError(f"{command[0]} cannot be started: {error.strerror}; install it") from None


def end_with_input() -> None:
    """End this program when its standard input does: when whoever started it has ended, however that came."""

    def watch() -> None:
        while sys.stdin.read(1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def read_line(stream: IO[str], seconds: float) -> str | None:
    """The next line of a pipe; None where it did not come in time, and "" at the end.

    Byte by byte and past the stream's own buffer: what lies in that, no waiting for the pipe would tell.
    """
    deadline = time.monotonic() + seconds
    line = bytearray()
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stream.fileno()], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        byte = os.read(stream.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode("utf-8", "replace")
