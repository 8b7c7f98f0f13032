# -*- test-case-name: tests.service.test_problems -*-
"""Collects what is wrong with a configuration file, one line for each problem."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mqttsecure.errors import ConfigError
from mqttsecure.service.toml_lines import KeyPath, TomlLines

__all__ = ["Problems", "did_you_mean", "format_key_path", "shown"]

_FILE_AND_LINE: Final = re.compile(r"(.+?):(\d+): ")
_LAST: Final = 1 << 62


class Problems:
    """The problems of one file so far."""

    def __init__(self, file: Path, lines: TomlLines) -> None:
        self._file = file
        self._lines = lines
        self._found: list[tuple[int, str]] = []
        self.ignored: set[KeyPath] = set()
        """Paths of tables about which nothing more is noted."""

    def add(self, path: KeyPath, what: str) -> None:
        """Note that ``what`` is wrong at ``path``; ends in the mend."""
        if path[:2] in self.ignored:
            return
        line = self._lines.line_of(path)
        key = f"{format_key_path(path)}: " if path else ""
        self._found.append((line, f"{self._file}:{line}: {key}{what}"))

    def add_unknown_key(self, path: KeyPath, valid: Iterable[str]) -> None:
        """Note a key that does not exist."""
        self.add(path, "unknown key" + did_you_mean(str(path[-1]), valid))

    def add_text(self, text: str) -> None:
        """Note a problem that is worded in full, as those of policies are."""
        match = _FILE_AND_LINE.match(text)
        in_this_file = match is not None and match[1] == str(self._file)
        self._found.append((int(match[2]) if match is not None and in_this_file else _LAST, text))

    def misplaced(self, name: str) -> str | None:
        """What to do with the top-level key ``name`` that was found in a table; None in a file without headers.

        In TOML every key belongs to the table above it, so what was meant for the top went into that table.
        """
        if self._lines.first_table is None:
            return None
        return (
            f"`{name}` is a top-level key, but stands below a table header and so belongs to that table; "
            f"move it above line {self._lines.first_table}"
        )

    def line_of(self, path: KeyPath) -> int:
        return self._lines.line_of(path)

    @property
    def texts(self) -> list[str]:
        """In the order of their lines."""
        return [text for _, text in sorted(self._found, key=lambda problem: problem[0])]

    def raise_if_any(self) -> None:
        """Raise a ConfigError with all of them."""
        if self._found:
            raise ConfigError(self.texts)


def format_key_path(path: KeyPath) -> str:
    """``policy[2].rules[3]``, counted from 0 as TOML's own tools do."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """``"; did you mean `x`?"``, or the valid names where none is near."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; valid: {', '.join(names)}" if names else ""


def shown(value: object) -> str:
    """A value as it stands in the file, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
