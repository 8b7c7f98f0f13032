# -*- test-case-name: tests.client.test_trust -*-
"""TLS of a client: whom it trusts. The broker is judged within the handshake, before any byte of MQTT is sent.

TLS 1.2 or later, forward secret suites with AEAD, no resumption. The certificate's chain, time and purpose are
OpenSSL's to judge, its names service-identity's, its pin ours; whatever is refused gets a TLS alert and one line of
words here.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.client.address import Address
from mqttsecure.client.certificate_words import chain_refusal, name_refusal, pin_refusal
from mqttsecure.client.failures import CertificateRefused, ClientError, OptionsInvalid, TlsFailed
from mqttsecure.client.options import TlsOptions
from mqttsecure.wire.scram import EXPORTER_BYTES, EXPORTER_LABEL

__all__ = ["Judge", "Trust", "channel_binding", "tls_failure"]

_SUITES: Final = (
    b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL:!PSK:"
    b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
)
"""Those of TLS 1.2 that are forward secret with AEAD; TLS 1.3 has no others."""


class Judge:
    """Judges the certificates of one connection.

    Attributes:
        refusal: why the broker's certificate was refused.
        is_satisfied: whether the broker's own certificate was seen and found good.
    """

    def __init__(self, address: Address, options: TlsOptions, trusted: Collection[bytes]) -> None:
        self._host = options.server_name or address.host
        self._is_ip = options.server_name is None and address.is_ip
        self._options = options
        self._trusted = trusted
        self.refusal: CertificateRefused | None = None
        self.is_satisfied = False

    def judge(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, is_good: int) -> bool:
        """OpenSSL asks about each certificate of the chain, the broker's own (depth 0) last."""
        try:
            refusal = self._objection(certificate, error, depth, bool(is_good))
        except Exception as problem:  # a certificate can be broken in more ways than its readers have exceptions for
            refusal = CertificateRefused(f"the broker's certificate cannot be read: {problem}", "have it made anew")
        if refusal is not None and self.refusal is None:
            self.refusal = refusal
        self.is_satisfied = self.refusal is None and depth == 0
        return refusal is None

    def _objection(self, certificate: crypto.X509, error: int, depth: int, is_good: bool) -> CertificateRefused | None:
        if self._options.verify and not is_good:
            return chain_refusal(certificate, error, depth, self._trusted)
        if depth:
            return None
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        if self._options.pin is not None and (refusal := pin_refusal(der, self._options.pin)) is not None:
            return refusal
        return name_refusal(der, self._host, self._is_ip) if self._options.verify else None


@implementer(IOpenSSLClientConnectionCreator)
class Trust:
    """Makes the TLS side of one connection to one broker.

    Attributes:
        judge: what it finds.
    """

    def __init__(self, address: Address, options: TlsOptions) -> None:
        """Read the files.

        Raises:
            OptionsInvalid: one of them cannot be used.
        """
        self._address = address
        self._options = options
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_cipher_list(_SUITES)
        self._context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        self._context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self._context.set_alpn_protos([b"mqtt"])
        trusted = self._load_anchors(options.ca_file)
        if options.certificate_file is not None:
            _load_own(self._context, options.certificate_file, options.key_file or options.certificate_file)
        self.judge = Judge(address, options, trusted)
        if options.adjust is not None:
            options.adjust(self._context)
        # Last: whoever is the broker is judged, whatever was adjusted.
        self._context.set_verify(SSL.VERIFY_PEER, self.judge.judge)

    def _load_anchors(self, ca_file: Path | None) -> frozenset[bytes]:
        if ca_file is None:
            self._context.set_default_verify_paths()
            return frozenset()
        anchors = _certificates(ca_file)
        store = self._context.get_cert_store()
        if store is None:
            raise OptionsInvalid("OpenSSL gives no certificate store", "see to the installation of pyOpenSSL")
        for anchor in anchors:
            store.add_cert(crypto.X509.from_cryptography(anchor))
        # Who names a certificate trusts it, also where it is an intermediate one.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        return frozenset(anchor.subject.public_bytes() for anchor in anchors)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        host = self._options.server_name or self._address.host
        if self._options.server_name is not None or not self._address.is_ip:
            # RFC 6066, section 3: no addresses, and no dot at the end.
            connection.set_tlsext_host_name(host.rstrip(".").encode("ascii"))
        return connection


def channel_binding(connection: SSL.Connection) -> bytes | None:
    """What both ends of a TLS 1.3 connection alone know of it (tls-exporter, RFC 9266)."""
    if connection.get_protocol_version_name() != "TLSv1.3":
        return None
    return connection.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, b"")


_OUR_OWN_END: Final = "protocol is shutdown"
"""What OpenSSL says of bytes for a connection that we have ended."""


def tls_failure(judge: Judge, failure: Failure) -> ClientError | None:
    """Why TLS ended a connection; None where it did not."""
    if judge.refusal is not None:
        return judge.refusal
    if not isinstance(failure.value, SSL.Error) or isinstance(failure.value, SSL.SysCallError | SSL.ZeroReturnError):
        return None
    errors = failure.value.args[0] if failure.value.args else None
    text = str(errors[0][-1]) if errors else "it gives no reason"
    if _OUR_OWN_END in text.lower():
        return None
    for words, cause, mend in _ALERTS:
        if words in text.lower():
            return TlsFailed(f"{cause} [{text}]", mend)
    return TlsFailed(f"the TLS handshake failed [{text}]", "look at the broker's log")


_ALERTS: Final = (
    ("certificate required", "the broker demands a client certificate", "give one with --cert and --key"),
    ("did not return a certificate", "the broker demands a client certificate", "give one with --cert and --key"),
    ("certificate unknown", "the broker refuses this client's certificate", "give one that the broker's CAs have made"),
    ("unknown ca", "the broker does not know the CA of this client's certificate", "give one of a CA that it trusts"),
    ("bad certificate", "the broker refuses this client's certificate", "give one that the broker's CAs have made"),
    ("certificate expired", "the broker takes this client's certificate for expired", "have it renewed"),
    ("certificate revoked", "this client's certificate is revoked", "get a new one"),
    (
        "handshake failure",
        "the broker demands a client certificate, or has no cipher suite in common",  # one alert for both in TLS 1.2
        "give one with --cert and --key, or let it speak TLS 1.3",
    ),
    ("protocol version", "the broker speaks only old versions of TLS", "let it speak TLS 1.2 or 1.3"),
    ("unsupported protocol", "the broker speaks only old versions of TLS", "let it speak TLS 1.2 or 1.3"),
    ("wrong version number", "the broker does not speak TLS on this port", "is it another port? TLS is often on 8883"),
    ("packet length too long", "the broker does not speak TLS on this port", "is it another port?"),
    ("record layer failure", "the broker does not speak TLS on this port", "is it another port?"),
    ("no application protocol", "this port serves another protocol than MQTT", "is it another port?"),
    ("decryption failed or bad record mac", "bytes were changed on the way", "somebody or something is in between"),
)
"""OpenSSL's words, what they mean here, and what helps; the first that fits."""


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OptionsInvalid(
            f"{file}: {what} cannot be read: {error.strerror}", "mend the name, or its mode"
        ) from error


def _certificates(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(file, "the certificate"))
    except ValueError as error:
        raise OptionsInvalid(f"{file}: there is no certificate in it ({error})", "name a PEM file") from error


def _load_own(context: SSL.Context, certificate_file: Path, key_file: Path) -> None:
    chain = _certificates(certificate_file)
    try:
        key = load_pem_private_key(_read(key_file, "the key"), None)
    except TypeError as error:
        raise OptionsInvalid(
            f"{key_file}: the key is encrypted", "decrypt it into a file that only you can read"
        ) from error
    except ValueError as error:
        raise OptionsInvalid(f"{key_file}: there is no private key in it ({error})", "name a PEM file") from error
    try:
        context.use_certificate(crypto.X509.from_cryptography(chain[0]))
        for each in chain[1:]:
            context.add_extra_chain_cert(crypto.X509.from_cryptography(each))
        context.use_privatekey(crypto.PKey.from_cryptography_key(key))  # type: ignore[arg-type]  # any kind, or it says so
        context.check_privatekey()
    except (SSL.Error, TypeError, ValueError) as error:
        raise OptionsInvalid(
            f"{key_file}: this key does not belong to the certificate in {certificate_file}", "name the pair"
        ) from error
