# -*- test-case-name: tests.policy.test_review -*-
"""What can be said of a chain before it is asked anything: its faults, and who can permit or deny what."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mqttsecure.core.decisions import Role, Stage
from mqttsecure.policy.binding import PolicyBinding

__all__ = ["Bypass", "TableRow", "problems", "table"]


@dataclass(slots=True, frozen=True)
class Bypass:
    """A PERMIT of ``policy``, which is ``final`` at ``stage``, keeps the ``bypassed`` from being asked."""

    listener: str
    stage: Stage
    policy: str
    bypassed: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class TableRow:
    """One stage of one listener, by the ids of the policies in order."""

    listener: str
    stage: Stage
    can_permit: tuple[str, ...]
    can_deny: tuple[str, ...]
    required: tuple[str, ...]
    bypasses: tuple[Bypass, ...]


def table(bindings: Sequence[PolicyBinding], listeners: Sequence[str]) -> list[TableRow]:
    """One row for each listener and stage."""
    return [_row(bindings, listener, stage) for listener in listeners for stage in Stage]


def _row(bindings: Sequence[PolicyBinding], listener: str, stage: Stage) -> TableRow:
    asked = [each for each in bindings if listener in each.on and stage in each.stages]
    ids = tuple(each.id for each in asked)
    return TableRow(
        listener,
        stage,
        can_permit=tuple(each.id for each in asked if each.stages[stage] is Role.GRANTS),
        can_deny=ids,
        required=tuple(each.id for each in asked if stage in each.required),
        bypasses=tuple(
            Bypass(listener, stage, each.id, ids[position + 1 :])
            for position, each in enumerate(asked)
            if stage in each.final and ids[position + 1 :]
        ),
    )


def problems(bindings: Sequence[PolicyBinding], listeners: Sequence[str]) -> list[str]:
    """The faults of a chain, one line each."""
    found = _repeated(bindings)
    for binding in bindings:
        found += [f"{binding.where}: {text}" for text in _binding_problems(binding, listeners)]
    for row in table(bindings, listeners):
        if not row.can_permit:
            found.append(
                f"listener {row.listener!r}: no policy can permit anything at {row.stage.value}, so nobody could pass; "
                f"add a policy that grants at {row.stage.value} (`mqttsecure policies` lists them)"
            )
    return found


def _repeated(bindings: Sequence[PolicyBinding]) -> list[str]:
    seen = Counter(binding.id for binding in bindings)
    return [
        f"{binding.where}: this id is used {seen[binding.id]} times; give each policy its own"
        for position, binding in enumerate(bindings)
        if binding.id in [earlier.id for earlier in bindings[:position]]
    ]


def _binding_problems(binding: PolicyBinding, listeners: Sequence[str]) -> list[str]:
    stages = binding.stages
    declared = ", ".join(stage.value for stage in Stage if stage in stages) or "none"
    found = []
    fault = binding.stages_fault
    if fault is not None:
        found.append(f"{fault}; tell its author")
    if not binding.on:
        found.append("it is on no listener; leave out `on` to have it on all")
    for name in sorted(binding.on.difference(listeners)):
        nearest = difflib.get_close_matches(name, listeners, 1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(listeners) or 'none'}"
        found.append(f"on: there is no listener {name!r}; {hint}")
    for key, named, why in (
        ("final", binding.final, "so it has no PERMIT to be final"),
        ("required", binding.required, "so it can never do more than abstain, which would deny everyone"),
    ):
        for stage in Stage:
            if stage in named and stage not in stages:
                found.append(f"{key}: it is not asked at {stage.value} (its stages: {declared}); take that out")
            elif stage in named and stages[stage] is not Role.GRANTS:
                found.append(f"{key}: at {stage.value} it only restricts, {why}; take that out")
    if not (math.isfinite(binding.timeout) and binding.timeout > 0):
        found.append(f"timeout_ms: {binding.timeout * 1000:g} is no time to answer in; give at least 1")
    return found
