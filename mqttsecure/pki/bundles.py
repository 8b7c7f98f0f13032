# -*- test-case-name: tests.pki.test_bundles -*-
"""PKCS#12: certificate, key and chain in one file under a passphrase, for phones, Java and Windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.keys import SHORTEST_PASSPHRASE, PrivateKey
from mqttsecure.pki.names import short_name

__all__ = ["pkcs12"]

_ROUNDS: Final = 100_000
"""As many as Java's keytool and Windows still open without a pause; the passphrase should be long."""


def pkcs12(
    certificate: x509.Certificate, key: PrivateKey, chain: Sequence[x509.Certificate], passphrase: bytes
) -> bytes:
    """The bundle, encrypted with AES-256 and authenticated with HMAC-SHA-256.

    Raises:
        CertificateProblem: the passphrase is too short, or the key is another certificate's.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise CertificateProblem(
            f"the bundle's passphrase is shorter than {SHORTEST_PASSPHRASE} characters; take several words"
        )
    if certificate.public_key() != key.public_key():
        raise CertificateProblem("the key is not that of the certificate; name two that belong together")
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(passphrase)
    )
    name = short_name(certificate.subject).encode()
    return serialize_key_and_certificates(name, key, certificate, list(chain), encryption)
