# -*- test-case-name: tests.policy.test_trace -*-
"""The chain explains itself: the same answer, with who said what."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mqttsecure.core.decisions import Decision, Effect, Principal, Purpose, Request, Role, Source, Stage
from mqttsecure.interfaces import IIdentities, IPolicy
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.trace import Explanation, Outcome, Status
from tests.support.policies import (
    ALICE,
    HangingPolicy,
    RaisingPolicy,
    StaticPolicy,
    bind,
    chain_of,
    make_facts,
    make_request,
    restricting,
)

EFFECTS = {"permit": Decision.permit("p"), "deny": Decision.deny("d"), "abstain": Decision.abstain("a")}


class Known(StaticPolicy):
    """Says that its answer depends on the request alone."""

    stateful = False


def explained(chain: PolicyChain, request: Request | None = None) -> Explanation:
    found = chain.explain(request or make_request())
    assert isinstance(found, Explanation)
    return found


class ExplainTests(SynchronousTestCase):
    """Someone asks the running chain why."""

    def setUp(self) -> None:
        self.clock = Clock()

    def test_every_policy_in_order(self) -> None:
        """Each answer, who decided, and who was not asked, with the reason."""
        chain = chain_of(
            self.clock,
            bind(Decision.abstain("nothing", "not mine"), "first", source=Source("b.toml", 3)),
            bind(Decision.deny("ban", "banned", source=Source("b.toml", 9)), "second"),
            bind(Decision.permit(), "third"),
        )
        found = explained(chain)
        self.assertEqual([each.policy for each in found.answers], ["first", "second", "third"])
        self.assertEqual([each.effect for each in found.answers], ["abstain", "deny", "not asked"])
        self.assertEqual((found.decider, found.outcome), ("second", Outcome.DENY))
        self.assertEqual(found.answers[0].source, Source("b.toml", 3))
        self.assertEqual(found.answers[1].source, Source("b.toml", 9))
        self.assertIn("second ended the stage", found.answers[2].note)
        self.assertEqual(found.verdict.text, "banned")

    def test_nothing_is_counted_and_no_fact_is_changed(self) -> None:
        """A question leaves no trace in the broker."""
        policy = StaticPolicy(Decision.permit(attributes={"tenant": "acme"}))
        chain = chain_of(self.clock, bind(policy, attributes={"tenant": str}))
        facts = make_facts()
        found = explained(chain, make_request(connection=facts))
        self.assertEqual(facts.attributes, {})
        self.assertEqual(found.request.connection.attributes, {"tenant": "acme"})
        self.assertIs(policy.requests[0].purpose, Purpose.EXPLAIN)
        self.assertEqual((chain.counters.decisions, chain.counters.policies["policy"].decisions), (0, 0))

    def test_later_answers(self) -> None:
        """A policy that asks elsewhere is waited for; whoever loses interest says so."""
        policy = HangingPolicy()
        chain = chain_of(self.clock, bind(policy))
        waiting = chain.explain(make_request())
        assert isinstance(waiting, Deferred)
        policy.deferreds[0].callback(Decision.permit("later"))
        self.assertIs(self.successResultOf(waiting).outcome, Outcome.PERMIT)
        given_up = chain.explain(make_request())
        assert isinstance(given_up, Deferred)
        given_up.addErrback(lambda _: None)
        given_up.cancel()
        self.assertEqual(policy.cancelled, 1)

    def test_unknown_listener(self) -> None:
        """A denial without any policy."""
        for method in ("explain", "explain_offline"):
            found = getattr(chain_of(self.clock), method)(make_request(connection=make_facts(listener="ghost")))
            self.assertEqual((found.outcome, found.answers), (Outcome.DENY, ()))

    def test_fault_is_shown(self) -> None:
        """A policy that fails is seen to."""
        found = explained(chain_of(self.clock, bind(RaisingPolicy(ValueError("boom")))))
        self.assertIn("boom", found.answers[0].note)
        self.assertTrue(found.verdict.indeterminate)
        self.flushLoggedErrors(ValueError)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(sorted(EFFECTS)), st.booleans(), st.booleans()), max_size=5))
    def test_same_verdict_as_decide(self, answers: list[tuple[str, bool, bool]]) -> None:
        """What is explained is what happens."""
        bindings = [
            bind(
                EFFECTS[effect],
                f"p{number}",
                final=frozenset({Stage.PUBLISH} if final else ()),
                required=frozenset({Stage.PUBLISH} if required else ()),
            )
            for number, (effect, final, required) in enumerate(answers)
        ]
        chain = chain_of(Clock(), *bindings)
        verdict: Any = chain.decide(make_request())
        found = explained(chain)
        self.assertEqual(
            (found.verdict.effect, found.decider, found.verdict.rule), (verdict.effect, verdict.policy, verdict.rule)
        )


class OfflineTests(SynchronousTestCase):
    """Someone asks without a running broker."""

    def setUp(self) -> None:
        self.clock = Clock()

    def explain(self, *bindings: Any, request: Request | None = None, **more: Any) -> Explanation:
        return chain_of(self.clock, *bindings).explain_offline(request or make_request(), **more)

    def test_counting_policy_is_not_asked(self) -> None:
        """What it would say is not known, and what is permitted depends on it."""
        limit = StaticPolicy(Decision.deny())
        found = self.explain(bind(limit, "limit", stages=restricting()), bind(Known(Decision.permit()), "acl"))
        self.assertEqual((found.outcome, found.conditions), (Outcome.PROVIDED, ("limit",)))
        self.assertEqual(limit.requests, [])
        self.assertEqual([each.effect for each in found.answers], ["unknown", "permit"])

    def test_denial_that_nothing_can_turn(self) -> None:
        """No counter matters where a rule denies."""
        found = self.explain(bind(StaticPolicy(None), "limit"), bind(Known(Decision.deny("d")), "acl"))
        self.assertEqual((found.outcome, found.decider, found.conditions), (Outcome.DENY, "acl", ()))

    def test_what_may_permit(self) -> None:
        """A granting policy that cannot be asked may be the one that permits."""
        found = self.explain(bind(StaticPolicy(None), "token"), bind(Known(Decision.abstain()), "acl"))
        self.assertEqual((found.outcome, found.conditions), (Outcome.PROVIDED, ("token",)))
        found = self.explain(bind(StaticPolicy(None), "token", stages=restricting()), bind(Known(Decision.abstain())))
        self.assertIs(found.outcome, Outcome.DENY)

    def test_late_answer(self) -> None:
        """A policy that says it is stateless and yet answers later cannot be waited for."""
        policy = HangingPolicy()
        policy.stateful = False  # type: ignore[attr-defined]  # optional, see IPolicy
        found = self.explain(bind(policy, "late"), bind(Known(Decision.permit()), "acl"))
        self.assertEqual((found.outcome, found.conditions, policy.cancelled), (Outcome.PROVIDED, ("late",), 1))

    def test_attributes_of_what_is_not_asked(self) -> None:
        """A denial for want of an attribute that only the running broker knows is not certain."""
        sets = bind(StaticPolicy(None), "geo", stages=restricting(), attributes={"country": str})
        found = self.explain(sets, bind(Known(Decision.deny()), "acl"))
        self.assertEqual((found.outcome, found.conditions), (Outcome.PROVIDED, ("geo",)))

    def test_assumed_answers(self) -> None:
        """What is taken as given is marked so."""
        found = self.explain(bind(Known(Decision.deny()), "acl"), assumed={"acl": Decision.permit("given")})
        self.assertEqual((found.outcome, found.answers[0].status), (Outcome.PERMIT, Status.ASSUMED))

    def authenticate(self, *bindings: Any, **more: Any) -> Explanation:
        return self.explain(*bindings, request=make_request(Stage.AUTHENTICATE), **more)

    def test_who_depends_on_what_is_not_asked(self) -> None:
        """Nobody can say who the client is then."""
        found = self.authenticate(bind(StaticPolicy(None), "token"))
        self.assertEqual((found.outcome, found.open_identity), (Outcome.PROVIDED, True))
        behind = bind(Known(Decision.deny()), "ids", stages=restricting())
        found = self.authenticate(bind(StaticPolicy(None), "token"), behind)
        self.assertEqual((found.outcome, found.open_identity), (Outcome.PROVIDED, True))

    def test_known_principal_beside_what_is_not_asked(self) -> None:
        """Another method may confirm the principal that is known."""
        password = bind(Known(Decision.permit(principal=ALICE)), "password")
        token = bind(StaticPolicy(None), "token", required=frozenset({Stage.AUTHENTICATE}))
        found = self.authenticate(password, token)
        self.assertEqual((found.outcome, found.open_identity), (Outcome.PROVIDED, False))
        self.assertEqual(found.verdict.principal, ALICE)

    def test_secret_that_is_taken_to_be_right(self) -> None:
        """Who can say what follows from a right password does; who cannot is not asked."""

        @implementer(IPolicy, IIdentities)
        class Login(Known):
            def identities(self) -> list[Any]:
                return []

            def decide_assuming(self, request: Request) -> Decision:
                return Decision.permit("assumed", principal=ALICE)

        found = self.authenticate(bind(Login(Decision.deny()), "login"), secret_assumed=True)
        self.assertEqual((found.outcome, found.verdict.principal), (Outcome.PERMIT, ALICE))
        found = self.authenticate(bind(Known(Decision.deny("wrong")), "other"), secret_assumed=True)
        self.assertEqual((found.outcome, found.conditions), (Outcome.PROVIDED, ("other",)))

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(sorted(EFFECTS)), st.booleans(), st.booleans(), st.booleans(), st.booleans()),
            min_size=1,
            max_size=4,
        )
    )
    def test_outcome_is_true_of_every_broker(self, policies: list[tuple[str, bool, bool, bool, bool]]) -> None:
        """DENY and PERMIT hold whatever the unknown policies say; PROVIDED is both possible."""

        def chain(answers: dict[int, str]) -> PolicyChain:
            made = []
            for number, (effect, unknown, grants, final, required) in enumerate(policies):
                made.append(
                    bind(
                        (StaticPolicy if unknown else Known)(_answer(answers.get(number, effect), grants)),
                        f"p{number}",
                        stages={Stage.PUBLISH: Role.GRANTS if grants else Role.RESTRICTS},
                        final=frozenset({Stage.PUBLISH} if final and grants else ()),
                        required=frozenset({Stage.PUBLISH} if required else ()),
                    )
                )
            return chain_of(Clock(), *made)

        unknown = [number for number, each in enumerate(policies) if each[1]]
        outcome = chain({}).explain_offline(make_request()).outcome
        seen = set()
        for effects in itertools.product(EFFECTS, repeat=len(unknown)):
            verdict: Any = chain(dict(zip(unknown, effects, strict=True))).decide(make_request(purpose=Purpose.TEST))
            seen.add(verdict.effect)
        expected = {
            frozenset({Effect.PERMIT}): Outcome.PERMIT,
            frozenset({Effect.DENY}): Outcome.DENY,
            frozenset({Effect.PERMIT, Effect.DENY}): Outcome.PROVIDED,
        }
        self.assertIs(outcome, expected[frozenset(seen)])


def _answer(effect: str, grants: bool) -> Decision:
    """The decision; a policy that restricts does not permit."""
    return EFFECTS["abstain" if effect == "permit" and not grants else effect]


class AdviseTests(SynchronousTestCase):
    """Who can say what is missing is asked."""

    def test_only_who_can_tell(self) -> None:
        """A policy that says nothing of its grants gives no advice."""
        chain = chain_of(Clock(), bind(Decision.abstain(), "acl"))
        request = make_request(connection=make_facts(principal=Principal("users", "x")))
        self.assertEqual(chain.advise(request), {})
