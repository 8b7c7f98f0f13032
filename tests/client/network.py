"""A client on a transport and a clock that the test plays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.client.address import Address
from mqttsecure.client.client import Change, Client
from mqttsecure.client.events import Message
from mqttsecure.client.options import ClientOptions
from mqttsecure.client.protocol import ClientProtocol
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connack, Packet, Publish

__all__ = ["Network", "Transport"]


class Transport(StringTransport):
    """Knows what a TCP transport knows of closing."""

    aborting = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.aborting = True


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, network: Network) -> None:
        self._network = network

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        self._network.factory = protocolFactory
        self._network.dialled = Deferred(self._network.cancelled)
        self._network.attempts += 1
        return self._network.dialled


class Network:
    """One client, and the broker that the test plays."""

    def __init__(self, on_message: Callable[[Message], object] | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.attempts = 0
        self.factory: Any = None
        self.dialled: Deferred[Any] = Deferred()
        self.was_cancelled = False
        self.changes: list[Change] = []
        self.messages: list[Message] = []
        self.options = ClientOptions(**{"client_id": "c", **options})
        self.client = Client(
            Address("broker.example", 1883, False),
            self.clock,
            self.options,
            lambda: (_Endpoint(self), None),
            on_message or self.messages.append,
            self.changes.append,
            lambda: 1.0,
        )
        self.started = self.client.start()
        self._decoder = Decoder()

    def cancelled(self, dialled: Deferred[Any]) -> None:
        """The client does not want this connection any more."""
        self.was_cancelled = True

    def accept(self) -> list[Packet]:
        """Take the connection; what the client says first."""
        self.transport = Transport()
        self.protocol: ClientProtocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        dialled, self.dialled = self.dialled, Deferred()
        dialled.callback(self.protocol)
        self._decoder = Decoder(maximum_packet_size=1 << 24)
        return self.sent()

    def refuse(self, error: Exception) -> None:
        """Refuse the connection."""
        dialled, self.dialled = self.dialled, Deferred()
        dialled.errback(error)

    def connect(self, session_present: bool = False) -> None:
        """Take the connection, and the CONNECT."""
        self.accept()
        self.say(Connack(session_present))

    def say(self, *packets: Packet) -> None:
        """The broker says that."""
        self.protocol.dataReceived(b"".join(encode_packet(packet, self.options.version) for packet in packets))

    def sent(self) -> list[Packet]:
        """What the client has sent since."""
        self._decoder.feed(self.transport.value())
        self.transport.clear()
        packets = []
        while (packet := self._decoder.next_packet()) is not None:
            packets.append(packet)
        return packets

    def published(self) -> list[bytes]:
        """The payloads of the messages that the client has sent since."""
        return [packet.payload for packet in self.sent() if isinstance(packet, Publish)]

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.protocol.connectionLost(Failure(error or ConnectionDone()))
