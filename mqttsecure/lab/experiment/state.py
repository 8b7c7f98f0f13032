# -*- test-case-name: tests.lab.experiment.test_setting -*-
"""What was started for a lab: written down before it begins, so that it can be ended whatever happened meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mqttsecure.errors import LabError
from mqttsecure.lab.network.plan import TUNNEL, Mode
from mqttsecure.lab.network.processes import Known
from mqttsecure.lab.network.space import Space
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import PRIVATE, NewFile, write_new

__all__ = ["State"]


@dataclass(slots=True)
class State:
    """A lab that is up, or half up.

    Attributes:
        path: of the file.
        mode: how its hosts are kept apart.
        tunnel: what makes the tunnel, None without one.
        plaintext: whether there is a listener without TLS, too.
        keeper: of the namespaces.
        processes: what was started beside them.
        complete: whether all of it came up.
    """

    path: Path
    mode: Mode
    tunnel: str | None = None
    plaintext: bool = False
    keeper: Known | None = None
    processes: list[Known] = field(default_factory=list)
    complete: bool = False

    @property
    def space(self) -> Space | None:
        """The namespaces, where there are any."""
        return None if self.keeper is None else Space(self.keeper, rootless=self.mode is Mode.ROOTLESS)

    @property
    def network(self) -> str:
        """The first three numbers of the addresses at which the broker is reached."""
        if self.tunnel is not None:
            return TUNNEL
        return self.mode.network

    @property
    def is_alive(self) -> bool:
        """Whether all that was started still runs."""
        known = [*([self.keeper] if self.keeper else []), *self.processes]
        return self.complete and all(each.is_alive() for each in known)

    def write(self) -> None:
        """Write it down."""
        content = {
            "mode": self.mode.value,
            "tunnel": self.tunnel,
            "plaintext": self.plaintext,
            "keeper": None if self.keeper is None else self.keeper.as_json(),
            "processes": [each.as_json() for each in self.processes],
            "complete": self.complete,
        }
        try:
            write_new(NewFile(self.path, (json.dumps(content, indent=2) + "\n").encode(), PRIVATE), force=True)
        except CertificateProblem as error:
            raise LabError(str(error)) from None

    @classmethod
    def read(cls, path: Path) -> State | None:
        """What is written down; None where nothing is.

        Raises:
            LabError: the file is damaged.
        """
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            keeper = found["keeper"]
            return cls(
                path,
                Mode(found["mode"]),
                found["tunnel"],
                bool(found["plaintext"]),
                None if keeper is None else Known.read(keeper),
                [Known.read(each) for each in found["processes"]],
                bool(found["complete"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"{path} cannot be read ({error}); look for processes of the lab (ps ax | grep 'sleep infinity'), end "
                "them, and remove the file"
            ) from None

    def end(self) -> list[str]:
        """End all of it and forget it; what was ended, in words. May be done again and again."""
        ended = []
        for process in reversed(self.processes):
            if process.kill():
                ended.append(f"process {process.pid}")
        if self.keeper is not None and self.keeper.kill():
            ended.append(f"the namespaces of process {self.keeper.pid}, with all hosts, cables and programs in them")
        self.path.unlink(missing_ok=True)
        return ended
