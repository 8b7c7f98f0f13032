# -*- test-case-name: tests.service.test_lints -*-
"""What is said against a configuration that can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial import unittest

from mqttsecure.policy.lint import Lint
from mqttsecure.service.assembly import check
from mqttsecure.service.config import load_config
from mqttsecure.service.lints import lints_of
from tests.support.config import write_config

FIRST = """
[[policy]]
id = "open"
use = "ip-allowlist"
permit = ["127.0.0.0/8"]

[[policy]]
id = "tls"
use = "tls-requirements"
{handshake}

[[policy]]
id = "ids"
use = "client-id"
patterns = {patterns}

{more}
[[policy]]
id = "password"
use = "password-file"
{password}

[[policy]]
id = "topics"
use = "topic-acl"
rules = {rules}
{topics}
"""
DEFAULTS = {
    "handshake": "",
    "patterns": '["{user}"]',
    "more": "",
    "password": 'authority = "lab"',
    "rules": '["permit user:alice publish,read lab/#", "permit user:bob read lab/#"]',
    "topics": "",
}


class LintTests(unittest.SynchronousTestCase):
    """Someone looks over a configuration that has grown."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def lints(self, write: dict[str, Any] | None = None, **more: str) -> list[Lint]:
        policies = FIRST.format(**{**DEFAULTS, **more})
        files = write_config(self.directory, **{"policies": policies, "client_certificate": "none", **(write or {})})
        return lints_of(check(load_config(files.config)))

    def one(self, write: dict[str, Any] | None = None, **more: str) -> Lint:
        (lint,) = self.lints(write, **more)
        self.assertTrue(lint.why and lint.mend)
        assert lint.source is not None
        self.assertTrue(lint.source.file.endswith("broker.toml"))
        return lint

    def test_nothing_to_say(self) -> None:
        """A sound one is left in peace."""
        self.assertEqual(self.lints(), [])

    def test_rules(self) -> None:
        """With the line of the rule."""
        rules = (
            '[\n"permit user:alice publish,read lab/#",\n"permit user:bob read lab/#",\n"permit user:bob read lab/1"]'
        )
        lint = self.one(rules=rules)
        text = (self.directory / "broker.toml").read_text().split("\n")
        assert lint.source is not None
        self.assertEqual((lint.id, text[lint.source.line - 1]), ("redundant-rule", '"permit user:bob read lab/1"]'))

    def test_silent_subscription_may_be_heard_by_another_policy(self) -> None:
        """What another policy lets through is not ours to lint."""
        rules = '["permit user:alice publish,subscribe lab/#", "permit user:bob publish lab/#"]'
        self.assertEqual(self.one(rules=rules).id, "subscribe-without-receive")
        more = '[[policy]]\nid = "other"\nuse = "topic-acl"\nrules = ["permit everyone receive lab/#"]\n'
        self.assertEqual(self.lints(rules=rules, more=more), [])

    def test_names_that_nobody_has(self) -> None:
        """Users and groups that the password file does not know; where certificates may know them, nothing is said."""
        whos = ("user:alice", "user:bob", "user:bbo", "group:ops")
        rules = str([f"permit {who} publish a" for who in whos])
        self.assertEqual([lint.id for lint in self.lints(rules=rules)], ["unknown-user", "group-without-members"])
        more = '[[policy]]\nid = "certificate"\nuse = "client-certificate"\nauthorities = ["lab"]\n'
        self.assertEqual(self.lints({"client_certificate": "optional"}, rules=rules, more=more), [])

    def test_users_and_groups_that_no_rule_is_about(self) -> None:
        """They may log in and do nothing."""
        rules = '["permit user:alice publish a"]'
        lint = self.one(rules=rules)
        self.assertEqual((lint.id, lint.text), ("user-without-rules", "policy 'password': bob"))
        found = self.lints(
            {"groups": {"alice": ["ops"], "bob": ["ops", "night"]}}, rules='["permit group:ops publish a"]'
        )
        self.assertEqual(
            [(lint.id, lint.text) for lint in found], [("group-without-rules", "policy 'password': group lab:night")]
        )
        users = {f"u{number}": "x" for number in range(7)}
        lint = self.one({"users": users}, rules='["permit user:u0 publish a", "deny everyone publish b"]')
        self.assertIn("u1, u2, u3, u4, u5 and 1 more", lint.text)

    def test_final(self) -> None:
        """Who is not asked any more is named."""
        more = (
            '[[policy]]\nid = "first"\nuse = "topic-acl"\nfinal = ["PUBLISH"]\nrules = ["permit user:bob publish b"]\n'
        )
        lint = self.one(more=more)
        self.assertEqual(lint.id, "bypassed-by-final")
        self.assertIn("topics is not asked", lint.why)

    def test_plaintext(self) -> None:
        """Whoever may listen reads all."""
        lint = self.one({"plaintext": True}, handshake='plaintext = "loopback"')
        self.assertEqual(lint.id, "plaintext-listener")

    def test_patterns(self) -> None:
        """What is within another, and what lets al be alice."""
        found = self.lints(patterns='["{user}*", "*", "{user}-x"]')
        self.assertEqual(
            sorted(lint.id for lint in found), ["redundant-pattern", "redundant-pattern", "widening-pattern"]
        )

    def test_addresses(self) -> None:
        """A prefix within another."""
        more = '[[policy]]\nid = "more"\nuse = "ip-allowlist"\npermit = ["10.0.0.0/8", "10.1.0.0/16"]\n'
        lint = self.one(more=more)
        self.assertEqual((lint.id, lint.text), ("redundant-address", "policy 'more': permit[1] '10.1.0.0/16'"))

    def test_missing_tests(self) -> None:
        """Tests that are named and not there are not run, and that should be known."""
        self.assertEqual(self.one({"extra": '[tests]\nfiles = ["none.toml"]\n'}).id, "missing-tests")

    def test_handshakes_that_nobody_passes(self) -> None:
        """The listener and the policy want different things."""
        for write, handshake, text in (
            ({"plaintext": True}, "", "has no TLS"),
            ({}, 'client_certificate = "required"', "asks for no client certificate"),
        ):
            found = [lint for lint in self.lints(write, handshake=handshake) if lint.id == "never-both"]
            self.assertEqual(len(found), 1)
            self.assertIn(text, found[0].why)
        (self.directory / "ca2.pem").write_bytes((self.directory / "ca.pem").read_bytes())
        write = {"client_certificate": "required", "extra": '[[authority]]\nname = "other"\nca = ["ca2.pem"]\n'}
        rules = '["permit user:lab:alice publish a", "permit user:lab:bob publish a"]'
        lint = self.one(write, handshake='client_certificate = "required"\nauthorities = ["other"]', rules=rules)
        self.assertIn("certificates of different authorities", lint.why)

    def test_identifiers_that_nobody_has(self) -> None:
        """Two policies whose patterns never meet."""
        more = '[[policy]]\nid = "more"\nuse = "client-id"\npatterns = ["sensor-*"]\n'
        lint = self.one(patterns='["pump-*"]', more=more)
        self.assertEqual(lint.id, "never-both")
        self.assertIn("only an empty one passes", lint.why)
        self.assertEqual(self.lints(patterns='["{user}"]', more=more), [])

    def test_two_identities_at_once(self) -> None:
        """Two required policies of different authorities refuse everyone, unless an alias joins them."""
        more = (
            '[[policy]]\nid = "certificate"\nuse = "client-certificate"\nauthorities = ["lab"]\n'
            'required = ["AUTHENTICATE"]\n'
        )
        people = '[[authority]]\nname = "people"\npassword_file = "users"\n'
        password = 'authority = "people"\nrequired = ["AUTHENTICATE"]'
        rules = '["permit user:people:alice publish a", "permit user:people:bob publish a"]'
        write = {"client_certificate": "optional", "extra": people}
        lint = self.one(write, more=more, password=password, rules=rules)
        self.assertEqual(lint.id, "never-both")
        write["extra"] += '[[alias]]\nprincipal = "lab:al"\nis = "people:alice"\n'
        self.assertEqual(self.lints(write, more=more, password=password, rules=rules), [])
