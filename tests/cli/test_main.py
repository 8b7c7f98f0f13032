# -*- test-case-name: tests.cli.test_main -*-
"""The ``mqttsecure`` command."""

from __future__ import annotations

from click.testing import CliRunner
from twisted.trial import unittest

from mqttsecure.cli.main import main


class MainTests(unittest.SynchronousTestCase):
    """Someone types it for the first time."""

    def test_help_has_examples_and_exit_codes(self) -> None:
        """Of the command and of each below it."""
        for arguments in (["--help"], *([name, "--help"] for name in main.commands)):
            result = CliRunner().invoke(main, arguments)
            self.assertEqual(result.exit_code, 0)
            self.assertIn("Examples:", result.output, arguments)
            self.assertIn("Exit codes", result.output, arguments)

    def test_version(self) -> None:
        """One line."""
        result = CliRunner().invoke(main, ["--version"])
        self.assertEqual(result.exit_code, 0)
        self.assertTrue(result.output.startswith("mqttsecure"))

    def test_unknown_command(self) -> None:
        """Exit code 2."""
        self.assertEqual(CliRunner().invoke(main, ["chekc"]).exit_code, 2)
