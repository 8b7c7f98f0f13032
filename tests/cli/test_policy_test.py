# -*- test-case-name: tests.cli.test_policy_test -*-
"""``mqttsecure policy test``."""

from __future__ import annotations

from pathlib import Path

from click.testing import Result

from tests.cli.asking import AskingTestCase
from tests.support.process import CHECKOUT

GOOD = '[[test]]\nname = "alice writes"\nuser = "alice"\ndo = "publish"\ntopic = "lab/1"\nexpect = "permit"\n'
BAD = '[[test]]\nname = "bob writes"\nuser = "bob"\ndo = "publish"\ntopic = "lab/1"\nexpect = "permit"\n'


class PolicyTestTests(AskingTestCase):
    """Someone changes a rule and wants to know what broke."""

    def policy_test(self, *arguments: object, exit_code: int = 0) -> Result:
        return self.run_command("policy", "test", "-c", self.files.config, *arguments, exit_code=exit_code)

    def file(self, text: str, name: str = "tests.toml") -> Path:
        path = self.files.config.parent / name
        path.write_text(text)
        return path

    def test_passing(self) -> None:
        """One line."""
        self.assertEqual(self.policy_test(self.file(GOOD)).stdout, "1 passed, 0 failed\n")

    def test_failing(self) -> None:
        """File and line, expected, came, and the trace."""
        result = self.policy_test(self.file(GOOD + BAD), exit_code=1)
        self.assertRegex(
            result.stderr, r"tests\.toml:7: test 'bob writes': expected permit, came deny at PUBLISH by default"
        )
        self.assertIn("    PUBLISH\n      topics  abstain", result.stdout)
        self.assertIn("permit user:bob publish lab/1", result.stdout)
        self.assertIn("1 passed, 1 failed", result.stdout)
        self.assertEqual(self.policy_test("-q", self.file(BAD), exit_code=1).stdout, "0 passed, 1 failed\n")

    def test_files_of_the_configuration(self) -> None:
        """Named by [tests], relative to it."""
        self.files = self.write(extra='[tests]\nfiles = ["tests.toml"]\nrequired = true\n')
        self.file(BAD)
        self.policy_test(exit_code=1)
        self.file(GOOD)
        self.assertIn("1 passed", self.policy_test().stdout)

    def test_json(self) -> None:
        """For programs, with the trace of what failed."""
        path = self.file(GOOD + BAD)
        answer = self.answer("policy", "test", "-c", self.files.config, path, exit_code=1)
        self.assertEqual((answer["ok"], [each["passed"] for each in answer["tests"]]), (False, [True, False]))
        self.assertEqual((answer["tests"][1]["line"], answer["tests"][1]["trial"]["outcome"]), (7, "deny"))

    def test_what_cannot_be_used(self) -> None:
        """No files, a missing one, half a test, all problems at once."""
        self.assertIn("names no tests", self.policy_test(exit_code=1).stderr)
        result = self.policy_test("none.toml", self.file('[[test]]\nname = "x"\n'), exit_code=1)
        self.assertIn("cannot be read", result.stderr)
        self.assertIn("is missing", result.stderr)
        self.assertIn("cannot be read", self.run_command("policy", "test", "-c", "none.toml", exit_code=1).stderr)
        self.run_command("policy", "test", exit_code=2)

    def test_shipped_tests_pass(self) -> None:
        """Before the first start as well."""
        root = self.directory / "clone" / "etc"
        root.mkdir(parents=True)
        for name in ("broker.toml", "policy-tests.toml"):
            (root / name).write_text((CHECKOUT / "etc" / name).read_text())
        self.assertIn(" 0 failed", self.run_command("policy", "test", "-c", root / "broker.toml").stdout)
