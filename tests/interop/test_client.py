"""The client library against real brokers, this one and Mosquitto, over TLS, by both versions of the protocol."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mqttsecure.client.client import Client, connect
from mqttsecure.client.events import Message
from mqttsecure.client.options import Backoff, ClientOptions, TlsOptions
from mqttsecure.wire.packets import SubscriptionRequest, Will
from tests.support.config import ALICE_PASSWORD, write_config
from tests.support.mosquitto_broker import MosquittoBroker, free_port
from tests.support.process import BrokerProcess

_VERSIONS = (4, 5)


class Reader:
    """Collects messages, and tells when there are enough."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        for each in [each for each in self._waiting if each[0] <= len(self.messages)]:
            self._waiting.remove(each)
            each[1].callback(None)

    def enough(self, number: int) -> Deferred[None]:
        """Fires when so many have come."""
        done: Deferred[None] = Deferred()
        if len(self.messages) >= number:
            done.callback(None)
        else:
            self._waiting.append((number, done))
        return done

    @property
    def payloads(self) -> list[bytes]:
        """What they held."""
        return [message.payload for message in self.messages]


def cut(client: Client) -> None:
    """The network breaks."""
    protocol: Any = client._protocol
    if protocol is not None:
        protocol.transport.abortConnection()


class OurBrokerTests(TestCase):
    """mqttsecure, started as a user starts it."""

    timeout = 120

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.files = write_config(self.directory, rules=("permit user:alice publish,read lab/#",))
        self.port = self.serve()
        self.clients: list[Client] = []

    def serve(self) -> int:
        """Start the broker; its port."""
        broker = BrokerProcess(self.files.config, self.directory)
        self.addCleanup(broker.kill)
        broker.start()
        return broker.ports["tls"]

    async def connect(self, version: int, reader: Any = None, **options: Any) -> Client:
        """A client of alice."""
        wished = ClientOptions(
            version=version,
            username="alice",
            password=ALICE_PASSWORD.encode(),
            tls=TlsOptions(ca_file=self.files.ca),
            backoff=Backoff(0.05, 1.5, 0.5),
        )
        url = f"mqtts://localhost:{self.port}"
        client = await connect(url, reactor, replace(wished, **options), on_message=reader or Reader())
        self.addCleanup(client.disconnect)
        return client

    async def test_every_qos(self) -> None:
        """Messages of each QoS come as they were sent, in both directions; retained ones to who comes later."""
        for version in _VERSIONS:
            reader, late = Reader(), Reader()
            subscriber = await self.connect(version, reader)
            granted = await subscriber.subscribe("lab/a", SubscriptionRequest("lab/b", 1), qos=2)
            self.assertEqual(granted.reason_codes, {"lab/a": 2, "lab/b": 1})
            publisher = await self.connect(version)
            for qos in (0, 1, 2):
                await publisher.publish("lab/a", b"%d" % qos + bytes(range(256)) * 500, qos)
            await publisher.publish("lab/b", b"kept", 2, retain=True)
            await reader.enough(4)
            self.assertEqual([message.qos for message in reader.messages], [0, 1, 2, 1])
            self.assertEqual(reader.messages[2].payload, b"2" + bytes(range(256)) * 500)
            later = await self.connect(version, late)
            await later.subscribe("lab/b", qos=1)
            await late.enough(1)
            self.assertTrue(late.messages[0].retain)
            await subscriber.unsubscribe("lab/a")
            await publisher.publish("lab/a", b"not for me", 1)
            await publisher.publish("lab/b", b"", 1, retain=True)
            await reader.enough(5)
            self.assertEqual(reader.payloads[4], b"")

    async def test_properties(self) -> None:
        """MQTT 5: what a publisher says of a message arrives with it, and the subscription's number, too."""
        reader = Reader()
        client = await self.connect(5, reader)
        await client.subscribe("lab/x", qos=1, properties={"subscription_identifier": [7]})
        sent: Any = {
            "content_type": "text/plain",
            "response_topic": "lab/answer",
            "correlation_data": b"\x00\xff",
            "payload_format_indicator": 1,
            "user_property": [("a", "1"), ("a", "2")],
        }
        await client.publish("lab/x", b"text", 1, properties=sent)
        await reader.enough(1)
        self.assertEqual(reader.messages[0].properties, {**sent, "subscription_identifier": [7]})

    async def test_will(self) -> None:
        """Who vanishes leaves its will; who says goodbye does not."""
        for version in _VERSIONS:
            reader = Reader()
            watcher = await self.connect(version, reader)
            await watcher.subscribe("lab/will", qos=1)
            polite = await self.connect(version, will=Will("lab/will", b"polite", 1))
            await polite.disconnect()
            vanishing = await self.connect(version, will=Will("lab/will", b"gone", 1), backoff=None)
            ended = vanishing.closed().addErrback(lambda failure: None)
            cut(vanishing)
            await ended
            await reader.enough(1)
            self.assertEqual(reader.payloads, [b"gone"])

    async def test_connections_that_break(self) -> None:
        """Both ends lose their connections again and again: QoS 2 arrives once each, QoS 1 at least once."""
        total = 60
        for version in _VERSIONS:
            reader = Reader()
            lasting: Any = {"session_expiry": 600, "clean_start": False}
            subscriber = await self.connect(version, reader, client_id=f"sub-{version}", **lasting)
            await subscriber.subscribe("lab/once", "lab/more", qos=2)
            publisher = await self.connect(version, client_id=f"pub-{version}", in_flight=5, **lasting)
            answers = []
            for number in range(total):
                topic, qos = ("lab/once", 2) if number % 2 else ("lab/more", 1)
                answers.append(publisher.publish(topic, b"%d" % number, qos))
                if number % 15 == 7:
                    cut(publisher)
                if number % 15 == 11:
                    cut(subscriber)
                await deferLater(reactor, 0)
            await gatherResults(answers)
            await reader.enough(total)
            while len({*reader.payloads}) < total:
                await reader.enough(len(reader.messages) + 1)
            await self.settle(publisher, subscriber, reader)
            once = Counter(message.payload for message in reader.messages if message.topic == "lab/once")
            self.assertEqual(once, Counter(b"%d" % number for number in range(1, total, 2)))
            more = {message.payload for message in reader.messages if message.topic == "lab/more"}
            self.assertEqual(more, {b"%d" % number for number in range(0, total, 2)})

    async def settle(self, publisher: Client, subscriber: Client, reader: Reader) -> None:
        """One more message: what would have come twice has come by then."""
        await publisher.publish("lab/more", b"0", 1)
        seen = len([each for each in reader.payloads if each == b"0"])
        while seen < 2:
            await reader.enough(len(reader.messages) + 1)
            seen = len([each for each in reader.payloads if each == b"0"])

    async def test_slow_consumer(self) -> None:
        """A consumer that takes its time slows the broker down, and gets everything, in order."""
        total = 300
        got: list[int] = []
        done: Deferred[None] = Deferred()

        async def slowly(message: Message) -> None:
            await deferLater(reactor, 0.002)
            got.append(int(message.payload[:6]))
            if len(got) == total:
                done.callback(None)

        subscriber = await self.connect(5, slowly)
        await subscriber.subscribe("lab/x", qos=1)
        publisher = await self.connect(5)
        answers = []
        for number in range(total):
            await publisher.room()
            answers.append(publisher.publish("lab/x", b"%06d" % number + b"." * 5000, 1))
        await gatherResults(answers)
        await done
        self.assertEqual(got, list(range(total)))
        self.assertEqual(subscriber.dropped, 0)


class MosquittoTests(OurBrokerTests):
    """Mosquitto's broker."""

    def serve(self) -> int:
        """Start it as a child of the test."""
        port = free_port()
        lines = [
            f"listener {port} 127.0.0.1",
            f"certfile {self.directory / 'server.pem'}",
            f"keyfile {self.directory / 'server.key'}",
            "allow_anonymous true",
            "max_queued_messages 10000",
        ]
        if os.geteuid() == 0:
            lines.insert(0, "user root")
        config = self.directory / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        broker = MosquittoBroker(config, port)
        self.addCleanup(broker.kill)
        broker.start()
        return port
