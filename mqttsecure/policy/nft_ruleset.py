# -*- test-case-name: tests.policy.test_nft_ruleset -*-
"""An nftables table as values, and its text.

Rules are kept as the text that ``nft list`` prints for them, so that what is written can be compared with what the
kernel holds (:mod:`mqttsecure.policy.nft_listing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range
from textwrap import wrap
from typing import Final, NamedTuple, TypeVar

__all__ = [
    "ADDRESS_BITS",
    "AddressSet",
    "Chain",
    "CountingSet",
    "Range",
    "Ruleset",
    "TimedSet",
    "VerdictMap",
    "flatten",
    "merge",
    "plain",
    "render",
    "render_update",
]

V = TypeVar("V")

Network = IPv4Network | IPv6Network

ADDRESS_BITS: Final = {4: 32, 6: 128}
_TYPES: Final = {4: "ipv4_addr", 6: "ipv6_addr"}
_PER_LINE: Final = 4
_WIDTH: Final = 110


class Range(NamedTuple):
    """Addresses of one IP version, both ends included."""

    version: int
    first: int
    last: int

    def __str__(self) -> str:
        first, last = _address(self.version, self.first), _address(self.version, self.last)
        if first == last:
            return str(first)
        networks = list(summarize_address_range(first, last))
        return str(networks[0]) if len(networks) == 1 else f"{first}-{last}"


def _address(version: int, number: int) -> IPv4Address | IPv6Address:
    return IPv4Address(number) if version == 4 else IPv6Address(number)


@dataclass(slots=True, frozen=True)
class AddressSet:
    """Addresses that the configuration lists."""

    name: str
    version: int
    ranges: tuple[Range, ...]


@dataclass(slots=True, frozen=True)
class VerdictMap:
    """For some addresses the chain that goes on with them."""

    name: str
    version: int
    entries: tuple[tuple[Range, str], ...]


@dataclass(slots=True, frozen=True)
class CountingSet:
    """Addresses that the kernel itself enters while packets come, at most ``size``; ``timeout`` is in seconds."""

    name: str
    version: int
    size: int
    timeout: int | None = None


@dataclass(slots=True, frozen=True)
class TimedSet:
    """Addresses that leave the set by themselves: each with the seconds until then, None for one that stays."""

    name: str
    version: int
    entries: tuple[tuple[Range, int | None], ...]


@dataclass(slots=True, frozen=True)
class Chain:
    """Rules in order. ``policy`` makes it the base chain of the input hook: what becomes of what no rule decides."""

    name: str
    rules: tuple[str, ...]
    policy: str | None = None


@dataclass(slots=True, frozen=True)
class Ruleset:
    """A table of the family inet."""

    table: str
    address_sets: tuple[AddressSet, ...] = ()
    verdict_maps: tuple[VerdictMap, ...] = ()
    counting_sets: tuple[CountingSet, ...] = ()
    chains: tuple[Chain, ...] = ()
    timed_sets: tuple[TimedSet, ...] = ()


def merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same addresses in as few ranges as possible, in order: nftables refuses intervals that overlap."""
    return tuple(each for each, _ in _joined((each, None) for each in sorted(ranges)))


def flatten(entries: Mapping[Network, V]) -> list[tuple[Range, V]]:
    """Ranges that do not overlap, each with the value of the longest prefix that holds it."""
    found: list[tuple[Range, V]] = []
    for version in ADDRESS_BITS:
        # Widest first; what is open at a point is nested, so the last one opened is the longest prefix.
        networks = sorted(
            (each for each in entries if each.version == version),
            key=lambda network: (int(network.network_address), network.prefixlen),
        )
        found += _joined(_pieces(version, networks, entries))
    return found


def _pieces(version: int, networks: list[Network], entries: Mapping[Network, V]) -> Iterator[tuple[Range, V]]:
    open_networks: list[Network] = []
    position = 0
    for network in [*networks, None]:
        start = 1 << ADDRESS_BITS[version] if network is None else int(network.network_address)
        while open_networks and int(open_networks[-1].broadcast_address) < start:
            ended = open_networks.pop()
            if position <= int(ended.broadcast_address):
                yield Range(version, position, int(ended.broadcast_address)), entries[ended]
            position = max(position, int(ended.broadcast_address) + 1)
        if network is not None:
            if open_networks and position < start:
                yield Range(version, position, start - 1), entries[open_networks[-1]]
            position = max(position, start)
            open_networks.append(network)


def _joined(pieces: Iterable[tuple[Range, V]]) -> Iterator[tuple[Range, V]]:
    """Sorted pieces with neighbours of the same value made one."""
    kept: tuple[Range, V] | None = None
    for piece, value in pieces:
        if kept is None:
            kept = piece, value
        elif kept[0].version == piece.version and kept[1] == value and piece.first <= kept[0].last + 1:
            kept = Range(piece.version, kept[0].first, max(kept[0].last, piece.last)), value
        else:
            yield kept
            kept = piece, value
    if kept is not None:
        yield kept


def plain(text: str) -> str:
    """``text`` as it may stand in a comment: whatever else a file name holds, it must not end the line."""
    return "".join(character if character.isprintable() else "?" for character in text)


def render(ruleset: Ruleset, comments: Iterable[str] = ()) -> str:
    """A file for ``nft -f``, which replaces the whole table at once or, on any error, changes nothing."""
    table = f"table inet {ruleset.table}"
    lines = ["#!/usr/sbin/nft -f", *(line for each in comments for line in _comment(each)), ""]
    # Deleting a table that is not there is an error; adding one that is there is none.
    lines += [f"add {table}", f"delete {table}", "", f"{table} {{"]
    blocks = [_address_set(each) for each in ruleset.address_sets]
    blocks += [_timed_set(each) for each in ruleset.timed_sets]
    blocks += [_verdict_map(each) for each in ruleset.verdict_maps]
    blocks += [_counting_set(each) for each in ruleset.counting_sets]
    blocks += [_chain(each) for each in ruleset.chains]
    for index, block in enumerate(blocks):
        lines += [*([""] if index else []), *(f"    {line}" for line in block)]
    return "\n".join([*lines, "}", ""])


def render_update(ruleset: Ruleset, comments: Iterable[str] = ()) -> str:
    """A file for ``nft -f`` that puts the timed sets of a table that is loaded in order, and leaves all else."""
    lines = ["#!/usr/sbin/nft -f", *(line for each in comments for line in _comment(each)), ""]
    for each in ruleset.timed_sets:
        where = f"inet {ruleset.table} {each.name}"
        lines.append(f"flush set {where}")
        if each.entries:
            head, *rows, end = _elements(_timed(each), always_rows=True)
            lines += [f"add element {where} {head.removeprefix('elements = ')}", *rows, end]
    return "\n".join([*lines, ""])


def _comment(text: str) -> list[str]:
    indent = "    " if text.startswith("  - ") else ""
    lines = wrap(plain(text), _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in lines] or ["#"]


def _address_set(each: AddressSet) -> list[str]:
    return _block(
        f"set {each.name}",
        [f"type {_TYPES[each.version]}", "flags interval", *_elements([str(range_) for range_ in each.ranges])],
    )


def _timed_set(each: TimedSet) -> list[str]:
    lines = [f"type {_TYPES[each.version]}", "flags interval,timeout", *_elements(_timed(each))]
    return _block(f"set {each.name}", lines)


def _timed(each: TimedSet) -> list[str]:
    return [f"{range_}{'' if seconds is None else f' timeout {seconds}s'}" for range_, seconds in each.entries]


def _verdict_map(each: VerdictMap) -> list[str]:
    elements = [f"{range_} : goto {chain}" for range_, chain in each.entries]
    return _block(
        f"map {each.name}", [f"type {_TYPES[each.version]} : verdict", "flags interval", *_elements(elements)]
    )


def _counting_set(each: CountingSet) -> list[str]:
    lines = [f"type {_TYPES[each.version]}", f"size {each.size}"]
    lines += ["flags dynamic"] if each.timeout is None else ["flags dynamic,timeout", f"timeout {each.timeout}s"]
    return _block(f"set {each.name}", lines)


def _chain(each: Chain) -> list[str]:
    hook = [] if each.policy is None else [f"type filter hook input priority filter; policy {each.policy};"]
    return _block(f"chain {each.name}", [*hook, *each.rules])


def _elements(elements: list[str], *, always_rows: bool = False) -> list[str]:
    if not elements:
        return []
    rows = [", ".join(elements[start : start + _PER_LINE]) for start in range(0, len(elements), _PER_LINE)]
    if len(rows) == 1 and not always_rows:
        return [f"elements = {{ {rows[0]} }}"]
    return ["elements = {", *(f"    {row}," for row in rows), "}"]


def _block(head: str, lines: list[str]) -> list[str]:
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]
