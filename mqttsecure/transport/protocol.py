# -*- test-case-name: tests.transport.test_protocol -*-
"""One network connection: from the HANDSHAKE stage to its end. On the path of each read and write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import ConnectionFacts, Effect, Pending, Request, Stage, Verdict
from mqttsecure.core.events import Denied, TlsFailed
from mqttsecure.transport.driver import CoreDriver
from mqttsecure.transport.sending import Sender
from mqttsecure.transport.tls import TlsTransport, refused_certificate, tls_facts, tls_problem
from mqttsecure.wire.constants import ReasonCode

__all__ = ["MqttProtocol"]

_WRITE_SIZE: Final = 64 * 1024
"""Most that is written at once, so that no more than that can wait in the transport for a socket that is full; the rest
stays in the outbox, where it is counted and can be dropped."""

_MANY_PIECES: Final = 1024
"""Pieces of an outbox that has to wait; more are joined, since acknowledgements that nobody reads are small, and as
objects of their own would cost ten times the bytes that are counted."""


@implementer(IHandshakeListener)
class MqttProtocol(Protocol):
    """Adapts one transport to the core.

    ``facts`` come from the ACCEPT stage, which has permitted the connection; ``on_made`` is called with them once at
    its beginning and ``on_lost`` once at its end, however it ends.
    """

    def __init__(
        self,
        driver: CoreDriver,
        facts: ConnectionFacts,
        is_tls: bool,
        on_made: Callable[[ConnectionFacts], None],
        on_lost: Callable[[ConnectionFacts], None],
    ) -> None:
        self._driver = driver
        self._counters = driver.core.counters
        self._held = 0
        self._on_made = on_made
        self._on_lost = on_lost
        self._facts = facts
        self._is_tls = is_tls
        self._transport: Any = None
        self._sender: Sender
        self._send: Callable[[bytes], None]
        self._connection: Connection | None = None
        self._is_through = False
        self._pending: Pending | None = None
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._is_reading = True
        self._linger: IDelayedCall | None = None

    @property
    def facts(self) -> ConnectionFacts:
        """What is known of the connection."""
        return self._facts

    # -- coming up -----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._transport = transport = self.transport
        self._driver.arrived(self)
        self._on_made(self._facts)
        if isinstance(transport, TlsTransport):
            self._sender = transport.sender
            self._send = transport.write
        else:
            self._sender = Sender(transport, self.resumeProducing)
            self._send = self._sender.send
        connection = self._connection = self._driver.core.connection_made(self._facts)
        connection.adapter = self
        self._driver.schedule_flush()  # sets the timer for the CONNECT that is due
        if not self._is_tls:
            self._judge_handshake()

    def handshakeCompleted(self) -> None:
        """TLS is up: its facts are known now, and not earlier."""
        self._facts.tls = tls_facts(self._transport)
        self._judge_handshake()

    def _judge_handshake(self) -> None:
        request = Request(Stage.HANDSHAKE, self._facts, self._driver.clock.seconds())
        answer = self._driver.chain.decide(request)
        if isinstance(answer, Pending):
            self._pending = answer
            answer.listener = lambda pending, verdict: self._verdict_came(request, verdict)
            self._transport.pauseProducing()
        else:
            self._handshake_judged(request, answer)

    def _verdict_came(self, request: Request, verdict: Verdict) -> None:
        if verdict.policy_version == self._driver.core.state.policy_version:
            self._handshake_judged(request, verdict)
        else:
            self._judge_handshake()  # the policies have changed meanwhile, and it is the new ones' to say

    def _handshake_judged(self, request: Request, verdict: Verdict) -> None:
        waited = self._pending is not None
        self._pending = None
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        if verdict.effect is not Effect.PERMIT:
            self._driver.core.state.events.append(Denied(request, verdict))
            self._driver.end(connection, verdict.reason_code, "denied at HANDSHAKE")
            return
        self._is_through = True
        if waited:
            self._transport.resumeProducing()
        early, self._early = self._early, []
        for data in early:
            self._driver.receive(connection, data)

    # -- reading and writing -------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        if self._is_through:
            self._driver.receive(connection, data)
        else:
            self._keep_early(connection, data)

    def _keep_early(self, connection: Connection, data: bytes) -> None:
        """Bytes that arrive before the HANDSHAKE verdict wait, within the same bound as behind any other verdict."""
        self._early_bytes += len(data)
        if not connection.is_open:
            self._ignore()
        elif self._early_bytes > 2 * self._driver.limits.pending_bytes:
            self._driver.end(connection, ReasonCode.QUOTA_EXCEEDED, "sent too much while it had to wait")
        else:
            self._early.append(data)

    def _ignore(self) -> None:
        """Bytes behind the end are read and dropped, so that a client which still sends can read why it ended.

        A stranger who goes on sending was told nothing that is worth it.
        """
        if self._facts.principal is None and self._early_bytes > self._driver.limits.pending_bytes:
            self.abort()

    def flush(self) -> None:
        """Carry out what the core wants of this connection."""
        connection = self._connection
        if connection is None:
            return
        outbox = connection.outbox
        if outbox and (connection.writable or connection.closing):
            data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
            size = len(data)
            connection.outbox = []
            connection.outbox_bytes = connection.gated_octets
            if size <= _WRITE_SIZE:
                self._send(data)
            else:
                size = self._write_in_parts(connection, data)
            self._counters.bytes_sent += size
            if self._sender.is_blocked:
                self._count_held(connection)
        elif len(outbox) > _MANY_PIECES:
            connection.outbox = [b"".join(outbox)]
        if connection.closing:
            self._close(connection)
            return
        if connection.reading is not self._is_reading:
            self._set_reading(connection.reading)
        if connection.writable and not connection.outbox:
            session = connection.session
            if connection.replays is not None or (session is not None and session.queue is not None):
                self._driver.core.drained(connection, self._driver.clock.seconds())

    def _set_reading(self, is_reading: bool) -> None:
        self._is_reading = is_reading
        if is_reading:
            self._transport.resumeProducing()
        else:
            self._transport.pauseProducing()

    def _count_held(self, connection: Connection) -> None:
        """What the transport holds, TLS's overhead included, counts as part of the outbox until it is sent."""
        connection.writable = False
        self._held = self._sender.held
        connection.outbox_bytes += self._held

    def _write_in_parts(self, connection: Connection, data: bytes) -> int:
        """Write as long as the socket takes it, and put the rest back; how much was written."""
        position = 0
        while position < len(data) and (connection.closing or not self._sender.is_blocked):
            self._send(data[position : position + _WRITE_SIZE])
            position += _WRITE_SIZE
        if position < len(data):
            connection.outbox.append(data[position:])
            connection.outbox_bytes = connection.gated_octets + len(data) - position
        return min(position, len(data))

    def resumeProducing(self) -> None:
        """The network has taken what was written."""
        connection = self._connection
        if connection is not None:
            connection.writable = True
            connection.full_since = 0.0
            connection.outbox_bytes = max(0, connection.outbox_bytes - self._held)
            self._held = 0
            self._driver.core.state.touch(connection)
            self._driver.schedule_flush()

    # -- the end -------------------------------------------------------------------------------------------------

    def _close(self, connection: Connection) -> None:
        """Close in good order, and abort a peer that does not let us."""
        if self._linger is not None:
            return
        clock = self._driver.clock
        self._linger = clock.callLater(self._driver.limits.close_linger, self.abort)
        self._cancel_pending()
        self._early.clear()
        self._early_bytes = 0
        self._is_through = False
        self._transport.resumeProducing()  # a paused transport would not see the peer's end
        if self._is_tls or connection.by_peer:  # TLS says its own goodbye and waits for the peer's
            self._transport.loseConnection()
        else:
            self._sender.finish()

    def abort(self) -> None:
        """End it now, whatever is still to be written."""
        self._transport.abortConnection()

    def tls_ended(self, failure: Failure | None) -> None:
        """TLS is over before the network connection is."""
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        problem = tls_problem(failure)
        if problem is not None and self._facts.tls is None:
            text = f"the TLS handshake failed: {problem}"
            event = TlsFailed(self._facts, 0, text, by_peer=False, certificate=refused_certificate(self._transport))
            self._driver.core.state.events.append(event)
        self._driver.lost(connection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        self._cancel_pending()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._driver.lost(connection)
            connection.adapter = None
        if self._transport is not None:
            self._on_lost(self._facts)
            self._driver.left(self)

    def _cancel_pending(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
