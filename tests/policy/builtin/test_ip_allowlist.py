"""Tests for mqttsecure.policy.builtin.ip_allowlist."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Role, Stage
from mqttsecure.policy.builtin.ip_allowlist import IpAllowlistFactory, IpAllowlistOptions
from tests.policy.builtin.helpers import NOT_LIVE, effect, facts, problems_of, request
from tests.support.environment import FakeEnvironment


def _build(**options: list[str]) -> object:
    return IpAllowlistFactory().build(IpAllowlistOptions(**options), FakeEnvironment())


class IpAllowlistTests(SynchronousTestCase):
    """Who may connect, by address."""

    def _ask(self, address: str | None, **options: list[str]):
        return _build(**options).decide(request(Stage.ACCEPT, facts(address=address, principal=None)))

    def test_table_of_answers(self) -> None:
        """What is listed is permitted or denied, what is not is not mine: the default deny refuses it."""
        lists = {"permit": ["192.0.2.0/24", "unix"], "deny": ["192.0.2.66"]}
        for address, expected in (
            ("192.0.2.1", "permit"),
            ("::ffff:192.0.2.1", "permit"),
            ("192.0.2.66", "deny"),
            ("::ffff:192.0.2.66", "deny"),
            ("198.51.100.1", "abstain"),
            ("2001:db8::1", "abstain"),
            (None, "permit"),
        ):
            self.assertEqual(effect(self._ask(address, **lists)), expected, address)

    def test_deny_wins_over_a_longer_permit(self) -> None:
        """A denied network stays denied, even where one of its hosts is permitted."""
        self.assertEqual(effect(self._ask("10.1.2.3", permit=["10.1.2.3"], deny=["10.0.0.0/8"])), "deny")

    def test_everywhere_is_said_aloud(self) -> None:
        """One word opens the listener to every IP address, but not to Unix sockets."""
        self.assertEqual(effect(self._ask("203.0.113.9", permit=["everywhere"])), "permit")
        self.assertEqual(effect(self._ask(None, permit=["everywhere"])), "abstain")

    def test_names_rule_and_line(self) -> None:
        """The log says which entry decided and where it stands."""
        decision = self._ask("10.0.0.9", permit=["192.0.2.1", "10.0.0.0/8"])
        self.assertEqual((decision.rule, str(decision.source)), ("permit[1]", "broker.toml:101"))
        self.assertTrue(decision.cacheable)

    def test_reports_each_bad_entry(self) -> None:
        """All mistakes are told at once, each with its place."""
        options = IpAllowlistOptions(permit=["10.0.0.1/8", "unix", "nowhere"], deny=["::g"])
        problems = problems_of(IpAllowlistFactory().build, options, FakeEnvironment("lan"))
        self.assertEqual(len(problems), 3)
        self.assertIn("broker.toml:100: lan permit[0]: '10.0.0.1/8' has bits set", problems[0])
        self.assertIn("permit[2]", problems[1])
        self.assertIn("deny[0]", problems[2])

    def test_refuses_empty_lists(self) -> None:
        """A policy that lists nothing is a mistake, not an open door."""
        problems_of(IpAllowlistFactory().build, IpAllowlistOptions(), FakeEnvironment())

    def test_grants_at_accept_alone(self) -> None:
        """It grants at ACCEPT, whatever the purpose of the question."""
        self.assertEqual(dict(IpAllowlistFactory.stages), {Stage.ACCEPT: Role.GRANTS})
        policy = _build(permit=["127.0.0.1"])
        for purpose in NOT_LIVE:
            self.assertEqual(effect(policy.decide(request(Stage.ACCEPT, purpose=purpose))), "permit")
