# -*- test-case-name: tests.core.test_decisions -*-
"""What is asked of the policy chain, and what it may answer.

A :class:`Request` names one thing that someone wants to do at one :class:`Stage`. Each policy answers with a
:class:`Decision`; the chain folds them into a :class:`Verdict`, or a :class:`Pending` one that comes later.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Protocol, TypeAlias

from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Properties, Will

__all__ = [
    "ANONYMOUS_AUTHORITY",
    "BROKER_PRINCIPAL",
    "EVERY_TOPIC",
    "NAMESPACE",
    "Action",
    "CapKeepAlive",
    "CapQos",
    "CapSessionExpiry",
    "ConnectionFacts",
    "Decide",
    "Decision",
    "Disconnect",
    "Effect",
    "Evidence",
    "Meter",
    "Obligation",
    "Peer",
    "Pending",
    "Principal",
    "Purpose",
    "Request",
    "Role",
    "Source",
    "Stage",
    "Strike",
    "Throttle",
    "TlsFacts",
    "Verdict",
    "Writer",
    "namespace_fault",
]


class Stage(enum.Enum):
    """The points at which the chain is asked, in the order in which a connection and its messages meet them."""

    ACCEPT = "ACCEPT"
    HANDSHAKE = "HANDSHAKE"
    CONNECT = "CONNECT"
    AUTHENTICATE = "AUTHENTICATE"
    PUBLISH = "PUBLISH"
    SUBSCRIBE = "SUBSCRIBE"
    DELIVER = "DELIVER"


class Role(enum.Enum):
    """Whether a policy may permit at a stage, or can only restrict what others permit."""

    GRANTS = "grants"
    RESTRICTS = "restricts"


class Effect(enum.Enum):
    """A policy's word. CHALLENGE, at AUTHENTICATE only, asks the client for the next step of an AUTH exchange."""

    PERMIT = "permit"
    DENY = "deny"
    ABSTAIN = "abstain"
    CHALLENGE = "challenge"


class Purpose(enum.Enum):
    """Why the chain is asked. Only LIVE counts, spends, strikes or bans."""

    LIVE = "live"
    RECHECK = "recheck"
    EXPLAIN = "explain"
    SHADOW = "shadow"
    TEST = "test"


class Action(enum.Enum):
    """The words of the rule language for what is done to a topic."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    RECEIVE = "receive"


@dataclass(slots=True, frozen=True)
class Source:
    """Where in the configuration a policy or a rule stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


ANONYMOUS_AUTHORITY: Final = "anonymous"


@dataclass(slots=True, frozen=True)
class Principal:
    """Who acts, as ``authority:name``.

    ``shared`` is False for the anonymous clients, which are never the same principal as anyone, themselves included:
    they own no durable session and take nothing over.
    """

    authority: str
    name: str
    shared: bool = True

    def __str__(self) -> str:
        return f"{self.authority}:{self.name}"

    def is_same_as(self, other: Principal | None) -> bool:
        """Whether ``other`` is provably this principal."""
        return self.shared and other is not None and other.shared and self == other


BROKER_PRINCIPAL: Final = Principal("broker", "broker")
"""The broker itself, as the writer of ``$SYS``."""


@dataclass(slots=True, frozen=True)
class Peer:
    """The far end: an IP address and port (IPv4-mapped IPv6 unwrapped, no scope), or a Unix socket's uid."""

    address: IPv4Address | IPv6Address | None
    port: int = 0
    uid: int | None = None

    @property
    def is_unix(self) -> bool:
        return self.address is None

    def __str__(self) -> str:
        if self.address is None:
            return f"unix:{self.uid}"
        return f"{self.address}:{self.port}" if self.address.version == 4 else f"[{self.address}]:{self.port}"


@dataclass(slots=True, frozen=True)
class TlsFacts:
    """What the TLS handshake settled.

    ``version`` is spelled "TLSv1.2" or "TLSv1.3"; ``cipher`` is OpenSSL's name; certificates are DER.
    ``verified_chain`` runs from the client's certificate to the trust anchor, and is empty without a certificate.
    ``channel_binding`` is what both ends of this connection alone know of it (tls-exporter, RFC 9266): TLS 1.3 has it.
    """

    version: str
    cipher: str
    server_name: str | None = None
    application_protocol: str | None = None
    peer_certificate: bytes | None = None
    verified_chain: tuple[bytes, ...] = ()
    channel_binding: bytes | None = field(default=None, repr=False)


@dataclass(slots=True, frozen=True)
class Evidence:
    """Why an AUTHENTICATE was permitted, so that RECHECK can ask again without the password.

    ``fingerprint`` identifies the credential as it was (a hash of the stored password hash, a certificate's SHA-256).
    """

    policy: str
    fingerprint: str = ""
    valid_until: float | None = None


NAMESPACE: Final = "namespace"
"""The attribute by which a policy says, at AUTHENTICATE at the latest, in which namespace a connection lives."""

_LONGEST_NAMESPACE: Final = 64
"""Characters of one: it is part of every key of the store."""

_NAMESPACE_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def namespace_fault(value: object) -> str | None:
    """What keeps ``value`` from being a namespace; None where it is one."""
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAMESPACE and _NAMESPACE_CHARACTERS.issuperset(value):
        return None
    return f"a namespace is 1 to {_LONGEST_NAMESPACE} of A-Z a-z 0-9 - _ . and not {value!r:.100}"


@dataclass(slots=True, eq=False)
class ConnectionFacts:
    """All that is known of a connection, growing from stage to stage. The password is never part of it.

    ``attributes`` is written by the chain alone, once per name. ``bridge`` is bit 7 of the 3.x protocol level.
    ``accepted_at`` is monotonic seconds. ``groups`` are the principal's. ``namespace`` is the one of the attribute
    :data:`NAMESPACE` once AUTHENTICATE has permitted the client, "" for the default one.
    """

    connection_id: int
    listener: str
    peer: Peer
    accepted_at: float = 0.0
    tls: TlsFacts | None = None
    origin: str | None = None
    path: str | None = None
    protocol_version: int = 0
    client_id: str = ""
    clean_start: bool = True
    keep_alive: int = 0
    username: str | None = None
    bridge: bool = False
    principal: Principal | None = None
    groups: frozenset[str] = frozenset()
    attributes: dict[str, Any] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    namespace: str = ""


@dataclass(slots=True, frozen=True)
class Writer:
    """Who wrote a message, kept with it so that its right to write can be checked again later."""

    principal: Principal
    client_id: str = ""
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    listener: str = ""


@dataclass(slots=True, frozen=True)
class Throttle:
    """Stop reading from the connection for ``seconds``; the broker caps it at half the Keep Alive."""

    seconds: float


@dataclass(slots=True, frozen=True)
class CapQos:
    """Grant at most this QoS: of a subscription at SUBSCRIBE, of a message at DELIVER."""

    qos: int


@dataclass(slots=True, frozen=True)
class CapKeepAlive:
    """Let the Keep Alive be at most ``seconds`` (told to 5.0 clients as Server Keep Alive)."""

    seconds: int


@dataclass(slots=True, frozen=True)
class CapSessionExpiry:
    """Let the Session Expiry Interval be at most ``seconds``."""

    seconds: int


@dataclass(slots=True, frozen=True)
class Strike:
    """Count ``weight`` against this peer, for a ban policy to act on."""

    weight: int = 1
    why: str = ""


@dataclass(slots=True, frozen=True)
class Disconnect:
    """With a DENY: end the connection, not only this request."""


Obligation: TypeAlias = Throttle | CapQos | CapKeepAlive | CapSessionExpiry | Strike | Disconnect


EVERY_TOPIC: Final = ""
"""As a scope: the answer does not depend on the Topic Name at all (the filter ``#`` leaves out ``$`` topics)."""


class Meter(Protocol):
    """A counter that must be asked for each message even where the decision itself is cached (rate, quota).

    ``batchable`` says that ``spend`` may be called once for several messages in a row: true where running into debt
    only delays (throttle), false where each message above the limit is refused.
    """

    batchable: bool

    def spend(self, messages: int, octets: int, now: float) -> Decision | None:
        """Count ``messages`` of ``octets`` bytes in all at ``now`` (monotonic seconds).

        Returns:
            None to go on, a DENY to refuse, or an ABSTAIN that carries a :class:`Throttle`.
        """


@dataclass(slots=True, frozen=True)
class Decision:
    """One policy's answer.

    ``rule`` is the rule's id within the policy, ``source`` its file and line, ``text`` a sentence for the log (never
    for the client). ``cacheable`` says that the same question gets the same answer until the policy version changes
    or ``valid_until`` (monotonic seconds) passes. ``meters`` are spent per message, cached or not.
    ``scope``, of a cacheable answer at PUBLISH or DELIVER, is a Topic Filter for all of whose Topic Names the answer to
    this client is the same at the same QoS and RETAIN, or :data:`EVERY_TOPIC`; it saves asking for each new topic.
    ``principal`` and ``groups`` belong to an AUTHENTICATE PERMIT; ``authentication_data`` to a CHALLENGE or the
    PERMIT that ends an exchange, with ``authentication_method`` naming the method that was carried out.
    """

    effect: Effect
    rule: str = ""
    text: str = ""
    source: Source | None = None
    reason_code: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    obligations: tuple[Obligation, ...] = ()
    cacheable: bool = False
    valid_until: float | None = None
    meters: tuple[Meter, ...] = ()
    principal: Principal | None = None
    groups: frozenset[str] = frozenset()
    fingerprint: str = ""
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    scope: str | None = None

    @classmethod
    def permit(cls, rule: str = "", text: str = "", **more: Any) -> Decision:
        """Allowed, as far as this policy is concerned; only a granting policy may say so."""
        return cls(Effect.PERMIT, rule, text, **more)

    @classmethod
    def deny(cls, rule: str = "", text: str = "", **more: Any) -> Decision:
        """Refused; no other policy can permit it."""
        return cls(Effect.DENY, rule, text, **more)

    @classmethod
    def abstain(cls, rule: str = "", text: str = "", **more: Any) -> Decision:
        """Not mine to decide; never consent."""
        return cls(Effect.ABSTAIN, rule, text, **more)

    @classmethod
    def challenge(cls, authentication_data: bytes, **more: Any) -> Decision:
        """Ask the client for the next step of the AUTH exchange (AUTHENTICATE only)."""
        return cls(Effect.CHALLENGE, authentication_data=authentication_data, **more)


@dataclass(slots=True, eq=False)
class Request:
    """One question to the chain.

    ``topic`` is a Topic Name at PUBLISH and DELIVER and a Topic Filter at SUBSCRIBE, where for a shared subscription
    it is the inner filter and ``share_group`` is set. At DELIVER ``connection`` is the reader's and ``writer`` the
    author. ``password``, ``authentication_*`` and ``will`` are there at CONNECT and AUTHENTICATE alone.
    ``exchange`` is scratch space of an Enhanced Authentication exchange, kept between its steps.
    """

    stage: Stage
    connection: ConnectionFacts
    now: float
    purpose: Purpose = Purpose.LIVE
    topic: str = ""
    qos: int = 0
    retain: bool = False
    payload: bytes = b""
    properties: Properties = field(default_factory=Properties)
    is_will: bool = False
    share_group: str | None = None
    writer: Writer | None = None
    password: bytes | None = None
    will: Will | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    exchange: dict[str, Any] = field(default_factory=dict)
    evidence: Evidence | None = None

    @property
    def action(self) -> Action | None:
        """The rule language's word for this request, None outside the topic stages."""
        return _ACTION_OF_STAGE.get(self.stage)


_ACTION_OF_STAGE: Final = {
    Stage.PUBLISH: Action.PUBLISH,
    Stage.SUBSCRIBE: Action.SUBSCRIBE,
    Stage.DELIVER: Action.RECEIVE,
}


@dataclass(slots=True, eq=False)
class Verdict:
    """What the chain says for one request: the fold of its policies' decisions.

    ``policy`` is the id of the policy that decided ("" for the default deny) and ``rule``, ``source``, ``text`` are
    its. ``obligations`` are merged, strictest wins. A verdict with ``residual`` None may be cached until
    ``valid_until``; else ``residual`` asks only what must still be asked per message and gives the whole verdict.
    ``meters`` are to be spent for each message in either case, in order, before a cached verdict is used.
    ``scope`` is where else it holds, see :class:`Decision`. ``decision_id`` is what the client may be told.
    ``duration`` is how long it took in seconds, where somebody measures.
    """

    effect: Effect
    stage: Stage
    policy: str = ""
    rule: str = ""
    text: str = ""
    source: Source | None = None
    reason_code: int = ReasonCode.NOT_AUTHORIZED
    obligations: tuple[Obligation, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    meters: tuple[Meter, ...] = ()
    residual: Decide | None = None
    valid_until: float | None = None
    policy_version: int = 0
    decision_id: str = ""
    indeterminate: bool = False
    principal: Principal | None = None
    groups: frozenset[str] = frozenset()
    evidence: tuple[Evidence, ...] = ()
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    scope: str | None = None
    duration: float = 0.0

    @property
    def permitted(self) -> bool:
        return self.effect is Effect.PERMIT


class Pending:
    """A verdict that comes later.

    Whoever asked sets ``listener``, which is called once, with this object and the verdict; ``cancel`` is for a
    connection that ends first, after which the listener is never called. ``resume`` belongs to the asker.
    """

    __slots__ = ("_on_cancel", "done", "listener", "resume")

    def __init__(self, on_cancel: Callable[[], None] | None = None) -> None:
        self.done = False
        self.listener: Callable[[Pending, Verdict], None] | None = None
        self.resume: Callable[[Verdict, float], None] | None = None
        self._on_cancel = on_cancel

    def resolve(self, verdict: Verdict) -> None:
        """Give the verdict; a second one is ignored, as is one after ``cancel``."""
        if self.done:
            return
        self.done = True
        if self.listener is not None:
            self.listener(self, verdict)

    def cancel(self) -> None:
        """Stop waiting; the policies' own work is told to stop where it can."""
        if self.done:
            return
        self.done = True
        self.resume = None
        if self._on_cancel is not None:
            self._on_cancel()


Decide: TypeAlias = Callable[[Request], Verdict | Pending]
