"""The transport under test on real loopback sockets, with a reactor that turns only when told and a clock of its own.

No test that uses this sleeps: time passes by ``advance``, and the sockets are looked at by ``turn``.
"""

from __future__ import annotations

import functools
import select
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import trustme
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.core.decisions import ConnectionFacts, Pending, Request, Verdict
from mqttsecure.core.events import Event
from mqttsecure.core.limits import Limits
from mqttsecure.transport.driver import CoreDriver
from mqttsecure.transport.gate import ListenerFactory
from mqttsecure.transport.tls import ServerContext
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect, Packet, Subscribe, SubscriptionRequest
from tests.support.core import Chain

__all__ = [
    "Far",
    "HandReactor",
    "Listening",
    "ObservedChain",
    "TlsFiles",
    "connect_bytes",
    "subscribe_bytes",
    "tls_files",
]

PATIENCE: Final = 8.0
"""Real seconds to wait for what must come; loopback takes microseconds, two busy cores longer."""


@implementer(IReactorFDSet)
class HandReactor(Clock):
    """Sockets are real, time is not, and nothing happens but in :meth:`turn`."""

    running = True

    def __init__(self) -> None:
        super().__init__()
        self._readers: set[Any] = set()
        self._writers: set[Any] = set()
        self._from_threads: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()
        self.stopped = False

    def addReader(self, reader: Any) -> None:
        self._readers.add(reader)

    def addWriter(self, writer: Any) -> None:
        self._writers.add(writer)

    def removeReader(self, reader: Any) -> None:
        self._readers.discard(reader)

    def removeWriter(self, writer: Any) -> None:
        self._writers.discard(writer)

    def removeAll(self) -> list[Any]:
        found = self.getReaders() + self.getWriters()
        self._readers.clear()
        self._writers.clear()
        return found

    def getReaders(self) -> list[Any]:
        return list(self._readers)

    def getWriters(self) -> list[Any]:
        return list(self._writers)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        listening = Port(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def callFromThread(self, callable: Callable[..., object], *arguments: Any) -> None:
        self._from_threads.put((callable, arguments))

    def callInThread(self, callable: Callable[..., object], *arguments: Any) -> None:
        raise NotImplementedError("the worker pool has threads of its own")

    def stop(self) -> None:
        self.stopped = True

    def turn(self, wait: float = 0.0) -> None:
        """One turn: what threads brought, what sockets are ready for, and what is due."""
        while not self._from_threads.empty():
            function, arguments = self._from_threads.get()
            function(*arguments)
        if self._readers or self._writers:
            readable, writable, _ = select.select(list(self._readers), list(self._writers), [], wait)
            for each in readable:
                if each in self._readers:
                    self._carry_out(each, each.doRead, True)
            for each in writable:
                if each in self._writers:
                    self._carry_out(each, each.doWrite, False)
        self._call_what_is_due()

    def _call_what_is_due(self) -> None:
        """As a real reactor, and unlike ``advance(0)``: calls that these make wait for the next turn."""
        for call in [each for each in self.calls if each.getTime() <= self.seconds()]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)

    def _carry_out(self, selectable: Any, method: Callable[[], Any], is_read: bool) -> None:
        why = method()
        if why:
            self.removeReader(selectable)
            self.removeWriter(selectable)
            if is_read and isinstance(why, ConnectionDone):
                selectable.readConnectionLost(Failure(why))
            else:
                selectable.connectionLost(Failure(why))


class ObservedChain(Chain):
    """The chain of the core's tests, as the transport asks it, and what observers would have heard."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[int] = []
        self.authenticated: list[int] = []
        self.closed: list[int] = []
        self.strikes: list[tuple[int, str]] = []

    def decide(self, request: Request) -> Verdict | Pending:
        return self(request)

    def connection_opened(self, connection: ConnectionFacts) -> None:
        self.opened.append(connection.connection_id)

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        self.authenticated.append(connection.connection_id)

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self.closed.append(connection.connection_id)

    def strike(self, connection: ConnectionFacts, weight: int, why: str) -> None:
        self.strikes.append((connection.connection_id, why))


class TlsFiles:
    """A CA and a server certificate in ``directory``, and contexts for clients."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory).absolute()
        self.ca = trustme.CA(organization_name="mqttsecure tests", key_type=trustme.KeyType.RSA)
        server = self.ca.issue_cert("localhost", key_type=trustme.KeyType.RSA)
        self.certificate, self.key = self.directory / "server.pem", self.directory / "server.key"
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        self.key.write_bytes(server.private_key_pem.bytes())

    @property
    def anchor(self) -> bytes:
        """The CA's certificate in DER."""
        return ssl.PEM_cert_to_DER_cert(self.ca.cert_pem.bytes().decode())

    def server(self, **more: Any) -> ServerContext:
        return ServerContext.load(self.certificate, self.key, **more)

    def client(
        self, leaf: trustme.LeafCert | None = None, *, version: ssl.TLSVersion | None = None, ciphers: str = ""
    ) -> ssl.SSLContext:
        """A client that trusts the CA, shows ``leaf`` and speaks ``version`` alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        if leaf is not None:
            leaf.configure_cert(context)
        if ciphers:
            context.set_ciphers(ciphers)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


@functools.cache
def tls_files() -> TlsFiles:
    """Those that all tests of a run share, in trial's own folder."""
    return TlsFiles(tempfile.mkdtemp(prefix="tls-", dir="."))


class Listening:
    """A driver with one listener named ``lab`` on a free port of 127.0.0.1."""

    def __init__(
        self,
        test: Any,
        context: ServerContext | None = None,
        *,
        limits: Limits | None = None,
        maximum_connections: int = 1000,
    ) -> None:
        self.test = test
        self.reactor = HandReactor()
        self.chain = ObservedChain()
        self.events: list[Event] = []
        self.driver = CoreDriver(
            limits or Limits(), self.chain, self.reactor, lambda count: b"r" * count, report=self.events.extend
        )
        self.factory = ListenerFactory("lab", maximum_connections)
        self.factory.open(self.driver, context)
        self.port = self.reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.far: list[Far] = []
        test.addCleanup(self._end)

    def connect(self, tls: ssl.SSLContext | None = None, *, receive_buffer: int = 0) -> Far:
        """A TCP connection, with ``tls`` its handshake is begun by the first turn."""
        far = Far(("127.0.0.1", self.port.getHost().port), tls, receive_buffer)
        self.far.append(far)
        return far

    def connected(self, client_id: str, tls: ssl.SSLContext | None = None, **more: Any) -> Far:
        """A client that has its CONNACK."""
        far = self.connect(tls, receive_buffer=more.pop("receive_buffer", 0))
        far.send(connect_bytes(client_id, **more))
        self.until(lambda: b"\x20" in far.received[:1])
        far.packets()
        return far

    def turn(self) -> None:
        """Let both sides do what they can."""
        self.reactor.turn()
        for far in self.far:
            far.pump()

    def turns(self, count: int = 10) -> None:
        for _ in range(count):
            self.turn()

    def advance(self, seconds: float) -> None:
        """Let time pass, and both sides do what they can."""
        self.reactor.advance(seconds)
        self.turns()

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until ``condition``, without letting the broker's clock go on."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.test.fail(f"did not come about; received {[far.received[:80] for far in self.far]}")
            self.reactor.turn(0.001)
            for far in self.far:
                far.pump()

    def texts(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def check_counts(self, connections: int = 0) -> None:
        """Assert that so many connections are counted, everywhere, and that observers heard of the others' ends."""
        self.test.assertEqual(self.factory.connections, connections)
        self.test.assertEqual(self.driver.connections, connections)
        self.test.assertEqual(sorted(set(self.chain.opened)), sorted(self.chain.opened))
        self.test.assertEqual(sorted(set(self.chain.closed)), sorted(self.chain.closed))
        self.test.assertTrue(set(self.chain.closed) <= set(self.chain.opened))
        if not connections:
            self.test.assertEqual(sorted(self.chain.opened), sorted(self.chain.closed))
            self.test.assertEqual(self.driver.core.state.connections, set())

    def _end(self) -> None:
        for far in self.far:
            far.close()
        self.port.stopListening()
        self.driver.close_all(0)
        self.turns()
        self.reactor.advance(5)
        self.turns(3)
        self.check_counts()
        self.test.assertEqual(self.reactor.getReaders() + self.reactor.getWriters(), [])
        self.test.assertEqual(self.reactor.getDelayedCalls(), [])


class Far:
    """The far end: a plain socket that never blocks, or TLS over it by the standard library.

    Attributes:
        received: all that came, decrypted, and was not taken by :meth:`packets`.
        ended: None, "eof", "close_notify" or "reset".
        error: the TLS error that ended it.
    """

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None, receive_buffer: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address)
        self.socket.setblocking(False)
        self.received = b""
        self.ended: str | None = None
        self.error: ssl.SSLError | None = None
        self.reads = True
        self.answers_close = True
        self._unsent = b""
        self._plain = b""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = None if tls is None else tls.wrap_bio(self._in, self._out, server_hostname="localhost")
        self.is_up = tls is None
        self._decoder = Decoder(MQTT_5_0, 1 << 24, from_client=False)

    def send(self, data: bytes) -> None:
        """Send, now or as soon as it goes."""
        self._plain += data
        self.pump()

    def send_raw(self, data: bytes) -> None:
        """Send past TLS."""
        self._unsent += data
        self.pump()

    def packets(self) -> list[Packet]:
        """The packets that have come since the last call."""
        data, self.received = self.received, b""
        self._decoder.feed(data)
        found = []
        while (packet := self._decoder.next_packet()) is not None:
            found.append(packet)
        return found

    def close_notify(self) -> None:
        """Say goodbye by TLS and keep the socket."""
        assert self.tls is not None
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._unsent += self._out.read()
        self.pump()

    def reset(self) -> None:
        """Close by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.ended = self.ended or "closed here"
        self.socket.close()

    # -- moving bytes --------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Move what can be moved."""
        if self.socket.fileno() < 0:
            return
        if self.tls is None:
            self._unsent += self._plain
            self._plain = b""
        else:
            self._pump_tls()
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except ConnectionResetError:  # told once, to whoever asks first
            self._unsent, self.ended = b"", "reset"
        except OSError:
            self._unsent = b""
        if self.reads and self.ended is None:
            self._read()

    def _read(self) -> None:
        try:
            while True:
                data = self.socket.recv(65_536)
                if not data:
                    self.ended = self.ended or "eof"
                    return
                if self.tls is None:
                    self.received += data
                else:
                    self._in.write(data)
                    self._pump_tls()
        except BlockingIOError:
            pass
        except OSError:
            self.ended = "reset"

    def _pump_tls(self) -> None:
        assert self.tls is not None
        if self.error is not None:
            return
        try:
            if not self.is_up:
                self.tls.do_handshake()
                self.is_up = True
            while self._plain:
                self._plain = self._plain[self.tls.write(self._plain) :]
            while data := self.tls.read(65_536):
                self.received += data
            self._see_goodbye()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._see_goodbye()
        except ssl.SSLError as error:
            self.error = self.error or error
        self._unsent += self._out.read()

    def _see_goodbye(self) -> None:
        self.ended = "close_notify"
        if self.answers_close and self.tls is not None:
            try:
                self.tls.unwrap()
            except ssl.SSLError:
                pass


def connect_bytes(client_id: str = "c", version: int = MQTT_5_0, **more: Any) -> bytes:
    """A CONNECT."""
    properties = {name: more.pop(name) for name in list(more) if name == "session_expiry_interval"}
    return encode_packet(
        Connect(
            version,
            client_id,
            more.pop("clean_start", True),
            more.pop("keep_alive", 60),
            more.pop("username", None),
            more.pop("password", None),
            more.pop("will", None),
            properties,  # type: ignore[arg-type]
        ),
        version,
    )


def subscribe_bytes(topic_filter: str, qos: int = 0, version: int = MQTT_5_0) -> bytes:
    """A SUBSCRIBE with Packet Identifier 1."""
    return encode_packet(Subscribe(1, [SubscriptionRequest(topic_filter, qos)], {}), version)
