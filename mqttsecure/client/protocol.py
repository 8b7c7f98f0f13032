# -*- test-case-name: tests.client.test_protocol -*-
"""The machine on a Twisted transport: bytes, time and back-pressure."""

from __future__ import annotations

from typing import Any, Final
from typing import Protocol as Typed

from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.client.events import Ended, Event
from mqttsecure.client.failures import ClientError, ConnectionLost, TlsFailed
from mqttsecure.client.machine import Machine, State
from mqttsecure.client.trust import Judge, channel_binding, tls_failure

__all__ = ["ClientProtocol", "Owner"]

_PIECE: Final = 65536
"""Bytes in one write: what Twisted takes before it says that it has enough."""

_LINGER: Final = 2.0
"""Seconds that a closing connection may take to send what is left and to hear the other end close."""


class Owner(Typed):
    """Whose connection it is."""

    def on_event(self, event: Event) -> None:
        """The machine tells something."""

    def on_lost(self, error: ClientError) -> None:
        """The connection is gone, because of that."""

    @property
    def inbox_is_full(self) -> bool:
        """Whether to stop reading, unless the broker owes answers."""

    @property
    def inbox_is_overfull(self) -> bool:
        """Whether to stop reading at all events."""


@implementer(IHandshakeListener, IPushProducer)
class ClientProtocol(Protocol):
    """One Network Connection."""

    def __init__(
        self, machine: Machine, owner: Owner, clock: IReactorTime, deadline: float, judge: Judge | None
    ) -> None:
        self._machine = machine
        self._owner = owner
        self._clock = clock
        self._deadline = deadline
        self._judge = judge
        self._timer: IDelayedCall | None = None
        self._is_blocked = False
        self._is_deaf = False
        self._is_closing = False
        self._is_lost = False
        self._is_turning = False
        self._error: ClientError | None = None
        self._unsent = memoryview(b"")
        self.bytes_sent = 0
        """Given to the transport so far."""

    @property
    def _transport(self) -> Any:  # a TCP or TLS transport; no single interface has all that is used of them
        return self.transport

    # -- the beginning ----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._transport.setTcpNoDelay(True)
        if self._judge is None:
            self._begin()
            return
        # Whoever accepts and then says nothing of TLS is not waited for without end.
        self._arm(self._deadline)

    def handshakeCompleted(self) -> None:
        judge = self._judge
        if judge is not None and not judge.is_satisfied:
            self._close(judge.refusal or TlsFailed("the broker showed no certificate", "see its configuration"))
            return
        self._begin()

    def _begin(self) -> None:
        self._transport.registerProducer(self, True)
        binding = None if self._judge is None else channel_binding(self._transport.getHandle())
        self._machine.connection_made(self._clock.seconds(), self._deadline, binding)
        self.turn()

    # -- bytes ------------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if not self._is_closing:
            self._machine.feed(data, self._clock.seconds())
            self.turn()

    def turn(self) -> None:
        """Work off what has come, send what may be sent, and see when to look again."""
        if self._is_turning or self._is_lost:
            return  # called from within an event: the loop below goes on
        self._is_turning = True
        try:
            moved = True
            while moved and not self._is_lost:
                moved = self._take_events()
                moved = self._send() or moved
        finally:
            self._is_turning = False
        self._settle()

    def _take_events(self) -> bool:
        moved = False
        while (event := self._machine.next_event(self._clock.seconds(), read=not self._must_not_read)) is not None:
            moved = True
            if isinstance(event, Ended):
                self._close(event.error)
            else:
                self._owner.on_event(event)
        return moved

    def _send(self, *, all_of_it: bool = False) -> bool:
        """Give the transport what it takes, in pieces, so that it never holds much of what may be a large message."""
        moved = False
        while not self._is_lost and (all_of_it or not self._is_blocked):
            if not self._unsent:
                self._unsent = memoryview(self._machine.take_outbox(self._clock.seconds()))
                if not self._unsent:
                    break
                moved = True
            piece, self._unsent = self._unsent[:_PIECE], self._unsent[_PIECE:]
            self.bytes_sent += len(piece)
            self._transport.write(bytes(piece))
        return moved

    @property
    def _must_not_read(self) -> bool:
        """Stop reading where the application is behind, unless it may wait for an answer that is still to be read."""
        owner = self._owner
        return owner.inbox_is_overfull or (owner.inbox_is_full and not self._machine.awaits_answers)

    def _settle(self) -> None:
        if self._is_lost or self._is_closing:
            return
        is_deaf = self._must_not_read
        if is_deaf is not self._is_deaf:
            self._is_deaf = is_deaf
            if is_deaf:
                self._transport.pauseProducing()
            else:
                self._transport.resumeProducing()
        self._machine.follow(self._clock.seconds(), is_blocked=self._is_blocked, is_deaf=is_deaf)
        self._arm(self._machine.next_deadline())

    # -- what the transport says about our bytes --------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._is_blocked = True
        self._machine.follow(self._clock.seconds(), is_blocked=True, is_deaf=self._is_deaf)

    def resumeProducing(self) -> None:
        self._is_blocked = False
        self._machine.follow(self._clock.seconds(), is_blocked=False, is_deaf=self._is_deaf)
        self.turn()

    def stopProducing(self) -> None:
        self._is_blocked = True

    # -- time -------------------------------------------------------------------------------------------------------

    def _arm(self, deadline: float | None) -> None:
        now = self._clock.seconds()
        if self._timer is not None and self._timer.active():
            if deadline is not None:
                self._timer.reset(max(0.0, deadline - now))
                return
            self._timer.cancel()
        self._timer = None if deadline is None else self._clock.callLater(max(0.0, deadline - now), self._expired)

    def _expired(self) -> None:
        self._timer = None
        if self._machine.state is State.IDLE:
            self._close(
                TlsFailed("the TLS handshake took too long", "is that a TLS port? try again later", transient=True)
            )
            return
        self._machine.expire(self._clock.seconds())
        self.turn()

    # -- the end ----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Send what is left, and close; the machine has said goodbye."""
        self._close(None)

    def _close(self, error: ClientError | None) -> None:
        if self._is_closing or self._is_lost:
            return
        self._error = error
        self._send(all_of_it=True)
        self._is_closing = True
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(_LINGER, self._abort)

    def _abort(self) -> None:
        self._timer = None
        self._transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        state = self._machine.state
        error = self._error
        if error is None:
            # Behind CONNACK nobody judges certificates any more: whatever TLS says then, the connection broke.
            is_new = state in (State.IDLE, State.CONNECTING)
            error = tls_failure(self._judge, reason) if self._judge is not None and is_new else None
            error = error or _lost(state, reason, self._judge is None)
        self._machine.connection_lost()
        self._owner.on_lost(error)


def _lost(state: State, reason: Failure, is_plain: bool) -> ConnectionLost:
    """The connection ended by itself."""
    how = "" if reason.check(type(connectionDone.value)) else f" ({reason.getErrorMessage()})"
    if state is State.CONNECTING:
        return ConnectionLost(
            f"the broker closed the connection without an answer to CONNECT{how}",
            "may this address connect? see the broker's log"
            + ("; if the port speaks TLS, write mqtts://" if is_plain else ""),
        )
    if state is State.IDLE:
        return ConnectionLost(f"the broker closed the connection within the TLS handshake{how}", "see the broker's log")
    return ConnectionLost(f"the connection was lost{how}", "see to the network and the broker")
