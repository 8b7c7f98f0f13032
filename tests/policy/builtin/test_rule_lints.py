# -*- test-case-name: tests.policy.builtin.test_rule_lints -*-
"""Rules that do nothing, or more than they look like."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Action, Effect
from mqttsecure.policy.builtin.rule_lints import rule_lints
from tests.support.chains import WORLD, acl, acl_binding, ask, parts, rule_texts


def lints(*texts: str) -> list[str]:
    """The lints of those rules, as id and rule."""
    return [f"{lint.id} {lint.text.partition(':')[0]}" for lint in rule_lints(acl(texts).rules)]


class RuleLintTests(SynchronousTestCase):
    """Someone looks over rules that have grown."""

    def test_redundant(self) -> None:
        """What others say as well, alone or together, for as many and under no more conditions."""
        for texts, expected in (
            (("permit everyone publish a/#", "permit user:x publish a/b"), ["redundant-rule rules[1]"]),
            (("permit user:x publish a/b", "permit everyone publish a/#"), ["redundant-rule rules[0]"]),
            (("permit user:x publish a", "permit user:x publish a"), ["redundant-rule rules[1]"]),
            (
                ("permit user:x publish a", "permit user:x publish a/+/#", "permit user:x publish a/#"),
                ["redundant-rule rules[2]"],
            ),
            (("permit user:x publish a/+", "permit user:x publish a/#"), ["redundant-rule rules[0]"]),
            (("permit everyone publish a/+", "permit everyone publish a/{user}"), ["redundant-rule rules[1]"]),
            (("permit everyone publish a/{user}", "permit user:x publish a/{user}"), ["redundant-rule rules[1]"]),
            (("deny everyone publish a", "deny user:x publish a where qos=2"), ["redundant-rule rules[1]"]),
            (
                ("permit user:x publish a where qos<=1", "permit user:x publish a where qos<=0"),
                ["redundant-rule rules[1]"],
            ),
            (
                ("permit user:x publish a where size<=5", "permit user:x publish a where size<=5"),
                ["redundant-rule rules[1]"],
            ),
        ):
            self.assertEqual(lints(*texts), expected, texts)

    def test_not_redundant(self) -> None:
        """Someone else, something else, another action, a condition."""
        for texts in (
            ("permit user:x publish a/#", "permit user:y publish a/b"),
            ("permit user:x publish a/+", "permit user:x publish a"),
            ("permit user:x read a/#", "permit user:x publish,read a"),
            ("permit user:x publish a where qos<=1", "permit user:x publish a where qos>=1"),
            ("permit user:x publish a where size<=5", "permit user:x publish a where size<=4"),
            ("permit everyone publish a/{client}", "permit everyone publish a/{user}"),
            ("permit user:p:x publish a", "permit user:q:x publish a"),
            ("permit everyone publish +/#", "permit everyone publish $SYS/a"),
        ):
            self.assertEqual([each for each in lints(*texts) if "grants-all" not in each], [], texts)

    def test_cancelled(self) -> None:
        """A permit of which nothing is left."""
        self.assertEqual(lints("permit user:x publish a/b", "deny everyone publish a/#"), ["cancelled-rule rules[0]"])
        (lint,) = rule_lints(acl(["permit user:x publish,receive a/b", "deny everyone publish a/#"]).rules)
        self.assertIn("publish is denied by rules[1]", lint.why)
        self.assertEqual(lints("permit user:x publish a/#", "deny everyone publish a/b"), [])
        (lint,) = rule_lints(acl(["permit user:x read a where retain=no", "deny user:x read a where retain=no"]).rules)
        # The subscription stands: retained messages would come by it, if another rule let them.
        self.assertTrue(lint.why.startswith("receive is denied"), lint.why)

    def test_all_is_granted(self) -> None:
        """Whoever writes # means less."""
        self.assertEqual(lints("permit user:x publish #"), ["grants-all rules[0]"])
        self.assertEqual(lints("permit user:x publish +/#"), ["grants-all rules[0]"])
        self.assertEqual(lints("deny user:x publish #", "permit user:x publish a/#"), ["cancelled-rule rules[1]"])

    def test_subscriptions_that_stay_silent(self) -> None:
        """Nothing of it may ever be received."""
        self.assertEqual(lints("permit user:x subscribe a/#"), ["subscribe-without-receive rules[0]"])
        for receive in ("permit everyone receive a/b", "permit group:g receive +/b", "permit user:x receive {user}/#"):
            self.assertEqual(lints("permit user:x subscribe a/#", receive), [], receive)
        for receive in ("permit user:y receive a/#", "permit user:x receive b/#"):
            self.assertIn("subscribe-without-receive rules[0]", lints("permit user:x subscribe a/#", receive))

    def test_says_why_and_what_to_do(self) -> None:
        """One line that can be acted on."""
        (lint,) = rule_lints(acl(["permit user:x publish a", "permit user:x publish a"]).rules)
        self.assertEqual(
            str(lint),
            "broker.toml:2: [redundant-rule] rules[1]: permit user:x publish a: rules[0] says as much; remove it",
        )

    @settings(max_examples=60, deadline=None)
    @given(st.lists(rule_texts, min_size=2, max_size=5))
    def test_nothing_changes_without_them(self, texts: list[str]) -> None:
        """A redundant or cancelled rule can go, all of them at once, and nobody notices."""
        rules = acl(texts).rules
        gone = set()
        for lint in rule_lints(rules):
            rule = next(rule for rule in rules if lint.text.startswith(f"{rule.id}:"))
            whole = lint.id == "redundant-rule" or "all of it" in lint.why
            if lint.id in ("redundant-rule", "cancelled-rule") and whole:
                gone.add(rule.id)
        kept = [text for index, text in enumerate(texts) if f"rules[{index}]" not in gone]
        if not gone or not kept:
            return
        before, after = (parts(acl_binding(acl(each))).chain for each in (texts, kept))
        for action, topic, name, qos in itertools.product(Action, WORLD, ("a", "x", "y"), (0, 2)):
            more = {"name": name, "groups": frozenset({"g"}), "client_id": "x", "qos": qos}
            for size in (0, 20):
                if action is Action.SUBSCRIBE and size:
                    continue
                answers = [ask(chain, action, topic, size=size, **more) for chain in (before, after)]  # type: ignore[arg-type]  # mixed keywords
                self.assertEqual(answers[0], answers[1], (texts, kept, action, topic, name, qos, size))

    def test_lints_of_denials_and_permits_are_apart(self) -> None:
        """A deny does not make a permit redundant."""
        rules = acl(["deny user:x publish a", "permit user:y publish a"]).rules
        self.assertEqual([rule.effect for rule in rules], [Effect.DENY, Effect.PERMIT])
        self.assertEqual(rule_lints(rules), [])
