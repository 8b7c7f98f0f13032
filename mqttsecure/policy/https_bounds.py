# -*- test-case-name: tests.policy.test_https -*-
"""Connections to HTTPS services that end where an answer is larger than it may be; bodies that are whole or none."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, ResponseDone
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from mqttsecure.policy.https_tls import TlsMaterial

__all__ = ["BoundedEndpoints", "Reading", "TooLarge"]


class TooLarge(Exception):
    """More bytes came than an answer may have."""


class Reading(Protocol):
    """Reads a body: all of it, or none. An end that is not announced may be somebody cutting it off."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._chunks: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred(lambda _: self._stop())

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._maximum:
            self._chunks.append(data)
        elif not self.done.called:
            self.done.errback(TooLarge(f"its answer is larger than {self._maximum} bytes"))
            self._stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._chunks))
        else:
            self.done.errback(reason)

    def _stop(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()


_Wrapper: Any = ProtocolWrapper
"""The same class, whose methods are not annotated."""


class _Counting(ProtocolWrapper):
    """Ends a connection on which more comes, since the last request, than one answer may have."""

    received = 0

    def write(self, data: bytes) -> None:
        self.received = 0
        _Wrapper.write(self, data)

    def loseConnection(self) -> None:
        """At once: TLS would wait for the peer's goodbye."""
        transport: Any = self.transport
        transport.abortConnection()

    def writeSequence(self, data: Any) -> None:
        self.received = 0
        _Wrapper.writeSequence(self, data)

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        self.received += len(data)
        if self.received > self.factory.maximum:
            transport.abortConnection()
        else:
            _Wrapper.dataReceived(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.received > self.factory.maximum:
            reason = Failure(TooLarge(f"its answer is larger than {self.factory.maximum} bytes with its head"))
        _Wrapper.connectionLost(self, reason)


@implementer(IStreamClientEndpoint)
class _CountingEndpoint:
    def __init__(self, inner: Any, maximum: int) -> None:
        self._inner = inner
        self._maximum = maximum

    def connect(self, factory: Any) -> Deferred[Any]:
        wrapping: Any = WrappingFactory(factory)
        wrapping.noisy = False
        wrapping.protocol = _Counting
        wrapping.maximum = self._maximum
        connected: Deferred[Any] = self._inner.connect(wrapping)
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class BoundedEndpoints:
    """Makes TLS connections, and no others."""

    def __init__(self, reactor: Any, tls: TlsMaterial, maximum: int, seconds: float) -> None:
        self._reactor = reactor
        self._tls = tls
        self._maximum = maximum
        self._seconds = seconds

    def endpointForURI(self, uri: URI) -> Any:
        host = uri.host.decode("ascii")
        plain = HostnameEndpoint(self._reactor, host.strip("[]"), uri.port, timeout=self._seconds)
        return _CountingEndpoint(wrapClientTLS(self._tls.options_for(host.strip("[]")), plain), self._maximum)
