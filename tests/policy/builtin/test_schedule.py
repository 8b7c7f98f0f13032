"""Tests for mqttsecure.policy.builtin.schedule."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import EVERY_TOPIC, Principal, Purpose, Role, Stage
from mqttsecure.interfaces import IPolicy, IStateKeeper
from mqttsecure.policy.builtin.schedule import Schedule, ScheduleFactory, ScheduleOptions
from tests.policy.builtin.helpers import effect, facts, problems_of, request
from tests.support.environment import FakeEnvironment

HOUR = 3600.0


class ScheduleTests(SynchronousTestCase):
    """The environment's clock begins on a Monday, 2026-06-01, at midnight UTC."""

    def setUp(self) -> None:
        self.environment = FakeEnvironment("hours")
        self.clock = self.environment.clock

    def build(self, **options: Any) -> Schedule:
        options = {"time_zone": "UTC", "hours": ["08:00-18:00"], **options}
        return ScheduleFactory().build(ScheduleOptions.model_validate(options), self.environment)

    def ask(self, policy: Schedule, stage: Stage = Stage.AUTHENTICATE, **more: Any) -> Any:
        return policy.decide(request(stage, more.pop("connection", None), now=self.clock.seconds(), **more))

    def test_denies_when_it_is_not_time(self) -> None:
        """And says when it will be."""
        policy = self.build()
        verifyObject(IPolicy, policy)
        verifyObject(IStateKeeper, policy)
        decision = self.ask(policy)
        self.assertEqual((effect(decision), decision.valid_until), ("deny", 300.0))
        self.assertIn("next at 2026-06-01 08:00 UTC", decision.text)
        self.clock.advance(8 * HOUR)
        decision = self.ask(policy)
        self.assertEqual((effect(decision), decision.cacheable, decision.scope), ("abstain", True, None))
        topics = self.build(stages=["PUBLISH"])
        self.assertEqual(self.ask(topics, Stage.PUBLISH).scope, EVERY_TOPIC)
        self.clock.advance(10 * HOUR - 10)
        self.assertEqual(self.ask(policy).valid_until, 18 * HOUR)
        self.clock.advance(10)
        self.assertEqual(effect(self.ask(policy)), "deny")

    def test_during_deny_is_for_maintenance(self) -> None:
        """Then nobody gets in at these times, and everyone at others."""
        policy = self.build(during="deny")
        self.assertEqual(effect(self.ask(policy)), "abstain")
        self.clock.advance(8 * HOUR)
        self.assertEqual(effect(self.ask(policy)), "deny")

    def test_ends_what_lives_when_the_time_is_over(self) -> None:
        """At each change connections are judged again; a policy that is asked no more sets no timer any more."""
        policy = self.build()
        self.ask(policy)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for number in (1, 2):
            policy.connection_opened(facts(number))
            policy.connection_authenticated(facts(number))
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [8 * HOUR])
        self.clock.advance(8 * HOUR)
        self.assertEqual(self.environment.rejudged, [None])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(effect(self.ask(policy, purpose=Purpose.RECHECK)), "abstain")
        self.clock.advance(10 * HOUR)
        self.assertEqual(self.environment.rejudged, [None, None])
        self.assertEqual(effect(self.ask(policy, purpose=Purpose.RECHECK)), "deny")
        policy.inherit(policy)
        policy.save()
        policy.save()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.ask(policy, purpose=Purpose.SHADOW)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_timer_without_connections(self) -> None:
        """It is let go with the last of them."""
        policy = self.build()
        for number in (1, 2):
            policy.connection_authenticated(facts(number))
        policy.connection_closed(facts(1))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        policy.connection_closed(facts(2))
        policy.connection_closed(facts(3))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.ask(policy, purpose=Purpose.RECHECK)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_only_some(self) -> None:
        """Whom it is about is said as in rules; of somebody whom nobody has named yet it is not known."""
        policy = self.build(only=["group:contractors", "user:people:bob"])
        for principal, groups, expected in (
            (Principal("people", "alice"), set(), "abstain"),
            (Principal("people", "alice"), {"contractors"}, "deny"),
            (Principal("people", "bob"), set(), "deny"),
            (Principal("devices", "bob"), set(), "abstain"),
            (None, set(), "deny"),
        ):
            connection = facts(principal=principal, groups=frozenset(groups))
            self.assertEqual(effect(self.ask(policy, connection=connection)), expected)
        exchange = {"principal": Principal("people", "bob"), "groups": frozenset()}
        self.assertEqual(effect(self.ask(policy, connection=facts(principal=None), exchange=exchange)), "deny")

    def test_stages(self) -> None:
        """It restricts where it is told to; what was written in time stays written."""
        policy = self.build(stages=["PUBLISH"])
        self.assertEqual(dict(policy.stages), {Stage.PUBLISH: Role.RESTRICTS})
        self.assertEqual(effect(self.ask(policy, Stage.PUBLISH)), "deny")
        self.assertEqual(effect(self.ask(policy, Stage.PUBLISH, purpose=Purpose.RECHECK)), "abstain")
        self.assertEqual(effect(self.ask(policy)), "abstain")

    def test_table_of_problems(self) -> None:
        """Each names the line, the key, and how it is written."""
        for options, text in (
            ({"time_zone": "Europe/Nowhere"}, "broker.toml:10: hours time_zone: 'Europe/Nowhere' is no time zone"),
            ({"hours": ["8-18"]}, "broker.toml:100: hours hours[0]: '8-18' is no time of day"),
            ({"hours": [], "dates": ["2026-13-01"]}, "dates[0]"),
            ({"only": ["bob"]}, "only[0]: 'bob' is nobody"),
            ({"only": ["everyone"]}, "leave `only` out"),
            ({"only": ["user:bob publish"]}, "is nobody"),
            ({"hours": []}, "it names no time"),
        ):
            options = {"time_zone": "UTC", "hours": ["08:00-18:00"], **options}
            found = problems_of(ScheduleFactory().build, ScheduleOptions.model_validate(options), self.environment)
            self.assertIn(text, "\n".join(found))
        for bad in ({}, {"time_zone": 1}, {"days": ["mon"]}, {"stages": ["ACCEPT"]}, {"stages": []}):
            self.assertRaises(
                ValidationError, ScheduleOptions.model_validate, bad if not bad else {"time_zone": "UTC", **bad}
            )
