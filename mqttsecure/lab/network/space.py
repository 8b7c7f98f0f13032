# -*- test-case-name: tests.lab.network.test_space -*-
"""Namespaces that live as long as one process does, the keeper.

The keeper is an ``unshare`` whose child is process 1 of a PID namespace of its own. When the keeper is killed, so is
that child, and with it the kernel kills every process in there and takes away its networks, its mounts, all of it.
Nothing of it has a name outside, so nothing can be left behind.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from mqttsecure.errors import LabError
from mqttsecure.lab.network.plan import Host
from mqttsecure.lab.network.processes import Known, environment, identify

__all__ = ["Space"]

_COMMAND_PATIENCE: Final = 30.0

_LASTING: Final = "read go && echo ready && exec sleep infinity"
"""Ends at once where nobody writes the line, as when whoever started it was killed before it was written down."""
_PASSING: Final = "read go && echo ready && exec cat >/dev/null"
"""Ends when whoever started it does, however that comes."""


class Space:
    """User, mount, PID and network namespaces; the network of the keeper itself is the switch."""

    def __init__(self, keeper: Known, *, rootless: bool) -> None:
        self.keeper = keeper
        self.rootless = rootless
        self._line: IO[str] | None = None
        """What a keeper that does not last holds on to."""

    @classmethod
    def open(cls, *, rootless: bool, born: Callable[[Known], None] | None = None) -> Space:
        """Make them.

        Args:
            rootless: as an ordinary user, in a user namespace.
            born: is told of the keeper before it does anything: to write it down, for it then outlives this process.
                Without it the space ends with this process.

        Raises:
            LabError: this machine does not let it.
        """
        user = ["--user", "--map-root-user"] if rootless else []
        command = [
            "unshare",
            *user,
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "sh",
            "-c",
            _PASSING if born is None else _LASTING,
        ]
        try:
            process = subprocess.Popen(  # noqa: S603  # what runs is ours
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env=environment(),
                cwd="/",
            )
        except OSError as error:
            raise LabError(f"unshare cannot be started ({error.strerror}); install the package util-linux") from None
        keeper = identify(process.pid)
        try:
            if keeper is None:  # it has ended already, and tells why
                cls._let_go(process)
                raise LabError("namespaces cannot be made here; see: mqttsecure lab doctor")
            if born is not None:
                born(keeper)
            cls._let_go(process)
            space = cls(keeper, rootless=rootless)
            if born is None:
                space._line = process.stdin
            elif process.stdin is not None:
                process.stdin.close()
            return space
        except BaseException:
            process.kill()
            process.wait()
            for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
                stream.close()
            raise

    @staticmethod
    def _let_go(process: subprocess.Popen[str]) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("it has pipes")
        try:
            process.stdin.write("go\n")
            process.stdin.flush()
        except BrokenPipeError:  # it has ended; what it says tells why
            process.stdin = None
        if process.stdout.readline() != "ready\n":
            said = process.stderr.read().strip().splitlines()
            raise LabError(f"namespaces cannot be made here ({said[-1] if said else 'unshare ended'})")
        process.stdout.close()
        process.stderr.close()
        process.returncode = 0  # it goes on by itself, and is nobody's child to wait for

    def command(self, host: Host | None, *arguments: str) -> list[str]:
        """The command that runs a program on a host, or where ``host`` is None on the switch."""
        proc = f"/proc/{self.keeper.pid}"
        network = f"{proc}/ns/net" if host is None else f"{proc}/root/run/netns/{host.name}"
        user = ["--user", "--preserve-credentials"] if self.rootless else []
        into = [f"--net={network}", "--mount", f"--pid={proc}/ns/pid_for_children"]
        return ["nsenter", f"--target={self.keeper.pid}", *user, *into, "--", *arguments]

    def run(self, host: Host | None, *arguments: str, text: str | None = None) -> str:
        """What a program prints on a host.

        Raises:
            LabError: it ended with an error, or did not end.
        """
        done, output = self.attempt(host, *arguments, text=text)
        if not done:
            where = "the switch" if host is None else host.name
            raise LabError(f"on {where}, {' '.join(arguments[:4])} ...: {output.strip() or 'failed'}")
        return output

    def attempt(self, host: Host | None, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        """Whether a program ends well on a host, and what it prints.

        Raises:
            LabError: it cannot be started, or did not end.
        """
        try:
            done = subprocess.run(  # noqa: S603  # what runs is ours
                self.command(host, *arguments),
                input=text or "",
                capture_output=True,
                text=True,
                timeout=_COMMAND_PATIENCE,
                env=environment(),
                cwd="/",
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{arguments[0]} did not end within {_COMMAND_PATIENCE:g} s; try again") from None
        except OSError as error:
            raise LabError(f"nsenter cannot be started ({error.strerror}); install the package util-linux") from None
        return done.returncode == 0, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def popen(
        self, host: Host | None, arguments: Sequence[str], *, stderr: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a program on a host, with pipes; it ends when the lab does, if not before."""
        error = subprocess.DEVNULL if stderr is None else stderr.open("a")
        try:
            return subprocess.Popen(  # noqa: S603  # what runs is ours
                self.command(host, *arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=error,
                text=True,
                env=environment(),
                cwd="/",
            )
        finally:
            if not isinstance(error, int):
                error.close()

    def close(self) -> None:
        """End everything in there; waits until it is gone."""
        self.keeper.kill()
        if self._line is not None:
            self._line.close()
