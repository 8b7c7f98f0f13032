# -*- test-case-name: tests.service.test_in_force -*-
"""What a configuration comes to: policies, limits and TLS contexts, made ready before any of it is put in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IReactorTime

from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IUsage
from mqttsecure.policy.workers import WorkerPool
from mqttsecure.service.assembly import Assembly, Rejudge, build
from mqttsecure.service.config import BrokerConfig, ListenerConfig
from mqttsecure.transport.tls import ServerContext

__all__ = ["InForce", "make_ready", "restart_needed"]


@dataclass(slots=True, frozen=True)
class InForce:
    """A configuration with all that was made of it. ``contexts`` has None for a listener without TLS."""

    config: BrokerConfig
    assembly: Assembly
    contexts: Mapping[str, ServerContext | None]
    version: int

    @property
    def acknowledge_denied(self) -> list[str]:
        """The listeners that acknowledge a denied PUBLISH of MQTT 3.x."""
        return [each.name for each in self.config.listeners if each.denied_publish_v3 == "acknowledge"]

    @property
    def reason_strings(self) -> list[str]:
        """The listeners that tell 5.0 clients the id of a decision that refused them."""
        return [each.name for each in self.config.listeners if each.reason_strings]


def make_ready(
    config: BrokerConfig,
    *,
    clock: IReactorTime,
    workers: WorkerPool,
    version: int = 1,
    rejudge: Rejudge | None = None,
    usage: IUsage | None = None,
) -> InForce:
    """Build it all. ``rejudge`` and ``usage`` are for policies, and what the running broker gives them.

    Raises:
        ConfigError: with every problem; nothing was changed.
    """
    more = {} if rejudge is None else {"rejudge": rejudge}
    assembly = build(config, clock=clock, workers=workers, version=version, usage=usage, **more)
    contexts = {listener.name: _context(listener, assembly) for listener in assembly.listeners}
    return InForce(config, assembly, contexts, version)


def _context(listener: ListenerConfig, assembly: Assembly) -> ServerContext | None:
    tls = listener.tls
    if tls is None:
        return None
    anchors = [anchor for name in tls.authorities for anchor in assembly.authorities[name].ca_certificates]
    try:
        return ServerContext.load(
            tls.certificate,
            tls.key,
            client_certificate=tls.client_certificate,
            anchors=anchors,
            minimum_version=tls.minimum_version,
            legacy_ciphers=tls.legacy_ciphers,
        )
    except (OSError, ValueError, SSL.Error, crypto.Error) as error:
        raise ConfigError(f"{listener.source}: listener {listener.name!r}: TLS cannot be set up: {error}") from error


def restart_needed(old: BrokerConfig, new: BrokerConfig) -> list[str]:
    """What of ``new`` a reload cannot put in force, one line each with where it stands."""
    found: list[str] = []
    before = {listener.name: listener for listener in old.listeners}
    after = {listener.name: listener for listener in new.listeners}
    for name, listener in after.items():
        was = before.get(name)
        if was is None:
            found.append(f"{listener.source}: listener {name!r} is new; it opens at the next start")
            continue
        for key, changed in (
            ("bind", listener.addresses != was.addresses),
            ("tls", (listener.tls is None) != (was.tls is None)),
            ("backlog", listener.backlog != was.backlog),
        ):
            if changed:
                found.append(f"{listener.source}: `{key}` of listener {name!r} changes at the next start")
    found += [
        f"{was.source}: listener {name!r} is gone; until the next start it is open, and refuses everyone"
        for name, was in before.items()
        if name not in after
    ]
    for table, keys in (
        ("log", ("log_format", "log_level")),
        ("audit", ("audit",)),
        ("control", ("control",)),
        ("store", ("store",)),
    ):
        if any(getattr(old, key) != getattr(new, key) for key in keys):
            found.append(f"{new.source_of(table)}: [{table}] changes at the next start")
    return found
