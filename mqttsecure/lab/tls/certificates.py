# -*- test-case-name: tests.lab.tls.test_certificates -*-
"""Certificates: what they say, for people and for programs."""

from __future__ import annotations

from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mqttsecure.errors import CaptureError
from mqttsecure.lab.model import CertificateFacts, Check, Outcome

__all__ = ["extension_of", "load_authorities", "read_facts"]

_KEY_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)
_PURPOSES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
}
_T = TypeVar("_T", bound=x509.ExtensionType)


def read_facts(der: bytes) -> CertificateFacts:
    """What a certificate says; one that cannot be read says only that."""
    try:
        return _facts(x509.load_der_x509_certificate(der), der)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension) as error:
        check = Check("certificate_readable", Outcome.BAD, f"the certificate cannot be read: {error}")
        return CertificateFacts(
            "unreadable",
            "unreadable",
            "",
            "",
            "",
            _sha256(der),
            "",
            "",
            None,
            "",
            [],
            False,
            None,
            [],
            [],
            False,
            [check],
            der,
        )


def _sha256(der: bytes) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()


def _facts(certificate: x509.Certificate, der: bytes) -> CertificateFacts:
    public_key, key_text = _key(certificate)
    constraints = extension_of(certificate, x509.BasicConstraints)
    usage = extension_of(certificate, x509.KeyUsage)
    purposes = extension_of(certificate, x509.ExtendedKeyUsage)
    hash_name = _hash_name(certificate)
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=hex(certificate.serial_number),
        not_before=certificate.not_valid_before_utc.isoformat(),
        not_after=certificate.not_valid_after_utc.isoformat(),
        sha256=_sha256(der),
        public_key=public_key,
        key_text=key_text,
        signature_hash=hash_name,
        signature_algorithm=_oid_name(certificate.signature_algorithm_oid),
        san=_names(certificate),
        is_ca=bool(constraints and constraints.ca),
        path_length=constraints.path_length if constraints else None,
        key_usage=[name for name in _KEY_USAGES if usage is not None and getattr(usage, name)],
        extended_key_usage=[_PURPOSES.get(each, each.dotted_string) for each in purposes or ()],
        self_issued=certificate.subject == certificate.issuer,
        der=der,
    )


def _oid_name(oid: x509.ObjectIdentifier) -> str:
    return getattr(oid, "_name", "") or oid.dotted_string


def _hash_name(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return None
    return algorithm.name if algorithm is not None else None


def _key(certificate: x509.Certificate) -> tuple[str, str]:
    """The public key as type and bits, and in words."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "unknown", "a key of an unknown kind"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSAPublicKey {key.key_size}", f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECPublicKey {key.key_size}", f"ECDSA on {key.curve.name}"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519PublicKey 256", "Ed25519"
    if isinstance(key, ed448.Ed448PublicKey):
        return "Ed448PublicKey 456", "Ed448"
    if isinstance(key, dsa.DSAPublicKey):
        return f"DSAPublicKey {key.key_size}", f"DSA, {key.key_size} bits"
    return type(key).__name__.lstrip("_"), type(key).__name__.lstrip("_")


def extension_of(certificate: x509.Certificate, kind: type[_T]) -> _T | None:
    """An extension of that kind; None where there is none, or the extensions cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension):
        return None


def _names(certificate: x509.Certificate) -> list[str]:
    found = extension_of(certificate, x509.SubjectAlternativeName)
    names = []
    for name in found or ():
        value = name.value
        names.append(value.rfc4514_string() if isinstance(value, x509.Name) else str(value))
    return names


def load_authorities(data: bytes, source: str) -> list[x509.Certificate]:
    """Certificates of CAs out of a PEM or DER file.

    Raises:
        CaptureError: it has none.
    """
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        raise CaptureError(f"{source}: holds no certificate; name the CA's certificate (PEM), not its key") from None
