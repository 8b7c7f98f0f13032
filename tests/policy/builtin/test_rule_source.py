"""Tests for mqttsecure.policy.builtin.rule_source."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin import rule_source
from mqttsecure.policy.builtin.options import Problems
from mqttsecure.policy.builtin.rule_source import authority_warnings, bind_authorities, load_rules, read_rules_file
from mqttsecure.policy.builtin.rules import parse_rule
from tests.policy.builtin.helpers import problems_of
from tests.support.environment import FakeAuthority, FakeEnvironment


class RulesFileTests(SynchronousTestCase):
    """Rules in a file."""

    def _file(self, text: str | bytes) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_reads_rules_with_their_lines(self) -> None:
        """Comments and empty lines are skipped but counted, as an editor counts."""
        path = self._file("# rules\n\npermit everyone read a\r\n  # more\n  deny user:b publish #\n")
        rules = read_rules_file(path)
        self.assertEqual([rule.id for rule in rules], ["line 3", "line 5"])
        self.assertEqual(str(rules[1].source), f"{path}:5")
        self.assertEqual(rules[1].text, "deny user:b publish #")

    def test_tells_all_bad_lines(self) -> None:
        """Every mistake of the file is told at once, with line and column."""
        path = self._file("permit everyone read a\nalow everyone read a\n\n permit bob read a/#/b\n")
        problems = problems_of(read_rules_file, path)
        self.assertEqual([p.removeprefix(f"{path}:").split(": ")[0] for p in problems], ["2:1", "4:9", "4:18"])

    def test_refuses_files_that_cannot_be_used(self) -> None:
        """Missing, empty, not text, huge, or writable by others: refused, never taken for "no rules"."""
        for content, text in (
            ("", "holds no rule"),
            ("# nothing\n", "holds no rule"),
            (b"permit \xff", ":1: is not UTF-8"),
        ):
            self.assertIn(text, str(self.assertRaises(ConfigError, read_rules_file, self._file(content))))
        self.assertIn("cannot be read", str(self.assertRaises(ConfigError, read_rules_file, Path("nowhere"))))
        self.assertIn("not a regular file", str(self.assertRaises(ConfigError, read_rules_file, Path("."))))
        path = self._file("permit everyone read a\n")
        path.chmod(0o646)
        self.assertIn("chmod o-w", str(self.assertRaises(ConfigError, read_rules_file, path)))
        self.patch(rule_source, "MAXIMUM_RULES_BYTES", 5)
        path.chmod(0o644)
        self.assertIn("larger than", str(self.assertRaises(ConfigError, read_rules_file, path)))

    def test_inline_rules_and_file_together(self) -> None:
        """Both count, and the mistakes of both are told under their keys."""
        path = self._file("nonsense\n")
        environment = FakeEnvironment("acl", folder=path.parent)
        problems = Problems(environment)
        rules = load_rules(["permit everyone read a", "alow"], path.name, environment, problems)
        self.assertEqual([(rule.id, str(rule.source)) for rule in rules], [("rules[0]", "broker.toml:100")])
        found = problems_of(problems.done)
        self.assertTrue(found[0].startswith("broker.toml:101: acl rules[1]: column 1: 'alow'"), found)
        self.assertTrue(any("acl rules_file: " in line and ":1:1: 'nonsense'" in line for line in found), found)

    def test_no_rules_at_all_is_a_mistake(self) -> None:
        """An access list without rules is told, not silently closed or open."""
        environment = FakeEnvironment()
        problems = Problems(environment)
        load_rules([], None, environment, problems)
        self.assertIn("has no rules", problems_of(problems.done)[0])


class AuthorityTests(SynchronousTestCase):
    """Whose names bare ones are."""

    def _bind(self, text: str, authority: str | None, *known: str) -> str | None:
        environment = FakeEnvironment("acl", {name: FakeAuthority(name) for name in known})
        problems = Problems(environment)
        (rule,) = bind_authorities([parse_rule(text, "rules[0]")], authority, environment, problems)
        problems.done()
        return rule.who.authority

    def test_table_of_bindings(self) -> None:
        """A bare name means the one authority there is; a permit never reaches into another."""
        for text, authority, known, expected in (
            ("permit user:a read x", None, (), None),
            ("permit user:a read x", None, ("people",), "people"),
            ("deny user:a read x", None, ("people",), None),
            ("permit user:a read x", "login", ("people", "devices"), "login"),
            ("deny group:a read x", "login", ("people", "devices"), "login"),
            ("permit user:devices:a read x", "login", ("people", "devices"), "devices"),
            ("permit everyone read x", None, ("people", "devices"), None),
            ("permit everyone read x", "login", ("people", "devices"), None),
            ("permit everyone read {user}", "login", ("people", "devices"), "login"),
            ("permit everyone read {user}", None, ("people",), "people"),
            ("deny everyone read {user}", None, ("people",), None),
        ):
            self.assertEqual(self._bind(text, authority, *known), expected, (text, known))

    def test_refuses_a_bare_name_among_several_authorities(self) -> None:
        """CN=admin of a device CA is not the admin of the password file: I must say which I mean."""
        for text in ("permit user:admin read x", "deny group:admin read x"):
            (problem,) = problems_of(self._bind, text, None, "people", "devices")
            self.assertIn("people:admin, or set `authority`", problem)
        (problem,) = problems_of(self._bind, "permit everyone read {user}/#", None, "people", "devices")
        self.assertIn("{user} does not say whose name it is", problem)

    def test_warns_of_a_misspelled_authority(self) -> None:
        """A name close to an authority that exists is told at the start."""
        environment = FakeEnvironment("acl", {"people": FakeAuthority("people")})
        rules = [parse_rule(f"deny user:{name}:a read x") for name in ("peeple", "people", "login")]
        (warning,) = authority_warnings(rules, environment)
        self.assertIn("did you mean 'people'?", warning)
