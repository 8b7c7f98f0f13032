# -*- test-case-name: tests.testing.test_policy -*-
"""What a policy promises of its answers, and whether it is so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mqttsecure.core.decisions import EVERY_TOPIC, Decision, Effect, Request, Stage
from mqttsecure.interfaces import Grant, IGrants, IPolicy, Subject
from mqttsecure.testing.asking import answer_of
from mqttsecure.testing.environment import TestEnvironment
from mqttsecure.wire.topics import matches

__all__ = ["broken_promises"]


def broken_promises(
    policy: IPolicy,
    environment: TestEnvironment,
    other: IPolicy,
    beside: TestEnvironment,
    request: Request,
    seconds: float,
) -> Iterator[str]:
    """What is not so of the answer to one question, in words.

    Args:
        policy: which was asked nothing yet.
        environment: its broker.
        other: another one of the same options.
        beside: the broker of that one.
        request: the question.
        seconds: that an answer may take.
    """
    first = answer_of(policy, environment, request, seconds)
    if not isinstance(first, Decision):
        return
    second = answer_of(policy, environment, request, seconds)
    if first.cacheable and not _expired(first, environment) and not _same(first, second):
        yield f"it said cacheable, and then {_words(second)} in place of {_words(first)}"
    if getattr(policy, "stateful", True) is False and not _same(first, answer_of(other, beside, request, seconds)):
        yield "it says stateful = False, and another one of the same options answers differently"
    if first.scope is not None:
        yield from _broken_scope(first, policy, environment, request, seconds)
    if IGrants.providedBy(policy) and request.stage in (Stage.PUBLISH, Stage.DELIVER):
        yield from _broken_grants(first, policy, request)


def _expired(decision: Decision, environment: TestEnvironment) -> bool:
    return decision.valid_until is not None and environment.clock.seconds() >= decision.valid_until


def _same(one: Decision, other: object) -> bool:
    return isinstance(other, Decision) and (one.effect, one.reason_code, one.principal, dict(one.attributes)) == (
        other.effect,
        other.reason_code,
        other.principal,
        dict(other.attributes),
    )


def _words(decision: object) -> str:
    if isinstance(decision, Decision):
        return f"{decision.effect.value} ({decision.rule or decision.text})"
    return f"{decision!r:.100}"


def _broken_scope(
    first: Decision, policy: IPolicy, environment: TestEnvironment, request: Request, seconds: float
) -> Iterator[str]:
    scope = first.scope or EVERY_TOPIC
    if request.stage not in (Stage.PUBLISH, Stage.DELIVER):
        yield f"it gives a scope at {request.stage.value}, where there are no Topic Names"
        return
    if not first.cacheable:
        yield "it gives a scope to an answer that is not cacheable"
    if scope != EVERY_TOPIC and not matches(scope, request.topic):
        yield f"its scope {scope!r} does not hold the topic that was asked about"
    for topic in _examples(scope):
        answer = answer_of(policy, environment, replace(request, topic=topic), seconds)
        if not _same(first, answer):
            yield f"its scope {scope!r} holds {topic!r}, about which it says {_words(answer)}, not {_words(first)}"


def _examples(scope: str) -> list[str]:
    """Topic Names that the filter matches."""
    if scope == EVERY_TOPIC:
        return ["a", "zz/9", "$SYS/x", "plant/1/temperature/deep/down"]
    found = []
    for filling in ("x9", "0"):
        levels = [filling if level in ("+", "#") else level for level in scope.split("/")]
        found.append("/".join(levels))
        if scope.endswith("#"):
            found.append("/".join([*levels, filling, "secret"]))
    return [topic for topic in found if matches(scope, topic)]


def _broken_grants(decision: Decision, policy: Any, request: Request) -> Iterator[str]:
    connection, action = request.connection, request.action
    if connection.principal is None or action is None:
        return
    subject = Subject(
        connection.principal.authority,
        connection.principal.name,
        connection.groups,
        connection.client_id,
        dict(connection.attributes),
    )
    bit = 1 << request.qos * 2 + request.retain
    mine: list[Grant] = [
        each
        for each in policy.grants(subject)
        if each.action is action and (not each.topic_filter or matches(each.topic_filter, request.topic))
    ]
    permits = [each for each in mine if each.effect is Effect.PERMIT]
    denies = [each for each in mine if each.effect is Effect.DENY]
    if decision.effect is Effect.PERMIT and not any(each.may & bit for each in permits):
        yield "it permits what is not among its grants, so whatever is proved of them may be wrong"
    must = [each for each in permits if each.must & bit]
    if decision.effect is not Effect.PERMIT and must and not any(each.may & bit for each in denies):
        yield f"its grants say that {must[0].text or must[0].topic_filter!r} permits it, and it does not"
    if decision.effect is not Effect.DENY and any(each.must & bit for each in denies):
        yield "its grants say that it is denied, and it is not"
