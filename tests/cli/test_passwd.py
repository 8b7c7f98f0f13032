# -*- test-case-name: tests.cli.test_passwd -*-
"""``mqttsecure passwd``."""

from __future__ import annotations

import stat
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial import unittest

from mqttsecure.cli import passwd as passwd_module
from mqttsecure.cli.main import main
from mqttsecure.policy.builtin.password_hash import read_users, verify


class PasswdTests(unittest.SynchronousTestCase):
    """Someone looks after users."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "users"

    def passwd(self, *arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, ["passwd", str(self.file), *map(str, arguments)], input=stdin)

    def assertPassword(self, user: str, password: str) -> None:
        self.assertTrue(verify(read_users(self.file)[user].hash, password.encode()))

    def test_new_file_and_user(self) -> None:
        """The password comes from stdin, the file is private, the password is nowhere to be seen."""
        result = self.passwd("bob", stdin="s3cret word\n")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertPassword("bob", "s3cret word")
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertNotIn("s3cret", self.file.read_text() + result.output)

    def test_prompt_on_a_terminal(self) -> None:
        """Asked for twice, unseen."""
        self.patch(passwd_module, "_is_terminal", lambda: True)
        result = self.passwd("bob", stdin="one\ntwo\nsame\nsame\n")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertNotIn("same", result.output)
        self.assertPassword("bob", "same")

    def test_change_keeps_groups_and_the_others(self) -> None:
        """Only what was asked for changes."""
        self.passwd("alice", "--groups", "admins,lab", stdin="a\n")
        self.passwd("bob", stdin="b\n")
        before = read_users(self.file)["bob"]
        self.passwd("alice", stdin="new\n")
        self.assertPassword("alice", "new")
        self.assertEqual(read_users(self.file)["alice"].groups, ("admins", "lab"))
        self.assertEqual(read_users(self.file)["bob"], before)
        self.passwd("alice", "--groups", "", stdin="new\n")
        self.assertEqual(read_users(self.file)["alice"].groups, ())

    def test_generated_password_is_shown_once(self) -> None:
        """Alone on stdout, and good."""
        result = self.passwd("bob", "--generate")
        self.assertEqual(result.exit_code, 0)
        password = result.stdout.strip()
        self.assertGreaterEqual(len(password), 20)
        self.assertPassword("bob", password)
        self.assertNotEqual(self.passwd("bob", "--generate").stdout.strip(), password)

    def test_delete(self) -> None:
        """Gone; a second time is a problem."""
        self.passwd("bob", stdin="b\n")
        self.assertEqual(self.passwd("bob", "--delete").exit_code, 0)
        self.assertEqual(read_users(self.file), {})
        result = self.passwd("bob", "--delete")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("no user 'bob'", result.stderr)

    def test_delete_makes_no_file(self) -> None:
        """A mistyped file name is told."""
        self.assertEqual(self.passwd("bob", "--delete").exit_code, 1)
        self.assertFalse(self.file.exists())

    def test_batch(self) -> None:
        """Many at once, from a file or stdin; passwords may have colons."""
        batch = self.directory / "batch"
        batch.write_text("# new ones\n\nalice:pass:word\r\nbob:b\n")
        result = self.passwd("--batch", batch, "--groups", "lab")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("remove it once you are done", result.stderr)
        self.assertPassword("alice", "pass:word")
        self.assertEqual(read_users(self.file)["bob"].groups, ("lab",))
        self.assertEqual(self.passwd("--batch", "-", stdin="carol:c\n").exit_code, 0)
        self.assertPassword("carol", "c")
        self.assertPassword("bob", "b")

    def test_bad_batch_changes_nothing(self) -> None:
        """All or none; problems name the line and never a password."""
        self.passwd("alice", stdin="a\n")
        before = self.file.read_bytes()
        result = self.passwd("--batch", "-", stdin="carol:topsecret\ncarol:topsecret\nnobody\n:topsecret\n")
        self.assertEqual(result.exit_code, 1)
        for line in (2, 3, 4):
            self.assertIn(f"<stdin>:{line}: ", result.stderr)
        self.assertNotIn("topsecret", result.output)
        self.assertEqual(self.file.read_bytes(), before)

    def test_problems(self) -> None:
        """No password, a bad name, a file that others read, a folder that is not there."""
        self.assertEqual(self.passwd("bob", stdin="").exit_code, 1)
        self.assertEqual(self.passwd("bo:b", stdin="b\n").exit_code, 1)
        self.assertFalse(self.file.exists())
        self.file.write_text("")
        self.file.chmod(0o644)
        result = self.passwd("bob", stdin="b\n")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("chmod 600", result.stderr)
        self.file = self.directory / "none" / "users"
        self.assertEqual(self.passwd("bob", stdin="b\n").exit_code, 1)
        self.assertEqual(self.passwd("--batch", self.directory / "nothing").exit_code, 1)

    def test_usage(self) -> None:
        """Command lines that make no sense."""
        for arguments in ([], ["bob", "--batch", "-"], ["bob", "--generate", "--delete"]):
            self.assertEqual(self.passwd(*arguments).exit_code, 2, arguments)

    def test_scram(self) -> None:
        """Keys by which the user logs in without sending the password; a new password keeps the way of logging in."""
        self.assertEqual(self.passwd("bob", "--scram", stdin="first\n").exit_code, 0)
        for password in ("second", "third"):
            self.assertPassword("bob", password if password == "third" else "first")
            self.passwd("bob", stdin="third\n")
            self.assertTrue(read_users(self.file)["bob"].hash.startswith("$scram-sha-256$100000$"))
        self.assertEqual(self.file.read_text().count("#scram-secret:"), 1)
        batch = self.directory / "batch"
        batch.write_text("bob:fourth\neve:pass\n")
        self.passwd("--batch", batch)
        self.assertPassword("bob", "fourth")
        self.assertTrue(read_users(self.file)["bob"].hash.startswith("$scram-"))
        self.assertTrue(read_users(self.file)["eve"].hash.startswith("$argon2id$"))
        self.assertEqual(self.passwd("eve", "--scram", "--delete").exit_code, 2)
        result = self.passwd("eve", "--scram", stdin="\u0007\n")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("printable characters", result.output)
