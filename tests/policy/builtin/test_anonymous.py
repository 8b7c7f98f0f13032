"""Tests for mqttsecure.policy.builtin.anonymous."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Evidence, Principal, Purpose, Role, Stage, TlsFacts
from mqttsecure.policy.builtin.anonymous import Anonymous, AnonymousFactory, AnonymousOptions
from tests.policy.builtin.helpers import effect, facts, problems_of, request
from tests.support.environment import FakeEnvironment


def _build(**options: Any) -> Anonymous:
    return AnonymousFactory().build(AnonymousOptions(**options), FakeEnvironment("open"))


class AnonymousTests(SynchronousTestCase):
    """Clients without credentials."""

    def _ask(
        self, policy: Anonymous, address: str | None = "127.0.0.1", connection_id: int = 1, **more: Any
    ) -> Decision:
        about = {key: more.pop(key) for key in ("username", "tls") if key in more}
        connection = facts(connection_id, address, principal=None, **about)
        return policy.decide(request(Stage.AUTHENTICATE, connection, **more))

    def test_table_of_answers(self) -> None:
        """Only who shows nothing at all, from a listed address, is let in."""
        certificate = TlsFacts("TLSv1.3", "x", peer_certificate=b"der")
        for about, expected in (
            ({}, "permit"),
            ({"address": "::1"}, "permit"),
            ({"address": "::ffff:127.0.0.1"}, "permit"),
            ({"address": "192.0.2.1"}, "abstain"),
            ({"address": None}, "abstain"),
            ({"username": "alice"}, "abstain"),
            ({"username": ""}, "abstain"),
            ({"username": "alice", "password": b"x"}, "abstain"),
            ({"password": b""}, "abstain"),
            ({"authentication_method": "SCRAM-SHA-256"}, "abstain"),
            ({"tls": certificate}, "abstain"),
            ({"tls": TlsFacts("TLSv1.3", "x")}, "permit"),
        ):
            self.assertEqual(effect(self._ask(_build(), **about)), expected, about)

    def test_ignores_a_lone_user_name_if_told_so(self) -> None:
        """A user name without a password can be made to mean nothing; with a password it is a credential."""
        policy = _build(ignore_username=True)
        self.assertEqual(effect(self._ask(policy, username="alice")), "permit")
        self.assertEqual(effect(self._ask(policy, username="alice", password=b"x")), "abstain")

    def test_ignores_a_password_if_told_so(self) -> None:
        """For test beds a password can be made to mean nothing; a certificate stays a credential."""
        policy = _build(ignore_password=True)
        self.assertEqual(effect(self._ask(policy, username="alice", password=b"x")), "permit")
        self.assertEqual(effect(self._ask(policy, password=b"x")), "permit")
        certificate = TlsFacts("TLSv1.3", "x", peer_certificate=b"x")
        self.assertEqual(effect(self._ask(policy, password=b"x", tls=certificate)), "abstain")

    def test_no_two_are_the_same(self) -> None:
        """Two anonymous clients are never one principal, so neither takes the other's session."""
        policy = _build()
        first, second = self._ask(policy, connection_id=1).principal, self._ask(policy, connection_id=2).principal
        assert first is not None and second is not None
        self.assertNotEqual(first, second)
        self.assertFalse(first.is_same_as(second) or first.is_same_as(first))

    def test_as_user_is_one_shared_principal(self) -> None:
        """Where the config says so they are all one user, in its groups."""
        decision = self._ask(_build(as_user="guest", groups=["visitors"]))
        self.assertEqual(decision.principal, Principal("anonymous", "guest"))
        self.assertEqual(decision.groups, {"visitors"})

    def test_recheck_confirms_only_its_own(self) -> None:
        """A client that came in by another policy is not anonymous because its password is not at hand any more."""
        policy = _build()
        for evidence, expected in ((None, "abstain"), (Evidence("login"), "abstain"), (Evidence("open"), "permit")):
            answer = self._ask(policy, purpose=Purpose.RECHECK, evidence=evidence)
            self.assertEqual(effect(answer), expected)

    def test_warns_at_start(self) -> None:
        """The start says aloud on which listeners and from where strangers are let in."""
        (warning,) = _build(addresses=["everywhere"], as_user="guest").warnings
        for word in ("lab", "everywhere", "anonymous:guest"):
            self.assertIn(word, warning)

    def test_reports_each_bad_option(self) -> None:
        """All mistakes are told at once, each with its place."""
        options = AnonymousOptions(addresses=["10.0.0.1/8"], as_user="a\nb", groups=["ok", ""])
        problems = problems_of(AnonymousFactory().build, options, FakeEnvironment())
        keys = [problem.split(": ")[1].split()[-1] for problem in problems]
        self.assertEqual(keys, ["addresses[0]", "as_user", "groups[1]"])
        problems_of(AnonymousFactory().build, AnonymousOptions(addresses=[]), FakeEnvironment())

    def test_grants_at_authenticate_alone(self) -> None:
        """It grants an identity and no rights."""
        self.assertEqual(dict(AnonymousFactory.stages), {Stage.AUTHENTICATE: Role.GRANTS})
