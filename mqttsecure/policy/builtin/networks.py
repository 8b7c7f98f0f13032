# -*- test-case-name: tests.policy.builtin.test_networks -*-
"""Address prefixes, and the longest one that holds an address.

A lookup costs one dict access per prefix length in use, however many prefixes there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Generic, TypeVar

from mqttsecure.core.decisions import Peer

__all__ = ["EVERYWHERE", "UNIX", "NetworkTable", "parse_network", "unwrap"]

T = TypeVar("T")

EVERYWHERE: Final = "everywhere"
UNIX: Final = "unix"

_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def unwrap(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv4-mapped IPv6 one; any other as it is."""
    return getattr(address, "ipv4_mapped", None) or address


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Read an address or a prefix in CIDR notation; an IPv4-mapped one is the IPv4 prefix it stands for.

    Raises:
        ValueError: it is neither, or has bits set beyond the prefix.
    """
    try:
        if "%" in text:
            raise ValueError("a scope has no meaning in a rule")
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(_fault(text, error)) from error
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


def _fault(text: str, error: ValueError) -> str:
    try:
        meant = ip_network("" if "%" in text else text, strict=False)
    except ValueError:
        return (
            f'{text!r} is no address or prefix ({error}); write it like "192.0.2.0/24", or "{EVERYWHERE}" or "{UNIX}"'
        )
    return f"{text!r} has bits set beyond its prefix; write {str(meant)!r}"


class NetworkTable(Generic[T]):
    """Values by address prefix. ``entries`` maps what :func:`parse_network` reads, "everywhere" and "unix"."""

    __slots__ = ("_tables", "_unix")

    def __init__(self, entries: Mapping[str, T]) -> None:
        """Build the table; an earlier entry wins over a later one of the same prefix.

        Raises:
            ValueError: a key is no prefix.
        """
        tables: dict[int, dict[int, dict[int, T]]] = {4: {}, 6: {}}
        self._unix: T | None = entries.get(UNIX)
        for text, value in entries.items():
            if text == UNIX:
                continue
            for network in (
                (ip_network("0.0.0.0/0"), ip_network("::/0")) if text == EVERYWHERE else (parse_network(text),)
            ):
                shift = network.max_prefixlen - network.prefixlen
                prefixes = tables[network.version].setdefault(shift, {})
                prefixes.setdefault(int(network.network_address) >> shift, value)
        # The smallest shift is the longest prefix.
        self._tables = {version: sorted(by_shift.items()) for version, by_shift in tables.items()}

    def find(self, peer: Peer) -> T | None:
        """The value of the longest prefix that holds the peer's address, or of "unix" for a Unix peer."""
        if peer.address is None:
            return self._unix
        address = unwrap(peer.address)
        number = int(address)
        for shift, prefixes in self._tables[address.version]:
            value = prefixes.get(number >> shift)
            if value is not None:
                return value
        return None
