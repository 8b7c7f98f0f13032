# -*- test-case-name: tests.client.test_bad_certificates -*-
"""Why a broker's certificate is refused, in one line of plain words, and what helps."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from cryptography import x509
from OpenSSL import crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from mqttsecure.client.failures import CertificateRefused
from mqttsecure.client.pins import fingerprint, pin_matches

__all__ = ["chain_refusal", "name_refusal", "pin_refusal"]

# The numbers of OpenSSL's X509_V_ERR_..., which pyOpenSSL does not name (openssl-verification-options(1)).
_SIGNATURE_FAILURE: Final = 7
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_SELF_SIGNED_LEAF: Final = 18
_SELF_SIGNED_IN_CHAIN: Final = 19
_NO_ISSUER: Final = (2, 20, 21)
_WRONG_PURPOSE: Final = 26

_MAN_IN_THE_MIDDLE: Final = "somebody may be in between: do not go on before you know who"


def chain_refusal(certificate: crypto.X509, error: int, depth: int, trusted: Collection[bytes]) -> CertificateRefused:
    """What OpenSSL objects to.

    Args:
        certificate: at which it objects.
        error: its number for the fault.
        depth: 0 for the broker's own certificate, more for the CAs above it.
        trusted: the subjects (DER) of the CAs in the file that the user gave, if any.
    """
    found = certificate.to_cryptography()
    whose = "the broker's certificate" if depth == 0 else f"the CA certificate {_name(found.subject)} of the broker"
    if error == _EXPIRED:
        return CertificateRefused(
            f"{whose} has expired, on {found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            "have it renewed; if that day is still to come, set this machine's clock",
        )
    if error == _NOT_YET_VALID:
        return CertificateRefused(
            f"{whose} is not valid yet, but from {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on",
            "set this machine's clock; if it is right, wait or have the certificate made anew",
        )
    if error == _WRONG_PURPOSE:
        return CertificateRefused(
            f"{whose} was not made for a server" + (" but for clients" if _is_for_clients(found) else ""),
            "give the broker a certificate whose extended key usage has serverAuth; a client may be posing as broker",
        )
    return _untrusted(certificate, error, depth, trusted)


def _untrusted(certificate: crypto.X509, error: int, depth: int, trusted: Collection[bytes]) -> CertificateRefused:
    found = certificate.to_cryptography()
    if error == _SELF_SIGNED_LEAF:
        return CertificateRefused(
            f"the broker's certificate is self-signed: no CA that is trusted here vouches for it "
            f"({fingerprint(_der(certificate))})",
            "name the CA of the broker with --cafile, or this certificate itself once you have it from who runs the "
            "broker",
        )
    names = {found.issuer.public_bytes(), found.subject.public_bytes()} if depth else {found.issuer.public_bytes()}
    if error == _SIGNATURE_FAILURE or names & set(trusted):
        return CertificateRefused(
            f"the broker's certificate comes from a CA that has only the name of the trusted one, "
            f"{_name(found.issuer)}, and not its key",
            f"{_MAN_IN_THE_MIDDLE}; if the CA was made anew, get its new certificate from who runs the broker",
        )
    if error in _NO_ISSUER or error == _SELF_SIGNED_IN_CHAIN:
        return CertificateRefused(
            f"the broker's certificate comes from a CA that is not trusted here, {_name(found.issuer)}",
            "name the file with the certificate of the broker's CA, as you have it from who runs the broker, "
            "with --cafile",
        )
    text = _openssl_text(error)
    return CertificateRefused(f"the broker's certificate is refused: {text}", "have it made anew")


def name_refusal(certificate: bytes, host: str, is_ip: bool) -> CertificateRefused | None:
    """What is wrong with the certificate (DER) for that host, if anything; the names are those of its SAN alone."""
    found = x509.load_der_x509_certificate(certificate)
    try:
        if is_ip:
            verify_certificate_ip_address(found, host)
        else:
            verify_certificate_hostname(found, host)
    except (VerificationError, CertificateError):
        names = _names(found)
        return CertificateRefused(
            f"the broker's certificate is for {names}, and not for {host!r}",
            "connect to one of its names, or have it made for this one; else this is another machine than you mean",
        )
    return None


def pin_refusal(certificate: bytes, pin: str) -> CertificateRefused | None:
    """What is wrong with the certificate (DER) for that pin, if anything."""
    if pin_matches(pin, certificate):
        return None
    return CertificateRefused(
        f"the broker's certificate is not the pinned one: it has the fingerprint {fingerprint(certificate)}, "
        f"and the pin is sha256:{pin.lower().removeprefix('sha256:').replace(':', '')}",
        f"{_MAN_IN_THE_MIDDLE}; if the certificate was renewed, get its new fingerprint from who runs the broker",
    )


def _names(certificate: x509.Certificate) -> str:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return "no host at all (it has no subject alternative names)"
    names = [repr(name) for name in extension.value.get_values_for_type(x509.DNSName)]
    names += [str(address) for address in extension.value.get_values_for_type(x509.IPAddress)]
    if len(names) > _SHOWN:
        names[_SHOWN:] = [f"{len(names) - _SHOWN} more"]
    return ", ".join(names) or "no host at all"


_SHOWN: Final = 5
"""Names that are worth a line; a certificate may have hundreds."""


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _name(name: x509.Name) -> str:
    text = name.rfc4514_string()
    return repr(text if len(text) <= 120 else text[:120] + "...")


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _openssl_text(error: int) -> str:
    return f"OpenSSL's verification error {error}, see openssl-verification-options(1)"
