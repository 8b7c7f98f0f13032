# -*- test-case-name: tests.service.mosquitto.test_importing -*-
"""A policy test for each rule: it says what mosquitto decides about an example, so the rules are held to that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mqttsecure.service.mosquitto.model import DecidesAsMosquitto
from mqttsecure.service.mosquitto.tiers import RuleLine, Tiers

__all__ = ["Subjects", "tests_of"]


@dataclass(slots=True, frozen=True)
class Subjects:
    """Who is asked about: by group one of its members, and everybody's groups; ``anonymous`` are let in at all."""

    authority: str
    listener: str
    members: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    anonymous: bool = False
    client_id: str = "client-1"


def tests_of(tiers: Tiers, model: DecidesAsMosquitto, subjects: Subjects) -> Iterator[str]:
    """``[[test]]`` tables, one for each rule and each action of it."""
    rules = [rule for tier in tiers.rules for rule in tier]
    for rule in rules:
        if (rule.kind == "anonymous" and not subjects.anonymous) or (
            rule.kind == "group" and rule.name not in subjects.members
        ):
            continue  # there is nobody whom mosquitto would decide about
        user = _user(rule, subjects)
        for action in dict.fromkeys("receive" if each == "read" else each for each in rule.actions):
            topic = _example(rule.topic, user, subjects.client_id, keep_wildcards=action == "subscribe")
            if action == "subscribe" and any(other.permits != rule.permits and other.overlaps(rule) for other in rules):
                continue  # mosquitto looks at the first that is about it, and here all that it could match counts
            permitted = model.decide(user, subjects.client_id, action, topic)
            yield _table(rule, subjects, user, action, topic, permitted)


def _user(rule: RuleLine, subjects: Subjects) -> str | None:
    match rule.kind:
        case "user":
            return rule.name
        case "group":
            return subjects.members[rule.name]
        case "anonymous":
            return None
    return "anybody"


def _example(topic: str, user: str | None, client_id: str, *, keep_wildcards: bool) -> str:
    """A topic that the filter matches."""
    filled = topic.replace("{user}", user or "").replace("{client}", client_id)
    if keep_wildcards:
        return filled
    levels = ["x1" if level == "+" else "x2" if level == "#" else level for level in filled.split("/")]
    return "/".join(levels)


def _table(rule: RuleLine, subjects: Subjects, user: str | None, action: str, topic: str, permitted: bool) -> str:
    name = f"{rule.source.file.rpartition('/')[2]}:{rule.source.line}: {rule.text}"
    lines = ["[[test]]", f"name = {_quoted(name)}", f"listener = {_quoted(subjects.listener)}"]
    if user is not None:
        lines.append(f"who = {_quoted(f'{subjects.authority}:{user}')}")
        groups = list(subjects.groups.get(user, ()))
        if rule.kind == "group" and rule.name not in groups:
            groups.append(rule.name)
        if groups:
            lines.append(f"groups = {_quoted(groups)}")
    lines += [
        f"client_id = {_quoted(subjects.client_id)}",
        f"do = {_quoted(action)}",
        f"topic = {_quoted(topic)}",
        f"expect = {_quoted('permit' if permitted else 'deny')}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    """A string or list of strings in TOML, whose basic strings are JSON's but for U+007F."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
