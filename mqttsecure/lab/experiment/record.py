# -*- test-case-name: tests.lab.experiment.test_attacking -*-
"""All that a lab has to tell: its runs, what the firewall and the policies did, its attacks; for a report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mqttsecure.errors import LabError
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.traffic import CAPTURE, RUN
from mqttsecure.lab.model import Reading
from mqttsecure.lab.reading import read_capture

__all__ = ["LabRecord", "RunRecord", "load_record"]

_MOST_DECISIONS: Final = 200
"""Of the audit log, the newest: a report is for reading."""
_MAXIMUM_AUDIT: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class RunRecord:
    """One run: what was told of it, and its capture, read."""

    number: str
    summary: dict[str, Any]
    reading: Reading


@dataclass(slots=True)
class LabRecord:
    """A lab."""

    folder: Path
    policy: str
    runs: list[RunRecord] = field(default_factory=list)
    attacks: list[dict[str, Any]] = field(default_factory=list)
    """Tables: ``time``, ``target``, ``results``."""
    decisions: list[dict[str, Any]] = field(default_factory=list)
    """Denials of the audit log."""

    def as_json(self) -> dict[str, Any]:
        """Without the readings, which stand beside each run."""
        return {
            "folder": str(self.folder),
            "runs": [{"number": each.number, **each.summary} for each in self.runs],
            "attacks": self.attacks,
            "decisions": self.decisions,
        }


def load_record(folder: LabFolder) -> LabRecord:
    """Read what the lab's commands have left.

    Raises:
        LabError: there was no run yet.
        CaptureError: a capture cannot be read.
    """
    folder.existing()
    record = LabRecord(folder.path, folder.policy.read_text(encoding="utf-8"))
    for file in sorted(folder.runs.glob(f"*/{RUN}")):
        reading = read_capture(file.with_name(CAPTURE), authorities=folder.ca_file)
        record.runs.append(RunRecord(file.parent.name, _read(file), reading))
    if not record.runs:
        raise LabError(f"there was no run yet; let some traffic through: mqttsecure lab run {folder.path}")
    for file in (folder.attacks, folder.path / "attacks-target.json"):
        if file.exists():
            record.attacks.append(_read(file))
    record.decisions = _denials(folder.audit)
    return record


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabError(f"{file} is damaged ({error}); remove its folder, and run again") from None
    return found


def _denials(audit: Path) -> list[dict[str, Any]]:
    if not audit.exists():
        return []
    with audit.open("rb") as stream:
        stream.seek(max(0, audit.stat().st_size - _MAXIMUM_AUDIT))
        lines = stream.read().splitlines()
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the first one, cut by the bound
        if event.get("effect") == "deny":
            found.append(event)
    return found[-_MOST_DECISIONS:]
