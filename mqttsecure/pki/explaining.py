# -*- test-case-name: tests.pki.test_explaining -*-
"""What certificates, keys, requests, revocation lists and PKCS#12 say, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates
from cryptography.x509.oid import ExtendedKeyUsageOID

from mqttsecure.pki.chains import is_self_signed
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.index import serial_text
from mqttsecure.pki.keys import PublicKey, describe_key, key_fingerprint
from mqttsecure.pki.loading import Thing
from mqttsecure.pki.names import name_text, names_of
from mqttsecure.pki.revoking import reason_text

__all__ = ["Explained", "explain"]

_MOST_ROWS: Final = 1000
"""Of revoked certificates that are listed one by one."""

_USAGES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "servers",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clients",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anything",
}


@dataclass(slots=True)
class Explained:
    """One thing of a file: what it is, and what it says."""

    kind: str
    rows: list[tuple[str, str]]


def explain(things: Iterable[Thing], now: datetime) -> list[Explained]:
    """Each thing in words; private keys are never shown, only whose they are."""
    found: list[Explained] = []
    for thing in things:
        if isinstance(thing, PKCS12KeyAndCertificates):
            found += _bundle(thing, now)
        else:
            found.append(_one(thing, now))
    return found


def _one(thing: Thing, now: datetime) -> Explained:
    try:
        if isinstance(thing, x509.Certificate):
            return Explained("certificate", _certificate(thing, now))
        if isinstance(thing, x509.CertificateSigningRequest):
            return Explained("signing request", _request(thing))
        if isinstance(thing, x509.CertificateRevocationList):
            return Explained("revocation list", _crl(thing, now))
    except (ValueError, x509.DuplicateExtension) as error:
        raise CertificateProblem(f"a part of it cannot be read ({error}); have it made again") from None
    if isinstance(thing, PKCS12KeyAndCertificates):
        raise TypeError("a bundle is several things")
    if isinstance(thing, PublicKey):
        return Explained("public key", _key(thing))
    return Explained("private key", _key(thing.public_key()))


def _bundle(bundle: PKCS12KeyAndCertificates, now: datetime) -> list[Explained]:
    certificates = [bundle.cert, *bundle.additional_certs]
    found = [_one(each.certificate, now) for each in certificates if each is not None]
    if bundle.key is not None:
        found.append(Explained("private key", _key(bundle.key.public_key())))
    for each in found:
        each.kind = f"{each.kind} in PKCS#12"
    return found


def _key(key: object) -> list[tuple[str, str]]:
    rows = [("kind", describe_key(key))]
    if isinstance(key, PublicKey):
        rows.append(("hash", f"sha256:{key_fingerprint(key)}"))
    return rows


def _certificate(certificate: x509.Certificate, now: datetime) -> list[tuple[str, str]]:
    issuer = "itself" if is_self_signed(certificate) else certificate.issuer.rfc4514_string()
    rows = [
        ("subject", certificate.subject.rfc4514_string() or "(none)"),
        ("issued by", issuer),
        ("for", _purpose(certificate)),
        ("names", ", ".join(map(name_text, names_of(certificate))) or "none"),
        ("valid", _validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)),
        ("serial", serial_text(certificate.serial_number)),
        ("signature", _signature(certificate.signature_hash_algorithm, certificate.signature_algorithm_oid)),
    ]
    rows += [(f"key {name}", value) for name, value in _key(_public_key(certificate))]
    rows.append(("fingerprint", f"sha256:{certificate.fingerprint(SHA256()).hex()}"))
    return rows + _constraints(certificate)


def _public_key(thing: x509.Certificate | x509.CertificateSigningRequest) -> object:
    try:
        return thing.public_key()
    except Exception as error:  # what the library does not support, of several unrelated classes
        raise CertificateProblem(f"its key cannot be read ({error}); have it made again") from None


def _signature(algorithm: object, oid: x509.ObjectIdentifier) -> str:
    name = getattr(algorithm, "name", None)
    return oid._name if name is None else f"{oid._name} ({name.upper()})"


def _purpose(certificate: x509.Certificate) -> str:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        if basic.ca:
            depth = "any number of CAs" if basic.path_length is None else f"{basic.path_length} CAs"
            return f"a CA, with {depth} below it"
    except x509.ExtensionNotFound:
        pass
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "servers and clients: it does not say"
    return " and ".join(_USAGES.get(each, each.dotted_string) for each in usage)


def _validity(begins: datetime, ends: datetime, now: datetime) -> str:
    if now >= ends:
        state = "expired"
    elif now < begins:
        state = "not yet valid"
    else:
        state = f"{(ends - now).days} more days"
    return f"{begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC: {state}"


def _constraints(certificate: x509.Certificate) -> list[tuple[str, str]]:
    try:
        value = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    rows = []
    if value.permitted_subtrees:
        rows.append(("may vouch only for", ", ".join(map(name_text, value.permitted_subtrees))))
    if value.excluded_subtrees:
        rows.append(("must not vouch for", ", ".join(map(name_text, value.excluded_subtrees))))
    return rows


def _request(request: x509.CertificateSigningRequest) -> list[tuple[str, str]]:
    signed = "right: its sender has the key" if request.is_signature_valid else "WRONG: do not sign it"
    return [
        ("asks for the subject", request.subject.rfc4514_string() or "(none)"),
        ("asks for the names", ", ".join(map(name_text, names_of(request))) or "none"),
        ("signature", signed),
        *((f"key {name}", value) for name, value in _key(_public_key(request))),
    ]


def _crl(crl: x509.CertificateRevocationList, now: datetime) -> list[tuple[str, str]]:
    try:
        number = str(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    except x509.ExtensionNotFound:
        number = "none"
    ends = crl.next_update_utc
    rows = [
        ("issued by", crl.issuer.rfc4514_string()),
        ("number", number),
        ("valid", "without an end" if ends is None else _validity(crl.last_update_utc, ends, now)),
        ("revoked", str(len(crl))),
    ]
    for place, entry in enumerate(crl):
        if place == _MOST_ROWS:
            rows.append(("...", f"and {len(crl) - place} more"))
            break
        rows.append(
            (serial_text(entry.serial_number), f"{entry.revocation_date_utc:%Y-%m-%d %H:%M} UTC{reason_text(entry)}")
        )
    return rows
