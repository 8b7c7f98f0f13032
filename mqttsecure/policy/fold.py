# -*- test-case-name: tests.policy.test_fold -*-
"""The fold: how the decisions of the policies at one stage become one verdict.

Ordered deny-overrides with default deny; *not* first match. The policies are asked one after another, never in
parallel. The first DENY ends the stage. ABSTAIN is never consent, though its obligations, attributes and meters count.
At the end at least one PERMIT is needed. Whatever a policy does wrong is INDETERMINATE, which is enforced as a DENY.

How they are asked, and what becomes of one that fails, is in :mod:`mqttsecure.policy.asking`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

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
from mqttsecure.policy.asking import CARRIED, Asking
from mqttsecure.policy.identity import Identity, IdentityConflict
from mqttsecure.policy.obligations import merge_obligations, obligations_fault
from mqttsecure.policy.step import FoldContext, Step, default_denial
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.topics import intersection

__all__ = ["Fold"]

# Module globals are read faster than attributes of an enum, and these are read for every policy asked.
_PERMIT: Final = Effect.PERMIT
_ABSTAIN: Final = Effect.ABSTAIN
_DENY: Final = Effect.DENY

_STRIKING: Final = frozenset((Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE))
"""Where a strike counts: what is denied on topics is most often a wrong rule, and bans nobody."""

_TOO_LATE_FOR_A_NAMESPACE: Final = frozenset((Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER))
"""The client lives in one by then."""

_DENIAL_CODES: Final = frozenset(int(code) for code in ReasonCode if code >= 0x80)


class Fold(Asking):
    """The decisions of the policies that were asked, as they become one verdict."""

    __slots__ = (
        "_attributes",
        "_decider",
        "_decisive",
        "_meters",
        "_obligations",
        "_private",
        "_scope",
        "_valid_until",
        "_volatile",
    )

    def __init__(
        self,
        context: FoldContext,
        steps: tuple[Step, ...],
        request: Request,
        recalled: Mapping[Step, Decision] | None = None,
    ) -> None:
        """See :class:`Asking`."""
        super().__init__(context, steps, request, recalled)
        self._decider: Step | None = None
        self._decisive: Decision | None = None
        self._volatile = False
        self._valid_until: float | None = None
        self._scope: str | None = EVERY_TOPIC
        self._obligations: list[Obligation] | None = None
        self._meters: tuple[Meter, ...] = ()
        self._attributes: dict[str, Any] | None = None
        self._private = False

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
            self._request.exchange[CARRIED] = (self._context.version, permits)

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
