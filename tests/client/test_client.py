"""A client over several connections."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost as TcpLost
from twisted.internet.error import ConnectionRefusedError, DNSLookupError, NoRouteError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.client import Client, connect
from mqttsecure.client.events import Message, Published
from mqttsecure.client.failures import (
    AddressInvalid,
    ClientClosed,
    ConnectionLost,
    ConnectRefused,
    Disconnected,
    OptionsInvalid,
    PublishRefused,
    QueueFull,
    Unreachable,
)
from mqttsecure.client.options import Backoff, ClientOptions, TlsOptions
from mqttsecure.wire.packets import Connack, Connect, Disconnect, Puback, Publish, Suback, Subscribe
from tests.client.network import Network


class FirstTests(SynchronousTestCase):
    """The first connection."""

    def test_connected(self) -> None:
        """``connect`` gives the client once the broker has taken it."""
        network = Network()
        (connect_,) = network.accept()
        self.assertIsInstance(connect_, Connect)
        self.assertNoResult(network.started)
        network.say(Connack())
        self.assertIs(self.successResultOf(network.started), network.client)
        self.assertTrue(network.client.is_connected)

    def test_refused(self) -> None:
        """A no of the broker is told, and nobody asks again."""
        network = Network()
        network.accept()
        network.say(Connack(False, 0x86))
        self.assertTrue(network.transport.disconnecting)
        network.lose()
        self.failureResultOf(network.started, ConnectRefused)
        network.clock.advance(1000)
        self.assertEqual(network.attempts, 1)

    def test_unreachable(self) -> None:
        """Why there is no connection is told in words."""
        for error, words in (
            (ConnectionRefusedError(), "refused"),
            (DNSLookupError(), "no host"),
            (NoRouteError(), "cannot be reached"),
        ):
            network = Network()
            network.refuse(error)
            self.assertIn(words, str(self.failureResultOf(network.started, Unreachable).value))

    def test_takes_too_long(self) -> None:
        """Name and TCP have their time, too."""
        network = Network(connect_timeout=5)
        network.clock.advance(5)
        self.assertTrue(network.was_cancelled)
        self.assertIn("within 5 s", str(self.failureResultOf(network.started, Unreachable).value))

    def test_insist(self) -> None:
        """I may start the client before the broker."""
        network = Network(insist=True, backoff=Backoff(1, 2, 60))
        network.refuse(ConnectionRefusedError())
        self.assertNoResult(network.started)
        (change,) = network.changes
        self.assertEqual((change.is_connected, change.wait), (False, 1))
        network.clock.advance(1)
        network.connect()
        self.successResultOf(network.started)

    def test_cancel(self) -> None:
        """Who does not want to wait any more cancels."""
        network = Network()
        network.started.cancel()
        self.assertTrue(network.was_cancelled)
        self.failureResultOf(network.started, ClientClosed)

    def test_silent_broker(self) -> None:
        """A broker that takes TCP and says nothing is given up in time, and its connection cut if it does not close."""
        network = Network(connect_timeout=5)
        network.accept()
        network.clock.advance(5)
        self.assertTrue(network.transport.disconnecting)
        network.clock.advance(2)
        self.assertTrue(network.transport.aborting)
        network.lose()
        self.failureResultOf(network.started, ConnectionLost)


class AddressTests(SynchronousTestCase):
    """What ``connect`` refuses before it does anything."""

    def test_plaintext_beyond_this_machine(self) -> None:
        """Plaintext over a network has to be asked for."""
        reactor = MemoryReactorClock()
        self.failureResultOf(connect("mqtt://192.0.2.1", reactor), AddressInvalid)
        self.assertEqual(reactor.tcpClients, [])
        connect("mqtt://192.0.2.1", reactor, ClientOptions(allow_plaintext=True))
        reactor.advance(1)
        connect("mqtt://127.0.0.1", reactor)

    def test_files(self) -> None:
        """A CA file that is not there is told by name."""
        from pathlib import Path

        options = ClientOptions(tls=TlsOptions(ca_file=Path("no-such-file.pem")))
        failure = self.failureResultOf(connect("mqtts://localhost", MemoryReactorClock(), options), OptionsInvalid)
        self.assertIn("no-such-file.pem", str(failure.value))


class ComingBackTests(SynchronousTestCase):
    """The connection is lost."""

    def started(self, **options: Any) -> Network:
        network = Network(**{"backoff": Backoff(1, 2, 8), **options})
        network.connect()
        self.successResultOf(network.started)
        network.sent()
        return network

    def test_back(self) -> None:
        """The client comes back by itself, ever later; what I publish meanwhile waits and goes out."""
        network = self.started()
        network.lose(TcpLost())
        published = network.client.publish("t", b"kept", 1)
        for wait in (1, 2, 4, 8, 8):
            self.assertEqual(network.changes[-1].wait, wait)
            network.clock.advance(wait)
            network.refuse(ConnectionRefusedError())
        network.clock.advance(8)
        network.connect()
        self.assertTrue(network.changes[-1].is_connected)
        self.assertEqual(network.published(), [b"kept"])
        network.say(Puback(1))
        self.assertEqual(self.successResultOf(published), Published())

    def test_steady_connection_begins_anew(self) -> None:
        """After a while of peace a loss is a new one; a broker that throws me out at once is asked ever less."""
        network = self.started()
        for wait in (1, 2, 4):
            network.lose()
            self.assertEqual(network.changes[-1].wait, wait)
            network.clock.advance(wait)
            network.connect()
        network.clock.advance(10)
        network.lose()
        self.assertEqual(network.changes[-1].wait, 1)

    def test_under_way(self) -> None:
        """With a durable session what was under way is sent again as such."""
        network = self.started(session_expiry=60)
        published = network.client.publish("t", b"x", 1)
        network.sent()
        network.lose()
        network.clock.advance(1)
        network.connect(session_present=True)
        self.assertTrue(network.client.session_present)
        (again,) = network.sent()
        assert isinstance(again, Publish)
        self.assertTrue(again.dup)
        network.say(Puback(again.packet_id))
        self.successResultOf(published)

    def test_not_wanted_back(self) -> None:
        """Another client took my name: I do not fight for it, and all that waits is told."""
        network = self.started()
        published = network.client.publish("t", b"x", 1)
        closed = network.client.closed()
        network.say(Disconnect(0x8E))
        network.lose()
        self.failureResultOf(published, Disconnected)
        self.failureResultOf(closed, Disconnected)
        self.failureResultOf(network.client.closed(), Disconnected)
        self.failureResultOf(network.client.publish("t"), Disconnected)
        network.clock.advance(1000)
        self.assertEqual(network.attempts, 1)

    def test_attempts_end(self) -> None:
        """I may say how often to try."""
        network = self.started(backoff=Backoff(1, 2, 8, attempts=1))
        closed = network.client.closed()
        network.lose()
        network.clock.advance(1)
        network.refuse(ConnectionRefusedError())
        self.failureResultOf(closed, Unreachable)

    def test_no_backoff(self) -> None:
        """Or not to try at all."""
        network = self.started(backoff=None)
        closed = network.client.closed()
        network.lose()
        self.failureResultOf(closed, ConnectionLost)


class PublishingTests(SynchronousTestCase):
    """Publishing with back-pressure."""

    def setUp(self) -> None:
        self.network = Network(queue_messages=2)
        self.network.connect()
        self.network.sent()

    def test_network_is_full(self) -> None:
        """While the network takes nothing, a publish waits; the queue is bounded, and room is told."""
        client = self.network.client
        self.network.protocol.pauseProducing()
        first = client.publish("t", b"1")
        second = client.publish("t", b"2")
        room = client.room()
        self.failureResultOf(client.publish("t", b"3"), QueueFull)
        self.assertEqual(self.network.published(), [])
        self.assertNoResult(room)
        self.network.protocol.resumeProducing()
        self.assertEqual(self.network.published(), [b"1", b"2"])
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(room)
        self.successResultOf(client.room())

    def test_errors(self) -> None:
        """What cannot be a message fails at once, what the broker refuses when it says so."""
        self.failureResultOf(self.network.client.publish("a/#"), OptionsInvalid)
        refused = self.network.client.publish("t", b"", 1)
        self.network.say(Puback(1, 0x87))
        self.failureResultOf(refused, PublishRefused)

    def test_await(self) -> None:
        """Deferreds can be awaited."""

        async def program(client: Client) -> list[object]:
            granted = await client.subscribe("a", "b", qos=1)
            published = await client.publish("t", b"x", 1)
            return [granted.reason_codes, published.reason_code]

        done = Deferred.fromCoroutine(program(self.network.client))
        (subscribe,) = self.network.sent()
        assert isinstance(subscribe, Subscribe)
        self.network.say(Suback(subscribe.packet_id, [1, 0]))
        self.network.say(Puback(2, 0x10))
        self.assertEqual(self.successResultOf(done), [{"a": 1, "b": 0}, 0x10])


class ReadingTests(SynchronousTestCase):
    """An application that is slower than the broker."""

    def setUp(self) -> None:
        self.taken: list[Message] = []
        self.answers: list[Deferred[None]] = []
        self.network = Network(on_message=self.take)
        self.network.connect()
        self.network.sent()

    def take(self, message: Message) -> Deferred[None]:
        self.taken.append(message)
        self.answers.append(Deferred())
        return self.answers[-1]

    def test_reading_pauses(self) -> None:
        """When a few wait, nothing more is read; when they are dealt with, it is."""
        transport = self.network.transport
        self.network.say(*[Publish("t", b"%d" % number) for number in range(100)])
        self.assertEqual(transport.producerState, "paused")
        while self.answers:
            self.answers.pop(0).callback(None)
        self.assertEqual(transport.producerState, "producing")
        self.assertEqual([message.payload for message in self.taken], [b"%d" % number for number in range(100)])
        self.assertEqual(self.network.client.dropped, 0)

    def test_waiting_for_the_broker(self) -> None:
        """A consumer that itself publishes and waits is not stuck: we read on, and drop QoS 0 beyond the room."""
        self.network.say(*[Publish("t", b"%d" % number) for number in range(100)])
        published = self.network.client.publish("u", b"", 1)
        self.assertEqual(self.network.transport.producerState, "producing")
        self.network.say(Puback(1))
        self.successResultOf(published)
        self.assertEqual(self.network.client.dropped, 35)


class LeavingTests(SynchronousTestCase):
    """Disconnecting."""

    def test_connected(self) -> None:
        """DISCONNECT goes out, the connection closes, and whoever waits for the end has it."""
        network = Network()
        network.connect()
        network.sent()
        unanswered = network.client.publish("t", b"", 1)
        closed = network.client.closed()
        done = network.client.disconnect()
        self.assertEqual(network.sent()[-1], Disconnect())
        self.assertTrue(network.transport.disconnecting)
        self.assertNoResult(done)
        network.lose()
        self.successResultOf(done)
        self.successResultOf(closed)
        self.successResultOf(network.client.closed())
        self.successResultOf(network.client.disconnect())
        self.failureResultOf(unanswered, ClientClosed)
        self.failureResultOf(network.client.room(), ClientClosed)
        network.clock.advance(1000)
        self.assertEqual(network.attempts, 1)
        self.assertEqual(network.clock.getDelayedCalls(), [])

    def test_with_will(self) -> None:
        """I leave, and have my will published all the same."""
        network = Network()
        network.connect()
        network.client.disconnect(with_will=True)
        self.assertEqual(network.sent()[-1], Disconnect(0x04))

    def test_while_away(self) -> None:
        """Between two attempts there is nothing to close."""
        network = Network(backoff=Backoff())
        network.connect()
        network.lose()
        self.successResultOf(network.client.disconnect())
        self.assertEqual(network.clock.getDelayedCalls(), [])

    def test_broker_that_does_not_close(self) -> None:
        """It is cut off after a moment."""
        network = Network()
        network.connect()
        done = network.client.disconnect()
        network.clock.advance(2)
        self.assertTrue(network.transport.aborting)
        network.lose()
        self.successResultOf(done)

    def test_from_within_a_message(self) -> None:
        """The application leaves while it deals with a message."""
        network = Network(on_message=lambda message: network.client.disconnect() and None)
        network.connect()
        network.sent()
        network.say(Publish("t", b"1", 1, packet_id=1), Publish("t", b"2", 1, packet_id=2))
        self.assertEqual(network.sent()[-1], Disconnect())
        network.lose()
        self.successResultOf(network.client.closed())
