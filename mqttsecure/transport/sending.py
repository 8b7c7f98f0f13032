# -*- test-case-name: tests.transport.test_sending -*-
"""Sending at once. On the path of each write.

Twisted's ``transport.write`` keeps bytes until the reactor has found the socket writable, which costs two
``epoll_ctl`` calls and a turn, more than the ``send`` itself. A broker that writes each connection once per turn
sends right away, and leaves only what the socket does not take to the transport.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer
from twisted.internet.tcp import Connection
from zope.interface import implementer

__all__ = ["Sender"]


@implementer(IPullProducer)
class Sender:
    """Everything that is sent on one transport goes through its sender, so that bytes stay in order.

    ``is_blocked`` is true while the transport holds bytes, ``held`` says how many at most; ``on_drained`` is called
    when it holds none any more. As its pull producer the sender hears of that. A transport that is no socket (a test's)
    takes all at once.

    Args:
        transport: the TCP transport.
        on_drained: see above.
    """

    __slots__ = ("_on_drained", "_send", "_transport", "held", "is_blocked")

    def __init__(self, transport: Any, on_drained: Callable[[], None]) -> None:
        self._transport = transport
        self._on_drained = on_drained
        self.is_blocked = False
        self.held = 0
        self._send: Callable[[bytes], int] | None = None
        if isinstance(transport, Connection):
            self._send = transport.getHandle().send
            transport.registerProducer(self, False)

    def send(self, data: bytes) -> None:
        """Send ``data`` behind all that was sent before."""
        if self._send is None:
            self._transport.write(data)
            return
        if self.is_blocked:
            self.held += len(data)
            self._transport.write(data)
            return
        try:
            sent = self._send(data)
        except OSError:
            sent = 0  # full; or broken, which the reactor finds out again and handles in its own way
        if sent < len(data):
            self.is_blocked = True
            self.held = len(data) - sent
            self._transport.write(data[sent:])

    def finish(self) -> None:
        """End our side once all is sent, and go on hearing the peer, who ends its own or is aborted.

        A socket closed with unread bytes in it resets the connection, and the peer may lose what it was told last.
        """
        if self._send is None:
            self._transport.loseConnection()
        else:
            self._transport.unregisterProducer()  # else it would wait for more in place of closing
            self._transport.loseWriteConnection()

    def resumeProducing(self) -> None:
        """The transport has sent all that it held."""
        if self._transport.disconnecting:
            self._transport.unregisterProducer()  # else it would wait for more in place of closing
        elif self.is_blocked:
            self.is_blocked = False
            self.held = 0
            self._on_drained()

    def stopProducing(self) -> None:
        """The transport is going away."""
        self.is_blocked = True
