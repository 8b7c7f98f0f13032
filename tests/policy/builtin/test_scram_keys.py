"""Tests for mqttsecure.policy.builtin.scram_keys."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin import scram_keys
from mqttsecure.policy.builtin.password_hash import PasswordFile, check_hash, is_weak, verify
from mqttsecure.policy.builtin.scram_keys import decoy, find_secret, hash_password, new_secret_line, parse_keys

SECRET = b"s" * 32


class ScramKeysTests(SynchronousTestCase):
    """Keys in a password file."""

    def setUp(self) -> None:
        self.patch(scram_keys, "ITERATIONS", 4096)

    def test_written_and_read(self) -> None:
        """A password that is sent in clear is verified by them, too, as by any hash."""
        stored = hash_password("paßwort".encode())
        check_hash(stored)
        self.assertTrue(verify(stored, "paßwort".encode()))
        for wrong in (b"passwort", b"", b"\xff", b"\x07"):
            self.assertFalse(verify(stored, wrong))
        self.assertTrue(is_weak(stored))
        self.assertFalse(is_weak(stored.replace("$4096$", "$100000$")))

    def test_table_of_keys_that_are_none(self) -> None:
        """Each is told, and never with the keys."""
        good = hash_password(b"x")
        prefix, iterations, salt, stored, server = good.rsplit("$", 4)
        for bad in (
            good + "$x",
            "$scram-sha-256$",
            f"{prefix}$x${salt}${stored}${server}",
            f"{prefix}$1${salt}${stored}${server}",
            f"{prefix}$9999999${salt}${stored}${server}",
            f"{prefix}${'9' * 5000}${salt}${stored}${server}",
            f"{prefix}${iterations}$?${stored}${server}",
            f"{prefix}${iterations}$AAAA${stored}${server}",
            f"{prefix}${iterations}${salt}$AAAA${server}",
            f"{prefix}${iterations}${salt}$ä${server}",
        ):
            error = self.assertRaises(ValueError, parse_keys, bad)
            self.assertNotIn(stored, str(error))
            self.assertRaises(ValueError, check_hash, bad)

    def test_passwords_that_are_none(self) -> None:
        """Empty ones, and those that no client could send."""
        for password in (b"", b"\xff", b"a\x07"):
            self.assertRaises(ValueError, hash_password, password)

    def test_the_files_secret(self) -> None:
        """Is there once keys are, stays as it is, and survives every other change."""
        path = Path(self.mktemp())
        file = PasswordFile(path)
        file.set_user("alice", b"x")
        self.assertIsNone(find_secret(path.read_text()))
        file.set_user("bob", b"x", scram=True)
        secret = find_secret(path.read_text())
        self.assertEqual(len(secret or b""), 32)
        file.set_user("carol", b"x", ["a"], scram=True)
        file.delete_user("bob")
        self.assertEqual(find_secret(path.read_text()), secret)
        self.assertEqual(sorted(file.users()), ["alice", "carol"])

    def test_secrets_that_are_none(self) -> None:
        """A line without one is an error and not taken for none."""
        self.assertIsNotNone(find_secret(new_secret_line()))
        for text in ("#scram-secret:", "#scram-secret:?", "#scram-secret:AAAA"):
            self.assertRaises(ValueError, find_secret, text)

    def test_decoys(self) -> None:
        """Always the same for one name, and in nothing different from a user's keys."""
        one = decoy("nobody", SECRET, (4096, 8192))
        self.assertEqual(one, decoy("nobody", SECRET, (4096, 8192)))
        self.assertNotEqual(one.salt, decoy("somebody", SECRET, (4096, 8192)).salt)
        self.assertNotEqual(one.salt, decoy("nobody", b"t" * 32, (4096, 8192)).salt)
        self.assertEqual(tuple(map(len, (one.salt, one.stored_key, one.server_key))), (16, 32, 32))
        counts = {decoy(str(number), SECRET, (4096, 8192)).iterations for number in range(50)}
        self.assertEqual(counts, {4096, 8192})
