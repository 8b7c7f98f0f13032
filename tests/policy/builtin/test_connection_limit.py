"""Tests for mqttsecure.policy.builtin.connection_limit."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import ConnectionFacts, Decision, Purpose, Role, Stage
from mqttsecure.interfaces import IConnectionObserver
from mqttsecure.policy.builtin.connection_limit import ConnectionLimit, ConnectionLimitFactory, ConnectionLimitOptions
from mqttsecure.wire.constants import ReasonCode
from tests.policy.builtin.helpers import effect, facts, problems_of, request
from tests.support.environment import FakeEnvironment


def _build(**options: Any) -> ConnectionLimit:
    return ConnectionLimitFactory().build(ConnectionLimitOptions.model_validate(options), FakeEnvironment())


def _ask(policy: ConnectionLimit, address: str | None = "192.0.2.1", now: float = 0.0, **more: Any) -> Decision:
    return policy.decide(request(Stage.ACCEPT, facts(0, address, principal=None), now=now, **more))


def _open(
    policy: ConnectionLimit, count: int, address: str | None = "192.0.2.1", first: int = 1
) -> list[ConnectionFacts]:
    made = [facts(first + number, address, principal=None) for number in range(count)]
    for connection in made:
        policy.connection_opened(connection)
    return made


class CountTests(SynchronousTestCase):
    """How many connections at a time."""

    def test_table_of_limits(self) -> None:
        """Each limit refuses the next one, by its own name, and never permits."""
        for options, address, rule in (
            ({"per_address": 3}, "192.0.2.1", "per_address"),
            ({"per_prefix": 3}, "192.0.2.99", "per_prefix"),
            ({"unauthenticated": 3}, "192.0.2.1", "unauthenticated"),
            ({"total_unauthenticated": 3}, "203.0.113.1", "total_unauthenticated"),
        ):
            policy = _build(**options)
            _open(policy, 2)
            self.assertEqual(effect(_ask(policy, address)), "abstain", rule)
            _open(policy, 1, first=3)
            decision = _ask(policy, address)
            self.assertEqual((effect(decision), decision.rule), ("deny", rule))
            self.assertEqual(decision.reason_code, ReasonCode.QUOTA_EXCEEDED)

    def test_default_is_a_hundred_with_twenty_strangers(self) -> None:
        """As shipped one address has at most 100 connections, of which 20 not yet authenticated."""
        policy = _build()
        opened = _open(policy, 20)
        self.assertEqual(_ask(policy).rule, "unauthenticated")
        for connection in opened:
            policy.connection_authenticated(connection)
        for connection in _open(policy, 80, first=100):
            policy.connection_authenticated(connection)
        self.assertEqual(_ask(policy).rule, "per_address")

    def test_neighbours_in_a_slash_64_count_together(self) -> None:
        """Whoever has one IPv6 address has a /64, so that is counted."""
        policy = _build(per_prefix=2)
        _open(policy, 1, "2001:db8::1")
        _open(policy, 1, "2001:db8::2", first=2)
        self.assertEqual(_ask(policy, "2001:db8::3").rule, "per_prefix")
        self.assertEqual(effect(_ask(policy, "2001:db8:0:1::3")), "abstain")

    def test_mapped_addresses_are_the_ipv4_ones(self) -> None:
        """A dual-stack socket does not double the limit."""
        policy = _build(per_address=1)
        _open(policy, 1, "::ffff:192.0.2.1")
        self.assertEqual(_ask(policy, "192.0.2.1").rule, "per_address")

    def test_unix_sockets_count_under_one_key(self) -> None:
        """All local clients together meet the limit of one address."""
        policy = _build(per_address=2)
        _open(policy, 2, None)
        self.assertEqual(_ask(policy, None).rule, "per_address")

    def test_gives_back_exactly_what_it_counted(self) -> None:
        """Events that come twice, or for a connection that was never opened, do not change the count."""
        policy = _build(per_address=1)
        (connection,) = _open(policy, 1)
        policy.connection_opened(connection)
        policy.connection_authenticated(connection)
        policy.connection_authenticated(connection)
        policy.connection_closed(connection)
        policy.connection_closed(connection)
        policy.connection_authenticated(connection)
        self.assertEqual(effect(_ask(policy)), "abstain")
        _open(policy, 1, first=9)
        self.assertEqual(effect(_ask(policy)), "deny")

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["open", "auth", "close"]), st.integers(0, 8), st.integers(0, 3)), max_size=60
        )
    )
    def test_counts_nothing_when_all_is_closed(self, events: list[tuple[str, int, int]]) -> None:
        """Whatever the order of events, nothing is left in memory once every connection has ended."""
        policy = _build()
        addresses = ("192.0.2.1", "192.0.2.2", "2001:db8::1", None)
        connections = [facts(number, addresses[number % 4], principal=None) for number in range(9)]
        calls = {
            "open": policy.connection_opened,
            "auth": policy.connection_authenticated,
            "close": policy.connection_closed,
        }
        for event, number, _ in events:
            calls[event](connections[number])
        for connection in connections:
            policy.connection_closed(connection)
        left = (policy._opened, policy._by_address, policy._by_prefix, policy._unauthenticated, policy._strangers)
        self.assertEqual(left, ({}, {}, {}, {}, 0))

    def test_observes_connections(self) -> None:
        """The broker finds that it wants to know of connections."""
        verifyObject(IConnectionObserver, _build())


class RateTests(SynchronousTestCase):
    """How fast they may come."""

    def test_refuses_above_the_burst_until_time_passes(self) -> None:
        """The burst passes, the next is refused with its own Reason Code, and one more passes a moment later."""
        policy = _build(rate="10/second", burst=3)
        self.assertEqual([effect(_ask(policy)) for _ in range(4)], ["abstain"] * 3 + ["deny"])
        refused = _ask(policy)
        self.assertEqual((refused.rule, refused.reason_code), ("rate", ReasonCode.CONNECTION_RATE_EXCEEDED))
        self.assertEqual(effect(_ask(policy, now=0.1)), "abstain")
        self.assertEqual(effect(_ask(policy, "192.0.2.2")), "abstain")

    def test_an_ipv6_host_has_one_rate_for_its_slash_64(self) -> None:
        """Changing the address within the /64 does not help."""
        policy = _build(rate="1/second", burst=2)
        answers = [effect(_ask(policy, f"2001:db8::{number}")) for number in range(1, 4)]
        self.assertEqual(answers, ["abstain", "abstain", "deny"])

    def test_only_live_requests_spend(self) -> None:
        """Asking for an explanation costs nothing, and tells the truth about what would happen."""
        policy = _build(rate="1/second", burst=1)
        for purpose in (Purpose.EXPLAIN, Purpose.SHADOW, Purpose.TEST):
            for _ in range(3):
                self.assertEqual(effect(_ask(policy, purpose=purpose)), "abstain")
        _ask(policy)
        self.assertEqual(effect(_ask(policy, purpose=Purpose.EXPLAIN)), "deny")

    def test_a_recheck_never_ends_a_counted_connection(self) -> None:
        """Connections that are open stay open when the limit is reached and policies are asked again."""
        policy = _build(per_address=1)
        _open(policy, 1)
        self.assertEqual(effect(_ask(policy, purpose=Purpose.RECHECK)), "abstain")


class OverrideTests(SynchronousTestCase):
    """Other limits for known prefixes."""

    def test_the_longest_prefix_wins_and_keeps_the_rest(self) -> None:
        """A NAT has its own numbers, and the policy's where none are given."""
        policy = _build(
            per_address=1,
            unauthenticated=2,
            overrides=[
                {"prefix": "10.0.0.0/8", "per_address": 2},
                {"prefix": "10.1.0.0/16", "per_address": 3, "unauthenticated": 9, "rate": "1/second", "burst": 1},
            ],
        )
        _open(policy, 2, "10.0.0.1")
        decision = _ask(policy, "10.0.0.1")
        self.assertEqual((decision.rule, str(decision.source)), ("overrides[0].per_address", "broker.toml:100"))
        _open(policy, 2, "10.1.0.1", first=10)
        self.assertEqual(effect(_ask(policy, "10.1.0.1")), "abstain")
        self.assertEqual(_ask(policy, "10.1.0.1").rule, "overrides[1].rate")

    def test_reports_each_bad_option(self) -> None:
        """All mistakes are told at once, each with its place."""
        options = ConnectionLimitOptions.model_validate(
            {"rate": "fast", "overrides": [{"prefix": "unix"}, {"prefix": "10.0.0.1/8", "rate": "0/second"}]}
        )
        problems = problems_of(ConnectionLimitFactory().build, options, FakeEnvironment())
        self.assertEqual(len(problems), 3)
        self.assertIn("rate: 'fast' is no rate", problems[0])
        self.assertIn("overrides[1]: '10.0.0.1/8' has bits", problems[1])
        self.assertIn("lets nothing through", problems[2])

    def test_same_prefix_twice(self) -> None:
        """Of two limits for one prefix, in whatever spelling, one is a mistake, and it is not for us to say which."""
        for other in ("10.0.0.0/8", "::ffff:10.0.0.0/104"):
            options = ConnectionLimitOptions.model_validate(
                {"overrides": [{"prefix": "10.0.0.0/8"}, {"prefix": other}]}
            )
            problems = problems_of(ConnectionLimitFactory().build, options, FakeEnvironment())
            self.assertEqual(len(problems), 1)
            self.assertIn(f"overrides[1]: {other!r} is the same prefix as '10.0.0.0/8'", problems[0])

    def test_restricts_at_accept_alone(self) -> None:
        """It can never let anyone in."""
        self.assertEqual(dict(ConnectionLimitFactory.stages), {Stage.ACCEPT: Role.RESTRICTS})
