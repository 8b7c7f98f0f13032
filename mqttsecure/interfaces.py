# -*- test-case-name: tests.test_interfaces -*-
"""The public plugin surface, version 1.

A policy package ships one :class:`IPolicyFactory` per policy, as a module-level object of a module in
``twisted/plugins/`` or of a single file in a ``[plugins] path`` folder. Nothing here runs on another thread than the
reactor's unless said so. ``docs/howto/write-a-policy.md`` has a complete one in under thirty lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from mqttsecure.core.decisions import (
    EVERY_TOPIC,
    NAMESPACE,
    Action,
    CapKeepAlive,
    CapQos,
    CapSessionExpiry,
    ConnectionFacts,
    Decision,
    Disconnect,
    Effect,
    Evidence,
    Meter,
    Obligation,
    Peer,
    Principal,
    Purpose,
    Request,
    Role,
    Source,
    Stage,
    Strike,
    Throttle,
    TlsFacts,
    Writer,
)
from mqttsecure.core.records import Batch, Highest, StoredEntry, StoredRetained, StoredSession
from mqttsecure.core.usage import Usage

__all__ = [
    "EVERY_TOPIC",
    "INTERFACE_VERSION",
    "NAMESPACE",
    "Action",
    "Advice",
    "CapKeepAlive",
    "CapQos",
    "CapSessionExpiry",
    "ConnectionFacts",
    "Decision",
    "Disconnect",
    "Effect",
    "Evidence",
    "Grant",
    "IAuthority",
    "IConnectionObserver",
    "IGrants",
    "IIdentities",
    "IPolicy",
    "IPolicyEnvironment",
    "IPolicyFactory",
    "IRetainedStore",
    "ISessionStore",
    "IStateKeeper",
    "IStrikeObserver",
    "IUsage",
    "KnownIdentity",
    "Meter",
    "NearRule",
    "Obligation",
    "Peer",
    "Principal",
    "Purpose",
    "Request",
    "Role",
    "Source",
    "Stage",
    "Strike",
    "Subject",
    "Throttle",
    "TlsFacts",
    "Usage",
    "Writer",
]

INTERFACE_VERSION: Final = 1


class IPolicyFactory(Interface):
    """Describes one kind of policy and builds its policies from ``[[policy]]`` tables."""

    interface_version = Attribute("int: the INTERFACE_VERSION this factory was written for; another is refused.")
    name = Attribute("str: what `use = ` names, in lower case with hyphens.")
    summary = Attribute("str: one line for listings.")
    stages = Attribute("Mapping[Stage, Role]: where it is asked, and whether it grants or only restricts there.")
    options = Attribute(
        "type[pydantic.BaseModel]: the keys of its table beyond id, use, on, timeout_ms, final, required."
    )
    attributes = Attribute(
        "Mapping[str, type]: the attributes its decisions may set; `namespace` (a str) puts the client into one."
    )

    def build(options: Any, environment: IPolicyEnvironment) -> IPolicy:
        """Build one policy.

        Args:
            options: an instance of ``self.options``, already validated.
            environment: an :class:`IPolicyEnvironment` for this one policy.

        Returns:
            A provider of :class:`IPolicy`, and where it wishes of :class:`IConnectionObserver`,
            :class:`IStrikeObserver` and :class:`IStateKeeper`.

        Raises:
            mqttsecure.errors.ConfigError: the options cannot be met (a missing file, a bad rule); the start or
                reload is refused. Each problem is one line with file and line, as
                ``environment.problem(option, text)`` makes it.
        """


class IPolicy(Interface):
    """Answers requests at the stages its factory declared.

    Where its answers depend on the request and its options alone it may say ``stateful = False``. Of any other,
    which counts, remembers or asks someone, `mqttsecure explain` and policy tests say that its answer is not known.
    """

    def decide(request: Request) -> Decision | Deferred[Decision]:
        """Answer one request.

        Must not block: what takes long returns a Deferred, which is cancelled when the connection ends or the
        time-out (``timeout_ms``) passes. Anything but a Decision, an exception, and a PERMIT from a restricting
        policy are enforced as a denial and counted.
        Only with ``request.purpose is Purpose.LIVE`` may it count, spend or strike.

        Args:
            request: a :class:`~mqttsecure.core.decisions.Request`.

        Returns:
            A :class:`~mqttsecure.core.decisions.Decision`, or a Deferred that fires with one.
        """


class IConnectionObserver(Interface):
    """A policy that must know when connections come and go. Calls are made for LIVE connections alone."""

    def connection_opened(connection: ConnectionFacts) -> None:
        """The ACCEPT stage has permitted this connection. ``connection`` is its ConnectionFacts."""

    def connection_authenticated(connection: ConnectionFacts) -> None:
        """CONNACK with success is about to be sent."""

    def connection_closed(connection: ConnectionFacts) -> None:
        """The connection has ended; called once for each ``connection_opened``."""


class IStrikeObserver(Interface):
    """A policy that acts on strikes, as one that bans. It hears of LIVE ones alone, each once."""

    def struck(connection: ConnectionFacts, weight: int, why: str) -> None:
        """Somebody did what strangers do who try to get in, or to do harm.

        Strikes come from the :class:`~mqttsecure.core.decisions.Strike` obligations of decisions at ACCEPT, HANDSHAKE,
        CONNECT and AUTHENTICATE, and from the broker for malformed packets, for what breaks the protocol and for
        connections that come and go too quickly. A denied PUBLISH, SUBSCRIBE or delivery never is one: a client with a
        wrong rule is no attacker.

        Args:
            connection: whose; without a principal nobody has proved to be the client that the facts name.
            weight: how much it counts.
            why: for the log.
        """


class IStateKeeper(Interface):
    """A policy whose memory outlives it: a reload puts another object in its place, a restart another process."""

    def inherit(previous: IPolicy) -> None:
        """Take over what the policy of the same id knows. Called when a reload is about to put this one in force.

        Either may be the one in force afterwards, so ``previous`` must work on as before.

        Args:
            previous: of the same class as this one.
        """

    def save() -> Deferred[None] | None:
        """The broker stops: write what is to be kept. The broker waits for the Deferred, for a while."""


class IAuthority(Interface):
    """A named identity source of the configuration (``[[authority]]``)."""

    name = Attribute("str: the part before the colon in its principals.")
    password_file = Attribute("pathlib.Path | None: its password file.")
    ca_certificates = Attribute("tuple[bytes, ...]: DER of its trust anchors.")
    crl_files = Attribute("tuple[pathlib.Path, ...]: its certificate revocation lists (PEM).")


class IUsage(Interface):
    """What the broker holds, and whose it is. Where no broker runs, as in `check`, it holds nothing."""

    def of(principal: Principal) -> Usage:
        """What a principal has. It takes time in proportion to the principal's sessions."""

    def has_session(principal: Principal, namespace: str, client_id: str) -> bool:
        """Whether that session is there, and the principal's."""

    def has_subscription(namespace: str, client_id: str, topic_filter: str) -> bool:
        """Whether that session has a subscription to that filter, as it was written in SUBSCRIBE."""

    def retained(namespace: str, topic: str) -> tuple[Principal, int] | None:
        """Whose the topic's retained message is, and how many bytes it counts; None where there is none."""


class IPolicyEnvironment(Interface):
    """What a policy may ask of the broker around it (the policy information point)."""

    policy_id = Attribute("str: the `id` of the table.")
    clock = Attribute("twisted.internet.interfaces.IReactorTime: monotonic seconds() and callLater().")
    log = Attribute("twisted.logger.Logger of this policy.")
    authorities = Attribute("Mapping[str, IAuthority]: by name.")
    listeners = Attribute("tuple[str, ...]: the listeners this policy is on.")
    usage = Attribute("IUsage: what the broker holds, and whose it is.")

    def wall_clock() -> datetime:
        """The time of day as a timezone-aware UTC datetime (for certificate dates and schedules)."""

    def random_bytes(count: int) -> bytes:
        """``count`` unpredictable bytes."""

    def resolve(path: str, *, written: bool = False) -> Path:
        """A pathlib.Path for a path written in the configuration: relative to the file that names it.

        Where the configuration asks for it, a change of that file has it read again. ``written`` is for a file that
        the policy itself writes, whose changes are no reason to.
        """

    def source(option: str | None = None, index: int | None = None) -> Source:
        """The Source (file, line) of this policy's table, of one of its keys, or of item ``index`` of a list key."""

    def problem(option: str | None, text: str, index: int | None = None) -> str:
        """One line for a ConfigError: file, line, policy id, key, and ``text``."""

    def defer_to_thread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run ``function`` in the broker's bounded worker pool.

        Returns:
            A Deferred of its result; it fails with ``mqttsecure.errors.QuotaExceeded`` at once where the pool's
            queue is full.
        """

    def request_rejudging(connection_ids: Iterable[int] | None = None) -> None:
        """Have live connections judged again (purpose RECHECK) because this policy now answers differently.

        It is done soon, never within the call, in slices. Harmless where nothing is running, as in `check`.

        Args:
            connection_ids: which connections; None for all of them and all sessions.
        """


# Introspection: optional. What does not provide it works as well, but nothing can be proved about it.


@dataclass(slots=True, frozen=True)
class Subject:
    """What is known of a client about which it is asked what it may do with all topics.

    A ``name`` of None is any name that no rule names; a ``client_id`` of None is any; ``open_attributes`` may have any
    value, and those neither there nor in ``attributes`` are missing.
    """

    authority: str
    name: str | None = None
    groups: frozenset[str] = frozenset()
    client_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    open_attributes: frozenset[str] = frozenset()


@dataclass(slots=True, frozen=True)
class Grant:
    """What one rule permits or denies one :class:`Subject`.

    ``topic_filter`` holds all topics that the rule may be about, "" where no filter can say which. ``may`` and ``must``
    have a bit for each ``qos * 2 + retain``: where the rule applies for some of the clients and messages that the
    subject stands for, and where it applies for each of them to each topic of the filter.
    """

    effect: Effect
    action: Action
    topic_filter: str
    may: int
    must: int
    rule: str = ""
    source: Source | None = None
    text: str = ""


@dataclass(slots=True, frozen=True)
class NearRule:
    """A rule that would almost have permitted a request: ``text`` is the rule, ``why`` what keeps it from doing so."""

    rule: str
    source: Source | None
    text: str
    why: str


@dataclass(slots=True, frozen=True)
class Advice:
    """What would make a policy permit a request that it did not.

    ``add`` is what to add to it, "" where adding does not help; ``remove`` are the rules that deny.
    """

    add: str = ""
    where: Source | None = None
    remove: tuple[NearRule, ...] = ()
    near: tuple[NearRule, ...] = ()


class IGrants(Interface):
    """A policy at PUBLISH, SUBSCRIBE or DELIVER that can say what it grants, and not only be asked."""

    def grants(subject: Subject) -> Sequence[Grant]:
        """All that it permits and denies one client. What is not in it, it has no opinion about.

        One DENY of it overrides all its PERMITs. It must be complete: what is proved is proved of this.
        """

    def names() -> Sequence[tuple[str, str | None, str]]:
        """Whom its rules name: ("user" or "group", authority or None for any, name)."""

    def advise(request: Request) -> Advice:
        """What would make it permit ``request``."""


@dataclass(slots=True, frozen=True)
class KnownIdentity:
    """A client that an identity policy may let in; a ``name`` of None is any, ``any_groups`` that more may come."""

    authority: str
    name: str | None = None
    groups: frozenset[str] = frozenset()
    any_groups: bool = False


class IIdentities(Interface):
    """A granting policy at AUTHENTICATE that can say whom it lets in, without being shown a secret."""

    def identities() -> Sequence[KnownIdentity]:
        """Everyone it may let in."""

    def decide_assuming(request: Request) -> Decision:
        """What ``decide`` would answer if the secret that the client showed with its user name were right."""


# Stores: where durable state lives. `mqttsecure.store.contract` has the tests that each must pass.


class ISessionStore(Interface):
    """Keeps what outlives the process. All methods are called on the reactor's thread and return without waiting.

    What is read reflects every batch that was given to :meth:`commit` before. A store that cannot write (a full disk,
    a file that became read-only, an error of the device) keeps the batch and tries again until it can, or is closed;
    meanwhile it says so by :attr:`on_problem` and :attr:`on_recovered`.
    """

    on_problem = Attribute("Callable[[str], None]: told, once each time, why nothing can be written at the moment.")
    on_recovered = Attribute("Callable[[], None]: told when it can be written again.")

    def open() -> None:
        """Make ready; may block, as it is called before the broker serves. A damaged store is put aside and mended.

        Raises:
            mqttsecure.errors.ConfigError: it may not be used: not ours to write, in use, or of a newer release.
        """

    def losses() -> Sequence[str]:
        """What :meth:`open`, or reading since, found damaged and could not be kept: a line each, for the log."""

    def commit(batch: Batch) -> Deferred[None]:
        """Write ``batch`` as one transaction, after all that were given before.

        Returns:
            A Deferred that fires when it is on disk, so that neither the end of this process nor a loss of power undoes
            it. It never fails; where the store is closed first it never fires.
        """

    def highest() -> Highest:
        """The highest keys and numbers in use. May block: for the start."""

    def load_sessions(after: int, limit: int) -> Sequence[StoredSession]:
        """The sessions whose key is above ``after``, by rising key, ``limit`` at most. May block: for the start."""

    def load_entries(session: int, after: int, limit: int, octets: int) -> Deferred[Sequence[StoredEntry]]:
        """The entries of a session whose number is above ``after``, by rising number.

        Args:
            session: its key.
            limit: how many at most.
            octets: stop after the entry with which they come to as much; one entry at least is given.
        """

    def load_incoming(session: int) -> Deferred[Sequence[int]]:
        """The Packet Identifiers of QoS 2 messages that the session has taken in and not released."""

    def close() -> Deferred[None]:
        """Write what was given to :meth:`commit`, give up what cannot be written, and let go of everything."""


class IRetainedStore(Interface):
    """Keeps retained messages; the same object as the :class:`ISessionStore`, as one transaction holds both."""

    def load_retained(after: tuple[str, str], limit: int) -> Sequence[StoredRetained]:
        """Retained messages of (namespace, topic) above ``after``, in that order. May block: for the start."""
