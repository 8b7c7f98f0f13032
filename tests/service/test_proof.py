# -*- test-case-name: tests.service.test_proof -*-
"""Claims about all topics: what is said to hold, holds."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Action, Decision, Role, Stage
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import KnownIdentity
from mqttsecure.policy.binding import PolicyBinding
from mqttsecure.policy.regions import BITS
from mqttsecure.service.clients import parse_who
from mqttsecure.service.proof import Answer, Claim, Proof, prove
from mqttsecure.wire.topics import intersects, matches
from tests.support.chains import PLAIN_FILTERS, WORLD, acl, acl_binding, ask, door, parts, rule_texts
from tests.support.policies import StaticPolicy, bind, restricting

KNOWN = (
    KnownIdentity("users", "a", frozenset({"g"})),
    KnownIdentity("users", "x"),
    KnownIdentity("users", "y", frozenset({"g", "h"})),
)
GROUPS = {each.name: each.groups for each in KNOWN}


class Counting(StaticPolicy):
    stateful = True


def proof_of(
    who: str, action: str, topic_filter: str, *bindings: PolicyBinding, always: bool = False, **more: Any
) -> Proof:
    return prove(parts(*bindings), Claim(parse_who(who), always, Action(action), topic_filter, **more))


def rules(*texts: str, contained: bool = True, **more: Any) -> PolicyBinding:
    return acl_binding(acl(texts, contained), **more)


class NeverTests(SynchronousTestCase):
    """Someone wants to be sure that something cannot happen."""

    def test_holds(self) -> None:
        """No rule lets a guest near; what only restricts does not matter."""
        rates = bind(Counting(None), "rates", stages=restricting(Stage.PUBLISH))
        found = proof_of("group:guests", "publish", "plant/#", rates, rules("permit group:staff publish plant/#"))
        self.assertEqual((found.answer, found.reasoned, found.unknown), (Answer.HOLDS, ("topics",), ("rates",)))
        self.assertEqual(found.judged, ("a client of users that no rule names in guests",))

    def test_fails_with_a_topic(self) -> None:
        """Who, where, what, and by which line."""
        found = proof_of(
            "user:alice", "publish", "plant/#", rules("permit everyone publish +/1/#", "deny everyone publish plant/1")
        )
        self.assertIs(found.answer, Answer.FAILS)
        assert found.counterexample is not None
        self.assertEqual((found.counterexample.policy, found.counterexample.rule), ("topics", "rules[0]"))
        self.assertEqual(found.counterexample.topic, "plant/1/alice")
        self.assertEqual(str(found.counterexample.source), "broker.toml:1")

    def test_client_identifiers(self) -> None:
        """Any may come, so one that opens the topic is found."""
        found = proof_of("everyone", "publish", "plant/7/#", rules("permit everyone publish plant/{client}/#"))
        assert found.counterexample is not None
        self.assertEqual((found.counterexample.client_id, found.counterexample.topic), ("7", "plant/7"))
        found = proof_of(
            "everyone", "publish", "plant/7/#", rules("permit everyone publish plant/{client}/#"), client_id="8"
        )
        self.assertIs(found.answer, Answer.HOLDS)

    def test_qos_and_retain(self) -> None:
        """Only at those that are asked about."""
        binding = rules("permit everyone publish a where qos<=1 retain=no")
        for more, answer in (
            ({"qos": 2}, Answer.HOLDS),
            ({"retain": True}, Answer.HOLDS),
            ({"qos": 1, "retain": False}, Answer.FAILS),
            ({}, Answer.FAILS),
        ):
            self.assertIs(proof_of("everyone", "publish", "#", binding, **more).answer, answer)

    def test_policy_that_may_grant_what_it_likes(self) -> None:
        """Then nothing is proved, unless a rule denies it for sure."""
        token = bind(Decision.abstain(), "token", stages={Stage.PUBLISH: Role.GRANTS})
        found = proof_of("everyone", "publish", "plant/#", token)
        self.assertIs(found.answer, Answer.UNPROVED)
        self.assertIn("policy token may permit", found.reasons[0])
        found = proof_of("everyone", "publish", "plant/#", token, rules("deny everyone publish plant/#"))
        self.assertIs(found.answer, Answer.HOLDS)

    def test_rule_that_no_client_was_found_for(self) -> None:
        """A condition that nobody meets leaves it open."""
        found = proof_of("everyone", "publish", "a", rules("permit everyone publish a where size>=100000"))
        self.assertEqual((found.answer, found.counterexample), (Answer.UNPROVED, None))
        self.assertIn("topics/rules[0] (broker.toml:1) may permit a", found.reasons[0])
        found = proof_of("everyone", "publish", "a", rules("permit everyone publish $x-{client}"))
        self.assertIn("begins with $", found.reasons[0])

    def test_subscriptions_filtered_at_delivery(self) -> None:
        """A wide filter is granted where any of it is."""
        found = proof_of("everyone", "subscribe", "plant/#", rules("permit everyone read lab/#", contained=False))
        assert found.counterexample is not None
        self.assertEqual(found.counterexample.topic, "#")
        found = proof_of("everyone", "subscribe", "plant/#", rules("permit everyone read lab/#"))
        self.assertIs(found.answer, Answer.HOLDS)

    def test_members_that_are_known(self) -> None:
        """A member that a rule names by name is a member all the same."""
        people = door([KnownIdentity("users", "bob", frozenset({"guests"}))])
        found = proof_of("group:guests", "publish", "plant/#", people, rules("permit user:bob publish plant/1"))
        assert found.counterexample is not None
        self.assertEqual(found.counterexample.who, "users:bob in guests")

    def test_makes_no_sense(self) -> None:
        """A filter that is none, a shared one, an authority or listener that does not exist."""
        for who, topic_filter, more in (
            ("everyone", "a/#/b", {}),
            ("everyone", "$share/g/a", {}),
            ("user:ghosts:bob", "a", {}),
            ("everyone", "a", {"listener": "ghost"}),
        ):
            self.assertRaises(
                ConfigError, proof_of, who, "publish", topic_filter, rules("permit everyone publish a"), **more
            )


class AlwaysTests(SynchronousTestCase):
    """Someone wants to be sure that something works."""

    def test_holds(self) -> None:
        """Rules together cover all of it; what counts may have its say."""
        binding = rules("permit user:alice publish lab", "permit user:alice publish lab/+/#")
        found = proof_of("user:alice", "publish", "lab/#", binding, always=True)
        self.assertIs(found.answer, Answer.HOLDS)
        rates = bind(Counting(None), "rates", stages=restricting(Stage.PUBLISH))
        found = proof_of("user:alice", "publish", "lab/#", rates, binding, always=True)
        self.assertEqual((found.answer, found.reasons), (Answer.PROVIDED, ("policy rates does not deny",)))

    def test_fails_with_a_topic(self) -> None:
        """One that is refused, by default or by a rule."""
        found = proof_of("user:alice", "publish", "lab/#", rules("permit user:alice publish lab/+"), always=True)
        assert found.counterexample is not None
        self.assertEqual((found.counterexample.topic, found.counterexample.policy), ("lab", ""))
        found = proof_of(
            "user:alice",
            "receive",
            "lab/#",
            rules("permit user:alice read lab/#", "deny everyone receive lab/secret"),
            always=True,
        )
        assert found.counterexample is not None
        self.assertEqual((found.counterexample.topic, found.counterexample.rule), ("lab/secret", "rules[1]"))

    def test_conditions(self) -> None:
        """What depends on the size of a message is not always so."""
        found = proof_of("everyone", "publish", "a", rules("permit everyone publish a where size<=10"), always=True)
        self.assertIs(found.answer, Answer.UNPROVED)
        self.assertIn("depends on what is not known", found.reasons[0])

    def test_subscription_is_one_policys_to_permit(self) -> None:
        """Two policies with half of it each refuse the whole."""
        halves = (rules("permit everyone read a"), rules("permit everyone read a/+/#", policy_id="more"))
        found = proof_of("user:x", "subscribe", "a/#", *halves, always=True)
        assert found.counterexample is not None
        self.assertEqual(found.counterexample.topic, "a/#")
        self.assertIs(proof_of("user:x", "receive", "a/#", *halves, always=True).answer, Answer.HOLDS)


class AgainstEveryClientTests(SynchronousTestCase):
    """All clients, topics and messages of a small world are asked about."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.lists(rule_texts, min_size=1, max_size=3), st.booleans()), min_size=1, max_size=2),
        st.sampled_from(("everyone", "group:g", "user:x", "user:a")),
        st.sampled_from(list(Action)),
        st.sampled_from(PLAIN_FILTERS),
        st.booleans(),
    )
    def test_never_claims_what_is_false(
        self, acls: list[tuple[list[str], bool]], who: str, action: Action, target: str, always: bool
    ) -> None:
        """HOLDS is true of each of them, and FAILS of the one that is shown."""
        stages = frozenset({Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER})
        bindings = [
            acl_binding(acl(texts), f"p{number}", final=stages if final else frozenset())
            for number, (texts, final) in enumerate(acls)
        ]
        world = parts(door(KNOWN), *bindings)
        found = prove(world, Claim(parse_who(who), always, action, target))
        if found.answer is Answer.FAILS:
            shown = found.counterexample
            assert shown is not None
            fits = intersects if action is Action.SUBSCRIBE else matches
            self.assertTrue(fits(target, shown.topic), (acls, shown))
            return
        if found.answer is not Answer.HOLDS:
            return
        names = {"everyone": ("a", "x", "y"), "group:g": ("a", "y"), "user:x": ("x",), "user:a": ("a",)}[who]
        topics = [topic for topic in WORLD if matches(target, topic)]
        clients = itertools.product(names, ("", "a", "x", "someone-1"))
        for (name, client_id), topic, (qos, retain) in itertools.product(clients, topics, BITS):
            if action is Action.SUBSCRIBE and retain:
                continue
            for size in (0, 7, 20) if action is not Action.SUBSCRIBE else (0,):
                permitted = ask(
                    world.chain,
                    action,
                    topic,
                    name=name,
                    groups=GROUPS[name],
                    client_id=client_id,
                    qos=qos,
                    retain=retain,
                    size=size,
                )
                self.assertEqual(
                    permitted, always, (acls, who, action, target, name, client_id, topic, qos, retain, size)
                )
