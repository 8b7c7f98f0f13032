# -*- test-case-name: tests.policy.builtin.test_rule_advice -*-
"""The rule that is missing, and those that are almost right: what `explain` says below a denial."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mqttsecure.core.decisions import Action, ConnectionFacts, Effect, Principal, Request
from mqttsecure.interfaces import Advice, NearRule
from mqttsecure.policy.builtin.rule_index import Entry, fill, make_entry, resolve_attributes
from mqttsecure.policy.builtin.rules import Condition, Rule
from mqttsecure.wire.topics import contains, intersects, matches

__all__ = ["advise"]

MAXIMUM_NEAR: Final = 3
"""Rules shown: more are no help to someone who looks for one mistake."""

_PLAIN: Final = re.compile(r'[^\s":]+')


def advise(rules: Iterable[Rule], request: Request, default_authority: str | None, contained: bool) -> Advice:
    """What would make the rules permit a request.

    Args:
        rules: of the policy.
        request: at a topic stage, of a client that is known.
        default_authority: the authority that a bare ``user:NAME`` means; None for any.
        contained: how a SUBSCRIBE is judged.
    """
    action, connection = request.action, request.connection
    principal = connection.principal
    if action is None or principal is None:
        return Advice()
    listed = tuple(rules)
    denying = tuple(
        NearRule(rule.id, rule.source, rule.text, "it denies this, whatever others permit")
        for rule in listed
        if rule.effect is Effect.DENY and _denies(rule, request, action, contained)
    )
    near = sorted(
        (found for rule in listed if rule.effect is Effect.PERMIT and (found := _near(rule, request, action))),
        key=lambda each: each[0],
    )[:MAXIMUM_NEAR]
    closest = tuple(each for _, each in near)
    add = "" if denying else f"permit {_who(principal, default_authority)} {action.value} {_quoted(request.topic)}"
    return Advice(add, listed[-1].source if listed else None, denying, closest)


def _who(principal: Principal, default_authority: str | None) -> str:
    if not principal.shared:
        return "everyone"  # nobody who comes without a name can be named
    name = _quoted(principal.name)
    if default_authority in (None, principal.authority):
        return f"user:{name}"
    return f"user:{principal.authority}:{name}"


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _entry(rule: Rule, connection: ConnectionFacts) -> Entry | None:
    topic_filter = fill(rule.topic_filter, connection)
    if topic_filter is None:
        return None
    return make_entry(0, rule, topic_filter, resolve_attributes(rule, connection))


def _is_named(rule: Rule, connection: ConnectionFacts, principal: Principal) -> bool:
    kind, name = rule.who.kind, rule.who.name
    return kind == "everyone" or name == principal.name if kind != "group" else name in connection.groups


def _denies(rule: Rule, request: Request, action: Action, contained: bool) -> bool:
    connection, principal = request.connection, request.connection.principal
    if principal is None or action not in rule.actions:
        return False
    entry = _entry(rule, connection)
    if entry is None or not rule.concerns(principal) or not _is_named(rule, connection, principal):
        return False
    if action is Action.SUBSCRIBE:
        covers = intersects if contained else contains
        return bool(entry.subscribe_mask >> request.qos & 1) and covers(entry.topic_filter, request.topic)
    bit = request.qos * 2 + request.retain
    return matches(entry.topic_filter, request.topic) and entry.applies(bit, len(request.payload))


def _near(rule: Rule, request: Request, action: Action) -> tuple[int, NearRule] | None:
    """A permit rule of which one thing alone is not met, with how far off it is."""
    faults = [
        fault
        for fault in (
            _who_fault(rule, request.connection),
            _action_fault(rule, action),
            _filter_fault(rule, request, action),
            _condition_fault(rule, request, action),
        )
        if fault is not None
    ]
    if len(faults) != 1 or faults[0][0] > _FAR:
        return None
    distance, why = faults[0]
    return distance, NearRule(rule.id, rule.source, rule.text, why)


_FAR: Final = 9
"""The distance of what is no near miss any more."""


def _who_fault(rule: Rule, connection: ConnectionFacts) -> tuple[int, str] | None:
    principal = connection.principal
    if principal is None:
        return _FAR + 1, ""
    if not _is_named(rule, connection, principal):
        in_groups = f" in {', '.join(sorted(connection.groups))}" if connection.groups else " in no group"
        return 3, f"it is for {rule.who.kind} {rule.who.name}, and {principal} is{in_groups}"
    if not rule.concerns(principal):
        return 2, f"it is about authority {rule.who.authority}, and {principal} is of another"
    return None


def _action_fault(rule: Rule, action: Action) -> tuple[int, str] | None:
    if action in rule.actions:
        return None
    return 1, f"it permits {', '.join(sorted(each.value for each in rule.actions))}, and not {action.value}"


def _filter_fault(rule: Rule, request: Request, action: Action) -> tuple[int, str] | None:
    connection, topic = request.connection, request.topic
    topic_filter = fill(rule.topic_filter, connection)
    if topic_filter is None:
        return 4, f"a value for {rule.topic_filter} is missing, or has a character that no rule lets through"
    if contains(topic_filter, topic):
        return None
    filled = f", which is {topic_filter} here" if topic_filter != rule.topic_filter else ""
    if action is Action.SUBSCRIBE and intersects(topic_filter, topic):
        return 2, f"its filter{filled} holds only a part of {topic}; subscribe to {topic_filter}"
    theirs, ours = topic_filter.split("/"), topic.split("/")
    if len(theirs) == len(ours) or theirs[-1] == "#":
        pairs = zip(theirs, ours, strict=False)
        off = [f"{one} and not {other}" for one, other in pairs if one not in ("+", "#", other)]
        # Where all of few levels differ, it is another topic and no near miss.
        if len(off) == 1 and len(theirs) > 1:
            return 5, f"its filter{filled} has {off[0]}"
    return _FAR + 1, ""


def _condition_fault(rule: Rule, request: Request, action: Action) -> tuple[int, str] | None:
    if not rule.conditions:
        return None
    entry = make_entry(0, rule, "x", resolve_attributes(rule, request.connection))
    bit, size = request.qos * 2 + request.retain, len(request.payload)
    if entry is not None:
        meets = entry.subscribe_mask >> request.qos & 1 if action is Action.SUBSCRIBE else entry.applies(bit, size)
        if meets:
            return None
    word = "unless" if rule.negated else "where"
    return 1, f"{word} {' '.join(map(_condition_text, rule.conditions))}: {_facts(rule, request)}"


def _condition_text(condition: Condition) -> str:
    if condition.subject == "attribute":
        return f"{{{condition.name}}} in {','.join(sorted(condition.values))}"
    if condition.subject == "retain":
        return f"retain={'yes' if condition.number else 'no'}"
    return f"{condition.subject}{condition.operator}{condition.number}"


def _facts(rule: Rule, request: Request) -> str:
    """What the conditions were met with."""
    facts = {
        "qos": f"qos is {request.qos}",
        "retain": f"retain is {'yes' if request.retain else 'no'}",
        "size": f"size is {len(request.payload)}",
    }
    found = []
    for condition in rule.conditions:
        if condition.subject == "attribute":
            value = request.connection.attributes.get(condition.name)
            found.append(f"{condition.name} is {'missing' if value is None else value}")
        else:
            found.append(facts[condition.subject])
    return ", ".join(dict.fromkeys(found))
