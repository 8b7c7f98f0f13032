# -*- test-case-name: tests.service.mosquitto.test_tiers -*-
"""Rules whose order counts, written as rules whose order does not.

In mosquitto the first line that is about a topic decides; here, within one ``topic-acl``, a denial overrides. The two
differ only where a permit stands before a denial of the same. Such a denial goes into a second ``topic-acl``, behind
the first one, whose permits are final: so what was decided first is decided first here as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mqttsecure.core.decisions import Source
from mqttsecure.wire.topics import intersects

__all__ = ["RuleLine", "Tiers", "arranged", "written"]

_PLAIN: Final = re.compile(r'[^\s":]+')
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")


@dataclass(slots=True, frozen=True)
class RuleLine:
    """One rule to be written, and the line that it comes from. ``kind`` and ``name`` say whom it is about."""

    permits: bool
    kind: str
    name: str
    actions: tuple[str, ...]
    topic: str
    source: Source

    @property
    def who(self) -> str:
        if self.kind == "everyone":
            return self.kind
        if self.kind == "anonymous":
            return "group:anonymous:anonymous"
        return f"{self.kind}:{written(self.name)}"

    @property
    def text(self) -> str:
        """As it is written."""
        effect = "permit" if self.permits else "deny  "
        return f"{effect} {self.who} {','.join(self.actions)} {written(self.topic, ':')}"

    @property
    def _widest(self) -> str:
        """A filter that holds whatever it is about, whoever it is about."""
        levels = ["+" if _PLACEHOLDER.search(level) else level for level in self.topic.split("/")]
        return "/".join(levels)

    def overlaps(self, other: RuleLine) -> bool:
        """Whether there may be a topic and an action that both are about."""
        return not set(self._kinds).isdisjoint(other._kinds) and intersects(self._widest, other._widest)

    @property
    def _kinds(self) -> set[str]:
        return {
            kind for action in self.actions for kind in (("subscribe", "receive") if action == "read" else (action,))
        }


def written(text: str, also: str = "") -> str:
    """A word of a rule, in quotes where it needs them."""
    if _PLAIN.fullmatch(text) or (also and re.fullmatch(r'[^\s"]+', text)):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(slots=True, frozen=True)
class Tiers:
    """The rules, by the policy that they go into; ``broken`` are (permit, denial) whose order could not be kept."""

    rules: Sequence[Sequence[RuleLine]]
    broken: Sequence[tuple[RuleLine, RuleLine]]


def arranged(sequences: Iterable[Sequence[RuleLine]]) -> Tiers:
    """Spread rules over as few policies as keep their order.

    Args:
        sequences: the rules that are about one client each, first the one that is asked first.
    """
    tier: dict[RuleLine, int] = {}
    behind: dict[tuple[RuleLine, RuleLine], int] = {}
    for each in sequences:
        sequence = list(dict.fromkeys(each))  # of the same rule the first one counts
        for position, rule in enumerate(sequence):
            tier.setdefault(rule, 0)
            for earlier in sequence[:position]:
                if earlier.permits != rule.permits and earlier.overlaps(rule):
                    behind[earlier, rule] = int(earlier.permits)
    broken = _settle(tier, behind)
    rules: list[list[RuleLine]] = [[] for _ in range(max(tier.values(), default=0) + 1)]
    for rule, number in tier.items():
        rules[number].append(rule)
    return Tiers([each for each in rules if each] or [[]], broken)


def _settle(tier: dict[RuleLine, int], behind: dict[tuple[RuleLine, RuleLine], int]) -> list[tuple[RuleLine, RuleLine]]:
    """Raise tiers until each rule is as far behind others as it must; what cannot be kept is given up and returned."""
    broken: list[tuple[RuleLine, RuleLine]] = []
    rounds = 0
    while violated := [pair for pair, distance in behind.items() if tier[pair[1]] < tier[pair[0]] + distance]:
        rounds += 1
        if rounds > len(tier):
            # One user's order contradicts another's. Denials then come as early as permits: that lets nobody in.
            given_up = [pair for pair in violated if behind[pair]] or [pair for pair in behind if behind[pair]]
            for pair in given_up:
                behind[pair] = 0
            broken += given_up
            for rule in tier:
                tier[rule] = 0
            rounds = 0
            continue
        for earlier, later in violated:
            tier[later] = max(tier[later], tier[earlier] + behind[earlier, later])
    return broken
