"""Servers that are no good: whatever they do, a client ends with an error in bounded time and memory, or goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from mqttsecure.client.address import Address
from mqttsecure.client.client import Client, connect
from mqttsecure.client.failures import BrokerFault, ClientError, ConnectionLost, Disconnected, PublishRefused
from mqttsecure.client.options import Backoff, ClientOptions
from mqttsecure.wire.packets import Connack, Disconnect, Puback, Pubcomp, Publish, Pubrec, Suback
from tests.client.brokers import FakeBroker, Peer

Behave = Callable[[Peer], object]


def greet(peer: Peer) -> None:
    """Take the CONNECT."""
    peer.receive()
    peer.send(Connack())


class HostileCase(TestCase):
    """Real sockets on loopback."""

    timeout = 120

    def serve(self, behave: Behave) -> FakeBroker:
        broker = FakeBroker(behave)
        self.addCleanup(broker.stop)
        return broker

    async def connect(self, broker: FakeBroker, **options: Any) -> Client:
        wished: dict[str, Any] = {"client_id": "c", "backoff": None, "connect_timeout": 30, **options}
        client = await connect(f"mqtt://127.0.0.1:{broker.port}", reactor, ClientOptions(**wished))
        self.addCleanup(client.disconnect)
        return client

    def client_of(self, broker: FakeBroker, clock: Clock) -> Client:
        """A client whose time is the test's."""
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", broker.port)
        options = ClientOptions(client_id="c", backoff=None)
        ignore: Callable[[object], None] = lambda what: None  # noqa: E731  # shorter than a function
        address = Address("127.0.0.1", broker.port, False)
        return Client(address, clock, options, lambda: (endpoint, None), ignore, ignore, lambda: 0.0)

    async def failure(self, broker: FakeBroker, **options: Any) -> ClientError:
        """How the attempt to connect fails."""
        try:
            await self.connect(broker, **options)
        except ClientError as error:
            self.assertNotIn("\n", str(error))
            return error
        raise AssertionError("connected")


class ConnectingTests(HostileCase):
    """Before CONNACK."""

    async def test_never_answers(self) -> None:
        """It takes the connection, and that is all; or begins an answer that never comes to its end."""
        for answer in (b"", b"\x20\x7f\x00\x00"):
            has_come = threading.Event()

            def behave(peer: Peer, answer: bytes = answer, has_come: threading.Event = has_come) -> None:
                peer.receive()
                peer.send(answer)
                has_come.set()
                peer.until_closed()

            clock = Clock()
            started = self.client_of(self.serve(behave), clock).start()
            while not has_come.is_set():
                await deferLater(reactor, 0.01)
            clock.advance(31)
            try:
                await started
            except ConnectionLost as error:
                self.assertIn("no CONNACK came within 30 s", str(error))
            else:
                raise AssertionError("connected")

    async def test_no_mqtt(self) -> None:
        """Another protocol, half a packet, a packet out of order, and a size that nobody should believe."""
        for answer in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            bytes(100),
            b"\xff" * 100,
            b"\x30\xff\xff\xff\x7f",
            b"\x20\xff\xff\xff\xff\xff",
            b"\x20\x03\x02\x00\x00",
            b"\x40\x02\x00\x01",
        ):

            def behave(peer: Peer, answer: bytes = answer) -> None:
                peer.receive()
                peer.send(answer)
                peer.until_closed()

            self.assertIsInstance(await self.failure(self.serve(behave)), BrokerFault, str(answer))

    async def test_closes(self) -> None:
        """At once, after CONNECT, or in the middle of CONNACK."""
        for behave in (lambda peer: None, lambda peer: peer.receive(), lambda peer: peer.send(b"\x20\x03")):
            self.assertIsInstance(await self.failure(self.serve(behave)), ConnectionLost)

    async def test_drips(self) -> None:
        """A CONNACK byte by byte is one."""

        def dripping(peer: Peer) -> None:
            peer.receive()
            for byte in (b"\x20", b"\x03", b"\x00", b"\x00", b"\x00"):
                peer.send(byte)
            peer.until_closed()

        await self.connect(self.serve(dripping))


class ConnectedTests(HostileCase):
    """After CONNACK."""

    async def end_of(self, behave: Behave, **options: Any) -> ClientError:
        """How a client ends that publishes and subscribes."""

        def whole(peer: Peer) -> None:
            greet(peer)
            behave(peer)

        client = await self.connect(self.serve(whole), **options)
        closed = client.closed()
        answers = [client.publish("t", b"x", 1), client.publish("t", b"x", 2), client.subscribe("t")]
        for answer in answers:
            answer.addErrback(lambda failure: failure.trap(ClientError))
        try:
            await closed
        except ClientError as error:
            for answer in answers:
                await answer
            return error
        raise AssertionError("it goes on")

    async def test_wrong_answers(self) -> None:
        """Acknowledgements of what was never sent, of another kind, too many codes, garbage, a message too large."""
        for answer in (
            Puback(9999),
            Puback(3),
            Pubrec(2),
            Pubcomp(3),
            Suback(2, [0]),
            Suback(1, [0, 0]),
            Suback(9999, [0]),
            Publish("t", b"x" * 5000),
            b"\xf0\x00",
            b"\x62\x00",
            Connack(),
        ):

            def behave(peer: Peer, answer: Any = answer) -> None:
                for _ in range(3):  # SUBSCRIBE 1, PUBLISH 2 and 3
                    peer.receive()
                peer.send(answer)
                peer.until_closed()

            error = await self.end_of(behave, maximum_packet_size=1000)
            self.assertIsInstance(error, BrokerFault, str(answer))

    async def test_never_acknowledges(self) -> None:
        """It reads everything and answers nothing but pings: a client does not wait for ever."""
        error = await self.end_of(lambda peer: peer.until_closed(), answer_timeout=0.3)
        self.assertIsInstance(error, ConnectionLost)
        self.assertIn("answered", str(error))

    async def test_never_pongs(self) -> None:
        """It does not even answer pings."""
        error = await self.end_of(lambda peer: peer.until_closed(), keep_alive=1, ping_timeout=0.2)
        self.assertIn("ping", str(error))

    async def test_goodbye(self) -> None:
        """A DISCONNECT with a reason is told with it."""

        def behave(peer: Peer) -> None:
            peer.send(Disconnect(0x97, {"reason_string": "too much"}))
            peer.until_closed()

        error = await self.end_of(behave)
        self.assertIsInstance(error, Disconnected)
        self.assertIn("too much", str(error))

    async def test_never_reads(self) -> None:
        """What it does not take stays in a bounded queue, and the connection is given up."""

        def behave(peer: Peer) -> None:
            greet(peer)
            stuck.wait(60)

        stuck = threading.Event()
        broker = FakeBroker(behave, receive_buffer=4096)
        self.addCleanup(broker.stop)
        self.addCleanup(stuck.set)
        # More than the kernel takes for a connection, whose peer takes next to nothing.
        client = await self.connect(broker, answer_timeout=0.5, queue_messages=100, queue_bytes=1 << 26)
        closed = client.closed()
        failures: list[object] = []
        for _ in range(200):
            answer = client.publish("t", b"x" * 400_000, 0)
            answer.addErrback(failures.append)
        self.assertGreater(len(failures), 50)
        try:
            await closed
        except ConnectionLost as error:
            self.assertIn("takes nothing", str(error))
        else:
            raise AssertionError("it goes on")

    async def test_closes_on_every_message(self) -> None:
        """As brokers of 3.1.1 refuse: the message is given up after a few connections, with a thought why."""

        def behave(peer: Peer) -> None:
            peer.receive()
            peer.send(Connack(), version=4)
            peer.receive()

        broker = self.serve(behave)
        client = await self.connect(broker, version=4, backoff=Backoff(0.01, 1, 0.01))
        try:
            await client.publish("t", b"x", 1)
        except PublishRefused as error:
            self.assertIn("permitted", str(error))
        else:
            raise AssertionError("published")
        self.assertGreaterEqual(broker.connections, 4)

    async def test_flood(self) -> None:
        """Megabytes of messages while the application is busy: reading stops, and nothing is lost."""
        release: Deferred[None] = Deferred()
        got: list[int] = []
        everything: Deferred[None] = Deferred()
        total = 20_000

        def consume(message: object) -> Deferred[None] | None:
            got.append(1)
            if len(got) == total:
                everything.callback(None)
            return release if len(got) == 1 else None

        def behave(peer: Peer) -> None:
            greet(peer)
            for _ in range(total // 100):
                peer.send(*[Publish("t", b"y" * 200)] * 100)
            peer.until_closed()

        broker = self.serve(behave)
        url = f"mqtt://127.0.0.1:{broker.port}"
        client = await connect(url, reactor, ClientOptions(client_id="c", backoff=None), on_message=consume)
        self.addCleanup(client.disconnect)
        while not client.inbox_is_full:
            await deferLater(reactor, 0)
        self.assertLess(len(client._inbox._waiting), 300)
        release.callback(None)
        await everything
        self.assertEqual(client.dropped, 0)
