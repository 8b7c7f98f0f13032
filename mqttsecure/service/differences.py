# -*- test-case-name: tests.service.test_differences -*-
"""What changes for whom from one configuration to the next: which topics are gained and lost, decided for all topics.

Each kind of client is compared as one that could come: a user that is known or named, someone whom no rule names, a
client of each group. Users whom no rule names are one kind if they are in the same groups. Each gain and loss is shown
with a topic, and both chains are asked about that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from mqttsecure.core.decisions import Action, ConnectionFacts, Peer, Principal, Purpose, Request, Role, Source, Stage
from mqttsecure.interfaces import IGrants, IIdentities, KnownIdentity, Subject
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.regions import BITS, Layer, Term, TooManyRules, beyond, layers, stage_of, terms
from mqttsecure.policy.trace import Outcome
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.clients import identities_of, names_of
from mqttsecure.service.difference_words import changes_in_words
from mqttsecure.service.parts import Parts

__all__ = ["Change", "Comparison", "Differences", "differences"]

_SOMEONE: Final = "someone"


@dataclass(slots=True, frozen=True)
class Change:
    """``who`` gains or loses ``topic_filter``, of which ``topic`` is one. ``when`` are QoS and RETAIN, all if empty.

    ``certain`` is whether both chains said so when asked about that topic.
    """

    who: str
    action: Action
    gained: bool
    topic_filter: str
    topic: str
    policy: str
    rule: str
    source: Source | None
    listeners: tuple[str, ...]
    when: tuple[str, ...]
    certain: bool


@dataclass(slots=True, frozen=True)
class Differences:
    """``words`` tell what else was changed, ``notes`` what could not be compared."""

    changes: tuple[Change, ...]
    words: tuple[str, ...]
    notes: tuple[str, ...]


def differences(old: Assembly, new: Assembly) -> Differences:
    """Compare two configurations."""
    comparison = Comparison(old, new)
    return Differences(tuple(comparison.changes()), tuple(changes_in_words(old, new)), tuple(comparison.notes()))


@dataclass(slots=True, frozen=True)
class _Kind:
    """One kind of client, and its groups in either configuration; None where it cannot come at all."""

    label: str
    authority: str
    name: str
    old: frozenset[str] | None
    new: frozenset[str] | None


class _Side:
    """One of the two configurations."""

    def __init__(self, parts: Parts) -> None:
        self.authorities = tuple(parts.authorities)
        self.chain: PolicyChain = parts.chain
        self.identities = identities_of(parts.chain)
        self.names = names_of(parts.chain)
        self._groups: dict[tuple[str, str], frozenset[str]] = {}
        for each in self.identities:
            if each.name is not None:
                key = (each.authority, each.name)
                self._groups[key] = self._groups.get(key, frozenset()) | each.groups
        # Of an identity policy that does not tell, anyone may come.
        self._anyone = any(
            each.stages.get(Stage.AUTHENTICATE) is Role.GRANTS and not IIdentities.providedBy(each.policy)
            for each in parts.chain.bindings
        )

    @property
    def known(self) -> Iterable[tuple[str, str]]:
        return self._groups

    def open(self, authority: str) -> KnownIdentity | None:
        """An identity of that authority with any name."""
        found = [each for each in self.identities if each.authority == authority and each.name is None]
        if found:
            return found[0]
        return KnownIdentity(authority, any_groups=True) if self._anyone else None

    def groups_of(self, authority: str, name: str) -> frozenset[str] | None:
        """The groups of that user; None where no such user can come."""
        known = self._groups.get((authority, name))
        someone = self.open(authority)
        if known is None and someone is None:
            return None
        return (known or frozenset()) | (someone.groups if someone is not None else frozenset())

    def groups_of_member(self, authority: str, group: str) -> frozenset[str] | None:
        """The groups of a client that nobody knows by name and that is in ``group``; None where none can come."""
        someone = self.open(authority)
        if someone is None or not (someone.any_groups or group in someone.groups):
            return None
        return someone.groups | {group}


class Comparison:
    """Two configurations side by side."""

    def __init__(self, old: Parts, new: Parts) -> None:
        self._old, self._new = _Side(old), _Side(new)
        self._notes: dict[str, None] = {}
        listeners = [each.name for each in new.listeners]
        self._listeners = [each.name for each in old.listeners if each.name in listeners]

    def notes(self) -> list[str]:
        """What could not be compared."""
        for which, side in (("old", self._old), ("new", self._new)):
            for each in side.chain.bindings:
                stages = [stage.value for stage in map(stage_of, Action) if stage in each.stages]
                if stages and not IGrants.providedBy(each.policy) and not _only_counts(each.policy):
                    self._notes[f"policy {each.id} ({which}) does not say what it does at {', '.join(stages)}"] = None
                if each.attributes:
                    named = ", ".join(sorted(each.attributes))
                    self._notes[f"policy {each.id} ({which}) sets attributes ({named}); rules are compared without"] = (
                        None
                    )
        return list(self._notes)

    # Who

    def _authorities(self) -> list[str]:
        found = [name for side in (self._old, self._new) for name in side.authorities]
        for side in (self._old, self._new):
            found += [each.authority for each in side.identities]
        return list(dict.fromkeys(found))

    def _named(self, kind: str, authority: str) -> list[str]:
        return list(
            dict.fromkeys(
                name
                for side in (self._old, self._new)
                for each, of, name in side.names
                if each == kind and of in (None, authority)
            )
        )

    def _kinds(self) -> Iterator[_Kind]:
        for authority in self._authorities():
            users = self._named("user", authority)
            known = [name for side in (self._old, self._new) for of, name in side.known if of == authority]
            for name in users:
                yield self._kind(f"{authority}:{name}", authority, name)
            yield from self._unnamed(authority, [name for name in dict.fromkeys(known) if name not in users])
            fresh = _fresh({*users, *known})
            if self._old.open(authority) or self._new.open(authority):
                yield self._kind(f"anyone else of {authority}", authority, fresh)
                for group in self._named("group", authority):
                    groups = [side.groups_of_member(authority, group) for side in (self._old, self._new)]
                    yield _Kind(f"group {authority}:{group}", authority, fresh, *groups)

    def _kind(self, label: str, authority: str, name: str) -> _Kind:
        return _Kind(label, authority, name, self._old.groups_of(authority, name), self._new.groups_of(authority, name))

    def _unnamed(self, authority: str, names: list[str]) -> Iterator[_Kind]:
        """Users whom no rule names, one kind for each combination of groups."""
        alike: dict[tuple[object, ...], list[str]] = {}
        for name in names:
            kind = self._kind("", authority, name)
            alike.setdefault((kind.old, kind.new), []).append(name)
        for members in alike.values():
            more = f" and {len(members) - 1} like it" if len(members) > 1 else ""
            yield self._kind(f"{authority}:{members[0]}{more}", authority, members[0])

    # What

    def changes(self) -> Iterator[Change]:
        """What each kind of client gains and loses."""
        for kind in self._kinds():
            for action in Action:
                yield from self._of(kind, action)

    def _of(self, kind: _Kind, action: Action) -> Iterator[Change]:
        found: dict[tuple[bool, str, str], tuple[Term, str, set[str], set[int]]] = {}
        bits = [bit for bit, (_, retain) in enumerate(BITS) if not (action is Action.SUBSCRIBE and retain)]
        for listener in self._listeners:
            old = self._stack(self._old, kind, kind.old, listener, action)
            new = self._stack(self._new, kind, kind.new, listener, action)
            for bit, gained in itertools.product(bits, (True, False)):
                before, after = (terms(stack, bit) for stack in ((old, new) if gained else (new, old)))
                for term, topic in self._beyond(after, before, kind.name):
                    key = (gained, term.topic_filter, term.policy)
                    entry = found.setdefault(key, (term, topic, set(), set()))
                    entry[2].add(listener)
                    entry[3].add(bit)
        for (gained, topic_filter, _), (term, topic, listeners, at) in found.items():
            yield Change(
                kind.label,
                action,
                gained,
                topic_filter,
                topic,
                term.policy,
                term.grant.rule,
                term.grant.source,
                () if len(listeners) == len(self._listeners) else tuple(sorted(listeners)),
                () if len(at) == len(bits) else tuple(_bit_text(bit, action) for bit in sorted(at)),
                self._is_certain(kind, action, topic, min(listeners), min(at), gained),
            )

    def _stack(
        self, side: _Side, kind: _Kind, groups: frozenset[str] | None, listener: str, action: Action
    ) -> list[Layer]:
        if groups is None:
            return []
        subject = Subject(kind.authority, kind.name, groups, _client_id(kind))
        stack = layers(side.chain.bindings, listener, action, subject)
        for layer in stack:
            for grant in (*layer.permits, *layer.denies):
                if grant.may != grant.must and action is not Action.SUBSCRIBE:
                    self._notes[f"{layer.policy}/{grant.rule} depends on the message: {grant.text}"] = None
        return stack

    def _beyond(self, after: list[Term], before: list[Term], level: str) -> Iterator[tuple[Term, str]]:
        for term in after:
            try:
                topic = beyond(term, before, level)
            except TooManyRules as error:
                self._notes[f"not compared: {error}"] = None
                continue
            if topic is not None:
                yield term, topic

    def _is_certain(self, kind: _Kind, action: Action, topic: str, listener: str, bit: int, gained: bool) -> bool:
        with_it, without = ("new", "old") if gained else ("old", "new")
        return self._permits(with_it, kind, action, topic, listener, bit) and not self._permits(
            without, kind, action, topic, listener, bit
        )

    def _permits(self, which: str, kind: _Kind, action: Action, topic: str, listener: str, bit: int) -> bool:
        side, groups = (self._old, kind.old) if which == "old" else (self._new, kind.new)
        if groups is None:
            return False
        facts = ConnectionFacts(
            0,
            listener,
            Peer(ip_address("127.0.0.1")),
            principal=Principal(kind.authority, kind.name),
            groups=groups,
            client_id=_client_id(kind),
        )
        qos, retain = BITS[bit]
        request = Request(stage_of(action), facts, 0.0, Purpose.TEST, topic=topic, qos=qos, retain=retain)
        return side.chain.explain_offline(request).outcome is not Outcome.DENY


def _client_id(kind: _Kind) -> str:
    """Not the name itself, so that {user} and {client} are told apart."""
    return f"{kind.name}-1"


def _fresh(taken: set[str]) -> str:
    return next(name for count in itertools.count() if (name := f"{_SOMEONE}{count or ''}") not in taken)


def _bit_text(bit: int, action: Action) -> str:
    qos, retain = BITS[bit]
    return f"qos {qos}" if action is Action.SUBSCRIBE else f"qos {qos}{' retain' if retain else ''}"


def _only_counts(policy: object) -> bool:
    return getattr(policy, "stateful", None) is True
