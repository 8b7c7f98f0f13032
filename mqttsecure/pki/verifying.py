# -*- test-case-name: tests.pki.test_verifying -*-
"""What is wrong with a certificate: chain, time, purpose, host name, revocation; each in one line with the mend."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from mqttsecure.pki.chains import find_chain
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.names import dns_names, ip_addresses, name_text, names_of, short_name
from mqttsecure.pki.profiles import Purpose
from mqttsecure.pki.revoking import reason_text

__all__ = ["Finding", "Trust", "in_words", "matches_host", "verify"]

_WEAK: Final = ("md5", "sha1")
_UNDERSTOOD: Final = {
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.ExtendedKeyUsage.oid,
    x509.NameConstraints.oid,
    x509.SubjectAlternativeName.oid,
}
_MOST_NAMES_TOLD: Final = 5


@dataclass(slots=True, frozen=True)
class Trust:
    """What a certificate is held against. Without ``crls`` revocation is not looked at."""

    roots: Sequence[x509.Certificate]
    intermediates: Sequence[x509.Certificate] = ()
    crls: Sequence[x509.CertificateRevocationList] = ()
    host: str | None = None
    purpose: Purpose | None = None


@dataclass(slots=True, frozen=True)
class Finding:
    """Something that is wrong. ``check`` is chain, time, purpose, host or revocation."""

    check: str
    text: str


def verify(leaf: x509.Certificate, trust: Trust, now: datetime) -> list[Finding]:
    """All that is wrong with a certificate, the gravest first; nothing where it can be trusted."""
    chain = find_chain(leaf, trust.intermediates, trust.roots)
    problems: list[tuple[str, str | None]] = [("chain", chain.problem)]
    try:
        problems += [("time", _time_problem(each, each is leaf, now)) for each in chain.certificates or (leaf,)]
        problems += [("chain", _weakness(each)) for each in chain.certificates[:-1] or (leaf,)]
        problems += [("purpose", _purpose_problem(leaf, trust.purpose))]
        problems += [("host", None if trust.host is None else _host_problem(leaf, trust.host))]
    except (CertificateProblem, ValueError, x509.DuplicateExtension) as error:
        problems.append(("chain", f"it cannot be read: {error}"))
    if trust.crls and not chain.problem:
        for certificate, issuer in pairwise(chain.certificates):
            problems.append(("revocation", _revocation_problem(certificate, issuer, trust.crls, now)))
    return [Finding(check, text) for check, text in problems if text is not None]


def _time_problem(certificate: x509.Certificate, is_leaf: bool, now: datetime) -> str | None:
    who = "it" if is_leaf else f"its CA {short_name(certificate.subject)}"
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= ends:
        return f"{who} expired on {ends:%Y-%m-%d %H:%M} UTC, {_ago(ends, now)}; renew it with `mqttsecure cert renew`"
    if now < begins:
        return (
            f"{who} is not valid before {begins:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M} UTC; check "
            "the clock of this machine, then that of the CA's"
        )
    return None


def _ago(then: datetime, now: datetime) -> str:
    days = (now - then).days
    return f"{days} days ago" if days != 1 else "a day ago"


def _weakness(certificate: x509.Certificate) -> str | None:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and algorithm.name in _WEAK:
        return f"it is signed with {algorithm.name.upper()}, which can be forged; have it signed anew with SHA-256"
    unknown = [each for each in certificate.extensions if each.critical and each.oid not in _UNDERSTOOD]
    if unknown:
        oids = ", ".join(each.oid.dotted_string for each in unknown)
        return f"it demands that {oids} be understood, which is not so here; have it made without"
    return None


def _purpose_problem(certificate: x509.Certificate, purpose: Purpose | None) -> str | None:
    if purpose is None:
        return None
    is_ca = _is_ca(certificate)
    if purpose is Purpose.CA:
        return None if is_ca else "it is not for a CA; have one made with `mqttsecure cert sign --as ca`"
    if is_ca:
        return f"it is a CA's, not a {purpose.value}'s; name what the CA has issued"
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    if purpose.extended in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage:
        return None
    others = [each.value for each in (Purpose.SERVER, Purpose.CLIENT) if each.extended in usage]
    what = f"for {others[0]}s only" if others else "for something else"
    return f"it is {what}, and cannot be a {purpose.value}'s; issue one with `mqttsecure cert {purpose.value}`"


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def matches_host(names: Sequence[x509.GeneralName], host: str) -> bool:
    """Whether a host has one of these names; a wildcard stands for the first label of a DNS name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]"))) in ip_addresses(names)
    except ValueError:
        pass
    wanted = host.rstrip(".").lower()
    return any(_matches_dns(name.rstrip(".").lower(), wanted) for name in dns_names(names))


def _matches_dns(pattern: str, host: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == host
    first, _, rest = host.partition(".")
    return bool(first) and rest == pattern[2:] and rest.count(".") >= 1


def _host_problem(certificate: x509.Certificate, host: str) -> str | None:
    names = names_of(certificate)
    if matches_host(names, host):
        return None
    hosts = [name_text(name) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]
    if not hosts:
        return (
            f"it names no host, so it cannot be {host}'s (a common name does not count); issue one with "
            f"`mqttsecure cert server CA {host}`"
        )
    told = ", ".join(hosts[:_MOST_NAMES_TOLD]) + (" and others" if len(hosts) > _MOST_NAMES_TOLD else "")
    return f"it is for {told}, not for {host}; connect by a name that it has, or issue one with this name too"


def _revocation_problem(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: Sequence[x509.CertificateRevocationList],
    now: datetime,
) -> str | None:
    name = short_name(certificate.issuer)
    of_issuer = [crl for crl in crls if crl.issuer == certificate.issuer]
    signed = [crl for crl in of_issuer if _is_signed(crl, issuer)]
    for crl in signed:
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is not None:
            return f"it was revoked on {entry.revocation_date_utc:%Y-%m-%d}{reason_text(entry)}; have a new one issued"
    if not of_issuer:
        return f"there is no revocation list of {name}; name it with --crl, or make one with `mqttsecure cert crl`"
    if not signed:
        return f"the revocation list of {name} is not signed by its key; fetch it again from the CA"
    if not any(crl.next_update_utc is not None and crl.last_update_utc <= now < crl.next_update_utc for crl in signed):
        return f"the revocation list of {name} is too old to be relied on; make a new one with `mqttsecure cert crl`"
    return None


def _is_signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # other key types raise TypeError
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def in_words(leaf: x509.Certificate, trust: Trust, findings: Sequence[Finding], now: datetime) -> str:
    """The one line that says it."""
    name = short_name(leaf.subject)
    if findings:
        return f"{name}: not to be trusted: {findings[0].text}"
    days = (leaf.not_valid_after_utc - now).days
    parts = [f"issued by {short_name(leaf.issuer)}", f"valid for {days} more days"]
    if trust.purpose is not None:
        parts.append(f"for a {trust.purpose.value}")
    if trust.host is not None:
        parts.append(f"is {trust.host}'s")
    parts.append("not revoked" if trust.crls else "whether it is revoked was not looked at (no --crl)")
    return f"{name}: good: {', '.join(parts)}"
