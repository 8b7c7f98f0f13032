"""Tests for mqttsecure.policy.builtin.rate_limit."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Disconnect, Principal, Role, Stage, Throttle
from mqttsecure.policy.builtin.rate_limit import RateLimit, RateLimitFactory, RateLimitOptions
from mqttsecure.wire.constants import ReasonCode
from tests.policy.builtin.helpers import NOT_LIVE, effect, facts, problems_of, request
from tests.support.environment import FakeEnvironment


def _build(**options: Any) -> RateLimit:
    options.setdefault("messages", "10/second")
    return RateLimitFactory().build(RateLimitOptions.model_validate(options), FakeEnvironment("rate"))


def _ask(policy: RateLimit, stage: Stage = Stage.PUBLISH, topic: str = "a/b/c", **more: Any) -> Decision:
    return policy.decide(request(stage, more.pop("connection", None), topic=topic, **more))


def _spend(decision: Decision, messages: int = 1, octets: int = 10, now: float = 0.0) -> list[Decision]:
    answers = [meter.spend(messages, octets, now) for meter in decision.meters]
    return [answer for answer in answers if answer is not None]


class RateLimitTests(SynchronousTestCase):
    """How much in a time."""

    def test_abstains_with_a_meter_that_may_be_cached(self) -> None:
        """It never permits; the broker keeps the answer and spends the meter."""
        decision = _ask(_build())
        self.assertEqual((effect(decision), decision.cacheable, len(decision.meters)), ("abstain", True, 1))
        self.assertEqual(len(_ask(_build(bytes="1MiB/second")).meters), 2)
        self.assertEqual(dict(RateLimitFactory.stages), {Stage.PUBLISH: Role.RESTRICTS, Stage.DELIVER: Role.RESTRICTS})

    def test_table_of_actions(self) -> None:
        """Above the rate: rest, refusal, or the end of the connection."""
        for action, stage, expected, code, obligation in (
            ("throttle", Stage.PUBLISH, "abstain", None, Throttle),
            ("deny", Stage.PUBLISH, "deny", ReasonCode.QUOTA_EXCEEDED, None),
            ("disconnect", Stage.PUBLISH, "deny", ReasonCode.MESSAGE_RATE_TOO_HIGH, Disconnect),
            ("throttle", Stage.DELIVER, "deny", ReasonCode.QUOTA_EXCEEDED, None),
            ("deny", Stage.DELIVER, "deny", ReasonCode.QUOTA_EXCEEDED, None),
            ("disconnect", Stage.DELIVER, "deny", ReasonCode.MESSAGE_RATE_TOO_HIGH, Disconnect),
        ):
            decision = _ask(_build(action=action, direction="both"), stage)
            batchable = action == "throttle" and stage is Stage.PUBLISH
            self.assertEqual(decision.meters[0].batchable, batchable)
            for _ in range(10):
                self.assertEqual(_spend(decision), [])
            (answer,) = _spend(decision)
            self.assertEqual((effect(answer), answer.reason_code), (expected, code), (action, stage))
            self.assertEqual([type(each) for each in answer.obligations], [obligation] if obligation else [])

    def test_limits_bytes(self) -> None:
        """A byte limit does not care for the number of messages."""
        decision = _ask(_build(messages=None, bytes="1kB/second", action="deny"))
        self.assertEqual(_spend(decision, octets=900), [])
        self.assertEqual(effect(_spend(decision, octets=200)[0]), "deny")
        self.assertEqual(_spend(decision, octets=200, now=0.2), [])

    def test_burst_is_so_many_times_the_amount(self) -> None:
        """Ten a minute lets ten come at once, and with burst 2 twenty."""
        for burst, expected in ((1.0, 10), (2.0, 20), (0.01, 1)):
            decision = _ask(_build(messages="10/minute", burst=burst, action="deny"))
            passed = sum(not _spend(decision) for _ in range(30))
            self.assertEqual(passed, expected)

    def _same(self, per: str, first: dict[str, Any], second: dict[str, Any], **options: Any) -> bool:
        policy = _build(per=per, **options)
        return _ask(policy, **first).meters[0] is _ask(policy, **second).meters[0]

    def test_table_of_what_counts_together(self) -> None:
        """Clients count apart, users together, prefixes across all clients; nobody escapes by reconnecting."""
        phone, laptop = facts(1, client_id="phone"), facts(2, client_id="laptop")
        again = facts(3, client_id="phone")
        bob = facts(4, client_id="phone", principal=Principal("login", "bob"))
        one, other = (facts(n, client_id="x", principal=Principal("anonymous", str(n), shared=False)) for n in (5, 6))
        for per, first, second, expected in (
            ("client", phone, laptop, False),
            ("client", phone, again, True),
            ("client", phone, bob, False),
            ("user", phone, laptop, True),
            ("user", phone, bob, False),
            ("user", one, other, False),
            ("client", one, other, False),
            ("topic-prefix", phone, bob, True),
        ):
            self.assertIs(
                self._same(per, {"connection": first}, {"connection": second}), expected, (per, first, second)
            )

    def test_prefixes_are_whole_levels(self) -> None:
        """A prefix has as many levels as I say."""
        for levels, second, expected in (
            (1, "a/x", True),
            (1, "b/b/c", False),
            (2, "a/b/x", True),
            (2, "a/x/c", False),
        ):
            self.assertIs(self._same("topic-prefix", {}, {"topic": second}, prefix_levels=levels), expected)

    def test_directions_count_apart(self) -> None:
        """What a client publishes is not taken from what it may receive."""
        policy = _build(direction="both")
        self.assertIsNot(_ask(policy).meters[0], _ask(policy, Stage.DELIVER).meters[0])
        self.assertEqual(_ask(_build(), Stage.DELIVER).meters, ())
        self.assertEqual(_ask(_build(direction="deliver")).meters, ())

    def test_only_live_requests_have_meters(self) -> None:
        """Explaining or rechecking makes no buckets and spends nothing."""
        policy = _build()
        for purpose in NOT_LIVE:
            self.assertEqual(_ask(policy, purpose=purpose).meters, ())
        self.assertEqual(len(policy._sides[Stage.PUBLISH].tables[0]), 0)

    def test_reports_each_bad_option(self) -> None:
        """All mistakes are told at once, and a limit of nothing is one."""
        options = RateLimitOptions(messages="10 per second", bytes="1XB/second")
        problems = problems_of(RateLimitFactory().build, options, FakeEnvironment("rate"))
        self.assertEqual([problem.split(": ")[1] for problem in problems], ["rate messages", "rate bytes"])
        self.assertIn("limits nothing", problems_of(RateLimitFactory().build, RateLimitOptions(), FakeEnvironment())[0])
