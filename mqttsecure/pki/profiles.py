# -*- test-case-name: tests.pki.test_issuing -*-
"""What stands in the certificate of a CA, a server and a client, and how long it is valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

__all__ = ["BACKDATED", "CA_LIFETIME", "LEAF_LIFETIME", "Purpose", "Wanted", "key_usage", "purpose_of"]

LEAF_LIFETIME: Final = timedelta(days=825)
"""The longest that Apple's TLS still accepts of a private CA's certificates."""

CA_LIFETIME: Final = timedelta(days=3650)
"""Ten years: devices in the field trust it, and are hard to reach."""

BACKDATED: Final = timedelta(hours=1)
"""For clients whose clock is a little behind."""


class Purpose(Enum):
    """What a certificate is for. A server's cannot log in as a client, nor a client's pose as a server."""

    SERVER = "server"
    CLIENT = "client"
    CA = "ca"

    @property
    def extended(self) -> ObjectIdentifier | None:
        return _EXTENDED.get(self.value)


_EXTENDED: Final = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(slots=True, frozen=True)
class Wanted:
    """A certificate that is to be made.

    ``path_length`` and ``constraints`` count for a CA alone: how many CAs may stand below it, and which names it may
    vouch for.
    """

    subject: x509.Name
    purpose: Purpose
    names: Sequence[x509.GeneralName] = ()
    lifetime: timedelta | None = None
    path_length: int = 0
    constraints: x509.NameConstraints | None = None

    @property
    def default_lifetime(self) -> timedelta:
        return CA_LIFETIME if self.purpose is Purpose.CA else LEAF_LIFETIME


def key_usage(*, is_ca: bool) -> x509.KeyUsage:
    """Signatures alone: no key exchange of TLS 1.2 by RSA, which has no forward secrecy."""
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def purpose_of(certificate: x509.Certificate) -> Purpose | None:
    """The one purpose of a certificate; None where it has several, or does not say."""
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return Purpose.CA
    except x509.ExtensionNotFound:
        pass
    try:
        usage = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None
    for purpose in (Purpose.SERVER, Purpose.CLIENT):
        if usage == [purpose.extended]:
            return purpose
    return None
