# -*- test-case-name: tests.test_interfaces -*-
"""The public plugin surface, version 1.

A policy package ships one :class:`IPolicyFactory` per policy, as a module-level object of a module in
``twisted/plugins/`` or of a single file in a ``[plugins] path`` folder. Nothing here runs on another thread than the
reactor's unless said so. ``docs/howto/write-a-policy.md`` has a complete one in under thirty lines.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from mqttsecure.core.decisions import (
    EVERY_TOPIC,
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

__all__ = [
    "EVERY_TOPIC",
    "INTERFACE_VERSION",
    "Action",
    "CapKeepAlive",
    "CapQos",
    "CapSessionExpiry",
    "ConnectionFacts",
    "Decision",
    "Disconnect",
    "Effect",
    "Evidence",
    "IAuthority",
    "IConnectionObserver",
    "IPolicy",
    "IPolicyEnvironment",
    "IPolicyFactory",
    "Meter",
    "Obligation",
    "Peer",
    "Principal",
    "Purpose",
    "Request",
    "Role",
    "Source",
    "Stage",
    "Strike",
    "Throttle",
    "TlsFacts",
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
    attributes = Attribute("Mapping[str, type]: the attributes its decisions may set.")

    def build(options: Any, environment: IPolicyEnvironment) -> IPolicy:
        """Build one policy.

        Args:
            options: an instance of ``self.options``, already validated.
            environment: an :class:`IPolicyEnvironment` for this one policy.

        Returns:
            A provider of :class:`IPolicy`, and where it wishes of :class:`IConnectionObserver`.

        Raises:
            mqttsecure.errors.ConfigError: the options cannot be met (a missing file, a bad rule); the start or
                reload is refused. Each problem is one line with file and line, as
                ``environment.problem(option, text)`` makes it.
        """


class IPolicy(Interface):
    """Answers requests at the stages its factory declared."""

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


class IAuthority(Interface):
    """A named identity source of the configuration (``[[authority]]``)."""

    name = Attribute("str: the part before the colon in its principals.")
    password_file = Attribute("pathlib.Path | None: its password file.")
    ca_certificates = Attribute("tuple[bytes, ...]: DER of its trust anchors.")
    crl_files = Attribute("tuple[pathlib.Path, ...]: its certificate revocation lists (PEM).")


class IPolicyEnvironment(Interface):
    """What a policy may ask of the broker around it (the policy information point)."""

    policy_id = Attribute("str: the `id` of the table.")
    clock = Attribute("twisted.internet.interfaces.IReactorTime: monotonic seconds() and callLater().")
    log = Attribute("twisted.logger.Logger of this policy.")
    authorities = Attribute("Mapping[str, IAuthority]: by name.")
    listeners = Attribute("tuple[str, ...]: the listeners this policy is on.")

    def wall_clock() -> datetime:
        """The time of day as a timezone-aware UTC datetime (for certificate dates and schedules)."""

    def random_bytes(count: int) -> bytes:
        """``count`` unpredictable bytes."""

    def resolve(path: str) -> Path:
        """A pathlib.Path for a path written in the configuration: relative to the file that names it."""

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
