# -*- test-case-name: tests.policy.builtin.test_connection_limit -*-
"""``connection-limit``: how many connections an address and its neighbourhood may have, and how fast they may come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import ConnectionFacts, Decision, Peer, Purpose, Request, Role, Source, Stage
from mqttsecure.interfaces import INTERFACE_VERSION, IConnectionObserver, IPolicy, IPolicyEnvironment, IPolicyFactory
from mqttsecure.policy.builtin.networks import EVERYWHERE, UNIX, NetworkTable, parse_network, unwrap
from mqttsecure.policy.builtin.options import PolicyOptions, Problems, parse_rate
from mqttsecure.policy.builtin.token_bucket import BucketTable, TokenBucket
from mqttsecure.wire.constants import ReasonCode

__all__ = ["ConnectionLimit", "ConnectionLimitFactory", "ConnectionLimitOptions", "Override"]

MAXIMUM_BUCKETS: Final = 65_536
"""Addresses whose rate is remembered, beside those that share one bucket: about 20 MB at most. At the default burst and
rate a bucket is full again, and may be forgotten, after four seconds, so it takes over 16,000 new addresses a second
to fill the table; a machine that lets in so many has other troubles first."""

_IN_BOUNDS: Final = Decision.abstain(text="within the limits")


class Override(PolicyOptions):
    """Other limits for one prefix; a key that is not given keeps the policy's own value."""

    prefix: str = Field(description='Address or prefix, or "unix".', examples=["10.0.0.0/8"])
    per_address: int | None = Field(default=None, ge=1, description="In place of `per_address`.", examples=[5000])
    per_prefix: int | None = Field(default=None, ge=1, description="In place of `per_prefix`.", examples=[20000])
    unauthenticated: int | None = Field(
        default=None, ge=1, description="In place of `unauthenticated`.", examples=[500]
    )
    rate: str | None = Field(default=None, description="In place of `rate`.", examples=["2000/second"])
    burst: int | None = Field(default=None, ge=1, description="In place of `burst`.", examples=[5000])


class ConnectionLimitOptions(PolicyOptions):
    """Options of ``connection-limit``."""

    per_address: int = Field(default=100, ge=1, description="Connections from one address at a time.", examples=[500])
    per_prefix: int = Field(
        default=400,
        ge=1,
        description="Connections from one IPv4 /24 or IPv6 /64 at a time: whoever has one IPv6 address has a /64.",
        examples=[2000],
    )
    unauthenticated: int = Field(
        default=20, ge=1, description="Of those per address, how many may not yet be authenticated.", examples=[50]
    )
    total_unauthenticated: int = Field(
        default=2000,
        ge=1,
        description="Connections not yet authenticated, from everywhere: at 64 KiB of CONNECT each, 125 MiB.",
        examples=[500],
    )
    rate: str = Field(
        default="50/second",
        description="New connections from one IPv4 address or IPv6 /64, in the long run.",
        examples=["10/second"],
    )
    burst: int = Field(default=200, ge=1, description="New connections that may come at once.", examples=[50])
    overrides: list[Override] = Field(
        default=[],
        description="Other limits for known prefixes, as for many clients behind one NAT; the longest prefix wins.",
        examples=[[{"prefix": "10.0.0.0/8", "per_address": 5000, "unauthenticated": 500}]],
    )


@dataclass(slots=True)
class _Limits:
    """The limits that hold for one peer, where they stand, and the buckets of those under them."""

    rule: str
    source: Source
    per_address: int
    per_prefix: int
    unauthenticated: int
    buckets: BucketTable[TokenBucket]

    def refuse(self, name: str, text: str, reason_code: int = ReasonCode.QUOTA_EXCEEDED) -> Decision:
        return Decision.deny(f"{self.rule}{name}", text, source=self.source, reason_code=reason_code)


class _Keys(NamedTuple):
    """What a peer is counted under."""

    address: Hashable
    prefix: Hashable
    rate: Hashable


@dataclass(slots=True)
class _Opened:
    """An open connection."""

    address: Hashable
    prefix: Hashable
    authenticated: bool = False


@implementer(IPolicy, IConnectionObserver)
class ConnectionLimit:
    """Counts open connections by address and prefix; never grants.

    The counters hold an entry for each address with an open connection and no other, so the broker's
    ``maximum_connections`` bounds them.
    """

    stateful = True

    def __init__(self, limits: _Limits, overrides: NetworkTable[_Limits], total_unauthenticated: int) -> None:
        self._limits = limits
        self._overrides = overrides
        self._total_unauthenticated = total_unauthenticated
        self._opened: dict[int, _Opened] = {}
        self._by_address: Counter[Hashable] = Counter()
        self._by_prefix: Counter[Hashable] = Counter()
        self._unauthenticated: Counter[Hashable] = Counter()
        self._strangers = 0

    def decide(self, request: Request) -> Decision:
        """DENY a connection above a limit, else ABSTAIN; a connection that is already counted stays."""
        if request.purpose is Purpose.RECHECK:
            return _IN_BOUNDS
        peer = request.connection.peer
        limits = self._overrides.find(peer) or self._limits
        keys = _keys(peer)
        return self._full(limits, keys) or self._rate(limits, keys, request) or _IN_BOUNDS

    def _full(self, limits: _Limits, keys: _Keys) -> Decision | None:
        address, prefix = keys.address, keys.prefix
        if self._by_address[address] >= limits.per_address:
            return limits.refuse("per_address", f"{address} has {limits.per_address} connections")
        if self._by_prefix[prefix] >= limits.per_prefix:
            return limits.refuse("per_prefix", f"the prefix of {address} has {limits.per_prefix} connections")
        if self._unauthenticated[address] >= limits.unauthenticated:
            text = f"{address} has {limits.unauthenticated} connections not yet authenticated"
            return limits.refuse("unauthenticated", text)
        if self._strangers >= self._total_unauthenticated:
            text = f"{self._total_unauthenticated} connections are not yet authenticated"
            return self._limits.refuse("total_unauthenticated", text)
        return None

    @staticmethod
    def _rate(limits: _Limits, keys: _Keys, request: Request) -> Decision | None:
        if request.purpose is Purpose.LIVE:
            allowed = limits.buckets.get(keys.rate, request.now).take(request.now)
        else:
            bucket = limits.buckets.find(keys.rate)
            allowed = bucket is None or bucket.has(request.now)
        if allowed:
            return None
        return limits.refuse("rate", f"{keys.address} connects too often", ReasonCode.CONNECTION_RATE_EXCEEDED)

    def connection_opened(self, connection: ConnectionFacts) -> None:
        if connection.connection_id in self._opened:
            return
        address, prefix, _ = _keys(connection.peer)
        self._opened[connection.connection_id] = _Opened(address, prefix)
        self._by_address[address] += 1
        self._by_prefix[prefix] += 1
        self._unauthenticated[address] += 1
        self._strangers += 1

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        opened = self._opened.get(connection.connection_id)
        if opened is not None and not opened.authenticated:
            opened.authenticated = True
            self._strangers -= 1
            _give_back(self._unauthenticated, opened.address)

    def connection_closed(self, connection: ConnectionFacts) -> None:
        opened = self._opened.pop(connection.connection_id, None)
        if opened is None:
            return
        _give_back(self._by_address, opened.address)
        _give_back(self._by_prefix, opened.prefix)
        if not opened.authenticated:
            self._strangers -= 1
            _give_back(self._unauthenticated, opened.address)


def _keys(peer: Peer) -> _Keys:
    if peer.address is None:
        return _Keys(UNIX, UNIX, UNIX)
    address = unwrap(peer.address)
    if address.version == 4:
        return _Keys(address, (4, int(address) >> 8), address)
    prefix = (6, int(address) >> 64)
    # An IPv6 host picks addresses in its /64 as it likes, so its rate is that of the /64.
    return _Keys(address, prefix, prefix)


def _give_back(counter: Counter[Hashable], key: Hashable) -> None:
    if counter[key] <= 1:
        del counter[key]
    else:
        counter[key] -= 1


@implementer(IPolicyFactory)
class ConnectionLimitFactory:
    """Builds :class:`ConnectionLimit`."""

    interface_version = INTERFACE_VERSION
    name = "connection-limit"
    summary = "how many connections an address may have, and how fast they may come"
    stages: Mapping[Stage, Role] = {Stage.ACCEPT: Role.RESTRICTS}
    options = ConnectionLimitOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: ConnectionLimitOptions, environment: IPolicyEnvironment) -> ConnectionLimit:
        problems = Problems(environment)
        problems.attempt("rate", parse_rate, options.rate)
        known: dict[object, int] = {}
        for index, override in enumerate(options.overrides):
            network: object = override.prefix
            if override.prefix not in (EVERYWHERE, UNIX):
                network = problems.attempt("overrides", parse_network, override.prefix, index)
            if network is not None and known.setdefault(network, index) != index:
                same = options.overrides[known[network]].prefix
                text = f"{override.prefix!r} is the same prefix as {same!r}; keep one of them"
                problems.add("overrides", text, index)
            if override.rate is not None:
                problems.attempt("overrides", parse_rate, override.rate, index)
        problems.done()
        overrides = {
            override.prefix: _limits(options, override, f"overrides[{index}].", environment.source("overrides", index))
            for index, override in enumerate(options.overrides)
        }
        own = _limits(options, Override(prefix=EVERYWHERE), "", environment.source())
        return ConnectionLimit(own, NetworkTable(overrides), options.total_unauthenticated)


def _limits(options: ConnectionLimitOptions, override: Override, rule: str, source: Source) -> _Limits:
    amount, seconds = parse_rate(override.rate or options.rate)
    burst = override.burst or options.burst
    return _Limits(
        rule,
        source,
        override.per_address or options.per_address,
        override.per_prefix or options.per_prefix,
        override.unauthenticated or options.unauthenticated,
        BucketTable(partial(TokenBucket, amount / seconds, burst), MAXIMUM_BUCKETS),
    )
