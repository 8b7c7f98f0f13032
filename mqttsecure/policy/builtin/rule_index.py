# -*- test-case-name: tests.policy.builtin.test_rule_index -*-
"""The rules that concern one connection, compiled.

Who the client is decides which rules concern it; its attributes decide conditions on them; its names fill
placeholders. What is left for each request is to find the filters that match a Topic Name, in a dict and a trie, and
to look up QoS and RETAIN in six bits. Rules without placeholders are compiled once for all connections that they
concern alike, so that a connection costs memory only for its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mqttsecure.core.decisions import Action, ConnectionFacts, Decision, Effect
from mqttsecure.policy.builtin.rules import PLACEHOLDER, Condition, Rule

__all__ = ["Entry", "FilterIndex", "attribute_text", "fill", "make_entry", "resolve_attributes", "tables_by_action"]

_UNSAFE: Final = ("+", "#", "/", "\0")
_BITS: Final = tuple((qos, retain) for qos in (0, 1, 2) for retain in (0, 1))


def attribute_text(value: object) -> str | None:
    """An attribute as rules spell it; None where it is missing or no plain value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    return None


def fill(topic_filter: str, connection: ConnectionFacts) -> str | None:
    """The filter with its placeholders filled; None where a value would make it wider than it is written.

    A value with ``+``, ``#``, ``/`` or NUL, an empty one, and one that would turn the filter into one of ``$`` topics
    never match.
    """
    for name in PLACEHOLDER.findall(topic_filter):
        value = _value(name, connection)
        if not value or any(sign in value for sign in _UNSAFE):
            return None
    filled = PLACEHOLDER.sub(lambda match: _value(match[1], connection) or "", topic_filter)
    if filled[0] == "$" and topic_filter[0] != "$":
        return None
    return filled


def _value(name: str, connection: ConnectionFacts) -> str | None:
    if name == "user":
        return None if connection.principal is None else connection.principal.name
    if name == "client":
        return connection.client_id
    return attribute_text(connection.attributes.get(name))


def resolve_attributes(rule: Rule, connection: ConnectionFacts) -> bool:
    """Whether the conditions on attributes hold.

    Where one cannot be told, since the attribute is missing, the answer is the one that lets less through: a permit
    does not apply, a deny does, with ``where`` and with ``unless``.
    """
    unknown = False
    for condition in rule.conditions:
        if condition.subject != "attribute":
            continue
        value = _value(condition.name, connection)
        if value is None:
            unknown = True
        elif value not in condition.values:
            return False
    return (rule.effect is Effect.DENY) != rule.negated if unknown else True


@dataclass(slots=True, eq=False)
class Entry:
    """One rule as it concerns one kind of connection.

    ``mask`` has a bit for each ``qos * 2 + retain`` for which the rule applies, and ``subscribe_mask`` one for each
    QoS of a SUBSCRIBE. With ``sizes``, ``mask`` holds the other conditions alone and ``negated`` is still to be done.
    """

    position: int
    topic_filter: str
    rule: Rule
    denies: bool
    mask: int
    subscribe_mask: int
    sizes: tuple[Condition, ...]
    negated: bool
    decision: Decision
    uncacheable: Decision

    def applies(self, bit: int, size: int) -> bool:
        """Whether the rule applies to a message; ``bit`` is ``qos * 2 + retain``."""
        holds = self.mask >> bit & 1 == 1
        if not self.sizes:
            return holds
        return (holds and all(condition.compare(size) for condition in self.sizes)) != self.negated


def make_entry(position: int, rule: Rule, topic_filter: str, attributes_hold: bool) -> Entry | None:
    """Compile a rule whose placeholders are filled and whose attributes are resolved; None if it never applies."""
    negated = rule.negated
    others = [condition for condition in rule.conditions if condition.subject != "attribute"]
    if not attributes_hold:
        if not negated:
            return None
        others, negated = [], False  # unless (something false): always
    sizes = tuple(condition for condition in others if condition.subject == "size")
    base = 0
    for bit, (qos, retain) in enumerate(_BITS):
        actual = {"qos": qos, "retain": retain}
        if all(condition.compare(actual[condition.subject]) for condition in others if condition.subject in actual):
            base |= 1 << bit
    mask = base if sizes or not negated else base ^ 0b111111
    denies = rule.effect is Effect.DENY
    make = Decision.deny if denies else Decision.permit
    return Entry(
        position,
        topic_filter,
        rule,
        denies,
        mask,
        _subscribe_mask(base, bool(sizes), negated, denies),
        sizes,
        negated and bool(sizes),
        make(rule.id, rule.text, source=rule.source, cacheable=True),
        make(rule.id, rule.text, source=rule.source),
    )


def _subscribe_mask(base: int, sized: bool, negated: bool, denies: bool) -> int:
    """The QoS of a SUBSCRIBE at which the rule applies.

    RETAIN and size are known at delivery only, where each message is judged again. So a permit applies here if some
    message could meet it, a deny only if every message would.
    """
    found = 0
    for qos in (0, 1, 2):
        possible = []
        for retain in (0, 1):
            holds = base >> (qos * 2 + retain) & 1 == 1
            outcomes = {holds, False} if sized else {holds}
            possible += [outcome != negated for outcome in outcomes]
        if all(possible) if denies else any(possible):
            found |= 1 << qos
    return found


class _Node:
    __slots__ = ("beyond", "children", "here", "plus")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.plus: _Node | None = None
        self.here: list[Entry] = []
        self.beyond: list[Entry] = []


class FilterIndex:
    """Entries by Topic Filter; finds those that match a Topic Name at a cost that the other entries do not add to."""

    __slots__ = ("_exact", "_root", "entries")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: Sequence[Entry] = tuple(entries)
        self._exact: dict[str, list[Entry]] = {}
        self._root: _Node | None = None
        for entry in self.entries:
            if "+" in entry.topic_filter or "#" in entry.topic_filter:
                self._insert(entry)
            else:
                self._exact.setdefault(entry.topic_filter, []).append(entry)

    def _insert(self, entry: Entry) -> None:
        if self._root is None:
            self._root = _Node()
        node = self._root
        for level in entry.topic_filter.split("/"):
            if level == "#":
                node.beyond.append(entry)
                return
            if level == "+":
                node.plus = node.plus or _Node()
                node = node.plus
            else:
                node = node.children.setdefault(level, _Node())
        node.here.append(entry)

    def match(self, topic: str) -> list[Entry]:
        """The entries whose filter matches a Topic Name, in no order."""
        found = list(self._exact.get(topic, ()))
        if self._root is None:
            return found
        levels = topic.split("/")
        if topic[:1] == "$":
            # v5.0 [MQTT-4.7.2-1]: a wildcard at the first level does not match a Topic Name that begins with $.
            first = self._root.children.get(levels[0])
            nodes = [] if first is None else [first]
            del levels[0]
        else:
            nodes = [self._root]
        for level in levels:
            following = []
            for node in nodes:
                if node.beyond:
                    found += node.beyond
                child = node.children.get(level)
                if child is not None:
                    following.append(child)
                if node.plus is not None:
                    following.append(node.plus)
            if not following:
                return found
            nodes = following
        for node in nodes:
            found += node.here
            found += node.beyond  # "a/#" matches "a" (v5.0 section 4.7.1.2)
        return found


def tables_by_action(entries: Iterable[Entry]) -> dict[Action, FilterIndex]:
    """An index for each action of the entries whose rules are about it."""
    listed = tuple(entries)
    return {action: FilterIndex(entry for entry in listed if action in entry.rule.actions) for action in Action}
