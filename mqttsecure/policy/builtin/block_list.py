# -*- test-case-name: tests.policy.builtin.test_block_list -*-
"""``block-list``: users and Client Identifiers that are kept out by hand, until somebody lets them in again.

Nothing is ever blocked by itself: who could have that done by guessing could shut out others. Addresses are banned by
the policy ``ban``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from pydantic import Field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mqttsecure.core.decisions import ConnectionFacts, Decision, Principal, Purpose, Request, Role, Source, Stage
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IConnectionObserver,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    IStateKeeper,
)
from mqttsecure.policy.builtin.ban_table import moment, parse_moment
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.policy.builtin.state_file import Damaged, StateFile
from mqttsecure.wire.constants import ReasonCode

__all__ = ["CLIENT", "USER", "Block", "BlockList", "BlockListFactory", "BlockListOptions"]

USER: Final = "user"
"""A principal, written authority:name."""

CLIENT: Final = "client"
"""A Client Identifier."""

_KINDS: Final = (USER, CLIENT)

MAXIMUM_BLOCKS: Final = 10_000
"""More names than a person looks after: remove the users from their authority instead, or revoke the certificates."""

_LONGEST_NAME: Final = 65_535
"""Bytes: as long as a Client Identifier or user name can be."""

_Key: TypeAlias = tuple[str, str]

_NOT_BLOCKED: Final = Decision.abstain(text="not blocked")


class BlockListOptions(PolicyOptions):
    """Options of ``block-list``."""

    file: str = Field(
        description="Where blocked names are kept. The broker writes it; there is none before the first is blocked.",
        examples=["/var/lib/mqttsecure/blocked.json"],
    )


@dataclass(slots=True, frozen=True)
class Block:
    """One blocked name; ``until`` is None for one without end. Times are monotonic seconds."""

    since: float
    until: float | None
    note: str = ""

    def holds(self, now: float) -> bool:
        """Whether it is in force."""
        return self.until is None or now < self.until


@implementer(IPolicy, IConnectionObserver, IStateKeeper)
class BlockList:
    """Denies blocked Client Identifiers at CONNECT, and blocked users at AUTHENTICATE; never grants."""

    stateful = False  # a check that reads the same file has the same answer

    def __init__(self, options: BlockListOptions, environment: IPolicyEnvironment) -> None:
        self._environment = environment
        self._source: Source = environment.source()
        self._blocks: dict[_Key, Block] = {}
        self._connected: dict[int, ConnectionFacts] = {}
        self._file = StateFile(environment.resolve(options.file, written=True), environment, self._document)

    # -- decisions -----------------------------------------------------------------------------------------------

    def decide(self, request: Request) -> Decision:
        """DENY whoever is blocked, ABSTAIN on any other."""
        connection, now = request.connection, request.now
        # Asked again at AUTHENTICATE: an identifier that the broker chose was not there at CONNECT.
        if self._is_blocked((CLIENT, connection.client_id), now):
            return self._deny(CLIENT, "the Client Identifier is blocked", (CLIENT, connection.client_id))
        if request.stage is not Stage.AUTHENTICATE:
            return _NOT_BLOCKED
        principal = request.exchange.get("principal", connection.principal)
        if not isinstance(principal, Principal):
            if request.purpose is Purpose.RECHECK:
                return _NOT_BLOCKED  # nobody vouches for it any more, so it ends whatever is said here
            return Decision.deny(
                USER,
                "no policy above has authenticated the client (block-list has to stand behind the identity policies)",
                source=self._source,
            )
        if self._is_blocked((USER, str(principal)), now):
            return self._deny(USER, f"{principal} is blocked", (USER, str(principal)))
        return _NOT_BLOCKED

    def _is_blocked(self, key: _Key, now: float) -> bool:
        block = self._blocks.get(key)
        return block is not None and block.holds(now)

    def _deny(self, rule: str, text: str, key: _Key) -> Decision:
        note = self._blocks[key].note
        return Decision.deny(
            rule, f"{text} ({note})" if note else text, source=self._source, reason_code=ReasonCode.BANNED
        )

    # -- connections ---------------------------------------------------------------------------------------------

    def connection_opened(self, connection: ConnectionFacts) -> None:
        """Who it is will be known when it is authenticated."""

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        self._connected[connection.connection_id] = connection
        now = self._environment.clock.seconds()
        if any(self._is_blocked(key, now) for key in _keys_of(connection)):
            # Blocked while another policy was still being asked.
            self._environment.request_rejudging([connection.connection_id])

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self._connected.pop(connection.connection_id, None)

    # -- by hand -------------------------------------------------------------------------------------------------

    def block(self, kind: str, name: str, seconds: float | None, note: str) -> tuple[int, Deferred[None]]:
        """Block a user or a Client Identifier.

        Returns:
            How many live connections end within a moment, and a Deferred that fires when the block will survive a
            restart, or fails with a ConfigError.

        Raises:
            ConfigError: it cannot be blocked.
        """
        key = (kind, name)
        now = self._environment.clock.seconds()
        if key not in self._blocks and len(self._blocks) >= MAXIMUM_BLOCKS:
            raise ConfigError(f"{MAXIMUM_BLOCKS} names are blocked already; unblock some, or take the users away")
        self._blocks[key] = Block(now, None if seconds is None else now + seconds, note)
        concerned = [number for number, facts in self._connected.items() if key in _keys_of(facts)]
        if concerned:
            self._environment.request_rejudging(concerned)
        return len(concerned), self._file.flush()

    def unblock(self, kind: str, name: str) -> Deferred[None] | None:
        """Let a name in again; None where it is not blocked, else a Deferred as of :meth:`block`."""
        if self._blocks.pop((kind, name), None) is None:
            return None
        return self._file.flush()

    def listed(self) -> list[dict[str, Any]]:
        """All that are blocked."""
        now = self._environment.clock.seconds()
        wall: datetime = self._environment.wall_clock()
        return [
            {
                "kind": kind,
                "name": name,
                "since": moment(block.since, now, wall),
                "until": moment(block.until, now, wall),
                "note": block.note,
            }
            for (kind, name), block in self._blocks.items()
            if block.holds(now)
        ]

    # -- memory --------------------------------------------------------------------------------------------------

    def inherit(self, previous: Any) -> None:
        if not isinstance(previous, BlockList):
            raise TypeError(f"{type(previous).__name__} is no BlockList")
        if previous._file.path == self._file.path:
            # What is in force, and not what the file held when it was read; and never two writers at a time.
            self._blocks, self._file = previous._blocks, previous._file
        else:
            self._blocks = {**previous._blocks, **self._blocks}
            self._file.changed()

    def save(self) -> Deferred[None] | None:
        saving: Deferred[None] | None = self._file.save()
        return saving

    def _document(self) -> dict[str, Any]:
        return {"version": 1, "blocked": self.listed()}

    def restore(self) -> None:
        """Read the file, if there is one.

        Raises:
            ConfigError: it cannot be used: to go on without it would let in whom somebody wanted to be kept out.
        """
        try:
            document = self._file.read()
            if document is not None:
                self._blocks = self._read(document)
        except Damaged as error:
            raise ConfigError(f"{error}; {_MEND}") from error
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{self._file.path} is damaged: {error}; {_MEND}") from error

    def _read(self, document: object) -> dict[_Key, Block]:
        if not isinstance(document, dict) or document.get("version") != 1:
            raise ValueError("it must be an object of version 1")
        entries = document.get("blocked")
        if not isinstance(entries, list) or len(entries) > MAXIMUM_BLOCKS:
            raise ValueError("`blocked` must be a list, and not a longer one than the broker writes")
        now, wall = self._environment.clock.seconds(), self._environment.wall_clock()
        return dict(_entry(each, now, wall) for each in entries)


_MEND: Final = "bring back a copy, or remove it to begin with nobody blocked"


def _keys_of(connection: ConnectionFacts) -> tuple[_Key, _Key]:
    return (USER, str(connection.principal)), (CLIENT, connection.client_id)


def _entry(entry: object, now: float, wall: datetime) -> tuple[_Key, Block]:
    if not isinstance(entry, dict):
        raise ValueError("each entry must be an object")
    kind, name, note = entry.get("kind"), entry.get("name"), entry.get("note")
    if kind not in _KINDS or not isinstance(name, str) or not isinstance(note, str):
        raise ValueError(f"each entry must have a kind ({' or '.join(_KINDS)}), a name and a note")
    if not 0 < len(name) <= 2 * _LONGEST_NAME:
        raise ValueError("a name has 1 to 65,535 bytes")
    since = parse_moment(entry.get("since"), now, wall)
    return (str(kind), name), Block(now if since is None else since, parse_moment(entry.get("until"), now, wall), note)


@implementer(IPolicyFactory)
class BlockListFactory:
    """Builds :class:`BlockList`."""

    interface_version = INTERFACE_VERSION
    name = "block-list"
    summary = "users and Client Identifiers that are kept out by hand"
    stages: Mapping[Stage, Role] = {Stage.CONNECT: Role.RESTRICTS, Stage.AUTHENTICATE: Role.RESTRICTS}
    options = BlockListOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: BlockListOptions, environment: IPolicyEnvironment) -> BlockList:
        problems = Problems(environment)
        try:
            policy = BlockList(options, environment)
            policy.restore()
        except ConfigError as error:
            problems.add_error("file", error)
            problems.done()
            raise
        return policy
