# -*- test-case-name: tests.core.test_events -*-
"""What the core tells the outside, as values, for the log and the audit. Never a payload or a password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mqttsecure.core.decisions import ConnectionFacts, Request, Verdict

__all__ = ["Connected", "Denied", "Disconnected", "Dropped", "Event", "Throttled", "TlsFailed"]


@dataclass(slots=True, frozen=True)
class Connected:
    """CONNACK with success was sent."""

    facts: ConnectionFacts
    session_present: bool


@dataclass(slots=True, frozen=True)
class Denied:
    """The chain said no."""

    request: Request
    verdict: Verdict


@dataclass(slots=True, frozen=True)
class Disconnected:
    """A Network Connection that had sent a CONNECT, or tried to, is over. ``reason_code`` 0 is a normal end.

    ``repeated`` says that the packet at fault was a PUBLISH sent again (DUP): the client has met this end before.
    """

    facts: ConnectionFacts
    reason_code: int
    text: str
    by_peer: bool
    repeated: bool = False


@dataclass(slots=True, frozen=True)
class TlsFailed(Disconnected):
    """It is over because its TLS handshake failed; ``certificate`` is the client's (DER) that was not taken, if any."""

    certificate: bytes | None = None


@dataclass(slots=True, frozen=True)
class Throttled:
    """A connection is read from no more for ``seconds``. Told at most once a minute for each."""

    facts: ConnectionFacts
    seconds: float


@dataclass(slots=True, frozen=True)
class Dropped:
    """A message was not kept for a client: its queue or outbox is full, or it is too large for it."""

    client_id: str
    topic: str
    why: str


Event: TypeAlias = Connected | Denied | Disconnected | Dropped | Throttled
