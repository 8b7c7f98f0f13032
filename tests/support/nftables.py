"""Evaluates the text of a ruleset as the kernel would, for the words that ``mqttsecure policy nft`` uses.

An unknown word is an AssertionError: what is not understood here is not tested.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import pairwise
from math import inf
from typing import Final

__all__ = ["Packet", "Table"]

Address = IPv4Address | IPv6Address

_BLOCK: Final = re.compile(r"^    (set|map|chain) (\w+) \{\n(.*?)^    \}$", re.MULTILINE | re.DOTALL)
_COUNTING: Final = re.compile(r"(?:add|update) @(\w+) \{ (ip6?) saddr(?: & (\S+))? (.+?) \}$")
_RATE: Final = re.compile(r"limit rate over (\d+)/(\w+) burst (\d+) packets")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_VERSIONS: Final = {"ip": 4, "ip6": 6, "ipv4": 4, "ipv6": 6}


@dataclass(slots=True, frozen=True)
class Packet:
    """The first packet of a TCP connection; ``connection`` tells connections apart."""

    source: Address
    destination: Address
    port: int
    connection: int = 0
    now: float = 0.0
    loopback: bool = False


@dataclass(slots=True)
class Table:
    """A table and what it has counted."""

    sets: dict[str, list[tuple[Address, Address, float]]] = field(default_factory=dict)  # and until when
    maps: dict[str, list[tuple[Address, Address, str]]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    counted: Counter[tuple[str, Address]] = field(default_factory=Counter)
    tokens: dict[tuple[str, Address], tuple[float, float]] = field(default_factory=dict)
    connections: dict[int, list[tuple[str, Address]]] = field(default_factory=dict)
    policy: str = "accept"

    @classmethod
    def read(cls, text: str) -> Table:
        """Read what ``render`` wrote."""
        table = cls()
        for kind, name, body in _BLOCK.findall(text):
            lines = [line.strip() for line in body.splitlines()]
            if kind == "chain":
                table.chains[name] = [line for line in lines if not line.startswith("type ")]
                hooks = [line for line in lines if line.startswith("type ")]
                table.policy = "drop" if any("policy drop;" in line for line in hooks) else table.policy
                continue
            elements = [each.strip() for each in _elements(body)]
            if kind == "set":
                timed = [each.removesuffix("s").partition(" timeout ") for each in elements]
                table.sets[name] = [(*_ends(text), float(left) if left else inf) for text, _, left in timed]
            else:
                table.maps[name] = [(*_ends(each.split(" : ")[0]), each.split(" : goto ")[1]) for each in elements]
        for ranges in (*table.sets.values(), *table.maps.values()):
            table._check_intervals([(each[0], each[1]) for each in ranges])
        return table

    @staticmethod
    def _check_intervals(ranges: list[tuple[Address, Address]]) -> None:
        """nft refuses intervals that overlap."""
        for (_, last), (first, _) in pairwise(ranges):
            assert int(last) < int(first), (last, first)

    def accepts(self, packet: Packet) -> bool:
        """Whether the first packet of this connection passes; if so the connection is open."""
        self.connections[packet.connection] = []
        verdict = self._walk("input", packet) or self.policy
        if verdict != "accept":
            self.close(packet.connection)  # never confirmed, so no longer counted
        return verdict == "accept"

    def close(self, connection: int) -> None:
        """A connection has ended."""
        for key in self.connections.pop(connection, []):
            self.counted[key] -= 1

    def _walk(self, chain: str, packet: Packet) -> str | None:
        """The verdict of a chain; None if it has none."""
        for rule in self.chains[chain]:
            verdict = self._rule(rule.split(' comment "')[0], packet)
            if verdict is None:
                continue
            word, _, target = verdict.partition(" ")
            if word in ("accept", "drop", "reject"):
                return "accept" if word == "accept" else "drop"
            assert word in ("goto", "jump"), rule
            found = self._walk(target, packet)
            if found is not None or word == "goto":
                return found
        return None

    def _rule(self, rule: str, packet: Packet) -> str | None:
        """What a rule says of the packet: "accept", "goto CHAIN"; None where it does not match."""
        while rule:
            if vmap := re.fullmatch(r"(ip6?) saddr vmap @(\w+)", rule):
                return self._mapped(vmap[1], vmap[2], packet)
            verdict = re.fullmatch(r"(?:counter )?(accept|drop|reject|(?:goto|jump) \w+)(?: with tcp reset)?", rule)
            if verdict:
                return verdict[1]
            matches, rule = self._condition(rule, packet)
            if not matches:
                return None
        raise AssertionError("a rule without a verdict")

    def _mapped(self, protocol: str, name: str, packet: Packet) -> str | None:
        if packet.source.version != _VERSIONS[protocol]:
            return None
        for first, last, chain in self.maps[name]:
            if int(first) <= int(packet.source) <= int(last):
                return f"goto {chain}"
        return None

    def _condition(self, rule: str, packet: Packet) -> tuple[bool, str]:
        """Whether the packet meets the first condition of a rule, and the rest of the rule."""
        patterns = (
            (r"ct state established,related ", lambda found: False),
            (r"ct state new ", lambda found: True),
            (r"meta l4proto tcp ", lambda found: True),
            (r"icmpv6 type \{[^}]*\} ", lambda found: False),
            (r"meta nfproto (ipv[46]) ", lambda found: packet.source.version == _VERSIONS[found[1]]),
            (r"iif (!= )?lo ", lambda found: packet.loopback is not bool(found[1])),
            (r"ip6? daddr (\S+) ", lambda found: packet.destination == ip_address(found[1])),
            (r"tcp dport (\d+) ", lambda found: packet.port == int(found[1])),
            (r"(ip6?) saddr (!= )?@(\w+) ", lambda found: self._in_set(found[1], found[3], bool(found[2]), packet)),
            (r"(?:add|update) @\w+ \{[^}]*\} ", lambda found: self._counts(found[0].strip(), packet)),
        )
        for pattern, meets in patterns:
            if found := re.match(pattern, rule):
                return meets(found), rule[found.end() :]
        raise AssertionError(f"not understood: {rule}")

    def _in_set(self, protocol: str, name: str, negated: bool, packet: Packet) -> bool:
        if packet.source.version != _VERSIONS[protocol]:
            return False
        holds = any(
            int(first) <= int(packet.source) <= int(last) and packet.now < until
            for first, last, until in self.sets[name]
        )
        return holds is not negated

    def _counts(self, text: str, packet: Packet) -> bool:
        """Whether the packet is over a limit."""
        found = _COUNTING.fullmatch(text)
        assert found, text
        name, protocol, mask, limit = found.groups()
        if packet.source.version != _VERSIONS[protocol]:
            return False
        number = int(packet.source) & (int(ip_address(mask)) if mask else -1)
        key = (name, IPv4Address(number) if protocol == "ip" else IPv6Address(number))
        if limit.startswith("ct count over "):
            self.counted[key] += 1
            self.connections[packet.connection].append(key)
            return self.counted[key] > int(limit.rpartition(" ")[2])
        return self._over_rate(key, limit, packet.now)

    def _over_rate(self, key: tuple[str, Address], limit: str, now: float) -> bool:
        found = _RATE.fullmatch(limit)
        assert found, limit
        rate, burst = int(found[1]) / _SECONDS[found[2]], int(found[3])
        tokens, since = self.tokens.get(key, (float(burst), now))
        tokens = min(burst, tokens + (now - since) * rate)
        over = tokens < 1 - 1e-6
        self.tokens[key] = (tokens if over else tokens - 1, now)
        return over


def _elements(body: str) -> list[str]:
    found = re.search(r"elements = \{(.*?)\}", body, re.DOTALL)
    return [] if found is None else [each for each in found[1].replace("\n", " ").split(",") if each.strip()]


def _ends(text: str) -> tuple[Address, Address]:
    if "-" in text:
        first, _, last = text.partition("-")
        return ip_address(first), ip_address(last)
    network = ip_network(text)
    return network.network_address, network.broadcast_address
