# -*- test-case-name: tests.pki.test_revoking -*-
"""Certificate revocation lists (RFC 5280, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.index import Entry
from mqttsecure.pki.issuing import Signer
from mqttsecure.pki.keys import hash_for
from mqttsecure.pki.profiles import BACKDATED

__all__ = ["CRL_LIFETIME", "REASONS", "reason_text", "revocation_list"]

CRL_LIFETIME: Final = timedelta(days=30)
"""Until the next list has to be there: a broker refuses everyone once it has only an old one."""

REASONS: Final = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "affiliation-changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
    "privilege-withdrawn": x509.ReasonFlags.privilege_withdrawn,
}
"""What may be given as the reason of a revocation; holds that can be lifted again are not among them."""


def revocation_list(
    signer: Signer, revoked: Iterable[Entry], number: int, now: datetime, lifetime: timedelta
) -> x509.CertificateRevocationList:
    """The list of what is revoked, for clients and brokers to read.

    Raises:
        CertificateProblem: the lifetime makes no sense.
    """
    if lifetime <= timedelta(0):
        raise CertificateProblem("the next list must come after this one; give a longer --next-update, such as 30d")
    try:
        ends = now + lifetime
    except OverflowError:
        raise CertificateProblem("that is past the year 9999; give a shorter --next-update, such as 30d") from None
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update((now - BACKDATED).replace(microsecond=0))
        .next_update(ends.replace(microsecond=0))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(signer.key_identifier, critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(_revoked(entry))
    return builder.sign(signer.key, hash_for(signer.key))


def _revoked(entry: Entry) -> x509.RevokedCertificate:
    if entry.revoked is None:
        raise ValueError(f"{entry.name!r} is not revoked")
    builder = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.revoked)
    # RFC 5280, section 5.3.1: a reason that says nothing is left out.
    if entry.reason is not None and entry.reason != "unspecified":
        builder = builder.add_extension(x509.CRLReason(REASONS[entry.reason]), critical=False)
    return builder.build()


def reason_text(entry: x509.RevokedCertificate) -> str:
    """``" (key compromise)"``, or nothing where no reason is given."""
    try:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, ValueError):
        return ""
    words = {value: name for name, value in REASONS.items()}
    return f" ({words.get(flag, flag.value).replace('-', ' ')})"
