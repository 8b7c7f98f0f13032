# -*- test-case-name: tests.policy.builtin.test_ban -*-
"""``ban``: keeps out addresses that do harm, and has clients wait that fail to log in.

Strikes count first against a client at an address: its user name there, or its Client Identifier. Above the threshold
that client, from that address, has to wait before it is heard again, longer each time. Only an address from which
nobody has logged in is banned as a whole. So whoever guesses at a name locks nobody out who uses it from elsewhere, and
one bad device behind a gateway leaves the others alone. Names are never banned here: ``block-list`` is for those.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mqttsecure.core.decisions import ConnectionFacts, Decision, Peer, Purpose, Request, Role, Source, Stage
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IConnectionObserver,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    IStateKeeper,
    IStrikeObserver,
)
from mqttsecure.policy.builtin.ban_options import BanOptions, BanOverride, limits_of
from mqttsecure.policy.builtin.ban_table import Ban, BanTable, Network
from mqttsecure.policy.builtin.known_good import KnownGood
from mqttsecure.policy.builtin.networks import EVERYWHERE, UNIX, NetworkTable, parse_network, unwrap
from mqttsecure.policy.builtin.options import Problems
from mqttsecure.policy.builtin.state_file import Damaged, StateFile
from mqttsecure.policy.builtin.strike_counts import (
    AddressKey,
    ClientKey,
    StrikeCounts,
    StrikeLimits,
    address_key,
    network_of,
)
from mqttsecure.wire.constants import ReasonCode

__all__ = ["BanFactory", "BanPolicy", "banned_network"]

_NOT_BANNED: Final = Decision.abstain(text="not banned")
_MAY_TRY: Final = Decision.abstain(text="need not wait")

_HEAVIEST: Final = 100
"""A strike counts for no more: a policy's mistake is not to ban for a day what an error would for a minute."""


@implementer(IPolicy, IConnectionObserver, IStrikeObserver, IStateKeeper)
class BanPolicy:
    """Denies what is banned at ACCEPT, and at CONNECT who has to wait; never grants."""

    stateful = True

    def __init__(
        self,
        limits: StrikeLimits,
        overrides: NetworkTable[StrikeLimits],
        exempt: NetworkTable[bool],
        longest_ban: float,
        path: Path | None,
        environment: IPolicyEnvironment,
    ) -> None:
        self._limits = limits
        self._overrides = overrides
        self._exempt = exempt
        self._longest_ban = longest_ban
        self._environment = environment
        self._source: Source = environment.source()
        self._counts = StrikeCounts()
        self._bans = BanTable()
        self._good = KnownGood()
        self._open: dict[AddressKey, dict[int, ConnectionFacts]] = {}
        self._file = None if path is None else StateFile(path, environment, self._document)
        self.warnings: tuple[str, ...] = ()

    # -- decisions -----------------------------------------------------------------------------------------------

    def decide(self, request: Request) -> Decision:
        """DENY who is banned or has to wait, ABSTAIN on any other."""
        if request.stage is Stage.ACCEPT:
            return self._accept(request)
        # Whoever is in had not to wait when it came.
        return _MAY_TRY if request.purpose is Purpose.RECHECK else self._connect(request)

    def _accept(self, request: Request) -> Decision:
        ban = self._ban_of(request.connection, request.now)
        if ban is None:
            return _NOT_BANNED
        return Decision.deny(
            "by_hand" if ban.by_hand else "banned",
            f"the address is banned {_until(ban, request.now)}: {ban.why}{f' ({ban.note})' if ban.note else ''}",
            source=self._source,
            reason_code=ReasonCode.BANNED,
        )

    def _ban_of(self, connection: ConnectionFacts, now: float) -> Ban | None:
        ban = self._bans.find(connection.peer, now)
        return None if ban is None or self._exempt.find(connection.peer) else ban

    def _connect(self, request: Request) -> Decision:
        connection, now = request.connection, request.now
        key = address_key(connection.peer)
        seconds = self._wait(key, connection, now)
        if seconds <= 0 or self._exempt.find(connection.peer):
            return _MAY_TRY
        if request.purpose is Purpose.LIVE:
            # It was told to wait. That is held against the address alone, or a name's owner would wait for others.
            self._strike_address(key, connection, 1, "does not wait after wrong attempts", now)
        return Decision.deny(
            "wait",
            f"it failed too often from this address and has to wait for {seconds:.0f} s",
            source=self._source,
            reason_code=ReasonCode.CONNECTION_RATE_EXCEEDED,
        )

    def _wait(self, key: AddressKey, connection: ConnectionFacts, now: float) -> float:
        name, client_id = connection.username, connection.client_id
        seconds = self._counts.wait(key, (name, client_id), now) if client_id else 0.0
        if name is not None and not self._is_good_client(key, connection, now):
            seconds = max(seconds, self._counts.wait(key, (name, None), now))
        return seconds

    def _is_good_client(self, key: AddressKey, connection: ConnectionFacts, now: float) -> bool:
        """Whether this device has logged in from there lately: another one's wrong password is not its doing."""
        client = (connection.username, connection.client_id)
        return self._good.has_client(key, client, now - self._limits_of(connection).window)

    # -- strikes -------------------------------------------------------------------------------------------------

    def struck(self, connection: ConnectionFacts, weight: int, why: str) -> None:
        if self._exempt.find(connection.peer):
            return
        now = self._environment.clock.seconds()
        key, limits, weight = address_key(connection.peer), self._limits_of(connection), min(weight, _HEAVIEST)
        for client in self._clients_of(key, connection, now):
            self._counts.strike_client(key, client, weight, limits, now)
        self._strike_address(key, connection, weight, why, now)

    def _clients_of(self, key: AddressKey, connection: ConnectionFacts, now: float) -> list[ClientKey]:
        """Which clients a strike is about."""
        name, client_id = connection.username, connection.client_id
        if connection.principal is not None or name is None:
            # Of a user with many devices it is about the one.
            return [(name, client_id)] if client_id else []
        if client_id and self._is_good_client(key, connection, now):
            # A device that need not wait for its user's sake still has to for its own.
            return [(name, None), (name, client_id)]
        return [(name, None)]

    def _strike_address(self, key: AddressKey, connection: ConnectionFacts, weight: int, why: str, now: float) -> None:
        limits = self._limits_of(connection)
        if connection.peer.address is None:
            return  # a Unix socket's peers have no address that could be banned
        strikes = self._counts.strike_address(key, weight, limits, now)
        if strikes < limits.address_threshold or self._good.has_address(key, now - limits.window):
            return
        ban = self._bans.find(connection.peer, now)
        if ban is not None:
            return  # what came in before is still being told
        self._counts.clear_address(key)
        ban = self._bans.ban(key, why, limits, now)
        self._environment.log.warn(
            "{address} is banned {until}: {why}", address=str(network_of(key)), until=_until(ban, now), why=why
        )
        self._changed(list(self._open.get(key, ())))

    def _limits_of(self, connection: ConnectionFacts) -> StrikeLimits:
        return self._overrides.find(connection.peer) or self._limits

    def _changed(self, connections: list[int]) -> None:
        """Bans have changed: those connections are to be judged again, and the file is to be written."""
        if connections:
            self._environment.request_rejudging(connections)
        if self._file is not None:
            self._file.changed()

    # -- connections ---------------------------------------------------------------------------------------------

    def connection_opened(self, connection: ConnectionFacts) -> None:
        key = address_key(connection.peer)
        self._open.setdefault(key, {})[connection.connection_id] = connection
        if self._ban_of(connection, self._environment.clock.seconds()) is not None:
            # Banned while another policy was still being asked.
            self._environment.request_rejudging([connection.connection_id])

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        if connection.principal is not None and connection.principal.shared:  # an anonymous client has proved nothing
            client = (connection.username, connection.client_id)
            self._good.came(connection.connection_id, address_key(connection.peer), client)

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self._good.went(connection.connection_id, self._environment.clock.seconds())
        key = address_key(connection.peer)
        connections = self._open.get(key, {})
        connections.pop(connection.connection_id, None)
        if not connections:
            self._open.pop(key, None)

    # -- memory --------------------------------------------------------------------------------------------------

    def inherit(self, previous: Any) -> None:
        if not isinstance(previous, BanPolicy):
            raise TypeError(f"{type(previous).__name__} is no BanPolicy")
        # Shared, not copied: whichever of the two goes on knows all of it.
        self._counts, self._bans = previous._counts, previous._bans
        self._good.remember_as(previous._good)
        mine, theirs = self._file, previous._file
        if mine is not None and theirs is not None and mine.path == theirs.path:
            self._file = theirs  # so that two never write at the same time
            if mine.is_kept_aside:
                theirs.keep_aside()
        elif mine is not None:
            mine.changed()

    def save(self) -> Deferred[None] | None:
        return None if self._file is None else self._file.save()

    def _document(self) -> dict[str, Any]:
        now, wall = self._environment.clock.seconds(), self._environment.wall_clock()
        return {"version": 1, "bans": self._bans.document(now, wall, self._longest_ban)}

    def restore(self) -> str | None:
        """Read the file, if there is one; what is wrong with what it holds.

        Raises:
            ConfigError: it must not be used at all.
        """
        if self._file is None:
            return None
        try:
            document = self._file.read()
            if document is not None:
                self._restore_document(document)
        except Damaged as error:
            problem = str(error)
        except (ValueError, OverflowError) as error:
            problem = f"{self._file.path} is damaged: {error}"
        else:
            return None
        aside = self._file.keep_aside()
        return f"{problem}; there are no bans to begin with, and it will be kept as {aside}"

    def _restore_document(self, document: object) -> None:
        if not isinstance(document, dict) or document.get("version") != 1:
            raise ValueError("it must be an object of version 1")
        wall: datetime = self._environment.wall_clock()
        now = self._environment.clock.seconds()
        self._bans.restore(document.get("bans"), now, wall, self._longest_ban)

    # -- by hand -------------------------------------------------------------------------------------------------

    def ban_by_hand(self, network: Network, seconds: float | None, note: str) -> Deferred[None] | None:
        """Ban a prefix, as :func:`banned_network` reads it; live connections from it end within a moment.

        Returns:
            A Deferred that fires when that will survive a restart, None where nothing does.

        Raises:
            ConfigError: it cannot be banned.
        """
        if network.num_addresses == 1 and self._exempt.find(Peer(network.network_address)):
            raise ConfigError(f"{network} is exempt from bans by policy {self._environment.policy_id!r}")
        try:
            self._bans.ban_by_hand(network, seconds, note, self._environment.clock.seconds())
        except ValueError as error:
            raise ConfigError(str(error)) from error
        concerned = [
            connection_id
            for connections in self._open.values()
            for connection_id, facts in connections.items()
            if facts.peer.address is not None and unwrap(facts.peer.address) in network
        ]
        if concerned:
            self._environment.request_rejudging(concerned)
        return None if self._file is None else self._file.flush()

    def lift(self, network: Network) -> tuple[int, Deferred[None] | None]:
        """Lift all bans of a prefix and of what is under it, and forget the strikes of one address.

        Returns:
            How much there was to lift, and a Deferred as of :meth:`ban_by_hand`.
        """
        lifted = self._bans.lift(network)
        if network.prefixlen == (32 if network.version == 4 else 64):
            lifted += self._counts.forget(address_key(Peer(network.network_address)))
        return lifted, None if self._file is None or not lifted else self._file.flush()

    def listed(self) -> dict[str, list[dict[str, Any]]]:
        """The bans in force and the clients that have to wait."""
        now = self._environment.clock.seconds()
        wall: datetime = self._environment.wall_clock()
        bans = self._bans.document(now, wall, 0.0)
        waiting = [
            {
                "address": str(network_of(key)) if key[0] else f"unix:{key[1]}",
                "username": client[0],
                "client_id": client[1],
                "seconds_left": round(seconds, 1),
            }
            for key, client, seconds in self._counts.waiting(now)
        ]
        return {"bans": bans, "waiting": waiting}

    def prefixes(self) -> dict[Network, float | None]:
        """The prefixes that are banned now, and for how many seconds more; None for one that has no end."""
        now = self._environment.clock.seconds()
        found: dict[Network, float | None] = {}
        for network, ban in self._bans:
            if ban.holds(now):
                left = None if ban.until is None else ban.until - now
                before = found.get(network, 0.0)
                found[network] = None if left is None or before is None else max(left, before)
        return found


def banned_network(text: str) -> Network:
    """The prefix that is meant by an address or prefix: one IPv6 address stands for its /64.

    Raises:
        ValueError: it is neither.
    """
    network = parse_network(text)
    return network.supernet(new_prefix=64) if network.version == 6 and network.prefixlen > 64 else network


def _until(ban: Ban, now: float) -> str:
    return "until the ban is lifted" if ban.until is None else f"for {ban.until - now:.0f} s"


@implementer(IPolicyFactory)
class BanFactory:
    """Builds :class:`BanPolicy`."""

    interface_version = INTERFACE_VERSION
    name = "ban"
    summary = "keeps out addresses that do harm, and has clients wait that fail to log in"
    stages: Mapping[Stage, Role] = {Stage.ACCEPT: Role.RESTRICTS, Stage.CONNECT: Role.RESTRICTS}
    options = BanOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: BanOptions, environment: IPolicyEnvironment) -> BanPolicy:
        problems = Problems(environment)
        known: dict[object, int] = {}
        for index, override in enumerate(options.overrides):
            network = problems.attempt("overrides", parse_network, override.prefix, index)
            if network is not None and known.setdefault(network, index) != index:
                same = options.overrides[known[network]].prefix
                problems.add("overrides", f"{override.prefix!r} is the same prefix as {same!r}; keep one", index)
        for index, text in enumerate(options.exempt):
            if text != UNIX:
                problems.attempt("exempt", parse_network, text, index)
        path = None
        if options.file is not None:
            try:
                path = environment.resolve(options.file, written=True)
            except ConfigError as error:
                problems.add_error("file", error)
        problems.done()
        everywhere = BanOverride(prefix=EVERYWHERE)
        longest = max(limits_of(options, each).longest_ban for each in [everywhere, *options.overrides])
        overrides = {each.prefix: limits_of(options, each) for each in options.overrides}
        exempt = dict.fromkeys(options.exempt, True)
        own = limits_of(options, everywhere)
        policy = BanPolicy(own, NetworkTable(overrides), NetworkTable(exempt), longest, path, environment)
        try:
            damage = policy.restore()
        except ConfigError as error:
            problems.add_error("file", error)
            problems.done()
        else:
            policy.warnings = () if damage is None else (damage,)
        return policy
