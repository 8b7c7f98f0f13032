# -*- test-case-name: tests.service.test_problems -*-
"""How problems are collected and shown."""

from __future__ import annotations

from pathlib import Path

from twisted.trial import unittest

from mqttsecure.errors import ConfigError
from mqttsecure.service.problems import Problems, did_you_mean, format_key_path, shown
from mqttsecure.service.toml_lines import toml_lines


class ProblemsTests(unittest.SynchronousTestCase):
    """Someone reads them from top to bottom."""

    def setUp(self) -> None:
        self.problems = Problems(Path("/etc/broker.toml"), toml_lines("a = 1\nb = 2\n[t]\n"))

    def test_by_line(self) -> None:
        """In the order of the file, whoever found them; those of other files come last."""
        self.problems.add_text("/etc/other:1: third")
        self.problems.add_text("/etc/broker.toml:2: policy 'x': second")
        self.problems.add(("a",), "first")
        self.assertEqual(
            self.problems.texts,
            ["/etc/broker.toml:1: a: first", "/etc/broker.toml:2: policy 'x': second", "/etc/other:1: third"],
        )
        self.assertRaises(ConfigError, self.problems.raise_if_any)

    def test_none(self) -> None:
        """Nothing is raised."""
        self.problems.raise_if_any()

    def test_ignored_tables(self) -> None:
        """A table that was told of already is not blamed for what follows from it."""
        self.problems.ignored = {("listener", 0)}
        self.problems.add(("listener", 0, "tls"), "x")
        self.assertEqual(self.problems.texts, [])

    def test_misplaced(self) -> None:
        """The line above which it belongs, where the file has any table."""
        self.assertIn("above line 3", self.problems.misplaced("log") or "")
        self.assertIsNone(Problems(Path("x"), toml_lines("a = 1")).misplaced("log"))


class WordsTests(unittest.SynchronousTestCase):
    """Small pieces of the texts."""

    def test_key_path(self) -> None:
        """As TOML would write it."""
        self.assertEqual(format_key_path(("policy", 2, "rules", 3)), "policy[2].rules[3]")

    def test_did_you_mean(self) -> None:
        """The nearest name, else all of them, else nothing."""
        self.assertEqual(did_you_mean("bnd", ["bind", "tls"]), "; did you mean `bind`?")
        self.assertEqual(did_you_mean("zzz", ["bind", "tls"]), "; valid: bind, tls")
        self.assertEqual(did_you_mean("zzz", []), "")

    def test_shown(self) -> None:
        """Values as they stand in the file, short."""
        for value, text in (
            (True, "true"),
            (False, "false"),
            ("a", '"a"'),
            (5, "5"),
            ([1], "an array"),
            ({}, "a table"),
        ):
            self.assertEqual(shown(value), text)
        self.assertEqual(len(shown("x" * 500)), 80)
