# -*- test-case-name: tests.policy.builtin.test_rule_grants -*-
"""What rules grant, told for all topics, against what the policy says to each."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Action, Effect
from mqttsecure.interfaces import Grant, IGrants, Subject
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.regions import BITS
from mqttsecure.wire.topics import matches
from tests.support.chains import WORLD, acl, acl_binding, ask, parts, rule_texts

SIZES = (0, 7, 20)
CLIENTS = ("", "a", "b", "someone-1")


def one(text: str, subject: Subject, contained: bool = True) -> list[Grant]:
    return list(acl([text], contained).grants(subject))


ALICE = Subject("users", "alice", frozenset({"g"}), "c1")


class GrantsTests(SynchronousTestCase):
    """One rule at a time."""

    def test_provides_the_interface(self) -> None:
        """Anyone can ask."""
        self.assertTrue(verifyObject(IGrants, acl(["permit everyone publish a"])))

    def test_who(self) -> None:
        """Rules about others are not in it."""
        for text, concerned in (
            ("permit user:alice publish a", True),
            ("permit user:bob publish a", False),
            ("permit group:g publish a", True),
            ("permit group:h publish a", False),
            ("permit user:other:alice publish a", False),
            ("permit everyone publish a", True),
        ):
            self.assertEqual(bool(one(text, ALICE)), concerned, text)
        self.assertEqual(one("permit user:alice publish a", Subject("users")), [])

    def test_one_grant_for_each_action(self) -> None:
        """`read` is two."""
        found = one("deny everyone publish,read a", ALICE)
        self.assertEqual([grant.action for grant in found], list(Action))
        self.assertEqual({(grant.effect, grant.may, grant.must) for grant in found}, {(Effect.DENY, 63, 63)})

    def test_placeholders(self) -> None:
        """What is known is filled in; what is open is a level of any name, and never certain."""
        for text, subject, topic_filter, must in (
            ("permit everyone publish {user}/{client}", ALICE, "alice/c1", 63),
            ("permit everyone publish {user}/{client}", Subject("users"), "+/+", 0),
            ("permit everyone publish a/x-{client}/#", Subject("users", "alice"), "a/+/#", 0),
            ("permit everyone publish $s-{client}/a", Subject("users"), "", 0),
            ("permit everyone publish {tenant}/#", Subject("users", attributes={"tenant": "t"}), "t/#", 63),
            ("permit everyone publish {tenant}/#", Subject("users", open_attributes=frozenset({"tenant"})), "+/#", 0),
        ):
            self.assertEqual([(each.topic_filter, each.must) for each in one(text, subject)], [(topic_filter, must)])

    def test_rules_that_never_apply(self) -> None:
        """A value that would widen a filter, one that is missing, and one that makes a $ topic."""
        for text, subject in (
            ("permit everyone publish {user}", Subject("users", "a/b")),
            ("permit everyone publish {client}", Subject("users", "a", client_id="")),
            ("permit everyone publish {tenant}", ALICE),
            ("permit everyone publish {user}/a", Subject("users", "$SYS")),
            ("permit everyone publish a where {tenant}=x", ALICE),
            ("permit everyone publish a where {user}=bob", ALICE),
        ):
            self.assertEqual(one(text, subject), [], text)

    def test_conditions(self) -> None:
        """For which QoS and RETAIN (bits qos * 2 + retain) it may apply, and for which it does."""
        for condition, may, must in (
            ("where qos<=1", 0b001111, 0b001111),
            ("where retain=no", 0b010101, 0b010101),
            ("unless qos=0", 0b111100, 0b111100),
            ("where qos<=1 size<=10", 0b001111, 0),
            ("unless qos<=1 size<=10", 0b111111, 0b110000),
            ("where {user}=alice", 0b111111, 0b111111),
        ):
            (grant,) = one(f"permit everyone publish a {condition}", ALICE)
            self.assertEqual((grant.may, grant.must), (may, must), condition)
        (grant,) = one("permit everyone publish a where {t}=x", Subject("users", open_attributes=frozenset({"t"})))
        self.assertEqual((grant.may, grant.must), (63, 0))
        (grant,) = one("deny everyone publish a where {t}=x", ALICE)
        self.assertEqual((grant.may, grant.must), (63, 63))

    def test_subscriptions_that_are_filtered_at_delivery(self) -> None:
        """A wider filter is granted there than any rule names, so nothing is certain."""
        for text, topic_filter, must in (
            ("permit everyone subscribe a/b", "#", 0),
            ("permit everyone subscribe $SYS/a", "$SYS/#", 0),
            ("deny everyone subscribe a/b", "a/b", 0),
        ):
            self.assertEqual(
                [(each.topic_filter, each.must) for each in one(text, ALICE, False)], [(topic_filter, must)]
            )

    def test_names(self) -> None:
        """Each user and group once."""
        policy = acl(["permit user:a publish a", "deny user:a publish b", "permit group:x:g publish a"])
        self.assertEqual(policy.names(), [("user", None, "a"), ("group", "x", "g")])


class AgainstThePolicyTests(SynchronousTestCase):
    """What is told of all topics is true of each."""

    def allowed(self, chain: PolicyChain, action: Action, topic: str, bit: int, subject: Subject) -> set[bool]:
        qos, retain = BITS[bit]
        return {
            ask(
                chain,
                action,
                topic,
                name=subject.name or "someone",
                groups=subject.groups,
                client_id=client,
                qos=qos,
                retain=retain and action is not Action.SUBSCRIBE,
                size=size if action is not Action.SUBSCRIBE else 0,
            )
            for client in ([subject.client_id] if subject.client_id is not None else CLIENTS)
            for size in SIZES
        }

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(rule_texts, min_size=1, max_size=4),
        st.sampled_from(list(Action)),
        st.integers(0, 5),
        st.sampled_from(("x", None)),
        st.sampled_from(("", "a", None)),
        st.sampled_from((frozenset[str](), frozenset({"g"}))),
    )
    def test_may_and_must(
        self,
        texts: list[str],
        action: Action,
        bit: int,
        name: str | None,
        client_id: str | None,
        groups: frozenset[str],
    ) -> None:
        """Permitted only where a rule may permit; refused for sure where a rule must deny."""
        policy = acl(texts)
        subject = Subject("users", name, groups, client_id)
        grants = [each for each in policy.grants(subject) if each.action is action]
        chain = parts(acl_binding(policy)).chain
        for topic in WORLD:
            answers = self.allowed(chain, action, topic, bit, subject)
            held = [each for each in grants if matches(each.topic_filter, topic)]
            permit_may = any(each.effect is Effect.PERMIT and each.may >> bit & 1 for each in held)
            deny_must = any(each.effect is Effect.DENY and each.must >> bit & 1 for each in held)
            permit_must = any(each.effect is Effect.PERMIT and each.must >> bit & 1 for each in held)
            deny_may = any(each.effect is Effect.DENY and each.may >> bit & 1 for each in held)
            if action is Action.SUBSCRIBE:
                # A lower QoS may be granted, which other bits are about.
                if permit_must and not deny_may:
                    self.assertEqual(answers, {True}, (texts, topic))
                continue
            if deny_must or not permit_may:
                self.assertEqual(answers, {False}, (texts, topic))
            if permit_must and not deny_may:
                self.assertEqual(answers, {True}, (texts, topic))
