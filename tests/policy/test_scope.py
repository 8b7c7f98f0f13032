"""Tests for the scope of cacheable answers: where else an answer holds, so that new topics need no new question."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import EVERY_TOPIC, Decision, Pending, Stage, Verdict
from mqttsecure.policy.builtin.rate_limit import RateLimit, RateLimitFactory, RateLimitOptions
from mqttsecure.policy.builtin.topic_acl import TopicAclFactory, TopicAclOptions
from mqttsecure.wire.topics import matches
from tests.policy.builtin.helpers import request
from tests.support.environment import FakeEnvironment
from tests.support.policies import StaticPolicy, bind, chain_of, make_request

LEVELS = ("a", "b", "$x")
TOPICS = ["/".join(levels) for depth in (1, 2, 3) for levels in itertools.product(LEVELS, repeat=depth)]
FILTERS = st.sampled_from(["#", "a/#", "a/+", "+/b", "a", "a/b", "+/+/a", "b/#", "$x/#", "a/b/#"])
RULE = st.builds(
    "{} everyone publish {} {}".format,
    st.sampled_from(["permit", "deny"]),
    FILTERS,
    st.sampled_from(["", "where qos<=1", "where retain=no", "unless qos=0", "where size<=3"]),
)


def verdict_of(*decisions: Decision) -> Verdict:
    """What a chain says of which each policy gives one of the decisions."""
    bindings = [bind(StaticPolicy(decision), id=f"p{number}") for number, decision in enumerate(decisions)]
    verdict = chain_of(Clock(), *bindings).decide(make_request(Stage.PUBLISH, topic="a/b/c"))
    assert not isinstance(verdict, Pending)
    return verdict


class FoldScopeTests(SynchronousTestCase):
    """The scope of a verdict."""

    def test_is_where_all_answers_hold(self) -> None:
        """The answer holds where that of every policy asked holds, and nowhere else."""
        for scopes, expected in (
            ((EVERY_TOPIC, EVERY_TOPIC), EVERY_TOPIC),
            ((EVERY_TOPIC, "a/#"), "a/#"),
            (("a/#", EVERY_TOPIC), "a/#"),
            (("a/#", "+/b/#"), "a/b/#"),
            (("a/#", "b/#"), None),
            (("a/#", None), None),
            ((None, "a/#"), None),
        ):
            decisions = [Decision.permit(cacheable=True, scope=scope) for scope in scopes]
            self.assertEqual(verdict_of(*decisions).scope, expected, scopes)

    def test_none_where_a_policy_must_be_asked_each_time(self) -> None:
        """An answer that may differ next time holds for no other topic either."""
        verdict = verdict_of(Decision.permit(cacheable=True, scope="a/#"), Decision.abstain(scope="a/#"))
        self.assertIsNone(verdict.scope)

    def test_none_where_it_is_no_filter(self) -> None:
        """A policy that gives nonsense for a scope is taken at its word for the topic at hand alone."""
        bad = Decision.permit(cacheable=True, scope=7)
        self.assertIsNone(verdict_of(Decision.permit(cacheable=True, scope="a/#"), bad).scope)


class BuiltinScopeTests(SynchronousTestCase):
    """The scopes that the built-in policies give."""

    @settings(max_examples=150, deadline=None)
    @given(st.lists(RULE, min_size=1, max_size=5), st.sampled_from(TOPICS), st.integers(0, 2), st.booleans())
    def test_topic_acl_says_the_same_in_all_of_it(self, rules: list[str], topic: str, qos: int, retain: bool) -> None:
        """Whatever the rules are, every topic in the scope of an answer gets that answer."""
        policy = TopicAclFactory().build(TopicAclOptions(rules=rules), FakeEnvironment("acl"))
        decision = policy.decide(request(Stage.PUBLISH, topic=topic, qos=qos, retain=retain))
        if decision.scope is None:
            return
        for other in TOPICS:
            if matches(decision.scope, other):
                again = policy.decide(request(Stage.PUBLISH, topic=other, qos=qos, retain=retain, payload=b"12345"))
                self.assertEqual(again.effect, decision.effect, (rules, topic, other))

    def test_topic_acl_gives_one_where_nothing_is_denied(self) -> None:
        """The common case, a tree granted whole, needs one question for all its topics."""
        options = TopicAclOptions(rules=["permit everyone publish a/#", "deny everyone publish b/#"])
        policy = TopicAclFactory().build(options, FakeEnvironment("acl"))
        self.assertEqual(policy.decide(request(Stage.PUBLISH, topic="a/b")).scope, "a/#")

    def limit(self, **options: object) -> RateLimit:
        return RateLimitFactory().build(RateLimitOptions(messages="10/second", **options), FakeEnvironment("rate"))

    def test_rate_limit_of_a_client_is_the_same_everywhere(self) -> None:
        """One bucket for a client, whatever it publishes to."""
        self.assertEqual(self.limit().decide(request(Stage.PUBLISH, topic="$x/y")).scope, EVERY_TOPIC)

    def test_rate_limit_by_prefix_is_the_same_below_it(self) -> None:
        """One bucket for a prefix; a topic shorter than prefixes are is counted by itself."""
        policy = self.limit(per="topic-prefix", prefix_levels=2)
        for topic, scope in (("a/b/c", "a/b/#"), ("a/b", "a/b/#"), ("a", None)):
            decision = policy.decide(request(Stage.PUBLISH, topic=topic))
            self.assertEqual(decision.scope, scope)
            for other in TOPICS:
                if scope is not None and matches(scope, other):
                    again = policy.decide(request(Stage.PUBLISH, topic=other))
                    self.assertIs(again.meters[0], decision.meters[0])
