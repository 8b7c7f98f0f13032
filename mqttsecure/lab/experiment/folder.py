# -*- test-case-name: tests.lab.experiment.test_preparing -*-
"""What is where in a lab's folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mqttsecure.errors import LabError

__all__ = ["LabFolder"]

_LONGEST: Final = 90
"""Bytes of the folder's path: the control socket in it may have 107, which is the kernel's limit."""


@dataclass(slots=True, frozen=True)
class LabFolder:
    """A lab's folder; all paths are absolute."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> LabFolder:
        """The folder, where its name can be used.

        Raises:
            LabError: it cannot.
        """
        absolute = path.absolute()
        if len(bytes(absolute)) > _LONGEST:
            raise LabError(f"{absolute}: the path is too long for a socket in it; take one of {_LONGEST} bytes at most")
        if absolute.is_relative_to("/run") or absolute.is_relative_to("/var/run"):
            raise LabError(f"{absolute}: the hosts of the lab have a /run of their own; put the lab elsewhere")
        return cls(absolute)

    def existing(self) -> LabFolder:
        """Itself, if a lab was prepared in it.

        Raises:
            LabError: none was.
        """
        if not self.policy.is_file():
            raise LabError(f"{self.path} holds no lab; prepare one with: mqttsecure lab init {self.path}")
        return self

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Bring it up or down alone.

        Raises:
            LabError: another command does so now.
        """
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(f"another command brings the lab in {self.path} up or down; wait for it") from None
            yield

    @property
    def policy(self) -> Path:
        """The one policy that broker, firewall and tunnel are made of."""
        return self.path / "broker.toml"

    @property
    def config(self) -> Path:
        """The policy with the addresses of the way that was taken, where these are others."""
        return self.path / "broker-in-use.toml"

    @property
    def authority(self) -> Path:
        return self.path / "ca"

    @property
    def ca_file(self) -> Path:
        return self.authority / "ca.pem"

    @property
    def bad(self) -> Path:
        """The six bad certificates, for the man in the middle."""
        return self.path / "bad"

    @property
    def tunnel(self) -> Path:
        return self.path / "wireguard"

    @property
    def control(self) -> Path:
        return self.path / "control"

    @property
    def audit(self) -> Path:
        return self.path / "audit.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "broker.log"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def attacks(self) -> Path:
        return self.path / "attacks.json"

    def password(self, user: str) -> Path:
        return self.path / f"{user}.password"

    def latest_run(self) -> Path | None:
        """The folder of the last finished run."""
        found = sorted(each.parent for each in self.runs.glob("*/run.json"))
        return found[-1] if found else None

    def new_run(self) -> Path:
        """A folder for a run, numbered after the last one."""
        self.runs.mkdir(exist_ok=True)
        numbers = [int(each.name) for each in self.runs.iterdir() if each.name.isdigit()]
        folder = self.runs / f"{max(numbers, default=0) + 1:03}"
        folder.mkdir()
        return folder
