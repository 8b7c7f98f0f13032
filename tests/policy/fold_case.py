"""What the tests of the fold share."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import (
    Decision,
    Effect,
    Pending,
    Request,
    Verdict,
)
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from tests.support.policies import (
    chain_of,
    make_request,
)

PERMIT = Decision.permit("p")
DENY = Decision.deny("d")
ABSTAIN = Decision.abstain("a")


class FoldTestCase(SynchronousTestCase):
    """Makes chains on a clock that stands still."""

    def setUp(self) -> None:
        self.clock = Clock()

    def chain(self, *bindings: PolicyBinding, **more: Any) -> PolicyChain:
        return chain_of(self.clock, *bindings, **more)

    def verdict(self, *bindings: PolicyBinding, request: Request | None = None, **more: Any) -> Verdict:
        """The verdict of a chain that must answer at once."""
        verdict = self.chain(*bindings, **more).decide(request or make_request())
        self.assertIsInstance(verdict, Verdict)
        assert isinstance(verdict, Verdict)
        return verdict

    def assert_indeterminate(self, verdict: Verdict | Pending, policy: str, text: str) -> None:
        """The verdict is a denial because ``policy`` did something wrong, and the log says so."""
        assert isinstance(verdict, Verdict)
        self.assertIs(verdict.effect, Effect.DENY)
        self.assertTrue(verdict.indeterminate)
        self.assertEqual(verdict.policy, policy)
        self.assertIn(text, verdict.text)
