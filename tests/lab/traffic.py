"""TLS sessions that tests make themselves: two ends in memory, what they say, and a capture of it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from OpenSSL import SSL, crypto

from mqttsecure.lab.capture.link import ETHERNET
from mqttsecure.lab.capture.synthesis import Conversation, End
from mqttsecure.lab.capture.writer import PcapngWriter, PcapWriter
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connack, Connect, Disconnect, Puback, Publish
from tests.lab.authority import Credential, credential, root

__all__ = ["MOMENT", "Pair", "Recording", "Setup", "capture", "drain", "mqtt", "record", "talk"]

MOMENT: Final = 1_795_000_000_000_000_000
"""When all captures that tests make were taken, in nanoseconds: within the validity of their certificates."""

Change = Callable[[SSL.Connection, SSL.Connection], None]

_MQTT: Final = (
    (True, Connect(4, "pub-1", username="alice", password=b"s3cret-alice", keep_alive=60)),
    (False, Connack()),
    (True, Publish("lab/temp", b"21.5C", qos=1, packet_id=7)),
    (False, Puback(7)),
    (True, Disconnect()),
)


def mqtt() -> list[tuple[bool, bytes]]:
    """A short conversation: who, and what bytes."""
    return [(from_client, bytes(encode_packet(packet, 4))) for from_client, packet in _MQTT]


@dataclass
class Setup:
    """How the two ends are configured.

    Attributes:
        versions: the lowest and highest version of both ends.
        suites: of TLS 1.2, in OpenSSL's names.
        suites_1_3: of TLS 1.3.
        options: bits of SSL_OP_.
        resume: an earlier session, which both ends go on with.
        change: called with both contexts before the connections are made.
    """

    versions: tuple[int, int] = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
    suites: bytes = b"DEFAULT:@SECLEVEL=0"
    suites_1_3: bytes | None = None
    server: Credential | None = None
    chain: Sequence[Credential] = ()
    client: Credential | None = None
    ask_client: bool = False
    name: str | None = "broker.lab.test"
    options: int = 0
    alpn: bytes | None = None
    verify: bool = True
    resume: Recording | None = None
    change: Callable[[SSL.Context, SSL.Context], None] | None = None


@dataclass
class Recording:
    """What went by: who sent which bytes, in order, and the secrets."""

    chunks: list[tuple[bool, bytes]] = field(default_factory=list)
    secrets: list[bytes] = field(default_factory=list)
    closes: str = "client"
    session: SSL.Session | None = None
    contexts: tuple[SSL.Context, SSL.Context] | None = None
    error: str | None = None

    @property
    def key_log(self) -> bytes:
        return b"".join(line + b"\n" for line in self.secrets)


def _context(setup: Setup, side: str, recording: Recording) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(setup.versions[0])
    context.set_max_proto_version(setup.versions[1])
    context.set_cipher_list(setup.suites)
    if setup.suites_1_3 is not None:
        context.set_tls13_ciphersuites(setup.suites_1_3)
    context.set_options(setup.options)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    trust = context.get_cert_store()
    if trust is not None:
        trust.add_cert(crypto.X509.from_cryptography(root().certificate))
    if side == "client":
        context.set_keylog_callback(lambda connection, line: recording.secrets.append(line))
        if setup.alpn is not None:
            context.set_alpn_protos([setup.alpn])
    elif setup.alpn is not None:
        context.set_alpn_select_callback(lambda connection, offered: offered[0])
    return context


def _use(context: SSL.Context, found: Credential, chain: Sequence[Credential]) -> None:
    context.use_certificate(crypto.X509.from_cryptography(found.certificate))
    context.use_privatekey(crypto.PKey.from_cryptography_key(found.key))
    for each in chain:
        context.add_extra_chain_cert(crypto.X509.from_cryptography(each.certificate))


def _accept(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    return bool(ok)


class Pair:
    """Two ends, and the wire between them."""

    def __init__(self, setup: Setup, recording: Recording) -> None:
        self.recording = recording
        if setup.resume is not None and setup.resume.contexts is not None:
            recording.contexts = setup.resume.contexts
            recording.secrets = setup.resume.secrets
        else:
            recording.contexts = self._contexts(setup)
        client_context, server_context = recording.contexts
        self.client = SSL.Connection(client_context, None)
        self.server = SSL.Connection(server_context, None)
        self.client.set_connect_state()
        self.server.set_accept_state()
        if setup.name is not None:
            self.client.set_tlsext_host_name(setup.name.encode())
        if setup.resume is not None and setup.resume.session is not None:
            self.client.set_session(setup.resume.session)

    def _contexts(self, setup: Setup) -> tuple[SSL.Context, SSL.Context]:
        client_context = _context(setup, "client", self.recording)
        if setup.verify:
            client_context.set_verify(SSL.VERIFY_PEER, _accept)
        if setup.client is not None:
            _use(client_context, setup.client, ())
        server_context = _context(setup, "server", self.recording)
        _use(server_context, setup.server or credential(), setup.chain)
        server_context.set_session_id(b"tests")
        if setup.ask_client:
            server_context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept)
            server_context.add_client_ca(crypto.X509.from_cryptography(root().certificate))
        if setup.change is not None:
            setup.change(client_context, server_context)
        return client_context, server_context

    def move(self) -> bool:
        """Carry what is there from each end to the other; whether anything was."""
        moved = False
        for source, target, from_client in ((self.client, self.server, True), (self.server, self.client, False)):
            data = drain(source)
            if data:
                moved = True
                self.recording.chunks.append((from_client, data))
                target.bio_write(data)
        return moved

    def settle(self) -> None:
        """Carry on until both ends have nothing more to say."""
        for _round in range(50):
            for end in (self.client, self.server):
                try:
                    end.do_handshake()
                except SSL.WantReadError:
                    pass
                except SSL.Error as error:
                    self.recording.error = str(error)
            if not self.move():
                return

    def read(self) -> bytes:
        """What came to both ends."""
        found = b""
        for end in (self.client, self.server):
            try:
                while True:
                    found += end.recv(65536)
            except (SSL.WantReadError, SSL.ZeroReturnError):
                pass
            except SSL.Error as error:
                self.recording.error = str(error)
        return found


def drain(end: SSL.Connection) -> bytes:
    """What an end has for the wire."""
    found = b""
    while True:
        try:
            found += end.bio_read(65536)
        except SSL.WantReadError:
            return found


def talk(setup: Setup, *, says: list[tuple[bool, bytes]] | None = None, between: Change | None = None) -> Recording:
    """Shake hands, say something, leave.

    Args:
        setup: how the ends are configured.
        says: who says what; a short MQTT conversation unless told otherwise.
        between: called with both ends before the last thing is said.
    """
    recording = Recording()
    pair = Pair(setup, recording)
    pair.settle()
    if recording.error is not None:
        pair.move()
        return recording
    said = mqtt() if says is None else says
    for number, (from_client, data) in enumerate(said):
        if between is not None and number == len(said) - 1:
            between(pair.client, pair.server)
            pair.move()
            pair.read()
            pair.move()
        try:
            (pair.client if from_client else pair.server).sendall(data)
        except SSL.Error as error:
            recording.error = str(error)
            break
        pair.move()
        pair.read()
        pair.move()
    recording.session = pair.client.get_session()
    for end in (pair.client, pair.server):
        try:
            end.shutdown()
        except SSL.Error:
            pass
        pair.move()
        pair.read()
    return recording


_PORTS = itertools.count(40000)


def record(
    recording: Recording,
    *,
    link_type: int = ETHERNET,
    mss: int = 1460,
    port: int = 8883,
    addresses: tuple[str, str] = ("10.9.0.2", "10.9.0.1"),
    vlans: tuple[int, ...] = (),
    client_port: int | None = None,
    end: bool = True,
) -> Conversation:
    """The frames of a recording, a millisecond apart."""
    conversation = Conversation(
        End(addresses[0], client_port or next(_PORTS)), End(addresses[1], port, 5000), link_type, mss, vlans
    )
    time = MOMENT
    conversation.open(time)
    for from_client, data in recording.chunks:
        time += 1_000_000
        conversation.send(from_client, data, time)
    if end:
        conversation.close(recording.closes == "client", time + 1_000_000)
        conversation.close(recording.closes != "client", time + 1_000_000)
    return conversation


def capture(
    frames: list[tuple[int, bytes]], *, link_type: int = ETHERNET, secrets: bytes = b"", format: str = "pcapng"
) -> bytes:
    """A capture file of these frames."""
    file = io.BytesIO()
    if format == "pcap":
        old = PcapWriter(file, link_type)
        for time, data in frames:
            old.write_frame(data, time)
        return file.getvalue()
    writer = PcapngWriter(file)
    if secrets:
        writer.write_secrets(secrets)
    writer.add_interface(link_type)
    for time, data in frames:
        writer.write_frame(data, time)
    return file.getvalue()
