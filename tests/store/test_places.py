"""Tests for mqttsecure.store.places."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.store.database import Database
from mqttsecure.store.places import Lock
from tests.store.rows import opened
from tests.support.process import CHECKOUT

_HOLDER = """
import pathlib, sys
from mqttsecure.store.database import Database
database = Database(pathlib.Path(sys.argv[1]))
database.open()
database.write([])
print("open", flush=True)
input()
"""


class PlacesTests(SynchronousTestCase):
    """The file belongs to one user and one process."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "s"

    def refused(self, path: Path | None = None) -> str:
        return str(self.assertRaises(ConfigError, Database(self.path if path is None else path).open))

    def test_everything_is_private(self) -> None:
        """Whatever the umask, nobody else can read the folder or any file in it."""
        umask = os.umask(0)
        try:
            with opened(self.path):
                modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in self.folder.iterdir()}
        finally:
            os.umask(umask)
        self.assertEqual(modes, dict.fromkeys(("s", "s-wal", "s-shm", "s.lock"), 0o600))
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_what_others_can_get_at_is_refused(self) -> None:
        """A file or folder with a wrong mode is not used, and the mend is told."""
        with opened(self.path):
            pass
        for mode in (0o640, 0o604, 0o622):
            self.path.chmod(mode)
            self.assertIn(f"chmod 600 {self.path}", self.refused())
        self.path.chmod(0o600)
        self.folder.chmod(0o777)
        self.assertIn(f"chmod 700 {self.folder}", self.refused())
        self.folder.chmod(0o755)
        with opened(self.path):
            pass

    def test_places_that_cannot_be(self) -> None:
        """A missing parent, a file in place of the folder, a folder or a link in place of the file."""
        self.assertIn("make it, for the user", self.refused(self.folder / "a" / "b"))
        self.folder.mkdir(mode=0o700)
        (self.folder / "file").touch()
        self.assertIn("is no folder", self.refused(self.folder / "file" / "s"))
        self.path.mkdir()
        self.assertIn("not a regular file", self.refused())
        self.path.rmdir()
        self.path.symlink_to(self.folder / "file")
        self.assertIn("not a regular file", self.refused())

    def test_two_processes_never_share_it(self) -> None:
        """A second broker with the same file is refused, and told who has it; when that one is gone it may start."""
        child = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.assertEqual(child.stdout.readline(), b"open\n")
        self.assertIn(f"in use by process {child.pid}; stop that first", self.refused())
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
        with opened(self.path) as database:
            self.assertEqual(database.losses, [])

    def test_a_lock_with_nonsense_in_it(self) -> None:
        """What is in the lock's file is a note alone."""
        self.folder.mkdir(mode=0o700)
        (self.folder / "s.lock").write_text("[nonsense")
        lock = Lock(self.path)
        self.assertTrue(lock.is_first)
        self.assertIn("in use by another process", self.refused())
        lock.release()
