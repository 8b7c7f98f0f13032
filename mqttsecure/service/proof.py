# -*- test-case-name: tests.service.test_proof -*-
"""Decides claims about all topics: that someone never can do something, or always can.

By the algebra of filters, and so for every topic there is. Where a claim fails, it fails for one topic that is shown,
and that the chain itself was asked about: a counterexample is never only a conclusion. Where a policy does not say what
it grants, or a rule depends on what is not known, the claim may neither hold nor fail; then that is the answer.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mqttsecure.core.decisions import Action, Principal, Purpose, Source
from mqttsecure.errors import ConfigError, MqttError
from mqttsecure.interfaces import Grant, IGrants, Subject
from mqttsecure.policy.regions import BITS, Layer, escapes, gaps, layers, stage_of
from mqttsecure.policy.trace import Outcome
from mqttsecure.service.clients import Who, names_of, subjects_of, title
from mqttsecure.service.parts import Parts
from mqttsecure.service.scenario import Scenario, Trial, judge, listener_of, unsettled
from mqttsecure.wire.topics import check_topic_filter, is_shared

__all__ = ["Answer", "Claim", "Counterexample", "Proof", "prove"]

MAXIMUM_TRIALS: Final = 400
"""Of candidates for a counterexample that are put to the chain: some tenths of a second."""

_SOMEONE: Final = "someone"


class Answer(enum.Enum):
    """What is known of a claim; PROVIDED holds, provided that the policies named do not deny."""

    HOLDS = "holds"
    FAILS = "fails"
    PROVIDED = "provided"
    UNPROVED = "unproved"


@dataclass(slots=True, frozen=True)
class Claim:
    """``who`` never, or always, may do ``action`` to each topic of ``topic_filter``; None is any QoS or RETAIN."""

    who: Who
    always: bool
    action: Action
    topic_filter: str
    listener: str | None = None
    qos: int | None = None
    retain: bool | None = None
    client_id: str | None = None
    groups: frozenset[str] = frozenset()


@dataclass(slots=True, frozen=True)
class Counterexample:
    """A client, a listener, a topic, and how the chain decides it."""

    who: str
    listener: str
    topic: str
    qos: int
    retain: bool
    policy: str
    rule: str
    source: Source | None
    text: str
    client_id: str = ""


@dataclass(slots=True, frozen=True)
class Proof:
    """``judged`` are the clients that the answer is about; ``reasoned`` and ``unknown`` the policies of the stage."""

    claim: Claim
    answer: Answer
    judged: tuple[str, ...]
    listeners: tuple[str, ...]
    reasoned: tuple[str, ...]
    unknown: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    counterexample: Counterexample | None = None


def prove(parts: Parts, claim: Claim) -> Proof:
    """Decide a claim.

    Raises:
        ConfigError: it makes no sense with this configuration.
    """
    return _Prover(parts, claim).proof()


class _Prover:
    """Decides one claim, listener by listener and client by client."""

    def __init__(self, parts: Parts, claim: Claim) -> None:
        self._parts = parts
        self._claim = claim
        _check_filter(claim.topic_filter)
        names = [each.name for each in parts.listeners]
        self._listeners = names if claim.listener is None else [listener_of(parts, claim.listener).name]
        self._subjects = [
            _with_groups(each, claim.groups)
            for each in subjects_of(parts.chain, claim.who, parts.authorities, claim.client_id)
        ]
        self._trials = 0
        self._taken = {name for _, _, name in names_of(parts.chain)}

    def proof(self) -> Proof:
        reasons: dict[str, None] = {}
        conditions: dict[str, None] = {}
        for listener, subject in itertools.product(self._listeners, self._subjects):
            stack = layers(self._parts.chain.bindings, listener, self._claim.action, subject)
            check = self._check_always if self._claim.always else self._check_never
            for found in check(listener, subject, stack):
                if isinstance(found, Counterexample):
                    return self._proof(Answer.FAILS, (), found)
                (conditions if found.startswith("policy ") else reasons).setdefault(found)
        if reasons:
            return self._proof(Answer.UNPROVED, (*reasons, *conditions))
        if conditions:
            return self._proof(Answer.PROVIDED if self._claim.always else Answer.UNPROVED, tuple(conditions))
        return self._proof(Answer.HOLDS)

    def _proof(self, answer: Answer, reasons: Iterable[str] = (), found: Counterexample | None = None) -> Proof:
        stage = stage_of(self._claim.action)
        asked = [
            each
            for each in self._parts.chain.bindings
            if stage in each.stages and each.on.intersection(self._listeners)
        ]
        return Proof(
            self._claim,
            answer,
            tuple(map(title, self._subjects)),
            tuple(self._listeners),
            tuple(each.id for each in asked if IGrants.providedBy(each.policy)),
            tuple(each.id for each in asked if not IGrants.providedBy(each.policy)),
            tuple(reasons),
            found,
        )

    def _bits(self) -> list[int]:
        claim = self._claim
        subscribes = claim.action is Action.SUBSCRIBE
        return [
            bit
            for bit, (qos, retain) in enumerate(BITS)
            # A SUBSCRIBE may be granted at a lower QoS than it asked for (v5.0 [MQTT-3.8.4-8]), and has no RETAIN.
            if (claim.qos is None or qos == claim.qos or (subscribes and not claim.always and qos < claim.qos))
            and (claim.retain is None or subscribes or retain == claim.retain)
            and not (subscribes and retain)
        ]

    def _check_never(self, listener: str, subject: Subject, stack: list[Layer]) -> Iterator[str | Counterexample]:
        level = self._name(subject)
        for bit in self._bits():
            for escape in escapes(stack, self._claim.topic_filter, bit, level):
                if escape.topic is None:
                    yield f"{_rule(escape.policy, escape.grant)} may be about any topic that begins with $"
                    continue
                found = self._seek(listener, subject, self._topics(escape.topic), bit, Outcome.PERMIT)
                if found is not None:
                    yield found
                elif escape.grant is None:
                    yield f"policy {escape.policy} may permit {escape.topic} to {title(subject)}"
                else:
                    yield (
                        f"{_rule(escape.policy, escape.grant)} may permit {escape.topic} to {title(subject)}, "
                        "but no client was found to whom it does"
                    )

    def _topics(self, topic: str) -> list[str]:
        """What to ask for: a SUBSCRIBE that is not held to what is granted may get a wider filter only."""
        return [topic, self._claim.topic_filter, "#"] if self._claim.action is Action.SUBSCRIBE else [topic]

    def _check_always(self, listener: str, subject: Subject, stack: list[Layer]) -> Iterator[str | Counterexample]:
        level = self._name(subject)
        whole = self._claim.action is Action.SUBSCRIBE
        for bit in self._bits():
            for gap in gaps(stack, self._claim.topic_filter, bit, level, whole):
                if gap.topic is None:
                    yield f"policy {gap.policy} does not deny"
                    continue
                found = self._seek(listener, subject, [gap.topic], bit, Outcome.DENY)
                if found is not None:
                    yield found
                else:
                    yield f"{_rule(gap.policy, gap.grant)} stands against {gap.topic} for {title(subject)}: {gap.why}"

    # Counterexamples

    def _name(self, subject: Subject) -> str:
        """A name for a client: its own, or one that no rule names."""
        if subject.name is not None:
            return subject.name
        numbered = (f"{_SOMEONE}{number or ''}" for number in itertools.count())
        return next(name for name in numbered if name not in self._taken)

    def _seek(
        self, listener: str, subject: Subject, topics: list[str], bit: int, wanted: Outcome
    ) -> Counterexample | None:
        """A client of this kind whom the chain answers as wanted."""
        levels = [level for topic in topics[:1] for level in topic.split("/")[:8]]
        names = [subject.name] if subject.name is not None else [self._name(subject), *levels]
        for name in dict.fromkeys(names):
            if not name or (subject.name is None and name in self._taken):
                continue
            own = [None, name, f"{name}-1", *levels]
            for client_id in dict.fromkeys([subject.client_id] if subject.client_id is not None else own):
                for topic in topics:
                    found = self._try(listener, subject, name, client_id, topic, bit, wanted)
                    if found is not None:
                        return found
        return None

    def _try(
        self,
        listener: str,
        subject: Subject,
        name: str,
        client_id: str | None,
        topic: str,
        bit: int,
        wanted: Outcome,
    ) -> Counterexample | None:
        if self._trials >= MAXIMUM_TRIALS:
            return None
        self._trials += 1
        qos, retain = BITS[bit]
        principal = Principal(subject.authority, name)
        scenario = Scenario(
            self._claim.action.value,
            topic,
            qos,
            retain,
            listener=listener,
            principal=principal,
            groups=subject.groups,
            client_id=client_id,
        )
        try:
            trial = judge(self._parts, scenario, Purpose.TEST)
        except ConfigError:
            return None
        return _counterexample(trial, title(subject), str(principal)) if self._is(trial, wanted) else None

    def _is(self, trial: Trial, wanted: Outcome) -> bool:
        stage = stage_of(self._claim.action)
        if trial.last.stage is not stage:
            return False  # not this claim's business
        if wanted is Outcome.DENY:
            return trial.outcome is Outcome.DENY
        return trial.outcome is Outcome.PERMIT or (
            trial.outcome is Outcome.PROVIDED and not unsettled(self._parts, trial)
        )


def _counterexample(trial: Trial, who: str, principal: str) -> Counterexample:
    scenario, last = trial.scenario, trial.last
    verdict = last.verdict
    return Counterexample(
        f"{principal} ({who})" if principal not in who else who,
        trial.listener,
        scenario.topic,
        scenario.qos,
        scenario.retain,
        last.decider,
        verdict.rule,
        verdict.source,
        verdict.text,
        scenario.client_id or "",
    )


def _rule(policy: str, grant: Grant | None) -> str:
    if grant is None:
        return f"the policy {policy}" if policy else "the chain"
    return f"{policy}/{grant.rule}{f' ({grant.source})' if grant.source else ''}"


def _with_groups(subject: Subject, groups: frozenset[str]) -> Subject:
    return Subject(
        subject.authority,
        subject.name,
        subject.groups | groups,
        subject.client_id,
        subject.attributes,
        subject.open_attributes,
    )


def _check_filter(topic_filter: str) -> None:
    try:
        check_topic_filter(topic_filter)
    except MqttError as error:
        raise ConfigError(f"{topic_filter!r}: {error}") from error
    if is_shared(topic_filter):
        raise ConfigError(f"{topic_filter!r}: a shared subscription is judged by the filter inside; name that")
