# -*- test-case-name: tests.cli.test_lab_attack -*-
"""``mqttsecure lab attack``, ``check`` and ``report``, as they are typed."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from tests.lab.experiment.case import short_folder
from tests.support.foreign import require


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["lab", *arguments])


class AttackTests(SynchronousTestCase):
    """Someone attacks a broker."""

    def test_mosquitto(self) -> None:
        """A table of outcomes, JSON for programs, exit code 1 where one succeeded."""
        require("mosquitto")
        folder = short_folder(self)
        result = run("attack", str(folder.path), "A1", "A10", "--target", "mosquitto", "--json")
        self.assertEqual(result.exit_code, 1, result.output)
        outcomes = {each["row"]: each["outcome"] for each in json.loads(result.stdout)["results"]}
        self.assertEqual(outcomes, {"A1": "resisted", "A10": "succeeded"})
        self.assertIn("mosquitto", (folder.path / "attacks-target.json").read_text())

    def test_what_cannot_be_attacked(self) -> None:
        """Strangers, nobody, a lab that is not up, names that are none: exit code 4 and the mend."""
        folder = short_folder(self)
        path = str(folder.path)
        for arguments, expected in (
            (("attack", path, "--target", "192.0.2.1:8883"), "attacks are for a broker of your own"),
            (("attack", path, "--target", "127.0.0.1:1", "A1"), "cannot be reached"),
            (("attack", path), "is not up; run: mqttsecure lab up"),
            (("attack", path, "A77"), "there is no attack 'A77'"),
            (("attack", path, "--target", "x"), "write HOST:PORT"),
            (("attack", path, "--target", "127.0.0.1:1", "--writer", "eve"), "the password of 'eve' is not known"),
            (("check", "127.0.0.1:1"), "the password of 'alice' is not known"),
            (("report", path), "there was no run yet"),
        ):
            result = run(*arguments)
            self.assertEqual(result.exit_code, 4, f"{arguments}: {result.output}")
            self.assertIn(expected, result.output)
