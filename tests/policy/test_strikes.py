"""Tests for strikes and for memory that outlives a chain: what the chain tells the policies that wish to know."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mqttsecure.core.decisions import ConnectionFacts, Decision, Purpose, Stage, Strike
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IPolicy, IStateKeeper, IStrikeObserver
from mqttsecure.policy.registry import verify_policy
from tests.support.policies import ScriptedPolicy, StaticPolicy, bind, chain_of, make_facts, make_request, restricting


@implementer(IPolicy, IStrikeObserver, IStateKeeper)
class Watcher(StaticPolicy):
    """Writes down strikes, and counts them on after a reload."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(Decision.abstain())
        self.error = error
        self.struck_by: list[tuple[int, int, str]] = []
        self.saved = 0

    def struck(self, connection: ConnectionFacts, weight: int, why: str) -> None:
        if self.error is not None:
            raise self.error
        self.struck_by.append((connection.connection_id, weight, why))

    def inherit(self, previous: Any) -> None:
        if self.error is not None:
            raise self.error
        self.struck_by = previous.struck_by

    def save(self) -> Deferred[None] | None:
        self.saved += 1
        return fail(self.error) if self.error is not None else None


class StrikeTests(SynchronousTestCase):
    """Strikes reach whoever bans, once each, and only where somebody really acts."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.watcher = Watcher()

    def ask(self, answer: Any, stage: Stage = Stage.AUTHENTICATE, **more: Any) -> Any:
        policy = answer if not isinstance(answer, Decision) else StaticPolicy(answer)
        chain = chain_of(self.clock, bind(self.watcher, "ban", stages=restricting()), bind(policy, "login"))
        return chain.decide(make_request(stage, **more))

    def test_of_a_decision(self) -> None:
        """A wrong password strikes, with the weights of all policies together."""
        self.ask(Decision.deny(obligations=(Strike(2, "wrong password"),)))
        self.assertEqual(self.watcher.struck_by, [(1, 2, "wrong password")])

    def test_of_a_decision_that_comes_later(self) -> None:
        """The same where the password takes a while to verify."""
        answer: Deferred[Decision] = Deferred()
        self.ask(ScriptedPolicy(answer))
        self.assertEqual(self.watcher.struck_by, [])
        answer.callback(Decision.deny(obligations=(Strike(1, "wrong password"),)))
        self.assertEqual(self.watcher.struck_by, [(1, 1, "wrong password")])

    def test_not_where_nobody_acts(self) -> None:
        """Explaining, testing and judging again strike nobody."""
        for purpose in Purpose:
            if purpose is not Purpose.LIVE:
                self.ask(Decision.deny(obligations=(Strike(1, "x"),)), purpose=purpose)
        self.ask(Decision.deny(obligations=(Strike(0, "x"),)))
        self.assertEqual(self.watcher.struck_by, [])

    def test_never_for_what_is_denied_on_topics(self) -> None:
        """A client with a wrong rule is no attacker, whatever a policy says."""
        for stage in (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER):
            self.ask(Decision.deny(obligations=(Strike(5, "not yours"),)), stage)
        self.assertEqual(self.watcher.struck_by, [])

    def test_of_the_broker(self) -> None:
        """Malformed packets strike too; a listener that the policy is not on, or nobody knows, tells it nothing."""
        chain = chain_of(self.clock, bind(self.watcher, "ban", on=("a",)), listeners=("a", "b"))
        for listener in ("a", "b", "c"):
            chain.strike(make_facts(listener=listener), 1, "malformed packet")
        self.assertEqual(self.watcher.struck_by, [(1, 1, "malformed packet")])

    def test_one_that_fails_hides_nothing_from_the_others(self) -> None:
        """A broken observer is counted and logged, the next one hears of it."""
        chain = chain_of(self.clock, bind(Watcher(RuntimeError("broken")), "a"), bind(self.watcher, "b"))
        chain.strike(make_facts(), 1, "x")
        self.assertEqual(len(self.watcher.struck_by), 1)
        self.assertEqual(chain.counters.policies["a"].observer_failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_are_verified(self) -> None:
        """A policy that says it hears of strikes and cannot is refused."""

        @implementer(IPolicy, IStrikeObserver)
        class Deaf(StaticPolicy):
            pass

        self.assertRaises(ConfigError, verify_policy, Deaf(None))


class MemoryTests(SynchronousTestCase):
    """A reload forgets no ban, a stop neither."""

    def setUp(self) -> None:
        self.clock = Clock()

    def test_goes_to_the_policy_of_the_same_id_and_class(self) -> None:
        """What is known stays known; a new policy, or one of another kind, starts afresh."""
        old = [Watcher(), Watcher(), StaticPolicy(None)]
        old[0].struck_by = [(1, 1, "x")]
        before = chain_of(self.clock, *(bind(each, name) for each, name in zip(old, "abc", strict=True)))
        new = [Watcher(), Watcher(), Watcher()]
        after = chain_of(self.clock, *(bind(each, name) for each, name in zip(new, "adc", strict=True)))
        after.inherit(before)
        self.assertIs(new[0].struck_by, old[0].struck_by)
        self.assertEqual((new[1].struck_by, new[2].struck_by), ([], []))

    def test_failure_refuses_the_new_chain(self) -> None:
        """A reload that would lose the bans is no reload."""
        before = chain_of(self.clock, bind(Watcher(), "ban"))
        after = chain_of(self.clock, bind(Watcher(ValueError("odd")), "ban"))
        error = self.assertRaises(ConfigError, after.inherit, before)
        self.assertIn("'ban'", str(error))
        self.flushLoggedErrors(ValueError)

    def test_is_saved_at_the_end(self) -> None:
        """All are asked, and one that fails keeps nobody from stopping."""
        good, bad = Watcher(), Watcher(ValueError("disk"))
        self.successResultOf(chain_of(self.clock, bind(bad, "a"), bind(good, "b")).save())
        self.assertEqual((good.saved, bad.saved), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
