# -*- test-case-name: tests.pki.test_bad -*-
"""The six bad certificates of a lesson (B1 to B6), and a good one to compare with. A client must refuse all six."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.pki.files import PRIVATE, NewFile, check_absent, make_folder, write_new
from mqttsecure.pki.issuing import Signer, certify, self_signed_ca
from mqttsecure.pki.keys import key_pem, new_key
from mqttsecure.pki.names import name_text, parse_names, subject
from mqttsecure.pki.profiles import BACKDATED, Purpose, Wanted

__all__ = ["BAD", "BadCertificate", "make_bad", "throwaway_ca"]

_YEAR: Final = timedelta(days=365)
_WRONG_HOST: Final = "wrong-host.invalid"
"""Never the name of a host (RFC 2606)."""


@dataclass(slots=True, frozen=True)
class BadCertificate:
    """One of the six: its file stem, what is wrong, and what a client must say."""

    row: str
    stem: str
    wrong: str
    expect: str


BAD: Final = (
    BadCertificate(
        "B1",
        "b1-rogue-ca",
        "signed by a rogue CA that has the name of the right one, but another key",
        "the signature is not by the CA that is trusted",
    ),
    BadCertificate("B2", "b2-self-signed", "signed by its own key: nobody vouches for it", "self-signed, not trusted"),
    BadCertificate("B3", "b3-expired", "from the right CA, expired a month ago", "expired"),
    BadCertificate("B4", "b4-not-yet-valid", "from the right CA, valid from next month on", "not yet valid"),
    BadCertificate("B5", "b5-wrong-host", f"from the right CA, for the host {_WRONG_HOST}", "the host name differs"),
    BadCertificate("B6", "b6-client-only", "from the right CA, for clients only", "not for servers"),
)


def throwaway_ca(now: datetime) -> Signer:
    """A CA for the lesson alone, old enough to have issued what has expired."""
    key = new_key()
    wanted = Wanted(subject("mqttsecure lesson CA"), Purpose.CA, lifetime=3 * _YEAR)
    return Signer(self_signed_ca(wanted, key, now - 2 * _YEAR), key)


def make_bad(
    folder: Path, hosts: Sequence[str], ca: Signer, now: datetime, *, force: bool = False
) -> list[tuple[Path, x509.Certificate]]:
    """Make the six and the good one, each with its key, the CA's certificate and a README; return the certificates.

    Raises:
        FileIsThere: one of the files is there.
        CertificateProblem: a host is no host name, or the folder cannot be written.
    """
    names = parse_names(hosts)
    stems = [each.stem for each in BAD] + ["good"]
    if not force:
        check_absent([folder / f"{stem}{end}" for stem in stems for end in (".pem", ".key")])
        check_absent([folder / name for name in ("ca.pem", "README.md")])
    make_folder(folder)
    write_new(NewFile(folder / "ca.pem", ca.certificate.public_bytes(Encoding.PEM)), force=force)
    made = []
    for stem in stems:
        made.append((folder / f"{stem}.pem", _make(folder, stem, names, ca, now, force)))
    write_new(NewFile(folder / "README.md", _readme(names).encode()), force=force)
    return made


def _make(
    folder: Path, stem: str, names: list[x509.GeneralName], ca: Signer, now: datetime, force: bool
) -> x509.Certificate:
    key = new_key()
    begins, ends = _times(stem, now)
    purpose = Purpose.CLIENT if stem == "b6-client-only" else Purpose.SERVER
    hosts = parse_names([_WRONG_HOST]) if stem == "b5-wrong-host" else names
    name = subject(name_text(hosts[0]).partition(":")[2][:64])
    wanted = Wanted(name, purpose, hosts)
    signer = ca
    if stem == "b1-rogue-ca":
        rogue = new_key()
        same_name = Wanted(ca.certificate.subject, Purpose.CA, lifetime=_YEAR)
        signer = Signer(self_signed_ca(same_name, rogue, now), rogue)
    elif stem == "b2-self-signed":
        # Its own issuer: the signer needs no more of itself than its name.
        itself = self_signed_ca(Wanted(name, Purpose.CA, lifetime=_YEAR), key, now)
        signer = Signer(itself, key)
    certificate = certify(wanted, key.public_key(), signer, begins, ends)
    write_new(NewFile(folder / f"{stem}.key", key_pem(key), PRIVATE), force=force)
    write_new(NewFile(folder / f"{stem}.pem", certificate.public_bytes(Encoding.PEM)), force=force)
    return certificate


def _times(stem: str, now: datetime) -> tuple[datetime, datetime]:
    if stem == "b3-expired":
        return now - _YEAR, now - timedelta(days=30)
    if stem == "b4-not-yet-valid":
        return now + timedelta(days=30), now + _YEAR
    return now - BACKDATED, now + _YEAR


def _readme(names: Sequence[x509.GeneralName]) -> str:
    hosts = ", ".join(map(name_text, names))
    host = name_text(names[0]).partition(":")[2]
    rows = [f"| {each.row} | `{each.stem}.pem` | {each.wrong} | {each.expect} |" for each in BAD]
    return "\n".join(
        (
            "# Six bad certificates, and a good one",
            "",
            f"For a broker at {hosts}. A client that trusts `ca.pem` must refuse the six before it sends its password,",
            "and accept `good.pem`. Each `.pem` has its `.key` beside it.",
            "",
            "| | file | what is wrong | what a client should say |",
            "| --- | --- | --- | --- |",
            *rows,
            "| | `good.pem` | nothing | |",
            "",
            "What is wrong with one, in one line:",
            "",
            "```",
            f"mqttsecure cert verify b1-rogue-ca.pem --ca ca.pem --host {host} --purpose server",
            "```",
            "",
            "Try a client: let a TLS server show one of them, and see what the client does with it.",
            "",
            "```",
            "openssl s_server -accept 8883 -cert b1-rogue-ca.pem -key b1-rogue-ca.key",
            "```",
            "",
            "They are for lessons and tests. Never give one to a broker that others use.",
            "",
        )
    )
