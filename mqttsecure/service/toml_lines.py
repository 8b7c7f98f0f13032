# -*- test-case-name: tests.service.test_toml_lines -*-
"""Where each key of a TOML file stands: the one thing that ``tomllib`` does not tell.

:func:`toml_lines` reads a text that ``tomllib`` has already accepted, so it need not check syntax, only follow it.
A key path is a tuple as in ``("policy", 2, "rules", 3)``: names for tables, numbers for items of arrays.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from typing import TypeAlias

__all__ = ["KeyPath", "TomlLines", "toml_lines"]

KeyPath: TypeAlias = tuple[str | int, ...]


class TomlLines:
    """The lines, counted from 1, of the keys and array items of one file."""

    def __init__(self, lines: dict[KeyPath, int], first_table: int | None) -> None:
        self._lines = lines
        self.first_table = first_table
        """The line of the first ``[table]`` header, above which top-level keys belong; None without any."""

    def line_of(self, path: KeyPath) -> int:
        """The line of ``path``, or of the nearest thing around it that has one (1 for the whole file)."""
        for length in range(len(path), 0, -1):
            line = self._lines.get(path[:length])
            if line is not None:
                return line
        return 1

    def __contains__(self, path: KeyPath) -> bool:
        return path in self._lines


def toml_lines(text: str) -> TomlLines:
    """Map the key paths of ``text``, which must be valid TOML, to their lines."""
    scanner = _Scanner(text)
    scanner.read_document()
    return TomlLines(scanner.lines, scanner.first_table)


class _Scanner:
    """Walks over TOML and notes where each key and item begins."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line_starts = [0] + [index + 1 for index, character in enumerate(text) if character == "\n"]
        self._items_of: dict[KeyPath, int] = {}  # arrays of tables: how many tables so far
        self.lines: dict[KeyPath, int] = {}
        self.first_table: int | None = None

    def read_document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank():
            if self._text[self._position] == "[":
                table = self._read_header()
            else:
                self._read_pair(table)

    def _line(self) -> int:
        return bisect_right(self._line_starts, self._position)

    def _note(self, path: KeyPath, line: int) -> None:
        self.lines.setdefault(path, line)

    def _skip_blank(self) -> bool:
        """Go to the next character that is no white space and no comment; False at the end."""
        text = self._text
        while self._position < len(text):
            character = text[self._position]
            if character == "#":
                end = text.find("\n", self._position)
                self._position = len(text) if end < 0 else end
            elif character in " \t\r\n":
                self._position += 1
            else:
                return True
        return False

    def _read_header(self) -> KeyPath:
        line = self._line()
        if self.first_table is None:
            self.first_table = line
        is_array = self._text.startswith("[[", self._position)
        self._position += 2 if is_array else 1
        keys = self._read_keys("]")
        self._position += 2 if is_array else 1
        path = (*self._within_arrays(keys[:-1], line), keys[-1])
        self._note(path, line)
        if is_array:
            index = self._items_of.get(path, 0)
            self._items_of[path] = index + 1
            path += (index,)
            self._note(path, line)
        elif path in self._items_of:
            path += (self._items_of[path] - 1,)
        return path

    def _within_arrays(self, keys: list[str], line: int) -> KeyPath:
        """The path of ``keys``, with the newest item wherever one of them names an array of tables."""
        path: KeyPath = ()
        for key in keys:
            path += (key,)
            self._note(path, line)
            if path in self._items_of:
                path += (self._items_of[path] - 1,)
        return path

    def _read_pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._read_keys("="):
            path += (key,)
            self._note(path, line)
        self._position += 1
        self._read_value(path)

    def _read_keys(self, end: str) -> list[str]:
        """A dotted key up to, not including, ``end``."""
        keys = []
        while self._skip_blank() and self._text[self._position] != end:
            character = self._text[self._position]
            if character == ".":
                self._position += 1
            elif character in "\"'":
                start = self._position
                self._skip_string()
                keys.append(str(tomllib.loads(f"key = {self._text[start : self._position]}")["key"]))
            else:
                start = self._position
                self._skip_until(f" \t\r\n.{end}")
                keys.append(self._text[start : self._position])
        return keys

    def _read_value(self, path: KeyPath) -> None:
        if not self._skip_blank():
            return
        self._note(path, self._line())
        character = self._text[self._position]
        if character == "[":
            self._read_array(path)
        elif character == "{":
            self._read_inline_table(path)
        elif character in "\"'":
            self._skip_string()
        else:
            self._skip_until(",]}#\n")

    def _read_array(self, path: KeyPath) -> None:
        self._position += 1
        index = 0
        while self._skip_blank() and self._text[self._position] != "]":
            if self._text[self._position] == ",":
                self._position += 1
                continue
            self._read_value((*path, index))
            index += 1
        self._position += 1

    def _read_inline_table(self, path: KeyPath) -> None:
        self._position += 1
        while self._skip_blank() and self._text[self._position] != "}":
            if self._text[self._position] == ",":
                self._position += 1
                continue
            self._read_pair(path)
        self._position += 1

    def _skip_until(self, stops: str) -> None:
        while self._position < len(self._text) and self._text[self._position] not in stops:
            self._position += 1

    def _skip_string(self) -> None:
        text = self._text
        quote = text[self._position]
        end = quote * 3 if text.startswith(quote * 3, self._position) else quote
        position = self._position + len(end)
        while position < len(text) and not text.startswith(end, position):
            position += 2 if quote == '"' and text[position] == "\\" else 1
        position += len(end)
        # A multi-line string may end in up to two quotes of its own, right before the three that close it.
        extra = 0
        while len(end) == 3 and extra < 2 and text.startswith(quote, position):
            position += 1
            extra += 1
        self._position = min(position, len(text))
