# -*- test-case-name: tests.policy.test_trace -*-
"""The chain's answer to one request with its trace: who was asked, in order, what each said, and who decided.

Off the path of messages: it runs the same fold on a request of its own and looks at what the fold kept.

Offline there is no running broker to ask. A policy that keeps counts, or that does not say ``stateful = False``, is not
asked then. First it is taken to abstain; where that is not enough and it may permit, it is taken to permit. If either
way something is permitted, the outcome is PROVIDED: permitted, provided that those policies see it so.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from mqttsecure.core.decisions import Decision, Effect, Pending, Principal, Purpose, Request, Source, Stage, Verdict
from mqttsecure.policy.fold import Fold
from mqttsecure.policy.step import FoldContext, Step

__all__ = ["Answer", "Explanation", "Outcome", "Status", "explain", "explain_offline"]

SOMEONE = Principal("unknown", "unknown")
"""Stands for whoever a policy that was not asked would let in."""


class Outcome(enum.Enum):
    """What comes of a request; PROVIDED is permitted, provided that the policies that are not known see it so."""

    PERMIT = "permit"
    DENY = "deny"
    PROVIDED = "provided"


class Status(enum.Enum):
    """How an answer came about."""

    ASKED = "asked"
    ASSUMED = "assumed"
    UNKNOWN = "unknown"
    NOT_ASKED = "not asked"


@dataclass(slots=True, frozen=True)
class Answer:
    """One policy of the stage. ``decision`` is None where it was not asked; ``note`` then says why."""

    policy: str
    grants: bool
    status: Status
    decision: Decision | None = None
    note: str = ""
    source: Source | None = None

    @property
    def effect(self) -> str:
        """One word for what it said."""
        if self.status in (Status.UNKNOWN, Status.NOT_ASKED) or self.decision is None:
            return self.status.value
        return str(self.decision.effect.value)


@dataclass(slots=True, frozen=True)
class Explanation:
    """A verdict and how it came about.

    ``request`` is the copy that was put to the policies; its connection's attributes are what they made of them.
    ``conditions`` are the ids of the policies on which a PROVIDED depends; ``open_identity`` says that who the client
    is would depend on them too.
    """

    stage: Stage
    request: Request
    answers: tuple[Answer, ...]
    verdict: Verdict
    outcome: Outcome
    conditions: tuple[str, ...] = ()
    open_identity: bool = False

    @property
    def decider(self) -> str:
        """The id of the policy that decided, "" for the default deny."""
        return self.verdict.policy


def _copy(request: Request) -> Request:
    """The request with facts of its own, since the chain writes attributes into them; never LIVE."""
    facts = dataclasses.replace(request.connection, attributes=dict(request.connection.attributes))
    purpose = Purpose.EXPLAIN if request.purpose is Purpose.LIVE else request.purpose
    return dataclasses.replace(request, connection=facts, purpose=purpose, exchange=dict(request.exchange))


def explain(context: FoldContext, steps: tuple[Step, ...], request: Request) -> Explanation | Deferred[Explanation]:
    """Ask all policies of the stage, as for a real request; nothing is counted.

    Returns:
        The explanation, or a Deferred of it where a policy answers later. Cancelling that gives the question up.
    """
    run = _Run(context, steps, request, {})
    answer = run.fold.start()
    if isinstance(answer, Verdict):
        return run.explanation(answer)
    pending = answer
    deferred: Deferred[Explanation] = Deferred(lambda _: pending.cancel())

    def resolved(_: Pending, verdict: Verdict) -> None:
        deferred.callback(run.explanation(verdict))

    pending.listener = resolved
    return deferred


def explain_offline(
    context: FoldContext,
    steps: tuple[Step, ...],
    request: Request,
    unknown: Iterable[str],
    assumed: Mapping[str, Decision] | None = None,
) -> Explanation:
    """Ask those policies whose answer depends on the request alone.

    Args:
        context: of the chain.
        steps: the policies of the stage.
        request: the question.
        unknown: ids of the policies that are not to be asked.
        assumed: answers by the id of the policy, taken as given.
    """
    given = {step: decision for step in steps if (decision := (assumed or {}).get(step.id)) is not None}
    unasked = {step for step in steps if step.id in frozenset(unknown) and step not in given}
    cautious = _settle(context, steps, request, given, unasked, None)
    if cautious.outcome is not Outcome.DENY or not _may_turn(cautious, steps, unasked):
        return cautious
    principal = next((each.principal for each in _permits(cautious) if each.principal is not None), SOMEONE)
    hopeful = _settle(context, steps, request, given, unasked, principal)
    guessed = request.stage is Stage.AUTHENTICATE and principal is SOMEONE
    if hopeful.outcome is not Outcome.DENY:
        return dataclasses.replace(hopeful, open_identity=guessed)
    if guessed or _sets_attributes(hopeful, steps, unasked):
        # The denial is by a policy that judges what is not known: it may as well permit.
        conditions = tuple(step.id for step in steps if step in unasked)
        return dataclasses.replace(hopeful, outcome=Outcome.PROVIDED, conditions=conditions, open_identity=guessed)
    return cautious


def _settle(
    context: FoldContext,
    steps: tuple[Step, ...],
    request: Request,
    given: Mapping[Step, Decision],
    unasked: set[Step],
    principal: Principal | None,
) -> Explanation:
    """Fold with a guess for each policy not asked: ABSTAIN, or with a principal PERMIT from those that grant.

    A policy that does not answer at once joins those that are not asked: nobody is there who could fire its Deferred.
    """
    while True:
        guesses = {step: _guess(step, principal, request.stage) for step in unasked}
        run = _Run(context, steps, request, {**guesses, **given}, frozenset(unasked), frozenset(given))
        answer = run.fold.start()
        if isinstance(answer, Verdict):
            return run.explanation(answer)
        unasked.add(steps[len(run.fold.decisions)])
        answer.cancel()


def _guess(step: Step, principal: Principal | None, stage: Stage) -> Decision:
    if principal is None or not step.grants:
        return Decision.abstain(text="keeps counts or asks elsewhere: only the running broker knows")
    who = principal if stage is Stage.AUTHENTICATE else None
    return Decision.permit(text="only the running broker knows; taken to permit", principal=who)


def _permits(explanation: Explanation) -> list[Decision]:
    return [each.decision for each in explanation.answers if each.decision and each.decision.effect is Effect.PERMIT]


def _may_turn(explanation: Explanation, steps: Sequence[Step], unasked: set[Step]) -> bool:
    """Whether a policy that was reached and not asked could have permitted, or told others what makes them permit."""
    reached = [each.policy for each in explanation.answers if each.status is Status.UNKNOWN]
    return any(step.id in reached and (step.grants or step.attributes) for step in steps if step in unasked)


def _sets_attributes(explanation: Explanation, steps: Sequence[Step], unasked: set[Step]) -> bool:
    present = explanation.request.connection.attributes
    reached = [each.policy for each in explanation.answers if each.status is Status.UNKNOWN]
    return any(step.id in reached and set(step.attributes) - set(present) for step in steps if step in unasked)


class _Run:
    """One fold, of which the trace is kept."""

    def __init__(
        self,
        context: FoldContext,
        steps: tuple[Step, ...],
        request: Request,
        recalled: Mapping[Step, Decision],
        unknown: frozenset[Step] = frozenset(),
        assumed: frozenset[Step] = frozenset(),
    ) -> None:
        self._steps = steps
        self._request = _copy(request)
        self._unknown = unknown
        self._assumed = assumed
        self.fold = Fold(context, steps, self._request, recalled)

    def explanation(self, verdict: Verdict) -> Explanation:
        asked = self.fold.decisions
        answers = [self._answer(step, decision) for step, decision in zip(self._steps, asked, strict=False)]
        unreached = self._steps[len(asked) :]
        if unreached:
            ended = f"{answers[-1].policy} ended the stage"
            answers += [Answer(step.id, step.grants, Status.NOT_ASKED, None, ended, step.source) for step in unreached]
        conditions = tuple(each.policy for each in answers if each.status is Status.UNKNOWN)
        if verdict.effect is not Effect.PERMIT:
            return Explanation(verdict.stage, self._request, tuple(answers), verdict, Outcome.DENY)
        outcome = Outcome.PROVIDED if conditions else Outcome.PERMIT
        return Explanation(verdict.stage, self._request, tuple(answers), verdict, outcome, conditions)

    def _answer(self, step: Step, decision: Decision) -> Answer:
        status = Status.ASKED
        if step in self._unknown:
            status = Status.UNKNOWN
        elif step in self._assumed:
            status = Status.ASSUMED
        return Answer(step.id, step.grants, status, decision, decision.text, decision.source or step.source)
