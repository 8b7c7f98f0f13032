# -*- test-case-name: tests.policy.builtin.test_strike_counts -*-
"""Strikes counted by address and, at each address, by client; both are forgotten little by little.

Addresses are those of :func:`address_key`: one IPv4 address, or one IPv6 /64. A client is known here by its claimed
user name, its Client Identifier, or both: (user name, None), (None, identifier), (user name, identifier).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from mqttsecure.core.decisions import Peer
from mqttsecure.policy.builtin.networks import unwrap

__all__ = [
    "MAXIMUM_ADDRESSES",
    "MAXIMUM_CLIENTS",
    "MAXIMUM_CLIENTS_OF_ADDRESS",
    "AddressKey",
    "ClientKey",
    "Count",
    "StrikeCounts",
    "StrikeLimits",
    "address_key",
    "network_of",
]

AddressKey: TypeAlias = tuple[int, int]
"""IP version and the bits of its prefix: (4, 32 bits) or (6, 64 bits); (0, uid) at a Unix socket."""

ClientKey: TypeAlias = tuple[str | None, str | None]
"""User name and Client Identifier; at least one of them."""

MAXIMUM_ADDRESSES: Final = 32_768
"""Addresses with strikes: some 25 MB. Strikes cost an attacker a connection each, and at the default window all of them
are forgotten within ten minutes; whoever has more addresses than this at hand gains nothing by their being forgotten
sooner, since each of them starts with none."""

MAXIMUM_CLIENTS: Final = 65_536
"""Clients with strikes, over all addresses: two for each address."""

MAXIMUM_CLIENTS_OF_ADDRESS: Final = 256
"""Clients with strikes at one address: more than a person fails to log in as. When there are more, the one with the
fewest strikes is forgotten, so that made-up names do not push out the one that is really guessed at."""

_WORST: Final = 20
"""Strikes above the threshold at which counting stops: doubling as often is far beyond every longest time, and what is
counted must be forgotten again in the end."""


@dataclass(slots=True, frozen=True)
class StrikeLimits:
    """How much is too much. Times are seconds."""

    threshold: int
    address_threshold: int
    window: float
    first_delay: float
    longest_delay: float
    first_ban: float
    longest_ban: float

    def delay(self, strikes: int) -> float:
        """How long a client with so many strikes has to wait, 0 below the threshold."""
        return _doubled(self.first_delay, strikes - self.threshold, self.longest_delay)

    def ban(self, earlier: int) -> float:
        """How long an address is banned that was banned so often before."""
        return _doubled(self.first_ban, earlier, self.longest_ban)


def _doubled(first: float, times: int, longest: float) -> float:
    if times < 0:
        return 0.0
    return min(longest, first * 2.0 ** min(times, 64))


@dataclass(slots=True)
class Count:
    """Strikes, of which ``maximum strikes / window`` are forgotten per second: a leaky bucket."""

    strikes: float = 0.0
    at: float = 0.0

    def value(self, now: float, per_second: float) -> float:
        """How many are left."""
        return max(0.0, self.strikes - max(0.0, now - self.at) * per_second)

    def add(self, weight: int, now: float, per_second: float, most: float) -> int:
        """Count, never to more than ``most``; how many there are now.

        Rounded: a moment passes between any two strikes, and five of them in a minute are to be five.
        """
        self.strikes = min(most, self.value(now, per_second) + weight)
        self.at = now
        return math.floor(self.strikes + 0.5)


@dataclass(slots=True)
class _Client(Count):
    """One client at one address. It has to wait until ``not_before``."""

    not_before: float = float("-inf")


@dataclass(slots=True)
class _Address(Count):
    clients: dict[ClientKey, _Client] = field(default_factory=dict)


class StrikeCounts:
    """All strikes. What is beyond the bounds is forgotten, the addresses that were quiet for longest first."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[AddressKey, _Address] = OrderedDict()
        self._clients = 0

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def clients(self) -> int:
        """How many clients are counted, over all addresses."""
        return self._clients

    def strike_address(self, key: AddressKey, weight: int, limits: StrikeLimits, now: float) -> int:
        """Count against an address; how many strikes it has now."""
        per_second = limits.address_threshold / limits.window
        return self._address(key).add(weight, now, per_second, limits.address_threshold + _WORST)

    def strike_client(self, key: AddressKey, client: ClientKey, weight: int, limits: StrikeLimits, now: float) -> float:
        """Count against a client at an address; how long it has to wait."""
        clients = self._address(key).clients
        found = clients.get(client)
        if found is None:
            if len(clients) >= MAXIMUM_CLIENTS_OF_ADDRESS:
                self._forget_least(clients, limits, now)
            found = clients[client] = _Client()
            self._clients += 1
            self._make_room()
        per_second = limits.threshold / limits.window
        delay = limits.delay(found.add(weight, now, per_second, limits.threshold + _WORST))
        if delay > 0:
            found.not_before = max(found.not_before, now + delay)
        return delay

    def wait(self, key: AddressKey, client: ClientKey, now: float) -> float:
        """How long a client still has to wait at an address, 0 if it has not."""
        address = self._addresses.get(key)
        found = None if address is None else address.clients.get(client)
        return 0.0 if found is None else max(0.0, found.not_before - now)

    def waiting(self, now: float) -> list[tuple[AddressKey, ClientKey, float]]:
        """Every client that has to wait, where, and how long."""
        return [
            (key, client, found.not_before - now)
            for key, address in self._addresses.items()
            for client, found in address.clients.items()
            if found.not_before > now
        ]

    def clear_address(self, key: AddressKey) -> None:
        """Forget the strikes of an address, those of its clients stay: it was banned for them."""
        address = self._addresses.get(key)
        if address is not None:
            address.strikes = 0.0

    def forget(self, key: AddressKey) -> bool:
        """Forget all about an address and its clients; whether there was anything."""
        address = self._addresses.pop(key, None)
        if address is None:
            return False
        self._clients -= len(address.clients)
        return True

    def _address(self, key: AddressKey) -> _Address:
        found = self._addresses.get(key)
        if found is None:
            found = self._addresses[key] = _Address()
            self._make_room()
        else:
            self._addresses.move_to_end(key)
        return found

    def _make_room(self) -> None:
        """Forget the quietest, but never the one in use, which is the last."""
        while len(self._addresses) > 1 and (
            len(self._addresses) > MAXIMUM_ADDRESSES or self._clients > MAXIMUM_CLIENTS
        ):
            _, address = self._addresses.popitem(last=False)
            self._clients -= len(address.clients)

    def _forget_least(self, clients: dict[ClientKey, _Client], limits: StrikeLimits, now: float) -> None:
        per_second = limits.threshold / limits.window
        del clients[min(clients, key=lambda each: clients[each].value(now, per_second))]
        self._clients -= 1


def address_key(peer: Peer) -> AddressKey:
    """What a peer is counted under."""
    if peer.address is None:
        return 0, peer.uid or 0
    address = unwrap(peer.address)
    # Whoever has one IPv6 address has a /64 to pick from.
    return (4, int(address)) if address.version == 4 else (6, int(address) >> 64)


def network_of(key: AddressKey) -> IPv4Network | IPv6Network:
    """The address or /64 that a key stands for; Unix sockets have none."""
    version, bits = key
    return IPv4Network((bits, 32)) if version == 4 else IPv6Network((bits << 64, 64))
