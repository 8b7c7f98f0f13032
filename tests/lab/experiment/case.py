"""A lab in a short folder: the path of its socket may not be long."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.preparing import prepare
from mqttsecure.lab.experiment.setting import set_up, take_down
from mqttsecure.lab.experiment.state import State
from mqttsecure.lab.network.plan import Mode

__all__ = ["SettingCase", "short_folder"]


def short_folder(case: SynchronousTestCase, *, prepared: bool = True) -> LabFolder:
    """A folder that is removed at the end, with a lab in it."""
    temporary = tempfile.TemporaryDirectory(prefix="lab-")
    case.addCleanup(temporary.cleanup)
    folder = LabFolder.at(Path(temporary.name) / "lab")
    if prepared:
        prepare(folder, datetime.now(UTC))
    return folder


class SettingCase(SynchronousTestCase):
    """A lab, taken down at the end; ``told`` is what the commands said."""

    def setUp(self) -> None:
        self.folder = short_folder(self)
        self.addCleanup(take_down, self.folder)
        self.told: list[str] = []

    def up(self, wanted: Mode | None = None) -> State:
        return set_up(self.folder, wanted=wanted, tell=self.told.append)
