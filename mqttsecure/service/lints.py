# -*- test-case-name: tests.service.test_lints -*-
"""What can be said against a configuration that can be used: rules and policies that do nothing, or more than they
look like. Each with its reason and its mend; none keeps the broker from starting.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from mqttsecure.core.decisions import Role, Source, Stage
from mqttsecure.interfaces import IIdentities
from mqttsecure.policy.binding import PolicyBinding
from mqttsecure.policy.builtin.option_lints import (
    Finding,
    covered_addresses,
    covered_patterns,
    patterns_meet,
    widening_patterns,
)
from mqttsecure.policy.builtin.rule_lints import rule_lints
from mqttsecure.policy.builtin.topic_acl import TopicAcl
from mqttsecure.policy.lint import Lint
from mqttsecure.service.assembly import Assembly, UsedPolicy
from mqttsecure.service.config import ListenerConfig
from mqttsecure.service.config_checks import is_loopback
from mqttsecure.service.member_lints import member_lints

__all__ = ["lints_of"]


def lints_of(assembly: Assembly) -> list[Lint]:
    """All lints, by file and line."""
    found = [
        *_missing_tests(assembly),
        *_plaintext(assembly.listeners),
        *_bypasses(assembly),
        *_rules(assembly),
        *member_lints(assembly.chain),
        *_options(assembly),
        *_never_both(assembly),
    ]
    return sorted(dict.fromkeys(found), key=_place)


def _place(lint: Lint) -> tuple[str, int]:
    return (lint.source.file, lint.source.line) if lint.source else ("", 0)


def _missing_tests(assembly: Assembly) -> Iterator[Lint]:
    config = assembly.config
    for index, file in enumerate(config.test_files):
        if not file.is_file():
            yield Lint(
                "missing-tests",
                config.source_of("tests", "files", index),
                f"{file}",
                "there is no such file, so its tests are not run",
                "put it there, or mend the name",
            )


def _plaintext(listeners: Sequence[ListenerConfig]) -> Iterator[Lint]:
    for listener in listeners:
        if listener.tls is None:
            local = all(is_loopback(host) for host, _ in listener.addresses)
            who = "everyone on this machine who may capture" if local else "everyone on the way"
            yield Lint(
                "plaintext-listener",
                listener.source,
                f"listener {listener.name!r} has no TLS",
                f"{who} reads passwords and messages, and may change them",
                "give it `tls`",
            )


def _bypasses(assembly: Assembly) -> Iterator[Lint]:
    sources = {each.id: each.source for each in assembly.chain.bindings}
    for bypass in assembly.chain.bypassed():
        yield Lint(
            "bypassed-by-final",
            sources[bypass.policy],
            f"policy {bypass.policy!r} is final at {bypass.stage.value} on listener {bypass.listener!r}",
            f"after its permit {', '.join(bypass.bypassed)} is not asked, and cannot deny",
            "put it behind them, or take `final` away",
        )


def _rules(assembly: Assembly) -> Iterator[Lint]:
    delivering = [each for each in assembly.chain.bindings if each.stages.get(Stage.DELIVER) is Role.GRANTS]
    for binding in assembly.chain.bindings:
        if not isinstance(binding.policy, TopicAcl):
            continue
        for lint in rule_lints(binding.policy.rules):
            # Another policy may let them receive it.
            if lint.id != "subscribe-without-receive" or delivering == [binding]:
                yield lint


def _options(assembly: Assembly) -> Iterator[Lint]:
    for used in assembly.policies:
        options: Any = used.found.factory.options.model_validate(used.config.options)
        if _is(used, "client-id"):
            for finding in covered_patterns(options.patterns):
                yield _finding(assembly, used, "redundant-pattern", "patterns", options.patterns, finding)
            for finding in widening_patterns(options.patterns):
                yield _finding(assembly, used, "widening-pattern", "patterns", options.patterns, finding)
        if _is(used, "ip-allowlist"):
            for name, finding in covered_addresses(options.permit, options.deny):
                yield _finding(assembly, used, "redundant-address", name, getattr(options, name), finding)


def _is(used: UsedPolicy, name: str) -> bool:
    return used.found.qualified_name == f"mqttsecure:{name}"


def _finding(
    assembly: Assembly, used: UsedPolicy, kind: str, option: str, entries: Sequence[str], finding: Finding
) -> Lint:
    index, why, mend = finding
    source = assembly.config.source_of("policy", used.config.position, option, index)
    return Lint(kind, source, f"policy {used.config.id!r}: {option}[{index}] {entries[index]!r}", why, mend)


# Two that can never both be met


def _never_both(assembly: Assembly) -> Iterator[Lint]:
    yield from _handshakes(assembly)
    yield from _identifiers(assembly)
    for listener in assembly.listeners:
        required = [
            each
            for each in assembly.chain.bindings
            if listener.name in each.on and Stage.AUTHENTICATE in each.required and IIdentities.providedBy(each.policy)
        ]
        for one, other in itertools.combinations(required, 2):
            if _authorities(one, assembly).isdisjoint(_authorities(other, assembly)):
                yield _never(
                    other.source,
                    f"policies {one.id!r} and {other.id!r} are both required on listener {listener.name!r}",
                    "they vouch for different authorities, and one client is never two principals",
                    "let both use one [[authority]], or say with [[alias]] who is who",
                )


def _never(source: Source | None, text: str, why: str, mend: str) -> Lint:
    return Lint("never-both", source, text, why, mend)


def _authorities(binding: PolicyBinding, assembly: Assembly) -> set[str]:
    """The authorities of its principals, with those that aliases make of them."""
    found: set[str] = set()
    if IIdentities.providedBy(binding.policy):
        found = {each.authority for each in binding.policy.identities()}
    return found | {
        meant.authority for principal, meant in assembly.config.aliases.items() if principal.authority in found
    }


def _handshakes(assembly: Assembly) -> Iterator[Lint]:
    listeners = {each.name: each for each in assembly.listeners}
    for used in assembly.policies:
        if not _is(used, "tls-requirements"):
            continue
        options: Any = used.found.factory.options.model_validate(used.config.options)
        for name in used.config.on:
            why = _handshake_conflict(listeners[name], options)
            if why:
                yield _never(
                    used.config.source,
                    f"policy {used.config.id!r} on listener {name!r}",
                    f"{why}, so nobody passes",
                    "change one of the two, or leave the listener out of `on`",
                )


def _handshake_conflict(listener: ListenerConfig, options: Any) -> str:
    if listener.tls is None:
        return 'the listener has no TLS, and plaintext = "never"' if options.plaintext == "never" else ""
    if options.client_certificate != "required":
        return ""
    if listener.tls.client_certificate == "none":
        return "the listener asks for no client certificate, and the policy requires one"
    if options.authorities and not set(options.authorities) & set(listener.tls.authorities):
        return "the listener and the policy take certificates of different authorities"
    return ""


def _identifiers(assembly: Assembly) -> Iterator[Lint]:
    users = [used for used in assembly.policies if _is(used, "client-id")]
    for one, other in itertools.combinations(users, 2):
        if not set(one.config.on) & set(other.config.on):
            continue
        models: list[Any] = [each.found.factory.options.model_validate(each.config.options) for each in (one, other)]
        pairs = itertools.product(models[0].patterns, models[1].patterns)
        if not any(patterns_meet(left, right) for left, right in pairs):
            empty = all(model.allow_empty for model in models)
            yield _never(
                other.config.source,
                f"policies {one.config.id!r} and {other.config.id!r}",
                "no Client Identifier fits the patterns of both" + (", only an empty one passes" if empty else ""),
                "put the patterns into one policy, or the policies on different listeners",
            )
