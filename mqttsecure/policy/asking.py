# -*- test-case-name: tests.policy.test_fold_waiting -*-
"""Puts one request to the policies of its stage, one after another, and waits where one of them answers later.

What comes of the answers is the fold's business (:mod:`mqttsecure.policy.fold`), which builds on this. Whatever a
policy does wrong is INDETERMINATE: counted, told, and enforced as a DENY.

This module is on the path of each message whose decision is not cached: as long as the policies answer directly it
makes no Deferred and calls nothing but them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from mqttsecure.core.decisions import Decision, Pending, Purpose, Request, Stage, Verdict
from mqttsecure.errors import QuotaExceeded
from mqttsecure.policy.identity import Identity
from mqttsecure.policy.slots import InLine
from mqttsecure.policy.step import FoldContext, Step
from mqttsecure.policy.waiting import Waiting
from mqttsecure.wire.constants import ReasonCode

__all__ = ["CARRIED", "Asking"]

# A module's global is read faster than an attribute of an enum, and this is read for every policy asked.
_LIVE: Final = Purpose.LIVE

CARRIED: Final = "mqttsecure.carried"
"""Under which an Enhanced Authentication exchange keeps what was permitted in its earlier steps."""

_COMPLAINT_INTERVAL: Final = 1.0
"""Seconds between two logged faults of one policy: peers can provoke them, and must not fill the disk with them."""


class Asking:
    """One request on its way through the policies of its stage, which are asked in order, never in parallel."""

    __slots__ = (
        "_context",
        "_decisions",
        "_enforced",
        "_identity",
        "_indeterminate",
        "_live",
        "_pending",
        "_recalled",
        "_request",
        "_steps",
        "_waiting",
    )

    def __init__(
        self,
        context: FoldContext,
        steps: tuple[Step, ...],
        request: Request,
        recalled: Mapping[Step, Decision] | None,
    ) -> None:
        """
        Args:
            context: what all folds of the chain share.
            steps: the policies of this stage, in order.
            request: the question.
            recalled: answers to the same question that still hold; their policies are not asked again.
        """
        self._context = context
        self._steps = steps
        self._request = request
        self._recalled = recalled
        self._decisions: list[Decision] = []
        self._indeterminate = False
        self._identity: Identity | None = None
        self._pending: Pending | None = None
        self._waiting: Waiting | InLine | None = None
        self._live = self._enforced = request.purpose is _LIVE
        if not self._live:
            # The broker acts on a recheck as well, so it has to spare a policy that fails.
            self._enforced = request.purpose is Purpose.RECHECK
        if request.stage is Stage.AUTHENTICATE:
            self._identity = Identity(request, context.aliases)
            self._recall_exchange()

    def start(self) -> Verdict | Pending:
        """Ask the policies; Pending where one of them answers later."""
        verdict = self._run()
        if verdict is not None:
            return verdict
        self._pending = Pending(self._give_up)
        return self._pending

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What the policies asked so far have said, in order."""
        return tuple(self._decisions)

    def _take(self, step: Step, decision: Decision) -> bool:
        """Take in one policy's decision; True if it ends the stage."""
        raise NotImplementedError

    def _conclude(self) -> Verdict:
        """The verdict of the decisions taken in."""
        raise NotImplementedError

    # One after another

    def _run(self) -> Verdict | None:
        """Ask the policies that were not asked yet; None while one of them is awaited."""
        recalled = self._recalled
        for step in self._steps[len(self._decisions) :]:
            decision = None
            if recalled:
                decision = self._recall(recalled, step)
            if decision is None:
                decision = self._ask(step)
            if decision is None:
                return None
            if self._take(step, decision):
                break
        return self._conclude()

    def _recall(self, recalled: Mapping[Step, Decision], step: Step) -> Decision | None:
        decision = recalled.get(step)
        if decision is not None and decision.valid_until is not None and self._request.now >= decision.valid_until:
            return None
        return decision

    def _recall_exchange(self) -> None:
        """Keep what was permitted in earlier steps of an Enhanced Authentication exchange.

        The client shows its password in CONNECT alone; without this the policy that took it would abstain when AUTH
        brings the next step, and the two identities would never meet.
        """
        version, permits = self._request.exchange.pop(CARRIED, (None, None))
        if version == self._context.version:
            self._recalled = permits

    def _ask(self, step: Step) -> Decision | None:
        """The answer of one policy; None where it comes later."""
        breaker = step.breaker
        if breaker.tripped and not (self._enforced and breaker.admit()):
            return self._fault(step, "not asked: it kept failing (circuit breaker open)", complain=False)
        if step.slots.taken >= step.slots.maximum:
            return self._line_up(step)
        return self._ask_now(step)

    def _line_up(self, step: Step) -> Decision | None:
        """As many questions are under way to the policy as may be: wait for one of them to end."""
        slots = step.slots
        place = slots.line_up(step.timeout, self._context.clock, partial(self._had_its_turn, step))
        if place is None:
            if self._enforced:
                step.breaker.abandoned()
            text = f"not asked: {slots.maximum} questions are under way to it and {slots.waiting} wait"
            return self._fault(step, text, reason_code=ReasonCode.QUOTA_EXCEEDED)
        self._waiting = place
        return None

    def _had_its_turn(self, step: Step, in_time: bool) -> None:
        """The wait in line is over."""
        self._waiting = None
        if self._enforced and step.breaker.tripped:
            step.breaker.abandoned()  # if this was the trial: it never came to it
        if in_time:
            decision = self._ask(step)  # with a look at the breaker, which may have tripped since
            if decision is None:
                return
        else:
            text = f"not asked within {step.timeout:g} s: {step.slots.maximum} questions are under way to it"
            decision = self._fault(step, text, reason_code=ReasonCode.QUOTA_EXCEEDED)
        self._go_on(step, decision)

    def _ask_now(self, step: Step) -> Decision | None:
        request = self._request
        if self._identity is not None and request.purpose is Purpose.RECHECK:
            request.evidence = next((each for each in request.connection.evidence if each.policy == step.id), None)
        if self._live:
            step.counters.decisions += 1
        try:
            answer = step.decide(request)
        except (Exception, SystemExit):  # a policy must not end the broker either
            return self._failed(step, Failure())
        if type(answer) is Decision:
            if step.breaker.failures and self._enforced:
                step.breaker.succeeded()
            return answer
        return self._await(step, answer)

    def _await(self, step: Step, answer: object) -> Decision | None:
        """Read an answer that is not plainly a Decision; None for a Deferred that has not fired."""
        if not isinstance(answer, Deferred):
            return self._read(step, answer)
        self._waiting = Waiting(answer, step.timeout, self._context.clock, partial(self._answered, step))
        if not self._waiting.done:
            step.slots.take()
            return None
        return self._read(step, self._waiting.answer)

    def _read(self, step: Step, answer: object) -> Decision:
        """What a policy gave in the end, as a decision."""
        self._waiting = None
        if isinstance(answer, Failure):
            return self._failed(step, answer)
        if self._enforced:
            step.breaker.succeeded()
        if isinstance(answer, Decision):
            return answer
        close = getattr(answer, "close", None)
        if hasattr(answer, "__await__") and callable(close):
            close()  # a coroutine that nobody runs
            return self._fault(step, "answered with a coroutine; wrap it in Deferred.fromCoroutine()")
        return self._fault(step, f"answered with {type(answer).__name__}, not a Decision")

    def _answered(self, step: Step, answer: object) -> None:
        """The awaited policy answered, failed, or ran out of time."""
        self._go_on(step, self._read(step, answer))
        step.slots.free()

    def _go_on(self, step: Step, decision: Decision) -> None:
        """Take in a decision that came later, ask the policies that follow, and tell the verdict."""
        pending = self._pending
        verdict = None
        if self._take(step, decision):
            verdict = self._conclude()
        else:
            verdict = self._run()
        if verdict is not None and pending is not None:
            pending.resolve(verdict)

    def _give_up(self) -> None:
        """The connection ended first."""
        if self._waiting is None:
            return
        step = self._steps[len(self._decisions)]
        if self._enforced:
            step.breaker.abandoned()
        waiting, self._waiting = self._waiting, None
        waiting.cancel()
        if isinstance(waiting, Waiting):
            step.slots.free()

    # Faults

    def _failed(self, step: Step, failure: Failure) -> Decision:
        """A policy raised, or its Deferred failed or timed out."""
        error = failure.value
        if isinstance(error, QuotaExceeded):
            # The worker pool is full. That is the load's doing, not the policy's: no reason to stop asking it.
            if self._enforced:
                step.breaker.abandoned()
            return self._fault(step, str(error), reason_code=ReasonCode.QUOTA_EXCEEDED)
        if self._enforced:
            step.breaker.failed()
        if isinstance(error, Waiting.TimedOut):
            if self._live:
                step.counters.timeouts += 1
                self._context.counters.timeouts += 1
            return self._fault(step, f"no answer within {step.timeout:g} s")
        return self._fault(step, f"{type(error).__name__}: {failure.getErrorMessage():.200}", failure)

    def _fault(
        self,
        step: Step,
        text: str,
        failure: Failure | None = None,
        *,
        complain: bool = True,
        reason_code: int = ReasonCode.NOT_AUTHORIZED,
    ) -> Decision:
        """INDETERMINATE: counted, logged, and enforced as a DENY."""
        self._indeterminate = True
        counters = step.counters
        if self._live:
            counters.indeterminate += 1
        now = self._context.clock.seconds()
        if complain and (counters.last_complaint is None or now - counters.last_complaint >= _COMPLAINT_INTERVAL):
            counters.last_complaint = now
            self._complain(step, text, failure)
        return Decision.deny(text=f"indeterminate: {text}", reason_code=reason_code)

    def _complain(self, step: Step, text: str, failure: Failure | None) -> None:
        message = "policy {policy} at {stage} is indeterminate, enforced as a denial: {text}"
        level = LogLevel.error if failure is None else LogLevel.critical
        self._context.log.emit(
            level,
            message,
            policy=step.id,
            stage=self._request.stage.value,
            text=text,
            source=str(step.source),
            **({} if failure is None else {"log_failure": failure}),
        )
