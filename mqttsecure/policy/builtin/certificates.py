# -*- test-case-name: tests.policy.builtin.test_certificates -*-
"""What a client certificate says of its owner.

Whatever can be read in two ways is refused: several names of the chosen kind, several common names, a common name in a
multi-valued RDN, characters that do not print. Names are given as they stand; what they may widen (``+``, ``#``,
``/``) is the business of the place that uses them.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mqttsecure.errors import MqttsecureError

__all__ = [
    "UNREADABLE",
    "CertificateRefused",
    "NameKind",
    "fingerprint",
    "groups_of",
    "name_of",
    "parse_certificate",
    "spki_hash",
]

NameKind: TypeAlias = Literal["san-uri", "san-dns", "san-email", "cn"]

UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the reading of an odd certificate raises, for which cryptography has no common class."""

MAXIMUM_NAME: Final = 1024
"""Characters of a name: a URI fits; it is kept for every connection, session and message of its owner."""

_COMMON_NAME: Final = x509.NameOID.COMMON_NAME
_TYPE_OF_KIND: Final[dict[str, type[x509.UniformResourceIdentifier | x509.DNSName | x509.RFC822Name]]] = {
    "san-uri": x509.UniformResourceIdentifier,
    "san-dns": x509.DNSName,
    "san-email": x509.RFC822Name,
}


class CertificateRefused(MqttsecureError):
    """A certificate that names nobody, or not exactly one."""


def parse_certificate(der: bytes) -> x509.Certificate:
    """Read a certificate.

    Raises:
        CertificateRefused: it cannot be read.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise CertificateRefused(f"the certificate cannot be read: {error}") from error


def fingerprint(der: bytes) -> str:
    """The SHA-256 of a certificate, in hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def spki_hash(certificate: x509.Certificate) -> str:
    """The SHA-256 of the public key with its algorithm, in hexadecimal: the same in every certificate of one key.

    Raises:
        CertificateRefused: the key cannot be read.
    """
    try:
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception as error:  # cryptography raises several unrelated classes here; all of them mean a refusal
        raise CertificateRefused(f"the public key cannot be read: {error}") from error
    return hashlib.sha256(spki).hexdigest()


def name_of(certificate: x509.Certificate, kinds: tuple[NameKind, ...]) -> tuple[NameKind, str]:
    """The owner's name, of the first of ``kinds`` that the certificate has.

    Raises:
        CertificateRefused: it has none of them, more than one of the first, or one that cannot be printed.
    """
    alternatives = _alternative_names(certificate)
    for kind in kinds:
        names = _common_names(certificate) if kind == "cn" else _of_type(alternatives, _TYPE_OF_KIND[kind])
        if not names:
            continue
        if len(names) > 1:
            raise CertificateRefused(f"the certificate has {len(names)} names of the kind {kind}")
        return kind, _printable(names[0], kind)
    raise CertificateRefused(f"the certificate has no name of the kinds {', '.join(kinds)}")


def groups_of(certificate: x509.Certificate) -> frozenset[str]:
    """The organizational units of the owner.

    Raises:
        CertificateRefused: one of them cannot be printed.
    """
    units = _subject(certificate).get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    return frozenset(_printable(_text(unit), "ou") for unit in units)


def _subject(certificate: x509.Certificate) -> x509.Name:
    try:
        return certificate.subject
    except UNREADABLE as error:
        raise CertificateRefused(f"the subject cannot be read: {error}") from error


def _common_names(certificate: x509.Certificate) -> list[str]:
    subject = _subject(certificate)
    for rdn in subject.rdns:
        if len(rdn) > 1 and rdn.get_attributes_for_oid(_COMMON_NAME):
            raise CertificateRefused("the common name stands in a multi-valued RDN")
    return [_text(attribute) for attribute in subject.get_attributes_for_oid(_COMMON_NAME)]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    except UNREADABLE as error:
        raise CertificateRefused(f"the extensions cannot be read: {error}") from error


def _of_type(
    names: x509.SubjectAlternativeName | None,
    kind: type[x509.UniformResourceIdentifier | x509.DNSName | x509.RFC822Name],
) -> list[str]:
    return [] if names is None else [str(value) for value in names.get_values_for_type(kind)]


def _text(attribute: x509.NameAttribute[str | bytes]) -> str:
    if not isinstance(attribute.value, str):
        raise CertificateRefused("a name of the subject is a bit string")
    return attribute.value


def _printable(name: str, kind: str) -> str:
    if not name or not name.isprintable() or len(name) > MAXIMUM_NAME:
        raise CertificateRefused(f"the {kind} name is empty, too long or has characters that cannot be printed")
    return name
