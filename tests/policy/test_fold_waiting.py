"""Tests of answers that come later, too late, or never."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed

from mqttsecure.core.decisions import (
    Effect,
    Pending,
    Purpose,
    Request,
    Verdict,
)
from mqttsecure.policy.chain import PolicyBinding
from tests.policy.fold_case import ABSTAIN, DENY, PERMIT, FoldTestCase
from tests.support.policies import (
    HangingPolicy,
    ScriptedPolicy,
    StaticPolicy,
    bind,
    make_request,
)


class DeferredTests(FoldTestCase):
    """Answers that come later."""

    def ask(self, *bindings: PolicyBinding, request: Request | None = None) -> tuple[Pending, list[Verdict]]:
        self.asked_chain = self.chain(*bindings)
        pending = self.asked_chain.decide(request or make_request())
        assert isinstance(pending, Pending)
        verdicts: list[Verdict] = []
        pending.listener = lambda which, verdict: verdicts.append(verdict)
        return pending, verdicts

    def test_fired_deferred_is_answered_at_once(self) -> None:
        """A policy that has its answer ready costs no wait and no timer."""
        self.assertTrue(self.verdict(bind(ScriptedPolicy(function=lambda request: succeed(PERMIT)))).permitted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_verdict_follows_the_answer(self) -> None:
        """The answer is folded as if it had come at once, and the policies below are asked then."""
        slow = HangingPolicy()
        _, verdicts = self.ask(bind(slow, "slow"), bind(DENY, "below"))
        self.assertEqual(verdicts, [])
        slow.deferreds[0].callback(PERMIT)
        self.assertEqual([(each.effect, each.policy) for each in verdicts], [(Effect.DENY, "below")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_several_deferreds_in_a_row(self) -> None:
        """Three slow policies are waited for one after another."""
        slow = [HangingPolicy() for _ in range(3)]
        _, verdicts = self.ask(*(bind(each, f"p{number}") for number, each in enumerate(slow)))
        for each in slow:
            self.assertEqual((len(each.deferreds), verdicts), (1, []))
            each.deferreds[0].callback(PERMIT)
        self.assertTrue(verdicts[0].permitted)

    def test_awaited_deny_ends_the_stage(self) -> None:
        """A late DENY is a DENY."""
        slow, below = HangingPolicy(), StaticPolicy(PERMIT)
        _, verdicts = self.ask(bind(slow, "slow"), bind(below, "below"))
        slow.deferreds[0].callback(DENY)
        self.assertEqual((verdicts[0].policy, below.requests), ("slow", []))

    def test_failure_denies(self) -> None:
        """A lookup that fails is a denial, with its traceback in the log."""
        slow = HangingPolicy()
        _, verdicts = self.ask(bind(slow, "slow"), bind(PERMIT, "below"))
        slow.deferreds[0].errback(ValueError("down"))
        self.assert_indeterminate(verdicts[0], "slow", "ValueError: down")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_time_out_denies_in_time(self) -> None:
        """A policy that hangs is denied after its time-out, cancelled, and its late answer ignored."""
        deferred: Deferred[Any] = Deferred()
        _, verdicts = self.ask(bind(ScriptedPolicy(function=lambda request: deferred), "slow", timeout=0.5))
        self.clock.advance(0.49)
        self.assertEqual(verdicts, [])
        self.clock.advance(0.02)
        self.assert_indeterminate(verdicts[0], "slow", "no answer within 0.5 s")
        deferred.callback(PERMIT)
        self.assertEqual(len(verdicts), 1)
        counters = self.asked_chain.counters
        self.assertEqual((counters.timeouts, counters.policies["slow"].timeouts), (1, 1))

    def test_deferred_that_survives_its_cancellation(self) -> None:
        """A policy that catches the cancellation and waits on cannot make the broker wait too."""
        stubborn: Deferred[Any] = Deferred()
        stubborn.addErrback(lambda failure: Deferred())
        _, verdicts = self.ask(bind(ScriptedPolicy(function=lambda request: stubborn)))
        self.clock.advance(1.0)
        self.assert_indeterminate(verdicts[0], "policy", "no answer within 1 s")

    def test_canceller_that_raises(self) -> None:
        """A policy whose cancellation breaks is denied like any other, and logged."""

        def explode(deferred: Deferred[Any]) -> None:
            raise OSError("in the canceller")

        _, verdicts = self.ask(bind(ScriptedPolicy(function=lambda request: Deferred(explode))))
        self.clock.advance(1.0)
        self.assert_indeterminate(verdicts[0], "policy", "no answer")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_cancelled_deferred_of_the_policys_own(self) -> None:
        """A policy that gives up by itself has not answered."""
        slow = HangingPolicy()
        _, verdicts = self.ask(bind(slow, "slow"))
        slow.deferreds[0].cancel()
        self.assert_indeterminate(verdicts[0], "slow", "CancelledError")
        self.flushLoggedErrors(CancelledError)

    def test_connection_that_ends_first(self) -> None:
        """When the client is gone the policy's work is stopped and nothing is answered."""
        slow = HangingPolicy()
        pending, verdicts = self.ask(bind(slow, "slow"), bind(DENY, "below"))
        pending.cancel()
        pending.cancel()
        self.assertEqual((slow.cancelled, verdicts, self.clock.getDelayedCalls()), (1, [], []))

    def test_deep_chain_of_ready_deferreds_does_not_recurse(self) -> None:
        """A thousand policies with ready Deferreds are asked in a loop."""
        bindings = [bind(ScriptedPolicy(function=lambda request: succeed(ABSTAIN)), f"p{n}") for n in range(1000)]
        self.assertTrue(self.verdict(*bindings, bind(PERMIT, "last")).permitted)

    def test_breaker_opens_and_closes(self) -> None:
        """A policy that hangs five times is not asked for a second, and denies at once meanwhile."""
        slow = HangingPolicy()
        chain = self.chain(bind(slow, "slow", timeout=0.1))
        for _ in range(5):
            chain.decide(make_request())
            self.clock.advance(0.1)
        self.assert_indeterminate(chain.decide(make_request()), "slow", "circuit breaker")
        self.assertEqual(len(slow.deferreds), 5)
        self.clock.advance(1.0)
        trial = chain.decide(make_request())
        self.assertIsInstance(trial, Pending)
        self.assert_indeterminate(chain.decide(make_request()), "slow", "circuit breaker")
        trial.cancel()
        self.assertIsInstance(chain.decide(make_request()), Pending)
        slow.deferreds[-1].callback(PERMIT)
        self.assertIsInstance(chain.decide(make_request()), Pending)

    def test_one_answer_heals(self) -> None:
        """Four failures and an answer do not add up."""
        policy = ScriptedPolicy(function=lambda request: 1 / 0 if request.topic else PERMIT)
        chain = self.chain(bind(policy))
        for _ in range(10):
            for _ in range(4):
                chain.decide(make_request(topic="x"))
            self.assertTrue(chain.decide(make_request()).permitted)
        self.flushLoggedErrors()

    def test_trying_things_out_does_not_open_the_breaker(self) -> None:
        """Explaining a request to an administrator cannot take a policy out of service."""
        policy = ScriptedPolicy(function=lambda request: 1 / 0)
        chain = self.chain(bind(policy))
        for _ in range(10):
            chain.decide(make_request(purpose=Purpose.EXPLAIN))
        self.assertEqual(len(policy.requests), 10)
        self.assertEqual((chain.counters.decisions, chain.counters.policies["policy"].indeterminate), (0, 0))
        self.flushLoggedErrors()
