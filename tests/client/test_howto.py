"""The program of the how-to page runs as it stands there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.config import write_config
from tests.support.process import CHECKOUT, BrokerProcess

_FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class HowtoTests(SynchronousTestCase):
    """I copy from the page."""

    def test_first_program(self) -> None:
        """It connects, subscribes, publishes, and shows the message."""
        page = (CHECKOUT / "docs" / "howto" / "client-library.md").read_text()
        programs = _FENCE.findall(page)
        for program in programs:
            compile(program, "client-library.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        directory = Path(self.mktemp()).absolute()
        (directory / "certs").mkdir(parents=True)
        files = write_config(directory, rules=("permit user:alice publish,read lab/#",))
        (directory / "certs" / "ca.pem").write_bytes(files.ca.read_bytes())
        (directory / "certs" / "alice.password").write_text(f"{files.passwords['alice']}\n")
        broker = BrokerProcess(files.config, directory)
        self.addCleanup(broker.kill)
        broker.start()
        program = programs[0].replace(":8883", f":{broker.ports['tls']}")
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("lab/hello b'world'", done.stdout)
        self.assertEqual(broker.stop(), 0)
