"""Tests of the fold at AUTHENTICATE: who somebody is."""

from __future__ import annotations

from typing import Any

from mqttsecure.core.decisions import (
    Decision,
    Effect,
    Evidence,
    Principal,
    Purpose,
    Request,
    Stage,
)
from mqttsecure.policy.chain import PolicyBinding
from tests.policy.fold_case import ABSTAIN, DENY, PERMIT, FoldTestCase
from tests.support.policies import (
    ALICE,
    ScriptedPolicy,
    StaticPolicy,
    bind,
    make_facts,
    make_request,
    restricting,
)

BOB = Principal("users", "bob")


class AuthenticateTests(FoldTestCase):
    """Who somebody is."""

    def request(self, **more: Any) -> Request:
        return make_request(Stage.AUTHENTICATE, **more)

    def permit(self, principal: Principal | None = ALICE, **more: Any) -> Decision:
        return Decision.permit(principal=principal, **more)

    def test_principal_groups_and_evidence(self) -> None:
        """Certificate and password of the same user: groups are united, both credentials can be checked again."""
        verdict = self.verdict(
            bind(self.permit(groups=frozenset({"a"}), fingerprint="f1", valid_until=9.0), "cert"),
            bind(self.permit(groups=frozenset({"b"}), fingerprint="f2"), "password"),
            request=self.request(),
        )
        self.assertEqual((verdict.principal, verdict.groups), (ALICE, frozenset({"a", "b"})))
        self.assertEqual(verdict.evidence, (Evidence("cert", "f1", 9.0), Evidence("password", "f2")))

    def test_denial_names_nobody(self) -> None:
        """A refused client has no principal, whatever one policy thought."""
        verdict = self.verdict(bind(self.permit(), "a"), bind(DENY, "b"), request=self.request())
        self.assertEqual((verdict.principal, verdict.groups, verdict.evidence), (None, frozenset(), ()))

    def test_two_principals_are_a_denial(self) -> None:
        """A client cannot be alice by certificate and bob by password."""
        verdict = self.verdict(bind(self.permit(), "a"), bind(self.permit(BOB), "b"), request=self.request())
        self.assertEqual((verdict.effect, verdict.policy, verdict.indeterminate), (Effect.DENY, "b", False))
        self.assertIn("[[alias]]", verdict.text)

    def test_aliases_make_one_of_two(self) -> None:
        """The configuration can say that a device certificate is alice's; a lone principal is mapped too."""
        device = Principal("devices", "phone")
        aliases = {"devices:phone": "users:alice"}
        for answers in ([device], [device, ALICE], [ALICE, device]):
            bindings = [bind(self.permit(each), f"p{number}") for number, each in enumerate(answers)]
            verdict = self.verdict(*bindings, request=self.request(), aliases=aliases)
            self.assertEqual((verdict.permitted, verdict.principal), (True, ALICE))

    def test_bad_principals(self) -> None:
        """A PERMIT that does not properly say who it is for is a fault."""
        bad: list[Any] = [None, "alice", Principal("", "x"), Principal("x", ""), Principal("a:b", "c")]
        for principal in [*bad, Principal("broker", "broker"), Principal("users", 7)]:
            verdict = self.verdict(bind(self.permit(principal), "bad"), request=self.request())
            self.assert_indeterminate(verdict, "bad", "")
        for more in ({"groups": ["a"]}, {"groups": frozenset({1})}, {"fingerprint": b"x"}, {"authentication_data": ""}):
            verdict = self.verdict(bind(self.permit(**more), "bad"), request=self.request())
            self.assert_indeterminate(verdict, "bad", "must be")

    def test_later_policy_sees_the_principal(self) -> None:
        """A client-id policy below the login binds the Client Identifier to who logged in, not to who was claimed."""
        seen: list[Any] = []

        def decide(request: Request) -> Decision:
            seen.append((request.exchange.get("principal"), request.exchange.get("groups")))
            return ABSTAIN

        policy = bind(ScriptedPolicy(function=decide), "client-id", stages=restricting(Stage.AUTHENTICATE))
        request = self.request(exchange={"principal": BOB, "groups": frozenset({"stale"})})
        self.verdict(policy, bind(self.permit(groups=frozenset({"g"})), "login"), bind(*_twin(policy)), request=request)
        self.assertEqual(seen, [(None, None), (ALICE, frozenset({"g"}))])

    def test_method_must_be_carried_out(self) -> None:
        """A client that asks for SCRAM is not let in by its certificate alone, but told 0x8C."""
        request = self.request(authentication_method="SCRAM-SHA-256")
        verdict = self.verdict(bind(self.permit(), "cert"), request=request)
        self.assertEqual((verdict.effect, verdict.reason_code), (Effect.DENY, 0x8C))
        self.assertIsNone(verdict.principal)
        done = self.permit(authentication_method="SCRAM-SHA-256", authentication_data=b"v=")
        verdict = self.verdict(bind(done, "scram"), request=request)
        self.assertEqual((verdict.permitted, verdict.authentication_data), (True, b"v="))
        self.assertEqual(verdict.authentication_method, "SCRAM-SHA-256")

    def test_challenge_ends_the_fold(self) -> None:
        """The next step of an exchange goes to the client before anything below is asked."""
        below = StaticPolicy(PERMIT)
        verdict = self.verdict(
            bind(Decision.challenge(b"r="), "scram"),
            bind(below, "below"),
            request=self.request(authentication_method="SCRAM-SHA-256"),
        )
        self.assertEqual((verdict.effect, verdict.reason_code), (Effect.CHALLENGE, 0x18))
        self.assertEqual((verdict.authentication_method, verdict.authentication_data), ("SCRAM-SHA-256", b"r="))
        self.assertEqual((below.requests, verdict.principal), ([], None))

    def test_challenges_that_make_no_sense(self) -> None:
        """No method asked for, another method, no data, or a policy that only restricts: a fault."""
        scram = self.request(authentication_method="SCRAM-SHA-256")
        cases = [
            (bind(Decision.challenge(b""), "c"), self.request()),
            (bind(Decision.challenge(b"", authentication_method="PLAIN"), "c"), scram),
            (bind(Decision(Effect.CHALLENGE), "c"), scram),
            (bind(Decision.challenge(b""), "c", stages=restricting(Stage.AUTHENTICATE)), scram),
        ]
        for binding, request in cases:
            self.assert_indeterminate(self.verdict(binding, request=request), "c", "CHALLENGE")

    def test_permits_are_carried_through_an_exchange(self) -> None:
        """A password shown in CONNECT still counts when AUTH ends the exchange, and must be the same user's."""
        for who, permitted in ((ALICE, True), (BOB, False)):
            password = ScriptedPolicy(self.permit(), ABSTAIN)
            scram = ScriptedPolicy(Decision.challenge(b"1"), self.permit(who, authentication_method="SCRAM"))
            chain = self.chain(
                bind(password, "password", required=frozenset({Stage.AUTHENTICATE})), bind(scram, "scram")
            )
            exchange: dict[str, Any] = {}
            chain.decide(self.request(authentication_method="SCRAM", exchange=exchange))
            last = chain.decide(self.request(authentication_method="SCRAM", exchange=exchange))
            self.assertEqual(last.permitted, permitted)
            self.assertEqual(len(password.requests), 1)

    def test_permits_of_another_policy_version_are_not_carried(self) -> None:
        """A reload in the middle of an exchange starts it anew."""
        bindings = [bind(ScriptedPolicy(self.permit(), ABSTAIN), "password", required=frozenset({Stage.AUTHENTICATE}))]
        bindings.append(bind(Decision.challenge(b"1"), "scram"))
        exchange: dict[str, Any] = {}
        self.verdict(*bindings, request=self.request(authentication_method="SCRAM", exchange=exchange))
        request = self.request(authentication_method="SCRAM", exchange=exchange)
        self.assertEqual(self.verdict(*bindings, request=request, version=2).policy, "password")

    def test_recheck_hands_each_policy_its_evidence(self) -> None:
        """Whether a login still holds is asked of the policy that accepted it, without the password."""
        seen: dict[str, Any] = {}

        def remember(name: str) -> ScriptedPolicy:
            def decide(request: Request) -> Decision:
                seen[name] = request.evidence
                return self.permit(None) if request.evidence else ABSTAIN

            return ScriptedPolicy(function=decide)

        evidence = Evidence("login", "f")
        facts = make_facts(principal=ALICE, evidence=(evidence,))
        request = self.request(connection=facts, purpose=Purpose.RECHECK)
        verdict = self.verdict(bind(remember("cert"), "cert"), bind(remember("login"), "login"), request=request)
        self.assertEqual(seen, {"cert": None, "login": evidence})
        self.assertEqual((verdict.permitted, verdict.principal), (True, ALICE))

    def test_recheck_that_finds_the_credential_gone(self) -> None:
        """A removed password is not made good by a certificate that is still there."""
        facts = make_facts(principal=ALICE, evidence=(Evidence("login", "f"), Evidence("cert", "g")))
        request = self.request(connection=facts, purpose=Purpose.RECHECK)
        verdict = self.verdict(bind(self.permit(), "cert"), bind(ABSTAIN, "login"), request=request)
        self.assertEqual((verdict.effect, verdict.policy), (Effect.DENY, "login"))

    def test_recheck_of_another_principal(self) -> None:
        """A credential that now belongs to somebody else no longer vouches for this client."""
        facts = make_facts(principal=ALICE, evidence=(Evidence("login", "f"),))
        request = self.request(connection=facts, purpose=Purpose.RECHECK)
        self.assertFalse(self.verdict(bind(self.permit(BOB), "login"), request=request).permitted)


def _twin(binding: PolicyBinding) -> tuple[Any, str]:
    """The policy of a binding, to be bound once more."""
    return binding.policy, "twin"
