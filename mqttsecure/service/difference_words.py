# -*- test-case-name: tests.service.test_differences -*-
"""What was changed in a configuration beside the rules, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mqttsecure.service.assembly import Assembly
from mqttsecure.service.config import PolicyConfig

__all__ = ["changes_in_words"]

_NOT_COMPARED: Final = frozenset({"position", "source", "options", "id", "name"})
_MAXIMUM_SHOWN: Final = 80


def changes_in_words(old: Assembly, new: Assembly) -> Iterator[str]:
    """One line for each listener, authority, policy, alias and limit that is not as it was."""
    for what, section in (("listener", "listeners"), ("authority", "authorities")):
        before = {each.name: each for each in getattr(old.config, section)}
        after = {each.name: each for each in getattr(new.config, section)}
        yield from _tables(what, before, after)
    before_policies = {each.id: each for each in old.config.policies}
    after_policies = {each.id: each for each in new.config.policies}
    yield from _tables("policy", before_policies, after_policies)
    yield from _order(list(before_policies), list(after_policies))
    for principal in sorted({*old.config.aliases, *new.config.aliases}, key=str):
        one, other = old.config.aliases.get(principal), new.config.aliases.get(principal)
        if one != other:
            yield f"alias {principal}: {one or 'itself'} -> {other or 'itself'}"
    for field in dataclasses.fields(old.limits):
        one, other = getattr(old.limits, field.name), getattr(new.limits, field.name)
        if one != other:
            yield f"limits.{field.name}: {one} -> {other}"


def _tables(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in before:
        if name not in after:
            yield f"{what} {name}: removed"
    for name, table in after.items():
        if name not in before:
            yield f"{what} {name}: added"
            continue
        yield from (f"{what} {name}: {text}" for text in _fields(before[name], table))


def _fields(before: Any, after: Any) -> Iterator[str]:
    for field in dataclasses.fields(before):
        one, other = getattr(before, field.name), getattr(after, field.name)
        if field.name in _NOT_COMPARED or one == other:
            continue
        if dataclasses.is_dataclass(one) and dataclasses.is_dataclass(other):
            yield from (f"{field.name}.{text}" for text in _fields(one, other))
        else:
            yield f"{field.name}: {_shown(one)} -> {_shown(other)}"
    if isinstance(before, PolicyConfig):
        yield from _options(before.options, after.options)


def _options(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *after]):
        one, other = before.get(key), after.get(key)
        if one == other:
            continue
        if isinstance(one, list) and isinstance(other, list):
            yield from (f"{key}: - {_shown(item)}" for item in one if item not in other)
            yield from (f"{key}: + {_shown(item)}" for item in other if item not in one)
            if sorted(map(str, one)) == sorted(map(str, other)):
                yield f"{key}: in another order"
        else:
            yield f"{key}: {_shown(one)} -> {_shown(other)}"


def _order(before: list[str], after: list[str]) -> Iterator[str]:
    kept_before = [each for each in before if each in after]
    kept_after = [each for each in after if each in before]
    if kept_before != kept_after:
        yield f"order of the chain: {', '.join(kept_before)} -> {', '.join(kept_after)}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = ", ".join(map(str, value)) or "none" if isinstance(value, tuple | list) else str(value)
    return text if len(text) <= _MAXIMUM_SHOWN else f"{text[: _MAXIMUM_SHOWN - 3]}..."
