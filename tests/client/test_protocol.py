"""The machine on a transport."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mqttsecure.client.address import Address
from mqttsecure.client.client import Client
from mqttsecure.client.failures import TlsFailed
from mqttsecure.client.options import ClientOptions, TlsOptions
from mqttsecure.client.trust import Trust
from tests.client.brokers import PATIENCE
from tests.client.network import Network


class PiecesTests(SynchronousTestCase):
    """A large message."""

    def setUp(self) -> None:
        self.network = Network(queue_bytes=1 << 24)
        self.network.connect()
        self.network.sent()

    def test_piece_by_piece(self) -> None:
        """It goes to the transport as that takes it, and is told of meanwhile; it is done when all of it has left."""
        answer = self.network.client.publish("t", b"x" * 100_000)
        self.assertGreater(self.network.client.bytes_sent, 100_000)
        self.successResultOf(answer)
        self.network.sent()
        before = self.network.client.bytes_sent
        write = self.network.transport.write

        def write_and_fill(data: bytes) -> None:
            write(data)
            self.network.protocol.pauseProducing()

        self.patch(self.network.transport, "write", write_and_fill)
        self.network.client.publish("t", b"y" * 200_000)
        self.assertEqual(self.network.client.bytes_sent - before, 65536)
        for _ in range(3):
            self.network.protocol.resumeProducing()
        self.assertEqual(self.network.published(), [b"y" * 200_000])

    def test_goodbye_after_half_a_message(self) -> None:
        """What has begun is sent to its end before DISCONNECT, so that the broker can read it."""
        write = self.network.transport.write

        def write_and_fill(data: bytes) -> None:
            write(data)
            self.network.protocol.pauseProducing()

        self.patch(self.network.transport, "write", write_and_fill)
        self.network.client.publish("t", b"z" * 200_000)
        self.network.client.disconnect()
        packets = [type(packet).__name__ for packet in self.network.sent()]
        self.assertEqual(packets, ["Publish", "Disconnect"])


class HandshakeTests(TestCase):
    """TLS that does not come to its end."""

    timeout = 120

    def client_of(self, port: int, clock: Clock) -> Client:
        """A client whose time is the test's."""
        address = Address("127.0.0.1", port, True)
        trust = Trust(address, TlsOptions())
        endpoint = wrapClientTLS(trust, HostnameEndpoint(reactor, "127.0.0.1", port))
        ignore: Callable[[object], None] = lambda what: None  # noqa: E731  # shorter than a function
        return Client(address, clock, ClientOptions(), lambda: (endpoint, trust.judge), ignore, ignore, lambda: 0.0)

    async def test_silent(self) -> None:
        """A port that takes the connection and never speaks TLS is given up in time."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        accepted: list[socket.socket] = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]), daemon=True)
        thread.start()
        clock = Clock()
        client = self.client_of(listener.getsockname()[1], clock)
        started = client.start()
        while not accepted or client._dialling is not None:
            await deferLater(reactor, 0.01)
        clock.advance(31)
        try:
            await started
        except TlsFailed as error:
            self.assertIn("took too long", str(error))
            self.assertTrue(error.transient)
        else:
            raise AssertionError("connected")
        thread.join(PATIENCE)
        accepted[0].close()
