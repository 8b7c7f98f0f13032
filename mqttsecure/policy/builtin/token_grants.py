# -*- test-case-name: tests.policy.builtin.test_token_grants -*-
"""What a token may do with topics: rules of the same language as those of ``topic-acl``, without a ``who``.

``["publish,read plant/{user}/#", "deny read plant/secret/#"]``: each is about the bearer alone. How far they may go is
said in the configuration, and not by the issuer: a rule that permits anything outside of that is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mqttsecure.core.decisions import ConnectionFacts, Decision, Effect, Request, Source
from mqttsecure.interfaces import Advice, Grant, IPolicyEnvironment, Subject
from mqttsecure.policy.builtin.rule_grants import grants_of
from mqttsecure.policy.builtin.rules import PLACEHOLDER, Rule, RuleError, parse_rule
from mqttsecure.policy.builtin.topic_acl import TopicAcl
from mqttsecure.wire.topics import covered_by

__all__ = ["ATTRIBUTE", "MAXIMUM_GRANT", "MAXIMUM_GRANTS", "TokenGrants", "read_grants"]

ATTRIBUTE: Final = "token_grants"
"""The connection's attribute that holds them: the policy's id and then a rule on each line."""

MAXIMUM_GRANTS: Final = 64
"""Rules of one token: a device needs a handful, and a token has 8 KiB."""

MAXIMUM_GRANT: Final = 512
"""Characters of one rule."""

MAXIMUM_KEPT: Final = 16_384
"""Different sets of rules kept compiled: as many as the broker takes connections."""

_NOTHING: Final = Decision.abstain(text="the token grants no topics")


def read_grants(texts: Iterable[str], within: Sequence[str], source: Source) -> list[Rule]:
    """The rules of a token.

    Raises:
        ValueError: one of them is none, or permits topics outside of ``within``.
    """
    rules = []
    for index, text in enumerate(texts):
        effect, _, rest = text.partition(" ")
        line = f"{effect} everyone {rest}" if effect in ("permit", "deny") else f"permit everyone {text}"
        try:
            rule = parse_rule(line, f"grant {index + 1}", source)
        except RuleError:
            raise ValueError(f"grant {index + 1} is no rule; write it like 'publish,read plant/{{user}}/#'") from None
        if rule.effect is Effect.PERMIT and not _is_within(rule.topic_filter, within):
            raise ValueError(f"grant {index + 1} permits {rule.topic_filter!r}, which is outside of grants_within")
        rules.append(rule)
    return rules


def _is_within(topic_filter: str, within: Sequence[str]) -> bool:
    """Whether all that the filter can be about is allowed. A name in braces may become any one level."""
    levels = ["+" if PLACEHOLDER.search(level) else level for level in topic_filter.split("/")]
    if levels[0] == "+" and topic_filter[0] == "$":
        return False  # v5.0 [MQTT-4.7.2-1]: a + there would leave out just these topics
    return covered_by("/".join(levels), list(within))


class TokenGrants:
    """Decides about topics by the rules that a connection's token brought."""

    def __init__(self, within: Sequence[str], environment: IPolicyEnvironment) -> None:
        """
        Args:
            within: Topic Filters that hold all which may be granted; none for nothing.
            environment: of the policy.
        """
        self._within = tuple(within)
        self._environment = environment
        self._prefix = f"{environment.policy_id}\n"
        self._kept: dict[str, TopicAcl | None] = {}

    def attribute(self, texts: Sequence[str]) -> str:
        """What the connection remembers of them."""
        return self._prefix + "\n".join(texts)

    def decide(self, request: Request) -> Decision:
        """As ``topic-acl`` with these rules; ABSTAIN where this policy's token brought none."""
        acl = self._of(request.connection.attributes.get(ATTRIBUTE))
        return _NOTHING if acl is None else acl.decide(request)

    def forget(self, connection: ConnectionFacts) -> None:
        """The connection has ended."""
        acl = self._kept.get(str(connection.attributes.get(ATTRIBUTE)))
        if acl is not None:
            acl.connection_closed(connection)

    def grants(self, subject: Subject) -> list[Grant]:
        """What the subject's token grants; where it is not known, all that any could."""
        acl = self._of(subject.attributes.get(ATTRIBUTE))
        if acl is not None:
            return acl.grants(subject)
        if ATTRIBUTE not in subject.open_attributes:
            return []
        source = self._environment.source("grants_within")
        widest = [
            parse_rule(f'permit everyone publish,read "{each}"', f"grants_within[{index}]", source)
            for index, each in enumerate(self._within)
        ]
        found = grants_of(widest, subject, True)
        return [
            Grant(each.effect, each.action, each.topic_filter, each.may, 0, each.rule, each.source, each.text)
            for each in found
        ]

    def advise(self, request: Request) -> Advice:
        """What would make it permit the request."""
        acl = self._of(request.connection.attributes.get(ATTRIBUTE))
        return Advice() if acl is None else acl.advise(request)

    def _of(self, attribute: object) -> TopicAcl | None:
        if not isinstance(attribute, str):
            return None
        if attribute in self._kept:
            return self._kept[attribute]
        acl = self._compile(attribute)
        if len(self._kept) >= MAXIMUM_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[attribute] = acl
        return acl

    def _compile(self, attribute: str) -> TopicAcl | None:
        """None where it is of another policy, or of an older configuration that allowed more."""
        if not attribute.startswith(self._prefix):
            return None
        texts = attribute.removeprefix(self._prefix).split("\n")
        try:
            rules = read_grants(texts, self._within, self._environment.source("grants_claim"))
        except ValueError as fault:
            self._environment.log.info("what a token granted does not count any more: {fault}", fault=str(fault))
            return None
        return TopicAcl(rules, True, self._environment)
