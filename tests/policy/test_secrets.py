"""Tests of reading secret files."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.policy.secrets import check_private, read_secret


class SecretTests(SynchronousTestCase):
    """Secrets that others can get at are refused."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_bytes(b"secret")
        self.path.chmod(0o600)

    def refused(self, maximum: int = 100) -> str:
        return str(self.assertRaises(ConfigError, read_secret, self.path, maximum))

    def test_private_file_is_read(self) -> None:
        """A file of our own is fine, and so is one that our group may read."""
        for mode in (0o400, 0o600, 0o640, 0o440):
            self.path.chmod(mode)
            check_private(self.path)
            self.assertEqual(read_secret(self.path), b"secret")

    def test_readable_or_writable_by_others(self) -> None:
        """Others may neither read nor change it; the text names the command that mends it."""
        for mode in (0o604, 0o602, 0o601, 0o620, 0o644, 0o666):
            self.path.chmod(mode)
            self.assertIn("chmod 600", self.refused())
            self.assertRaises(ConfigError, check_private, self.path)

    def test_missing(self) -> None:
        """A missing file is told by its name."""
        self.path.unlink()
        self.assertIn(f"{self.path}: cannot be read: No such file", self.refused())

    def test_folder_and_fifo(self) -> None:
        """What is no file is refused at once, not waited for."""
        self.path.unlink()
        os.mkfifo(self.path, 0o600)
        self.assertIn("not a regular file", self.refused())
        self.path.unlink()
        self.path.mkdir(0o700)
        self.assertIn("not a regular file", self.refused())

    def test_too_large(self) -> None:
        """A mistaken path to something huge does not fill the memory."""
        self.assertIn("larger than 5 bytes", self.refused(5))
        self.assertEqual(read_secret(self.path, 6), b"secret")
