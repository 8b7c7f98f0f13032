"""Tests for mqttsecure.policy.builtin.password_hash."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin import password_hash
from mqttsecure.policy.builtin.password_hash import (
    PasswordFile,
    check_hash,
    hash_password,
    is_weak,
    parse_users,
    read_users,
    verify,
)

ARGON2 = hash_password(b"secret")

MOSQUITTO_LINES = (
    "u:$6$Z/S0CHLFEH9xdoUi$CKyqeOfX2oq3qHtIO+YZQvXJbI5X7gtVG4J0ixDL6nGizA/ZN3NCuppnp2r3zkDCBfpigK/u+9QRgUesmX6dZA==",
    "u:$7$101$C+8jDEgucdgTXrV7$"
    "LvlFZio14oRZ690FPIyxmuh2T8+5Qg4bbj3iH+I3EJTCrYvw22FlSiDYyFt1bzP7fMHw/F0mtmfOPlDf7G0LKg==",
)


def mosquitto_6(password: bytes, salt: bytes = b"saltsalt") -> str:
    """A hash as mosquitto_passwd wrote it before 2.0."""
    digest = hashlib.sha512(password + salt).digest()
    return f"$6${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def mosquitto_7(password: bytes, iterations: int = 101, salt: bytes = b"saltsaltsalt") -> str:
    """A hash as mosquitto_passwd writes it since 2.0."""
    digest = hashlib.pbkdf2_hmac("sha512", password, salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


class HashTests(SynchronousTestCase):
    """Single hashes."""

    def test_table_of_kinds(self) -> None:
        """All three kinds take the right password and no other."""
        for stored in (ARGON2, mosquitto_6(b"secret"), mosquitto_7(b"secret")):
            check_hash(stored)
            self.assertTrue(verify(stored, b"secret"), stored[:4])
            for wrong in (b"", b"Secret", b"secret ", b"secre"):
                self.assertFalse(verify(stored, wrong), stored[:4])

    def test_reads_the_lines_of_mosquitto(self) -> None:
        """What mosquitto_passwd 2.0.11 wrote for user "u" with password "pw" is read as it stands."""
        for line in MOSQUITTO_LINES:
            stored = parse_users(line, Path("f"))["u"].hash
            self.assertTrue(verify(stored, b"pw"))
            self.assertFalse(verify(stored, b"wp"))

    def test_makes_argon2id_at_the_chosen_cost(self) -> None:
        """New hashes are argon2id with 19 MiB and two passes, each with its own salt."""
        self.assertTrue(ARGON2.startswith("$argon2id$v=19$m=19456,t=2,p=1$"))
        self.assertNotEqual(hash_password(b"secret"), ARGON2)
        self.assertRaises(ValueError, hash_password, b"")

    def test_refuses_hashes_that_could_stall_the_broker(self) -> None:
        """A line that asks for too much memory or time is refused when the file is read."""
        for stored in (
            ARGON2.replace("m=19456", "m=1048577"),
            ARGON2.replace("m=19456", "m=1"),
            ARGON2.replace("t=2", "t=21"),
            ARGON2.replace("t=2", "t=0"),
            ARGON2.replace("p=1", "p=17"),
            mosquitto_7(b"x").replace("$101$", "$10000001$"),
            mosquitto_7(b"x").replace("$101$", "$0$"),
            mosquitto_7(b"x").replace("$101$", "$-1$"),
            mosquitto_7(b"x").replace("$101$", "$\u0661$"),
        ):
            self.assertRaises(ValueError, check_hash, stored)

    def test_refuses_what_is_no_hash(self) -> None:
        """Clear text, other kinds, and damaged hashes are refused."""
        argon2i = ARGON2.replace("$argon2id$", "$argon2i$")
        for stored in (
            "",
            "secret",
            "$",
            "$5$x$y",
            "$6$x",
            "$6$!$!",
            "$6$$" + mosquitto_6(b"x").split("$")[3],
            "$6$c2FsdA==$c2hvcnQ=",
            argon2i,
            "$argon2id$",
            ARGON2 + "$x",
            ARGON2.replace("v=19", "v=16"),
            ARGON2[:60],
            ARGON2[:-10] + "\u00e9" * 10,
            "$6$" + "A" * 2000,
        ):
            self.assertRaises(ValueError, check_hash, stored)

    def test_damaged_argon2_verifies_nothing(self) -> None:
        """A hash that the library cannot use matches no password."""
        self.assertFalse(verify("$argon2id$v=19$m=19456,t=2,p=1$!$!", b"secret"))

    def test_knows_weak_hashes(self) -> None:
        """Hashes that are quickly guessed are told apart, so that they can be renewed."""
        self.assertEqual([is_weak(h) for h in (ARGON2, mosquitto_6(b"x"), mosquitto_7(b"x"))], [False, True, True])
        self.assertFalse(is_weak(mosquitto_7(b"x", 100_000)))

    @settings(max_examples=200, deadline=None)
    @given(st.one_of(st.text("$67argon2idv=,mtp+/AZ0129:", max_size=80), st.text(max_size=40)))
    def test_any_accepted_hash_can_be_verified(self, stored: str) -> None:
        """Whatever stands in a file is either refused at once or can be verified without an error."""
        try:
            check_hash(stored)
        except ValueError:
            return
        self.assertIn(verify(stored, b"x"), (True, False))


class ParseTests(SynchronousTestCase):
    """Whole files."""

    def test_reads_users_and_groups(self) -> None:
        """Comments and empty lines are skipped, groups come behind the hash."""
        text = f"# users\n\nalice:{ARGON2}:admins,staff\r\nbob:{mosquitto_6(b'x')}\neve:{ARGON2}:\n"
        users = parse_users(text, Path("users"))
        self.assertEqual(
            [(user.name, user.groups) for user in users.values()],
            [("alice", ("admins", "staff")), ("bob", ()), ("eve", ())],
        )

    def test_reports_each_bad_line_without_its_hash(self) -> None:
        """All bad lines are told with their number, and no hash gets into a log."""
        lines = [
            f"a:{ARGON2}",
            "nothing",
            f":{ARGON2}",
            f"a:{ARGON2}",
            "b:hunter2",
            f"c:{ARGON2}:g,",
            f"d:{ARGON2}:g:h",
            f" e:{ARGON2}",
        ]
        error = self.assertRaises(ConfigError, parse_users, "\n".join(lines), Path("users"))
        self.assertEqual([problem.split(": ")[0] for problem in error.problems], [f"users:{n}" for n in range(2, 9)])
        self.assertNotIn("argon2id$v", str(error))
        self.assertNotIn("hunter2", str(error))

    def test_refuses_a_file_that_others_can_read(self) -> None:
        """A password file is nobody else's, and is told how to be mended."""
        path = Path(self.mktemp())
        path.write_text(f"a:{ARGON2}\n")
        path.chmod(0o644)
        self.assertIn("chmod", str(self.assertRaises(ConfigError, read_users, path)))
        path.chmod(0o640)
        self.assertEqual(list(read_users(path)), ["a"])
        self.assertRaises(ConfigError, read_users, Path("nowhere"))
        path.write_bytes(b"a:\xff")
        self.assertIn(":1: is not UTF-8", str(self.assertRaises(ConfigError, read_users, path)))


class PasswordFileTests(SynchronousTestCase):
    """Changing files."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "users"
        self.file = PasswordFile(self.path)

    def test_makes_a_private_file(self) -> None:
        """A new file is its owner's alone from the first moment."""
        self.file.set_user("alice", b"secret", ["staff"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        user = self.file.users()["alice"]
        self.assertEqual((verify(user.hash, b"secret"), user.groups), (True, ("staff",)))

    def test_changes_one_line_and_keeps_the_rest(self) -> None:
        """Comments, order, groups and the group's right to read stay as they are."""
        self.path.write_text(f"# who\nbob:{mosquitto_6(b'x')}:g\n\namy:{ARGON2}\nzed:{ARGON2}")
        self.path.chmod(0o640)
        self.file.set_user("bob", b"new")
        self.assertTrue(self.file.delete_user("amy"))
        self.assertFalse(self.file.delete_user("amy"))
        lines = self.path.read_text().split("\n")
        self.assertEqual([line.split(":")[0] for line in lines], ["# who", "bob", "", "zed", ""])
        self.assertEqual(self.file.users()["bob"].groups, ("g",))
        self.assertTrue(verify(self.file.users()["bob"].hash, b"new"))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)

    def test_many_changes_are_one(self) -> None:
        """A batch is written at its end as a whole, or not at all."""
        with self.file.edit() as edit:
            for number in range(50):
                edit.set(f"u{number}", ARGON2)
            edit.delete("u0")
            edit.set("u1", ARGON2, ["g"])
            self.assertFalse(self.path.exists())
            self.assertEqual(len(edit.users), 49)
        self.assertEqual(len(self.file.users()), 49)
        before = self.path.read_bytes()

        def broken() -> None:
            with self.file.edit() as edit:
                edit.delete("u1")
                edit.set("bad:name", ARGON2)

        self.assertRaises(ValueError, broken)
        self.assertEqual(self.path.read_bytes(), before)

    def test_leaves_a_bad_file_alone(self) -> None:
        """A file that cannot be read is not overwritten."""
        self.path.write_text("nonsense\n")
        self.path.chmod(0o600)
        self.assertRaises(ConfigError, self.file.set_user, "alice", b"x")
        self.assertEqual(self.path.read_text(), "nonsense\n")

    def test_a_failed_write_leaves_the_old_file_and_no_rest(self) -> None:
        """With a full disk the old users stay, and no half file is left behind."""
        self.file.set_user("alice", b"secret")
        before = self.path.read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(password_hash.os, "fsync", full)
        self.assertRaises(OSError, self.file.set_user, "bob", b"x")
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(sorted(os.listdir(self.path.parent)), ["users", "users.lock"])

    def test_one_writer_at_a_time(self) -> None:
        """While one changes the file another waits."""
        calls = []
        self.patch(password_hash.fcntl, "flock", lambda descriptor, kind: calls.append(kind))
        self.file.set_user("alice", b"secret")
        self.assertEqual(calls, [password_hash.fcntl.LOCK_EX])

    def test_keeps_the_owner(self) -> None:
        """When root changes the file of a service user, it stays that user's."""
        self.file.set_user("alice", b"secret")
        given_to = []
        self.patch(password_hash.os, "geteuid", lambda: -1)
        self.patch(password_hash.os, "fchown", lambda descriptor, uid, gid: given_to.append((uid, gid)))
        self.file.delete_user("alice")
        status = self.path.stat()
        self.assertEqual(given_to, [(status.st_uid, status.st_gid)])
