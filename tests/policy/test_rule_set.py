"""Grants as rules, in a policy that has them from elsewhere than the configuration."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Action, Effect, Principal, Source, Stage
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import Subject
from mqttsecure.policy.rule_set import RuleSet
from tests.support.environment import FakeAuthority, FakeEnvironment
from tests.support.policies import make_facts, make_request

RULES = ("permit user:alice publish,read lab/{client}/#", "deny everyone read lab/c/secret")


class RuleSetTests(SynchronousTestCase):
    """It decides, tells and advises as a `topic-acl` of the same rules."""

    def setUp(self) -> None:
        self.environment = FakeEnvironment("people", authorities={"users": FakeAuthority("users")})
        self.rules = RuleSet(RULES, self.environment)
        self.facts = make_facts(principal=Principal("users", "alice"), client_id="c")

    def effect(self, stage: Stage, topic: str) -> Effect:
        return self.rules.decide(make_request(stage, connection=self.facts, topic=topic)).effect

    def test_decides(self) -> None:
        """With placeholders, denials and containment."""
        self.assertIs(self.effect(Stage.PUBLISH, "lab/c/1"), Effect.PERMIT)
        self.assertIs(self.effect(Stage.PUBLISH, "lab/d/1"), Effect.ABSTAIN)
        self.assertIs(self.effect(Stage.DELIVER, "lab/c/secret"), Effect.DENY)
        self.assertIs(self.effect(Stage.SUBSCRIBE, "lab/c/x/#"), Effect.PERMIT)
        self.assertIs(self.effect(Stage.SUBSCRIBE, "lab/c/#"), Effect.DENY)
        self.assertIs(self.effect(Stage.CONNECT, ""), Effect.ABSTAIN)
        self.rules.forget(self.facts)
        filtered = RuleSet(RULES, self.environment, contained=False)
        request = make_request(Stage.SUBSCRIBE, connection=self.facts, topic="lab/c/#")
        self.assertIs(filtered.decide(request).effect, Effect.PERMIT)

    def test_tells(self) -> None:
        """What it grants a client, whom it names, and what would permit what it does not."""
        found = self.rules.grants(Subject("users", "alice", client_id="c"))
        self.assertIn((Effect.PERMIT, Action.PUBLISH, "lab/c/#"), [(e.effect, e.action, e.topic_filter) for e in found])
        self.assertEqual(self.rules.names(), [("user", "users", "alice")])
        request = make_request(Stage.PUBLISH, connection=self.facts, topic="plant/1")
        self.assertIn("plant/1", self.rules.advise(request).add)

    def test_where_rules_come_from(self) -> None:
        """A decision names the rule, and where the policy says that it stands."""
        rules = RuleSet(["permit everyone publish #"], self.environment, source=Source("people.db", 7))
        decision = rules.decide(make_request(Stage.PUBLISH, connection=self.facts, topic="a"))
        self.assertEqual((decision.rule, str(decision.source)), ("rule 1", "people.db:7"))

    def test_rules_that_are_none(self) -> None:
        """Everything that is wrong is told at once, with the number of the rule."""
        with self.assertRaises(ConfigError) as caught:
            RuleSet(["permit nobody publish a", "permit everyone fly a/#/b"], self.environment)
        text = "\n".join(caught.exception.problems)
        self.assertIn("rule 1, column 8: 'nobody'", text)
        self.assertIn("rule 2, column 17: 'fly'", text)
        self.environment.authorities = {"one": FakeAuthority("one"), "two": FakeAuthority("two")}
        self.assertRaises(ConfigError, RuleSet, ["permit user:alice publish a"], self.environment)
        RuleSet(["permit user:alice publish a"], self.environment, authority="one")
