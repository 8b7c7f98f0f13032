# -*- test-case-name: tests.policy.builtin.test_whom -*-
"""Whom a policy is about, where that is only some: ``user:NAME`` and ``group:NAME``, in the words of rules."""

from __future__ import annotations

from collections.abc import Iterable

from mqttsecure.core.decisions import Principal, Request
from mqttsecure.policy.builtin.rules import Rule, RuleError, parse_rule

__all__ = ["Whom", "parse_whom", "principal_of"]


def parse_whom(text: str) -> Rule:
    """A rule about whoever ``text`` names.

    Raises:
        ValueError: it names nobody in particular.
    """
    try:
        rule = parse_rule(f"deny {text} publish x")
    except RuleError:
        raise ValueError(f"{text!r} is nobody; write user:NAME or group:NAME") from None
    if rule.who.kind == "everyone":
        raise ValueError("everyone needs no entry; leave `only` out")
    return rule


def principal_of(request: Request) -> Principal | None:
    """Who it is; at AUTHENTICATE as far as the policies before have told."""
    principal: Principal | None = request.exchange.get("principal", request.connection.principal)
    return principal


class Whom:
    """Everyone, or those who are named."""

    def __init__(self, texts: Iterable[str]) -> None:
        """
        Raises:
            ValueError: one of them names nobody in particular.
        """
        self._rules = tuple(parse_whom(each) for each in texts)

    def includes(self, request: Request) -> bool:
        """Whether the policy is about this client. Of one whom nobody has named it cannot be ruled out."""
        if not self._rules:
            return True
        principal = principal_of(request)
        if principal is None:
            return True
        groups: frozenset[str] = request.exchange.get("groups", request.connection.groups)
        return any(
            rule.concerns(principal)
            and (rule.who.name == principal.name if rule.who.kind == "user" else rule.who.name in groups)
            for rule in self._rules
        )
