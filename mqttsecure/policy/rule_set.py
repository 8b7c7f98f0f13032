# -*- test-case-name: tests.policy.test_rule_set -*-
"""Grants as rules, for policies that find out by themselves what a client may do.

A policy that hands its questions about topics to a :class:`RuleSet` is decided, proved, compared and explained as a
``topic-acl`` is: by containment, ``mqttsecure policy prove``, ``diff`` and ``explain``.
"""

from __future__ import annotations

from collections.abc import Iterable

from mqttsecure.core.decisions import ConnectionFacts, Decision, Request, Source
from mqttsecure.interfaces import Advice, Grant, IPolicyEnvironment, Subject
from mqttsecure.policy.builtin.options import Problems
from mqttsecure.policy.builtin.rule_source import bind_authorities
from mqttsecure.policy.builtin.rules import Rule, RuleError, parse_rule
from mqttsecure.policy.builtin.topic_acl import TopicAcl

__all__ = ["RuleSet"]


class RuleSet:
    """Rules of the language of ``topic-acl``, one a line. It never changes: make a new one where the rules did, and
    have clients judged again with ``environment.request_rejudging()``."""

    def __init__(
        self,
        rules: Iterable[str],
        environment: IPolicyEnvironment,
        *,
        authority: str | None = None,
        source: Source | None = None,
        contained: bool = True,
    ) -> None:
        """
        Args:
            rules: such as ``permit user:alice publish,read lab/#``.
            environment: of the policy.
            authority: whose users and groups they mean, where there are several.
            source: where they stand; the policy's table, if nothing is said.
            contained: whether a SUBSCRIBE is permitted if all that it could match is; else if any of it is.

        Raises:
            ConfigError: with a line for each thing that is wrong with a rule.
        """
        origin = source or environment.source()
        problems = Problems(environment)
        parsed: list[Rule] = []
        for number, text in enumerate(rules, 1):
            try:
                parsed.append(parse_rule(text, f"rule {number}", origin))
            except RuleError as error:
                for column, fault in error.faults:
                    problems.add(None, f"rule {number}, column {column}: {fault}")
        bound = bind_authorities(parsed, authority, environment, problems)
        problems.done()
        self._acl = TopicAcl(bound, contained, environment, authority)

    def decide(self, request: Request) -> Decision:
        """At PUBLISH, SUBSCRIBE and DELIVER: DENY where a deny rule applies, else PERMIT where one permits, else
        ABSTAIN."""
        return self._acl.decide(request)

    def grants(self, subject: Subject) -> list[Grant]:
        """For :class:`~mqttsecure.interfaces.IGrants`."""
        return self._acl.grants(subject)

    def names(self) -> list[tuple[str, str | None, str]]:
        """For :class:`~mqttsecure.interfaces.IGrants`."""
        return self._acl.names()

    def advise(self, request: Request) -> Advice:
        """For :class:`~mqttsecure.interfaces.IGrants`."""
        return self._acl.advise(request)

    def forget(self, connection: ConnectionFacts) -> None:
        """The connection has ended; to be called from ``connection_closed``, or its rules stay compiled a while."""
        self._acl.connection_closed(connection)
