# -*- test-case-name: tests.pki.test_verifying -*-
"""From a certificate up to a CA that is trusted, and why there is no such way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from mqttsecure.pki.constraints import constraints_of, outside
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.names import common_name, names_of, short_name

__all__ = ["Chain", "find_chain", "is_issued_by", "is_self_signed"]

_LONGEST: Final = 8
"""Certificates from the leaf to the root; a chain of ten is a trap for whoever walks it."""
_MOST_STEPS: Final = 1000
"""Signatures that are tried; among CAs that sign each other in a circle there is no end of ways."""


@dataclass(slots=True, frozen=True)
class Chain:
    """A way up, the leaf first; or none, and ``problem`` says why."""

    certificates: tuple[x509.Certificate, ...]
    problem: str | None = None


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the names meet and the signature is right."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def is_self_signed(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer and is_issued_by(certificate, certificate)


def find_chain(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> Chain:
    """The first way from the leaf to a root on which every CA may do what it did."""
    if leaf in roots:
        return Chain((leaf,))
    blamed: str | None = None
    for way in _ways(leaf, intermediates, roots):
        problem = _problem_of(way)
        if problem is None:
            return Chain(way)
        blamed = blamed or problem
    return Chain((), blamed or _why_none(leaf, intermediates, roots))


def _ways(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> Iterator[tuple[x509.Certificate, ...]]:
    todo: list[tuple[x509.Certificate, ...]] = [(leaf,)]
    steps = 0
    while todo:
        way = todo.pop(0)
        for issuer in (*roots, *intermediates):
            if issuer.subject != way[-1].issuer or issuer in way:
                continue
            steps += 1
            if steps > _MOST_STEPS:
                return
            if not is_issued_by(way[-1], issuer):
                continue
            if issuer in roots:
                yield (*way, issuer)
            elif len(way) + 1 < _LONGEST:
                todo.append((*way, issuer))


def _problem_of(way: tuple[x509.Certificate, ...]) -> str | None:
    """What keeps a CA on this way from having issued what is below it."""
    for depth, issuer in enumerate(way[1:]):
        name = short_name(issuer.subject)
        below = way[depth]
        try:
            if not _may_sign(issuer):
                return f"{name}, which signed {short_name(below.subject)}, is no CA; have it signed by one"
            length = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
            if length is not None and depth > length:
                return f"{name} may have {length} CAs below it, and here are {depth}; have the chain made shorter"
            refused = _outside(issuer, way[: depth + 1])
        except (ValueError, x509.DuplicateExtension, x509.ExtensionNotFound, CertificateProblem) as error:
            return f"{name} cannot be read ({error}); have it made again"
        if refused:
            return (
                f"{name} may not vouch for it: {'; '.join(refused)}; have it issued by another CA, or for another name"
            )
    return None


def _may_sign(issuer: x509.Certificate) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as error:
        return error.oid == x509.KeyUsage.oid  # one that does not say is not restricted


def _outside(issuer: x509.Certificate, below: Sequence[x509.Certificate]) -> list[str]:
    constraints = constraints_of(issuer)
    if constraints is None:
        return []
    found: list[str] = []
    for place, each in enumerate(below):
        found += outside(constraints, names_of(each), common_name(each.subject) if place == 0 else None)
    return found


def _why_none(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> str:
    if is_self_signed(leaf):
        return (
            "it is self-signed: no CA vouches for it, and it is not itself among those that you trust; have it signed "
            "by your CA, or trust it by name (--ca)"
        )
    top = leaf
    for _ in range(_LONGEST):
        above = [each for each in intermediates if each is not top and is_issued_by(top, each)]
        if not above or above[0].subject == above[0].issuer:
            break
        top = above[0]
    issuer = short_name(top.issuer)
    if any(root.subject == top.issuer for root in roots):
        return (
            f"it names your CA {issuer} as its issuer, but that CA's key did not sign it: a rogue CA of the same name, "
            "or your CA file is an old one; do not connect, and compare the fingerprints of the CA files"
        )
    trusted = ", ".join(short_name(root.subject) for root in roots[:3]) or "nobody"
    return (
        f"it was issued by {issuer}, whom nobody that you trust ({trusted}) vouches for; name the right CA file, "
        "or the CAs between (--chain)"
    )
