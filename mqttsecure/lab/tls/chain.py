# -*- test-case-name: tests.lab.tls.test_certificates -*-
"""A chain of certificates judged as a careful client (or server) would have, at the time of the capture."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from mqttsecure.lab.model import CertificateFacts, Check, Outcome
from mqttsecure.lab.tls.certificates import extension_of

__all__ = ["check_chain", "matches_name"]

_SMALL_RSA: Final = 2048
_WEAK_HASHES: Final = ("md5", "sha1")
_MAX_CHAIN: Final = 16
"""Steps from a certificate to its root: four are many."""


def matches_name(certificate: CertificateFacts, name: str) -> bool:
    """Whether a certificate is for that host: one of its SANs is equal, or a wildcard for its first label."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        wanted = name.rstrip(".").lower()
        for each in certificate.san:
            pattern = each.rstrip(".").lower()
            if pattern == wanted:
                return True
            if pattern.startswith("*.") and wanted.partition(".")[2] == pattern[2:] and "." in pattern[2:]:
                return True
        return False
    return str(address) in certificate.san


def check_chain(
    chain: list[CertificateFacts],
    authorities: Iterable[x509.Certificate],
    time: float,
    *,
    name: str | None,
    for_server: bool,
) -> None:
    """Check a chain as a careful client (or server) would have, and put what was found to its certificates.

    Args:
        chain: as it was sent, the end's own certificate first.
        authorities: CAs that are trusted.
        time: when the certificate went by; not now.
        name: whom the client wanted to reach; None where that is not known.
        for_server: it is the server's chain.
    """
    if not chain or not chain[0].public_key:
        return
    known = list(authorities)
    leaf = chain[0]
    moment = datetime.fromtimestamp(time, UTC)
    for certificate in chain:
        if certificate.public_key:
            certificate.checks.append(_check_time(certificate, moment))
            certificate.checks += _check_strength(certificate)
    leaf.checks.append(_check_purpose(leaf, for_server))
    if for_server:
        leaf.checks.append(_check_name(leaf, name))
    leaf.checks.append(_check_trust(chain, known))


def _check_time(certificate: CertificateFacts, moment: datetime) -> Check:
    first, last = (datetime.fromisoformat(each) for each in (certificate.not_before, certificate.not_after))
    values: dict[str, str] = {"time": moment.isoformat()}
    if moment < first:
        text = f"NOT YET VALID at the time of the capture: it begins at {certificate.not_before}"
        return Check("certificate_time", Outcome.BAD, text, {**values})
    if moment > last:
        text = f"EXPIRED at the time of the capture: it ended at {certificate.not_after}"
        return Check("certificate_time", Outcome.BAD, text, {**values})
    left = (last - moment).days
    text = f"valid at the time of the capture, for another {left} days"
    return Check("certificate_time", Outcome.OK, text, {**values})


def _check_strength(certificate: CertificateFacts) -> list[Check]:
    weak = []
    kind, _, bits = certificate.public_key.partition(" ")
    if kind == "RSAPublicKey" and int(bits) < _SMALL_RSA:
        weak.append(f"an RSA key of {bits} bits is too small; 2048 at least")
    if kind == "DSAPublicKey":
        weak.append("DSA is no longer used")
    if certificate.signature_hash in _WEAK_HASHES and not certificate.self_issued:
        weak.append(f"signed over {certificate.signature_hash.upper()}, for which collisions are made")
    return [Check("certificate_strength", Outcome.BAD, text) for text in weak]


def _check_purpose(leaf: CertificateFacts, for_server: bool) -> Check:
    wanted = "serverAuth" if for_server else "clientAuth"
    who = "server" if for_server else "client"
    if leaf.is_ca:
        text = f"a CA's certificate in the place of a {who}'s"
        return Check("certificate_purpose", Outcome.BAD, text)
    if leaf.extended_key_usage and not {wanted, "any"} & set(leaf.extended_key_usage):
        text = f"NOT for a {who}: its purposes are {', '.join(leaf.extended_key_usage)}"
        return Check("certificate_purpose", Outcome.BAD, text)
    text = f"made for a {who}" if leaf.extended_key_usage else f"names no purpose, so it may serve as a {who}'s"
    return Check("certificate_purpose", Outcome.OK, text)


def _check_name(leaf: CertificateFacts, name: str | None) -> Check:
    if name is None:
        text = "whom the client wanted to reach is not in the capture (no SNI), so the name cannot be checked"
        return Check("certificate_name", Outcome.UNKNOWN, text)
    names = ", ".join(leaf.san) or "none"
    if matches_name(leaf, name):
        return Check("certificate_name", Outcome.OK, f"is for {name}, which the client asked for", {"name": name})
    text = f"WRONG NAME: the client asked for {name}, and the certificate is for {names}"
    return Check("certificate_name", Outcome.BAD, text, {"name": name})


def _check_trust(chain: list[CertificateFacts], authorities: list[x509.Certificate]) -> Check:
    """Follow the chain from issuer to issuer up to an authority that is trusted."""
    key = "certificate_trust"
    sent = [x509.load_der_x509_certificate(each.der) for each in chain[1:] if each.public_key]
    current = x509.load_der_x509_certificate(chain[0].der)
    trusted = {each.fingerprint(hashes.SHA256()) for each in authorities}
    for below in range(_MAX_CHAIN):
        issuer, problem = _issuer(current, authorities + sent, below)
        if current.fingerprint(hashes.SHA256()) in trusted:
            name = current.subject.rfc4514_string()
            return Check(key, Outcome.OK, f"leads to {name}, which is trusted; every signature on the way is right")
        if problem is not None:
            return Check(key, Outcome.BAD, problem)
        if issuer is None:
            return _no_issuer(current, authorities)
        if issuer == current:
            return _own_root(current, chain, authorities)
        current = issuer
    return Check(key, Outcome.BAD, f"the chain has more than {_MAX_CHAIN} steps")


def _own_root(current: x509.Certificate, chain: list[CertificateFacts], authorities: list[x509.Certificate]) -> Check:
    name = current.subject.rfc4514_string()
    what = "SELF-SIGNED" if current.fingerprint(hashes.SHA256()).hex() == chain[0].sha256 else f"leads to {name}"
    if not authorities:
        return Check(
            "certificate_trust", Outcome.UNKNOWN, f"{what}; no CA was given, so trust is not judged: give it by --ca"
        )
    return Check("certificate_trust", Outcome.BAD, f"{what}, which is NOT TRUSTED: anybody can make such a certificate")


def _no_issuer(current: x509.Certificate, authorities: list[x509.Certificate]) -> Check:
    name = current.issuer.rfc4514_string()
    if not authorities:
        text = f"says it is by {name}; that certificate is not here, so the signature is not checked: give it by --ca"
        return Check("certificate_trust", Outcome.UNKNOWN, text)
    return Check("certificate_trust", Outcome.BAD, f"says it is by {name}, which is NOT TRUSTED and not here")


def _issuer(
    current: x509.Certificate, candidates: list[x509.Certificate], below: int
) -> tuple[x509.Certificate | None, str | None]:
    """Who signed it, or what is wrong with the only one that could have."""
    named = [each for each in [*candidates, current] if each.subject == current.issuer]
    problem = None
    for each in named:
        try:
            current.verify_directly_issued_by(each)
        except (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm):
            problem = (
                f"says it is by {current.issuer.rfc4514_string()}: the NAMES MATCH, THE SIGNATURE DOES NOT. "
                "Somebody made another CA of the same name"
            )
            continue
        fault = _may_issue(each, below) if each != current else None
        if fault is None:
            return each, None
        problem = fault
    return None, problem if any(each != current for each in named) else None


def _may_issue(issuer: x509.Certificate, below: int) -> str | None:
    """What forbids a certificate to sign others."""
    name = issuer.subject.rfc4514_string()
    constraints = extension_of(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return f"signed by {name}, which is NO CA and may not sign certificates"
    if constraints.path_length is not None and constraints.path_length < below:
        return f"signed below {name}, which allows fewer certificates between"
    usage = extension_of(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return f"signed by {name}, whose key may not sign certificates"
    return None
