# -*- test-case-name: tests.cli.test_lab -*-
"""``mqttsecure lab``, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.lab import lab
from mqttsecure.cli.main import main
from mqttsecure.lab.network.processes import environment
from tests.lab.experiment.case import short_folder
from tests.lab.network.case import open_space


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["lab", *arguments])


class LabTests(SynchronousTestCase):
    """Someone follows the lab sheet."""

    def test_each_command_has_examples_and_exit_codes(self) -> None:
        """And tells what 4 means."""
        for name in lab.commands:
            result = run(name, "--help")
            self.assertIn("Examples:", result.output, name)
            self.assertIn("Exit codes:", result.output, name)

    def test_init_up_down(self) -> None:
        """In that order; down twice."""
        open_space().close()  # or skip
        folder = short_folder(self, prepared=False)
        path = str(folder.path)
        self.addCleanup(run, "down", path)
        for arguments, expected in (
            (("init", path), "next: mqttsecure lab up"),
            (("up", path), "next: mqttsecure lab run"),
        ):
            result = run(*arguments)
            self.assertEqual(result.exit_code, 0, result.output)
            self.assertIn(expected, result.output)
        self.assertIn("10.77.0.40/24", self.on_host(path, "mallory", "ip", "-brief", "addr"))
        self.assertIn("addresses", self.on_host(path, "broker", "nft", "list", "ruleset"))
        for expected in ("is down", "was not up"):
            result = run("down", path)
            self.assertEqual(result.exit_code, 0, result.output)
            self.assertIn(expected, result.output)

    def on_host(self, path: str, *command: str) -> str:
        """What a program prints on a host; `exec` becomes that program, so it has a process of its own."""
        program = "from mqttsecure.cli.main import main; main()"
        arguments = [sys.executable, "-c", program, "lab", "exec", path, *command]
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_what_cannot_be_done(self) -> None:
        """Exit code 4, with the mend; a command line that makes no sense is 2."""
        folder = short_folder(self)
        path = str(folder.path)
        for arguments, expected in (
            (("init", path), "is not empty"),
            (("run", path), "is not up; run: mqttsecure lab up"),
            (("up", f"{path}/nothing"), "holds no lab; prepare one"),
            (("exec", path, "mallory", "true"), "is not up"),
        ):
            result = run(*arguments)
            self.assertEqual(result.exit_code, 4, result.output)
            self.assertIn(expected, result.output)
        self.assertEqual(run("up", path, "--mode", "magic").exit_code, 2)

    def test_doctor(self) -> None:
        """A table, or JSON; 0 with a LAN, 1 without."""
        result = run("doctor", "--json")
        answer = json.loads(result.output)
        self.assertEqual(result.exit_code, 1 if answer["mode"] == "loopback" else 0)
        self.assertIn("The lab takes:", run("doctor").output)
