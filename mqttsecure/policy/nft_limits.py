# -*- test-case-name: tests.policy.test_nft -*-
"""Compiles ``connection-limit`` to counting sets of nftables.

Each limit of each class (the policy's own numbers, and those of each override) has a set in which the kernel enters
addresses by itself: ``ct count`` counts the tracked connections of an element, ``limit rate`` is a token bucket that
refuses at no cost, as the broker's is. The sets are bounded. Where one is full, a newcomer's rule does not match
and the connection comes through to the broker, which has the same limit: a flood of forged addresses can fill the
sets, and must not lock anyone out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from ipaddress import ip_network
from typing import Final

from mqttsecure.policy.builtin.connection_limit import MAXIMUM_BUCKETS, ConnectionLimitOptions, Override
from mqttsecure.policy.builtin.networks import EVERYWHERE, UNIX, parse_network
from mqttsecure.policy.builtin.options import parse_rate
from mqttsecure.policy.nft_ruleset import Chain, CountingSet, Network, VerdictMap, flatten

__all__ = ["LimitCompiler"]

_MAXIMUM_U32: Final = 0xFFFF_FFFF
_MAXIMUM_TIMEOUT: Final = 366 * 24 * 3600
"""Seconds for which an address is remembered for its rate; the kernel's own arithmetic ends far above."""

_UNITS: Final = (("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400), ("week", 604_800))
_NANOSECONDS: Final = 1_000_000_000

_ADDRESS: Final = {4: "ip saddr", 6: "ip6 saddr"}
_PREFIX: Final = {4: "ip saddr & 255.255.255.0", 6: "ip6 saddr & ffff:ffff:ffff:ffff::"}
_RATE: Final = {4: _ADDRESS[4], 6: _PREFIX[6]}
"""What the policy counts under: see its ``_keys``."""

_PREFIX_LENGTH: Final = {4: 24, 6: 64}


@dataclass(slots=True, frozen=True)
class _Class:
    """The limits of the addresses under one override, or of all others."""

    rule: str
    suffix: str
    per_address: int
    per_prefix: int
    rate: str
    burst: int


@dataclass(slots=True)
class LimitCompiler:
    """Gathers the sets and chains of all ``connection-limit`` policies.

    Attributes:
        maximum_connections: of the broker.
        refusing: makes the rule that refuses what a match finds, with a comment.
    """

    maximum_connections: int
    refusing: Callable[[str, str], str]
    maps: list[VerdictMap] = field(default_factory=list)
    sets: list[CountingSet] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    wider: list[str] = field(default_factory=list)
    narrower: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, policy: str, where: str, options: ConnectionLimitOptions, versions: Sequence[int]) -> None:
        """Compile one policy for the IP versions of its listeners.

        Args:
            name: for its sets and chains; the chain to jump to is ``limit_`` and this name.
            policy: its id.
            where: how a sentence about it begins.
            options: of the policy.
            versions: the IP versions by which its listeners are reached.
        """
        networks = _override_networks(options.overrides)
        classes = {index: _override(options, index) for index in sorted(set(networks.values()))}
        for index, each in classes.items():
            # An override for IPv4 wants no sets for IPv6.
            its_own = [v for v in versions if any(n.version == v for n, holder in networks.items() if holder == index)]
            self.chains.append(Chain(_chain(name, each), tuple(self._rules(name, policy, where, each, its_own))))
        own = _Class("", "", options.per_address, options.per_prefix, options.rate, options.burst)
        rules = self._dispatch(name, networks, classes, versions)
        rules += self._rules(name, policy, where, own, versions)
        self.chains.append(Chain(_chain(name, own), tuple(rules)))
        self._say(where, options, networks)

    def _dispatch(
        self, name: str, networks: Mapping[Network, int], classes: Mapping[int, _Class], versions: Sequence[int]
    ) -> list[str]:
        """Send the addresses under an override to its chain, the longest prefix winning."""
        flat = [(each, _chain(name, classes[index])) for each, index in flatten(networks)]
        rules = []
        for version in versions:
            entries = tuple(entry for entry in flat if entry[0].version == version)
            if entries:
                table = VerdictMap(f"overrides_{name}_v{version}", version, entries)
                self.maps.append(table)
                rules.append(f"{_ADDRESS[version]} vmap @{table.name}")
        return rules

    def _rules(self, name: str, policy: str, where: str, each: _Class, versions: Sequence[int]) -> list[str]:
        rules = []
        for limit, number, key in (
            ("per_address", each.per_address, _ADDRESS),
            ("per_prefix", each.per_prefix, _PREFIX),
        ):
            # More than the broker takes at all can be written down, but never be met.
            if number >= self._size:
                continue
            for version in versions:
                # An address is in the set while it has a connection, and the broker takes no more of them.
                counted = self._set(f"{limit}_{name}{each.suffix}_v{version}", version, self._size)
                # A connection over loopback is tracked from the moment it is sent, so that one refused here would count
                # for two minutes more.
                match = f"iif != lo ct state new add @{counted} {{ {key[version]} ct count over {number} }}"
                rules.append(self.refusing(match, f"{policy}: {each.rule}{limit}"))
        limit_rate = self._rate(where, each)
        if limit_rate is not None:
            text, seconds = limit_rate
            for version in versions:
                # As many as the policy itself remembers. One that has been silent for `seconds` has its whole burst
                # again, so nothing is lost when it is forgotten.
                counted = self._set(f"rate_{name}{each.suffix}_v{version}", version, MAXIMUM_BUCKETS, seconds)
                match = f"ct state new update @{counted} {{ {_RATE[version]} limit rate over {text} }}"
                rules.append(self.refusing(match, f"{policy}: {each.rule}rate"))
        return rules

    @property
    def _size(self) -> int:
        return min(self.maximum_connections, _MAXIMUM_U32)

    def _set(self, name: str, version: int, size: int, timeout: int | None = None) -> str:
        self.sets.append(CountingSet(name, version, size, timeout))
        return name

    def _rate(self, where: str, each: _Class) -> tuple[str, int] | None:
        """The rate in nftables' words, and the seconds that a spent burst takes to come back."""
        amount, per = parse_rate(each.rate)
        rate = Fraction(repr(amount)) / int(per)
        unit, number = _in_units(rate)
        seconds = math.ceil(each.burst * Fraction(dict(_UNITS)[unit], number))
        beyond = number > _NANOSECONDS * dict(_UNITS)[unit] or each.burst > _MAXIMUM_U32 or seconds > _MAXIMUM_TIMEOUT
        if beyond:
            self.wider.append(
                f"{where}: {each.rule}rate {each.rate!r} with burst {each.burst} is beyond what nftables counts, "
                "and is left to the broker"
            )
            return None
        if Fraction(number, dict(_UNITS)[unit]) != rate:
            self.wider.append(f"{where}: {each.rule}rate {each.rate!r} is rounded up to {number}/{unit}")
        return f"{number}/{unit} burst {each.burst} packets", max(seconds, 1)

    def _say(self, where: str, options: ConnectionLimitOptions, networks: Mapping[Network, int]) -> None:
        self.wider.append(
            f"{where}: `unauthenticated` and `total_unauthenticated` cannot be compiled: the kernel does not know who "
            "is authenticated; they are left to the broker"
        )
        self.wider.append(f"{where}: connections over loopback are not counted, their rate is")
        narrow = sorted(str(each) for each in networks if each.prefixlen > _PREFIX_LENGTH[each.version])
        if narrow:
            self.wider.append(
                f"{where}: `per_prefix` counts the addresses under {', '.join(narrow)} apart from their neighbours in "
                "the same IPv4 /24 or IPv6 /64"
            )
        self.narrower.append(
            f"{where}: connections count from their first packet to their last, so those half open and half closed "
            "count, and a SYN that is sent again counts against the rate"
        )
        self.notes.append(
            f"{where}: loading the ruleset sets its counts to nothing; where a counting set is full, newcomers "
            "come through to the broker"
        )
        if any(override.prefix == UNIX for override in options.overrides):
            self.notes.append(f'{where}: the override for "unix" does not apply: no packet comes from a Unix socket')


def _override_networks(overrides: Sequence[Override]) -> dict[Network, int]:
    """The index of the override that holds for each prefix; of several for one prefix, the one the policy takes."""
    by_text = {override.prefix: index for index, override in reversed(list(enumerate(overrides)))}
    found: dict[Network, int] = {}
    for text, index in by_text.items():
        if text == EVERYWHERE:
            found.setdefault(ip_network("0.0.0.0/0"), index)
            found.setdefault(ip_network("::/0"), index)
        elif text != UNIX:
            found.setdefault(parse_network(text), index)
    return found


def _override(options: ConnectionLimitOptions, index: int) -> _Class:
    override = options.overrides[index]
    return _Class(
        f"overrides[{index}].",
        f"_override{index}",
        override.per_address or options.per_address,
        override.per_prefix or options.per_prefix,
        override.rate or options.rate,
        override.burst or options.burst,
    )


def _chain(name: str, each: _Class) -> str:
    return f"limit_{name}{each.suffix}"


def _in_units(rate: Fraction) -> tuple[str, int]:
    """A rate per second as a whole number per unit, the shortest that makes it one; rounded up if none does."""
    for unit, seconds in _UNITS:
        if (rate * seconds).denominator == 1:
            return unit, int(rate * seconds)
    unit, seconds = _UNITS[-1]
    return unit, math.ceil(rate * seconds)
