# -*- test-case-name: tests.service.test_assumed_certificate -*-
"""A client certificate as an authority could have issued it, to put to the chain a question about its owner.

Nobody holds its key and no CA has signed it: the chain takes certificates as the handshake has verified them, and there
was no handshake.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.certificates import UNREADABLE
from mqttsecure.policy.environment import Authority
from mqttsecure.service.config import ListenerConfig

__all__ = ["assumed_chain", "certificate_chain", "chain_to", "choose_authority", "trusted_authorities"]

_LIFETIME: Final = timedelta(days=1)
_MAXIMUM_FILE: Final = 1024 * 1024
_MAXIMUM_COMMON_NAME: Final = 64
"""ub-common-name of RFC 5280."""


@functools.cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def assumed_chain(common_name: str, units: tuple[str, ...], authority: Authority) -> tuple[bytes, bytes]:
    """A valid certificate CN=``common_name`` with those organizational units, and the CA that it claims.

    Raises:
        ValueError: there can be no such certificate.
    """
    if not authority.ca_certificates:
        raise ValueError(f"the authority {authority.name!r} has no CA; name one that has, or give a password's user")
    if not 1 <= len(common_name) <= _MAXIMUM_COMMON_NAME:
        raise ValueError(f"a common name has 1 to {_MAXIMUM_COMMON_NAME} characters")
    anchor = authority.ca_certificates[0]
    names = [x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    names.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(x509.load_der_x509_certificate(anchor).subject)
        .public_key(_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
        .sign(_key(), SHA256())
    )
    return certificate.public_bytes(Encoding.DER), anchor


def certificate_chain(file: Path, authorities: list[Authority]) -> tuple[bytes, ...]:
    """The first certificate of a PEM file, what else is in it, and the CA of the authorities at its end.

    Raises:
        ConfigError: the file cannot be read, or no authority's CA has signed what is in it.
    """
    try:
        with file.open("rb") as stream:
            found = x509.load_pem_x509_certificates(stream.read(_MAXIMUM_FILE))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: holds no PEM certificate that can be read: {error}") from error
    chain = chain_to([each.public_bytes(Encoding.DER) for each in found], authorities)
    if chain is None:
        raise ConfigError(f"{file}: no CA that the listener trusts has signed it; the handshake would fail")
    return chain


def chain_to(certificates: Sequence[bytes], authorities: Sequence[Authority]) -> tuple[bytes, ...] | None:
    """The first certificate, what else of these leads on from it, and the CA of the authorities at its end.

    Raises:
        ValueError: one of them cannot be read.
    """
    found = [_read(der) for der in certificates]
    anchors = [_read(der) for each in authorities for der in each.ca_certificates]
    chain = [found[0]]
    for _ in range(len(found) + 1):
        for issuer in (*anchors, *found[1:]):
            if issuer not in chain and _has_signed(issuer, chain[-1]):
                chain.append(issuer)
                break
        if chain[-1] in anchors:
            return tuple(each.public_bytes(Encoding.DER) for each in chain)
    return None


def _read(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise ValueError(f"a certificate cannot be read: {error}") from error


def trusted_authorities(listener: ListenerConfig, authorities: Mapping[str, Authority]) -> list[Authority]:
    """Those whose certificates a listener takes."""
    return [authorities[name] for name in (listener.tls.authorities if listener.tls is not None else ())]


def choose_authority(trusted: list[Authority], name: str | None) -> Authority:
    """The authority of that name, or the only one.

    Raises:
        ConfigError: there is none, or several where no name is given.
    """
    names = [each.name for each in trusted]
    if name is None and len(trusted) == 1:
        return trusted[0]
    if name not in names:
        raise ConfigError(f"the listener trusts {', '.join(names) or 'no authority'}; name one as the certificate's")
    return trusted[names.index(name)]


def _has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
