"""Tests for mqttsecure.policy.builtin.quota."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Decision, Principal, Stage, Verdict
from mqttsecure.core.usage import Usage
from mqttsecure.interfaces import IConnectionObserver, IPolicy
from mqttsecure.policy.builtin.quota import Quota, QuotaFactory, QuotaOptions, _WaitingMeter
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from mqttsecure.service.usage import BrokerUsage
from mqttsecure.wire.constants import ReasonCode
from tests.policy.builtin.helpers import NOT_LIVE, effect, facts, problems_of, request
from tests.support.core import Bench
from tests.support.environment import FakeEnvironment
from tests.support.policies import bind

ALICE = Principal("login", "alice")


class FakeUsage:
    """What a test says that there is."""

    def __init__(self, usage: Usage = Usage()) -> None:  # noqa: B008 - frozen
        self.usage = usage
        self.sessions: set[str] = set()
        self.subscriptions: set[str] = set()
        self.kept: dict[str, tuple[Principal, int]] = {}
        self.asked = 0

    def of(self, principal: Principal) -> Usage:
        self.asked += 1
        return self.usage

    def has_session(self, principal: Principal, namespace: str, client_id: str) -> bool:
        return client_id in self.sessions

    def has_subscription(self, namespace: str, client_id: str, topic_filter: str) -> bool:
        return topic_filter in self.subscriptions

    def retained(self, namespace: str, topic: str) -> tuple[Principal, int] | None:
        return self.kept.get(topic)


class QuotaTests(SynchronousTestCase):
    """How much one user may have."""

    def setUp(self) -> None:
        self.environment = FakeEnvironment("quota")
        self.usage = self.environment.usage = FakeUsage()

    def build(self, **options: Any) -> Quota:
        return QuotaFactory().build(QuotaOptions.model_validate(options), self.environment)

    def denial(self, decision: Decision) -> str:
        self.assertEqual((effect(decision), decision.reason_code), ("deny", ReasonCode.QUOTA_EXCEEDED))
        return decision.rule

    def test_it_is_asked_where_it_limits(self) -> None:
        """And nowhere else, so that it costs nothing there."""
        policy = self.build(sessions=1)
        verifyObject(IPolicy, policy)
        verifyObject(IConnectionObserver, policy)
        self.assertEqual(list(policy.stages), [Stage.AUTHENTICATE])
        whole = self.build(sessions=1, subscriptions=1, retained_bytes=1, inflight=1)
        self.assertEqual(dict(whole.stages), dict(QuotaFactory.stages))

    def test_sessions(self) -> None:
        """A client comes back to its session; a new one needs room, also while others are about to come."""
        policy = self.build(sessions=2)
        self.usage.usage = Usage(sessions=1)
        self.usage.sessions = {"old"}

        def come(number: int, client_id: str) -> Decision:
            connection = facts(number, client_id=client_id, principal=None)
            return policy.decide(request(Stage.AUTHENTICATE, connection, exchange={"principal": ALICE}))

        self.assertEqual(effect(come(1, "new")), "abstain")
        self.assertEqual(effect(come(1, "new")), "abstain")  # asked again, after a change of policy
        self.assertEqual(self.denial(come(2, "another")), "sessions")
        self.assertEqual(effect(come(3, "old")), "abstain")
        self.assertEqual(self.denial(come(4, "")), "sessions")
        policy.connection_opened(facts(1))
        policy.connection_authenticated(facts(1))
        self.assertEqual(effect(come(5, "next")), "abstain")
        policy.connection_closed(facts(5))
        self.usage.usage = Usage(sessions=2)
        self.assertEqual(self.denial(come(6, "next")), "sessions")

    def test_subscriptions(self) -> None:
        """One to the same filter again is no other one, shared ones included."""
        policy = self.build(subscriptions=2)
        self.usage.usage = Usage(subscriptions=2)
        self.usage.subscriptions = {"a", "$share/g/b"}
        for topic, share, expected in (("a", None, True), ("b", "g", True), ("b", None, False), ("a", "g", False)):
            decision = policy.decide(request(Stage.SUBSCRIBE, topic=topic, share_group=share))
            self.assertEqual(effect(decision), "abstain" if expected else "deny")

    def test_retained(self) -> None:
        """What replaces the user's own counts by the difference; deleting is always possible."""
        policy = self.build(retained_messages=2, retained_bytes=1000)
        self.usage.usage = Usage(retained_messages=2, retained_bytes=500)
        self.usage.kept = {"mine": (ALICE, 300), "theirs": (Principal("login", "bob"), 300)}
        for topic, payload, retain, rule in (
            ("new", b"x", True, "retained_messages"),
            ("new", b"x", False, None),
            ("new", b"", True, None),
            ("mine", b"x", True, None),
            ("mine", b"x" * 597, True, "retained_bytes"),
            ("mine", b"x" * 596, True, None),
            ("theirs", b"x", True, "retained_messages"),
        ):
            decision = policy.decide(request(Stage.PUBLISH, topic=topic, payload=payload, retain=retain))
            self.assertEqual(
                self.denial(decision) if rule else effect(decision), rule or "abstain", (topic, len(payload))
            )
            self.assertEqual(decision.cacheable, not retain)

    def test_waiting_messages(self) -> None:
        """A meter looks at each message of QoS 1 and 2, though the decision is remembered."""
        policy = self.build(queued_bytes=1000, inflight=3)
        decision = policy.decide(request(Stage.DELIVER, topic="t", qos=1))
        (meter,) = decision.meters
        self.assertTrue(decision.cacheable)
        self.assertIs(policy.decide(request(Stage.DELIVER, topic="u", qos=2)).meters[0], meter)
        self.assertEqual(policy.decide(request(Stage.DELIVER, topic="t")).meters, ())
        for usage, octets, rule in (
            (Usage(queued_bytes=900), 100, None),
            (Usage(queued_bytes=900), 101, "queued_bytes"),
            (Usage(inflight=2), 1, None),
            (Usage(inflight=3), 1, "inflight"),
        ):
            self.usage.usage = usage
            found = meter.spend(1, octets, 1e9 + self.usage.asked)
            self.assertEqual(None if found is None else self.denial(found), rule)

    def test_looking_takes_a_twentieth_of_the_time(self) -> None:
        """With many sessions it looks less often, and until then counts what it let pass."""
        moments = iter((0.0, 0.01, 0.0, 0.01))
        options = QuotaOptions(queued_bytes=100)
        denied = Decision.deny("queued_bytes")
        meter = _WaitingMeter(ALICE, options, self.usage, lambda rule, text: denied, lambda: next(moments))
        self.assertIsNone(meter.spend(1, 60, 1.0))
        self.assertIs(meter.spend(1, 60, 1.1), denied)
        self.assertEqual(self.usage.asked, 1)
        self.assertIsNone(meter.spend(1, 60, 1.2))
        self.assertEqual(self.usage.asked, 2)

    def test_only_some(self) -> None:
        """Guests have less than others."""
        policy = self.build(sessions=1, only=["group:guests"])
        self.usage.usage = Usage(sessions=5)
        for groups, expected in ((frozenset(), "abstain"), (frozenset({"guests"}), "deny")):
            asked = request(Stage.AUTHENTICATE, facts(groups=groups, client_id="new"))
            self.assertEqual(effect(policy.decide(asked)), expected)

    def test_only_what_happens_counts(self) -> None:
        """Questions are not counted, and what is there already is not taken away."""
        policy = self.build(sessions=1, subscriptions=1)
        self.usage.usage = Usage(sessions=5, subscriptions=5)
        for purpose in NOT_LIVE:
            for stage in (Stage.AUTHENTICATE, Stage.SUBSCRIBE):
                self.assertEqual(effect(policy.decide(request(stage, topic="t", purpose=purpose))), "abstain")

    def test_nobody_is_a_denial(self) -> None:
        """Before the identity policies it could not tell whose quota it is."""
        decision = self.build(sessions=1).decide(request(Stage.AUTHENTICATE, facts(principal=None)))
        self.assertIn("has to stand behind", decision.text)
        self.assertEqual(effect(decision), "deny")

    def test_table_of_problems(self) -> None:
        """What limits nothing, or names nobody."""
        for options, text in (
            ({}, "it limits nothing; give one of sessions"),
            ({"only": ["user:bob"]}, "it limits nothing"),
            ({"sessions": 1, "only": ["bob"]}, "only[0]"),
        ):
            full = QuotaOptions.model_validate(options)
            self.assertIn(text, "\n".join(problems_of(QuotaFactory().build, full, self.environment)))
        for bad in ({"sessions": 0}, {"subscriptions": -1}, {"inflight": 0}, {"queued_bytes": "1MiB"}):
            self.assertRaises(ValidationError, QuotaOptions.model_validate, bad)


class InTheBrokerTests(SynchronousTestCase):
    """A real core, its real counts, and a chain with a quota."""

    def setUp(self) -> None:
        clock: Any = Clock()
        self.bench = Bench()
        environment = FakeEnvironment("quota")
        environment.usage = BrokerUsage(lambda: self.bench.core.state)
        options = QuotaOptions(sessions=2, subscriptions=2, retained_messages=1, queued_bytes=2000)
        quota = QuotaFactory().build(options, environment)

        def permit(request: Any) -> Decision:
            principal = ALICE if request.stage is Stage.AUTHENTICATE else None
            return Decision.permit(principal=principal, cacheable=True)

        self.door = bind(_Permitting(permit), "door", on=["lab"])
        binding = PolicyBinding("quota", QuotaFactory(), quota, frozenset({"lab"}))
        chain = PolicyChain([self.door, binding], clock=clock, listeners=["lab"])

        def decide(request: Any) -> Any:
            verdict = chain.decide(request)
            assert isinstance(verdict, Verdict)
            return verdict

        self.bench.chain.rules.append(decide)
        self.bench.core.observe_authenticated(chain.connection_authenticated)

    def test_a_user_who_takes_too_much(self) -> None:
        """Is refused a third session, a third subscription, a second retained message, and more than fits the queue."""
        first = self.bench.connected("a", session_expiry_interval=100)
        self.bench.connected("b", session_expiry_interval=100)
        refused = self.bench.client().connect("c")
        self.assertEqual(refused and refused.reason_code, ReasonCode.QUOTA_EXCEEDED)
        writer = self.bench.connected("b", clean=False)
        for topic_filter, code in (("q", 1), ("r", 1), ("s", ReasonCode.QUOTA_EXCEEDED), ("q", 1)):
            self.assertEqual(first.subscribe(topic_filter, qos=1), [code])
        self.assertEqual(self.bench.core.state.retained.count, 0)
        for topic in ("x", "y", "x"):
            first.publish(topic, b"1", qos=1, retain=True)
        self.assertEqual(self.bench.core.state.retained.count, 1)
        self.bench.advance(0.001)
        first.lose()
        for _ in range(5):
            writer.publish("q", b"x" * 700, qos=1)
            self.bench.advance(1)
        queued = self.bench.core.state.sessions.usage(ALICE).queued_bytes
        self.assertTrue(700 < queued <= 2000, queued)


class _Permitting:
    stateful = False

    def __init__(self, decide: Any) -> None:
        self.decide = decide
