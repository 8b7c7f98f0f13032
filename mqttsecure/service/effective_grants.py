# -*- test-case-name: tests.service.test_effective_grants -*-
"""What the topic policies grant and deny one client, with its own names in the filters, for ``clients show``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mqttsecure.core.decisions import Action, ConnectionFacts, Role, Stage
from mqttsecure.interfaces import Grant, IGrants, Subject
from mqttsecure.policy.binding import PolicyBinding

__all__ = ["effective_grants"]

_TOPIC_STAGES: Final = (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)

_ALL: Final = 0b111111
_RETAINED: Final = 0b101010
"""The bits of messages with RETAIN; see :class:`mqttsecure.interfaces.Grant`."""


def effective_grants(bindings: Iterable[PolicyBinding], facts: ConnectionFacts) -> list[str]:
    """One line for each rule that concerns the client, in the order of the chain.

    A policy that cannot say what it grants, since it has to be asked, is named as that.
    """
    principal = facts.principal
    if principal is None:
        return []
    subject = Subject(principal.authority, principal.name, facts.groups, facts.client_id, facts.attributes)
    lines: list[str] = []
    for binding in bindings:
        if facts.listener not in binding.on:
            continue
        if IGrants.providedBy(binding.policy):
            lines += _lines(binding, binding.policy.grants(subject))
        elif any(binding.stages.get(stage) is Role.GRANTS for stage in _TOPIC_STAGES):
            lines.append(f"{binding.id}: has to be asked about each topic")
    return lines


def _lines(binding: PolicyBinding, grants: Iterable[Grant]) -> list[str]:
    """Rules that differ in the action alone are one line, as they were written."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    places: dict[tuple[str, str, str, str], str] = {}
    for grant in grants:
        if not grant.may:
            continue
        key = (
            grant.effect.value,
            grant.topic_filter or "topics that no filter describes",
            _condition(grant),
            grant.rule,
        )
        found.setdefault(key, []).append(grant.action.value)
        places[key] = f" [{grant.source}]" if grant.source is not None else ""
    return [
        f"{binding.id}: {effect} {','.join(dict.fromkeys(actions))} {topic_filter}{condition}{places[key]}"
        for key, actions in found.items()
        for effect, topic_filter, condition, _ in (key,)
    ]


def _condition(grant: Grant) -> str:
    """For which messages, "" for all."""
    bits = grant.may
    if grant.action is Action.SUBSCRIBE:
        bits |= (bits & _RETAINED) >> 1 | (bits & ~_RETAINED) << 1  # a subscription has no RETAIN
    if bits == _ALL:
        return ""
    qos = [str(each) for each in (0, 1, 2) if bits >> each * 2 & 0b11]
    retained, plain = bits & _RETAINED, bits & ~_RETAINED
    words = [] if len(qos) == 3 else [f"qos {' or '.join(qos)}"]
    if not retained or not plain:
        words.append("retain=yes" if retained else "retain=no")
    elif retained >> 1 != plain:
        words.append("some of them")
    return f" where {' '.join(words)}"
