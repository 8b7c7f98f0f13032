# -*- test-case-name: tests.policy.test_identity -*-
"""Principals: how they are written, which of them are the same person, and who a client is after AUTHENTICATE."""

from __future__ import annotations

from collections.abc import Mapping

from mqttsecure.core.decisions import BROKER_PRINCIPAL, Decision, Evidence, Principal, Purpose, Request

__all__ = ["Aliases", "Identity", "IdentityConflict", "parse_principal"]


def parse_principal(text: str) -> Principal:
    """The principal written as ``authority:name``.

    Raises:
        ValueError: it is not written so.
    """
    authority, colon, name = text.partition(":")
    if not (colon and authority and name):
        raise ValueError(f"{text!r} is not a principal; write authority:name, such as users:alice")
    return Principal(authority, name)


class Aliases:
    """Which principals are other names of another (the ``[[alias]]`` tables)."""

    __slots__ = ("_targets", "problems")

    def __init__(self, aliases: Mapping[str, str] | None = None) -> None:
        """
        Args:
            aliases: by principal, the principal that it is; both written ``authority:name``.
        """
        self._targets: dict[str, Principal] = {}
        self.problems: list[str] = []
        for alias, target in (aliases or {}).items():
            try:
                parse_principal(alias)
                self._targets[alias] = parse_principal(target)
            except ValueError as error:
                self.problems.append(f"alias {alias!r}: {error}")
        for alias, principal in self._targets.items():
            # Mapped once, not on and on: a reader of one table must see who it makes of whom.
            if str(principal) in self._targets:
                self.problems.append(f"alias {alias!r}: {principal} is itself an alias; name the final principal")
            if principal.authority == BROKER_PRINCIPAL.authority:
                self.problems.append(f"alias {alias!r}: the authority {principal.authority!r} is the broker's own")

    def resolve(self, principal: Principal) -> Principal:
        """The principal that ``principal`` is. A client that nobody knows is never someone else."""
        if not principal.shared:
            return principal
        return self._targets.get(str(principal), principal)


class IdentityConflict(Exception):
    """Two policies permitted two different principals in one CONNECT."""


class Identity:
    """Who the client is, as the PERMITs at AUTHENTICATE tell it one after another."""

    __slots__ = ("_aliases", "_known", "_request", "data", "evidence", "groups", "method_met", "principal")

    def __init__(self, request: Request, aliases: Aliases) -> None:
        self._request = request
        self._aliases = aliases
        # A recheck confirms a principal that is already known; the policy need not, but may, name it again.
        self._known = request.connection.principal if request.purpose is Purpose.RECHECK else None
        self.principal: Principal | None = None
        self.groups: frozenset[str] = frozenset()
        self.evidence: tuple[Evidence, ...] = ()
        self.data: bytes | None = None
        self.method_met = request.authentication_method is None
        # Another step of the same exchange may have left them; what this step finds out alone counts.
        request.exchange.pop("principal", None)
        request.exchange.pop("groups", None)

    def fault(self, decision: Decision) -> str | None:
        """What is wrong with a PERMIT at AUTHENTICATE, None if nothing is."""
        if not isinstance(decision.authentication_data, bytes | None):
            return "authentication_data must be bytes"
        if not isinstance(decision.groups, frozenset) or not all(map(_is_name, decision.groups)):
            return "groups must be a frozenset of str"
        if not isinstance(decision.fingerprint, str):
            return "fingerprint must be a str"
        if decision.principal is None:
            return None if self._known is not None else "a PERMIT at AUTHENTICATE without a principal"
        return _principal_fault(decision.principal)

    def challenge_fault(self, decision: Decision) -> str | None:
        """What is wrong with a CHALLENGE, None if nothing is."""
        method = self._request.authentication_method
        if method is None:
            return "a CHALLENGE to a client that named no Authentication Method"  # v5.0 [MQTT-4.12.0-6]
        if decision.authentication_method not in (None, method):
            return f"a CHALLENGE of {decision.authentication_method!r} to a client that speaks {method!r}"
        if not isinstance(decision.authentication_data, bytes):
            return "a CHALLENGE without authentication_data"
        return None

    def add(self, policy: str, decision: Decision) -> None:
        """Take in a valid PERMIT.

        Raises:
            IdentityConflict: it is about another principal than the ones before.
        """
        principal = self._known if decision.principal is None else self._aliases.resolve(decision.principal)
        for other in (self.principal, self._known):
            if other is not None and principal != other:
                raise IdentityConflict(f"{principal} beside {other}; if they are the same, say so with [[alias]]")
        self.principal = principal
        self.groups |= decision.groups
        self.evidence += (Evidence(policy, decision.fingerprint, decision.valid_until),)
        if decision.authentication_method is not None:
            self.method_met |= decision.authentication_method == self._request.authentication_method
        if decision.authentication_data is not None:
            self.data = decision.authentication_data
        # So that a later policy of this stage (client-id) can bind to them before the verdict is there.
        self._request.exchange["principal"] = principal
        self._request.exchange["groups"] = self.groups


def _is_name(text: object) -> bool:
    return isinstance(text, str) and bool(text)


def _principal_fault(principal: object) -> str | None:
    if not isinstance(principal, Principal):
        return f"principal must be a Principal, not {type(principal).__name__}"
    if not _is_name(principal.authority) or not _is_name(principal.name) or ":" in principal.authority:
        return f"{principal!r} is no valid principal"
    if principal.authority == BROKER_PRINCIPAL.authority:
        return f"the authority {principal.authority!r} is the broker's own"
    return None
