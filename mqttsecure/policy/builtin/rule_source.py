# -*- test-case-name: tests.policy.builtin.test_rule_source -*-
"""Where rules come from, inline and in a file, and whose names they mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mqttsecure.core.decisions import Effect, Source
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IPolicyEnvironment
from mqttsecure.policy.builtin.options import Problems, nearest, read_text
from mqttsecure.policy.builtin.rules import Rule, RuleError, parse_rule

__all__ = ["authority_warnings", "bind_authorities", "load_rules", "read_rules_file"]

MAXIMUM_RULES_BYTES: Final = 16 * 1024 * 1024
"""Of one rules file: over 200,000 rules; a mistaken path to something larger is told as such."""


def load_rules(
    inline: list[str], rules_file: str | None, environment: IPolicyEnvironment, problems: Problems
) -> list[Rule]:
    """All rules of a policy as written, the inline ones first; all that is wrong is noted in ``problems``."""
    rules: list[Rule] = []
    for index, text in enumerate(inline):
        try:
            rules.append(parse_rule(text, f"rules[{index}]", environment.source("rules", index)))
        except RuleError as error:
            for column, fault in error.faults:
                problems.add("rules", f"column {column}: {fault}", index)
    if rules_file is not None:
        try:
            rules += read_rules_file(environment.resolve(rules_file))
        except ConfigError as error:
            problems.add_error("rules_file", error)
    if not inline and rules_file is None:
        problems.add(None, 'it has no rules; give rules = ["permit ..."] or rules_file = "acl.rules"')
    return rules


def read_rules_file(path: Path) -> list[Rule]:
    """The rules of a file: one a line, ``#`` begins a comment line.

    Raises:
        ConfigError: the file cannot be used, holds no rule, or lines that are none.
    """
    rules: list[Rule] = []
    faults: list[str] = []
    for number, line in enumerate(read_text(path, MAXIMUM_RULES_BYTES).split("\n"), 1):
        text = line.rstrip("\r")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        try:
            rules.append(parse_rule(text, f"line {number}", Source(str(path), number)))
        except RuleError as error:
            faults += [f"{path}:{number}:{column}: {fault}" for column, fault in error.faults]
    if not rules and not faults:
        # An empty file is more often one that was being written than one that is meant.
        faults.append(f"{path}: holds no rule; write one, or remove rules_file")
    if faults:
        raise ConfigError(faults)
    return rules


def bind_authorities(
    rules: Iterable[Rule], authority: str | None, environment: IPolicyEnvironment, problems: Problems
) -> list[Rule]:
    """The rules with the authority that a bare ``user:NAME``, ``group:NAME`` or ``{user}`` means.

    That is ``authority`` where the policy names one. Else it depends on the ``[[authority]]`` tables: with none, it is
    any source of names; with one, a permit means that one and a deny any, so that neither lets more through than it
    says; with several it is refused, since CN=admin of a device CA is never the user admin of a password file.
    """
    known = tuple(environment.authorities)
    bound = []
    for rule in rules:
        who = rule.who
        meant = authority
        if who.authority is not None or not rule.names_someone:
            meant = who.authority
        elif authority is None and len(known) > 1:
            problems.add_line(f"{rule.source}: policy {environment.policy_id!r}: {rule.id}: {_ambiguity(rule, known)}")
        elif authority is None and known and rule.effect is Effect.PERMIT:
            meant = known[0]
        bound.append(dataclasses.replace(rule, who=dataclasses.replace(who, authority=meant)))
    return bound


def _ambiguity(rule: Rule, known: tuple[str, ...]) -> str:
    who = rule.who
    bare, mend = "{user}", "set `authority`, in a policy for each"
    if who.kind != "everyone":
        bare, mend = f"{who.kind}:{who.name}", f"write {who.kind}:{known[0]}:{who.name}, or set `authority`"
    return f"{bare} does not say whose name it is, and there are the authorities {', '.join(known)}; {mend}"


def authority_warnings(rules: Iterable[Rule], environment: IPolicyEnvironment) -> tuple[str, ...]:
    """A line for each rule whose authority looks like a misspelled ``[[authority]]``.

    It is no error: an identity policy without an ``[[authority]]`` is an authority under its own id.
    """
    found = []
    for rule in rules:
        name = rule.who.authority
        if name is not None and name not in environment.authorities:
            mend = nearest(name, environment.authorities)
            if mend:
                found.append(f"{rule.source}: {rule.id} names the authority {name!r}{mend}")
    return tuple(found)
