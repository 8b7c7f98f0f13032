# -*- test-case-name: tests.policy.test_fold -*-
"""The fold: how the decisions of the policies at one stage become one verdict.

Ordered deny-overrides with default deny; *not* first match. The policies are asked one after another, never in
parallel. The first DENY ends the stage. ABSTAIN is never consent, though its obligations, attributes and meters count.
At the end at least one PERMIT is needed. Whatever a policy does wrong is INDETERMINATE, which is enforced as a DENY.

This module is on the path of each message whose decision is not cached: as long as the policies answer directly it
makes no Deferred and calls nothing but them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from mqttsecure.core.decisions import (
    EVERY_TOPIC,
    NAMESPACE,
    Decision,
    Effect,
    Meter,
    Obligation,
    Pending,
    Purpose,
    Request,
    Stage,
    Strike,
    Verdict,
    namespace_fault,
)
from mqttsecure.errors import QuotaExceeded
from mqttsecure.policy.identity import Identity, IdentityConflict
from mqttsecure.policy.obligations import merge_obligations, obligations_fault
from mqttsecure.policy.slots import InLine
from mqttsecure.policy.step import FoldContext, Step, default_denial
from mqttsecure.policy.waiting import Waiting
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.topics import intersection

__all__ = ["Fold"]

# Module globals are read faster than attributes of an enum, and these are read for every policy asked.
_PERMIT: Final = Effect.PERMIT
_ABSTAIN: Final = Effect.ABSTAIN
_DENY: Final = Effect.DENY
_LIVE: Final = Purpose.LIVE

_STRIKING: Final = frozenset((Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE))
"""Where a strike counts: what is denied on topics is most often a wrong rule, and bans nobody."""

_TOO_LATE_FOR_A_NAMESPACE: Final = frozenset((Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER))
"""The client lives in one by then."""

_DENIAL_CODES: Final = frozenset(int(code) for code in ReasonCode if code >= 0x80)
_CARRIED: Final = "mqttsecure.carried"
_COMPLAINT_INTERVAL: Final = 1.0
"""Seconds between two logged faults of one policy: peers can provoke them, and must not fill the disk with them."""


class Fold:
    """One request on its way through the policies of its stage."""

    __slots__ = (
        "_attributes",
        "_context",
        "_decider",
        "_decisions",
        "_decisive",
        "_enforced",
        "_identity",
        "_indeterminate",
        "_live",
        "_meters",
        "_obligations",
        "_pending",
        "_private",
        "_recalled",
        "_request",
        "_scope",
        "_steps",
        "_valid_until",
        "_volatile",
        "_waiting",
    )

    def __init__(
        self,
        context: FoldContext,
        steps: tuple[Step, ...],
        request: Request,
        recalled: Mapping[Step, Decision] | None = None,
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
        self._decider: Step | None = None
        self._decisive: Decision | None = None
        self._indeterminate = False
        self._volatile = False
        self._valid_until: float | None = None
        self._scope: str | None = EVERY_TOPIC
        self._obligations: list[Obligation] | None = None
        self._meters: tuple[Meter, ...] = ()
        self._attributes: dict[str, Any] | None = None
        self._identity: Identity | None = None
        self._pending: Pending | None = None
        self._waiting: Waiting | InLine | None = None
        self._private = False
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

    # Asking

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
        version, permits = self._request.exchange.pop(_CARRIED, (None, None))
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

    # Taking in

    def _take(self, step: Step, decision: Decision) -> bool:
        """Take in one policy's decision; True if it ends the stage."""
        effect = decision.effect
        if effect is _PERMIT and not step.grants:
            decision = self._fault(step, "PERMIT from a policy that only restricts at this stage")
        elif effect is not _PERMIT and effect is not _ABSTAIN and effect is not _DENY:
            decision = self._checked_challenge(step, decision)
        if decision.obligations or decision.attributes or decision.meters or self._identity is not None:
            decision = self._examined(step, decision)
        if decision.cacheable and decision.valid_until is not None:
            decision = self._bounded(step, decision)
        if not decision.cacheable:
            self._volatile = True
        elif decision.scope != EVERY_TOPIC:
            self._scope = self._narrowed(decision.scope)
        self._decisions.append(decision)
        effect = decision.effect
        if effect is _ABSTAIN:
            return self._may_not_abstain(step)
        if effect is _PERMIT and self._decisive is not None:
            return step.final
        self._decider, self._decisive = step, decision
        return effect is not _PERMIT or step.final

    def _bounded(self, step: Step, decision: Decision) -> Decision:
        """Let the verdict hold no longer than this decision."""
        valid_until = decision.valid_until
        if not isinstance(valid_until, float | int) or valid_until != valid_until:
            return self._fault(step, f"valid_until must be a number, not {valid_until!r:.100}")
        if self._valid_until is None or valid_until < self._valid_until:
            self._valid_until = valid_until
        return decision

    def _narrowed(self, scope: str | None) -> str | None:
        """Where this decision holds as well as those before it."""
        if scope is None or self._scope is None:
            return None
        if self._scope in (EVERY_TOPIC, scope):
            return scope
        try:
            return intersection(self._scope, scope)
        except (AttributeError, TypeError):
            return None  # not a filter: it holds for the topic at hand alone

    def _may_not_abstain(self, step: Step) -> bool:
        """Whether this ABSTAIN is a DENY."""
        if step.required:
            text = "abstained, but is required at this stage"
        elif self._identity is not None and self._request.evidence is not None:
            # It once permitted this client; a credential that is gone must not be mended by another one.
            text = "no longer vouches for the credential it accepted"
        else:
            return False
        self._decider, self._decisive = step, Decision.deny(text=text)
        return True

    def _examined(self, step: Step, decision: Decision) -> Decision:
        """The decision with all that comes with it taken in, or the fault that it is."""
        try:
            fault = self._examine(step, decision)
        except IdentityConflict as conflict:
            return Decision.deny(text=str(conflict), reason_code=ReasonCode.NOT_AUTHORIZED)
        except Exception:  # fields of wrong types can fail in any way
            return self._fault(step, "malformed Decision", Failure())
        return decision if fault is None else self._fault(step, fault)

    def _examine(self, step: Step, decision: Decision) -> str | None:
        if decision.obligations:
            if fault := obligations_fault(decision.obligations):
                return fault
            self._obligations = (self._obligations or []) + list(decision.obligations)
        if decision.effect is not _DENY and decision.attributes and (fault := self._set_attributes(step, decision)):
            return fault
        if decision.effect is _PERMIT and step.grants and self._identity is not None:
            if fault := self._identity.fault(decision):
                return fault
            self._identity.add(step.id, decision)
        if decision.meters:
            if not all(callable(meter.spend) for meter in decision.meters):
                return "a meter without spend()"
            self._meters += decision.meters
        return None

    def _set_attributes(self, step: Step, decision: Decision) -> str | None:
        """Write a decision's attributes into the connection's facts, once per name; all of them or none."""
        present = self._request.connection.attributes
        for name, value in decision.attributes.items():
            if fault := _attribute_fault(step, self._request.stage, name, value):
                return fault
            if name in present and present[name] != value:
                return f"attribute {name!r} is already set to another value"
        request = self._request
        if request.purpose in (Purpose.RECHECK, Purpose.SHADOW) and not self._private:
            # These may be asked with the facts of a live connection, which they must not change.
            request.connection = dataclasses.replace(request.connection, attributes=dict(present))
            self._private = True
        request.connection.attributes.update(decision.attributes)
        self._attributes = {**(self._attributes or {}), **decision.attributes}
        return None

    def _checked_challenge(self, step: Step, decision: Decision) -> Decision:
        if decision.effect is not Effect.CHALLENGE:
            return self._fault(step, f"effect must be an Effect, not {decision.effect!r:.100}")
        if self._identity is None or not step.grants:
            return self._fault(step, "CHALLENGE is for granting policies at AUTHENTICATE alone")
        fault = self._identity.challenge_fault(decision)
        return decision if fault is None else self._fault(step, fault)

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

    # Concluding

    def _conclude(self) -> Verdict:
        """The verdict of the decisions taken in."""
        step, decision, identity = self._decider, self._decisive, self._identity
        if decision is None:
            decision = Decision.deny(text=default_denial(self._steps, self._decisions))
        elif decision.effect is _PERMIT and identity is not None and not identity.method_met:
            step = None
            decision = Decision.deny(
                text=f"no policy carried out the Authentication Method {self._request.authentication_method!r:.200}",
                reason_code=ReasonCode.BAD_AUTHENTICATION_METHOD,
            )
        verdict = self._verdict(step, decision)
        if identity is not None:
            self._add_identity(verdict, identity, decision)
        if self._live:
            self._count(step, decision.effect)
            if self._obligations is not None and self._request.stage in _STRIKING:
                self._strike(verdict)
        return verdict

    def _strike(self, verdict: Verdict) -> None:
        """Tell those who act on it what the policies hold against the client."""
        for obligation in verdict.obligations:
            if isinstance(obligation, Strike) and obligation.weight:
                self._context.strike(self._request.connection, obligation.weight, obligation.why)

    def _verdict(self, step: Step | None, decision: Decision) -> Verdict:
        context, request, effect = self._context, self._request, decision.effect
        obligations: tuple[Obligation, ...] = ()
        if self._obligations is not None:
            obligations = merge_obligations(
                self._obligations, strikes=request.purpose not in (Purpose.RECHECK, Purpose.SHADOW)
            )
        return Verdict(
            effect,
            request.stage,
            "" if step is None else step.id,
            decision.rule,
            decision.text,
            decision.source or (None if step is None else step.source),
            0 if effect is _PERMIT else self._reason_code(step, decision),
            obligations,
            self._attributes or {},
            self._meters,
            self._residual() if self._volatile else None,
            self._valid_until,
            context.version,
            next(context.decision_ids) if effect is _DENY else "",
            self._indeterminate,
            scope=None if self._volatile or self._indeterminate else self._scope,
        )

    def _reason_code(self, step: Step | None, decision: Decision) -> int:
        """What the client is told; a policy's own code only if it is one that means a failure."""
        code = decision.reason_code
        if decision.effect is Effect.CHALLENGE:
            return ReasonCode.CONTINUE_AUTHENTICATION
        if isinstance(code, int) and code in _DENIAL_CODES:
            return code
        if self._identity is not None:
            refused = step is not None and step.grants and decision is self._decisions[-1]
            unknown = step is None and self._request.password is not None
            if refused or unknown:
                return ReasonCode.BAD_USER_NAME_OR_PASSWORD
        return ReasonCode.NOT_AUTHORIZED

    def _add_identity(self, verdict: Verdict, identity: Identity, decision: Decision) -> None:
        if decision.effect is _PERMIT:
            verdict.principal = identity.principal
            verdict.groups = identity.groups
            verdict.evidence = identity.evidence
            verdict.authentication_method = self._request.authentication_method
            verdict.authentication_data = identity.data
        elif decision.effect is Effect.CHALLENGE:
            verdict.authentication_method = self._request.authentication_method
            verdict.authentication_data = decision.authentication_data
            asked = zip(self._steps, self._decisions, strict=False)
            permits = {step: each for step, each in asked if each.effect is _PERMIT}
            self._request.exchange[_CARRIED] = (self._context.version, permits)

    def _residual(self) -> partial[Verdict | Pending]:
        """Asks only those whose answer may differ next time, and those that were not reached this time."""
        asked = zip(self._steps, self._decisions, strict=False)
        remembered = {step: decision for step, decision in asked if decision.cacheable}
        return partial(_refold, self._context, self._steps, remembered)

    def _count(self, step: Step | None, effect: Effect) -> None:
        counters = self._context.counters
        counters.decisions += 1
        if self._indeterminate:
            counters.indeterminate += 1
        if effect is _DENY:
            counters.denials += 1
            if step is not None:
                step.counters.denials += 1


def _attribute_fault(step: Step, stage: Stage, name: str, value: object) -> str | None:
    """What is wrong with one attribute of a decision, whatever is known of the connection; None if nothing is."""
    declared = step.attributes.get(name)
    if declared is None:
        return f"attribute {name!r} is not declared by its factory"
    if not isinstance(value, declared) or (isinstance(value, bool) and declared is not bool):
        return f"attribute {name!r} must be {declared.__name__}, not {type(value).__name__}"
    if name == NAMESPACE:
        if stage in _TOO_LATE_FOR_A_NAMESPACE:
            return f"a namespace is chosen at AUTHENTICATE at the latest, not at {stage.value}"
        return namespace_fault(value)
    return None


def _refold(
    context: FoldContext, steps: tuple[Step, ...], remembered: Mapping[Step, Decision], request: Request
) -> Verdict | Pending:
    return Fold(context, steps, request, remembered).start()
