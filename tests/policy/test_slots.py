"""How many questions one policy may have under way, and what happens to the others."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Effect, Pending, Purpose, Request, Role, Stage, Verdict
from mqttsecure.policy.slots import LINE, Slots
from tests.policy.fold_case import PERMIT, FoldTestCase
from tests.support.policies import HangingPolicy, ScriptedPolicy, bind, make_request


class SlotsTests(SynchronousTestCase):
    """A line of questions."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.slots = Slots(1)
        self.turns: list[tuple[str, bool]] = []

    def line_up(self, name: str) -> Any:
        return self.slots.line_up(5.0, self.clock, lambda in_time: self.turns.append((name, in_time)))

    def test_in_order(self) -> None:
        """Who came first has its turn first; who leaves or waits too long has none."""
        self.slots.take()
        first, second, third = (self.line_up(name) for name in ("first", "second", "third"))
        second.cancel()
        self.slots.free()
        self.assertEqual(self.turns, [("first", True), ("third", True)])
        self.line_up("late")
        self.clock.advance(5.0)
        self.assertEqual(self.turns[2:], [("late", False)])
        self.assertEqual((self.slots.waiting, self.clock.getDelayedCalls()), (0, []))
        self.assertTrue(first.done and third.done)

    def test_no_longer_than_it_may(self) -> None:
        """The line is bounded."""
        self.assertTrue(all(self.line_up("x") for _ in range(LINE)))
        self.assertIsNone(self.line_up("one more"))

    def test_many_direct_answers_do_not_nest(self) -> None:
        """A thousand whose turn ends at once are worked off one after the other."""
        slots = Slots(1000)
        slots.taken = 1000
        done: list[int] = []

        def turn(number: int) -> None:
            slots.take()
            done.append(number)
            slots.free()

        for number in range(5000):
            slots.line_up(5.0, self.clock, lambda in_time, number=number: turn(number))
        slots.free()
        self.assertEqual(done, list(range(5000)))


class CapTests(FoldTestCase):
    """The cap on a policy in a chain."""

    def ask(self, chain: Any, request: Request | None = None) -> list[Verdict]:
        """Put one question; what it comes to is put into the list."""
        answer = chain.decide(request or make_request())
        verdicts: list[Verdict] = []
        if isinstance(answer, Pending):
            answer.listener = lambda pending, verdict: verdicts.append(verdict)
            self.pending = answer
        else:
            verdicts.append(answer)
        return verdicts

    def test_no_more_than_allowed(self) -> None:
        """The policy is asked again when one of its answers has come, in the order of the questions."""
        policy = HangingPolicy()
        chain = self.chain(bind(policy, "slow", concurrency=2))
        verdicts = [self.ask(chain) for _ in range(5)]
        self.assertEqual(len(policy.deferreds), 2)
        policy.deferreds[1].callback(PERMIT)
        self.assertEqual(([len(each) for each in verdicts], len(policy.deferreds)), ([0, 1, 0, 0, 0], 3))
        for number in (0, 2, 3, 4):
            policy.deferreds[number].callback(PERMIT)
        self.assertTrue(all(each[0].permitted for each in verdicts))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_waits_too_long(self) -> None:
        """Its turn not having come within the time-out is a denial, and no fault of the policy's."""
        policy = HangingPolicy()
        chain = self.chain(bind(policy, "slow", concurrency=1, timeout=3.0))
        self.ask(chain)
        self.clock.advance(1.0)
        waiting = self.ask(chain)
        self.pending.cancel()
        late = self.ask(chain)
        self.clock.advance(1.9)
        policy.deferreds[0].callback(PERMIT)
        self.assertEqual((waiting, len(policy.deferreds)), ([], 2))
        stuck = self.ask(chain)
        self.clock.advance(3.0)
        self.assert_indeterminate(late[0], "slow", "no answer within 3 s")
        self.assertEqual(stuck, [])  # its turn came in the same moment, and it is asked
        policy.deferreds[2].callback(PERMIT)
        self.assertTrue(stuck[0].permitted)

    def test_line_that_is_too_long(self) -> None:
        """Beyond the line questions are refused at once, with 0x97, and the breaker stays closed."""
        policy = HangingPolicy()
        chain = self.chain(bind(policy, "slow", concurrency=1))
        for _ in range(1 + LINE):
            self.ask(chain)
        (verdict,) = self.ask(chain)
        self.assert_indeterminate(verdict, "slow", "1 questions are under way to it and 8 wait")
        self.assertEqual(verdict.reason_code, 0x97)
        policy.deferreds[0].callback(PERMIT)
        self.assertEqual(len(policy.deferreds), 2)

    def test_connections_that_end(self) -> None:
        """The slot of a client that has gone is another's."""
        policy = HangingPolicy()
        chain = self.chain(bind(policy, "slow", concurrency=1))
        self.ask(chain)
        gone = self.pending
        waiting = self.ask(chain)
        gone.cancel()
        self.assertEqual((policy.cancelled, len(policy.deferreds)), (1, 2))
        policy.deferreds[1].callback(PERMIT)
        self.assertTrue(waiting[0].permitted)

    def test_breaker_that_tripped_meanwhile(self) -> None:
        """Questions in line for a policy that is found to hang are denied, and do not wait a time-out each."""
        policy = HangingPolicy()
        chain = self.chain(bind(policy, "slow", concurrency=5, timeout=2.0))
        for _ in range(5):
            self.ask(chain)
        self.clock.advance(1.0)
        waiting = [self.ask(chain) for _ in range(9)]
        self.clock.advance(1.0)
        self.assertEqual(len(policy.deferreds), 9)  # four had their turn before the fifth failure
        for verdicts in waiting[4:]:
            self.assert_indeterminate(verdicts[0], "slow", "circuit breaker open")
        self.clock.advance(2.0)
        trial = self.ask(chain)
        policy.deferreds[-1].callback(PERMIT)
        self.assertTrue(trial[0].permitted)

    def test_direct_answers_are_not_counted(self) -> None:
        """A policy that answers at once never waits; one that asks its own chain again neither."""
        chain: Any = None

        def answer(request: Request) -> Decision:
            if request.stage is Stage.PUBLISH:
                chain.decide(make_request(Stage.SUBSCRIBE))
            return PERMIT

        chain = self.chain(bind(ScriptedPolicy(function=answer), "direct", concurrency=1))
        self.assertTrue(all(self.ask(chain, make_request(Stage.PUBLISH))[0].permitted for _ in range(10)))

    def test_rechecks_wait_as_well(self) -> None:
        """When all clients are judged again, a slow policy is asked about a few at a time, and nobody is cut off."""
        policy = HangingPolicy()
        chain = self.chain(bind(policy, "slow", concurrency=2, stages={Stage.PUBLISH: Role.GRANTS}))
        verdicts = [self.ask(chain, make_request(Stage.PUBLISH, purpose=Purpose.RECHECK)) for _ in range(10)]
        for number in range(10):
            policy.deferreds[number].callback(PERMIT)
            self.assertLessEqual(len(policy.deferreds), number + 3)
        self.assertEqual([each[0].effect for each in verdicts], [Effect.PERMIT] * 10)

    def test_answers_that_come_at_once_when_their_turn_comes(self) -> None:
        """A policy whose next answers are direct is asked about the whole line in one go."""
        first: Deferred[Decision] = Deferred()
        chain = self.chain(bind(ScriptedPolicy(first, PERMIT), "mixed", concurrency=1))
        verdicts = [self.ask(chain) for _ in range(5)]
        first.callback(PERMIT)
        self.assertTrue(all(each[0].permitted for each in verdicts))
