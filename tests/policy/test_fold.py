"""Tests of how decisions are folded into a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mqttsecure.core.decisions import (
    CapKeepAlive,
    CapQos,
    Decision,
    Disconnect,
    Effect,
    Pending,
    Purpose,
    Request,
    Role,
    Source,
    Stage,
    Strike,
    Throttle,
    Verdict,
)
from mqttsecure.errors import QuotaExceeded
from mqttsecure.policy.chain import PolicyBinding
from tests.policy.fold_case import ABSTAIN, DENY, PERMIT, FoldTestCase
from tests.support.policies import (
    ALICE,
    HangingPolicy,
    RaisingPolicy,
    ScriptedPolicy,
    StaticPolicy,
    bind,
    make_facts,
    make_request,
    restricting,
)


class FoldRuleTests(FoldTestCase):
    """Ordered deny-overrides with default deny."""

    def test_empty_chain_denies(self) -> None:
        """With no policy at all nothing is allowed."""
        verdict = self.verdict()
        self.assertIs(verdict.effect, Effect.DENY)
        self.assertEqual((verdict.policy, verdict.reason_code), ("", 0x87))
        self.assertIn("default deny", verdict.text)

    def test_abstain_is_never_consent(self) -> None:
        """If nobody objects but nobody permits, it is refused."""
        self.assertFalse(self.verdict(bind(ABSTAIN, "one"), bind(ABSTAIN, "two")).permitted)

    def test_default_denial_names_who_could_have_permitted(self) -> None:
        """Where no policy said no, the log tells me which of them could have said yes, and why it did not."""
        topics = bind(Decision.abstain(text="no rule applies"), "topics", source=Source("broker.toml", 7))
        verdict = self.verdict(bind(ABSTAIN, "rates", stages=restricting()), topics)
        self.assertEqual(verdict.policy, "")
        self.assertEqual(verdict.text, "nothing permitted it (default deny); topics (broker.toml:7): no rule applies")

    def test_one_permit_is_enough(self) -> None:
        """A PERMIT among ABSTAINs permits, whichever stands first."""
        verdict = self.verdict(bind(ABSTAIN, "one"), bind(PERMIT, "two"), bind(ABSTAIN, "three"))
        self.assertTrue(verdict.permitted)
        self.assertEqual((verdict.policy, verdict.rule, verdict.reason_code), ("two", "p", 0))

    def test_later_deny_overrides_earlier_permit(self) -> None:
        """This is not first-match: a ban below an allow rule still bans."""
        verdict = self.verdict(bind(PERMIT, "acl"), bind(DENY, "ban"))
        self.assertEqual((verdict.effect, verdict.policy, verdict.rule), (Effect.DENY, "ban", "d"))

    def test_first_deny_ends_the_stage(self) -> None:
        """After a DENY nobody else is asked, so that cheap limits spare dear checks."""
        later = StaticPolicy(PERMIT)
        verdict = self.verdict(bind(DENY, "first"), bind(later, "later"))
        self.assertEqual(verdict.policy, "first")
        self.assertEqual(later.requests, [])

    def test_final_permit_ends_the_stage(self) -> None:
        """`final` lets a policy permit over the heads of those below it."""
        verdict = self.verdict(bind(PERMIT, "admin", final=frozenset({Stage.PUBLISH})), bind(DENY, "rest"))
        self.assertTrue(verdict.permitted)

    def test_final_is_for_its_stage_and_for_permits_alone(self) -> None:
        """`final` at PUBLISH changes nothing at DELIVER, nor for an ABSTAIN."""
        final = frozenset({Stage.PUBLISH})
        deliver = make_request(Stage.DELIVER)
        self.assertFalse(self.verdict(bind(PERMIT, "a", final=final), bind(DENY, "b"), request=deliver).permitted)
        self.assertFalse(self.verdict(bind(ABSTAIN, "a", final=final), bind(DENY, "b")).permitted)

    def test_required_turns_abstain_into_deny(self) -> None:
        """`required` at AUTHENTICATE demands a certificate and a password."""
        required = frozenset({Stage.PUBLISH})
        verdict = self.verdict(bind(PERMIT, "a"), bind(ABSTAIN, "b", required=required))
        self.assertEqual((verdict.effect, verdict.policy), (Effect.DENY, "b"))
        self.assertIn("required", verdict.text)
        self.assertFalse(verdict.indeterminate)
        self.assertTrue(self.verdict(bind(PERMIT, "a"), bind(PERMIT, "b", required=required)).permitted)

    def test_only_declared_stages_and_listeners_are_asked(self) -> None:
        """A policy stands where its factory and its table put it, and nowhere else."""
        elsewhere = bind(DENY, "elsewhere", on=["other"])
        later = bind(DENY, "later", stages={Stage.DELIVER: Role.GRANTS})
        self.assertTrue(self.verdict(bind(PERMIT, "acl"), elsewhere, later, listeners=("test", "other")).permitted)

    def test_unknown_listener_is_denied(self) -> None:
        """A connection that belongs to no configured listener may do nothing."""
        verdict = self.verdict(bind(PERMIT), request=make_request(connection=make_facts(listener="ghost")))
        self.assertFalse(verdict.permitted)
        self.assertIn("'ghost'", verdict.text)
        self.assertTrue(verdict.decision_id)

    def test_source_is_the_rules_or_else_the_policys(self) -> None:
        """A denial can be traced to a line of the configuration."""
        rule, table = Source("acl", 7), Source("broker.toml", 40)
        self.assertEqual(self.verdict(bind(Decision.deny(source=rule), source=table)).source, rule)
        self.assertEqual(self.verdict(bind(DENY, source=table)).source, table)

    def test_policies_are_asked_in_order_and_never_in_parallel(self) -> None:
        """While one policy thinks, those below it have not been asked."""
        slow, later = HangingPolicy(), StaticPolicy(PERMIT)
        pending = self.chain(bind(slow, "slow"), bind(later, "later")).decide(make_request())
        assert isinstance(pending, Pending)
        self.assertEqual(later.requests, [])
        slow.deferreds[0].callback(ABSTAIN)
        self.assertEqual(len(later.requests), 1)


class ReasonCodeTests(FoldTestCase):
    """What the client is told."""

    def test_default_is_not_authorized_at_every_stage(self) -> None:
        """A denied request is answered 0x87 unless the policy knows better."""
        for stage in Stage:
            if stage is not Stage.AUTHENTICATE:
                self.assertEqual(self.verdict(bind(DENY), request=make_request(stage)).reason_code, 0x87)

    def test_policys_own_code_is_kept(self) -> None:
        """A quota can say that it is one."""
        self.assertEqual(self.verdict(bind(Decision.deny(reason_code=0x97))).reason_code, 0x97)

    def test_denial_never_bears_a_code_of_success(self) -> None:
        """A policy that denies with reason code 0 by mistake does not make the client believe in success."""
        for code in (0, 1, 0x10, 0x7F, 0x100, -1, "0x87", None):
            self.assertEqual(self.verdict(bind(Decision.deny(reason_code=code))).reason_code, 0x87)

    def test_authentication_codes(self) -> None:
        """No credentials are answered 0x87, wrong ones 0x86."""
        without = make_request(Stage.AUTHENTICATE)
        wrong = make_request(Stage.AUTHENTICATE, password=b"x")
        self.assertEqual(self.verdict(bind(ABSTAIN), request=without).reason_code, 0x87)
        self.assertEqual(self.verdict(bind(DENY), request=wrong).reason_code, 0x86)
        self.assertEqual(self.verdict(bind(ABSTAIN), request=wrong).reason_code, 0x86)
        restricts = bind(DENY, stages=restricting(Stage.AUTHENTICATE))
        self.assertEqual(self.verdict(restricts, request=wrong).reason_code, 0x87)

    def test_decision_ids_are_unique_and_for_denials(self) -> None:
        """A user can quote the id of a denial, and the log has it once."""
        chain = self.chain(bind(ScriptedPolicy(DENY, DENY, PERMIT)), random_bytes=bytes)
        ids = [verdict.decision_id for verdict in (chain.decide(make_request()) for _ in range(3))]
        self.assertEqual(ids, ["aaaaaaaa-1", "aaaaaaaa-2", ""])


class IndeterminateTests(FoldTestCase):
    """Whatever a policy does wrong is a denial."""

    def misdeeds(self) -> dict[str, tuple[Any, str]]:
        """By kind, a policy that misbehaves and a word of what the verdict says of it."""
        raising = ScriptedPolicy(function=lambda request: 1 / 0)
        return {
            "raises": (raising, "ZeroDivisionError"),
            "exits": (RaisingPolicy(SystemExit(0)), "SystemExit"),
            "None": (StaticPolicy(None), "NoneType"),
            "True": (StaticPolicy(True), "bool"),
            "a string": (StaticPolicy("permit"), "str"),
            "an Effect": (StaticPolicy(Effect.PERMIT), "Effect"),
            "no effect": (StaticPolicy(Decision("permit")), "effect must be"),
            "Deferred of None": (ScriptedPolicy(function=lambda request: succeed(None)), "NoneType"),
            "Deferred of failure": (ScriptedPolicy(function=lambda request: fail(KeyError("x"))), "KeyError"),
            "challenge": (StaticPolicy(Decision.challenge(b"")), "AUTHENTICATE alone"),
            "undeclared attribute": (StaticPolicy(Decision.permit(attributes={"x": 1})), "not declared"),
            "attribute type": (StaticPolicy(Decision.permit(attributes={"level": "1"})), "must be int"),
            "attribute bool": (StaticPolicy(Decision.permit(attributes={"level": True})), "must be int"),
            "attributes no mapping": (StaticPolicy(Decision.permit(attributes=[1])), "malformed"),
            "unknown obligation": (StaticPolicy(Decision.permit(obligations=("log",))), "unknown or invalid"),
            "obligation value": (StaticPolicy(Decision.permit(obligations=(CapQos(3),))), "unknown or invalid"),
            "obligations no tuple": (StaticPolicy(Decision.permit(obligations=[CapQos(0)])), "must be a tuple"),
            "meters no tuple": (StaticPolicy(Decision.permit(meters=7)), "malformed"),
            "meter without spend": (StaticPolicy(Decision.permit(meters=("x",))), "malformed"),
            "meter that cannot be called": (StaticPolicy(Decision.permit(meters=(BadMeter(),))), "without spend"),
            "valid_until": (StaticPolicy(Decision.permit(cacheable=True, valid_until="soon")), "valid_until"),
            "valid_until nan": (StaticPolicy(Decision.permit(cacheable=True, valid_until=float("nan"))), "valid_until"),
        }

    def test_each_kind_denies_in_any_position(self) -> None:
        """A broken policy denies wherever it stands, among policies that all permit."""
        for kind in self.misdeeds():
            for position in range(3):
                bindings = [bind(PERMIT, "one"), bind(PERMIT, "two")]
                policy, text = self.misdeeds()[kind]
                bindings.insert(position, bind(policy, "broken", attributes={"level": int}))
                chain = self.chain(*bindings)
                self.assert_indeterminate(chain.decide(make_request()), "broken", text)
                self.assertEqual(chain.counters.policies["broken"].indeterminate, 1, kind)
                self.assertEqual((chain.counters.indeterminate, chain.counters.denials), (1, 1))
                self.flushLoggedErrors()

    def test_exception_is_logged_with_its_traceback(self) -> None:
        """The administrator finds the traceback of a policy that broke."""
        self.verdict(bind(RaisingPolicy()))
        self.assertEqual([failure.type for failure in self.flushLoggedErrors()], [RuntimeError])

    def test_complaints_cannot_fill_the_log(self) -> None:
        """A peer that provokes a fault a thousand times a second is logged once a second."""
        chain = self.chain(bind(StaticPolicy(None)))
        captured = []
        self.patch(chain._log, "emit", lambda *args, **more: captured.append(more))
        self.patch(chain._context.log, "emit", lambda *args, **more: captured.append(more))
        for _ in range(1000):
            chain.decide(make_request())
        self.assertEqual(len(captured), 1)
        self.clock.advance(1.0)
        chain.decide(make_request())
        self.assertEqual(len(captured), 2)

    def test_permit_from_a_restricting_policy(self) -> None:
        """A rate limit cannot let anybody in, not even by mistake, and sets no attributes in passing."""
        facts = make_facts()
        limit = bind(Decision.permit(attributes={"x": 1}), "limit", stages=restricting(), attributes={"x": int})
        verdict = self.verdict(bind(PERMIT, "acl"), limit, request=make_request(connection=facts))
        self.assert_indeterminate(verdict, "limit", "only restricts")
        self.assertEqual(facts.attributes, {})

    def test_coroutine_is_told_how_to_be_mended(self) -> None:
        """An author who writes `async def decide` is told what to do, and is refused meanwhile."""

        async def decide(request: Request) -> Decision:
            return PERMIT

        verdict = self.verdict(bind(ScriptedPolicy(function=decide)))
        self.assert_indeterminate(verdict, "policy", "Deferred.fromCoroutine")

    def test_subclass_of_decision_is_a_decision(self) -> None:
        """A policy may extend Decision for purposes of its own."""

        class Annotated(Decision):
            pass

        self.assertTrue(self.verdict(bind(Annotated(Effect.PERMIT))).permitted)

    def test_full_worker_pool_is_no_failure_of_the_policy(self) -> None:
        """A flood of logins is refused with 0x97, and does not open the circuit breaker for those who come later."""
        policy = ScriptedPolicy(function=lambda request: fail(QuotaExceeded("full")))
        chain = self.chain(bind(policy))
        for _ in range(20):
            verdict = chain.decide(make_request())
            self.assert_indeterminate(verdict, "policy", "full")
            self.assertEqual(verdict.reason_code, 0x97)
        self.assertEqual(len(policy.requests), 20)


class BadMeter:
    spend = None


class AttributeTests(FoldTestCase):
    """Attributes are typed, declared, and written once."""

    def setter(self, value: Any, id: str = "setter", **more: Any) -> PolicyBinding:
        return bind(Decision.permit(attributes={"tenant": value}), id, attributes={"tenant": str}, **more)

    def test_later_policies_see_them(self) -> None:
        """A policy can use the tenant that one above it has found."""
        seen = []

        def decide(request: Request) -> Decision:
            seen.append(request.connection.attributes.get("tenant"))
            return PERMIT

        verdict = self.verdict(self.setter("acme"), bind(ScriptedPolicy(function=decide), "reader"))
        self.assertEqual(seen, ["acme"])
        self.assertEqual(verdict.attributes, {"tenant": "acme"})

    def test_never_overwritten(self) -> None:
        """Whoever came first has named the tenant; another name is refused, the same one is fine."""
        facts = make_facts()
        self.assertTrue(
            self.verdict(
                self.setter("acme"), self.setter("acme", "b"), request=make_request(connection=facts)
            ).permitted
        )
        verdict = self.verdict(self.setter("evil", "b"), request=make_request(connection=facts))
        self.assert_indeterminate(verdict, "b", "already set")
        self.assertEqual(facts.attributes, {"tenant": "acme"})

    def test_all_or_none(self) -> None:
        """A decision with one bad attribute sets none of them."""
        facts = make_facts()
        decision = Decision.permit(attributes={"tenant": "acme", "level": 3})
        verdict = self.verdict(bind(decision, attributes={"tenant": str}), request=make_request(connection=facts))
        self.assertFalse(verdict.permitted)
        self.assertEqual(facts.attributes, {})

    def test_namespace_is_checked(self) -> None:
        """A namespace that could be taken for another one, or that comes too late to be one, lets nobody in."""

        def verdict(value: object, stage: Stage) -> Verdict:
            decision = Decision.permit(attributes={"namespace": value}, principal=ALICE)
            binding = bind(decision, "tenants", attributes={"namespace": str})
            return self.verdict(binding, request=make_request(stage))

        for stage in (Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE):
            self.assertTrue(verdict("acme", stage).permitted, stage)
            self.assert_indeterminate(verdict("acme/x", stage), "tenants", "a namespace is")
            self.assert_indeterminate(verdict("", stage), "tenants", "a namespace is")
        for stage in (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER):
            self.assert_indeterminate(verdict("acme", stage), "tenants", "at AUTHENTICATE at the latest")

    def test_abstain_sets_attributes_and_deny_does_not(self) -> None:
        """A policy that only looks things up abstains; what a denial says of a connection that ends is not kept."""
        facts = make_facts()
        finder = bind(Decision.abstain(attributes={"country": "IS"}), "geo", attributes={"country": str})
        denier = bind(Decision.deny(attributes={"tenant": "x"}), "ban", attributes={"tenant": str})
        self.verdict(finder, denier, request=make_request(connection=facts))
        self.assertEqual(facts.attributes, {"country": "IS"})

    def test_shadow_and_recheck_leave_the_connection_alone(self) -> None:
        """Trying a policy on a live connection changes nothing about it, yet its later policies see the attribute."""
        for purpose in (Purpose.SHADOW, Purpose.RECHECK):
            facts, reader = make_facts(attributes={"old": 1}), StaticPolicy(PERMIT)
            request = make_request(connection=facts, purpose=purpose)
            self.verdict(self.setter("acme"), self.setter("acme", "b"), bind(reader, "reader"), request=request)
            self.assertEqual(facts.attributes, {"old": 1})
            self.assertEqual(reader.requests[0].connection.attributes, {"old": 1, "tenant": "acme"})


class ObligationFoldTests(FoldTestCase):
    """What decisions demand of the broker."""

    def test_abstain_counts(self) -> None:
        """A rate limit that has no opinion can still slow a client down; the strictest wins."""
        verdict = self.verdict(
            bind(Decision.abstain(obligations=(Throttle(1.0), CapQos(1))), "a"),
            bind(Decision.permit(obligations=(Throttle(3.0), CapQos(2))), "b"),
        )
        self.assertEqual(set(verdict.obligations), {Throttle(3.0), CapQos(1)})

    def test_denial_carries_them(self) -> None:
        """A wrong password is a strike, and a quota can end the connection."""
        verdict = self.verdict(
            bind(Decision.abstain(obligations=(CapKeepAlive(60),)), "a"),
            bind(Decision.deny(obligations=(Strike(2, "flood"), Disconnect())), "b"),
        )
        self.assertEqual(verdict.obligations, (CapKeepAlive(60), Strike(2, "flood"), Disconnect()))

    def test_rechecks_do_not_strike(self) -> None:
        """Asking again on the broker's own account is nobody's fault."""
        for purpose in (Purpose.RECHECK, Purpose.SHADOW):
            decision = Decision.deny(obligations=(Strike(), Disconnect()))
            verdict = self.verdict(bind(decision), request=make_request(purpose=purpose))
            self.assertEqual(verdict.obligations, (Disconnect(),))


@dataclass(frozen=True)
class Told:
    """What one policy of a random chain is and does."""

    answer: str
    grants: bool
    final: bool
    required: bool
    later: bool


def reference_fold(policies: list[Told]) -> tuple[bool, bool]:
    """The fold as the manual tells it: permitted, and whether because of a fault."""
    permitted = False
    for policy in policies:
        if policy.answer == "raise" or policy.answer == "junk" or (policy.answer == "permit" and not policy.grants):
            return False, True
        if policy.answer == "deny" or (policy.answer == "abstain" and policy.required):
            return False, False
        if policy.answer == "permit":
            permitted = True
            if policy.final:
                return True, False
    return permitted, False


TOLD = st.builds(
    Told,
    st.sampled_from(["permit", "permit", "abstain", "abstain", "deny", "raise", "junk"]),
    st.sampled_from([True, True, False]),
    st.booleans(),
    st.sampled_from([False, False, True]),
    st.booleans(),
)


class FoldPropertyTests(FoldTestCase):
    """The fold against the manual."""

    def binding(self, told: Told, name: str, cacheable: bool) -> PolicyBinding:
        answers: dict[str, Any] = {
            "permit": Decision.permit(cacheable=cacheable),
            "abstain": Decision.abstain(cacheable=cacheable),
            "deny": Decision.deny(cacheable=cacheable),
            "junk": 0,
        }

        def decide(request: Request) -> Any:
            if told.answer == "raise":
                raise LookupError(name)
            answer = answers[told.answer]
            if not told.later:
                return answer
            deferred: Deferred[Any] = Deferred()
            self.clock.callLater(0.1, deferred.callback, answer)
            return deferred

        return bind(
            ScriptedPolicy(function=decide),
            name,
            stages={Stage.PUBLISH: Role.GRANTS if told.grants else Role.RESTRICTS},
            final=frozenset({Stage.PUBLISH} if told.final else ()),
            required=frozenset({Stage.PUBLISH} if told.required else ()),
        )

    def wait(self, answer: Verdict | Pending) -> Verdict:
        if isinstance(answer, Verdict):
            return answer
        verdicts: list[Verdict] = []
        answer.listener = lambda which, verdict: verdicts.append(verdict)
        self.clock.pump([0.1] * 10)
        return verdicts[0]

    @settings(max_examples=150, deadline=None)
    @given(policies=st.lists(TOLD, max_size=7), cacheable=st.lists(st.booleans(), min_size=7, max_size=7))
    def test_any_chain_decides_as_the_manual_says(self, policies: list[Told], cacheable: list[bool]) -> None:
        """Whatever the order, the faults, `final` and `required`, direct or late: the same verdict, and again from
        what is left to ask."""
        self.clock = Clock()
        bindings = [self.binding(told, f"p{n}", cacheable[n]) for n, told in enumerate(policies)]
        verdict = self.wait(self.chain(*bindings).decide(make_request()))
        expected = reference_fold(policies)
        self.assertEqual((verdict.permitted, verdict.indeterminate), expected)
        if verdict.residual is not None:
            again = self.wait(verdict.residual(make_request()))
            self.assertEqual((again.permitted, again.indeterminate, again.policy), (*expected, verdict.policy))
        self.flushLoggedErrors(LookupError)
