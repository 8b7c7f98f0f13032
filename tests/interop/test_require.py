# -*- test-case-name: tests.interop.test_require -*-
"""A foreign client that is not installed: a skip for a user, a failure in CI."""

from __future__ import annotations

from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.support.foreign import require


class RequireTests(SynchronousTestCase):
    """``require``, with a PATH in which nothing is found."""

    def setUp(self) -> None:
        self.bin = Path(self.mktemp()).absolute()
        self.bin.mkdir()

    def add(self, name: str) -> Path:
        program = self.bin / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        return program

    def test_found(self) -> None:
        """What is installed is told with its path."""
        program = self.add("some_client")
        self.assertEqual(str(program), require("some_client", environment={"PATH": str(self.bin)}))

    def test_missing_is_skipped_by_name(self) -> None:
        """On a user's machine the skip names the program and how to get it."""
        for name, mend in (("some_client", "Debian package"), ("mqtt.js", "npm ci")):
            error = self.assertRaises(
                SkipTest, require, name, environment={"PATH": str(self.bin)}, mqtt_js=self.bin / "nowhere"
            )
            self.assertIn(name, str(error))
            self.assertIn(mend, str(error))

    def test_missing_is_a_failure_in_ci(self) -> None:
        """In CI a test that cannot run has failed."""
        environment = {"PATH": str(self.bin), "CI": "true"}
        error = self.assertRaises(AssertionError, require, "some_client", environment=environment)
        self.assertIn("some_client", str(error))

    def test_mqttjs_needs_node_and_its_package(self) -> None:
        """Node alone is not enough for mqtt.js, nor is the package alone."""
        package = self.bin / "mqtt"
        environment = {"PATH": str(self.bin)}
        self.add("node")
        self.assertRaises(SkipTest, require, "mqtt.js", environment=environment, mqtt_js=package)
        package.mkdir()
        (package / "package.json").write_text("{}")
        self.assertEqual(str(package), require("mqtt.js", environment=environment, mqtt_js=package))
        (self.bin / "node").unlink()
        self.assertRaises(SkipTest, require, "mqtt.js", environment=environment, mqtt_js=package)

    def test_paho_is_a_module(self) -> None:
        """paho-mqtt is looked for among Python's modules; it comes with the tests' own requirements."""
        self.assertEqual("paho.mqtt.client", require("paho-mqtt"))
