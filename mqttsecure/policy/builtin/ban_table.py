# -*- test-case-name: tests.policy.builtin.test_ban_table -*-
"""Which addresses are banned, until when, and why: by the broker, and by hand.

Times are monotonic seconds; a document for a file has them as times of day, so that they hold after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, TypeAlias

from mqttsecure.core.decisions import Peer
from mqttsecure.policy.builtin.networks import NetworkTable, parse_network
from mqttsecure.policy.builtin.strike_counts import AddressKey, StrikeLimits, address_key, network_of

__all__ = ["MAXIMUM_BANS", "MAXIMUM_BY_HAND", "Ban", "BanTable", "Network", "moment", "parse_moment"]

Network: TypeAlias = IPv4Network | IPv6Network

MAXIMUM_BANS: Final = 16_384
"""Bans that the broker made itself, some 5 MB here and 3 MB in a file. Each took its address ten strikes or more; with
more of them at a time the one that would have ended first makes room."""

MAXIMUM_BY_HAND: Final = 10_000
"""Bans made by hand: more prefixes than a person looks after. Beyond that a firewall is the place for them."""

_CANDIDATES: Final = 16
"""Of the oldest bans, how many are looked at for the one to make room: bounds the work of each ban in an attack."""

_LONGEST_TEXT: Final = 1000


@dataclass(slots=True)
class Ban:
    """One ban. ``until`` is None for one without end; ``earlier`` counts the bans of this address just before it."""

    since: float
    until: float | None
    why: str
    by_hand: bool = False
    earlier: int = 0
    note: str = ""

    def holds(self, now: float) -> bool:
        """Whether it is in force."""
        return self.until is None or now < self.until


class BanTable:
    """All bans. One that has ended is remembered for a while, so that the next one is longer."""

    def __init__(self) -> None:
        self._bans: OrderedDict[AddressKey, Ban] = OrderedDict()
        self._by_hand: dict[str, Ban] = {}
        self._networks: NetworkTable[Ban] = NetworkTable({})

    def find(self, peer: Peer, now: float) -> Ban | None:
        """The ban that keeps a peer out. A Unix socket's has no address, and is never banned."""
        if peer.address is None:
            return None
        ban = self._bans.get(address_key(peer))
        if ban is not None and ban.holds(now):
            return ban
        return self._found_by_hand(peer, now)

    def _found_by_hand(self, peer: Peer, now: float) -> Ban | None:
        ban = self._networks.find(peer)
        if ban is None or ban.holds(now):
            return ban
        # An ended one would hide one of a shorter prefix that still holds.
        self._by_hand = {text: each for text, each in self._by_hand.items() if each.holds(now)}
        self._networks = NetworkTable(self._by_hand)
        return self._networks.find(peer)

    def ban(self, key: AddressKey, why: str, limits: StrikeLimits, now: float) -> Ban:
        """Ban an address, for longer than last time where that was not long ago."""
        before = self._bans.pop(key, None)
        earlier = 0
        if before is not None and before.until is not None and now < before.until + limits.longest_ban:
            earlier = before.earlier + 1
        if len(self._bans) >= MAXIMUM_BANS:
            self._make_room()
        ban = self._bans[key] = Ban(now, now + limits.ban(earlier), why, earlier=earlier)
        return ban

    def _make_room(self) -> None:
        oldest = [key for key, _ in zip(self._bans, range(_CANDIDATES), strict=False)]
        del self._bans[min(oldest, key=lambda key: self._bans[key].until or 0.0)]

    def ban_by_hand(self, network: Network, seconds: float | None, note: str, now: float) -> Ban:
        """Ban a prefix, in place of an earlier ban of it by hand.

        Raises:
            ValueError: there are too many.
        """
        if str(network) not in self._by_hand and len(self._by_hand) >= MAXIMUM_BY_HAND:
            raise ValueError(f"there are {MAXIMUM_BY_HAND} bans by hand already; remove some, or use a firewall")
        ban = Ban(now, None if seconds is None else now + seconds, "by hand", by_hand=True, note=note)
        self._by_hand[str(network)] = ban
        self._networks = NetworkTable(self._by_hand)
        return ban

    def lift(self, network: Network) -> int:
        """Remove the bans of a prefix and of what is under it; how many there were."""
        under = [key for key in self._bans if _is_under(network_of(key), network)]
        for key in under:
            del self._bans[key]
        by_hand = [text for text in self._by_hand if _is_under(parse_network(text), network)]
        for text in by_hand:
            del self._by_hand[text]
        self._networks = NetworkTable(self._by_hand)
        return len(under) + len(by_hand)

    def __iter__(self) -> Iterator[tuple[Network, Ban]]:
        """All of them, those that have ended too, those by hand first."""
        for text, ban in self._by_hand.items():
            yield parse_network(text), ban
        for key, ban in self._bans.items():
            yield network_of(key), ban

    def __len__(self) -> int:
        return len(self._bans) + len(self._by_hand)

    # For a file

    def document(self, now: float, wall: datetime, memory: float) -> list[dict[str, Any]]:
        """All that is to be kept, as JSON can hold it; ``memory`` is for how long an ended ban counts."""
        return [
            {
                "address": str(network),
                "since": moment(ban.since, now, wall),
                "until": moment(ban.until, now, wall),
                "why": ban.why,
                "by_hand": ban.by_hand,
                "earlier": ban.earlier,
                "note": ban.note,
            }
            for network, ban in self
            if ban.holds(now) or (not ban.by_hand and now < (ban.until or 0.0) + memory)
        ]

    def restore(self, document: object, now: float, wall: datetime, longest: float) -> None:
        """Take in what :meth:`document` gave.

        No ban by the broker lasts for more than ``longest`` from now, whatever became of the clock in between.

        Raises:
            ValueError: it is something else. Nothing has changed then.
        """
        if not isinstance(document, list) or len(document) > MAXIMUM_BANS + MAXIMUM_BY_HAND:
            raise ValueError("the bans must be a list, and not a longer one than the broker writes")
        bans: OrderedDict[AddressKey, Ban] = OrderedDict()
        by_hand: dict[str, Ban] = {}
        for entry in document:
            network, ban = _entry(entry, now, wall)
            if ban.by_hand:
                by_hand[str(network)] = ban
            else:
                ban.until = min(ban.until or 0.0, now + longest)
                bans[_key_of(network)] = ban
        self._networks = NetworkTable(by_hand)
        self._bans, self._by_hand = bans, by_hand


def _is_under(network: Network, prefix: Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(prefix, IPv4Network):
        return network.subnet_of(prefix)
    if isinstance(network, IPv6Network) and isinstance(prefix, IPv6Network):
        # An address within a banned /64 means that /64: there is no smaller ban.
        return network.subnet_of(prefix) or (network.prefixlen == 64 and prefix.subnet_of(network))
    return False


def _key_of(network: Network) -> AddressKey:
    expected = 32 if network.version == 4 else 64
    if network.prefixlen != expected:
        raise ValueError(f"{network} is no single address or /64, and not banned by hand")
    return network.version, int(network.network_address) >> (network.max_prefixlen - expected)


def _entry(entry: object, now: float, wall: datetime) -> tuple[Network, Ban]:
    if not isinstance(entry, Mapping):
        raise ValueError("a ban must be an object")
    since, until = parse_moment(entry.get("since"), now, wall), parse_moment(entry.get("until"), now, wall)
    by_hand, earlier = entry.get("by_hand"), entry.get("earlier")
    address, why, note = entry.get("address"), entry.get("why"), entry.get("note")
    if not isinstance(by_hand, bool) or type(earlier) is not int or not 0 <= earlier <= 1000:
        raise ValueError("by_hand must be a boolean and earlier a small number")
    if not (isinstance(address, str) and isinstance(why, str) and isinstance(note, str)):
        raise ValueError("address, why and note must be strings")
    if since is None or (until is None and not by_hand) or len(why) + len(note) > 2 * _LONGEST_TEXT:
        raise ValueError("a ban by the broker has a beginning and an end, and texts of a reasonable length")
    return parse_network(address), Ban(since, until, why, by_hand, earlier, note)


def moment(at: float | None, now: float, wall: datetime) -> str | None:
    """The time of day of a monotonic moment, in UTC; None for never."""
    if at is None:
        return None
    return (wall + timedelta(seconds=at - now)).astimezone(UTC).isoformat(timespec="seconds")


def parse_moment(text: object, now: float, wall: datetime) -> float | None:
    """The monotonic moment of a time of day; None for never.

    Raises:
        ValueError: it is no time of day with its zone.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError("a time must be a string")
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return now + (at - wall).total_seconds()
