# -*- test-case-name: tests.service.test_lints -*-
"""Users and groups without members or rules, as far as the identity policies can tell."""

from __future__ import annotations

from collections.abc import Iterator

from mqttsecure.core.decisions import Action, Effect, Role, Source, Stage
from mqttsecure.interfaces import IGrants, IIdentities, KnownIdentity, Subject
from mqttsecure.policy.binding import PolicyBinding
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.lint import Lint
from mqttsecure.policy.regions import stage_of

__all__ = ["member_lints"]

_Name = tuple[str, str | None, str]


def member_lints(chain: PolicyChain) -> Iterator[Lint]:
    """What can be said against the names in rules, and against the users whom nothing names."""
    members = _Members(chain)
    for binding in chain.bindings:
        if IGrants.providedBy(binding.policy):
            for name in binding.policy.names():
                yield from members.nobody(binding, name)
    yield from members.idle_groups()
    yield from members.idle_users()


class _Members:
    def __init__(self, chain: PolicyChain) -> None:
        self._chain = chain
        self._tellers: list[PolicyBinding] = []
        self._identities: list[tuple[PolicyBinding, KnownIdentity]] = []
        for each in chain.bindings:
            if IIdentities.providedBy(each.policy):
                self._tellers.append(each)
                self._identities += [(each, identity) for identity in each.policy.identities()]
        # Where one identity policy does not tell whom it knows, nobody can be said to be unknown.
        self._is_complete = all(
            IIdentities.providedBy(each.policy)
            for each in chain.bindings
            if each.stages.get(Stage.AUTHENTICATE) is Role.GRANTS
        )
        self._names: list[_Name] = [
            name for each in chain.bindings if IGrants.providedBy(each.policy) for name in each.policy.names()
        ]

    def nobody(self, binding: PolicyBinding, name: _Name) -> Iterator[Lint]:
        """A user or group in a rule that nobody is."""
        kind, authority, text = name
        if not self._is_complete:
            return
        for _, identity in self._identities:
            if authority is not None and identity.authority != authority:
                continue
            if kind == "user" and identity.name in (None, text):
                return
            if kind == "group" and (identity.any_groups or text in identity.groups):
                return
        what = f"{kind}:{authority}:{text}" if authority else f"{kind}:{text}"
        yield Lint(
            f"{kind}-without-members" if kind == "group" else "unknown-user",
            self._source_of(binding, name) or binding.source,
            f"policy {binding.id!r}: {what}",
            "rules name it, and no identity policy knows anyone of that name",
            "mend the name, add the user or the group with `mqttsecure passwd`, or remove the rules",
        )

    @staticmethod
    def _source_of(binding: PolicyBinding, name: _Name) -> Source | None:
        kind, authority, text = name
        groups = frozenset({text}) if kind == "group" else frozenset[str]()
        subject = Subject(authority or "?", text if kind == "user" else None, groups)
        word = f"{kind}:"
        grants = binding.policy.grants(subject) if IGrants.providedBy(binding.policy) else ()
        return next((grant.source for grant in grants if word in grant.text and text in grant.text), None)

    def idle_groups(self) -> Iterator[Lint]:
        """Groups of users that no rule names."""
        if not all(IGrants.providedBy(each.policy) for each in self._granting()):
            return
        seen: set[tuple[str, str]] = set()
        for binding, identity in self._identities:
            for group in sorted(identity.groups):
                key = (identity.authority, group)
                named = any(
                    kind == "group" and name == group and authority in (None, identity.authority)
                    for kind, authority, name in self._names
                )
                if named or key in seen:
                    continue
                seen.add(key)
                yield Lint(
                    "group-without-rules",
                    binding.source,
                    f"policy {binding.id!r}: group {identity.authority}:{group}",
                    "it has members, and no rule names it",
                    "write a rule for it, or take the members out of it",
                )

    def idle_users(self) -> Iterator[Lint]:
        """Users who may log in and do nothing."""
        if not all(IGrants.providedBy(each.policy) for each in self._granting()):
            return
        named = {name for kind, _, name in self._names if kind == "user"}
        for binding in self._tellers:
            known = [identity for each, identity in self._identities if each is binding and identity.name is not None]
            idle: list[str] = []
            outcome: dict[tuple[str, frozenset[str]], bool] = {}
            for identity in known:
                if identity.any_groups:
                    continue
                if identity.name in named:
                    is_idle = self._may_nothing(identity)
                else:
                    # Of thousands that no rule names, all in the same groups are one case.
                    key = (identity.authority, identity.groups)
                    if key not in outcome:
                        outcome[key] = self._may_nothing(identity)
                    is_idle = outcome[key]
                if is_idle:
                    idle.append(identity.name or "")
            if idle:
                yield self._idle_lint(binding, idle)

    @staticmethod
    def _idle_lint(binding: PolicyBinding, idle: list[str]) -> Lint:
        shown = ", ".join(sorted(idle)[:5]) + (f" and {len(idle) - 5} more" if len(idle) > 5 else "")
        return Lint(
            "user-without-rules",
            binding.source,
            f"policy {binding.id!r}: {shown}",
            "may log in, and no rule permits anything",
            "write a rule for them or for a group of theirs, or remove them",
        )

    def _granting(self) -> list[PolicyBinding]:
        stages = [stage_of(action) for action in Action]
        return [each for each in self._chain.bindings if any(each.stages.get(stage) is Role.GRANTS for stage in stages)]

    def _may_nothing(self, identity: KnownIdentity) -> bool:
        names = frozenset(name for each in self._chain.bindings for name in each.attributes)
        subject = Subject(identity.authority, identity.name, identity.groups, open_attributes=names)
        return not any(
            grant.effect is Effect.PERMIT
            for each in self._granting()
            if IGrants.providedBy(each.policy)
            for grant in each.policy.grants(subject)
        )
