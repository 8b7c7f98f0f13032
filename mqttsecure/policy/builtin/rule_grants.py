# -*- test-case-name: tests.policy.builtin.test_rule_grants -*-
"""What rules permit and deny one client, whatever the topic: the ground of `policy prove` and `policy diff`.

Where a client is not known in full, a rule may be wider or narrower than one filter can say. Then the filter given is
the wider one, and the bits of ``must`` are those for which the rule applies all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mqttsecure.core.decisions import Action, Effect, Principal
from mqttsecure.interfaces import Grant, Subject
from mqttsecure.policy.builtin.rule_index import attribute_text, make_entry
from mqttsecure.policy.builtin.rules import PLACEHOLDER, Rule

__all__ = ["bits_of", "grants_of", "names_in"]

_ALL_BITS: Final = 0b111111
_UNSAFE: Final = ("+", "#", "/", "\0")


def names_in(rules: Iterable[Rule]) -> list[tuple[str, str | None, str]]:
    """Whom the rules name, each once."""
    found = [(rule.who.kind, rule.who.authority, rule.who.name) for rule in rules if rule.who.kind != "everyone"]
    return list(dict.fromkeys(found))


def grants_of(rules: Iterable[Rule], subject: Subject, contained: bool) -> list[Grant]:
    """The rules as they concern one client; ``contained`` is how a SUBSCRIBE is judged."""
    found: list[Grant] = []
    for position, rule in enumerate(rules):
        if not _concerns(rule, subject):
            continue
        topic_filter, exact = _open_filter(rule, subject)
        if topic_filter is None:
            continue
        for action in Action:
            if action in rule.actions:
                found += _grant(position, rule, action, topic_filter, exact, subject, contained)
    return found


def _concerns(rule: Rule, subject: Subject) -> bool:
    who = rule.who
    if who.kind == "user" and who.name != subject.name:
        return False
    if who.kind == "group" and who.name not in subject.groups:
        return False
    # A name of None is none that a rule names, so that any other will do to ask for the authority.
    return rule.concerns(Principal(subject.authority, subject.name or "?"))


def _value(name: str, subject: Subject) -> tuple[str | None, bool]:
    """What a name in braces stands for, and whether that is open."""
    if name == "user":
        return subject.name, subject.name is None
    if name == "client":
        return subject.client_id, subject.client_id is None
    if name in subject.open_attributes:
        return None, True
    return attribute_text(subject.attributes.get(name)), False


def _open_filter(rule: Rule, subject: Subject) -> tuple[str | None, bool]:
    """The rule's filter with what is known filled in, and whether that is all of it.

    A level that is open is a ``+``. None: the rule never applies. "": no filter can say what it may be about.
    """
    values = {name: _value(name, subject) for name in rule.placeholders}
    for value, is_open in values.values():
        if not is_open and (not value or any(sign in value for sign in _UNSAFE)):
            return None, True
    levels = []
    exact = True
    for index, level in enumerate(rule.topic_filter.split("/")):
        if any(values[name][1] for name in PLACEHOLDER.findall(level)):
            if index == 0 and level[0] == "$":
                return "", False  # v5.0 [MQTT-4.7.2-1]: a + there would leave out just these
            levels.append("+")
            exact = False
        else:
            levels.append(PLACEHOLDER.sub(lambda match: values[match[1]][0] or "", level))
    if levels[0][:1] == "$" and rule.topic_filter[0] != "$":
        return None, True
    return "/".join(levels), exact


def _cases(rule: Rule, subject: Subject) -> set[bool]:
    """The ways in which the conditions on attributes may turn out."""
    conditions = [condition for condition in rule.conditions if condition.subject == "attribute"]
    values = [(condition, *_value(condition.name, subject)) for condition in conditions]
    if any(not is_open and value is not None and value not in condition.values for condition, value, is_open in values):
        return {False}
    if any(is_open for _, _, is_open in values):
        return {True, False}
    if any(value is None for _, value, _ in values):
        return {(rule.effect is Effect.DENY) != rule.negated}  # as in resolve_attributes()
    return {True}


def _grant(
    position: int, rule: Rule, action: Action, topic_filter: str, exact: bool, subject: Subject, contained: bool
) -> list[Grant]:
    may, must = 0, _ALL_BITS
    for holds in _cases(rule, subject):
        one_may, one_must = bits_of(position, rule, action, topic_filter or "x", holds)
        may |= one_may
        must &= one_must
    if action is Action.SUBSCRIBE and not contained:
        topic_filter, may, must = _filtered(rule, topic_filter, may, must)
    if not may:
        return []
    return [
        Grant(rule.effect, action, topic_filter, may, must if exact else 0, rule.id, rule.source, rule.text),
    ]


def bits_of(position: int, rule: Rule, action: Action, topic_filter: str, holds: bool) -> tuple[int, int]:
    """For which QoS and RETAIN the rule may apply, and for which it does, by whatever size."""
    entry = make_entry(position, rule, topic_filter, holds)
    if entry is None:
        return 0, 0
    if action is Action.SUBSCRIBE:
        bits = sum(0b11 << qos * 2 for qos in (0, 1, 2) if entry.subscribe_mask >> qos & 1)
        return bits, bits
    if not entry.sizes:
        return entry.mask, entry.mask
    # "where A size<=1": may where A holds. "unless A size<=1": does where A does not hold, and may elsewhere.
    return (_ALL_BITS, entry.mask ^ _ALL_BITS) if entry.negated else (entry.mask, 0)


def _filtered(rule: Rule, topic_filter: str, may: int, must: int) -> tuple[str, int, int]:
    """How a rule acts on a SUBSCRIBE that need not be contained: any filter that meets a permit is granted."""
    if rule.effect is Effect.DENY:
        return topic_filter, may, 0  # refused only what lies wholly under deny rules; a wider filter is not
    first = topic_filter.split("/", 1)[0]
    return (f"{first}/#" if first[:1] == "$" else "#"), may, 0
