"""Certificates for the sessions that tests make themselves."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Credential", "credential", "root"]

_FIRST: Final = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_LAST: Final = datetime.datetime(2049, 1, 1, tzinfo=datetime.UTC)

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True)
class Credential:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: _Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@functools.cache
def _key(kind: str) -> _Key:
    """Keys are made once for all tests, and their curves and sizes are in their names."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.partition("-")[2] or 2048))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind])


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test, Lab"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _hash(key: _Key) -> hashes.SHA256 | None:
    return None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()


@functools.cache
def root(common: str = "Test CA", kind: str = "p256") -> Credential:
    """A certificate authority."""
    key = _key(kind)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .issuer_name(_name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FIRST)
        .not_valid_after(_LAST)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return Credential(builder.sign(key, _hash(key)), key)


@functools.cache
def credential(
    common: str = "broker.lab.test",
    kind: str = "p256",
    *,
    names: tuple[str, ...] | None = None,
    client: bool = False,
    issuer: Credential | None = None,
    days: tuple[datetime.datetime, datetime.datetime] = (_FIRST, _LAST),
    purpose: bool = True,
) -> Credential:
    """A server's or client's certificate by the authority of the tests, or another one."""
    key = _key(kind)
    by = root() if issuer is None else issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(days[0])
        .not_valid_after(days[1])
    )
    found = (common,) if names is None else names
    if found:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in found]), critical=False)
    if purpose:
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Credential(builder.sign(by.key, _hash(by.key)), key)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
