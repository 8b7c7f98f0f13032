# -*- test-case-name: tests.service.mosquitto.test_importing -*-
"""What whoever comes over has to know: what was left behind, and what is no longer the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mqttsecure.core.decisions import Source
from mqttsecure.service.files import read_utf8

__all__ = ["DIFFERS", "LEFT", "Note", "Notes", "read_text_file"]

LEFT: Final = "not carried over"
DIFFERS: Final = "differs"

_MAXIMUM_BYTES: Final = 64 * 1024 * 1024
"""Of one file: half a million users, or a million rules; more is no configuration."""


@dataclass(slots=True, frozen=True)
class Note:
    """One thing to know: about what line, whether it was left behind or is different, and what to do."""

    source: Source
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {self.kind}: {self.text}"


class Notes:
    """Collects notes; the same one about the same line is kept once."""

    def __init__(self) -> None:
        self._found: dict[Note, None] = {}

    def left(self, source: Source, text: str) -> None:
        """Something was not carried over."""
        self._found[Note(source, LEFT, text)] = None

    def differs(self, source: Source, text: str) -> None:
        """Something was, and means something else now."""
        self._found[Note(source, DIFFERS, text)] = None

    def all(self) -> list[Note]:
        """All of them, in the order of files and lines."""
        files = {note.source.file: number for number, note in reversed(list(enumerate(self._found)))}
        return sorted(self._found, key=lambda note: (files[note.source.file], note.source.line))


def read_text_file(path: Path) -> str:
    """The text of a file to be imported.

    Raises:
        ConfigError: it cannot be read, is too large, or is not UTF-8; with file, line and mend.
    """
    return read_utf8(path, _MAXIMUM_BYTES, "mend its name or mode, or run as root")
