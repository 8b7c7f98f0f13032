# -*- test-case-name: tests.policy.builtin.test_rule_advice -*-
"""What `explain` says below a denial."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Effect, Principal, Request, Source, Stage
from mqttsecure.interfaces import Advice
from mqttsecure.policy.builtin.rule_advice import advise
from mqttsecure.policy.builtin.rules import parse_rule
from tests.policy.builtin.helpers import facts, request
from tests.support.chains import WORLD, acl, rule_texts


def advice(*texts: str, topic: str = "plant/1/valve", stage: Stage = Stage.PUBLISH, **more: object) -> Advice:
    """What those rules advise to alice."""
    rules = [parse_rule(text, f"rules[{index}]", Source("b.toml", index + 1)) for index, text in enumerate(texts)]
    return advise(rules, request(stage, topic=topic, **more), None, True)


class AdviceTests(SynchronousTestCase):
    """Alice was refused."""

    def test_rule_to_add(self) -> None:
        """In words that can be pasted, and where."""
        found = advice("permit user:bob publish plant/#")
        self.assertEqual((found.add, found.where), ("permit user:alice publish plant/1/valve", Source("b.toml", 1)))

    def test_whoever_denies_has_to_go(self) -> None:
        """Adding a rule does not help against a denial."""
        found = advice("permit everyone publish #", "deny user:alice publish plant/#")
        self.assertEqual((found.add, [each.rule for each in found.remove]), ("", ["rules[1]"]))
        found = advice("permit everyone read #", "deny everyone read plant/1/#", topic="plant/#", stage=Stage.SUBSCRIBE)
        self.assertEqual((found.add, [each.rule for each in found.remove]), ("", ["rules[1]"]))

    def test_near_misses(self) -> None:
        """One thing is not met, and that is said."""
        for text, why in (
            ("permit user:alice read plant/#", "receive, subscribe, and not publish"),
            ("permit user:bob publish plant/#", "for user bob"),
            ("permit group:sensors publish plant/#", "in no group"),
            ("permit user:other:alice publish plant/#", "authority other"),
            ("permit user:alice publish plant/2/#", "has 2 and not 1"),
            ("permit user:alice publish plant/{client}/#", "is missing"),
            (
                "permit user:alice publish plant/# where qos<=0 retain=no",
                "where qos<=0 retain=no: qos is 1, retain is no",
            ),
            ("permit user:alice publish plant/# where size>=9", "size is 0"),
            ("permit user:alice publish plant/# unless qos=1", "unless qos=1: qos is 1"),
            ("permit user:alice publish plant/# where {tenant}=acme", "tenant is missing"),
        ):
            found = advice(text, qos=1)
            self.assertEqual(len(found.near), 1, text)
            self.assertIn(why, found.near[0].why, text)
        found = advice("permit user:alice read plant/1/#", topic="plant/#", stage=Stage.SUBSCRIBE)
        self.assertIn("only a part of plant/#; subscribe to plant/1/#", found.near[0].why)
        found = advice("permit user:alice read a/# where qos<=0", topic="a/#", stage=Stage.SUBSCRIBE, qos=1)
        self.assertEqual(len(found.near), 1)

    def test_nothing_near(self) -> None:
        """Rules with two things wrong are no help."""
        self.assertEqual(advice("permit user:bob read plant/#", "permit user:alice publish lab").near, ())

    def test_the_nearest_come_first(self) -> None:
        """And not all that there are."""
        found = advice(*["permit user:bob publish plant/#"] * 5, "permit user:alice read plant/#")
        self.assertEqual([each.rule for each in found.near], ["rules[5]", "rules[0]", "rules[1]"])

    def test_without_a_client_or_a_topic(self) -> None:
        """There is nothing to advise."""
        self.assertEqual(advise([], request(Stage.CONNECT), None, True), Advice())
        nobody = ConnectionFacts(1, "lab", facts().peer)
        self.assertEqual(advise([], Request(Stage.PUBLISH, nobody, 0.0, topic="a"), None, True), Advice())

    def test_names_that_have_to_be_quoted(self) -> None:
        """What is pasted means what was meant."""
        for name, topic in (("al ice", "a b"), ('a"b', 'x"y'), ("a:b", "c:d"), ("a\\b", "e")):
            person = facts(principal=Principal("users", name))
            found = advise([], request(Stage.PUBLISH, person, topic=topic), None, True)
            rule = parse_rule(found.add)
            self.assertEqual((rule.who.name, rule.who.authority, rule.topic_filter), (name, None, topic))

    def test_principals_of_other_authorities(self) -> None:
        """Are named with theirs; those who cannot be named are everyone."""
        person = facts(principal=Principal("devices", "pump"))
        self.assertIn("user:devices:pump", advise([], request(Stage.PUBLISH, person, topic="a"), "users", True).add)
        stranger = facts(principal=Principal("anonymous", "7", shared=False))
        self.assertIn("permit everyone", advise([], request(Stage.PUBLISH, stranger, topic="a"), "users", True).add)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(rule_texts, max_size=4),
        st.sampled_from((Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)),
        st.sampled_from(WORLD),
        st.integers(0, 2),
    )
    def test_added_rule_permits(self, texts: list[str], stage: Stage, topic: str, qos: int) -> None:
        """Where a rule to add is named, adding it is enough; where none is, some rule denies."""
        person = facts(principal=Principal("users", "a"), groups=frozenset({"g"}), client_id="a")
        question = request(stage, person, topic=topic, qos=qos)
        policy = acl(texts)
        if policy.decide(question).effect is Effect.PERMIT:
            return
        found = policy.advise(question)
        if found.add:
            self.assertIs(acl([*texts, found.add]).decide(question).effect, Effect.PERMIT, (texts, found.add))
        else:
            self.assertTrue(found.remove, texts)
