# -*- test-case-name: tests.service.test_clients -*-
"""Whom a claim is about."""

from __future__ import annotations

from twisted.trial import unittest

from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import KnownIdentity
from mqttsecure.service.clients import Who, parse_who, subjects_of, title
from tests.support.chains import acl, acl_binding, door, parts


def judged(who: str, known: list[KnownIdentity], *texts: str) -> list[str]:
    """The clients in words."""
    chain = parts(door(known), acl_binding(acl(list(texts) or ["permit everyone publish a"]))).chain
    return [title(subject) for subject in subjects_of(chain, parse_who(who), ["users"])]


BOB = KnownIdentity("users", "bob", frozenset({"guests"}))
ANYONE = KnownIdentity("users", None, any_groups=True)


class ClientsTests(unittest.SynchronousTestCase):
    """Users, groups, everyone."""

    def test_words(self) -> None:
        """As rules have them."""
        self.assertEqual(parse_who("everyone"), Who("everyone"))
        self.assertEqual(parse_who("group:lab:guests"), Who("group", "guests", "lab"))
        for text in ("user:a", "user:lab:a", "group:g", "everyone"):
            self.assertEqual(str(parse_who(text)), text)
        for text in ("", "alice", "user:", "user::a", "role:x", "group:lab:"):
            self.assertRaises(ValueError, parse_who, text)

    def test_user(self) -> None:
        """With the groups that are known of it."""
        self.assertEqual(judged("user:bob", [BOB]), ["users:bob in guests"])
        self.assertEqual(judged("user:eve", [BOB]), ["users:eve"])

    def test_group(self) -> None:
        """Someone in it alone, and all of its members, those named by rules one by one."""
        stranger = "a client of users that no rule names in guests"
        self.assertEqual(judged("group:guests", [BOB]), [stranger])
        self.assertEqual(judged("group:guests", [BOB], "permit user:bob publish a"), [stranger, "users:bob in guests"])
        found = judged("group:guests", [ANYONE], "permit user:bob publish a")
        self.assertEqual(found, [stranger, "users:bob in guests"])

    def test_everyone(self) -> None:
        """Whoever is known or named, and a stranger; thousands alike are one."""
        many = [KnownIdentity("users", f"u{number}") for number in range(1000)]
        found = judged("everyone", [*many, BOB], "permit user:u7 publish a", "permit group:admins publish a")
        self.assertEqual(
            found,
            [
                "a client of users that no rule names",
                "users:u7",
                "a client of users that no rule names in guests",
                "a client of users that no rule names in admins",
            ],
        )

    def test_unknown_authority(self) -> None:
        """Is a mistake, and the ones that there are are named."""
        self.assertIn("there are users", str(self.assertRaises(ConfigError, judged, "user:ghosts:bob", [BOB])))
