# -*- test-case-name: tests.service.test_audit_certificates -*-
"""Client certificates in the audit log: what people look for, and all that a question of the past is asked again with.

A certificate is no secret: it goes over the wire, and proves nothing without its key. Whole certificates are recorded
only where one was verified and policies looked at it; of one that TLS refused, which may be a stranger's, there is what
a person looks for, and no more of that than a record has room for.
"""

from __future__ import annotations

import binascii
import functools
import itertools
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cryptography import x509

from mqttsecure.core.decisions import TlsFacts
from mqttsecure.policy.builtin.certificates import UNREADABLE, fingerprint

__all__ = ["certificate_record", "chain_of", "chain_record"]

_MAXIMUM_NAMES: Final = 16
"""Alternative names of one certificate: devices have one or two."""

_MAXIMUM_TEXT: Final = 1024
"""Characters of a name: a URI fits."""

_MAXIMUM_CHAIN: Final = 12 * 1024
"""Bytes of all certificates of one client: three of RSA with 4096 bits take some five thousand."""

_MAXIMUM_LENGTH: Final = 8
"""Certificates of one client: OpenSSL verifies longer chains, nobody has them."""

_REMEMBERED: Final = 256
"""Certificates whose record is kept: a client that is denied a hundred times is read once."""


@functools.lru_cache(_REMEMBERED)
def _read(der: bytes) -> Mapping[str, Any]:
    try:
        certificate = x509.load_der_x509_certificate(der)
        found = {
            "subject": _bounded(certificate.subject.rfc4514_string()),
            "issuer": _bounded(certificate.issuer.rfc4514_string()),
            "serial": f"{certificate.serial_number:x}",
            "valid_from": certificate.not_valid_before_utc.isoformat().replace("+00:00", "Z"),
            "expires": certificate.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
        }
        names = [_bounded(each) for each in itertools.islice(_names(certificate), _MAXIMUM_NAMES)]
    except UNREADABLE:
        return {"subject": "unreadable", "fingerprint": fingerprint(der)}
    return found | ({"names": names} if names else {}) | {"fingerprint": fingerprint(der)}


def certificate_record(der: bytes) -> dict[str, Any]:
    """What a person looks for in a certificate."""
    return dict(_read(der))


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names:
        kind = _KINDS.get(type(name))
        yield type(name).__name__ if kind is None else f"{kind}:{name.value}"


_KINDS: Final[Mapping[type, str]] = {
    x509.DNSName: "DNS",
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "email",
    x509.IPAddress: "IP",
}


def _bounded(text: str) -> str:
    return text if len(text) <= _MAXIMUM_TEXT else f"{text[:_MAXIMUM_TEXT]}..."


def chain_record(tls: TlsFacts) -> list[str] | None:
    """The verified certificates, the client's own first, as base64; None where they are too many."""
    chain = tls.verified_chain
    if not chain or len(chain) > _MAXIMUM_LENGTH or sum(map(len, chain)) > _MAXIMUM_CHAIN:
        return None
    return [b64encode(each).decode() for each in chain]


def chain_of(texts: Sequence[str]) -> tuple[bytes, ...]:
    """The certificates of a record.

    Raises:
        ValueError: it is damaged.
    """
    try:
        chain = tuple(b64decode(each, validate=True) for each in texts)
    except (binascii.Error, TypeError) as error:
        raise ValueError("the certificates are damaged") from error
    if not chain:
        raise ValueError("there is no certificate")
    return chain
