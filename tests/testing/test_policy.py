"""The kit on policies that break the contract, each in one way: it finds every one of them, and names it."""

from __future__ import annotations

import unittest
from typing import Any

from pydantic import BaseModel, ConfigDict
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mqttsecure.core.decisions import Action, Effect
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    Decision,
    Grant,
    IGrants,
    IPolicy,
    IPolicyFactory,
    IStateKeeper,
    Purpose,
    Request,
    Role,
    Stage,
    Strike,
)
from mqttsecure.testing.policy import PolicyKit

BAN = Decision.deny("ban", "struck", obligations=(Strike(1, "x"),))


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    level: int = 1


@implementer(IPolicy)
class Base:
    """Abstains from everything. Those below do one thing wrong."""

    def __init__(self, environment: Any) -> None:
        self.environment = environment
        self.asked = 0

    def decide(self, request: Request) -> Any:
        return Decision.abstain()


class Raising(Base):
    """Stumbles over a client that nobody knows yet, which comes about."""

    def decide(self, request: Request) -> Any:
        return Decision.abstain(text=request.connection.principal.name)  # type: ignore[union-attr]


class WrongType(Base):
    def decide(self, request: Request) -> Any:
        return True


class Coroutine(Base):
    def decide(self, request: Request) -> Any:
        async def answer() -> Decision:
            return Decision.abstain()

        return answer()


class Overreaching(Base):
    """Permits where it only restricts."""

    def decide(self, request: Request) -> Any:
        return Decision.permit()


class Undeclared(Base):
    def decide(self, request: Request) -> Any:
        return Decision.abstain(attributes={"tenant": "x"})


class LyingCache(Base):
    """Says cacheable, and counts."""

    def decide(self, request: Request) -> Any:
        self.asked += 1
        return Decision.abstain(cacheable=True) if self.asked % 2 else Decision.deny()


class LyingStateless(Base):
    """Says that it remembers nothing, and has drawn lots."""

    stateful = False
    made = 0

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        LyingStateless.made += 1
        self.denies = LyingStateless.made % 2

    def decide(self, request: Request) -> Any:
        return Decision.deny() if self.denies else Decision.abstain()


class LyingScope(Base):
    """Says that an answer holds for a whole tree, in which there is a secret."""

    def decide(self, request: Request) -> Any:
        if "secret" in request.topic:
            return Decision.deny()
        return (
            Decision.abstain(cacheable=True, scope="plant/#")
            if request.topic.startswith("plant/")
            else Decision.abstain()
        )


@implementer(IGrants)
class LyingGrants(Base):
    """Tells of no grants, and permits."""

    def decide(self, request: Request) -> Any:
        return Decision.permit()

    def grants(self, subject: Any) -> list[Grant]:
        return []

    def names(self) -> list[Any]:
        return []

    def advise(self, request: Request) -> Any:
        return None


class WiderGrants(LyingGrants):
    """Tells of a grant that it does not give."""

    def decide(self, request: Request) -> Any:
        return Decision.abstain()

    def grants(self, subject: Any) -> list[Grant]:
        return [Grant(Effect.PERMIT, action, "#", 0b111111, 0b111111) for action in Action]


class CountsWhatOnlyAsks(Base):
    """After twenty questions of any purpose it is full."""

    def decide(self, request: Request) -> Any:
        self.asked += 1
        return Decision.deny() if self.asked > 20 else Decision.abstain()


class StrikesWhatOnlyAsks(Base):
    def decide(self, request: Request) -> Any:
        return BAN


class Leaking(Base):
    """Remembers every connection, for ever."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.seen: dict[int, list[str]] = {}

    def decide(self, request: Request) -> Any:
        self.seen[request.connection.connection_id] = [request.connection.client_id]
        return Decision.abstain()


class LeakingTimers(Base):
    def decide(self, request: Request) -> Any:
        self.environment.clock.callLater(3600, lambda: None)
        return Decision.abstain()


class Threaded(Base):
    """Asks a thread, and does one thing wrong with the answer."""

    def decide(self, request: Request) -> Any:
        return self.environment.defer_to_thread(lambda: True).addCallbacks(self.answered, self.failed)

    def answered(self, result: object) -> Any:
        return Decision.permit()

    def failed(self, failure: Any) -> Any:
        return failure


class FailOpen(Threaded):
    """Permits when it cannot tell."""

    def failed(self, failure: Any) -> Any:
        return Decision.permit()


class OneAtATime(Threaded):
    """Keeps the question in itself, where the next one takes its place."""

    def decide(self, request: Request) -> Any:
        self.request = request
        return super().decide(request)

    def answered(self, result: object) -> Any:
        return Decision.permit() if self.request.qos == 0 else Decision.deny()


class StuckForEver(Threaded):
    """Once a thread did not answer, it waits for that one and asks none any more."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.waiting: Deferred[Any] | None = None

    def decide(self, request: Request) -> Any:
        if self.waiting is None:
            self.waiting = Deferred()
            self.environment.defer_to_thread(lambda: True).addCallback(self.came)
        answer: Deferred[Any] = Deferred()
        self.waiting.addCallback(lambda _: answer.callback(Decision.permit()))
        return answer

    def came(self, result: object) -> None:
        waiting = self.waiting
        if waiting is not None:
            waiting.callback(None)


class StartsAtOnce(Base):
    """Sets a timer as soon as it is built."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        environment.clock.callLater(1, lambda: None)


@implementer(IStateKeeper)
class Ungiving(Base):
    """Works no longer once another has taken over."""

    def decide(self, request: Request) -> Any:
        if self.environment is None:
            raise RuntimeError("I was replaced")
        return self.environment.defer_to_thread(lambda: None).addCallback(
            lambda _: self.environment and Decision.abstain()
        )

    def inherit(self, previous: Any) -> None:
        previous.environment = None

    def save(self) -> None:
        raise RuntimeError("cannot save")


def kit_of(policy: type[Base], role: Role, **changes: Any) -> type[PolicyKit]:
    """A kit test case of a policy."""

    @implementer(IPolicyFactory)
    class Factory:
        interface_version = INTERFACE_VERSION
        name = "tested"
        summary = "one that is tested"
        stages = {Stage.PUBLISH: role, Stage.SUBSCRIBE: role}
        options = Options
        attributes: dict[str, type] = {}

        def build(self, options: Any, environment: Any) -> Any:
            return policy(environment)

    made = Factory()
    for name, value in changes.items():
        setattr(made, name, value)
    return type("KitTests", (PolicyKit, SynchronousTestCase), {"factory": made})


class KitTests(SynchronousTestCase):
    """What the kit says of a policy."""

    def failing(self, kit: type[PolicyKit], *only: str) -> set[str]:
        """The tests that fail, of all or of some, without their first word."""
        kit.warm_up = 100
        if only:
            kit.decisions = 1000  # enough for those that leak with each
        result = unittest.TestResult()
        names = [f"test_{each}" for each in only] or unittest.TestLoader().getTestCaseNames(kit)  # type: ignore[arg-type]
        for name in names:
            kit(name).run(result)
        self.flushLoggedErrors()
        self.texts = [text for _, text in (*result.failures, *result.errors)]
        self.assertEqual(result.testsRun, len(names))
        return {case._testMethodName[5:] for case, _ in (*result.failures, *result.errors)}  # type: ignore[attr-defined]

    def test_sound_policies_pass(self) -> None:
        """A policy that keeps the contract fails none of it, with threads and without."""
        self.assertEqual(self.failing(kit_of(Base, Role.RESTRICTS)), set(), self.__dict__.get("texts"))
        self.assertEqual(self.failing(kit_of(Threaded, Role.GRANTS)), set(), self.__dict__.get("texts"))

    def test_each_fault_is_found(self) -> None:
        """Raising, lying, leaking, hanging, late, reentrant: the test whose name says it fails."""
        for policy, role, expected in (
            (Raising, Role.RESTRICTS, "answers_are_decisions"),
            (WrongType, Role.RESTRICTS, "answers_are_decisions"),
            (Coroutine, Role.RESTRICTS, "answers_are_decisions"),
            (Overreaching, Role.RESTRICTS, "answers_are_decisions"),
            (Undeclared, Role.RESTRICTS, "answers_are_decisions"),
            (LyingCache, Role.RESTRICTS, "keeps_its_promises"),
            (LyingStateless, Role.RESTRICTS, "keeps_its_promises"),
            (LyingScope, Role.RESTRICTS, "keeps_its_promises"),
            (LyingGrants, Role.GRANTS, "keeps_its_promises"),
            (WiderGrants, Role.GRANTS, "keeps_its_promises"),
            (CountsWhatOnlyAsks, Role.RESTRICTS, "questions_that_only_ask_leave_nothing"),
            (StrikesWhatOnlyAsks, Role.RESTRICTS, "questions_that_only_ask_leave_nothing"),
            (Leaking, Role.RESTRICTS, "ten_thousand_decisions_without_a_leak"),
            (LeakingTimers, Role.RESTRICTS, "ten_thousand_decisions_without_a_leak"),
            (FailOpen, Role.GRANTS, "threads_that_fail"),
            (OneAtATime, Role.GRANTS, "questions_within_questions"),
            (StuckForEver, Role.GRANTS, "hanging_threads"),
            (StartsAtOnce, Role.RESTRICTS, "build_starts_nothing"),
            (Ungiving, Role.RESTRICTS, "reload_while_pending"),
        ):
            with self.subTest(policy.__name__):
                self.assertIn(expected, self.failing(kit_of(policy, role), expected), policy.__name__)

    def test_factories_that_are_none(self) -> None:
        """A factory that does not describe itself, and options that take anything, are found as well."""

        class Loose(BaseModel):
            pass

        for changes, expected in (
            ({"interface_version": 99}, "factory_keeps_to_the_interface"),
            ({"name": "Not A Name"}, "factory_keeps_to_the_interface"),
            ({"summary": ""}, "factory_keeps_to_the_interface"),
            ({"stages": {}}, "factory_keeps_to_the_interface"),
            ({"options": Loose}, "options_are_strict"),
        ):
            self.assertIn(expected, self.failing(kit_of(Base, Role.RESTRICTS, **changes), expected), changes)

    def test_failures_name_the_question(self) -> None:
        """I am told at which stage and about what the policy was asked when it failed."""
        self.failing(kit_of(Raising, Role.RESTRICTS), "answers_are_decisions")
        self.assertTrue(any("asked at PUBLISH" in text and "principal None" in text for text in self.texts), self.texts)

    def test_bad_options_that_are_taken(self) -> None:
        """An option that should refuse the start and does not is found."""
        kit = kit_of(Base, Role.RESTRICTS)
        kit.bad_options = ({"level": "high"},)
        self.assertNotIn("options_are_strict", self.failing(kit, "options_are_strict"))
        kit.bad_options = ({"level": -1},)
        self.assertIn("options_are_strict", self.failing(kit, "options_are_strict"))

    def test_purposes(self) -> None:
        """All purposes are asked."""
        seen: set[Purpose] = set()

        class Seeing(Base):
            def decide(self, request: Request) -> Any:
                seen.add(request.purpose)
                return Decision.abstain()

        self.failing(kit_of(Seeing, Role.RESTRICTS), "answers_are_decisions")
        self.assertEqual(seen, set(Purpose))
