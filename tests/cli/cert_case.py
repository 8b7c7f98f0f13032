"""Runs ``mqttsecure cert`` as it is typed, in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main

__all__ = ["CertCase"]


class CertCase(SynchronousTestCase):
    """``self.folder`` is where the commands run; ``ca`` is a CA in it once :meth:`make_ca` was called."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        home = os.getcwd()
        self.addCleanup(os.chdir, home)
        os.chdir(self.folder)

    def cert(self, *arguments: str, code: int = 0, **environment: str) -> Result:
        """The result of a command that ends with ``code``."""
        result = CliRunner().invoke(main, ["cert", *arguments], env=environment)
        self.assertEqual(result.exit_code, code, f"{arguments}: {result.output}")
        self.assertNotIn("Traceback", result.output)
        return result

    def make_ca(self, *options: str) -> None:
        self.cert("init", "ca", "--no-passphrase", *options)

    def write(self, name: str, text: str, mode: int = 0o600) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(mode)
