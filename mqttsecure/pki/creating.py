# -*- test-case-name: tests.pki.test_creating -*-
"""A new CA: a root in one step, or one below another that is kept offline (request out, certificate in)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.pki.authority import CERTIFICATE, CHAIN, CRL, INDEX, KEY, REQUEST, open_authority
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import PRIVATE, NewFile, check_absent, make_folder, read_bytes, write_new
from mqttsecure.pki.issuing import self_signed_ca
from mqttsecure.pki.keys import DEFAULT_KIND, key_pem, new_key, read_key
from mqttsecure.pki.loading import read_certificates, read_request
from mqttsecure.pki.profiles import Purpose, Wanted, purpose_of
from mqttsecure.pki.requests import make_request

__all__ = ["create_request", "create_root", "install_certificate"]


def create_root(
    folder: Path,
    wanted: Wanted,
    now: datetime,
    *,
    kind: str = DEFAULT_KIND,
    passphrase: bytes | None = None,
    force: bool = False,
) -> list[Path]:
    """Make a root CA with its first, empty revocation list; return the new files.

    Raises:
        FileIsThere: there is a CA already.
        CertificateProblem: it cannot be made.
    """
    _check_free(folder, force)
    key = new_key(kind)
    certificate = self_signed_ca(wanted, key, now)
    secret = key_pem(key, passphrase)
    make_folder(folder)
    _put_aside(folder)
    # The key first: after a crash in between, what is left was never certified.
    made = [
        write_new(NewFile(folder / KEY, secret, PRIVATE), force=force),
        write_new(NewFile(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM)), force=force),
    ]
    return [*made, *_begin(folder, passphrase, now)]


def _check_free(folder: Path, force: bool) -> None:
    if not force:
        check_absent([folder / name for name in (CERTIFICATE, KEY, INDEX, REQUEST)])


def _put_aside(folder: Path) -> None:
    """What another CA issued is of no use to a new one; but nobody should lose it to a slip of the finger."""
    if (folder / INDEX).exists():
        (folder / INDEX).rename(folder / f"{INDEX}.old")
        (folder / CRL).unlink(missing_ok=True)


def _begin(folder: Path, passphrase: bytes | None, now: datetime) -> list[Path]:
    with open_authority(folder, None if passphrase is None else lambda: passphrase) as authority:
        authority.write_crl(now)
    return [folder / INDEX, folder / CRL]


def create_request(
    folder: Path,
    name: x509.Name,
    *,
    kind: str = DEFAULT_KIND,
    passphrase: bytes | None = None,
    force: bool = False,
) -> list[Path]:
    """Make the key of a CA and a request for its certificate; return the new files.

    Raises:
        FileIsThere: there is a CA already.
        CertificateProblem: they cannot be made.
    """
    _check_free(folder, force)
    key = new_key(kind)
    secret = key_pem(key, passphrase)
    request = make_request(name, (), key)
    make_folder(folder)
    _put_aside(folder)
    return [
        write_new(NewFile(folder / KEY, secret, PRIVATE), force=force),
        write_new(NewFile(folder / REQUEST, request.public_bytes(Encoding.PEM)), force=force),
    ]


def install_certificate(
    folder: Path, file: Path, now: datetime, passphrase: Callable[[], bytes] | None = None
) -> list[Path]:
    """Put the certificate that came back from the upper CA in its place; return the new files.

    What comes after it in the file are the CAs above it, sent along with each certificate that it issues.

    Raises:
        CertificateProblem: it is not for this CA's key, not for a CA, or not valid.
    """
    if not (folder / REQUEST).exists():
        raise CertificateProblem(f"{folder} has no {REQUEST}; begin with: mqttsecure cert init {folder} --request")
    check_absent([folder / CERTIFICATE])
    certificate, *above = read_certificates(file)
    if certificate.public_key() != read_request(folder / REQUEST).public_key():
        raise CertificateProblem(f"{file} is not for the key of {folder}; sign {folder / REQUEST} itself")
    if purpose_of(certificate) is not Purpose.CA:
        raise CertificateProblem(f"{file} is not for a CA; sign the request with: mqttsecure cert sign --as ca")
    if certificate.not_valid_after_utc <= now:
        raise CertificateProblem(f"{file} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; have it signed anew")
    secret = None
    if passphrase is not None:
        secret = passphrase()
        read_key(read_bytes(folder / KEY), str(folder / KEY), lambda: secret)
    made = [write_new(NewFile(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM)))]
    chain = [each for each in above if each.subject != each.issuer]
    if chain:
        made.append(write_new(NewFile(folder / CHAIN, b"".join(each.public_bytes(Encoding.PEM) for each in chain))))
    (folder / REQUEST).unlink()
    return [*made, *_begin(folder, secret, now)]
