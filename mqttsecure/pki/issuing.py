# -*- test-case-name: tests.pki.test_issuing -*-
"""Makes certificates. Time comes in as ``now``; nothing is read or written here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from mqttsecure.pki.constraints import constraints_of, outside
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.keys import PrivateKey, PublicKey, hash_for
from mqttsecure.pki.names import common_name, short_name
from mqttsecure.pki.profiles import BACKDATED, Purpose, Wanted, key_usage

__all__ = ["Signer", "certify", "self_signed_ca", "sign"]

_SHORTEST: Final = timedelta(minutes=1)


@dataclass(slots=True, frozen=True)
class Signer:
    """A CA that can sign: its certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        try:
            identifier = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def self_signed_ca(wanted: Wanted, key: PrivateKey, now: datetime) -> x509.Certificate:
    """The certificate of a new root CA.

    Raises:
        CertificateProblem: its lifetime makes no sense.
    """
    begins = now - BACKDATED
    builder = _builder(wanted, key.public_key(), begins, _end(wanted, begins, now, None))
    return builder.issuer_name(wanted.subject).sign(key, hash_for(key))


def sign(wanted: Wanted, key: PublicKey, signer: Signer, now: datetime) -> x509.Certificate:
    """A certificate of this CA for the owner of ``key``.

    Raises:
        CertificateProblem: the CA has expired, may not vouch for these names, or would be outlived.
    """
    _check_names(wanted)
    _check_signer(wanted, signer, now)
    begins = max(now - BACKDATED, signer.certificate.not_valid_before_utc)
    return certify(wanted, key, signer, begins, _end(wanted, begins, now, signer.certificate))


def certify(wanted: Wanted, key: PublicKey, signer: Signer, begins: datetime, ends: datetime) -> x509.Certificate:
    """A certificate for exactly that time, with nothing checked: for lessons and tests. Else take :func:`sign`."""
    builder = _builder(wanted, key, begins, ends).issuer_name(signer.certificate.subject)
    builder = builder.add_extension(signer.key_identifier, critical=False)
    return builder.sign(signer.key, hash_for(signer.key))


def _check_names(wanted: Wanted) -> None:
    hosts = [name for name in wanted.names if isinstance(name, x509.DNSName | x509.IPAddress)]
    if wanted.purpose is Purpose.SERVER and not hosts:
        raise CertificateProblem(
            "a server's certificate needs a host name or an address as an alternative name (a common name does not "
            "count); add one, such as --san DNS:broker.example.org"
        )


def _check_signer(wanted: Wanted, signer: Signer, now: datetime) -> None:
    certificate = signer.certificate
    name = short_name(certificate.subject)
    if certificate.not_valid_after_utc <= now:
        raise CertificateProblem(
            f"the CA {name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; make a new one with "
            "`mqttsecure cert init` in another folder, and have clients trust both for a while"
        )
    if certificate.not_valid_before_utc > now:
        raise CertificateProblem(
            f"the CA {name} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; check the clock"
        )
    constraints = constraints_of(certificate)
    if constraints is not None:
        refused = outside(constraints, wanted.names, common_name(wanted.subject))
        if refused:
            raise CertificateProblem(f"the CA {name} may not vouch for {'; '.join(refused)}; take a name that it may")
    if wanted.purpose is Purpose.CA:
        _check_depth(wanted, certificate, name)


def _check_depth(wanted: Wanted, certificate: x509.Certificate, name: str) -> None:
    allowed = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if allowed is not None and wanted.path_length >= allowed:
        raise CertificateProblem(
            f"the CA {name} may have {allowed} levels of CAs below it, and this would be one more; make the upper CA "
            "with `mqttsecure cert init --path-length 1`"
        )


def _end(wanted: Wanted, begins: datetime, now: datetime, issuer: x509.Certificate | None) -> datetime:
    """When it ends. A lifetime that nobody asked for is cut at the end of the CA; one that was asked for is refused."""
    lifetime = wanted.lifetime or wanted.default_lifetime
    if lifetime < _SHORTEST:
        raise CertificateProblem(
            "a certificate must live for a minute at least; give a longer --lifetime, such as 825d"
        )
    try:
        end = (now if wanted.lifetime else begins) + lifetime
    except OverflowError:
        raise CertificateProblem("that lifetime goes past the year 9999; give a shorter one, such as 3650d") from None
    if issuer is None or end <= issuer.not_valid_after_utc:
        return end
    if wanted.lifetime is not None:
        raise CertificateProblem(
            f"it would outlive its CA, which ends on {issuer.not_valid_after_utc:%Y-%m-%d}; give a shorter --lifetime"
        )
    return issuer.not_valid_after_utc


def _builder(wanted: Wanted, key: PublicKey, begins: datetime, ends: datetime) -> x509.CertificateBuilder:
    is_ca = wanted.purpose is Purpose.CA
    builder = (
        x509.CertificateBuilder()
        .subject_name(wanted.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins.replace(microsecond=0))
        .not_valid_after(ends.replace(microsecond=0))
        .add_extension(x509.BasicConstraints(is_ca, wanted.path_length if is_ca else None), critical=True)
        .add_extension(key_usage(is_ca=is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if wanted.purpose.extended is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([wanted.purpose.extended]), critical=False)
    if wanted.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(wanted.names), critical=False)
    if wanted.constraints is not None:
        builder = builder.add_extension(wanted.constraints, critical=True)
    return builder
