# -*- test-case-name: tests.policy.builtin.test_option_lints -*-
"""Patterns of Client Identifiers and lists of addresses: what in them does nothing, or more than it looks like."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeAlias

from mqttsecure.policy.builtin.client_id import Pattern
from mqttsecure.policy.builtin.networks import EVERYWHERE, UNIX, parse_network

__all__ = ["covered_addresses", "covered_patterns", "patterns_meet", "widening_patterns"]

Finding: TypeAlias = tuple[int, str, str]
"""The index of an entry, what is with it, and what to do."""

_ANY: Final = "\x02"
_SOME_USER: Final = "\x03"


def covered_patterns(patterns: Sequence[str]) -> list[Finding]:
    """Patterns that let nothing through that another does not."""
    found = []
    for index, text in enumerate(patterns):
        for other_index, other in enumerate(patterns):
            # Of two that are equal the first stays.
            if other_index == index or (other == text and other_index > index):
                continue
            if _includes(other, text):
                found.append((index, f"{other!r} lets through all that it does", "remove it, or the wider one"))
                break
    return found


def _includes(outer: str, inner: str) -> bool:
    """Whether whatever fits ``inner`` fits ``outer``: a ``*`` of one is met by a ``*`` of the other alone."""
    return Pattern(outer).matches(inner.replace("*", _ANY).replace("{user}", _SOME_USER), _SOME_USER)


def widening_patterns(patterns: Sequence[str]) -> list[Finding]:
    """Patterns in which nothing ends the user's name, so that a user may take the identifiers of another."""
    return [
        (index, "the user al may use it as alice, whose name begins or ends alike", "put a separator, as in {user}-*")
        for index, text in enumerate(patterns)
        if "{user}*" in text or "*{user}" in text
    ]


def patterns_meet(one: str, other: str) -> bool:
    """Whether some Client Identifier of some user fits both patterns."""
    left, right = (text.replace("{user}", "*") for text in (one, other))
    # meets[i] tells whether what is left of the one from i on can be what is left of the other.
    meets = [False] * (len(left) + 1)
    for position in range(len(right), -1, -1):
        row = [False] * (len(left) + 1)
        for index in range(len(left), -1, -1):
            row[index] = _meets(left, right, index, position, row, meets)
        meets = row
    return meets[0]


def _meets(left: str, right: str, index: int, position: int, row: list[bool], below: list[bool]) -> bool:
    """One field of the table; ``row`` is for ``position`` of the other, ``below`` for the next one."""
    if index == len(left) and position == len(right):
        return True
    a = left[index : index + 1]
    b = right[position : position + 1]
    if a == "*" and (row[index + 1] or (b and below[index])):
        return True
    if b == "*" and (below[index] or (a and row[index + 1])):
        return True
    return bool(a) and a == b and a != "*" and below[index + 1]


def covered_addresses(permit: Sequence[str], deny: Sequence[str]) -> list[tuple[str, Finding]]:
    """Entries of ``permit`` and ``deny`` that change nothing, with the name of the list."""
    found: list[tuple[str, Finding]] = []
    for name, entries in (("permit", permit), ("deny", deny)):
        for index, text in enumerate(entries):
            for other_index, other in enumerate(entries):
                equal = _networks(other) == _networks(text)
                if other_index != index and _within(text, [other]) and (not equal or other_index < index):
                    found.append((name, (index, f"{other!r} holds it", "remove it, or the wider one")))
                    break
    for index, text in enumerate(permit):
        if _within(text, deny):
            found.append(("permit", (index, "`deny` holds all of it, and deny wins", "remove one of the two")))
    for index, text in enumerate(deny):
        if permit and not any(_overlap(text, each) for each in permit):
            found.append(
                ("deny", (index, "nothing of it is permitted here anyway", "remove it, if nobody else permits it"))
            )
    return found


def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    if text == UNIX:
        return []
    if text == EVERYWHERE:
        return [ip_network("0.0.0.0/0"), ip_network("::/0")]
    return [parse_network(text)]


def _holds(outer: IPv4Network | IPv6Network, inner: IPv4Network | IPv6Network) -> bool:
    return (
        outer.version == inner.version
        and outer.prefixlen <= inner.prefixlen
        and int(outer.network_address) <= int(inner.network_address)
        and int(inner.broadcast_address) <= int(outer.broadcast_address)
    )


def _within(text: str, others: Sequence[str]) -> bool:
    if text == UNIX:
        return UNIX in others
    outers = [network for other in others for network in _networks(other)]
    return bool(outers) and all(any(_holds(outer, each) for outer in outers) for each in _networks(text))


def _overlap(one: str, other: str) -> bool:
    if UNIX in (one, other):
        return one == other
    pairs = itertools.product(_networks(one), _networks(other))
    return any(left.version == right.version and (_holds(left, right) or _holds(right, left)) for left, right in pairs)
