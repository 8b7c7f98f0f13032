# -*- test-case-name: tests.policy.test_nft -*-
"""Compiles the ACCEPT stage to an nftables ruleset: what the kernel drops costs the broker nothing.

The kernel is a first gate before the broker, never in its place, so what cannot be said in nftables is left to the
broker: the ruleset then lets more through, and says so. The other way round, a refusal of what the broker would
permit, happens only where :attr:`Compilation.narrower` tells.

The fold keeps its meaning. A connection is judged by the chain of its listener, which asks the listener's policies in
the order of the configuration; a DENY drops, a ``final`` PERMIT accepts, a ``required`` ABSTAIN drops. What no policy
permits is dropped first rather than last: it would be dropped in any case, and so it takes no room in the counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final

from mqttsecure.policy.builtin.connection_limit import ConnectionLimitOptions
from mqttsecure.policy.builtin.ip_allowlist import IpAllowlistOptions
from mqttsecure.policy.builtin.networks import EVERYWHERE, UNIX, parse_network, unwrap
from mqttsecure.policy.nft_bans import HeldBans, ban_sets, set_name
from mqttsecure.policy.nft_limits import LimitCompiler
from mqttsecure.policy.nft_policies import AcceptListener, AcceptPolicy, identifier, where
from mqttsecure.policy.nft_ruleset import AddressSet, Chain, Network, Range, Ruleset, TimedSet, merge

__all__ = [
    "DEFAULT_TABLE",
    "Compilation",
    "compile_accept",
]

DEFAULT_TABLE: Final = "mqttsecure"

_BOTH: Final = (4, 6)
_SOURCE: Final = {4: "ip saddr", 6: "ip6 saddr"}

_ICMPV6: Final = "mld-listener-query, nd-neighbor-advert, nd-neighbor-solicit, nd-router-advert"
"""Without neighbour discovery IPv6 dies, and without an answer to multicast queries some switches stop its packets."""


@dataclass(slots=True, frozen=True)
class Compilation:
    """A ruleset, and how it compares with the broker's own decision.

    Attributes:
        wider: what it lets through that the broker refuses, one line for each reason.
        narrower: what it refuses that the broker would permit.
        notes: what else is worth knowing.
    """

    ruleset: Ruleset
    wider: tuple[str, ...]
    narrower: tuple[str, ...]
    notes: tuple[str, ...]

    def comments(self) -> list[str]:
        """All of it, for the head of the file."""
        locked = any(chain.policy == "drop" for chain in self.ruleset.chains)
        others = (
            "all else is dropped but answers, loopback and neighbour discovery" if locked else "no other is touched"
        )
        lines = [
            f"It judges connections to the broker's listeners; {others}. What comes through, the broker judges itself."
        ]
        for title, texts in (
            ("It lets through all that the broker's ACCEPT stage permits, and besides:", self.wider),
            ("It may refuse what the broker would permit:", self.narrower),
            ("To know:", self.notes),
        ):
            if texts:
                lines += ["", title, *(f"  - {text}" for text in texts)]
        if not self.wider:
            lines += ["", "It lets through nothing that the broker's ACCEPT stage refuses."]
        return lines


def compile_accept(
    listeners: Sequence[AcceptListener],
    policies: Sequence[AcceptPolicy],
    *,
    maximum_connections: int,
    table: str = DEFAULT_TABLE,
    lock: bool = False,
    reject: bool = False,
) -> Compilation:
    """Compile the ACCEPT stage of these listeners.

    Args:
        listeners: in the order of the configuration.
        policies: in the order of the chain.
        maximum_connections: of the broker; bounds the sets that count connections.
        table: the name of the table, of the family inet.
        lock: also drop all that is not for a listener, but for loopback, answers and neighbour discovery.
        reject: answer what is refused by a TCP reset, as the broker does, in place of dropping it.
    """
    return _Compiler(listeners, policies, maximum_connections, lock, reject).compile(table)


def _networks(texts: Sequence[str]) -> list[Network]:
    """The prefixes of a list in the configuration, "unix" left out."""
    networks: list[Network] = []
    for text in texts:
        if text == EVERYWHERE:
            networks += [ip_network("0.0.0.0/0"), ip_network("::/0")]
        elif text != UNIX:
            networks.append(parse_network(text))
    return networks


def _ranges(texts: Sequence[str], version: int) -> tuple[Range, ...]:
    return merge(
        Range(version, int(each.network_address), int(each.broadcast_address))
        for each in _networks(texts)
        if each.version == version
    )


def _versions(listener: AcceptListener) -> tuple[int, ...]:
    """The IP versions by which a listener is reached."""
    found: set[int] = set()
    for host, _ in listener.addresses:
        address = unwrap(ip_address(host.partition("%")[0]))
        # A socket bound to :: takes IPv4 as well, unless net.ipv6.bindv6only says otherwise.
        found.update(_BOTH if address.version == 6 and address.is_unspecified else (address.version,))
    return tuple(sorted(found))


@dataclass(slots=True)
class _Compiler:
    """Compiles one ruleset."""

    listeners: Sequence[AcceptListener]
    policies: Sequence[AcceptPolicy]
    maximum_connections: int
    lock: bool
    reject: bool
    sets: dict[str, AddressSet] = field(default_factory=dict)
    timed_sets: list[TimedSet] = field(default_factory=list)
    wider: list[str] = field(default_factory=list)
    narrower: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compile(self, table: str) -> Compilation:
        chains = [self._listener_chain(position, each) for position, each in enumerate(self.listeners)]
        limits = LimitCompiler(self.maximum_connections, self._refusing)
        for policy in self.policies:
            versions = sorted({v for each in self.listeners if each.name in policy.on for v in _versions(each)})
            if isinstance(policy.options, ConnectionLimitOptions):
                limits.add(policy.name, policy.id, where(policy), policy.options, tuple(versions))
            elif isinstance(policy.options, HeldBans):
                self.timed_sets += ban_sets(policy.name, policy.options.bans, versions)
            self._say_of_policy(policy)
        ruleset = Ruleset(
            table,
            tuple(self.sets.values()),
            tuple(limits.maps),
            tuple(limits.sets),
            (self._input(), *chains, *limits.chains),
            tuple(self.timed_sets),
        )
        return Compilation(
            ruleset,
            tuple(self.wider + limits.wider),
            tuple(self.narrower + limits.narrower),
            tuple(self.notes + limits.notes),
        )

    def _refusing(self, match: str, comment: str) -> str:
        """The rule that refuses what ``match`` finds."""
        # A reset is TCP's own; nft writes that condition first, so it is written here.
        condition, verdict = ("meta l4proto tcp ", "reject with tcp reset") if self.reject else ("", "drop")
        return f'{condition}{match}{" " if match else ""}counter {verdict} comment "{comment}"'

    # Which connections are judged

    def _input(self) -> Chain:
        rules = ["ct state established,related accept"]
        dispatch = []
        for position, listener in enumerate(self.listeners):
            for host, port in listener.addresses:
                if port == 0:
                    self.wider.append(
                        f"{where(listener)}: port 0 is any free port, known only at the start; give it a number"
                    )
                    continue
                specific, match = _match(host)
                dispatch.append((not specific, f"{match}tcp dport {port} goto {_chain_name(position, listener)}"))
        # An address of its own before all addresses, and those of one version before those of both.
        rules += [rule for _, rule in sorted(dispatch, key=lambda each: (each[0], each[1].startswith("tcp")))]
        if self.lock:
            rules += ["iif lo accept", f"icmpv6 type {{ {_ICMPV6} }} accept"]
        return Chain("input", tuple(rules), "drop" if self.lock else "accept")

    # The chain of a listener

    def _listener_chain(self, position: int, listener: AcceptListener) -> Chain:
        asked = [each for each in self.policies if listener.name in each.on]
        versions = _versions(listener)
        rules = self._strangers(asked, versions)
        for policy in asked:
            if policy.options is None:
                if policy.grants and policy.final:
                    # Its PERMIT would end the stage, for whom nobody knows here: nothing more can be refused.
                    break
                continue
            if isinstance(policy.options, IpAllowlistOptions):
                rules += self._allowlist(policy, policy.options, versions)
                continue
            rules += (
                self._banned(policy, policy.options, versions)
                if isinstance(policy.options, HeldBans)
                else [f"jump limit_{policy.name}"]
            )
            if policy.required:
                rules.append(self._refusing("", f"{policy.id}: required, and never permits"))
        return Chain(_chain_name(position, listener), (*rules, 'counter accept comment "permitted"'))

    def _strangers(self, asked: Sequence[AcceptPolicy], versions: Sequence[int]) -> list[str]:
        """Drop what no policy permits; nothing where some policy might permit anyone."""
        granting = [each for each in asked if each.grants]
        lists = [(each, each.options) for each in granting if isinstance(each.options, IpAllowlistOptions)]
        if len(lists) < len(granting):
            return []
        if not lists:
            return [self._refusing("", "nothing permits it")]
        return [
            self._refusing(
                " ".join(
                    f"{_SOURCE[version]} != @{self._set(policy, 'permit', options.permit, version)}"
                    for policy, options in lists
                ),
                "nothing permits it",
            )
            for version in versions
        ]

    def _allowlist(self, policy: AcceptPolicy, options: IpAllowlistOptions, versions: Sequence[int]) -> list[str]:
        rules = []
        for version in versions:
            source = _SOURCE[version]
            if _ranges(options.deny, version):
                denied = self._set(policy, "deny", options.deny, version)
                rules.append(self._refusing(f"{source} @{denied}", f"{policy.id}: deny"))
            if policy.required:
                permitted = self._set(policy, "permit", options.permit, version)
                rules.append(self._refusing(f"{source} != @{permitted}", f"{policy.id}: required"))
            if policy.final and _ranges(options.permit, version):
                permitted = self._set(policy, "permit", options.permit, version)
                rules.append(f'{source} @{permitted} counter accept comment "{policy.id}: final"')
        return rules

    def _banned(self, policy: AcceptPolicy, held: HeldBans, versions: Sequence[int]) -> list[str]:
        """Also where nobody is banned now: bans may be put into the sets later."""
        rules = []
        for version in versions:
            match = f"{_SOURCE[version]} @{set_name(policy.name, version)}"
            if _ranges(held.exempt, version):
                match = f"{_SOURCE[version]} != @{self._set(policy, 'exempt', held.exempt, version)} {match}"
            rules.append(self._refusing(match, f"{policy.id}: banned"))
        return rules

    def _set(self, policy: AcceptPolicy, option: str, texts: Sequence[str], version: int) -> str:
        name = f"{option}_{policy.name}_v{version}"
        if name not in self.sets:
            self.sets[name] = AddressSet(name, version, _ranges(texts, version))
        return name

    # What is to be said

    def _say_of_policy(self, policy: AcceptPolicy) -> None:
        options = policy.options
        if isinstance(options, IpAllowlistOptions):
            if UNIX in (*options.permit, *options.deny):
                self.notes.append(f'{where(policy)}: "unix" does not apply: no packet comes from a Unix socket')
        elif isinstance(options, HeldBans):
            self._say_of_bans(policy, options)
        elif options is None:
            self.wider.append(f"{where(policy)}: {_unknown(policy)}")

    def _say_of_bans(self, policy: AcceptPolicy, held: HeldBans) -> None:
        if held.unknown:
            self.wider.append(f"{where(policy)}: {held.unknown}")
        if held.bans:
            self.narrower.append(
                f"{where(policy)}: the time of a ban begins when the file is loaded, and one that the broker lifts "
                "stays until its time is over or the bans are loaded anew"
            )
        self.notes.append(
            f"{where(policy)}: {len(held.bans)} bans are in force now; whom the broker bans later comes through to it "
            "until the bans are loaded anew: --bans-only writes them alone"
        )


def _unknown(policy: AcceptPolicy) -> str:
    text = f"`{policy.use}` cannot be compiled; "
    if not policy.grants:
        return f"{text}what it denies comes through to the broker"
    if policy.final:
        return f"{text}it may permit anyone and is final, so all who reach it come through to the broker"
    return f"{text}it may permit anyone, so all whom no other policy denies come through to the broker"


def _match(host: str) -> tuple[bool, str]:
    """Whether an address to listen on is a single one, and the condition for it."""
    # A scope says by which interface a link-local address is reached; that address is nowhere else on this machine.
    address = unwrap(ip_address(host.partition("%")[0]))
    if not address.is_unspecified:
        return True, f"{'ip' if address.version == 4 else 'ip6'} daddr {address} "
    return False, "meta nfproto ipv4 " if address.version == 4 else ""


def _chain_name(position: int, listener: AcceptListener) -> str:
    return f"listener_{position}_{identifier(listener.name)}"
