# -*- test-case-name: tests.cli.test_check -*-
"""``mqttsecure check``."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial import unittest

from mqttsecure.cli.main import main
from tests.support.config import write_config
from tests.support.process import CHECKOUT


class CheckTests(unittest.SynchronousTestCase):
    """Someone wants to know before a start."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def check(self, *arguments: object) -> Result:
        return CliRunner().invoke(main, ["check", *map(str, arguments)])

    def test_good(self) -> None:
        """Exit code 0, one line."""
        result = self.check(write_config(self.directory).config)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("no problems", result.stdout)

    def test_shipped_configuration_before_its_first_start(self) -> None:
        """No certificate is there yet, and that is no problem; none is there afterwards either."""
        root = self.directory / "clone"
        (root / "etc").mkdir(parents=True)
        (root / "etc" / "broker.toml").write_text((CHECKOUT / "etc" / "broker.toml").read_text())
        result = self.check(root / "etc" / "broker.toml")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertEqual([path.name for path in root.iterdir()], ["etc"])

    def test_shipped_configuration_has_no_lint(self) -> None:
        """What is handed out as an example is one."""
        root = self.directory / "clone"
        (root / "etc").mkdir(parents=True)
        for name in ("broker.toml", "policy-tests.toml"):
            (root / "etc" / name).write_text((CHECKOUT / "etc" / name).read_text())
        result = self.check("--strict", root / "etc" / "broker.toml")
        self.assertEqual((result.exit_code, result.stderr), (0, ""), result.output)

    def test_bad(self) -> None:
        """Exit code 1; each problem on stderr in a form that editors follow."""
        files = write_config(self.directory, listener="nonsense = 1", extra="[log]\nlevel = 1\n")
        result = self.check(files.config)
        self.assertEqual(result.exit_code, 1)
        self.assertRegex(result.stderr, r"broker\.toml:\d+: listener\[0\]\.nonsense: ")
        self.assertRegex(result.stderr, r"broker\.toml:\d+: log\.level: ")
        self.assertIn("2 problems", result.stderr)

    def test_table(self) -> None:
        """Listener by stage, who can permit and who can deny."""
        result = self.check("--table", write_config(self.directory).config)
        self.assertEqual(result.exit_code, 0)
        row = next(line for line in result.stdout.splitlines() if "AUTHENTICATE" in line)
        self.assertIn("certificate, password", row)

    def test_json(self) -> None:
        """For programs: parts instead of lines."""
        files = write_config(self.directory, plaintext=True)
        answer = json.loads(self.check("--json", "--table", files.config).stdout)
        self.assertTrue(answer["ok"])
        self.assertEqual(len(answer["table"]), 14)
        self.assertEqual(answer["warnings"][0]["file"], str(files.config))
        files = write_config(self.directory, listener="nonsense = 1")
        result = self.check("--json", "--table", files.config)
        answer = json.loads(result.stdout)
        self.assertEqual(result.exit_code, 1)
        self.assertEqual((answer["ok"], answer["table"]), (False, []))
        self.assertIn("unknown key", answer["problems"][0]["text"])
        self.assertIsInstance(answer["problems"][0]["line"], int)

    def test_lints_are_warnings(self) -> None:
        """A rule that does nothing keeps nobody from starting; with --strict it does."""
        rules = [
            "permit user:alice publish,read lab/#",
            "permit user:alice publish lab/1",
            "permit user:bob read lab/#",
        ]
        files = write_config(self.directory, rules=rules)
        result = self.check(files.config)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertRegex(result.stderr, r"warning: .*broker\.toml:\d+: \[redundant-rule\] rules\[1\]")
        self.assertIn("no problems", result.stdout)
        result = self.check("--strict", files.config)
        self.assertEqual(result.exit_code, 1)
        self.assertRegex(result.stderr, r"(?m)^/.*broker\.toml:\d+: \[redundant-rule\]")
        self.assertIn("1 lint", result.stderr)

    def test_lints_for_programs(self) -> None:
        """Each in its parts."""
        files = write_config(self.directory, rules=["permit everyone publish,read #"])
        answer = json.loads(self.check("--json", files.config).stdout)
        self.assertTrue(answer["ok"])
        self.assertEqual([lint["id"] for lint in answer["lints"]], ["grants-all"])
        self.assertIsInstance(answer["lints"][0]["line"], int)
        result = self.check("--json", "--strict", files.config)
        self.assertEqual((result.exit_code, json.loads(result.stdout)["ok"]), (1, False))

    def test_no_file(self) -> None:
        """A problem like any other; no argument at all is a usage error."""
        result = self.check(self.directory / "none.toml")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("cannot be read", result.stderr)
        self.assertEqual(self.check().exit_code, 2)


class DocumentationTests(unittest.SynchronousTestCase):
    """Someone copies the configuration from the manual."""

    def test_production_example_can_be_used(self) -> None:
        """With its files in place it has no problem and nothing to warn of."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        files = write_config(directory, groups={"alice": ["admins"], "bob": ["admins"]})
        page = (CHECKOUT / "docs" / "howto" / "production.md").read_text()
        files.config.write_text(page.partition("```toml\n")[2].partition("```")[0])
        (directory / "devices-ca.pem").write_bytes(files.ca.read_bytes())
        environment = {"CREDENTIALS_DIRECTORY": str(directory)}
        result = CliRunner(env=environment).invoke(main, ["check", str(files.config)])
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertNotIn("warning", result.stderr)
