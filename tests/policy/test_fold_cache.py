"""Tests of what of a verdict may be remembered, and what must be asked again."""

from __future__ import annotations

from typing import Any

from mqttsecure.core.decisions import (
    Decision,
    Effect,
)
from tests.policy.fold_case import ABSTAIN, DENY, FoldTestCase
from tests.support.policies import (
    ScriptedPolicy,
    StaticPolicy,
    bind,
    make_request,
)


class CacheTests(FoldTestCase):
    """What may be remembered, and what must be asked again."""

    CACHED = Decision.permit("acl", cacheable=True)

    def test_all_cacheable(self) -> None:
        """If every answer may be kept, so may the verdict, until the first of them ends."""
        verdict = self.verdict(
            bind(Decision.permit(cacheable=True, valid_until=50.0), "a"),
            bind(Decision.abstain(cacheable=True, valid_until=20.0), "b"),
            bind(Decision.abstain(cacheable=True), "c"),
        )
        self.assertIsNone(verdict.residual)
        self.assertEqual(verdict.valid_until, 20.0)

    def test_default_deny_of_nobody_may_be_kept(self) -> None:
        """A chain that is asked nothing will say the same next time."""
        self.assertIsNone(self.verdict().residual)

    def test_residual_asks_only_what_may_change(self) -> None:
        """The rules are remembered, the content filter is asked for each message."""
        acl = StaticPolicy(self.CACHED)
        content = ScriptedPolicy(ABSTAIN, ABSTAIN, DENY, ABSTAIN)
        verdict = self.verdict(bind(acl, "acl"), bind(content, "content"))
        effects = [verdict.residual(make_request()).effect for _ in range(3)]
        self.assertEqual(effects, [Effect.PERMIT, Effect.DENY, Effect.PERMIT])
        self.assertEqual((len(acl.requests), len(content.requests)), (1, 4))

    def test_residual_after_an_uncached_deny_asks_those_below(self) -> None:
        """Once the filter no longer denies, the policies that were never reached have their say."""
        content, below = ScriptedPolicy(DENY, ABSTAIN), StaticPolicy(Decision.deny("below", cacheable=True))
        verdict = self.verdict(bind(self.CACHED, "acl"), bind(content, "content"), bind(below, "below"))
        self.assertEqual((verdict.policy, below.requests), ("content", []))
        again: Any = verdict.residual(make_request())
        self.assertEqual((again.policy, len(below.requests)), ("below", 1))

    def test_first_deny_in_chain_order_wins_again(self) -> None:
        """A remembered denial still stands where it stood."""
        first = ScriptedPolicy(ABSTAIN, DENY)
        verdict = self.verdict(bind(first, "first"), bind(Decision.deny("kept", cacheable=True), "second"))
        self.assertEqual(verdict.policy, "second")
        self.assertEqual(verdict.residual(make_request()).policy, "first")

    def test_remembered_answer_ends_at_its_time(self) -> None:
        """A token that has run out is looked at again, even by a remembered decision."""
        token = ScriptedPolicy(Decision.permit(cacheable=True, valid_until=10.0), DENY)
        verdict = self.verdict(bind(token, "token"), bind(ScriptedPolicy(ABSTAIN), "content"))
        self.assertTrue(verdict.residual(make_request(now=9.0)).permitted)
        self.assertFalse(verdict.residual(make_request(now=10.0)).permitted)

    def test_faults_are_never_remembered(self) -> None:
        """A policy that broke once is asked again the next time."""
        policy = ScriptedPolicy(None, self.CACHED)
        verdict = self.verdict(bind(policy))
        self.assertTrue(verdict.indeterminate)
        self.assertTrue(verdict.residual(make_request()).permitted)

    def test_meters_in_order_up_to_the_decider(self) -> None:
        """The counters of all who had a say are spent, not those of policies below the denial."""

        class Meter:
            batchable = True

            def spend(self, messages: int, octets: int, now: float) -> Decision | None:
                return None

        one, two, three = Meter(), Meter(), Meter()
        verdict = self.verdict(
            bind(Decision.abstain(meters=(one,)), "a"),
            bind(Decision.deny(meters=(two,)), "b"),
            bind(Decision.permit(meters=(three,)), "c"),
        )
        self.assertEqual(verdict.meters, (one, two))
        again: Any = verdict.residual(make_request())
        self.assertEqual(again.meters, (one, two))
