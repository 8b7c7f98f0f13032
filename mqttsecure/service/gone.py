# -*- test-case-name: tests.service.test_gone -*-
"""Principals whom nobody would let in any more, and what they still have in the broker.

A user is deleted, a token runs out, a device is taken off the list: connections end at once, but sessions, queued and
retained messages stay until their time is over. They are not hidden: whoever looks after the broker sees whose they
are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mqttsecure.core.decisions import ANONYMOUS_AUTHORITY, BROKER_PRINCIPAL, Principal, Role, Stage
from mqttsecure.core.session import Session
from mqttsecure.core.state import BrokerState
from mqttsecure.interfaces import IIdentities
from mqttsecure.policy.chain import PolicyChain

__all__ = ["Gone", "Known", "as_json", "gone"]


class Known:
    """Whom the identity policies of a chain would let in, as far as they can tell."""

    def __init__(self, chain: PolicyChain) -> None:
        self._names: dict[str, set[str]] = defaultdict(set)
        self._open: set[str] = set()
        self._untold = False
        for binding in chain.bindings:
            if binding.stages.get(Stage.AUTHENTICATE) is not Role.GRANTS:
                continue
            if not IIdentities.providedBy(binding.policy):
                self._untold = True
                continue
            for each in binding.policy.identities():
                if each.name is None:
                    self._open.add(each.authority)
                    continue
                principal = chain.aliases.resolve(Principal(each.authority, each.name))
                self._names[principal.authority].add(principal.name)

    def has(self, principal: Principal) -> bool:
        """Whether it is known, or cannot be said not to be."""
        authority = principal.authority
        if authority in (ANONYMOUS_AUTHORITY, BROKER_PRINCIPAL.authority) or authority in self._open:
            return True
        if authority not in self._names:
            return self._untold
        return principal.name in self._names[authority]


@dataclass(slots=True)
class Gone:
    """A principal that is gone, why, and what is left of it."""

    principal: str
    why: str
    sessions: int = 0
    subscriptions: int = 0
    queued_bytes: int = 0
    retained_messages: int = 0
    retained_bytes: int = 0


def gone(state: BrokerState, known: Known, now: float) -> list[Gone]:
    """All principals that are gone and have something, by their names."""
    reasons: dict[Principal, str] = {}
    for principal in state.sessions.owners():
        why = _why(principal, state.sessions.of(principal).values(), known, now)
        if why:
            reasons[principal] = why
    for principal in state.retained.writers:
        if principal not in reasons and not known.has(principal):
            reasons[principal] = _UNKNOWN
    found = [_left(state, principal, why) for principal, why in reasons.items()]
    return sorted(found, key=lambda each: each.principal)


_UNKNOWN = "no identity policy knows it any more"


def _why(principal: Principal, sessions: Iterable[Session], known: Known, now: float) -> str:
    """Why a principal is gone, "" where it is not: whoever is connected proves to be there."""
    if not known.has(principal):
        return _UNKNOWN
    away = list(sessions)
    if any(each.connection is not None or each.claimant is not None for each in away):
        return ""
    ends = [min(until) for each in away if (until := _ends(each))]
    if len(ends) == len(away) and ends and max(ends) <= now:
        return "its credential has expired, and it has not come back with another"
    return ""


def _ends(session: Session) -> list[float]:
    return [each.valid_until for each in session.facts.evidence if each.valid_until is not None]


def _left(state: BrokerState, principal: Principal, why: str) -> Gone:
    usage = state.sessions.usage(principal)
    messages, octets = state.retained.writers.of(principal)
    return Gone(str(principal), why, usage.sessions, usage.subscriptions, usage.queued_bytes, messages, octets)


def as_json(found: Iterable[Gone]) -> list[Mapping[str, Any]]:
    """As the control socket gives them."""
    return [{name: getattr(each, name) for name in Gone.__slots__} for each in found]
