"""Sending at once on real sockets: order, a full socket, a broken one, and closing while bytes wait."""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial import unittest

from mqttsecure.transport.sending import Sender
from tests.support.transport import HandReactor


class Lost(Protocol):
    """Counts ends."""

    lost = 0

    def connectionLost(self, reason: Any = None) -> None:
        self.lost += 1


class Socket(Connection):
    """A connected socket as Twisted's servers have it."""

    def __init__(self, sock: socket.socket, protocol: Protocol, reactor: HandReactor) -> None:
        super().__init__(sock, protocol, reactor)
        self.connected = 1
        self.startReading()


class SenderTests(unittest.SynchronousTestCase):
    """A sender on one end of a connection, whose other end reads when the test says so."""

    def setUp(self) -> None:
        self.reactor = HandReactor()
        near, self.far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.far.setblocking(False)
        self.addCleanup(self.far.close)
        self.protocol = Lost()
        self.transport: Any = Socket(near, self.protocol, self.reactor)
        self.addCleanup(self._end)
        self.drained = 0
        self.sender = Sender(self.transport, self._drained)

    def _drained(self) -> None:
        self.drained += 1

    def _end(self) -> None:
        self.transport.abortConnection()
        self.reactor.turn()
        self.assertEqual(self.protocol.lost, 1)
        self.assertEqual(self.reactor.getReaders() + self.reactor.getWriters(), [])

    def read(self) -> bytes:
        """All that is there now, None of it waited for."""
        found = b""
        try:
            while data := self.far.recv(65_536):
                found += data
        except BlockingIOError:
            pass
        return found

    def read_to_end(self) -> bytes:
        """All that comes, the reactor turning meanwhile, until the connection ends."""
        found = b""
        for _ in range(10_000):
            self.reactor.turn()
            try:
                data = self.far.recv(65_536)
            except BlockingIOError:
                continue
            if not data:
                return found
            found += data
        raise AssertionError(f"no end after {len(found)} bytes")

    def fill(self) -> bytes:
        """Send until the socket takes no more; what was sent."""
        data = bytes(range(256)) * 4096
        self.sender.send(data)
        self.assertTrue(self.sender.is_blocked)
        return data

    def test_at_once(self) -> None:
        """The other end has it before the reactor turns."""
        self.sender.send(b"hello")
        self.assertEqual(self.read(), b"hello")
        self.assertFalse(self.sender.is_blocked)
        self.assertEqual(self.drained, 0)

    def test_what_is_held_is_counted(self) -> None:
        """What waits in the transport is known to the byte, so that it can count against a budget."""
        data = self.fill()
        received = len(self.read())
        self.assertEqual(self.sender.held, len(data) - received)
        self.sender.send(b"later")
        self.assertEqual(self.sender.held, len(data) - received + 5)
        for _ in range(2000):
            self.reactor.turn()
            self.read()
        self.assertEqual((self.sender.held, self.sender.is_blocked), (0, False))

    def test_order_behind_what_waits(self) -> None:
        """Later bytes never overtake those that the socket did not take."""
        data = self.fill()
        received = self.read()
        self.assertLess(len(received), len(data))
        self.sender.send(b"later")  # there is room on the socket, but it is not this one's turn
        for _ in range(2000):
            self.reactor.turn()
            received += self.read()
        self.assertEqual(received, data + b"later")
        self.assertFalse(self.sender.is_blocked)
        self.assertEqual(self.drained, 1)
        self.sender.send(b"at once again")
        self.assertEqual(self.read(), b"at once again")

    def test_full_before_the_first_byte(self) -> None:
        """A socket that takes nothing at all."""
        try:
            while True:
                self.transport.socket.send(b"x" * 4096)
        except BlockingIOError:
            pass
        self.sender.send(b"hello")
        self.assertTrue(self.sender.is_blocked)
        self.read()
        self.reactor.turn()
        self.reactor.turn()
        self.assertEqual(self.read(), b"hello")
        self.assertEqual(self.drained, 1)

    def test_broken_pipe(self) -> None:
        """A peer that is gone raises nothing: the reactor finds out and ends the connection."""
        self.far.close()
        self.sender.send(b"hello")
        self.assertTrue(self.sender.is_blocked)
        self.reactor.turn()
        self.assertEqual(self.protocol.lost, 1)
        self.sender.send(b"nothing")

    def test_close_with_nothing_waiting(self) -> None:
        """The connection ends, although the transport has a producer."""
        self.sender.send(b"last")
        self.transport.loseConnection()
        self.assertEqual(self.read_to_end(), b"last")
        self.assertEqual(self.protocol.lost, 1)

    def test_close_while_blocked(self) -> None:
        """All that waits is sent first."""
        data = self.fill()
        self.transport.loseConnection()
        self.assertEqual(self.read_to_end(), data)
        self.assertEqual(self.protocol.lost, 1)
        self.assertEqual(self.drained, 0)

    def test_finish(self) -> None:
        """Our end is over once all is sent, the peer is still heard, and its end is the end."""
        for data in (b"", b"last"):
            with self.subTest(data=data):
                self.setUp()
                if data:
                    data = self.fill() + data
                    self.sender.send(b"last")
                self.sender.finish()
                self.assertEqual(self.read_to_end(), data)
                self.assertEqual(self.protocol.lost, 0)
                heard: list[bytes] = []
                self.patch(self.protocol, "dataReceived", heard.append)
                self.far.send(b"still here")
                self.reactor.turn()
                self.assertEqual(heard, [b"still here"])
                self.far.close()
                self.reactor.turn()
                self.assertEqual(self.protocol.lost, 1)

    def test_peer_never_reads(self) -> None:
        """An abort ends it, whatever waits."""
        self.fill()
        self.sender.finish()
        for _ in range(5):
            self.reactor.turn()
        self.assertEqual(self.protocol.lost, 0)
        self.transport.abortConnection()
        self.reactor.turn()
        self.assertEqual(self.protocol.lost, 1)

    def test_lost_while_blocked(self) -> None:
        """A reset while bytes wait: nobody is told of room, and nothing more is sent."""
        self.fill()
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.far.close()
        for _ in range(3):
            self.reactor.turn()
        self.assertEqual(self.protocol.lost, 1)
        self.assertEqual(self.drained, 0)
        self.sender.send(b"x")
        self.assertIsNone(self.transport.producer)

    def test_transport_that_is_no_socket(self) -> None:
        """It takes all there is."""
        transport = StringTransport()
        sender = Sender(transport, self._drained)
        sender.send(b"hello")
        sender.finish()
        self.assertEqual(transport.value(), b"hello")
        self.assertTrue(transport.disconnecting)
