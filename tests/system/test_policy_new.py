"""`mqttsecure policy new`, as an author does it: written, built, installed, tested, and a broker started with it."""

from __future__ import annotations

import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.config import write_config
from tests.support.process import BrokerProcess
from tests.system.attacks.client import AttackClient
from tests.system.test_third_party import OFFLINE, fresh_environment, run_python

GUARD = """
[[policy]]
id = "guard"
use = "{use}"
topics = ["lab/valve/#"]
group = "operators"
"""


class ScaffoldTests(SynchronousTestCase):
    """What is written passes the kit at once, and guards topics of a started broker."""

    def setUp(self) -> None:
        self.environment = fresh_environment()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def run_python(self, *arguments: str) -> str:
        return run_python(self.environment, *arguments)

    def new(self, *arguments: str) -> Path:
        out = self.folder / "new"
        self.run_python("bin/mqttsecure", "policy", "new", *arguments, "--out", str(out))
        return out

    def assert_guards(self, use: str, extra: str = "") -> None:
        """In a started broker of that environment alice, who is no operator, publishes beside the valve only."""
        files = write_config(self.folder, extra_policies=GUARD.format(use=use), extra=extra, plaintext=True)
        broker = BrokerProcess(files.config, self.folder, python=self.environment / "bin" / "python")
        self.addCleanup(broker.kill)
        broker.start(2)
        with AttackClient(broker.ports["plain"]) as client:
            self.assertEqual(client.connect("c", "alice", files.passwords["alice"]), 0)
            self.assertEqual(client.publish("lab/valve/1"), 0x87)
            self.assertIn(client.publish("lab/other"), (0, 0x10))
        self.assertEqual(broker.stop(), 0)

    def test_package(self) -> None:
        """A package: built, installed into a fresh environment, tested there by the kit, and put to work."""
        out = self.new("valve-guard")
        self.run_python("-m", "pip", "wheel", *OFFLINE, "--wheel-dir", str(self.folder), str(out))
        (wheel,) = self.folder.glob("*.whl")
        self.run_python("-m", "pip", "install", *OFFLINE, str(wheel))
        self.addCleanup(self.run_python, "-m", "pip", "uninstall", "--yes", "--quiet", "mqttsecure-valve-guard")
        told = self.run_python("-m", "twisted.trial", str(out / "tests" / "test_mqttsecure_valve_guard.py"))
        self.assertIn("PASSED (successes=15)", told)
        self.assertIn("valve-guard", self.run_python("bin/mqttsecure", "policies", "valve-guard"))
        self.assert_guards("valve-guard")

    def test_single_file(self) -> None:
        """A single file: tested by the kit where it lies, and put to work from the folder that [plugins] names."""
        out = self.new("valve-guard", "--single-file")
        told = self.run_python("-m", "twisted.trial", str(out / "tests" / "test_valve_guard.py"))
        self.assertIn("PASSED (successes=15)", told)
        plugins = shutil.copytree(out / "plugins", self.folder / "plugins")
        for path in (plugins, *plugins.iterdir()):
            path.chmod(0o755)
        self.assert_guards("local:valve_guard", '[plugins]\npath = ["plugins"]\n')
