# -*- test-case-name: tests.transport.test_tls -*-
"""TLS: the one place where contexts are made, the transport, and what a handshake settled.

Resumption is off (no tickets, no session cache): a resumed session runs no verification, so that a revoked client
certificate would pass. Renegotiation is off. Suites are forward secret with AEAD unless the listener names its wish
for old ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    KeyPair,
    PrivateCertificate,
    TLSVersion,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.core.decisions import TlsFacts
from mqttsecure.transport.sending import Sender
from mqttsecure.wire.scram import EXPORTER_BYTES, EXPORTER_LABEL

__all__ = ["ServerContext", "TlsTransport", "refused_certificate", "tls_factory", "tls_facts", "tls_problem"]

FORWARD_SECRET_SUITES: Final = ":".join(
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)

LEGACY_SUITES: Final = "AES128-GCM-SHA256:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256"
"""What `legacy_ciphers` adds: devices that can do no better; without forward secrecy or with CBC."""

_VERSIONS: Final = {"TLSv1.2": TLSVersion.TLSv1_2, "TLSv1.3": TLSVersion.TLSv1_3}

_Tls: Any = TLSMemoryBIOProtocol
"""The same class, whose methods are not annotated."""

_HEADER: Final = 5
"""Bytes of a TLS record header."""

_RECORD_SIZE: Final = 2**14
"""Most that one record holds (RFC 8446, section 5.1)."""

_SPARE: Final = 1024
"""Bytes that a write of one record takes beyond its data, with room for what OpenSSL itself has to say."""

_READ_SIZE: Final = 2**15
"""More than one record holds, so that one call takes it whole."""


@implementer(IOpenSSLServerConnectionCreator)
class ServerContext:
    """Makes the TLS side of each connection from the current context; ``context`` is replaced, never edited."""

    def __init__(self, context: SSL.Context) -> None:
        self.context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self.context, None)

    @classmethod
    def load(
        cls,
        certificate: Path,
        key: Path,
        *,
        client_certificate: str = "none",
        anchors: Sequence[bytes] = (),
        minimum_version: str = "TLSv1.2",
        legacy_ciphers: bool = False,
    ) -> ServerContext:
        """Read the files and make a context.

        Args:
            certificate: PEM, the server's certificate and then its chain.
            key: PEM.
            client_certificate: "none", "optional" or "required".
            anchors: DER of the certificates that clients' ones must lead to.
            minimum_version: "TLSv1.2" or "TLSv1.3".
            legacy_ciphers: also allow suites without forward secrecy or AEAD.

        Raises:
            OSError: a file cannot be read.
            OpenSSL.SSL.Error, OpenSSL.crypto.Error, ValueError: it does not hold what it should.
        """
        chain = _pem_certificates(certificate.read_bytes())
        private_key = KeyPair.load(key.read_bytes(), crypto.FILETYPE_PEM)
        own = PrivateCertificate.fromCertificateAndKeyPair(Certificate(chain[0]), private_key)
        suites = FORWARD_SECRET_SUITES + (":" + LEGACY_SUITES if legacy_ciphers else "")
        options = CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            extraCertChain=chain[1:],
            raiseMinimumTo=_VERSIONS[minimum_version],
            acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(suites),
        )
        context = options.getContext()
        # Not CertificateOptions' acceptableProtocols: that fails the handshake of a client that offers others alone.
        context.set_alpn_select_callback(_select_protocol)
        # CertificateOptions sets both already; stated here since client certificates depend on it.
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        if client_certificate != "none":
            _ask_for_certificates(context, anchors, client_certificate == "required")
        return cls(context)


def _ask_for_certificates(context: SSL.Context, anchors: Sequence[bytes], required: bool) -> None:
    """Have clients' certificates verified against ``anchors``, which may be intermediate ones."""
    certificates = [crypto.load_certificate(crypto.FILETYPE_ASN1, anchor) for anchor in anchors]
    store = context.get_cert_store()
    if store is None:
        raise ValueError("OpenSSL gives no certificate store")
    for certificate in certificates:
        store.add_cert(certificate)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    context.set_client_ca_list([certificate.get_subject() for certificate in certificates])
    mode = SSL.VERIFY_PEER | SSL.VERIFY_CLIENT_ONCE | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)
    context.set_verify(mode, _verified)


def _verified(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, is_good: int) -> bool:
    """OpenSSL's word stands; what it refused is kept for the log, since OpenSSL itself forgets it."""
    if not is_good:
        connection.set_app_data(_der(certificate))
    return bool(is_good)


def refused_certificate(transport: Any) -> bytes | None:
    """The certificate (DER) for which the handshake of ``transport`` failed: the client's, or one that it brought."""
    refused = transport.getHandle().get_app_data()
    return refused if isinstance(refused, bytes) else None


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:  # bytes, or pyOpenSSL's word for none
    return b"mqtt" if b"mqtt" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _pem_certificates(text: bytes) -> list[crypto.X509]:
    end = b"-----END CERTIFICATE-----"
    found = [
        crypto.load_certificate(crypto.FILETYPE_PEM, part + end) for part in text.split(end)[:-1] if b"BEGIN" in part
    ]
    if not found:
        raise ValueError("no certificate in the file")
    return found


class TlsTransport(TLSMemoryBIOProtocol):
    """Twisted's TLS without what a broker that writes once per turn does not need.

    Its own aggregation of small writes is left out; what is encrypted is sent at once (see
    :mod:`mqttsecure.transport.sending`); and a read that held exactly one record is not followed by asking OpenSSL for
    another, which answers by an exception that costs as much as a message.
    """

    _missing = 0
    """Bytes still to come of the record under way."""
    _head = b""
    """The beginning of a record header whose rest is still to come."""

    def __init__(self, factory: TLSMemoryBIOFactory, protocol: Protocol) -> None:
        _Tls.__init__(self, factory, protocol)
        self.sender: Sender

    def makeConnection(self, transport: Any) -> None:
        self.sender = Sender(transport, self._drained)
        _Tls.makeConnection(self, transport)

    def _drained(self) -> None:
        if not self._aborted and self._handshakeDone:
            protocol: Any = self.wrappedProtocol
            protocol.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        is_one_record = (
            not self._missing
            and not self._head
            and len(data) > _HEADER
            and len(data) == _HEADER + (data[3] << 8 | data[4])
        )
        if not is_one_record:
            self._follow_records(data)
        if not is_one_record or not self._handshakeDone or self._appSendBuffer:
            _Tls.dataReceived(self, data)
            return
        self._tlsConnection.bio_write(data)
        try:
            plain = self._tlsConnection.recv(len(data))
        except SSL.WantReadError:
            self._flushSendBIO()  # no application data, but perhaps something to answer
        except SSL.ZeroReturnError:
            _Tls._flushReceiveBIO(self)  # says so again
        except SSL.Error:
            # Not by asking once more: OpenSSL tells what was wrong a single time.
            self._tlsShutdownFinished(Failure())
        else:
            if not self._aborted:
                self.wrappedProtocol.dataReceived(plain)

    def _follow_records(self, data: bytes) -> None:
        """Keep count of where records begin and end."""
        position = self._missing
        if self._head:
            data = self._head + data
        size = len(data)
        while position + _HEADER <= size:
            position += _HEADER + (data[position + 3] << 8 | data[position + 4])
        self._missing = max(0, position - size)
        self._head = data[position:]

    def write(self, data: bytes) -> None:
        if self._appSendBuffer or self._lostTLSConnection or not self._handshakeDone or self.disconnecting:
            _Tls.write(self, data)
            return
        try:
            connection = self._tlsConnection
            size = len(data)
            sent = connection.send(data)  # into memory, one record a call
            while sent < size:
                sent += connection.send(data[sent : sent + _RECORD_SIZE])
            encrypted = connection.bio_read(size + size // 64 + _SPARE)
        except SSL.WantReadError:
            # The peer has sent half a KeyUpdate. Waiting for the rest would let it grow what waits here without bound.
            self._tlsShutdownFinished(None)
            return
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
            return
        self.sender.send(encrypted)

    def _flushSendBIO(self) -> None:
        more = True
        while more:  # a chain of certificates may be larger than one read
            try:
                encrypted = self._tlsConnection.bio_read(_READ_SIZE)
            except SSL.WantReadError:
                return
            self.sender.send(encrypted)
            more = len(encrypted) == _READ_SIZE

    def loseConnection(self) -> None:
        if not self._lostTLSConnection:  # else TCP ends already, the alert first, which an abort could take away
            _Tls.loseConnection(self)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        """TLS is over, by the peer's close_notify or by an error: say so at once.

        The TCP connection ends when it has sent all, which a peer that does not read can put off for ever.
        """
        _Tls._tlsShutdownFinished(self, reason)
        protocol: Any = self.wrappedProtocol
        if protocol is not None:
            protocol.tls_ended(reason)


def tls_factory(context: ServerContext, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """What :class:`TlsTransport` takes as its factory."""
    factory = TLSMemoryBIOFactory(context, False, Factory(), clock)
    factory.protocol = TlsTransport
    return factory


def tls_facts(transport: Any) -> TlsFacts:
    """What the finished handshake of ``transport`` settled."""
    connection: SSL.Connection = transport.getHandle()
    certificate = connection.get_peer_certificate()
    chain = connection.get_verified_chain() if certificate is not None else None
    server_name = connection.get_servername()
    protocol = connection.get_alpn_proto_negotiated()
    return TlsFacts(
        version=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name() or "",
        server_name=server_name.decode("ascii", "replace") if server_name else None,
        application_protocol=protocol.decode("ascii", "replace") if protocol else None,
        peer_certificate=_der(certificate) if certificate is not None else None,
        verified_chain=tuple(_der(each) for each in chain or ()),
        channel_binding=_channel_binding(connection),
    )


def _channel_binding(connection: SSL.Connection) -> bytes | None:
    """The tls-exporter binding, RFC 9266; TLS 1.2 has it only with an extension of which OpenSSL does not tell here."""
    if connection.get_protocol_version_name() != "TLSv1.3":
        return None
    return connection.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, b"")


def _der(certificate: crypto.X509) -> bytes:
    # As OpenSSL has it. What reads certificates more strictly is for policies, whose errors are denials.
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def tls_problem(failure: Failure | None) -> str | None:
    """What was wrong in OpenSSL's words, which hold nothing of the peer's; None where the peer has only gone away."""
    if failure is None or not isinstance(failure.value, SSL.Error) or isinstance(failure.value, SSL.SysCallError):
        return None
    errors = failure.value.args[0] if failure.value.args else None
    return str(errors[0][-1]) if errors else None
