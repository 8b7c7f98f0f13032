# -*- test-case-name: tests.policy.builtin.test_topic_acl -*-
"""``topic-acl``: who may publish, subscribe and receive what.

Within one policy deny overrides and the order of rules does not matter. Where no rule applies the policy abstains,
and with no other policy that permits the chain's default deny stands.

This module is on the path of each message whose decision is not cached: the decisions are made beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, TypeVar

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import (
    Action,
    CapQos,
    ConnectionFacts,
    Decision,
    Effect,
    Principal,
    Request,
    Role,
    Stage,
)
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    Advice,
    Grant,
    IConnectionObserver,
    IGrants,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    Subject,
)
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.policy.builtin.rule_advice import advise
from mqttsecure.policy.builtin.rule_grants import grants_of, names_in
from mqttsecure.policy.builtin.rule_index import (
    Entry,
    FilterIndex,
    fill,
    make_entry,
    resolve_attributes,
    tables_by_action,
)
from mqttsecure.policy.builtin.rule_source import authority_warnings, bind_authorities, load_rules
from mqttsecure.policy.builtin.rules import Rule
from mqttsecure.wire.topics import contains, covered_by, intersects

__all__ = ["TopicAcl", "TopicAclFactory", "TopicAclOptions"]

K = TypeVar("K")
V = TypeVar("V")

MAXIMUM_VIEWS: Final = 16_384
"""Connections whose rules are kept compiled: as many as the broker takes; one beyond is compiled anew when it asks."""

MAXIMUM_SHARED: Final = 1024
"""Sets of rules kept compiled for all connections they concern alike: one for each combination of groups in use."""

_NO_RULE: Final = Decision.abstain(text="no rule applies", cacheable=True)
_NO_RULE_OF_THIS_SIZE: Final = Decision.abstain(text="no rule applies to a message of this size")
_NOBODY: Final = Decision.abstain(text="nobody is authenticated")
_OTHER_STAGE: Final = Decision.abstain(text="not about a topic")


class TopicAclOptions(PolicyOptions):
    """Options of ``topic-acl``."""

    rules: list[str] = Field(
        default=[],
        description="Rules, one each; see the rule language.",
        examples=[["permit user:alice publish,read lab/#", "deny everyone read lab/secret/#"]],
    )
    rules_file: str | None = Field(
        default=None,
        description="A file with more rules, one a line; lines that begin with # are comments.",
        examples=["acl.rules"],
    )
    subscribe: Literal["contained", "filtered"] = Field(
        default="contained",
        description=(
            '"contained": a SUBSCRIBE is permitted if all it could match is. "filtered": if any of it is, and each '
            "message is judged when it is delivered."
        ),
        examples=["filtered"],
    )
    authority: str | None = Field(
        default=None,
        description="The authority whose users and groups `user:NAME` and `group:NAME` mean.",
        examples=["people"],
    )


_NONE: Final[Mapping[Action, FilterIndex]] = tables_by_action(())


class _Tables(NamedTuple):
    """The entries of one connection by action: shared with others, and its own."""

    shared: Mapping[Action, FilterIndex]
    own: Mapping[Action, FilterIndex]


@dataclasses.dataclass(slots=True, eq=False)
class _View:
    """What the tables of a connection were made from, to tell when they are out of date."""

    principal: Principal
    groups: frozenset[str]
    client_id: str
    attributes: tuple[object, ...]
    tables: _Tables
    scoped: dict[tuple[Action, int, int], Decision] = dataclasses.field(default_factory=dict)

    def widened(self, action: Action, entry: Entry, bit: int) -> Decision:
        """The entry's PERMIT, saying that it holds for its whole filter where no deny rule reaches into that.

        At most one for each rule, QoS and RETAIN is kept.
        """
        key = (action, entry.position, bit)
        decision = self.scoped.get(key)
        if decision is None:
            indexes = (self.tables.shared[action], self.tables.own[action])
            is_cut = any(
                other.denies
                and (other.sizes or other.mask >> bit & 1)
                and intersects(other.topic_filter, entry.topic_filter)
                for index in indexes
                for other in index.entries
            )
            decision = entry.decision if is_cut else dataclasses.replace(entry.decision, scope=entry.topic_filter)
            self.scoped[key] = decision
        return decision


@implementer(IPolicy, IConnectionObserver, IGrants)
class TopicAcl:
    """Permits and denies by rules about topics. ``rules`` are all of them, in the order of the configuration."""

    stateful = False

    def __init__(
        self, rules: Iterable[Rule], contained: bool, environment: IPolicyEnvironment, authority: str | None = None
    ) -> None:
        self.rules = tuple(rules)
        self.contained = contained
        known = tuple(environment.authorities)
        self._authority = authority or (known[0] if len(known) == 1 else "" if known else None)
        self.warnings = authority_warnings(self.rules, environment)
        self._log = environment.log
        self._told: set[str] = set()
        self._everyone: list[int] = []
        self._by_name: dict[tuple[str, str], list[int]] = {}
        attributes: set[str] = set()
        for position, rule in enumerate(self.rules):
            if rule.who.kind == "everyone":
                self._everyone.append(position)
            else:
                self._by_name.setdefault((rule.who.kind, rule.who.name), []).append(position)
            attributes.update(rule.placeholders)
            attributes.update(condition.name for condition in rule.conditions if condition.subject == "attribute")
        self._attributes = tuple(sorted(attributes - {"user", "client"}))
        self._views: dict[int, _View] = {}
        self._shared: dict[tuple[tuple[int, bool], ...], Mapping[Action, FilterIndex]] = {}

    def decide(self, request: Request) -> Decision:
        """DENY where a deny rule applies, else PERMIT where a permit rule does, else ABSTAIN."""
        connection = request.connection
        view = self._views.get(connection.connection_id)
        if (
            view is None
            or view.principal != connection.principal
            or view.groups != connection.groups
            or view.client_id != connection.client_id
            or (self._attributes and view.attributes != self._attributes_of(connection))
        ):
            if connection.principal is None:
                return _NOBODY
            view = self._compile(connection, connection.principal)
        if request.stage is Stage.SUBSCRIBE:
            return self._decide_filter(view.tables, request.topic, request.qos)
        action = request.action
        return _OTHER_STAGE if action is None else _decide_topic(view, action, request)

    def connection_opened(self, connection: ConnectionFacts) -> None:
        """Nothing is known yet that rules could be compiled for."""

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        """Rules are compiled when the first request comes: an idle connection costs nothing."""

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self._views.pop(connection.connection_id, None)

    # Told, not asked

    def grants(self, subject: Subject) -> list[Grant]:
        keys = [("user", subject.name or ""), *(("group", group) for group in subject.groups)]
        near = [position for key in keys for position in self._by_name.get(key, ())]
        rules = [self.rules[position] for position in sorted({*self._everyone, *near})]
        return grants_of(rules, subject, self.contained)

    def names(self) -> list[tuple[str, str | None, str]]:
        return names_in(self.rules)

    def advise(self, request: Request) -> Advice:
        return advise(self.rules, request, self._authority, self.contained)

    # SUBSCRIBE

    def _decide_filter(self, tables: _Tables, topic_filter: str, qos: int) -> Decision:
        entries = (*tables.shared[Action.SUBSCRIBE].entries, *tables.own[Action.SUBSCRIBE].entries)
        near = [entry for entry in entries if intersects(entry.topic_filter, topic_filter)]
        judge = self._judge_contained if self.contained else _judge_filtered
        asked = judge(near, topic_filter, qos)
        if asked.effect is Effect.PERMIT:
            return asked
        for lower in range(qos - 1, -1, -1):
            # v5.0 [MQTT-3.8.4-8]: a lower maximum QoS than requested may be granted.
            decision = judge(near, topic_filter, lower)
            if decision.effect is Effect.PERMIT:
                return dataclasses.replace(decision, obligations=(CapQos(lower),))
        return asked

    @staticmethod
    def _judge_contained(near: list[Entry], topic_filter: str, qos: int) -> Decision:
        """Whether what is granted, less what is denied, contains the whole filter."""
        permits = []
        for entry in near:
            if entry.subscribe_mask >> qos & 1:
                if entry.denies:
                    return entry.decision
                permits.append(entry)
        for entry in permits:
            if contains(entry.topic_filter, topic_filter):
                return entry.decision
        if covered_by(topic_filter, [entry.topic_filter for entry in permits]):
            rules = " and ".join(entry.rule.id for entry in permits)
            return Decision.permit(rules, "together they cover it", source=permits[0].rule.source, cacheable=True)
        return _NO_RULE

    # Compiling

    def _attributes_of(self, connection: ConnectionFacts) -> tuple[object, ...]:
        return tuple(connection.attributes.get(name) for name in self._attributes)

    def _compile(self, connection: ConnectionFacts, principal: Principal) -> _View:
        shared: list[tuple[int, bool]] = []
        own: list[Entry] = []
        for position in self._concerning(connection, principal):
            rule = self.rules[position]
            holds = resolve_attributes(rule, connection)
            if not rule.placeholders:
                shared.append((position, holds))
                continue
            topic_filter = fill(rule.topic_filter, connection)
            entry = None if topic_filter is None else make_entry(position, rule, topic_filter, holds)
            if entry is not None:
                own.append(entry)
        tables = _Tables(self._share(tuple(shared)), tables_by_action(own) if own else _NONE)
        attributes = self._attributes_of(connection)
        view = _View(principal, connection.groups, connection.client_id, attributes, tables)
        _put(self._views, connection.connection_id, view, MAXIMUM_VIEWS)
        return view

    def _concerning(self, connection: ConnectionFacts, principal: Principal) -> list[int]:
        found = [position for position in self._everyone if self.rules[position].concerns(principal)]
        for key in (("user", principal.name), *(("group", group) for group in connection.groups)):
            for position in self._by_name.get(key, ()):
                if self.rules[position].concerns(principal):
                    found.append(position)
                else:
                    self._tell_other_authority(principal, self.rules[position])
        return sorted(found)

    def _tell_other_authority(self, principal: Principal, rule: Rule) -> None:
        """Tell, once for each rule, of a client that has the name of a rule but is of another authority.

        It is right to refuse it, and the first thing to know for someone who meant it.
        """
        if rule.id not in self._told:
            self._told.add(rule.id)
            self._log.info(
                "{rule} ({source}) is about authority {authority!r}, so it does not concern {principal}",
                rule=rule.id,
                source=str(rule.source),
                authority=rule.who.authority,
                principal=str(principal),
            )

    def _share(self, key: tuple[tuple[int, bool], ...]) -> Mapping[Action, FilterIndex]:
        tables = self._shared.get(key)
        if tables is None:
            made = (
                make_entry(position, self.rules[position], self.rules[position].topic_filter, holds)
                for position, holds in key
            )
            tables = tables_by_action(entry for entry in made if entry is not None)
            _put(self._shared, key, tables, MAXIMUM_SHARED)
        return tables


def _judge_filtered(near: list[Entry], topic_filter: str, qos: int) -> Decision:
    """Whether anything is granted that is not denied; each message is judged again at DELIVER."""
    denies = [entry for entry in near if entry.denies and entry.subscribe_mask >> qos & 1]
    if covered_by(topic_filter, [entry.topic_filter for entry in denies]):
        return denies[0].decision
    for entry in near:
        if not entry.denies and entry.subscribe_mask >> qos & 1:
            return entry.decision
    return _NO_RULE


def _decide_topic(view: _View, action: Action, request: Request) -> Decision:
    tables = view.tables
    found = tables.shared[action].match(request.topic)
    if tables.own is not _NONE:
        found += tables.own[action].match(request.topic)
    bit = request.qos * 2 + request.retain
    size = len(request.payload)
    cacheable = True
    best: Entry | None = None
    for entry in found:
        if entry.sizes:
            cacheable = False
        # Of several that apply a deny is named before a permit, an earlier rule before a later one.
        if entry.applies(bit, size) and (best is None or (entry.denies, best.position) > (best.denies, entry.position)):
            best = entry
    if best is None:
        return _NO_RULE if cacheable else _NO_RULE_OF_THIS_SIZE
    if not cacheable:
        return best.uncacheable
    return best.decision if best.denies else view.widened(action, best, bit)


def _put(bounded: dict[K, V], key: K, value: V, maximum: int) -> None:
    """Set a key; where the dict is full its oldest goes, which can be computed again."""
    bounded.pop(key, None)
    if len(bounded) >= maximum:
        del bounded[next(iter(bounded))]
    bounded[key] = value


@implementer(IPolicyFactory)
class TopicAclFactory:
    """Builds :class:`TopicAcl`."""

    interface_version = INTERFACE_VERSION
    name = "topic-acl"
    summary = "who may publish, subscribe and receive what"
    stages: Mapping[Stage, Role] = {
        Stage.PUBLISH: Role.GRANTS,
        Stage.SUBSCRIBE: Role.GRANTS,
        Stage.DELIVER: Role.GRANTS,
    }
    options = TopicAclOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: TopicAclOptions, environment: IPolicyEnvironment) -> TopicAcl:
        problems = Problems(environment)
        written = load_rules(options.rules, options.rules_file, environment, problems)
        rules = bind_authorities(written, options.authority, environment, problems)
        problems.done()
        return TopicAcl(rules, options.subscribe == "contained", environment, options.authority)
