# -*- test-case-name: tests.service.test_broker -*-
"""The broker as a service of twistd: from a checked configuration to listening, and to an orderly end."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from mqttsecure.core.events import Event
from mqttsecure.errors import ConfigError
from mqttsecure.policy.workers import WorkerPool
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.audit import AuditedChain, AuditLog
from mqttsecure.service.commands import Commands, LastDenials
from mqttsecure.service.config import BrokerConfig, ListenerConfig
from mqttsecure.service.control import ControlSocket
from mqttsecure.service.exit_code import fail_start
from mqttsecure.service.file_watch import ReloadOnChange
from mqttsecure.service.in_force import InForce, make_ready, restart_needed
from mqttsecure.service.memory_guard import MemoryGuard
from mqttsecure.service.prepare import prepare
from mqttsecure.service.report import report
from mqttsecure.service.shadow import Shadow
from mqttsecure.service.storage import durability_line, make_store, open_store
from mqttsecure.service.sys_topics import SysTopics
from mqttsecure.service.usage import BrokerUsage
from mqttsecure.transport.driver import Chain, CoreDriver
from mqttsecure.transport.gate import ListenerFactory
from mqttsecure.transport.keeping import Keeping

__all__ = ["BrokerService", "Reloaded"]

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


class Reloaded(NamedTuple):
    """What a reload came to. ``judged`` fires with the seconds it took to judge again all that lives."""

    version: int
    notes: list[str]
    judged: Deferred[float]


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
        self._audit: AuditLog | None = None
        self._shadow: Shadow | None = None
        self._control: ControlSocket | None = None
        self._denials = LastDenials()
        self._reload_again = False
        self._on_change = ReloadOnChange(reactor, self.reload_and_tell)
        self._in_force: InForce | None = None
        self._store = make_store(config, reactor)
        self._keeping: Keeping | None = None
        self._guard: MemoryGuard | None = None
        self.driver: CoreDriver | None = None
        self._usage = BrokerUsage(lambda: None if self.driver is None else self.driver.core.state)

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
            ready = make_ready(
                self._config,
                clock=self._reactor,
                workers=self._workers,
                rejudge=self._request_rejudging,
                usage=self._usage,
            )
            self._audit = self._open_audit()
        except ConfigError as error:
            self._unbind()
            fail_start("; ".join(error.problems), self._reactor)
            return
        self._workers.start()
        self._in_force = ready
        limits = ready.assembly.limits
        self.driver = CoreDriver(
            limits,
            self._audited(ready),
            self._reactor,
            os.urandom,
            ready.acknowledge_denied,
            self._report,
            ready.reason_strings,
        )
        try:
            if self._store is not None:
                self._keeping = open_store(self._config, self._store, self.driver, self._reactor)
        except ConfigError as error:
            self._unbind()
            fail_start("; ".join(error.problems), self._reactor)
            return
        self._open_listeners(ready)
        self._sys_topics = SysTopics(self.driver, self._reactor)
        self._sys_topics.start(limits.sys_interval)
        self._guard = MemoryGuard(self.driver, self._reactor)
        self._guard.start()
        try:
            self._open_control(self.driver)
        except ConfigError as error:
            self._unbind()
            fail_start("; ".join(error.problems), self._reactor)
            return
        self._on_change.follow(ready.assembly, {})
        self._say_what_is_open(ready)

    def _open_control(self, driver: CoreDriver) -> None:
        path = self._config.control
        if path is not None:
            commands = Commands(
                driver, self._now_in_force, self.reload, self._denials, self._audit_counts, self._shadow_counts
            )
            self._control = ControlSocket(path, commands.table(), self._reactor)
            self._control.open()

    def _now_in_force(self) -> InForce:
        if self._in_force is None:
            raise ConfigError("the broker is not up")
        return self._in_force

    def _audit_counts(self) -> tuple[int, int] | None:
        return None if self._audit is None else (self._audit.written, self._audit.lost)

    def _shadow_counts(self) -> dict[str, int]:
        return {} if self._shadow is None else self._shadow.counts

    def _open_audit(self) -> AuditLog | None:
        audit = self._config.audit
        if audit is None:
            return None
        log = AuditLog(
            audit.file,
            maximum_size=audit.maximum_size,
            keep=audit.keep,
            wall_clock=lambda: datetime.now(UTC),
            seconds=self._reactor.seconds,
        )
        try:
            log.open()
        except OSError as error:
            where = self._config.source_of("audit", "file")
            raise ConfigError(f"{where}: audit.file: {audit.file} cannot be written: {error.strerror}") from error
        return log

    def _audited(self, ready: InForce) -> Chain:
        chain = ready.assembly.chain
        audit = ready.config.audit
        if self._shadow is not None:
            self._shadow.stop()
            self._shadow = None
        if self._audit is None or audit is None:
            return chain
        candidate = ready.assembly.shadow
        if candidate is not None:
            self._shadow = Shadow(
                chain,
                candidate.chain,
                self._audit.write,
                clock=self._reactor,
                wall_clock=lambda: datetime.now(UTC),
            )
        return AuditedChain(
            chain,
            self._audit,
            permits=audit.permits,
            seconds=self._reactor.seconds,
            random=random.random,
            watcher=self._shadow,
        )

    def _report(self, events: list[Event]) -> None:
        report(events, self._config.path, audited=self._audit is not None)
        if self._audit is not None:
            self._audit.take(events)
        if self._control is not None:
            self._denials.take(events, datetime.now(UTC))

    def _open_listeners(self, ready: InForce) -> None:
        """Have the listeners serve by ``ready``; one that it does not know refuses everyone."""
        if self.driver is None:
            return
        for name, factory in self._factories.items():
            if name in ready.contexts:
                factory.open(self.driver, ready.contexts[name])
        for listener in ready.config.listeners:
            if listener.name in self._factories:
                self._factories[listener.name].maximum_connections = listener.maximum_connections

    def _say_what_is_open(self, ready: InForce) -> None:
        _log.info("{line}", line=durability_line(ready.config.store))
        for warning in ready.assembly.warnings:
            _log.warn("{text}", text=warning)  # Twisted takes events with a `warning` for Python's own
        for listener, port in self._ports:
            address = port.getHost()
            host = f"[{address.host}]" if ":" in address.host else address.host
            _log.info("listening on {name} {host}:{port}", name=listener.name, host=host, port=address.port)

    # -- reloading -----------------------------------------------------------------------------------------------

    def reload(self, check: Callable[[Assembly], None] = lambda assembly: None) -> Reloaded:
        """Read the configuration again and put it in force in one step, or keep all as it is.

        Args:
            check: is called with what was built before it is put in force; may raise to prevent that.

        Raises:
            ConfigError: with every problem; what was in force still is.
        """
        before, driver = self._now_in_force(), self.driver
        if driver is None:
            raise ConfigError("the broker is not up")
        if driver.is_changing:
            raise ConfigError("a reload is under way; try again in a moment")
        seen = self._on_change.look()
        config = prepare(before.config.path, owner=None, tell=lambda line: _log.info("{line}", line=line))
        ready = make_ready(
            config,
            clock=self._reactor,
            workers=self._workers,
            version=before.version + 1,
            rejudge=self._request_rejudging,
            usage=self._usage,
        )
        check(ready.assembly)
        ready.assembly.chain.inherit(before.assembly.chain)
        notes = restart_needed(before.config, config)
        self._in_force = ready
        self._on_change.follow(ready.assembly, seen)
        self._open_listeners(ready)
        judged = driver.change_policy(
            self._audited(ready),
            ready.version,
            ready.assembly.limits,
            ready.acknowledge_denied,
            ready.reason_strings,
        )
        for line in (*notes, *ready.assembly.warnings):
            _log.warn("{line}", line=line)
        _log.info("policy version {version} is in force, from {path}", version=ready.version, path=str(config.path))
        judged.addCallback(_tell_judged)
        judged.addCallback(self._catch_up)
        return Reloaded(ready.version, notes, judged)

    def _catch_up(self, seconds: float) -> float:
        if self._reload_again:
            self._reload_again = False
            self._reactor.callLater(0, self.reload_and_tell)
        return seconds

    def _request_rejudging(self, connection_ids: Iterable[int] | None) -> None:
        if self.driver is not None:
            self.driver.request_rejudging(connection_ids)

    def reload_and_tell(self, check: Callable[[Assembly], None] = lambda assembly: None) -> None:
        """The same, with what is wrong told in the log: where nobody waits for an answer."""
        if self.driver is not None and self.driver.is_changing:
            self._reload_again = True  # what the signal is about may have been written after the files were read
            return
        try:
            self.reload(check)
        except ConfigError as error:
            version = 0 if self._in_force is None else self._in_force.version
            for problem in error.problems:
                _log.error("{problem}", problem=problem)
            _log.error("not reloaded; policy version {version} stays in force", version=version)

    def stopService(self) -> Any:
        """Stop listening, tell every client 0x8B, and wait until they are gone, for a second at most."""
        _Service.stopService(self)
        done = [port.stopListening() for _, port in self._ports]
        self._ports = []
        self._on_change.stop()
        if self._sys_topics is not None:
            self._sys_topics.stop()
        if self._guard is not None:
            self._guard.stop()
        if self._control is not None:
            done.append(self._control.close())
        if self.driver is not None:
            done.append(self.driver.close_all(_LAST_WORDS))
        finished = DeferredList([each for each in done if each is not None], consumeErrors=True)
        finished.addBoth(lambda _: None if self._keeping is None else self._keeping.close())
        finished.addBoth(lambda _: self._save())
        finished.addBoth(lambda _: self._workers.stop())
        finished.addBoth(self._close_audit)
        return finished

    def _save(self) -> Any:
        """Have the policies write what they know."""
        if self._in_force is None:
            return None
        return self._in_force.assembly.chain.save().addTimeout(_LAST_WORDS, self._reactor)

    def _close_audit(self, result: Any) -> Any:
        if self._shadow is not None:
            self._shadow.stop()
        if self._audit is not None:
            self._audit.close()
        return result


def _tell_judged(seconds: float) -> float:
    _log.info("all that lives was judged again within {seconds:.3f} s", seconds=seconds)
    return seconds
