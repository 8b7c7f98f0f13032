# -*- test-case-name: tests.policy.builtin.test_rule_lints -*-
"""Rules that do nothing, or more than they look like, decided by the algebra of filters.

A level with a placeholder is taken as a value that no rule names: what covers that covers every value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mqttsecure.core.decisions import ANONYMOUS_AUTHORITY, Action, Effect
from mqttsecure.policy.builtin.rule_grants import bits_of
from mqttsecure.policy.builtin.rules import PLACEHOLDER, Rule
from mqttsecure.policy.lint import Lint
from mqttsecure.wire.topics import contains, covered_by, intersects

__all__ = ["rule_lints"]


def rule_lints(rules: Sequence[Rule]) -> list[Lint]:
    """What can be said against the rules of one policy, in their order."""
    found = [*_cancelled(rules), *_redundant(rules), *_all_granted(rules), *_never_received(rules)]
    order = {rule.id: position for position, rule in enumerate(rules)}
    return [lint for _, lint in sorted(found, key=lambda each: order[each[0].id])]


def _filter(rule: Rule) -> str:
    return PLACEHOLDER.sub(lambda match: f"\x01{match[1]}\x01", rule.topic_filter)


def _open_filter(rule: Rule) -> str:
    """The filter with a ``+`` for each level that has a placeholder."""
    levels = ["+" if PLACEHOLDER.search(level) else level for level in rule.topic_filter.split("/")]
    return "/".join(levels)


def _is_wider(outer: Rule, inner: Rule) -> bool:
    """Whether a rule concerns everyone whom another concerns."""
    mine, theirs = outer.who, inner.who
    if mine.kind != "everyone" and (mine.kind, mine.name) != (theirs.kind, theirs.name):
        return False
    if mine.authority is None:
        # A bare name never means an anonymous client, see Rule.concerns.
        return outer.effect is Effect.DENY or not outer.names_someone or theirs.authority != ANONYMOUS_AUTHORITY
    return mine.authority == theirs.authority


def _is_weaker(outer: Rule, inner: Rule, action: Action) -> bool:
    """Whether a rule applies to every message to which another applies, as far as its conditions go."""
    if not outer.conditions:
        return True
    # At SUBSCRIBE a permit applies if some message could meet its conditions, a deny only if each would.
    alike = outer.effect is inner.effect or action is not Action.SUBSCRIBE
    if alike and outer.negated == inner.negated and set(outer.conditions) == set(inner.conditions):
        return True
    if any(condition.subject in ("attribute", "size") for condition in outer.conditions):
        return False
    must = bits_of(0, outer, action, "x", True)[1]
    may = 0
    for holds in (True, False):
        may |= bits_of(0, inner, action, "x", holds)[0]
    return may & ~must == 0


_Head = tuple[str, ...]


class _ByWho:
    """Rules by whom they are about and by how their filters begin, so that thousands of users or devices with a rule
    each are not compared with one another.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[tuple[str, str], dict[_Head, dict[str, Rule]]] = {}
        for rule in rules:
            heads = self._rules.setdefault((rule.who.kind, rule.who.name), {})
            heads.setdefault(self._head(rule), {})[rule.id] = rule

    @staticmethod
    def _head(rule: Rule) -> _Head:
        """The first two levels, () where a wildcard is among them."""
        levels = _filter(rule).split("/")[:2]
        return () if "+" in levels or "#" in levels else tuple(levels)

    def remove(self, rule: Rule) -> None:
        del self._rules[rule.who.kind, rule.who.name][self._head(rule)][rule.id]

    def near(self, rule: Rule) -> Iterator[Rule]:
        """Those that may concern everyone whom a rule concerns and meet its filter, but for the rule itself."""
        head = self._head(rule)
        for key in dict.fromkeys([("everyone", ""), (rule.who.kind, rule.who.name)]):
            heads = self._rules.get(key, {})
            for found in [heads.get((), {}), heads.get(head, {})] if head else list(heads.values()):
                for other in found.values():
                    if other is not rule:
                        yield other


def _covering(rule: Rule, others: _ByWho, action: Action) -> list[Rule]:
    topic_filter = _filter(rule)
    return [
        other
        for other in others.near(rule)
        if action in other.actions
        and intersects(_filter(other), topic_filter)
        and _is_wider(other, rule)
        and _is_weaker(other, rule, action)
    ]


def _is_covered(rule: Rule, others: _ByWho, action: Action) -> bool:
    return covered_by(_filter(rule), [_filter(other) for other in _covering(rule, others, action)])


def _cancelled(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Lint]]:
    denies = _ByWho(rule for rule in rules if rule.effect is Effect.DENY)
    for rule in rules:
        if rule.effect is Effect.DENY:
            continue
        gone = [action for action in Action if action in rule.actions and _is_covered(rule, denies, action)]
        if not gone:
            continue
        by = ", ".join(dict.fromkeys(other.id for action in gone for other in _covering(rule, denies, action)))
        words = "all of it" if len(gone) == len(rule.actions) else " and ".join(action.value for action in gone)
        yield (
            rule,
            Lint(
                "cancelled-rule",
                rule.source,
                f"{rule.id}: {rule.text}",
                f"{words} is denied by {by}, and deny overrides",
                "remove it, or narrow what denies it",
            ),
        )


def _redundant(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Lint]]:
    kept = {effect: _ByWho(rule for rule in rules if rule.effect is effect) for effect in (Effect.PERMIT, Effect.DENY)}
    # From the last on, and each without those found before: of two that are equal the first stays.
    for rule in reversed(rules):
        others = kept[rule.effect]
        if not all(_is_covered(rule, others, action) for action in rule.actions):
            continue
        by = ", ".join(
            dict.fromkeys(
                other.id for action in Action if action in rule.actions for other in _covering(rule, others, action)
            )
        )
        others.remove(rule)
        yield (
            rule,
            Lint("redundant-rule", rule.source, f"{rule.id}: {rule.text}", f"{by} says as much", "remove it"),
        )


def _all_granted(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Lint]]:
    for rule in rules:
        if rule.effect is Effect.PERMIT and contains(_filter(rule), "#"):
            yield (
                rule,
                Lint(
                    "grants-all",
                    rule.source,
                    f"{rule.id}: {rule.text}",
                    "it grants every topic there is and every one to come, less what is denied",
                    "name the trees that are meant",
                ),
            )


def _may_share_clients(one: Rule, other: Rule) -> bool:
    if one.who.authority and other.who.authority and one.who.authority != other.who.authority:
        return False
    return not (one.who.kind == other.who.kind == "user" and one.who.name != other.who.name)


def _never_received(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Lint]]:
    receives = [rule for rule in rules if rule.effect is Effect.PERMIT and Action.RECEIVE in rule.actions]
    for rule in rules:
        if rule.effect is Effect.DENY or Action.SUBSCRIBE not in rule.actions or Action.RECEIVE in rule.actions:
            continue
        if any(
            _may_share_clients(rule, each) and intersects(_open_filter(rule), _open_filter(each)) for each in receives
        ):
            continue
        yield (
            rule,
            Lint(
                "subscribe-without-receive",
                rule.source,
                f"{rule.id}: {rule.text}",
                "no rule lets them receive anything of it, so the subscription stays silent",
                "write read in place of subscribe, or add a receive rule",
            ),
        )
