# -*- test-case-name: tests.policy.builtin.test_revocation -*-
"""Certificate revocation lists: read, watched, and asked about one verified chain.

Everything that keeps a list from being used counts as "revoked": a list that is missing, cannot be read, is not yet or
no more valid, or is not signed by the issuer it names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from mqttsecure.policy.builtin.certificates import CertificateRefused, fingerprint, parse_certificate

__all__ = ["RevocationList", "RevocationLists", "read_lists"]

_END: Final = b"-----END X509 CRL-----"
_BEGIN: Final = b"-----BEGIN X509 CRL-----"

MAXIMUM_CRL_BYTES: Final = 64 * 1024 * 1024
"""A file beyond this is a mistake: it would hold over a million revoked certificates."""


@dataclass(slots=True)
class RevocationList:
    """One list. ``signers`` are the certificates, by fingerprint, that were found to have signed it or not."""

    crl: x509.CertificateRevocationList
    issuer: bytes
    begins: datetime
    ends: datetime
    serials: frozenset[int]
    signers: dict[str, bool] = field(default_factory=dict)

    def is_signed_by(self, issuer_der: bytes) -> bool:
        """Whether the owner of that certificate signed it. Remembered: an issuer is asked about for each connection."""
        key = fingerprint(issuer_der)
        known = self.signers.get(key)
        if known is None:
            # Only issuers in verified chains come here, so there are as many as the CAs have made: a handful.
            known = self.signers[key] = _verify(self.crl, parse_certificate(issuer_der))
        return known

    def is_current(self, now: datetime) -> bool:
        return self.begins <= now < self.ends


def _verify(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # other key types raise TypeError
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def read_lists(path: Path) -> list[RevocationList]:
    """The revocation lists in a PEM file.

    Raises:
        ValueError: the file cannot be read, holds none, or one that cannot be used.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_CRL_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAXIMUM_CRL_BYTES:
        raise ValueError(f"{path} is larger than {MAXIMUM_CRL_BYTES} bytes")
    blocks = [_BEGIN + part for part in content.split(_BEGIN)[1:]]
    if not blocks:
        raise ValueError(f"{path} holds no revocation list; give a PEM file with a block X509 CRL")
    return [_read(block, path) for block in blocks]


def _read(block: bytes, path: Path) -> RevocationList:
    if _END not in block:
        raise ValueError(f"{path} ends within a revocation list")
    try:
        crl = x509.load_pem_x509_crl(block)
        ends = crl.next_update_utc
        critical = [extension.oid.dotted_string for extension in crl.extensions if extension.critical]
        issuer, begins = crl.issuer.public_bytes(), crl.last_update_utc
        serials = frozenset(entry.serial_number for entry in crl)
    except (ValueError, x509.DuplicateExtension) as error:
        raise ValueError(f"{path} holds a revocation list that cannot be read: {error}") from error
    if ends is None:
        raise ValueError(f"{path} holds a revocation list that does not say when the next one comes")
    if critical:
        # RFC 5280 section 5.2: a list with a critical extension that is not understood must not be taken for complete.
        raise ValueError(
            f"{path} holds a partial, indirect or delta revocation list ({', '.join(critical)}); give a full one"
        )
    return RevocationList(crl, issuer, begins, ends, serials)


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class RevocationLists:
    """The revocation lists of one authority. ``faults`` tells what is wrong with its files, empty where all is well."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._states: dict[Path, tuple[int, ...] | None] = {}
        self._lists: dict[bytes, list[RevocationList]] = {}
        self.faults: list[str] = ["the revocation lists were not read yet"]

    def changed(self) -> bool:
        """Whether a file is not as it was read."""
        return any(_state(path) != self._states.get(path, ()) for path in self._files)

    def read(self) -> None:
        """Read all files anew; may run on a worker thread, since what it makes is put in place at the end."""
        # The state is taken first: a file that changes while it is read counts as changed next time.
        states = {path: _state(path) for path in self._files}
        lists: dict[bytes, list[RevocationList]] = {}
        faults = []
        for path in self._files:
            try:
                for found in read_lists(path):
                    lists.setdefault(found.issuer, []).append(found)
            except ValueError as error:
                faults.append(str(error))
        self._states, self._lists, self.faults = states, lists, faults

    def signature_faults(self, certificates: Iterable[bytes]) -> list[str]:
        """What in the lists names one of the CA certificates as its issuer without being signed by it."""
        issuers: dict[bytes, list[bytes]] = {}
        for der in certificates:
            issuers.setdefault(parse_certificate(der).subject.public_bytes(), []).append(der)
        return [
            f"the revocation list of {found.crl.issuer.rfc4514_string()} is not signed by its CA"
            for subject, ders in issuers.items()
            for found in self._lists.get(subject, ())
            if not any(found.is_signed_by(der) for der in ders)
        ]

    def gaps(self, certificates: Iterable[bytes], now: datetime) -> list[str]:
        """The CA certificates whose clients are refused, since no current list of theirs is there."""
        found = []
        for der in certificates:
            subject = parse_certificate(der).subject
            lists = self._lists.get(subject.public_bytes(), ())
            if not any(each.is_current(now) and each.is_signed_by(der) for each in lists):
                found.append(subject.rfc4514_string())
        return found

    def check(self, chain: tuple[bytes, ...], now: datetime) -> None:
        """Accept a chain of which each certificate below the anchor is covered by a current list and not on it.

        Raises:
            CertificateRefused: it is not so.
        """
        if self.faults:
            raise CertificateRefused(self.faults[0])
        for der, issuer_der in pairwise(chain):
            self._check_one(parse_certificate(der), issuer_der, now)

    def _check_one(self, certificate: x509.Certificate, issuer_der: bytes, now: datetime) -> None:
        issuer = certificate.issuer
        signed = [found for found in self._lists.get(issuer.public_bytes(), ()) if found.is_signed_by(issuer_der)]
        current = [found for found in signed if found.is_current(now)]
        if not current:
            what = "has expired" if signed else "is missing"
            raise CertificateRefused(f"the revocation list of {issuer.rfc4514_string()} {what}")
        serial = certificate.serial_number
        if any(serial in found.serials for found in signed):
            raise CertificateRefused(f"the certificate with serial {serial:x} is revoked")
