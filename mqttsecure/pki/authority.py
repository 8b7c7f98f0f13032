# -*- test-case-name: tests.pki.test_authority -*-
"""The folder of a certificate authority: ``ca.pem``, ``ca.key``, the index of what it issued, its revocation list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import PUBLIC, NewFile, read_bytes, write_new
from mqttsecure.pki.index import Entry, Index, serial_text
from mqttsecure.pki.issuing import Signer, sign
from mqttsecure.pki.keys import PublicKey, read_key, usable_public_key
from mqttsecure.pki.loading import read_certificates
from mqttsecure.pki.names import names_of, short_name
from mqttsecure.pki.profiles import Purpose, Wanted, purpose_of
from mqttsecure.pki.revoking import CRL_LIFETIME, REASONS, revocation_list

__all__ = ["CERTIFICATE", "CHAIN", "CRL", "INDEX", "KEY", "REQUEST", "Authority", "open_authority"]

CERTIFICATE: Final = "ca.pem"
KEY: Final = "ca.key"
REQUEST: Final = "ca.csr"
CHAIN: Final = "chain.pem"
INDEX: Final = "index.jsonl"
CRL: Final = "crl.pem"


class Authority:
    """A CA that is open: nobody else issues with it meanwhile."""

    def __init__(self, folder: Path, signer: Signer, chain: list[x509.Certificate], index: Index) -> None:
        self.folder = folder
        self.signer = signer
        self.chain = chain
        """The CAs above this one that clients need to be sent: none for a root, which they have."""
        self.index = index

    @property
    def certificate(self) -> x509.Certificate:
        return self.signer.certificate

    @property
    def name(self) -> str:
        return short_name(self.certificate.subject)

    def issue(self, wanted: Wanted, key: PublicKey, now: datetime) -> x509.Certificate:
        """A certificate, noted before it is returned.

        Raises:
            CertificateProblem: this CA cannot or must not make it.
        """
        certificate = sign(wanted, key, self.signer, now)
        self.index.note_issued(certificate, wanted.purpose.value, now)
        return certificate

    def with_chain(self, certificate: x509.Certificate) -> bytes:
        """The certificate in PEM, and after it what a peer needs to get from it to a root."""
        above = [] if self.certificate.issuer == self.certificate.subject else [self.certificate, *self.chain]
        return b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, *above))

    def find(self, what: str, now: datetime) -> Entry:
        """The certificate meant by a serial number or a name.

        Raises:
            CertificateProblem: none is, or several are.
        """
        try:
            entry = self.index.entries.get(int(what.replace(":", ""), 16))
        except ValueError:
            entry = None
        if entry is not None:
            return entry
        live = [each for each in self.index.with_name(what) if each.is_live(now)]
        if len(live) == 1:
            return live[0]
        if live:
            serials = ", ".join(serial_text(each.serial) for each in live)
            raise CertificateProblem(f"{what!r} has {len(live)} live certificates; name one by its serial: {serials}")
        if self.index.with_name(what):
            raise CertificateProblem(f"all certificates of {what!r} are revoked or expired; nothing is to be done")
        raise CertificateProblem(
            f"{self.name} has issued no certificate {what!r}; name a file, a serial number or a common name of {INDEX}"
        )

    def entry_of(self, certificate: x509.Certificate, name: str) -> Entry:
        """What is noted of a certificate.

        Raises:
            CertificateProblem: another CA issued it.
        """
        entry = self.index.entries.get(certificate.serial_number)
        if entry is None or entry.certificate != certificate:
            raise CertificateProblem(
                f"{name} was not issued by {self.name} in {self.folder}, but by {short_name(certificate.issuer)}; name "
                "the folder of that CA"
            )
        return entry

    def renew(self, entry: Entry, key: PublicKey, lifetime: timedelta | None, now: datetime) -> x509.Certificate:
        """A new certificate for the same owner; the old one goes on to be valid until its end.

        Raises:
            CertificateProblem: the old one is revoked, or the CA cannot make it.
        """
        if entry.revoked is not None:
            raise CertificateProblem(
                f"{entry.name!r} was revoked ({entry.reason}); a new one is made with a new key: "
                f"`mqttsecure cert {entry.purpose}`"
            )
        old = entry.certificate
        wanted = Wanted(old.subject, Purpose(entry.purpose), names_of(old), lifetime)
        if wanted.purpose is Purpose.CA:
            wanted = _same_ca(wanted, old)
        return self.issue(wanted, key, now)

    def revoke(self, entry: Entry, reason: str, now: datetime) -> None:
        """Note that a certificate is revoked; it is in force once a new list is written and read.

        Raises:
            CertificateProblem: it is revoked already, or there is no such reason.
        """
        if reason not in REASONS:
            raise CertificateProblem(f"{reason!r} is no reason; take one of {', '.join(REASONS)}")
        if entry.revoked is not None:
            raise CertificateProblem(
                f"{entry.name!r} with serial {serial_text(entry.serial)} was revoked on {entry.revoked:%Y-%m-%d} "
                f"({entry.reason}); if the list does not have it yet: mqttsecure cert crl {self.folder}"
            )
        self.index.note_revoked(entry.serial, reason, now)

    def write_crl(self, now: datetime, lifetime: timedelta = CRL_LIFETIME) -> x509.CertificateRevocationList:
        """Write the revocation list anew, with the next number."""
        number = self.index.crl_number + 1
        crl = revocation_list(self.signer, self.index.revoked(), number, now, lifetime)
        self.index.note_crl(number, now + lifetime, now)
        write_new(NewFile(self.folder / CRL, crl.public_bytes(Encoding.PEM), PUBLIC), force=True)
        return crl


def _same_ca(wanted: Wanted, old: x509.Certificate) -> Wanted:
    length = old.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    try:
        constraints = old.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    return replace(wanted, path_length=length or 0, constraints=constraints)


@contextmanager
def open_authority(folder: Path, passphrase: Callable[[], bytes] | None = None) -> Iterator[Authority]:
    """Open a CA; others that want to issue with it wait until it is closed.

    Args:
        folder: of the CA.
        passphrase: is called where the key has one.

    Raises:
        CertificateProblem: there is none, half of one, or its passphrase is wrong.
    """
    certificate = _own_certificate(folder)
    key = read_key(_key_bytes(folder), str(folder / KEY), passphrase)
    if key.public_key() != usable_public_key(certificate.public_key(), str(folder / CERTIFICATE)):
        raise CertificateProblem(
            f"{folder / KEY} is not the key of {folder / CERTIFICATE}; put the right one of the two back"
        )
    chain_file = folder / CHAIN
    chain = read_certificates(chain_file) if chain_file.exists() else []
    with Index(folder / INDEX).open() as index:
        yield Authority(folder, Signer(certificate, key), chain, index)


def _own_certificate(folder: Path) -> x509.Certificate:
    file = folder / CERTIFICATE
    if not file.exists():
        if (folder / REQUEST).exists():
            raise CertificateProblem(
                f"{folder} waits for its certificate: sign {folder / REQUEST} with the upper CA (`mqttsecure cert sign "
                f"--as ca`), then run `mqttsecure cert init {folder} --certificate FILE`"
            )
        raise CertificateProblem(
            f"{folder} holds no CA ({CERTIFICATE} is missing); make one: mqttsecure cert init {folder}"
        )
    certificate = read_certificates(file)[0]
    if purpose_of(certificate) is not Purpose.CA:
        raise CertificateProblem(f"{file} is not the certificate of a CA; put the right file back")
    return certificate


def _key_bytes(folder: Path) -> bytes:
    file = folder / KEY
    if not file.exists():
        raise CertificateProblem(
            f"{file} is missing: it is kept elsewhere, or lost; put it back for as long as something is to be signed"
        )
    return read_bytes(file)
