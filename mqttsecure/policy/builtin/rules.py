# -*- test-case-name: tests.policy.builtin.test_rules -*-
"""The rule language: one rule, one line.

``(permit | deny) who action[,action] filter [(where | unless) condition ...]``

who is ``user:NAME``, ``group:NAME`` or ``everyone``; ``user:AUTHORITY:NAME`` names one authority's user. A name, filter
or value with spaces stands in double quotes; a quoted name may contain colons. An action is ``publish``, ``subscribe``,
``receive`` or ``read``, which is the last two. A condition is ``qos<=1``, ``retain=no``, ``size<=1024``,
``{attribute}=value`` or ``{attribute} in a,b``; several stand side by side and must all hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mqttsecure.core.decisions import ANONYMOUS_AUTHORITY, Action, Effect, Principal, Source
from mqttsecure.errors import MqttError, MqttsecureError
from mqttsecure.policy.builtin.options import nearest
from mqttsecure.wire.topics import check_topic_filter, is_shared

__all__ = ["PLACEHOLDER", "Condition", "Rule", "RuleError", "Who", "parse_rule"]

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")

_TOKEN: Final = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.?)*(?:"|$))+', re.DOTALL)
"""A word; a double quote that is not closed takes the rest of the line, so that it is told where it began."""

_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_COMPARISON: Final = re.compile(r"(qos|size)(<=|>=|<|>|=)(\d{1,9})")
_RETAIN: Final = re.compile(r"retain=(yes|no)")
_ATTRIBUTE: Final = re.compile(r"\{([^{}]*)\}=(.+)", re.DOTALL)

_ACTIONS: Final[dict[str, frozenset[Action]]] = {
    "publish": frozenset({Action.PUBLISH}),
    "subscribe": frozenset({Action.SUBSCRIBE}),
    "receive": frozenset({Action.RECEIVE}),
    "read": frozenset({Action.SUBSCRIBE, Action.RECEIVE}),
}
_EFFECTS: Final = {"permit": Effect.PERMIT, "deny": Effect.DENY}
_CONDITION_EXAMPLES: Final = "qos<=1, retain=no, size<=1024, {attribute}=value or {attribute} in a,b"


class RuleError(MqttsecureError):
    """A line that is no rule. ``faults`` holds (column, text) for each thing wrong with it; columns count from 1."""

    def __init__(self, faults: list[tuple[int, str]]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"column {column}: {text}" for column, text in faults))


@dataclass(slots=True, frozen=True)
class Who:
    """Whom a rule is about: ``kind`` is "user", "group" or "everyone"; without an authority, of any."""

    kind: str
    name: str = ""
    authority: str | None = None


@dataclass(slots=True, frozen=True)
class Condition:
    """``subject`` is "qos", "size", "retain" or "attribute" (then ``name`` says which)."""

    subject: str
    operator: str
    number: int = 0
    name: str = ""
    values: frozenset[str] = frozenset()

    def compare(self, actual: int) -> bool:
        """Whether it holds for a QoS, a size, or the RETAIN flag as 0 or 1."""
        match self.operator:
            case "<=":
                return actual <= self.number
            case ">=":
                return actual >= self.number
            case "<":
                return actual < self.number
            case ">":
                return actual > self.number
        return actual == self.number


@dataclass(slots=True, frozen=True)
class Rule:
    """One rule. ``negated`` is ``unless``; ``topic_filter`` may hold placeholders; ``text`` is the line itself."""

    effect: Effect
    who: Who
    actions: frozenset[Action]
    topic_filter: str
    conditions: tuple[Condition, ...] = ()
    negated: bool = False
    id: str = ""
    source: Source | None = None
    text: str = ""

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names in braces of the filter, in order."""
        return tuple(PLACEHOLDER.findall(self.topic_filter))

    @property
    def names_someone(self) -> bool:
        """Whether it depends on the name of a user or group, which means nothing without the authority it is of."""
        return (
            self.who.kind != "everyone"
            or "user" in self.placeholders
            or any(condition.name == "user" for condition in self.conditions)
        )

    def concerns(self, principal: Principal) -> bool:
        """Whether the principal is of the right authority; its name and groups are asked elsewhere.

        A bare name never grants anything to an anonymous client, whose name and groups nobody has proved.
        """
        if self.who.authority is not None:
            return principal.authority == self.who.authority
        return principal.authority != ANONYMOUS_AUTHORITY or self.effect is Effect.DENY or not self.names_someone


def parse_rule(text: str, rule_id: str = "", source: Source | None = None) -> Rule:
    """Read one rule.

    Raises:
        RuleError: with everything that is wrong with it.
    """
    return _RuleReader(text).read(rule_id, source)


class _RuleReader:
    """Reads the words of one line from left to right and notes what is wrong with each."""

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._words = [(match.start() + 1, match.group()) for match in _TOKEN.finditer(text)]
        self._next = 0
        self._end = len(text.rstrip()) + 1
        self._faults: list[tuple[int, str]] = []

    def read(self, rule_id: str, source: Source | None) -> Rule:
        effect = self._effect()
        who = self._who()
        actions = self._actions()
        topic_filter = self._filter()
        negated, conditions = self._conditions()
        if Action.RECEIVE not in actions and Action.PUBLISH not in actions:
            self._refuse_message_conditions(conditions)
        if self._faults:
            raise RuleError(self._faults)
        return Rule(effect, who, actions, topic_filter, conditions, negated, rule_id, source, self._text)

    def _take(self, expected: str) -> tuple[int, str]:
        """The next word; where there is none, that is noted and "" given."""
        if self._next >= len(self._words):
            if not any(column == self._end for column, _ in self._faults):
                self._fault(self._end, f"the rule ends here; {expected} is missing")
            return self._end, ""
        word = self._words[self._next]
        self._next += 1
        return word

    def _fault(self, column: int, text: str) -> None:
        self._faults.append((column, text))

    def _effect(self) -> Effect:
        column, word = self._take("permit or deny")
        effect = _EFFECTS.get(word)
        if effect is None and word:
            self._fault(column, f"{word!r} begins no rule; write permit or deny{nearest(word, _EFFECTS)}")
        return effect or Effect.DENY

    def _who(self) -> Who:
        column, word = self._take("user:NAME, group:NAME or everyone")
        if word == "everyone" or not word:
            return Who("everyone")
        kind, colon, rest = word.partition(":")
        if kind not in ("user", "group") or not colon:
            mend = nearest(kind, ("user:", "group:", "everyone"))
            self._fault(column, f"{word!r} is nobody; write user:NAME, group:NAME or everyone{mend}")
            return Who("everyone")
        authority: str | None = None
        if not rest.startswith('"') and ":" in rest:
            authority, _, rest = rest.partition(":")
        name = self._unquoted(column, rest)
        if authority == "" or not name:
            self._fault(column, f"{word!r} has an empty name; write {kind}:NAME or {kind}:AUTHORITY:NAME")
        return Who(kind, name, authority)

    def _actions(self) -> frozenset[Action]:
        column, word = self._take("publish, subscribe, receive or read")
        if not word:
            return frozenset()
        actions: frozenset[Action] = frozenset()
        for name in word.split(","):
            if name in _ACTIONS:
                actions |= _ACTIONS[name]
            elif name:
                mend = nearest(name, _ACTIONS)
                self._fault(column, f"{name!r} is no action; write publish, subscribe, receive or read{mend}")
            else:
                self._fault(
                    column, "an action is missing beside a comma; write them without spaces, as in publish,read"
                )
            column += len(name) + 1
        return actions

    def _filter(self) -> str:
        column, word = self._take("a Topic Filter")
        if not word:
            return ""
        topic_filter = self._unquoted(column, word)
        for name in PLACEHOLDER.findall(topic_filter):
            if not _NAME.fullmatch(name):
                self._fault(column, f"{{{name}}} is no placeholder; write {{user}}, {{client}} or an attribute's name")
        example = PLACEHOLDER.sub("x", topic_filter)
        if "{" in example or "}" in example:
            self._fault(column, f"{topic_filter!r} has a brace without its partner")
        if is_shared(example):
            # A shared subscription is judged by its inner filter, so such a rule would never apply.
            self._fault(column, "rules name the filter inside a shared subscription; remove $share/ and the group")
            return topic_filter
        try:
            check_topic_filter(example)
        except MqttError as error:
            self._fault(column, f"{topic_filter!r}: {error}")
        return topic_filter

    def _conditions(self) -> tuple[bool, tuple[Condition, ...]]:
        if self._next >= len(self._words):
            return False, ()
        column, word = self._take("where or unless")
        if word not in ("where", "unless"):
            mend = nearest(word, ("where", "unless"))
            self._fault(
                column, f"{word!r} is out of place; a rule ends with its filter, or goes on with where or unless{mend}"
            )
            return False, ()
        conditions = [self._condition()]
        while self._next < len(self._words):
            conditions.append(self._condition())
        return word == "unless", tuple(condition for condition in conditions if condition is not None)

    def _condition(self) -> Condition | None:
        column, word = self._take(f"a condition such as {_CONDITION_EXAMPLES}")
        if not word:
            return None
        if match := _COMPARISON.fullmatch(word):
            subject, operator, number = match.groups()
            if subject == "qos" and int(number) > 2:
                self._fault(column, f"{word!r} names a QoS above 2")
            return Condition(subject, operator, int(number))
        if match := _RETAIN.fullmatch(word):
            return Condition("retain", "=", int(match[1] == "yes"))
        if match := _ATTRIBUTE.fullmatch(word):
            return self._attribute(column, match[1], frozenset({self._unquoted(column, match[2])}))
        following = [text for _, text in self._words[self._next : self._next + 2]]
        if (match := PLACEHOLDER.fullmatch(word)) and len(following) == 2 and following[0] == "in":
            self._next += 2
            return self._attribute(column, match[1], self._values(column, following[1]))
        self._fault(column, f"{word!r} is no condition; write {_CONDITION_EXAMPLES}, without other spaces")
        return None

    def _attribute(self, column: int, name: str, values: frozenset[str]) -> Condition:
        if not _NAME.fullmatch(name):
            self._fault(column, f"{{{name}}} is no attribute's name")
        return Condition("attribute", "in", name=name, values=values)

    def _values(self, column: int, text: str) -> frozenset[str]:
        values = frozenset(self._unquoted(column, value) for value in text.split(","))
        if "" in values:
            self._fault(column, "a value is missing beside a comma; write them without spaces, as in a,b")
        return values

    def _refuse_message_conditions(self, conditions: tuple[Condition, ...]) -> None:
        for condition in conditions:
            if condition.subject in ("retain", "size"):
                self._fault(
                    self._end, f"subscribe alone has no {condition.subject}; use it with publish, receive or read"
                )

    def _unquoted(self, column: int, text: str) -> str:
        """The text without its double quotes, which must be around the whole of it."""
        if '"' not in text:
            return text
        match = _QUOTED.fullmatch(text)
        if match is None:
            self._fault(column, f"{text!r} is not quoted as a whole; put one double quote at each end")
            return text
        return re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL)
