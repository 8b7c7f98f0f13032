# -*- test-case-name: tests.policy.test_nft_bans -*-
"""Compiles the bans that a ``ban`` policy holds now to sets of nftables whose elements end by themselves.

A ban is of an IPv4 address, an IPv6 /64, or by hand of any prefix, and bans may lie within each other. nftables wants
intervals that do not overlap, so each piece has the time of the ban that keeps it out for longest. How long a ban is,
also under the policy's ``overrides``, was settled when it was made. An ``exempt`` address is let through as the
policy does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mqttsecure.policy.builtin.ban import BanPolicy
from mqttsecure.policy.builtin.ban_options import BanOptions
from mqttsecure.policy.nft_ruleset import Network, TimedSet, flatten

__all__ = ["HeldBans", "LiveBans", "ban_sets", "held_bans", "longest_of", "set_name"]

Bans = Mapping[Network, float | None]
"""Seconds that are left of each, None for one without end."""

LiveBans = Mapping[str, Bans]
"""What the running broker holds, by the id of the policy."""


@dataclass(slots=True, frozen=True)
class HeldBans:
    """What a ``ban`` policy denies at ACCEPT right now.

    Attributes:
        bans: those in force.
        exempt: of its options.
        unknown: why there may be others that are not known here, "" where all are.
    """

    bans: Bans
    exempt: tuple[str, ...]
    unknown: str = ""


def held_bans(policy: BanPolicy, options: BanOptions, live: Bans | None) -> HeldBans:
    """The bans of a policy, of the running broker where it was asked, otherwise of the policy's file."""
    unknown = ""
    if live is None and options.file is None:
        unknown = "without a `file` its bans are known to the running broker alone; --live asks that"
    elif live is None:
        unknown = "; ".join(policy.warnings)  # the file is damaged
    return HeldBans(policy.prefixes() if live is None else live, tuple(options.exempt), unknown)


def set_name(name: str, version: int) -> str:
    """What the set of a policy's bans is called."""
    return f"banned_{name}_v{version}"


def ban_sets(name: str, bans: Bans, versions: Sequence[int]) -> list[TimedSet]:
    """The sets of one policy, for the IP versions by which its listeners are reached.

    Args:
        name: of the policy, in the names of sets.
        bans: those in force.
        versions: 4, 6 or both.
    """
    flat = flatten(longest_of(bans))
    return [
        TimedSet(
            set_name(name, version),
            version,
            tuple(
                (piece, None if seconds == math.inf else math.ceil(seconds))
                for piece, seconds in flat
                if piece.version == version
            ),
        )
        for version in versions
    ]


def longest_of(bans: Bans) -> dict[Network, float]:
    """For each prefix the seconds of its own ban or of one around it, whichever is longer; infinite for no end."""
    found: dict[Network, float] = {}
    around: list[Network] = []
    for network in sorted(bans, key=lambda each: (each.version, int(each.network_address), each.prefixlen)):
        while around and not _holds(around[-1], network):
            around.pop()
        left = bans[network]
        own = math.inf if left is None else max(left, 1.0)
        # Of what is around it the innermost has the longest time already.
        found[network] = max(own, found[around[-1]]) if around else own
        around.append(network)
    return found


def _holds(prefix: Network, network: Network) -> bool:
    return (
        prefix.version == network.version
        and int(prefix.network_address) <= int(network.network_address)
        and int(network.broadcast_address) <= int(prefix.broadcast_address)
    )
