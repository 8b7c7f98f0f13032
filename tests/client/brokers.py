"""Brokers that are none: servers on a free port of loopback that do to a client whatever the test says.

Blocking, in a thread each, so that a test can also run a command against one.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Packet
from tests.client.certificates import Pair

__all__ = ["FakeBroker", "Peer", "TlsServer"]

PATIENCE: Final = 60.0
"""Only guards hangs: the machine may be loaded."""


class Peer:
    """One client, as the server sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._decoder = Decoder(maximum_packet_size=1 << 28)

    def receive(self) -> Packet | None:
        """The next packet, or None where the client has closed."""
        while (packet := self._decoder.next_packet()) is None:
            try:
                data = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not data:
                return None
            self._decoder.feed(data)
        return packet

    def send(self, *packets: Packet | bytes, version: int = 5) -> None:
        """Send packets or bytes; a client that has gone is no error."""
        data = b"".join(each if isinstance(each, bytes) else encode_packet(each, version) for each in packets)
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def until_closed(self) -> list[Packet]:
        """All packets until the client closes."""
        packets = []
        while (packet := self.receive()) is not None:
            packets.append(packet)
        return packets


class _Server:
    """Accepts connections one after another until it is stopped."""

    def __init__(self, receive_buffer: int = 0) -> None:
        self._listener = socket.socket()
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            try:
                self.serve(connection)
            except OSError:
                pass  # the client has gone, as it should from such servers
            finally:
                connection.close()

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """End it; for ``addCleanup``."""
        # Closing alone does not wake a thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)


class FakeBroker(_Server):
    """Speaks in the clear, as ``behave`` says."""

    def __init__(self, behave: Callable[[Peer], object], receive_buffer: int = 0) -> None:
        self._behave = behave
        self.connections = 0
        super().__init__(receive_buffer)

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        self._behave(Peer(connection))


class TlsServer(_Server):
    """Shows a certificate, and counts what the client sends through TLS.

    Attributes:
        application_bytes: of all clients.
        handshakes: how many it has completed.
        errors: of handshakes that failed, in OpenSSL's words: the alerts of clients.
    """

    def __init__(self, pair: Pair, version: ssl.TLSVersion | None = None, clients_of: Path | None = None) -> None:
        """
        Args:
            pair: what it shows.
            version: the only version of TLS that it speaks.
            clients_of: the CA of which clients have to show a certificate.
        """
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.certificate, pair.key)
        if version is not None:
            self._context.minimum_version = self._context.maximum_version = version
        if clients_of is not None:
            self._context.load_verify_locations(clients_of)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self.application_bytes = 0
        self.handshakes = 0
        self.errors: list[str] = []
        self.ended = threading.Event()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as secured:
                self.handshakes += 1
                self.application_bytes += len(secured.recv(65536))
        except ssl.SSLError as error:
            self.errors.append(str(error))
        finally:
            self.ended.set()
