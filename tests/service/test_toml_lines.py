# -*- test-case-name: tests.service.test_toml_lines -*-
"""Where each key of a TOML file stands."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from mqttsecure.service.toml_lines import toml_lines

DOCUMENT = '''\
# a comment
top = 1

[[policy]]  # first
id = "a"
rules = [
  "one",  # with a # sign
  "two # no comment",

  """three
  goes on""", "four",
]

[[policy]]
id = 'b'
"quoted key" = { inner = 1, "x.y" = [1, 2] }
[policy.nested]
deep.er = true
[[policy.items]]
n = 1
[[policy.items]]
n = 2
[limits]
moment = 1979-05-27 07:32:00
text = """ends in quotes\\""""""
after = 1
'''


class TomlLinesTests(unittest.SynchronousTestCase):
    """Someone reads the line of a mistake and finds it there."""

    def setUp(self) -> None:
        tomllib.loads(DOCUMENT)
        self.lines = toml_lines(DOCUMENT)

    def assertLine(self, line: int, *path: str | int) -> None:
        self.assertIn(path, self.lines)
        self.assertEqual(self.lines.line_of(path), line)

    def test_top_level_key(self) -> None:
        """A key above all tables."""
        self.assertLine(2, "top")

    def test_tables_of_an_array(self) -> None:
        """Each [[table]] has its own line, and its keys theirs."""
        self.assertLine(4, "policy", 0)
        self.assertLine(5, "policy", 0, "id")
        self.assertLine(14, "policy", 1)
        self.assertLine(15, "policy", 1, "id")

    def test_items_of_an_array_over_several_lines(self) -> None:
        """A rule among many is found, whatever strings and comments stand before it."""
        self.assertLine(6, "policy", 0, "rules")
        self.assertLine(7, "policy", 0, "rules", 0)
        self.assertLine(8, "policy", 0, "rules", 1)
        self.assertLine(10, "policy", 0, "rules", 2)
        self.assertLine(11, "policy", 0, "rules", 3)

    def test_inline_tables_and_quoted_keys(self) -> None:
        """Keys of inline tables, with or without quotes."""
        self.assertLine(16, "policy", 1, "quoted key", "inner")
        self.assertLine(16, "policy", 1, "quoted key", "x.y", 1)

    def test_tables_below_an_item_of_an_array(self) -> None:
        """A sub-table belongs to the newest item."""
        self.assertLine(17, "policy", 1, "nested")
        self.assertLine(18, "policy", 1, "nested", "deep", "er")
        self.assertLine(20, "policy", 1, "items", 0, "n")
        self.assertLine(22, "policy", 1, "items", 1, "n")

    def test_what_follows_dates_and_quotes(self) -> None:
        """Values with spaces and quotes inside do not derail it."""
        self.assertLine(24, "limits", "moment")
        self.assertLine(26, "limits", "after")

    def test_nearest_line_of_something_unknown(self) -> None:
        """A missing key is told with the line of its table, and at worst with line 1."""
        self.assertEqual(self.lines.line_of(("policy", 1, "use")), 14)
        self.assertEqual(self.lines.line_of(("nothing",)), 1)

    def test_first_table(self) -> None:
        """Where top-level keys have to stand above."""
        self.assertEqual(self.lines.first_table, 4)
        self.assertIsNone(toml_lines("a = 1").first_table)

    def test_empty(self) -> None:
        """An empty file has no keys."""
        self.assertEqual(toml_lines("").line_of(("x",)), 1)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, each in value.items():
            found += _paths(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            found += _paths(each, (*path, index))
    return found


_ALPHABET = st.sampled_from(list("ab#\"'\\,[]{}= .\n\t"))
_VALUE = st.recursive(
    st.one_of(st.integers(-99, 99), st.booleans(), st.text(_ALPHABET, max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(_ALPHABET, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, list):
        return "[\n" + "".join(f"{_write(each)}, # ] comment\n" for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quote(key)} = {_write(each)}" for key, each in value.items()) + "}"
    return str(value)


class AnyDocumentTests(unittest.SynchronousTestCase):
    """Whatever the file looks like."""

    @settings(max_examples=150, deadline=None)
    @given(st.dictionaries(st.text(_ALPHABET, max_size=3), _VALUE, max_size=4))
    def test_every_path_has_its_line(self, document: dict[str, Any]) -> None:
        """Each key and item that tomllib finds has a line, and none other does."""
        text = "".join(f"{_quote(key)} = {_write(value)}\n" for key, value in document.items())
        self.assertEqual(tomllib.loads(text), document)
        lines = toml_lines(text)
        for path in _paths(document):
            self.assertIn(path, lines)
