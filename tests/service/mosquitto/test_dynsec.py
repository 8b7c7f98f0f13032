"""The file of the dynamic security plugin, and the rules that come of it."""

from __future__ import annotations

import json
from typing import Any

from mqttsecure.errors import ConfigError
from mqttsecure.service.mosquitto.dynsec import DynamicSecurity, read_dynsec
from mqttsecure.service.mosquitto.rules_of_dynsec import rules_of_dynsec
from tests.service.mosquitto.case import ImportCase

_HASH = {"password": "A" * 86 + "==", "salt": "VE22KWZNgFVJiAuV", "iterations": 101}


def _acl(kind: str, topic: str, allow: bool = True, priority: int = 0) -> dict[str, Any]:
    return {"acltype": kind, "topic": topic, "allow": allow, "priority": priority}


class DynsecTests(ImportCase):
    """Clients, groups and roles."""

    def read(self, document: Any) -> DynamicSecurity:
        text = document if isinstance(document, str) else json.dumps(document, indent=1)
        return read_dynsec(self.file("dynsec.json", text), self.notes)

    def rules(self, **document: Any) -> list[list[str]]:
        return [[rule.text for rule in tier] for tier in rules_of_dynsec(self.read(document), self.notes).rules]

    def test_order_by_priority(self) -> None:
        """Roles, groups and entries are asked in the order of their priorities, and of equal ones as they stand."""
        found = self.read(
            {
                "clients": [
                    {
                        "username": "alice",
                        **_HASH,
                        "roles": [{"rolename": "low", "priority": 1}, {"rolename": "high", "priority": 5}],
                        "groups": [{"groupname": "g"}],
                    }
                ],
                "groups": [
                    {"groupname": "g", "roles": [{"rolename": "low"}]},
                    {"groupname": "h", "clients": [{"username": "alice", "priority": 2}], "roles": []},
                ],
                "roles": [
                    {
                        "rolename": "low",
                        "acls": [_acl("subscribePattern", "a", priority=1), _acl("subscribePattern", "b", priority=2)],
                    },
                    {"rolename": "high"},
                ],
            }
        )
        alice = found.clients["alice"]
        self.assertEqual((alice.roles, alice.groups), (("high", "low"), ("g", "h")))
        self.assertEqual([each.topic for each in found.roles["low"]], ["b", "a"])
        self.assertEqual(found.users["alice"].groups, ("g", "h"))

    def test_permit_before_a_denial(self) -> None:
        """A permit that comes before a denial of the same stands in a policy before it; the default comes last."""
        document = {
            "clients": [{"username": "alice", **_HASH, "roles": [{"rolename": "r"}]}],
            "roles": [
                {
                    "rolename": "r",
                    "acls": [
                        _acl("publishClientReceive", "a/b", priority=3),
                        _acl("publishClientReceive", "a/#", allow=False, priority=2),
                    ],
                }
            ],
        }
        self.assertEqual(
            self.rules(**document),
            [
                ["permit everyone receive $SYS/#", "permit user:alice receive a/b"],
                ["permit everyone receive #", "deny   user:alice receive a/#"],
            ],
        )

    def test_nothing_permitted(self) -> None:
        """A file that permits nothing becomes rules that permit nothing."""
        self.assertEqual(
            self.rules(defaultACLAccess={"publishClientReceive": False}), [["deny   everyone publish,read #"]]
        )

    def test_what_differs(self) -> None:
        """Literal subscriptions, denied patterns, unsubscribing and braces are told with their lines."""
        acls = [
            _acl("subscribeLiteral", "lit/#"),
            _acl("subscribePattern", "pat/#", allow=False),
            _acl("unsubscribeLiteral", "un", allow=False),
            _acl("publishClientSend", "a{b"),
            _acl("publishClientSend", "c/{d}", allow=False),
            _acl("publishClientSend", "e/%u"),
        ]
        roles = [{"rolename": "r", "acls": acls}]
        rules = self.rules(roles=roles, groups=[{"groupname": "g", "roles": [{"rolename": "r"}]}])
        self.assertIn("deny   group:g publish c/+", rules[0])
        for kind, text in (
            ("differs", "'lit/#' is about that very filter"),
            ("differs", "'pat/#' and beyond"),
            ("not carried over", "unsubscribeLiteral"),
            ("not carried over", "'a{b'"),
            ("differs", "'c/{d}'"),
            ("differs", "'e/%u'"),
        ):
            self.assertTrue(any(f": {kind}: " in note and text in note for note in self.told()), (text, self.told()))

    def test_what_cannot_be_carried_over(self) -> None:
        """Clients that cannot log in, names that are not there and entries that are none are told."""
        self.read(
            {
                "clients": [
                    {"username": "gone", **_HASH, "disabled": True},
                    {"username": "bare"},
                    {"username": "alice", **_HASH, "clientid": "c1", "roles": [{"rolename": "none"}]},
                    {"username": "alice", **_HASH},
                    {"username": "bad", **_HASH, "salt": "*"},
                    7,
                ],
                "roles": [{"rolename": "r", "acls": [_acl("fly", "a"), _acl("subscribePattern", "a/#/b")]}],
                "anonymousGroup": "nobody",
            }
        )
        for text in (
            "'gone' is disabled",
            "'bare' has no password",
            "'alice' is bound to a Client Identifier",
            "'none' is used in roles",
            "'alice' is in clients twice",
            "'bad' has a hash of no kind",
            "an entry of clients has no username",
            "none of the plugin's: 'fly'",
            "'a/#/b'",
            "no group 'nobody'",
        ):
            self.assertTrue(any(text in note for note in self.told()), (text, self.told()))
        self.assertFalse(any("AAAA" in note for note in self.told()))

    def test_no_such_file(self) -> None:
        """What is no JSON, no object, or has no lists is refused with file and line."""
        for document, text in (("{\n x", "dynsec.json:2: not valid JSON"), ([], "not an object"), ("[" * 100_000, "")):
            with self.assertRaisesRegex(ConfigError, text):
                self.read(document)
        with self.assertRaisesRegex(ConfigError, "roles is no list"):
            self.read({"roles": {}})
