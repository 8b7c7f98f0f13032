# -*- test-case-name: tests.lab.test_live -*-
"""Shakes hands with a server, records both directions and the secrets, and reads that like a capture.

The certificate is judged by the same checks as one in a capture, and not by OpenSSL: the point is to see the whole
handshake, also where a careful client would leave in its middle. No user name and no password is ever sent.
"""

from __future__ import annotations

import io
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from OpenSSL import SSL

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.synthesis import Conversation, End
from mqttsecure.lab.capture.writer import PcapngWriter
from mqttsecure.lab.model import Reading, Verdict
from mqttsecure.lab.reading import load_trusted, read_capture_bytes
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect, Disconnect

__all__ = ["LiveOptions", "Recorded", "read_live", "record_live"]

_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_CHUNK: Final = 65536
_MAX_BYTES: Final = 1 << 20
"""Bytes of a server that are taken: a handshake has kilobytes."""
_LINGER: Final = 2.0
"""Seconds for the server's last words; nearly all close at once."""
_CLIENT_ID: Final = "mqttsecure-handshake"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How to shake hands.

    Attributes:
        host: name or address.
        port: of TCP.
        server_name: what SNI says and the certificate is checked for; ``host`` unless told otherwise.
        version: "1.2" or "1.3" alone; both where None.
        suites: of TLS 1.2 in OpenSSL's names, or of TLS 1.3.
        connect: send a CONNECT without credentials after the handshake, to see what the broker says.
        timeout: seconds for all of it.
    """

    host: str
    port: int
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    version: str | None = None
    suites: str | None = None
    alpn: tuple[str, ...] = ()
    connect: bool = True
    timeout: float = 10.0

    @property
    def name(self) -> str:
        return self.server_name or self.host


@dataclass(slots=True)
class Recorded:
    """What went by, as a capture that Wireshark opens decrypted."""

    pcapng: bytes = b""
    notes: list[str] = field(default_factory=list)


def read_live(options: LiveOptions) -> tuple[Reading, Recorded]:
    """Shake hands and read what was said.

    Raises:
        CaptureError: the server cannot be reached, or an option cannot be used; the text has the mend.
    """
    trusted = load_trusted(options.authorities)
    recorded = record_live(options)
    reading = read_capture_bytes(
        recorded.pcapng,
        source=f"{options.host}:{options.port}",
        authorities=trusted,
        budget=Budget(),
        wanted_name=options.name,
    )
    reading.format = "live"
    reading.notes[:0] = ["recorded at the socket: TCP around it is drawn, not captured", *recorded.notes]
    for connection in reading.connections:
        _adjust(connection.verdict, options)
    return reading, recorded


def _adjust(verdict: Verdict, options: LiveOptions) -> None:
    """This client is no careless one: it looks at everything on purpose, and leaves when it was told to."""
    verdict.findings = [each for each in verdict.findings if each.key != "accepted_bad_certificate"]
    if verdict.outcome == "incomplete":
        verdict.outcome, verdict.refused = "aborted", True
        verdict.text = f"the server did not finish the handshake within {options.timeout:g} s"
    if not options.connect and verdict.outcome == "completed_left":
        verdict.outcome, verdict.refused = "completed", False
        agreed = verdict.text.partition(";")[0]
        verdict.text = f"{agreed}; handshake completed; this command left without sending data, as it was told to"


def record_live(options: LiveOptions) -> Recorded:
    """Shake hands and record it.

    Raises:
        CaptureError: as :func:`read_live`.
    """
    secrets: list[bytes] = []
    connection = SSL.Connection(_context(options, secrets), None)
    connection.set_connect_state()
    if not _is_address(options.name):
        connection.set_tlsext_host_name(_server_name(options.name))
    started = time.time_ns()
    with _dial(options) as wire:
        exchange = _Exchange(connection, wire, options, started)
        exchange.run()
    return Recorded(exchange.capture(b"\n".join(secrets)), exchange.notes)


def _server_name(name: str) -> bytes:
    try:
        return name.encode("idna")
    except UnicodeError:
        raise CaptureError(f"{name!r} is no host name; write it like broker.example.org") from None


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except OSError:
            continue
        return True
    return False


def _context(options: LiveOptions, secrets: list[bytes]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_verify(SSL.VERIFY_NONE, None)
    version = _VERSIONS.get(options.version or "")
    context.set_min_proto_version(version or SSL.TLS1_2_VERSION)
    context.set_max_proto_version(version or SSL.TLS1_3_VERSION)
    context.set_keylog_callback(lambda _connection, line: secrets.append(line))
    if options.suites is not None:
        _set_suites(context, options.suites)
    if options.alpn:
        context.set_alpn_protos([each.encode() for each in options.alpn])
    if options.certificate is not None:
        try:
            context.use_certificate_chain_file(str(options.certificate))
            context.use_privatekey_file(str(options.key or options.certificate))
            context.check_privatekey()
        except SSL.Error:
            raise CaptureError(
                f"{options.certificate}: cannot be used as client certificate with the key "
                f"{options.key or options.certificate}; both have to be PEM, and belong together"
            ) from None
    return context


def _set_suites(context: SSL.Context, suites: str) -> None:
    of_1_3 = [each for each in suites.split(":") if each.startswith("TLS_")]
    others = [each for each in suites.split(":") if not each.startswith("TLS_")]
    try:
        if of_1_3:
            context.set_tls13_ciphersuites(":".join(of_1_3).encode())
        if others:
            context.set_cipher_list(":".join(others).encode())
    except SSL.Error:
        raise CaptureError(f"{suites!r} names no cipher suite; see: openssl ciphers -s -tls1_2, or -tls1_3") from None


def _dial(options: LiveOptions) -> socket.socket:
    where = f"{options.host}:{options.port}"
    try:
        return socket.create_connection((options.host, options.port), timeout=options.timeout)
    except socket.gaierror:
        raise CaptureError(f"{options.host}: no such host; check the name, or give the address") from None
    except ConnectionRefusedError:
        raise CaptureError(f"{where}: nobody listens there; is the broker running, and is it this port?") from None
    except TimeoutError:
        raise CaptureError(f"{where}: no answer within {options.timeout:g} s; is a firewall between?") from None
    except OSError as error:
        raise CaptureError(f"{where}: cannot be reached: {error.strerror or error}") from None


class _Exchange:
    """One connection, recorded."""

    def __init__(self, connection: SSL.Connection, wire: socket.socket, options: LiveOptions, started: int) -> None:
        self._connection = connection
        self._wire = wire
        self._options = options
        self._end = time.monotonic() + options.timeout
        local, peer = wire.getsockname(), wire.getpeername()
        self._frames = Conversation(End(local[0].partition("%")[0], local[1]), End(peer[0].partition("%")[0], peer[1]))
        self._frames.open(started)
        self._received = 0
        self._closed = False
        self.notes: list[str] = []

    def run(self) -> None:
        try:
            if self._handshake() and self._options.connect:
                self._say_connect()
            self._leave()
        except TimeoutError:
            self.notes.append(f"the server said nothing more within {self._options.timeout:g} s")
        except OSError as error:
            self._closed = True
            self._frames.close(False, time.time_ns(), reset=True)
            self.notes.append(f"the connection broke: {error.strerror or error}")

    def capture(self, secrets: bytes) -> bytes:
        """All of it as pcapng, secrets first."""
        file = io.BytesIO()
        writer = PcapngWriter(file, comment="recorded at a socket; TCP and below are drawn")
        if secrets:
            writer.write_secrets(secrets + b"\n")
        writer.add_interface()
        for time_ns, data in self._frames.frames:
            writer.write_frame(data, time_ns)
        return file.getvalue()

    def _handshake(self) -> bool:
        while True:
            try:
                self._connection.do_handshake()
            except SSL.WantReadError:
                self._send()
                if not self._receive():
                    return False
            except SSL.Error:
                self._send()  # the alert that tells why
                return False
            else:
                self._send()
                return True

    def _say_connect(self) -> None:
        """CONNECT without credentials, and what the broker says to that."""
        self._connection.sendall(bytes(encode_packet(Connect(4, _CLIENT_ID, keep_alive=10), 4)))
        self._send()
        while True:
            try:
                answer = self._connection.recv(_CHUNK)
            except SSL.WantReadError:
                if not self._receive():
                    return
            except SSL.Error:
                return
            else:
                if answer:
                    break
        try:
            self._connection.sendall(bytes(encode_packet(Disconnect(), 4)))
        except SSL.Error:
            return
        self._send()

    def _leave(self) -> None:
        try:
            self._connection.shutdown()
        except SSL.Error:
            pass
        self._send()
        self._linger()
        if not self._closed:
            self._frames.close(True, time.time_ns())

    def _linger(self) -> None:
        """Hear what the server still has to say: in TLS 1.3 it refuses a client after the client is done."""
        self._end = min(self._end, time.monotonic() + _LINGER)
        try:
            while self._receive():
                self._connection.recv(_CHUNK)
        except (SSL.Error, TimeoutError):
            pass

    def _send(self) -> None:
        """Carry what TLS wants to say to the wire."""
        while True:
            try:
                data = self._connection.bio_read(_CHUNK)
            except SSL.WantReadError:
                return
            self._frames.send(True, data, time.time_ns())
            if not self._closed:
                self._wire.sendall(data)

    def _receive(self) -> bool:
        """Carry from the wire to TLS; False when the server has closed or said too much."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._wire.settimeout(left)
        data = self._wire.recv(_CHUNK)
        if not data or self._received > _MAX_BYTES:
            if not self._closed:
                self._frames.close(False, time.time_ns())
            self._closed = True
            return False
        self._received += len(data)
        self._frames.send(False, data, time.time_ns())
        self._connection.bio_write(data)
        return True
