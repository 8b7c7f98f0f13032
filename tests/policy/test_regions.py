# -*- test-case-name: tests.policy.test_regions -*-
"""What is said of all topics at once, against what the chain says to each."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Action, Decision, Stage
from mqttsecure.interfaces import Subject
from mqttsecure.policy import regions
from mqttsecure.policy.binding import PolicyBinding
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.regions import BITS, TooManyRules, beyond, bit_of, escapes, gaps, layers, terms
from mqttsecure.wire.topics import contains, matches
from tests.support.chains import PLAIN_FILTERS, WORLD, acl, acl_binding, ask, parts, rule_texts
from tests.support.policies import LISTENER, StaticPolicy, bind, restricting

ALICE = Subject("users", "x", frozenset({"g"}), "a")
STAGES = (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)

some_rules = st.lists(rule_texts, min_size=1, max_size=3)
some_acls = st.lists(st.tuples(some_rules, st.booleans(), st.booleans()), min_size=1, max_size=3)
SETTINGS = settings(max_examples=80, deadline=None)


def chain_of_rules(acls: list[tuple[list[str], bool, bool]]) -> PolicyChain:
    """Several policies, some of them final or required."""
    bindings = [
        acl_binding(
            acl(texts),
            f"p{number}",
            final=frozenset(STAGES if final else ()),
            required=frozenset(STAGES if required else ()),
        )
        for number, (texts, final, required) in enumerate(acls)
    ]
    return parts(*bindings).chain


def answers(chain: PolicyChain, action: Action, topic: str, bit: int) -> set[bool]:
    """What alice is told, whatever the size of the message."""
    qos, retain = BITS[bit]
    return {
        ask(chain, action, topic, name="x", groups=ALICE.groups, client_id="a", qos=qos, retain=retain, size=size)
        for size in (0, 7, 20)
    }


class RegionTests(SynchronousTestCase):
    """Chains of several policies."""

    @SETTINGS
    @given(
        some_acls, st.sampled_from((Action.PUBLISH, Action.RECEIVE)), st.integers(0, 5), st.sampled_from(PLAIN_FILTERS)
    )
    def test_nothing_escapes(
        self, acls: list[tuple[list[str], bool, bool]], action: Action, bit: int, target: str
    ) -> None:
        """What is permitted is found; what is found lies in the target."""
        chain = chain_of_rules(acls)
        stack = layers(chain.bindings, LISTENER, action, ALICE)
        found = list(escapes(stack, target, bit))
        for escape in found:
            self.assertTrue(escape.topic is not None and matches(target, escape.topic))
        if not found:
            for topic in WORLD:
                if matches(target, topic):
                    self.assertEqual(answers(chain, action, topic, bit), {False}, (acls, topic))

    @SETTINGS
    @given(
        some_acls, st.sampled_from((Action.PUBLISH, Action.RECEIVE)), st.integers(0, 5), st.sampled_from(PLAIN_FILTERS)
    )
    def test_no_gap_is_missed(
        self, acls: list[tuple[list[str], bool, bool]], action: Action, bit: int, target: str
    ) -> None:
        """Where all is said to be permitted, all is."""
        chain = chain_of_rules(acls)
        if list(gaps(layers(chain.bindings, LISTENER, action, ALICE), target, bit)):
            return
        for topic in WORLD:
            if matches(target, topic):
                self.assertEqual(answers(chain, action, topic, bit), {True}, (acls, topic))

    @SETTINGS
    @given(some_acls, st.sampled_from((0, 2, 4)), st.sampled_from(PLAIN_FILTERS))
    def test_subscriptions(self, acls: list[tuple[list[str], bool, bool]], bit: int, target: str) -> None:
        """A filter that meets the target is refused if nothing escapes, one within it granted if there is no gap."""
        chain = chain_of_rules(acls)
        stack = layers(chain.bindings, LISTENER, Action.SUBSCRIBE, ALICE)
        qos, _ = BITS[bit]

        def granted(topic_filter: str) -> bool:
            return ask(chain, Action.SUBSCRIBE, topic_filter, name="x", groups=ALICE.groups, client_id="a", qos=qos)

        closed = not any(list(escapes(stack, target, bit_of(lower, False))) for lower in range(qos + 1))
        open_ = not list(gaps(stack, target, bit, whole=True))
        for topic_filter in (*PLAIN_FILTERS, *WORLD):
            if contains(target, topic_filter):
                if closed:
                    self.assertFalse(granted(topic_filter), (acls, topic_filter))
                if open_:
                    self.assertTrue(granted(topic_filter), (acls, topic_filter))

    @SETTINGS
    @given(some_acls, some_acls, st.integers(0, 5))
    def test_beyond(self, one: list[Any], other: list[Any], bit: int) -> None:
        """What one chain permits beyond another is found, and nothing else; sizes are left out of it."""
        stacks = []
        for acls in (one, other):
            plain = [
                ([text.partition(" where size")[0].partition(" unless size")[0] for text in texts], final, False)
                for texts, final, _ in acls
            ]
            stacks.append(layers(chain_of_rules(plain).bindings, LISTENER, Action.PUBLISH, ALICE))
        ours, theirs = (terms(stack, bit) for stack in stacks)

        def holds(listed: list[regions.Term], topic: str) -> bool:
            return any(
                matches(each.topic_filter, topic) and not any(matches(denied, topic) for denied in each.denied)
                for each in listed
            )

        topics = [beyond(term, theirs) for term in ours]
        for topic in topics:
            if topic is not None:
                self.assertTrue(holds(ours, topic) and not holds(theirs, topic), (one, other, topic))
        if not any(topics):
            for topic in WORLD:
                self.assertFalse(holds(ours, topic) and not holds(theirs, topic), (one, other, topic))


class UnknownTests(SynchronousTestCase):
    """Policies that do not say what they grant."""

    def stack(self, *bindings: PolicyBinding) -> list[regions.Layer]:
        return layers(parts(*bindings).chain.bindings, LISTENER, Action.PUBLISH, ALICE)

    def test_what_only_restricts(self) -> None:
        """Cannot let anything escape, and is a gap without a topic."""
        rates = bind(StaticPolicy(None), "rates", stages=restricting(Stage.PUBLISH))
        stack = self.stack(rates, acl_binding(acl(["permit user:x publish a"])))
        self.assertEqual(list(escapes(stack, "b", 0)), [])
        self.assertEqual([(gap.policy, gap.topic) for gap in gaps(stack, "a", 0)], [("rates", None)])

    def test_what_may_grant(self) -> None:
        """Lets all escape that is not denied beside it."""
        token = bind(Decision.abstain(), "token")
        stack = self.stack(token, acl_binding(acl(["deny user:x publish a/#"])))
        self.assertEqual(list(escapes(stack, "a/#", 0)), [])
        (escape,) = escapes(stack, "b", 0)
        self.assertEqual((escape.policy, escape.grant, escape.topic), ("token", None, "b"))

    def test_final_before_a_denial(self) -> None:
        """What is asked no more denies nothing."""
        token = bind(Decision.abstain(), "token", final=frozenset({Stage.PUBLISH}))
        stack = self.stack(token, acl_binding(acl(["deny user:x publish a/#"])))
        self.assertEqual([escape.topic for escape in escapes(stack, "a/#", 0)], ["a"])

    def test_rules_that_no_filter_can_express(self) -> None:
        """Are an escape without a topic."""
        policy = acl_binding(acl(["permit everyone publish $s-{client}/a"]))
        stack = layers(parts(policy).chain.bindings, LISTENER, Action.PUBLISH, Subject("users"))
        self.assertEqual([escape.topic for escape in escapes(stack, "a", 0)], [None])

    def test_other_listeners_and_stages(self) -> None:
        """Do not count."""
        other = bind(Decision.permit(), "other", stages=restricting(Stage.SUBSCRIBE))
        self.assertEqual(self.stack(other), [])
        stack = layers(
            parts(acl_binding(acl(["permit everyone publish a"]))).chain.bindings, "ghost", Action.PUBLISH, ALICE
        )
        self.assertEqual(stack, [])

    def test_too_many_rules(self) -> None:
        """A comparison that takes too long is given up and not guessed."""
        self.patch(regions, "_MAXIMUM_STEPS", 0)
        stack = self.stack(acl_binding(acl(["permit user:x publish a"])))
        (term,) = terms(stack, 0)
        self.assertRaises(TooManyRules, beyond, term, [])
