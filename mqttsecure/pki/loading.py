# -*- test-case-name: tests.pki.test_loading -*-
"""What is in a file: certificates, requests, revocation lists, keys, PKCS#12, in PEM or DER."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_public_key
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates, load_pkcs12

from mqttsecure.pki.errors import CertificateProblem, WrongPassphrase
from mqttsecure.pki.files import read_bytes
from mqttsecure.pki.keys import PrivateKey, PublicKey, read_key, usable_public_key

__all__ = ["Thing", "load", "read_certificates", "read_crls", "read_request"]

Thing: TypeAlias = (
    x509.Certificate
    | x509.CertificateSigningRequest
    | x509.CertificateRevocationList
    | PrivateKey
    | PublicKey
    | PKCS12KeyAndCertificates
)
Passphrase: TypeAlias = Callable[[], bytes] | None

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)
_MOST_BLOCKS: Final = 10_000
"""In one file: all roots of a browser are under two hundred."""


def load(path: Path, passphrase: Passphrase = None) -> list[Thing]:
    """All things in a file, in their order.

    Raises:
        WrongPassphrase: one needs a passphrase, and has got none or a wrong one.
        CertificateProblem: the file cannot be read, or holds nothing of that.
    """
    return parse(read_bytes(path), str(path), passphrase)


def parse(content: bytes, name: str, passphrase: Passphrase = None) -> list[Thing]:
    """All things in these bytes; ``name`` is what an error calls them."""
    blocks = [(match[1].decode(), match[0]) for match in _BLOCK.finditer(content)]
    if len(blocks) > _MOST_BLOCKS:
        raise CertificateProblem(f"{name} holds more than {_MOST_BLOCKS} blocks; is it the right file?")
    if not blocks:
        if b"-----BEGIN " in content:
            raise CertificateProblem(f"{name} ends within a PEM block; it was not copied whole, copy it again")
        return [_parse_der(content, name, passphrase)]
    return [_parse_block(label, block, name, passphrase) for label, block in blocks if label not in _NO_THINGS]


_NO_THINGS: Final = ("EC PARAMETERS", "DH PARAMETERS")


def _parse_block(label: str, block: bytes, name: str, passphrase: Passphrase) -> Thing:
    try:
        match label:
            case "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE":
                return x509.load_pem_x509_certificate(block)
            case "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST":
                return x509.load_pem_x509_csr(block)
            case "X509 CRL":
                return x509.load_pem_x509_crl(block)
            case "PUBLIC KEY":
                return usable_public_key(load_pem_public_key(block), name)
    except ValueError as error:
        raise CertificateProblem(f"{name}: the block {label} cannot be read ({error}); copy the file again") from None
    if label.endswith("PRIVATE KEY"):
        return read_key(block, name, passphrase)
    raise CertificateProblem(f"{name}: a block {label} is nothing that is understood here; remove it from the file")


def _parse_der(content: bytes, name: str, passphrase: Passphrase) -> Thing:
    for read in (x509.load_der_x509_certificate, x509.load_der_x509_csr, x509.load_der_x509_crl):
        try:
            return read(content)
        except ValueError:
            continue
    try:
        key = load_der_private_key(content, None)
        usable_public_key(key.public_key(), name)
        return key  # type: ignore[return-value]  # one of ours, as its public half shows
    except (ValueError, TypeError):
        pass
    return _parse_pkcs12(content, name, passphrase)


def _parse_pkcs12(content: bytes, name: str, passphrase: Passphrase) -> Thing:
    if not content.startswith(b"\x30"):
        raise CertificateProblem(
            f"{name} holds no certificate, key, request, revocation list or PKCS#12; name a PEM or DER file"
        )
    try:
        return load_pkcs12(content, None)
    except (ValueError, TypeError):
        pass
    if passphrase is None:
        raise WrongPassphrase(f"{name} needs a passphrase, if it is PKCS#12; give one with --passphrase-file FILE")
    try:
        return load_pkcs12(content, passphrase())
    except ValueError as error:
        raise WrongPassphrase(f"{name} does not open with this passphrase, or is no PKCS#12 ({error})") from None


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in a file, at least one; keys in it are passed over unread.

    Raises:
        CertificateProblem: there is none, or one cannot be read.
    """
    content = read_bytes(path)
    blocks = [match[0] for match in _BLOCK.finditer(content) if b"PRIVATE KEY" not in match[1]]
    things = parse(b"\n".join(blocks) if blocks else content, str(path))
    found = [thing for thing in things if isinstance(thing, x509.Certificate)]
    if not found:
        raise CertificateProblem(f"{path} holds no certificate; name a file that does (`mqttsecure cert show {path}`)")
    return found


def read_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """The revocation lists in a file, at least one.

    Raises:
        CertificateProblem: there is none, or one cannot be read.
    """
    found = [thing for thing in load(path) if isinstance(thing, x509.CertificateRevocationList)]
    if not found:
        raise CertificateProblem(
            f"{path} holds no revocation list; name a file that does (`mqttsecure cert show {path}`)"
        )
    return found


def read_request(path: Path) -> x509.CertificateSigningRequest:
    """The one signing request in a file.

    Raises:
        CertificateProblem: there is none, or several.
    """
    found = [thing for thing in load(path) if isinstance(thing, x509.CertificateSigningRequest)]
    if len(found) != 1:
        raise CertificateProblem(f"{path} holds {len(found) or 'no'} signing request; name a file with one")
    return found[0]
