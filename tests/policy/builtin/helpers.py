"""Builders for the tests of the built-in policies: connections, requests, and a small PKI with revocation lists."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.core.decisions import ConnectionFacts, Decision, Peer, Principal, Purpose, Request, Stage, TlsFacts
from mqttsecure.errors import ConfigError

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
NOT_LIVE = tuple(purpose for purpose in Purpose if purpose is not Purpose.LIVE)


def peer(address: str | None = "127.0.0.1", uid: int | None = None) -> Peer:
    """A far end; None is a Unix socket's."""
    return Peer(None if address is None else ip_address(address), 40000, uid)


def facts(connection_id: int = 1, address: str | None = "127.0.0.1", **more: Any) -> ConnectionFacts:
    """A connection of alice, if nothing else is said."""
    more.setdefault("principal", Principal("login", "alice"))
    return ConnectionFacts(connection_id, "lab", peer(address), **more)


def request(stage: Stage, connection: ConnectionFacts | None = None, **more: Any) -> Request:
    """A request of that connection at time 0."""
    more.setdefault("now", 0.0)
    return Request(stage, facts() if connection is None else connection, **more)


def problems_of(build: Any, *arguments: Any) -> list[str]:
    """The problems for which a factory refuses its options; an assertion fails if it does not."""
    try:
        build(*arguments)
    except ConfigError as error:
        return error.problems
    raise AssertionError("the options were taken")


def effect(decision: Any) -> str:
    """The word of a direct answer."""
    assert isinstance(decision, Decision), decision
    return decision.effect.value


@functools.cache
def _key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """A CA that issues certificates and revocation lists."""

    def __init__(self, name: str = "Lab CA", key: str = "", issuer: Authority | None = None) -> None:
        self.key = _key(key or name)
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.issuer = issuer or self
        self.certificate = self._sign(self.name, self.key.public_key(), self.issuer, ca=True)
        self.der = self.certificate.public_bytes(Encoding.DER)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        issuer: Authority,
        ca: bool = False,
        alternatives: list[x509.GeneralName] | None = None,
        serial: int | None = None,
        begins: datetime = START,
        ends: datetime = END,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.name)
            .public_key(key)
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(issuer.key, SHA256())

    def issue(self, subject: x509.Name | str = "device", *alternatives: x509.GeneralName, **more: Any) -> bytes:
        """A client certificate as DER, for a common name or a whole subject."""
        if isinstance(subject, str):
            subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        made = self._sign(subject, _key("client").public_key(), self, alternatives=list(alternatives), **more)
        return made.public_bytes(Encoding.DER)

    def crl(
        self,
        *serials: int,
        begins: datetime = START,
        ends: datetime | None = END,
        key: ec.EllipticCurvePrivateKey | None = None,
        delta: bool = False,
    ) -> bytes:
        """A revocation list as PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(begins)
        builder = builder.next_update(ends or END)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begins).build()
            builder = builder.add_revoked_certificate(entry)
        if delta:
            builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
        return builder.sign(key or self.key, SHA256()).public_bytes(Encoding.PEM)

    def chain(self, der: bytes) -> tuple[bytes, ...]:
        """The verified chain of a certificate that this CA issued."""
        chain = [der, self.der]
        authority = self
        while authority.issuer is not authority:
            authority = authority.issuer
            chain.append(authority.der)
        return tuple(chain)

    def tls(self, der: bytes | None, **more: Any) -> TlsFacts:
        """What the handshake settled with that client certificate."""
        more.setdefault("version", "TLSv1.3")
        more.setdefault("cipher", "TLS_AES_256_GCM_SHA384")
        chain = () if der is None else self.chain(der)
        return TlsFacts(peer_certificate=der, verified_chain=chain, **more)


def later(seconds: float) -> datetime:
    """That long after the fake environment's first moment."""
    return datetime(2026, 6, 1, tzinfo=UTC) + timedelta(seconds=seconds)
