# -*- test-case-name: tests.testing.test_policy -*-
"""The kit: what a broker in trouble does to a policy, as tests of yours.

    class RetainGuardKitTests(PolicyKit, SynchronousTestCase):
        factory = factory
        options = {"group": "writers"}

Run it under trial beside your own tests. It asks ordinary and odd questions, answers late or not at all where the
policy asks for threads, fails where it can, reloads at the worst moment, and counts what is left after ten thousand
decisions. A policy that passes cannot hurt the broker, as far as that can be told from outside; that it decides what it
should is for your own tests.
"""

from __future__ import annotations

import dataclasses
import gc
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from unittest import TestCase

from pydantic import ValidationError
from twisted.python.failure import Failure

from mqttsecure.core.decisions import ConnectionFacts, Effect, Purpose, Request, Strike, Verdict
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IPolicy, IStateKeeper
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.registry import FoundFactory, verify_factory, verify_policy
from mqttsecure.testing.asking import Asked, answer_of, chain_of, fresh, told
from mqttsecure.testing.environment import TestEnvironment, Workers
from mqttsecure.testing.promises import broken_promises
from mqttsecure.testing.questions import NUMBERS, facts, odd_requests, ordinary_requests, request

__all__ = ["TESTING_VERSION", "PolicyKit", "TestEnvironment", "Workers", "facts", "request"]

TESTING_VERSION: Final = 1
"""Counted up when something here is taken away or means something else."""

_ALLOWANCE: Final = 500
"""Blocks of memory that may be there after all decisions and were not before: Python's own, some dozens."""

_ROUNDS: Final = 3
"""A leak grows in each; what others in the same process do meanwhile, as threads that end, does not."""

_LONGEST_BREAK: Final = 31.0
"""Seconds after which any circuit breaker tries again."""

if TYPE_CHECKING:

    class _Case(TestCase):
        """What the test case beside this gives, as the type checker is to see it."""

        def mktemp(self) -> str: ...

        def flushLoggedErrors(self) -> list[Failure]: ...
else:
    _Case = object


class PolicyKit(_Case):
    """Put it before ``SynchronousTestCase`` among the bases of a test case, and say what to test."""

    factory: ClassVar[Any] = None
    """The factory object of your module."""

    options: ClassVar[Mapping[str, Any]] = {}
    """The keys of its ``[[policy]]`` table, as they would stand in the file."""

    bad_options: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Others that must refuse a start."""

    timeout: ClassVar[float] = 5.0
    """Seconds within which it has to answer: ``timeout_ms`` of its table."""

    decisions: ClassVar[int] = 10_000
    """How many are made in search of a leak: not below 2000, where one that is small would not be seen."""

    warm_up: ClassVar[int] = 1000
    """Decisions after which its bounded caches are full."""

    def make_environment(self) -> TestEnvironment:
        """The broker around it; override it for files and authorities."""
        return TestEnvironment(folder=Path(self.mktemp()))

    def more_requests(self) -> Iterable[Request]:
        """Questions of your own that it must be able to answer, beside those that are made for its stages."""
        return ()

    # What the tests below work with

    def build(self, environment: TestEnvironment) -> IPolicy:
        """The policy, as the broker builds it."""
        options = self.factory.options.model_validate(dict(self.options))
        return verify_policy(self.factory.build(options, environment), environment.policy_id)

    def built(self) -> tuple[IPolicy, TestEnvironment, PolicyChain]:
        """A new policy in a broker and a chain of its own."""
        environment = self.make_environment()
        policy = self.build(environment)
        return policy, environment, chain_of(self.factory, policy, environment, timeout=self.timeout)

    def questions(self, purpose: Purpose | None = None) -> list[Request]:
        """Ordinary ones and your own, of one purpose or of all."""
        found = [*ordinary_requests(self.factory.stages), *self.more_requests()]
        return [each for each in found if purpose is None or each.purpose is purpose]

    def verdicts(self, requests: Iterable[Request], prepare: Callable[[Any], None] | None = None) -> list[Verdict]:
        """What a new policy says to these, one after the other."""
        policy, environment, chain = self.built()
        if prepare is not None:
            prepare(policy)
        return [Asked(chain, each).settled(environment, self.timeout) for each in requests]

    def assert_sound(self, verdict: Verdict | None, question: Request) -> None:
        """There is a verdict, and the policy did nothing wrong."""
        self.assertIsNotNone(verdict, f"no verdict; {told(question)}")
        if verdict is not None:
            self.assertFalse(verdict.indeterminate, f"{verdict.text}; {told(question)}")

    def assert_no_errors(self, why: str) -> None:
        """Nothing was logged as an error."""
        errors = self.flushLoggedErrors()
        self.assertEqual([each.getErrorMessage() for each in errors], [], why)

    # The tests

    def test_factory_keeps_to_the_interface(self) -> None:
        """The factory describes itself as the broker wants it, and what it builds is a policy."""
        factory = self.factory
        self.assertIsNotNone(factory, "say `factory = ...` in the test case")
        verify_factory(FoundFactory(factory.name, "test", "", Path("test"), factory))
        self.assertRegex(factory.name, r"\A[a-z0-9]+(-[a-z0-9]+)*\Z", "names are lower case with hyphens")
        self.assertTrue(factory.summary and "\n" not in factory.summary, "`summary` is one line for listings")
        self.build(self.make_environment())

    def test_options_are_strict(self) -> None:
        """A misspelled option, and each of `bad_options`, refuses the start with words for whoever made the mistake."""
        with self.assertRaises(ValidationError, msg='give the options model extra="forbid"'):
            self.factory.options.model_validate({**self.options, "no_such_option": 1})
        for bad in self.bad_options:
            with self.assertRaises((ValidationError, ConfigError), msg=f"{bad!r} was taken"):
                self.factory.build(self.factory.options.model_validate(dict(bad)), self.make_environment())

    def test_build_starts_nothing(self) -> None:
        """`mqttsecure check` builds it and throws it away: it sets no timer and asks for no thread."""
        environment = self.make_environment()
        environment.workers = Workers.HELD
        self.build(environment)
        self.assertEqual((environment.held, environment.clock.getDelayedCalls()), (0, []))

    def test_answers_are_decisions(self) -> None:
        """Whatever is asked, ordinary or odd, it answers with a Decision that it may give at that stage."""
        _, environment, chain = self.built()
        for each in [*self.questions(), *odd_requests(self.factory.stages)]:
            self.assert_sound(Asked(chain, each).settled(environment, self.timeout), each)
        self.assert_no_errors("odd questions are no errors")

    def test_keeps_its_promises(self) -> None:
        """`cacheable`, `scope`, `stateful = False` and `grants` say what is so."""
        for each in [*self.questions(), *odd_requests(self.factory.stages)]:
            policy, environment, _ = self.built()
            other, beside, _ = self.built()
            for broken in broken_promises(policy, environment, other, beside, each, self.timeout):
                self.fail(f"{broken}; {told(each)}")

    def test_questions_that_only_ask_leave_nothing(self) -> None:
        """Only LIVE counts, spends and strikes: explaining a hundred times changes no later answer."""
        live = self.questions(Purpose.LIVE)
        asking = [each for each in self.questions() if each.purpose is not Purpose.LIVE]
        policy, environment, chain = self.built()
        for each in asking:
            decision = answer_of(policy, environment, each, self.timeout)
            strikes = [one for one in getattr(decision, "obligations", ()) if isinstance(one, Strike)]
            self.assertEqual(strikes, [], f"a strike with purpose {each.purpose.value}; {told(each)}")
        for each in asking * 20:
            Asked(chain, each).settled(environment, self.timeout)
        after = [Asked(chain, each).settled(environment, self.timeout) for each in live]
        self.assertEqual(said(after), said(self.verdicts(live)))

    def test_slow_threads(self) -> None:
        """Where threads take long it answers later, and the same."""
        live = self.questions(Purpose.LIVE)
        _, environment, chain = self.built()
        environment.workers = Workers.HELD
        asked = [Asked(chain, each) for each in live]
        environment.clock.advance(self.timeout / 2)
        found = [each.settled(environment, self.timeout) for each in asked]
        self.assertEqual(said(found), said(self.verdicts(live)))

    def test_hanging_threads(self) -> None:
        """Where threads never end the client is denied in time, and afterwards it works as if nothing had been."""
        live = self.questions(Purpose.LIVE)
        _, environment, chain = self.built()
        environment.workers = Workers.HELD
        for _ in range(5):
            asked = [Asked(chain, each) for each in live]
            waited = [each for each in asked if each.verdict is None]
            environment.clock.advance(self.timeout + 0.1)
            for each in waited:
                self.assertIsNotNone(each.verdict, f"still waiting; {told(each.request)}")
                if each.verdict is not None:
                    self.assertIs(each.verdict.effect, Effect.DENY, "no answer is no consent")
        environment.workers = Workers.READY
        environment.clock.advance(_LONGEST_BREAK)
        for question in self.questions(Purpose.EXPLAIN):
            Asked(chain, question).settled(environment, self.timeout)
        for question in live:
            asked_again = Asked(chain, question)
            environment.clock.advance(self.timeout + 0.1)  # those that hang are not let go
            self.assert_sound(asked_again.verdict, question)
        self.flushLoggedErrors()
        environment.release()
        self.assert_no_errors("an answer that comes too late is nobody's error")

    def test_clients_that_leave(self) -> None:
        """The client is gone before the answer: what is cancelled ends, what comes late does no harm."""
        _, environment, chain = self.built()
        environment.workers = Workers.HELD
        asked = [Asked(chain, each) for each in self.questions(Purpose.LIVE)]
        for each in asked:
            if each.pending is not None:
                each.pending.cancel()
        environment.release()
        environment.clock.advance(self.timeout * 2)
        self.assert_no_errors("a client that leaves is nobody's error")
        self.assertFalse([each for each in asked if each.pending is not None and each.verdict is not None])

    def test_threads_that_fail(self) -> None:
        """Where a thread fails, or there is none to be had, nobody is let in for it."""
        for workers in (Workers.FULL, Workers.FAILING):
            for each in self.questions(Purpose.LIVE):
                _, environment, chain = self.built()
                environment.workers = workers
                before = environment.refused
                verdict = Asked(chain, each).settled(environment, self.timeout)
                if environment.refused != before:
                    self.assertIsNot(verdict.effect, Effect.PERMIT, f"permitted though threads fail; {told(each)}")
            self.flushLoggedErrors()

    def test_questions_within_questions(self) -> None:
        """It is asked again while it thinks, in between and from within: each client gets its own answer."""
        live = self.questions(Purpose.LIVE)
        alone = said(verdict for each in live for verdict in self.verdicts([each]))
        _, environment, chain = self.built()
        environment.workers = Workers.HELD
        asked = [Asked(chain, each) for each in live]
        environment.release(backwards=True)
        self.assertEqual(said(each.settled(environment, self.timeout) for each in asked), alone)
        for question, expected in zip(live, alone, strict=True):
            _, environment, chain = self.built()
            inner: list[Asked] = []
            # Whatever it asks of the broker, somebody else's question comes first.
            environment.before = lambda chain=chain, inner=inner, environment=environment: _nest(
                chain, live[0], inner, environment
            )
            verdict = Asked(chain, question).settled(environment, self.timeout)
            self.assertEqual(said([verdict]), [expected], f"another answer when asked within; {told(question)}")
            for each in inner:
                self.assertEqual(said([each.settled(environment, self.timeout)]), [alone[0]], "the question within")

    def test_reload_while_pending(self) -> None:
        """A reload comes while it thinks: the new one answers as it should, the old one does no harm any more."""
        live = self.questions(Purpose.LIVE)
        old, environment, chain = self.built()
        environment.workers = Workers.HELD
        asked = [Asked(chain, each) for each in live]
        beside = self.make_environment()
        new = self.build(beside)
        if IStateKeeper.providedBy(new):
            new.inherit(old)
        newer = chain_of(self.factory, new, beside, timeout=self.timeout, version=2)
        found = [Asked(newer, each).settled(beside, self.timeout) for each in live]
        if getattr(new, "stateful", True) is False:
            self.assertEqual(said(found), said(self.verdicts(live)))
        for each, question in zip(found, live, strict=True):
            self.assert_sound(each, question)
        environment.release()
        for late in asked:
            verdict = late.settled(environment, self.timeout)
            self.assertEqual(verdict.policy_version, 1, "the broker throws it away")
        if IStateKeeper.providedBy(old):
            old.save()
        environment.release()
        self.assert_no_errors("a reload is nobody's error")

    def test_ten_thousand_decisions_without_a_leak(self) -> None:
        """Ten thousand decisions about clients that come and go leave nothing behind."""
        _, environment, chain = self.built()
        live = self.questions(Purpose.LIVE)
        self._serve(chain, environment, live, max(self.warm_up, len(live)))
        grown = []
        for _ in range(_ROUNDS):
            before = _blocks()
            self._serve(chain, environment, live, self.decisions)
            grown.append(_blocks() - before)
            if grown[-1] < _ALLOWANCE:
                break
        left = min(grown)
        self.assertLess(
            left,
            _ALLOWANCE,
            f"{left} blocks of memory more than before. What is kept for a connection has to go in connection_closed "
            "(provide IConnectionObserver), what is kept for longer needs a bound (TtlCache of mqttsecure.authors); is "
            "that bound above `warm_up` decisions, raise it in the test case",
        )
        self.assertEqual(environment.clock.getDelayedCalls(), [], "timers of clients that are gone")

    def _serve(self, chain: PolicyChain, environment: TestEnvironment, live: list[Request], decisions: int) -> None:
        """Clients connect, ask one question each, and leave: a hundred different ones, over and over."""
        for number in range(decisions):
            question = live[number % len(live)]
            connection = _of_client(question.connection, number)
            chain.connection_opened(connection)
            if connection.principal is not None:
                chain.connection_authenticated(connection)
            Asked(chain, dataclasses.replace(question, connection=connection)).settled(environment, self.timeout)
            chain.connection_closed(connection)
        self.flushLoggedErrors()


def said(verdicts: Iterable[Verdict]) -> list[tuple[str, bool, str, str]]:
    """What counts of verdicts: the effect, whether the policy decided itself, by which rule, and the failure."""
    return [
        (each.effect.value, bool(each.policy), each.rule, each.text if each.indeterminate else "") for each in verdicts
    ]


def _of_client(connection: ConnectionFacts, number: int) -> ConnectionFacts:
    """A new connection of one of a hundred clients."""
    return dataclasses.replace(
        connection,
        connection_id=next(NUMBERS),
        client_id=f"{connection.client_id}-{number % 100}" if connection.client_id else "",
    )


def _nest(chain: PolicyChain, question: Request, inner: list[Asked], environment: TestEnvironment) -> None:
    environment.before = None
    inner.append(Asked(chain, fresh(question)))


def _blocks() -> int:
    gc.collect()
    gc.collect()
    return sys.getallocatedblocks()
