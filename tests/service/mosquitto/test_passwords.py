"""Password files of mosquitto."""

from __future__ import annotations

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.password_hash import verify
from mqttsecure.service.mosquitto.passwords import read_passwords
from tests.service.mosquitto.case import ALICE, ImportCase
from tests.support.mosquitto_broker import hash_with_mosquitto


class PasswordsTests(ImportCase):
    """Hashes are taken as they are."""

    def test_of_mosquittos_own_program(self) -> None:
        """Who knew the password knows it still."""
        file = self.folder / "passwords"
        hash_with_mosquitto(file, {"alice": "correct horse", "b b": "x"})
        users = read_passwords(file, self.notes)
        self.assertEqual(list(users), ["alice", "b b"])
        self.assertTrue(verify(users["alice"].hash, b"correct horse"))
        self.assertFalse(verify(users["alice"].hash, b"correct hors"))
        self.assertEqual(self.told(), [])

    def test_what_cannot_be_carried_over(self) -> None:
        """Each line is told with its number and what to do, and never with a password."""
        file = self.file("passwords", ALICE, ALICE, "bob:hunter2", "carol:$9$x$y", "#comment", "dave", "\u00a0:$6$")
        self.assertEqual(list(read_passwords(file, self.notes)), ["alice"])
        self.assert_told("passwords:2: not carried over", "twice")
        self.assert_told("passwords:3: not carried over", "'bob'", "in the clear", "mqttsecure passwd")
        self.assert_told("passwords:4: not carried over", "'carol'")
        self.assert_told("passwords:6: not carried over", "'dave'")
        self.assertNotIn("hunter2", "".join(self.told()))
        self.assertRaises(ConfigError, read_passwords, self.folder / "none", self.notes)
