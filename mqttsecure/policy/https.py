# -*- test-case-name: tests.policy.test_https -*-
"""Asks HTTPS services: with a verified certificate, over connections that are kept, and always within bounds.

An answer has a size and a time that it may take in all; a redirect is an answer like any other and never followed, so
that nobody else is asked than the configuration names. Twisted's own HTTP client does the work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IConsumer, IReactorTCP
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from mqttsecure.policy.https_bounds import BoundedEndpoints, Reading, TooLarge
from mqttsecure.policy.https_tls import TlsMaterial

__all__ = ["HttpsAnswer", "HttpsClient", "HttpsFault"]

CONNECTIONS: Final = 8
"""Requests under way to one service: a slow one is not to be met with more."""

WAITING: Final = 256
"""Requests that wait for one of these; one more fails at once."""

IDLE: Final = 30
"""Seconds for which an idle connection is kept."""

_HEADERS: Final = 16 * 1024
"""Bytes for the head of an answer, beside what its body may have."""


class HttpsFault(Exception):
    """No usable answer. The text says why, in words for the log, and holds nothing that was sent."""


@dataclass(slots=True, frozen=True)
class HttpsAnswer:
    """Status, media type without parameters in lower case, and body."""

    status: int
    media_type: str
    body: bytes


@dataclass(slots=True)
class _Question:
    method: bytes
    url: bytes
    headers: Headers = field(repr=False)
    body: bytes | None = field(repr=False)
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
            endpoints = BoundedEndpoints(reactor, tls, maximum + _HEADERS, seconds)
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
        reading = Reading(self._maximum)
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
        return _why(next((each for each in reasons if each.check(TooLarge, SSL.Error, VerificationError)), reasons[-1]))
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
    if isinstance(error, TooLarge):
        return str(error)
    return f"{type(error).__name__}: {failure.getErrorMessage():.100}"
