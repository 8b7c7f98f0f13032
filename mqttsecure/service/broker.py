# -*- test-case-name: tests.service.test_broker -*-
"""The broker as a service of twistd: from a checked configuration to listening, and to an orderly end."""

from __future__ import annotations

import errno
import os
from typing import Any

from OpenSSL import SSL, crypto
from twisted.application.service import Service
from twisted.internet.defer import DeferredList
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from mqttsecure.errors import ConfigError
from mqttsecure.policy.workers import WorkerPool
from mqttsecure.service.assembly import Assembly, build
from mqttsecure.service.config import BrokerConfig, ListenerConfig
from mqttsecure.service.exit_code import fail_start
from mqttsecure.service.report import report
from mqttsecure.service.sys_topics import SysTopics
from mqttsecure.transport.driver import CoreDriver
from mqttsecure.transport.gate import ListenerFactory
from mqttsecure.transport.tls import ServerContext

__all__ = ["BrokerService"]

_log = Logger()

_Service: Any = Service
"""The same class, whose methods are not annotated."""

_LAST_WORDS = 1.0
"""Seconds that connections have to take their DISCONNECT when the broker stops; then they are aborted."""

_BIND_MENDS = {
    errno.EADDRINUSE: "stop what listens there (`ss -ltnp` shows it), or choose another port with `bind`",
    errno.EADDRNOTAVAIL: "this machine has no such address; name one of its own (`ip addr` lists them) with `bind`",
    errno.EACCES: "ports below 1024 are root's; start as root with `twistd --uid`, or choose a higher port with `bind`",
}


def _why_not(error: object) -> str:
    """Why an address cannot be bound, with the mend."""
    if not isinstance(error, OSError):
        return str(error)
    mend = _BIND_MENDS.get(error.errno or 0)
    return f"{error.strerror}; {mend}" if mend else str(error)


class BrokerService(Service):
    """Binds the listeners as root, builds the policies as the user that serves, and serves.

    Args:
        config: from ``load_config``.
        reactor: Twisted's, the global one by default, which twistd has installed by now.
    """

    def __init__(self, config: BrokerConfig, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._config = config
        self._reactor: Any = reactor
        self._workers = WorkerPool(reactor)
        self._factories: dict[str, ListenerFactory] = {}
        self._ports: list[tuple[ListenerConfig, Any]] = []
        self._sys_topics: SysTopics | None = None
        self.driver: CoreDriver | None = None

    def privilegedStartService(self) -> None:
        """Bind all addresses; with one that is taken, nothing starts."""
        _Service.privilegedStartService(self)
        for listener in self._config.listeners:
            self._bind(listener)

    def _bind(self, listener: ListenerConfig) -> None:
        factory = ListenerFactory(listener.name, listener.maximum_connections)
        self._factories[listener.name] = factory
        for host, port in listener.addresses:
            try:
                bound = self._reactor.listenTCP(port, factory, listener.backlog, host)
            except (CannotListenError, OSError) as error:  # the latter where another takes the port at the same time
                self._unbind()
                fail_start(
                    f"{listener.source}: listener {listener.name!r} cannot bind {host}:{port}: "
                    f"{_why_not(getattr(error, 'socketError', error))}",
                    self._reactor,
                )
                return
            self._ports.append((listener, bound))

    def _unbind(self) -> None:
        ports, self._ports = self._ports, []
        for _, port in ports:
            port.stopListening()

    def startService(self) -> None:
        """Build the chain and open the listeners. The reactor runs no connection before this returns."""
        _Service.startService(self)
        try:
            assembly = build(self._config, clock=self._reactor, workers=self._workers)
            contexts = {listener.name: self._context(listener, assembly) for listener in assembly.listeners}
        except ConfigError as error:
            self._unbind()
            fail_start("; ".join(error.problems), self._reactor)
            return
        self._workers.start()
        acknowledge = [each.name for each in assembly.listeners if each.denied_publish_v3 == "acknowledge"]
        self.driver = CoreDriver(assembly.limits, assembly.chain, self._reactor, os.urandom, acknowledge, report)
        for name, factory in self._factories.items():
            factory.open(self.driver, contexts[name])
        self._sys_topics = SysTopics(self.driver, self._reactor)
        self._sys_topics.start(assembly.limits.sys_interval)
        for warning in assembly.warnings:
            _log.warn("{text}", text=warning)  # Twisted takes events with a `warning` for Python's own
        for listener, port in self._ports:
            address = port.getHost()
            host = f"[{address.host}]" if ":" in address.host else address.host
            _log.info("listening on {name} {host}:{port}", name=listener.name, host=host, port=address.port)

    def _context(self, listener: ListenerConfig, assembly: Assembly) -> ServerContext | None:
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
            raise ConfigError(
                f"{listener.source}: listener {listener.name!r}: TLS cannot be set up: {error}"
            ) from error

    def stopService(self) -> Any:
        """Stop listening, tell every client 0x8B, and wait until they are gone, for a second at most."""
        _Service.stopService(self)
        done = [port.stopListening() for _, port in self._ports]
        self._ports = []
        if self._sys_topics is not None:
            self._sys_topics.stop()
        if self.driver is not None:
            done.append(self.driver.close_all(_LAST_WORDS))
        finished = DeferredList([each for each in done if each is not None], consumeErrors=True)
        finished.addBoth(lambda _: self._workers.stop())
        return finished
