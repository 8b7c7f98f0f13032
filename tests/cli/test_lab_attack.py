# -*- test-case-name: tests.cli.test_lab_attack -*-
"""``mqttsecure lab attack``, ``check`` and ``report``, as they are typed."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.lab.experiment.traffic import CAPTURE, RUN
from tests.lab.experiment.case import short_folder
from tests.lab.report.test_lab_page import SUMMARY
from tests.lab.samples import CAPTURES
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


class ReportTests(SynchronousTestCase):
    """Someone wants it on one page."""

    def test_each_form(self) -> None:
        """HTML unless another is asked for; beside the lab's files, or wherever."""
        folder = short_folder(self)
        run_folder = folder.new_run()
        (run_folder / CAPTURE).write_bytes((CAPTURES / "made-tls13-mutual.pcapng").read_bytes())
        (run_folder / RUN).write_text(json.dumps(SUMMARY))
        path = str(folder.path)
        result = run("report", path)
        self.assertEqual((result.exit_code, result.output), (0, f"made {folder.path / 'report.html'}\n"))
        page = (folder.path / "report.html").read_text(encoding="utf-8")
        self.assertIn("TLS 1.3, ", page)
        self.assertEqual((folder.path / "report.html").stat().st_mode & 0o777, 0o600)
        self.assertIn("# Lab report", run("report", path, "--format", "md", "-o", "-").stdout)
        self.assertEqual(
            json.loads(run("report", path, "--format", "json", "-o", "-").stdout)["runs"][0]["number"], "001"
        )
        self.assertEqual(run("report", path, "-o", str(folder.path / "no" / "place")).exit_code, 4)
