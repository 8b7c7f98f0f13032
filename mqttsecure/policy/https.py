# -*- test-case-name: tests.policy.test_https -*-
"""Asks HTTPS services: with a verified certificate, over connections that are kept, and always within bounds.

An answer has a size and a time that it may take in all; a redirect is an answer like any other and never followed, so
that nobody else is asked than the configuration names. Twisted's own HTTP client does the work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IConsumer, IReactorTCP, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from mqttsecure.errors import ConfigError
from mqttsecure.policy.secrets import open_regular, read_secret

__all__ = ["HttpsAnswer", "HttpsClient", "HttpsFault", "TlsMaterial", "check_https_url"]

CONNECTIONS: Final = 8
"""Requests under way to one service: a slow one is not to be met with more."""

WAITING: Final = 256
"""Requests that wait for one of these; one more fails at once."""

IDLE: Final = 30
"""Seconds for which an idle connection is kept."""

_HEADERS: Final = 16 * 1024
"""Bytes for the head of an answer, beside what its body may have."""

_MAXIMUM_PEM: Final = 4 * 1024 * 1024
_MAXIMUM_URL: Final = 2048


class HttpsFault(Exception):
    """No usable answer. The text says why, in words for the log, and holds nothing that was sent."""


@dataclass(slots=True, frozen=True)
class HttpsAnswer:
    """Status, media type without parameters in lower case, and body."""

    status: int
    media_type: str
    body: bytes


def check_https_url(url: str) -> str:
    """Accept the address of a service.

    Raises:
        ValueError: it is none, or would give away what is asked or a secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is no URL; write one like https://auth.example.com/mqtt") from None
    if parts.scheme != "https" or not parts.hostname or port == 0:
        raise ValueError("it is no https URL; write one like https://auth.example.com/mqtt")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "it holds a user or password, which would be read by all who see the configuration; take it out"
        )
    if parts.fragment or len(url) > _MAXIMUM_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"it is longer than {_MAXIMUM_URL} characters, or has some that no URL has")
    return url


@dataclass(slots=True, frozen=True)
class TlsMaterial:
    """Whom to trust, None for the system's CAs, and what to show."""

    trust: tuple[bytes, ...] | None = None
    certificate: bytes | None = None
    key: bytes | None = None

    @classmethod
    def load(cls, ca: Path | None, certificate: Path | None, key: Path | None) -> TlsMaterial:
        """Read the files.

        Raises:
            ConfigError: one of them cannot be used.
        """
        trust = None if ca is None else tuple(_certificates(ca))
        if certificate is None or key is None:
            return cls(trust)
        shown = cls(trust, _read_pem(certificate), read_secret(key, _MAXIMUM_PEM))
        _certificates(certificate)
        try:
            context = SSL.Context(SSL.TLS_METHOD)
            context.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, shown.certificate or b""))
            context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, shown.key or b"", b""))
            context.check_privatekey()
        except (SSL.Error, crypto.Error, ValueError, TypeError):
            raise ConfigError(f"{key}: is no PEM key without a pass phrase that fits {certificate}") from None
        return shown

    def options_for(self, host: str) -> Any:
        """What Twisted connects to ``host`` with."""
        trust: Any = platformTrust()
        if self.trust is not None:
            trust = trustRootFromCertificates([Certificate.loadPEM(each) for each in self.trust])
        mine = None
        more: dict[str, Any] = {"raiseMinimumTo": TLSVersion.TLSv1_2}
        if self.certificate is not None and self.key is not None:
            mine = PrivateCertificate.loadPEM(self.key + b"\n" + self.certificate)
            chain = _split_pem(self.certificate)[1:]
            if chain:
                more["extraCertChain"] = [crypto.load_certificate(crypto.FILETYPE_PEM, each) for each in chain]
        return optionsForClientTLS(host, trustRoot=trust, clientCertificate=mine, extraCertificateOptions=more)


def _read_pem(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(_MAXIMUM_PEM + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > _MAXIMUM_PEM:
        raise ConfigError(f"{path}: is larger than {_MAXIMUM_PEM} bytes; is it the right file?")
    return content


def _split_pem(content: bytes) -> list[bytes]:
    fence = b"-----BEGIN CERTIFICATE-----"
    return [fence + block for block in content.split(fence)[1:]]


def _certificates(path: Path) -> list[bytes]:
    blocks = _split_pem(_read_pem(path))
    try:
        for block in blocks:
            crypto.load_certificate(crypto.FILETYPE_PEM, block)
    except crypto.Error as error:
        raise ConfigError(f"{path}: holds something that is no PEM certificate") from error
    if not blocks:
        raise ConfigError(f"{path}: holds no PEM certificate")
    return blocks


@dataclass(slots=True)
class _Question:
    method: bytes
    url: bytes
    headers: Headers
    body: bytes | None
    deferred: Deferred[HttpsAnswer]
    is_over: bool = False
    was_repeated: bool = False
    under_way: Deferred[Any] | None = None


_UNANSWERED: Final = (RequestTransmissionFailed, ResponseNeverReceived)


@implementer(IBodyProducer)
class _Body:
    """A request's body, which is small and there as a whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def stopProducing(self) -> None:
        """It has all been written at once."""

    pauseProducing = resumeProducing = stopProducing


class HttpsClient:
    """Asks one service."""

    def __init__(
        self,
        reactor: Any,
        tls: TlsMaterial,
        *,
        maximum: int,
        seconds: float,
        connections: int = CONNECTIONS,
        waiting: int = WAITING,
    ) -> None:
        """
        Args:
            reactor: what the broker runs on; on a mere clock, as in `mqttsecure check`, nothing is ever asked.
            tls: whom to trust.
            maximum: bytes of an answer's body.
            seconds: that an answer may take, the wait for a free connection included.
            connections: requests under way; more wait.
            waiting: requests that may wait; one more fails at once.
        """
        self._connections = connections
        self._most_waiting = waiting
        self._reactor = reactor
        self._maximum = maximum
        self._seconds = seconds
        self._waiting: deque[_Question] = deque()
        self._under_way = 0
        self._agent: Any = None
        if IReactorTCP.providedBy(reactor):
            pool = HTTPConnectionPool(reactor, persistent=True)
            pool.maxPersistentPerHost = connections
            pool.cachedConnectionTimeout = IDLE
            pool.retryAutomatically = True
            endpoints = _Endpoints(reactor, tls, maximum + _HEADERS, seconds)
            self._agent = Agent.usingEndpointFactory(reactor, endpoints, pool)
            self._pool = pool

    def get(self, url: str) -> Deferred[HttpsAnswer]:
        """Fetch ``url``; see :meth:`ask`."""
        return self.ask("GET", url)

    def ask(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Deferred[HttpsAnswer]:
        """Send a request.

        Returns:
            A Deferred of whatever was answered; it fails with :class:`HttpsFault`. Cancelled, the request is given up.
        """
        deferred: Deferred[HttpsAnswer] = Deferred(lambda _: self._give_up(question))
        fields = Headers({"User-Agent": ["mqttsecure"]})
        for name, value in (headers or {}).items():
            fields.setRawHeaders(name, [value])
        question = _Question(method.encode("ascii"), url.encode("ascii"), fields, body, deferred)
        if self._agent is None:
            self._end(question, HttpsFault("only the running broker asks"))
        elif len(self._waiting) >= self._most_waiting:
            self._end(question, HttpsFault(f"{self._most_waiting} questions to it wait already"))
        else:
            call = self._reactor.callLater(self._seconds, self._too_late, question)
            deferred.addBoth(lambda result: (call.cancel() if call.active() else None, result)[1])
            self._waiting.append(question)
            self._start_more()
        return deferred

    def close(self) -> Deferred[None]:
        """Close the connections that are idle."""
        if self._agent is None:
            return succeed(None)
        done: Deferred[None] = self._pool.closeCachedConnections()
        return done

    def _start_more(self) -> None:
        while self._waiting and self._under_way < self._connections:
            question = self._waiting.popleft()
            self._under_way += 1
            self._send(question)

    def _send(self, question: _Question) -> None:
        producer = None if question.body is None else _Body(question.body)
        answering = self._agent.request(question.method, question.url, question.headers, producer)
        question.under_way = answering
        answering.addCallback(self._read)
        answering.addBoth(self._came, question)

    def _read(self, response: Any) -> Deferred[HttpsAnswer]:
        media_type = (response.headers.getRawHeaders("content-type") or [""])[0].split(";", 1)[0].strip().lower()
        reading = _Reading(self._maximum)
        response.deliverBody(reading)
        return reading.done.addCallback(lambda body: HttpsAnswer(response.code, media_type, body))

    def _came(self, result: HttpsAnswer | Failure, question: _Question) -> None:
        self._under_way -= 1
        if isinstance(result, Failure):
            if isinstance(result.value, _UNANSWERED) and not question.was_repeated and not question.is_over:
                self._repeat(question)
                return
            self._end(question, HttpsFault(_why(result)))
        else:
            self._end(question, result)
        self._start_more()

    def _repeat(self, question: _Question) -> None:
        """Ask once more, over a new connection: an idle one may have been closed just when it was used."""
        question.was_repeated = True
        question.under_way = None
        self._waiting.appendleft(question)
        self._pool.closeCachedConnections().addBoth(lambda _: self._start_more())

    def _too_late(self, question: _Question) -> None:
        self._end(question, HttpsFault(f"no answer within {self._seconds:g} s"))
        self._give_up(question)

    def _give_up(self, question: _Question) -> None:
        question.is_over = True
        if question.under_way is not None:
            question.under_way.cancel()
        elif question in self._waiting:
            self._waiting.remove(question)

    def _end(self, question: _Question, result: HttpsAnswer | HttpsFault) -> None:
        if question.is_over:
            return
        question.is_over = True
        if isinstance(result, HttpsFault):
            question.deferred.errback(result)
        else:
            question.deferred.callback(result)


def _why(failure: Failure) -> str:
    """Why there is no answer, from what may be wrapped several times."""
    error = failure.value
    reasons = getattr(error, "reasons", None)
    if reasons:
        # What ended the connection, before what the answer lacks because of it.
        return _why(
            next((each for each in reasons if each.check(_TooLarge, SSL.Error, VerificationError)), reasons[-1])
        )
    if isinstance(error, DNSLookupError):
        return "its name is not known to the DNS"
    if isinstance(error, VerificationError):
        return "its certificate is for another name"
    if isinstance(error, SSL.Error):
        text = str(error.args[0][0][-1]) if error.args and error.args[0] else "it ended"
        return f"TLS: {text:.100}"
    if isinstance(error, ConnectError):
        return f"it cannot be reached: {error!s:.100}"
    if isinstance(error, CancelledError | TimeoutError):
        return "it took too long"
    if isinstance(error, _TooLarge):
        return str(error)
    return f"{type(error).__name__}: {failure.getErrorMessage():.100}"


class _TooLarge(Exception):
    """More bytes came than an answer may have."""


class _Reading(Protocol):
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
            self.done.errback(_TooLarge(f"its answer is larger than {self._maximum} bytes"))
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
            reason = Failure(_TooLarge(f"its answer is larger than {self.factory.maximum} bytes with its head"))
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
class _Endpoints:
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
