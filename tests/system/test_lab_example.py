# -*- test-case-name: tests.system.test_lab_example -*-
"""The lab's three programs, as somebody types them: in Python, with mqtt.js, and mixed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from tests.support.foreign import require
from tests.support.process import CHECKOUT, BrokerProcess

_EXAMPLE = CHECKOUT / "examples" / "lab"


class LabExampleTests(SynchronousTestCase):
    """Someone follows the README of the example."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        shutil.copytree(_EXAMPLE, self.folder)
        config = self.folder / "broker.toml"
        config.write_text(config.read_text().replace("127.0.0.1:8883", "127.0.0.1:0"))
        home = os.getcwd()
        self.addCleanup(os.chdir, home)
        os.chdir(self.folder)
        text = (_EXAMPLE / "README.md").read_text()
        for line in re.findall(r"^mqttsecure (.+)$", text, re.MULTILINE):
            command, _, output = line.partition(" > ")
            result = CliRunner().invoke(main, command.split())
            self.assertEqual(result.exit_code, 0, result.output)
            if output:
                Path(output).write_text(result.stdout)
        self.broker = BrokerProcess(config, self.folder)
        self.addCleanup(self.broker.kill)
        self.broker.start()

    def program(self, role: str, kind: str) -> subprocess.Popen[str]:
        command = {
            "py": [sys.executable, f"{role}.py"],
            "mjs": [require("node"), f"{role}.mjs"],
        }[kind]
        endpoint = f"mqtts://localhost:{self.broker.ports['tls']}"
        process = subprocess.Popen(
            [*command, endpoint],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_every_pair(self) -> None:
        """What either publishes, either reads."""
        modules = self.folder / "node_modules"
        modules.symlink_to(Path(require("mqtt.js")).parent)
        expected = [f"lab/temperature {each}" for each in ("21.5", "21.6", "21.7")]
        for publisher, subscriber in (("py", "py"), ("py", "mjs"), ("mjs", "py"), ("mjs", "mjs")):
            reader = self.program("subscriber", subscriber)
            assert reader.stdout is not None
            self.assertEqual(reader.stdout.readline(), "subscribed\n", reader.stdout.read() if reader.poll() else "")
            output, _ = self.program("publisher", publisher).communicate(timeout=60)
            self.assertEqual(output.count("published"), 3, output)
            received, _ = reader.communicate(timeout=60)
            self.assertEqual(received.splitlines(), expected, (publisher, subscriber))
