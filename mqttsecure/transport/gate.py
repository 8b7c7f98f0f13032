# -*- test-case-name: tests.transport.test_gate -*-
"""What stands outside TLS: a connection gets no byte of TLS before the ACCEPT stage has permitted it."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from mqttsecure.core.decisions import ConnectionFacts, Effect, Peer, Pending, Request, Stage, Verdict
from mqttsecure.core.events import Denied
from mqttsecure.transport.driver import CoreDriver
from mqttsecure.transport.protocol import MqttProtocol
from mqttsecure.transport.tls import ServerContext, TlsTransport, tls_factory

__all__ = ["AcceptGate", "ListenerFactory", "peer_of"]

_log = Logger()


def peer_of(address: IAddress | None) -> Peer:
    """The far end as policies see it: an IPv4-mapped IPv6 address is the IPv4 one, a scope is cut off.

    Raises:
        ValueError: it is not an IP address.
    """
    host: str = getattr(address, "host", "")
    found = ip_address(host.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return Peer(found, getattr(address, "port", 0))


class ListenerFactory(Factory):
    """Makes the protocols of one listener, asking ACCEPT first.

    Args:
        name: of the listener.
        maximum_connections: at this listener; one more is closed unasked.
    """

    noisy = False

    def __init__(self, name: str, maximum_connections: int) -> None:
        self.name = name
        self.maximum_connections = maximum_connections
        self.connections = 0
        self._driver: CoreDriver | None = None
        self._tls: TLSMemoryBIOFactory | None = None

    def open(self, driver: CoreDriver, context: ServerContext | None) -> None:
        """Serve from now on; with a ``context`` over TLS."""
        self._driver = driver
        self._tls = None if context is None else tls_factory(context, driver.clock)

    def buildProtocol(self, addr: IAddress | None) -> Any:  # an IProtocol
        # None would have Twisted close in good order, which leaves a flood's connections waiting in the kernel.
        return self._answer(addr) or _Reset()

    def _answer(self, addr: IAddress | None) -> Protocol | None:
        """Who takes the connection; None for nobody."""
        driver = self._driver
        if driver is None:
            return None  # nothing is decided yet, so nothing is permitted
        try:
            peer = peer_of(addr)
        except ValueError:
            _log.warn("{listener}: closed a connection from what is no address", listener=self.name)
            return None
        if self._is_full(driver):
            _log.warn(
                "{listener}: closed a connection from {peer}: {why}",
                listener=self.name,
                peer=str(peer),
                why="memory is scarce" if driver.core.state.pressure else "there are as many as allowed",
            )
            return None
        now = driver.clock.seconds()
        facts = ConnectionFacts(driver.next_connection_id(), self.name, peer, accepted_at=now)
        request = Request(Stage.ACCEPT, facts, now)
        answer = driver.chain.decide(request)
        if isinstance(answer, Pending):
            return AcceptGate(self, driver, request, answer)
        return self.admit(request, answer)

    def _is_full(self, driver: CoreDriver) -> bool:
        return (
            self.connections >= self.maximum_connections
            or driver.connections >= driver.limits.maximum_connections
            or driver.core.state.pressure > 0
        )

    def admit(self, request: Request, verdict: Verdict) -> Protocol | None:
        """The protocol that serves the connection, None where the verdict is a denial."""
        driver = self._driver
        if driver is None or driver.is_stopping:
            return None
        if verdict.effect is not Effect.PERMIT:
            driver.core.state.events.append(Denied(request, verdict))
            driver.schedule_flush()
            return None
        protocol = MqttProtocol(driver, request.connection, self._tls is not None, self._made, self._lost)
        if self._tls is None:
            return protocol
        transport: Protocol = TlsTransport(self._tls, protocol)
        return transport

    def _made(self, facts: ConnectionFacts) -> None:
        self.connections += 1
        if self._driver is not None:
            self._driver.chain.connection_opened(facts)

    def _lost(self, facts: ConnectionFacts) -> None:
        self.connections -= 1
        if self._driver is not None:
            self._driver.chain.connection_closed(facts)


class _Reset(Protocol):
    """Ends a connection that is not let in, by RST."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class AcceptGate(Protocol):
    """Holds a connection whose ACCEPT verdict is pending: not a byte is read. It counts as a connection."""

    def __init__(self, factory: ListenerFactory, driver: CoreDriver, request: Request, pending: Pending) -> None:
        self._factory = factory
        self._driver = driver
        self._request = request
        self._pending: Pending | None = pending

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()
        self._factory.connections += 1
        self._driver.waits(self)
        if self._pending is not None:
            self._pending.listener = self._judged

    def abort(self) -> None:
        """Close the connection unanswered."""
        transport: Any = self.transport
        transport.abortConnection()

    def _judged(self, pending: Pending, verdict: Verdict) -> None:
        self._pending = None
        if verdict.policy_version == self._driver.core.state.policy_version:
            self._decided(verdict)
            return
        # The policies have changed meanwhile, and it is the new ones' to say.
        self._request.now = self._driver.clock.seconds()
        answer = self._driver.chain.decide(self._request)
        if isinstance(answer, Pending):
            self._pending = answer
            answer.listener = self._judged
        else:
            self._decided(answer)

    def _decided(self, verdict: Verdict) -> None:
        protocol: Any = self._factory.admit(self._request, verdict)
        if protocol is None:
            self.abort()
            return
        transport: Any = self.transport
        transport.protocol = protocol
        transport.resumeProducing()  # first, since the protocol may have a reason of its own to pause it
        self._left()
        protocol.makeConnection(transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self._left()

    def _left(self) -> None:
        self._factory.connections -= 1
        self._driver.waited(self)
