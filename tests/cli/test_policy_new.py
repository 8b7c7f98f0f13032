"""``mqttsecure policy new``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.policy.registry import PolicyRegistry


class NewTests(SynchronousTestCase):
    """An author begins. That what is written passes the kit, installs and runs is seen in tests.system."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()

    def new(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["policy", "new", *arguments, "--out", str(self.folder)])

    def test_package(self) -> None:
        """A package has its policy, tests, and what pip needs; nothing is left to be filled in."""
        result = self.new("valve-guard")
        self.assertEqual(result.exit_code, 0, result.output)
        files = {str(each.relative_to(self.folder)) for each in self.folder.rglob("*") if each.is_file()}
        self.assertEqual(
            files,
            {
                "README.md",
                "setup.cfg",
                "pyproject.toml",
                "twisted/plugins/mqttsecure_valve_guard.py",
                "tests/test_mqttsecure_valve_guard.py",
            },
        )
        for file in files:
            text = (self.folder / file).read_text()
            self.assertNotRegex(text, "@[A-Z]+@", file)
            self.assertEqual(stat.S_IMODE((self.folder / file).stat().st_mode), 0o644)
        self.assertIn(
            "class ValveGuardFactory", (self.folder / "twisted/plugins/mqttsecure_valve_guard.py").read_text()
        )

    def test_single_file(self) -> None:
        """One file for a folder of the configuration, which is found there."""
        answer = json.loads(self.new("valve-guard", "--single-file", "--json").stdout)
        self.assertEqual(len(answer["files"]), 3)
        (self.folder / "plugins").chmod(0o755)
        found = PolicyRegistry([self.folder / "plugins"]).find("local:valve_guard")
        self.assertEqual((found.name, found.distribution), ("valve-guard", "local"))

    def test_nothing_is_written_over(self) -> None:
        """A file of one's own stays as it is, and nothing else is written beside it."""
        self.folder.mkdir()
        (self.folder / "setup.cfg").write_text("mine")
        result = self.new("valve-guard")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("is there already", result.output)
        self.assertEqual([each.name for each in self.folder.iterdir()], ["setup.cfg"])

    def test_names_that_are_none(self) -> None:
        """A name that no configuration could use, or that is taken, is refused with the mend."""
        for name in ("Valve", "valve_guard", "-x", "x-", "x/../y", "x" * 51, "7up", "a--b", ""):
            result = CliRunner().invoke(main, ["policy", "new", "--out", str(self.folder), "--", name])
            self.assertEqual(result.exit_code, 1, name)
            self.assertIn("is no name of a policy", result.output)
        result = self.new("topic-acl")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("is a policy of mqttsecure already", result.output)
        self.assertFalse(self.folder.exists())

    def test_folder_that_cannot_be_written(self) -> None:
        """Is told by name."""
        self.folder.write_text("a file")
        result = self.new("valve-guard")
        self.assertEqual(result.exit_code, 1 if "cannot be written" in result.output else 2, result.output)
