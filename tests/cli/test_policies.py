# -*- test-case-name: tests.cli.test_policies -*-
"""``mqttsecure policies``."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial import unittest

from mqttsecure.cli.main import main
from tests.support.config import write_config


class PoliciesTests(unittest.SynchronousTestCase):
    """Someone wants to know what there is."""

    def policies(self, *arguments: object) -> Result:
        return CliRunner().invoke(main, ["policies", *map(str, arguments)])

    def test_list(self) -> None:
        """Name, where from, stages with their role."""
        result = self.policies()
        self.assertEqual(result.exit_code, 0, result.output)
        for expected in ("topic-acl", "mqttsecure", "PUBLISH grants", "ACCEPT restricts"):
            self.assertIn(expected, result.stdout)

    def test_options(self) -> None:
        """Of the policies named."""
        result = self.policies("ip-allowlist", "topic-acl")
        self.assertEqual(result.exit_code, 0)
        for expected in ("ACCEPT: grants", "permit", "rules_file"):
            self.assertIn(expected, result.stdout)

    def test_unknown(self) -> None:
        """With the nearest name."""
        result = self.policies("topic-alc")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("topic-acl", result.stderr)

    def test_json(self) -> None:
        """With the schema of the options."""
        answer = json.loads(self.policies("--json").stdout)
        names = {each["name"]: each for each in answer["policies"]}
        self.assertEqual(names["topic-acl"]["stages"]["SUBSCRIBE"], "grants")
        self.assertIn("rules", names["topic-acl"]["options"]["properties"])
        self.assertEqual((answer["failures"], answer["left_out"]), ([], []))
        self.assertEqual(names["topic-acl"]["docs"], "docs/reference/policies/topic-acl.md")
        for each in answer["policies"]:
            self.assertTrue(Path(each["file"]).is_file() and each["version"], each["name"])

    def test_origin_and_options_in_the_table(self) -> None:
        """The table has file, options and page of each."""
        told = self.policies().stdout
        for expected in ("mqttsecure_policies.py", "rules_file", "docs/reference/policies/topic-acl.md"):
            self.assertIn(expected, told)

    def test_failures_for_programs(self) -> None:
        """JSON has each failure in its parts, with the reason."""
        directory = Path(self.mktemp()).absolute()
        (directory / "plugins").mkdir(parents=True)
        config = write_config(directory, extra='[plugins]\npath = ["plugins"]\n').config
        broken = directory / "plugins" / "broken.py"
        broken.write_text("import mqttsecure.nonsense\n")
        broken.chmod(0o644)
        (failure,) = json.loads(self.policies("--json", "--config", config).stdout)["failures"]
        self.assertEqual((failure["file"], failure["distribution"]), (str(broken), "local"))
        self.assertIn("mqttsecure.nonsense", failure["reason"])
        self.assertIn("Traceback", failure["traceback"])

    def test_single_files(self) -> None:
        """Those of a configuration are listed with it, and one that cannot be imported is told."""
        directory = Path(self.mktemp()).absolute()
        (directory / "plugins").mkdir(parents=True)
        config = write_config(directory, extra='[plugins]\npath = ["plugins"]\n').config
        broken = directory / "plugins" / "broken.py"
        broken.write_text("import mqttsecure.nonsense\n")
        broken.chmod(0o644)
        result = self.policies("--config", config)
        self.assertEqual(result.exit_code, 1)
        self.assertIn("mqttsecure.nonsense", result.stderr)
        self.assertIn("topic-acl", result.stdout)
