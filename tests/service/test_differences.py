# -*- test-case-name: tests.service.test_differences -*-
"""Who gains and loses what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from mqttsecure.core.decisions import Action
from mqttsecure.policy import regions
from mqttsecure.service.assembly import Assembly, check
from mqttsecure.service.config import load_config
from mqttsecure.service.differences import Change, Comparison, Differences, differences
from mqttsecure.wire.topics import matches
from tests.support.chains import FILTERS, WORLD, acl_binding, ask, parts
from tests.support.chains import acl as acl_of
from tests.support.config import write_config


class DifferencesCase(unittest.SynchronousTestCase):
    """Writes two configurations side by side."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def assembly(self, name: str, **more: Any) -> Assembly:
        folder = self.directory / name
        folder.mkdir()
        return check(load_config(write_config(folder, **more).config))

    def compare(self, old: dict[str, Any], new: dict[str, Any]) -> Differences:
        return differences(self.assembly("old", **old), self.assembly("new", **new))


def texts(found: Differences) -> set[str]:
    return {
        f"{'+' if each.gained else '-'} {each.who} {each.action.value} {each.topic_filter}" for each in found.changes
    }


class DifferencesTests(DifferencesCase):
    """An administrator looks before the change."""

    def test_nothing(self) -> None:
        """Other words for the same, and another order, change nothing for anyone."""
        found = self.compare(
            {"rules": ["permit user:alice publish lab/#", "deny everyone publish lab/secret"]},
            {
                "rules": [
                    "deny everyone publish lab/secret",
                    "permit user:alice publish lab",
                    "permit user:alice publish lab/+/#",
                ]
            },
        )
        self.assertEqual(found.changes, ())
        self.assertTrue(any(text.startswith("policy topics: rules: +") for text in found.words))

    def test_gained_and_lost(self) -> None:
        """Each with a topic that shows it, asked of both chains."""
        found = self.compare(
            {"rules": ["permit user:alice publish lab/#"]},
            {
                "rules": [
                    "permit user:alice publish lab/#",
                    "deny everyone publish lab/secret/#",
                    "permit user:bob receive a",
                ]
            },
        )
        self.assertEqual(texts(found), {"- lab:alice publish lab/#", "+ lab:bob receive a"})
        lost = next(each for each in found.changes if not each.gained)
        self.assertEqual((lost.topic, lost.certain, lost.rule), ("lab/secret", True, "rules[0]"))

    def test_groups(self) -> None:
        """A user who is put into a group gains what the group may; the rules are the same."""
        rules = ["permit group:admins publish plant/#"]
        found = self.compare({"rules": rules}, {"rules": rules, "groups": {"alice": ["admins"]}})
        self.assertEqual(texts(found), {"+ lab:alice publish plant/#"})
        found = differences(
            self.assembly("o2", rules=["permit everyone publish x"]),
            self.assembly("n2", rules=[*rules, "permit everyone publish x"]),
        )
        self.assertEqual(texts(found), {"+ group lab:admins publish plant/#"})

    def test_users_that_come_and_go(self) -> None:
        """Lose and gain all that they may; those alike are told once."""
        rules = ["permit everyone publish people/{user}/#"]
        policies = _PASSWORDS.format(rules=rules)
        users = {f"u{number}": "secret" for number in range(3)}
        found = self.compare({"policies": policies, "users": {"u0": "x"}}, {"policies": policies, "users": users})
        self.assertEqual(texts(found), {"+ lab:u1 and 1 like it publish people/u1/#"})

    def test_placeholders_are_told_apart(self) -> None:
        """{client} for {user} is a change, and a + for either."""
        found = self.compare(
            {"rules": ["permit everyone publish a/{user}"]}, {"rules": ["permit everyone publish a/{client}"]}
        )
        self.assertIn("+ anyone else of lab publish a/someone-1", texts(found))
        self.assertIn("- anyone else of lab publish a/someone", texts(found))

    def test_conditions(self) -> None:
        """At which QoS; and what depends on the message is told as not compared in full."""
        found = self.compare(
            {"rules": ["permit everyone publish a where qos<=1"]},
            {"rules": ["permit everyone publish a where size<=9"]},
        )
        change = found.changes[0]
        self.assertEqual((change.gained, change.when), (True, ("qos 2", "qos 2 retain")))
        self.assertTrue(any("depends on the message" in note for note in found.notes))

    def test_too_many_rules(self) -> None:
        """Is told, and not guessed."""
        self.patch(regions, "_MAXIMUM_STEPS", 0)
        found = self.compare({}, {})
        self.assertTrue(any("not compared" in note for note in found.notes))

    def test_other_changes_in_words(self) -> None:
        """Policies, their order and options, listeners, limits, aliases."""
        found = self.compare(
            {"policies": None, "limits": "receive_maximum = 10"},
            {
                "limits": "receive_maximum = 20",
                "plaintext": True,
                "extra_policies": '[[policy]]\nid = "rates"\nuse = "rate-limit"\nmessages = "1/second"\n',
                "client_certificate": "required",
                "extra": '[[alias]]\nprincipal = "lab:al"\nis = "lab:alice"\n',
            },
        )
        for text in (
            "listener plain: added",
            "listener tls: tls.client_certificate: optional -> required",
            "policy rates: added",
            "policy handshake: plaintext: never -> loopback",
            "alias lab:al: itself -> lab:alice",
            "limits.receive_maximum: 10 -> 20",
        ):
            self.assertIn(text, found.words)
        found = differences(self.assembly("a"), self.assembly("b", policies=_reordered()))
        self.assertTrue(any(text.startswith("order of the chain: ") for text in found.words), found.words)
        self.assertIn("policy connections: removed", found.words)

    def test_policies_that_do_not_tell(self) -> None:
        """What they do is told as not compared."""
        plugins = '[plugins]\npath = ["plugins"]\n'
        made = {}
        for name in ("old", "new"):
            folder = self.directory / name
            (folder / "plugins").mkdir(parents=True)
            (folder / "plugins" / "geo.py").write_text(_GEO)
            files = write_config(folder, extra=plugins, extra_policies='[[policy]]\nid = "geo"\nuse = "local:geo"\n')
            made[name] = check(load_config(files.config))
        found = differences(made["old"], made["new"])
        self.assertEqual(found.changes, ())
        self.assertIn("policy geo (new) does not say what it does at PUBLISH", found.notes)
        self.assertIn("policy geo (old) sets attributes (country); rules are compared without", found.notes)


class AgainstTheChainTests(unittest.SynchronousTestCase):
    """Random rules, all topics of a small world."""

    @settings(max_examples=60, deadline=None)
    @given(
        *[
            st.lists(
                st.sampled_from(
                    [f"{effect} user:a publish {each}" for effect in ("permit", "deny") for each in FILTERS]
                ),
                min_size=1,
                max_size=4,
            )
        ]
        * 2
    )
    def test_gains_and_losses_are_those_of_the_chains(self, old: list[str], new: list[str]) -> None:
        """Nothing is told that does not change, and no change is left out."""
        chains = [parts(acl_binding(acl_of(texts))) for texts in (old, new)]
        found = [each for each in _changes(*chains) if each.who == "users:a" and each.action is Action.PUBLISH]
        self.assertTrue(all(each.certain for each in found), (old, new, found))
        for topic in WORLD:
            before, after = (ask(each.chain, Action.PUBLISH, topic, name="a", client_id="a-1") for each in chains)
            if before != after:
                told = [each for each in found if each.gained is after and matches(each.topic_filter, topic)]
                self.assertTrue(told, (old, new, topic))


def _changes(old: Any, new: Any) -> list[Change]:
    return list(Comparison(old, new).changes())


_PASSWORDS = """
[[policy]]
id = "open"
use = "ip-allowlist"
permit = ["everywhere"]

[[policy]]
id = "tls"
use = "tls-requirements"

[[policy]]
id = "ids"
use = "client-id"
patterns = ["*"]

[[policy]]
id = "password"
use = "password-file"
authority = "lab"

[[policy]]
id = "topics"
use = "topic-acl"
rules = {rules}
"""


def _reordered() -> str:
    tables = _PASSWORDS.format(rules='["permit user:alice read lab/#"]').replace('"open"', '"addresses"').split("\n\n")
    tables = [table.replace('"tls"', '"handshake"').replace('"ids"', '"client-ids"') for table in tables]
    return "\n\n".join([tables[3], tables[2], *tables[:2], *tables[4:]])


_GEO = """
from pydantic import BaseModel
from zope.interface import implementer
from mqttsecure.interfaces import INTERFACE_VERSION, Decision, IPolicy, IPolicyFactory, Role, Stage

class Options(BaseModel):
    pass

@implementer(IPolicy)
class Geo:
    def decide(self, request):
        return Decision.abstain()

@implementer(IPolicyFactory)
class Factory:
    interface_version = INTERFACE_VERSION
    name = "geo"
    summary = "geo"
    stages = {Stage.ACCEPT: Role.RESTRICTS, Stage.PUBLISH: Role.RESTRICTS}
    options = Options
    attributes = {"country": str}
    def build(self, options, environment):
        return Geo()

factory = Factory()
"""
