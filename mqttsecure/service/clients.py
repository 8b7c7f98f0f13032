# -*- test-case-name: tests.service.test_clients -*-
"""Which clients a claim about a user, a group or everyone is about: those that the identity policies can tell of.

Nobody knows all certificates that a CA will ever sign. So a group stands for a client in that group alone, beside all
of its members that are known; and everyone for a client that no rule names and for all that are known or that rules
name. What is judged is always told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IGrants, IIdentities, KnownIdentity, Subject
from mqttsecure.policy.chain import PolicyChain

__all__ = ["Who", "identities_of", "names_of", "parse_who", "subjects_of", "title"]


@dataclass(slots=True, frozen=True)
class Who:
    """Whom a claim is about: ``kind`` is "user", "group" or "everyone"; an ``authority`` of None is each of them."""

    kind: str
    name: str = ""
    authority: str | None = None

    def __str__(self) -> str:
        if self.kind == "everyone":
            return self.kind
        return ":".join(part for part in (self.kind, self.authority, self.name) if part)


def parse_who(text: str) -> Who:
    """Read ``user:NAME``, ``group:NAME``, either with an authority before the name, or ``everyone``.

    Raises:
        ValueError: it is none of these.
    """
    if text == "everyone":
        return Who("everyone")
    kind, _, rest = text.partition(":")
    authority, colon, name = rest.partition(":")
    if not colon:
        authority, name = "", rest
    if kind not in ("user", "group") or not name or (colon and not authority):
        raise ValueError(f"{text!r} is nobody; write user:NAME, group:NAME, user:AUTHORITY:NAME or everyone")
    return Who(kind, name, authority or None)


def identities_of(chain: PolicyChain) -> list[KnownIdentity]:
    """Everyone that the identity policies can tell of."""
    found: list[KnownIdentity] = []
    for binding in chain.bindings:
        if IIdentities.providedBy(binding.policy):
            found += binding.policy.identities()
    return list(dict.fromkeys(found))


def names_of(chain: PolicyChain) -> list[tuple[str, str | None, str]]:
    """Whom rules name: "user" or "group", authority, name."""
    found: list[tuple[str, str | None, str]] = []
    for binding in chain.bindings:
        if IGrants.providedBy(binding.policy):
            found += binding.policy.names()
    return list(dict.fromkeys(found))


def title(subject: Subject) -> str:
    """A client in words."""
    who = (
        f"{subject.authority}:{subject.name}" if subject.name else f"a client of {subject.authority} that no rule names"
    )
    return who + (f" in {', '.join(sorted(subject.groups))}" if subject.groups else "")


def subjects_of(
    chain: PolicyChain, who: Who, authorities: Iterable[str], client_id: str | None = None
) -> list[Subject]:
    """The clients that a claim about ``who`` is judged for.

    Raises:
        ConfigError: there is no such authority.
    """
    return _Clients(chain, authorities, client_id).subjects(who)


class _Clients:
    """All that is known of clients in one configuration."""

    def __init__(self, chain: PolicyChain, authorities: Iterable[str], client_id: str | None) -> None:
        self._identities = identities_of(chain)
        self._names = names_of(chain)
        self._client_id = client_id
        self._users = {name for kind, _, name in self._names if kind == "user"}
        told = [each.authority for each in self._identities]
        named = [authority for _, authority, _ in self._names if authority is not None]
        self._authorities = list(dict.fromkeys([*authorities, *told, *named])) or ["users"]
        self._open = frozenset(name for each in chain.bindings for name in each.attributes)

    def subjects(self, who: Who) -> list[Subject]:
        if who.authority is not None and who.authority not in self._authorities:
            raise ConfigError(
                f"{who}: there is no authority {who.authority!r}; there are {', '.join(self._authorities)}"
            )
        authorities = self._authorities if who.authority is None else [who.authority]
        make = {"user": self._user, "group": self._group, "everyone": self._everyone}[who.kind]
        found = [subject for authority in authorities for subject in make(authority, who.name)]
        return list({self._key(subject): subject for subject in found}.values())

    @staticmethod
    def _key(subject: Subject) -> tuple[object, ...]:
        return subject.authority, subject.name, subject.groups

    def _subject(self, authority: str, name: str | None, groups: frozenset[str]) -> Subject:
        return Subject(authority, name, groups, self._client_id, {}, self._open)

    def _groups_of(self, authority: str, name: str) -> frozenset[str]:
        known = [each.groups for each in self._identities if (each.authority, each.name) == (authority, name)]
        return frozenset().union(*known)

    def _user(self, authority: str, name: str) -> Iterator[Subject]:
        yield self._subject(authority, name, self._groups_of(authority, name))

    def _known(self, authority: str) -> Iterator[Subject]:
        for each in self._identities:
            if each.authority == authority:
                groups = each.groups if each.name is None else self._groups_of(authority, each.name)
                # Of thousands of users that no rule names, all in the same groups are one case.
                yield self._subject(authority, each.name if each.name in self._users else None, groups)

    def _group(self, authority: str, name: str) -> Iterator[Subject]:
        yield self._subject(authority, None, frozenset({name}))
        for subject in self._known(authority):
            if name in subject.groups:
                yield subject
            elif self._may_have_any_group(authority, subject.name):
                yield self._subject(authority, subject.name, subject.groups | {name})
        for user in sorted(self._users):
            # A certificate may say that it is one of those whom rules name.
            if self._may_have_any_group(authority, user):
                yield self._subject(authority, user, self._groups_of(authority, user) | {name})

    def _may_have_any_group(self, authority: str, name: str | None) -> bool:
        return any(
            each.any_groups and each.authority == authority and each.name in (None, name) for each in self._identities
        )

    def _everyone(self, authority: str, _: str) -> Iterator[Subject]:
        yield self._subject(authority, None, frozenset())
        yield from self._known(authority)
        for kind, named_authority, name in self._names:
            if named_authority not in (None, authority):
                continue
            if kind == "group":
                yield from self._group(authority, name)
            else:
                yield from self._user(authority, name)
