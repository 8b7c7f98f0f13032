# -*- test-case-name: tests.policy.test_regions -*-
"""What a chain lets one client do with all topics at once, by the algebra of Topic Filters.

A policy that says what it grants (:class:`~mqttsecure.interfaces.IGrants`) is a set of filters. The fold of such sets
is decided exactly, one QoS and RETAIN at a time; where a rule or a policy is not known in full, an answer errs to the
side on which nothing false is claimed: :func:`escapes` finds too much rather than too little, :func:`gaps` as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mqttsecure.core.decisions import Action, Effect, Role, Stage
from mqttsecure.errors import MqttsecureError
from mqttsecure.interfaces import Grant, IGrants, Subject
from mqttsecure.policy.binding import PolicyBinding
from mqttsecure.wire.topics import intersection, uncovered

__all__ = [
    "BITS",
    "Escape",
    "Gap",
    "Layer",
    "Term",
    "TooManyRules",
    "beyond",
    "bit_of",
    "escapes",
    "gaps",
    "layers",
    "stage_of",
    "terms",
]

BITS: Final = tuple((qos, retain) for qos in (0, 1, 2) for retain in (False, True))
"""QoS and RETAIN by the number of their bit in :class:`~mqttsecure.interfaces.Grant`."""

_STAGES: Final = {
    Action.PUBLISH: Stage.PUBLISH,
    Action.SUBSCRIBE: Stage.SUBSCRIBE,
    Action.RECEIVE: Stage.DELIVER,
}


def stage_of(action: Action) -> Stage:
    """The stage at which an action is decided."""
    return _STAGES[action]


def bit_of(qos: int, retain: bool) -> int:
    """The number of the bit for a QoS and RETAIN."""
    return qos * 2 + retain


@dataclass(slots=True, frozen=True)
class Layer:
    """One policy of a stage as it concerns one client; ``known`` is whether it could say so."""

    policy: str
    grants: bool
    final: bool
    required: bool
    known: bool
    permits: tuple[Grant, ...] = ()
    denies: tuple[Grant, ...] = ()

    def denied(self, bit: int) -> list[str]:
        """Filters of which it denies each topic."""
        return [grant.topic_filter for grant in self.denies if grant.must >> bit & 1]

    def permitted(self, bit: int) -> list[str]:
        """Filters of which it permits each topic that it does not deny."""
        return [grant.topic_filter for grant in self.permits if grant.must >> bit & 1]


def layers(bindings: Iterable[PolicyBinding], listener: str, action: Action, subject: Subject) -> list[Layer]:
    """The policies that are asked about an action on a listener, in order."""
    stage = stage_of(action)
    found = []
    for each in bindings:
        role = each.stages.get(stage)
        if role is None or listener not in each.on:
            continue
        grants: Sequence[Grant] = ()
        policy: Any = each.policy
        known = IGrants.providedBy(policy)
        if known:
            grants = [grant for grant in policy.grants(subject) if grant.action is action]
        found.append(
            Layer(
                each.id,
                role is Role.GRANTS,
                stage in each.final,
                stage in each.required,
                known,
                # A PERMIT from a policy that only restricts is none.
                tuple(grant for grant in grants if grant.effect is Effect.PERMIT and role is Role.GRANTS),
                tuple(grant for grant in grants if grant.effect is Effect.DENY),
            )
        )
    return found


@dataclass(slots=True, frozen=True)
class Escape:
    """A topic that may be permitted, by a rule or, with ``grant`` None, by a policy that is not known.

    ``topic`` is None where no filter can say which topics the rule is about.
    """

    policy: str
    grant: Grant | None
    topic: str | None


def escapes(stack: Sequence[Layer], target: str, bit: int, level: str = "x") -> Iterator[Escape]:
    """What may be permitted of the topics of ``target``: nothing is, if nothing comes of this.

    Args:
        stack: from :func:`layers`.
        target: a Topic Filter.
        bit: which QoS and RETAIN.
        level: what wildcards are filled with.
    """
    for position, layer in enumerate(stack):
        if not layer.grants:
            continue
        # The PERMIT of a final policy counts before those behind it are asked; any other has to meet them all.
        met = stack[: position + 1] if layer.final else stack
        denied = [topic_filter for each in met for topic_filter in each.denied(bit)]
        if not layer.known:
            topic = uncovered(target, denied, level)
            if topic is not None:
                yield Escape(layer.policy, None, topic)
            continue
        for grant in layer.permits:
            if not grant.may >> bit & 1:
                continue
            if not grant.topic_filter:
                yield Escape(layer.policy, grant, None)
                continue
            common = intersection(target, grant.topic_filter)
            topic = None if common is None else uncovered(common, denied, level)
            if topic is not None:
                yield Escape(layer.policy, grant, topic)


@dataclass(slots=True, frozen=True)
class Gap:
    """Why not all topics of ``target`` are surely permitted: by a rule that may deny, or for want of a permit.

    ``topic`` is one that may be refused, None where only a condition or an unknown policy stands against it.
    """

    policy: str
    grant: Grant | None
    topic: str | None
    why: str


def gaps(stack: Sequence[Layer], target: str, bit: int, level: str = "x", whole: bool = False) -> Iterator[Gap]:
    """What may be refused of the topics of ``target``: all are permitted, if nothing comes of this.

    With ``whole`` they are asked for at once, as by a SUBSCRIBE: then one policy alone has to permit them all.
    """
    for layer in stack:
        for grant in layer.denies:
            if not grant.may >> bit & 1:
                continue
            common = intersection(target, grant.topic_filter) if grant.topic_filter else target
            if common is not None:
                yield Gap(layer.policy, grant, uncovered(common, (), level), "it denies")
        if not layer.known:
            yield Gap(layer.policy, None, None, "it may deny")
        elif layer.required:
            yield from _uncovered_by([layer], target, bit, level, layer.policy)
    found = list(_uncovered_by(stack, target, bit, level, ""))
    yield from found
    if whole and not found and all(uncovered(target, layer.permitted(bit)) is not None for layer in stack):
        yield Gap("", None, target, "no policy alone permits all of it")


def _uncovered_by(stack: Sequence[Layer], target: str, bit: int, level: str, policy: str) -> Iterator[Gap]:
    """What the layers' permits leave of ``target``."""
    sure = [topic_filter for layer in stack for topic_filter in layer.permitted(bit)]
    if uncovered(target, sure) is None:
        return
    perhaps = [grant for layer in stack for grant in layer.permits if grant.may >> bit & 1 and grant.topic_filter]
    topic = uncovered(target, [grant.topic_filter for grant in perhaps], level)
    if topic is not None:
        yield Gap(policy, None, topic, "nothing permits it")
        return
    conditional = next((grant for grant in perhaps if not grant.must >> bit & 1), None)
    topic = uncovered(target, sure, level)
    yield Gap(policy, conditional, topic, "what permits it depends on what is not known of the client or the message")


# Comparing


class TooManyRules(MqttsecureError):
    """Two sets of rules that overlap in more ways than can be gone through."""


@dataclass(slots=True, frozen=True)
class Term:
    """The topics of one permit rule, less those that the policies asked with it deny."""

    grant: Grant
    policy: str
    topic_filter: str
    denied: tuple[str, ...]


def terms(stack: Sequence[Layer], bit: int) -> list[Term]:
    """What is permitted, as the union of these; rules that depend on what is not known count as met."""
    found = []
    for position, layer in enumerate(stack):
        met = stack[: position + 1] if layer.final else stack
        denied = tuple(dict.fromkeys(topic_filter for each in met for topic_filter in each.denied(bit)))
        found += [
            Term(grant, layer.policy, grant.topic_filter, denied)
            for grant in layer.permits
            if grant.may >> bit & 1 and grant.topic_filter
        ]
    return found


_MAXIMUM_STEPS: Final = 2000
"""Of a comparison of one rule with all others, each a walk over their levels: some hundredths of a second."""


def beyond(term: Term, others: Sequence[Term], level: str = "x") -> str | None:
    """A topic of ``term`` that is in none of ``others``, or None where there is none. Exact.

    Raises:
        TooManyRules: it takes too long to tell.
    """
    waiting: list[tuple[str, tuple[Term, ...]]] = [(term.topic_filter, tuple(others))]
    for _ in range(_MAXIMUM_STEPS):
        if not waiting:
            return None
        inside, left = waiting.pop()
        topic = uncovered(inside, [*term.denied, *(each.topic_filter for each in left)], level)
        if topic is not None:
            return topic
        # What lies within the filter of another may still be out of it, where that one's denials reach.
        for excluded in dict.fromkeys(topic_filter for each in left for topic_filter in each.denied):
            common = intersection(inside, excluded)
            if common is not None:
                waiting.append((common, tuple(each for each in left if excluded not in each.denied)))
    raise TooManyRules(f"{term.topic_filter} overlaps with too many other rules")
