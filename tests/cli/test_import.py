"""``mqttsecure import mosquitto``."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main


class ImportTests(SynchronousTestCase):
    """Someone comes over."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.config = self.folder / "mosquitto.conf"
        self.config.write_text("listener 1883 127.0.0.1\nallow_anonymous true\n")
        self.out = self.folder / "out"

    def run_import(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["import", "mosquitto", str(self.config), "--out", str(self.out), *arguments])

    def test_all_carried_over(self) -> None:
        """It says what was written and how to try it; check and policy test are content with it."""
        result = self.run_import()
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("twistd -n mqttsecure --config", result.output)
        for command in (["check", f"{self.out}/broker.toml"], ["policy", "test", "-c", f"{self.out}/broker.toml"]):
            self.assertEqual(CliRunner().invoke(main, command).exit_code, 0)

    def test_something_was_left_behind(self) -> None:
        """Then the exit code says so, the lines are told, and they stand in a file."""
        with self.config.open("a") as stream:
            stream.write("connection up\naddress example.org\n")
        result = self.run_import()
        self.assertEqual(result.exit_code, 3, result.output)
        self.assertIn("mosquitto.conf:3: not carried over: connection", result.output)
        self.assertIn("2 lines were not carried over", result.output)
        self.assertIn("mosquitto.conf:4", (self.out / "import-notes.txt").read_text())
        again = self.run_import()
        self.assertEqual(again.exit_code, 1)
        self.assertIn("--force", again.output)
        self.assertEqual(self.run_import("--force").exit_code, 3)

    def test_for_programs(self) -> None:
        """JSON has the files and each note in its parts, and the problems where it cannot be done."""
        answer = json.loads(self.run_import("--json").stdout)
        self.assertTrue(answer["ok"])
        self.assertIn(str(self.out / "broker.toml"), answer["files"])
        self.assertEqual({note["kind"] for note in answer["notes"]}, {"differs"})
        result = self.run_import("--json")
        self.assertEqual((result.exit_code, json.loads(result.stdout)["ok"]), (1, False))

    def test_nobody_could_log_in(self) -> None:
        """What is written and cannot be used is told with what the check says."""
        self.config.write_text("listener 1883 127.0.0.1\n")
        result = self.run_import()
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("it cannot be used yet", result.output)
        self.assertIn("AUTHENTICATE", result.output)

    def test_no_such_file(self) -> None:
        """A file that is not there is told by name."""
        self.config.unlink()
        result = self.run_import()
        self.assertEqual(result.exit_code, 1)
        self.assertIn("mosquitto.conf: cannot be read", result.output)
