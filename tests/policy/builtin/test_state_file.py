"""Tests for mqttsecure.policy.builtin.state_file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.state_file import Damaged, StateFile
from tests.support.environment import FakeEnvironment


class StateFileTests(SynchronousTestCase):
    """A file that is always whole."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "bans.json"
        self.environment = FakeEnvironment()
        self.state: Any = {"version": 1}
        self.file = StateFile(self.path, self.environment, lambda: self.state)

    def content(self) -> Any:
        return json.loads(self.path.read_text())

    def test_write_and_read(self) -> None:
        """What is written is read; the file is its owner's alone, and nothing else is left in the folder."""
        self.assertIsNone(self.file.read())
        self.assertIsNone(self.successResultOf(self.file.flush()))
        self.assertEqual(self.file.read(), {"version": 1})
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.folder), ["bans.json"])

    def test_changes_are_written_now_and_then(self) -> None:
        """The first at once, those of the next five seconds together."""
        self.file.changed()
        self.assertEqual(self.environment.threads, 1)
        for number in range(10):
            self.state = number
            self.file.changed()
        self.assertEqual(self.environment.threads, 1)
        self.environment.clock.advance(5)
        self.assertEqual((self.environment.threads, self.content()), (2, 9))
        self.assertEqual(self.environment.clock.getDelayedCalls(), [])

    def test_one_at_a_time(self) -> None:
        """While a worker writes, what comes waits for it, and is then written as it is by then."""
        self.environment.hold = True
        first = self.file.flush()
        self.state = "second"
        second, third = self.file.flush(), self.file.flush()
        self.assertEqual(len(self.environment.waiting), 1)
        self.environment.release()
        self.successResultOf(first)
        self.assertEqual(len(self.environment.waiting), 1)
        self.environment.release()
        self.successResultOf(second)
        self.successResultOf(third)
        self.assertEqual(self.content(), "second")

    def test_what_changes_while_it_is_written_is_not_lost(self) -> None:
        """It is written later."""
        self.environment.hold = True
        self.file.changed()
        self.state = "later"
        self.file.changed()
        self.environment.release()
        self.environment.hold = False
        self.assertEqual(self.content(), {"version": 1})
        self.environment.clock.advance(5)
        self.assertEqual(self.content(), "later")

    def test_save_at_the_end(self) -> None:
        """What waits is written when the broker stops; where nothing does, nothing is."""
        self.assertIsNone(self.file.save())
        self.file.changed()
        self.state = "last"
        self.file.changed()
        saving = self.file.save()
        assert saving is not None
        self.successResultOf(saving)
        self.assertEqual(self.content(), "last")
        self.assertEqual(self.environment.clock.getDelayedCalls(), [])

    def test_failure_is_told_and_mended(self) -> None:
        """No folder, no room, no worker: who asked hears of it, and it is tried again."""
        self.folder.rename(self.folder.with_name("gone"))
        self.folder.touch()
        error = self.failureResultOf(self.file.flush(), ConfigError).value
        self.assertIn("cannot be written", str(error))
        self.folder.unlink()
        self.folder.with_name("gone").rename(self.folder)
        self.environment.full = True
        self.failureResultOf(self.file.flush(), ConfigError)
        self.environment.full = False
        self.environment.clock.advance(5)
        self.assertEqual(self.content(), {"version": 1})

    def test_killed_writer_leaves_the_old_content(self) -> None:
        """Half a new file beside it is no harm."""
        self.successResultOf(self.file.flush())
        (self.folder / ".bans.json.new").write_text("{")
        self.assertEqual(self.file.read(), {"version": 1})
        self.state = 2
        self.successResultOf(self.file.flush())
        self.assertEqual((self.content(), os.listdir(self.folder)), (2, ["bans.json"]))

    def test_damaged_file_is_told_and_kept_aside(self) -> None:
        """What cannot be read is not thrown away: somebody may want to see what it was."""
        for junk in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
            self.path.write_bytes(junk)
            self.path.chmod(0o600)
            self.assertRaises(Damaged, self.file.read)
        self.assertFalse(self.file.is_kept_aside)
        aside = self.file.keep_aside()
        self.assertTrue(self.file.is_kept_aside)
        self.successResultOf(self.file.flush())
        self.assertEqual((aside.read_bytes(), self.content()), (b"[" * 100_000, {"version": 1}))
        self.assertFalse(self.file.is_kept_aside)

    def test_others_must_not_read_or_write_it(self) -> None:
        """A file that others may have written says nothing."""
        self.path.write_text("{}")
        self.path.chmod(0o644)
        self.assertIn("chmod 600", str(self.assertRaises(ConfigError, self.file.read)))

    def test_folder_that_is_missing(self) -> None:
        """One is made at the first write; two that are missing are a mistake, told before the first ban is lost."""
        file = StateFile(self.folder / "no" / "such" / "bans.json", self.environment, dict)
        self.assertIn("there is no folder", str(self.assertRaises(ConfigError, file.read)))
        file = StateFile(self.folder / "new" / "bans.json", self.environment, lambda: self.state)
        self.assertIsNone(file.read())
        self.successResultOf(file.flush())
        self.assertEqual(file.read(), self.state)
        self.assertEqual(stat.S_IMODE((self.folder / "new").stat().st_mode), 0o700)
