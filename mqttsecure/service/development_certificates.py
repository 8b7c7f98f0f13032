# -*- test-case-name: tests.service.test_development -*-
"""The development folder, and the certificates that are made in it."""

from __future__ import annotations

import secrets
import shlex
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.errors import ConfigError
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import PRIVATE, PUBLIC, NewFile, Owner, make_folder, read_bytes, write_new
from mqttsecure.pki.issuing import Signer, self_signed_ca, sign
from mqttsecure.pki.keys import PrivateKey, key_pem, new_key, read_key
from mqttsecure.pki.loading import read_certificates
from mqttsecure.pki.names import parse_name, parse_names, subject
from mqttsecure.pki.profiles import LEAF_LIFETIME, Purpose, Wanted
from mqttsecure.service.files import DEVELOPMENT_FILES

__all__ = ["USER", "Folder", "Owner", "make_certificates"]

USER: Final = "alice"
"""The user that is made, by password and by certificate."""

_ORGANIZATION: Final = "mqttsecure development"


@dataclass(slots=True, frozen=True)
class Folder:
    """The development folder, and how to write into it."""

    path: Path
    owner: Owner | None

    def file(self, kind: str) -> Path:
        return self.path / DEVELOPMENT_FILES[kind]

    def has(self, kind: str) -> bool:
        return self.file(kind).exists()

    def has_pair(self, kind: str) -> bool:
        """Whether a certificate and its key are both there, or neither.

        Raises:
            ConfigError: one of them is: that half is of no use, and not ours to replace.
        """
        certificate, key = f"{kind}_certificate", f"{kind}_key"
        if self.has(certificate) != self.has(key):
            there, missing = (certificate, key) if self.has(certificate) else (key, certificate)
            raise ConfigError(
                f"{self.file(missing)}: missing, while {self.file(there)} is there; put it back, "
                f"or have both made anew with: rm {shlex.quote(str(self.file(there)))}"
            )
        return self.has(certificate)

    def make(self) -> None:
        """Make the folder itself where it is missing."""
        make_folder(self.path, owner=self.owner)

    def write(self, kind: str, data: bytes, mode: int) -> Path:
        """Write a new file, which must not be there, not even as a link to somewhere else."""
        return write_new(NewFile(self.file(kind), data, mode), owner=self.owner)


def make_certificates(folder: Folder) -> list[Path]:
    """Make the CA, the server's and the client's certificate where they are missing; return the new files.

    Raises:
        ConfigError: half of a pair, or the CA of what is there, is missing.
        CertificateProblem: a file cannot be written, or what is there cannot be used.
    """
    made: list[Path] = []
    now = datetime.now(UTC)
    # The broker needs the CA's certificate alone, and of the client's nothing: who keeps their keys elsewhere may.
    needs_server = not folder.has_pair("server")
    needs_client = not (folder.has("client_certificate") or folder.has("client_key"))
    if not folder.has("ca_certificate") and not (needs_server and needs_client):
        raise ConfigError(
            f"{folder.file('ca_certificate')}: missing, while what it has signed is there; put it back, or remove the "
            "certificates and keys in this folder to have new ones made"
        )
    if (needs_server or needs_client) and not folder.has_pair("ca"):
        made += _make_ca(folder, now)
    if needs_server:
        name = subject("localhost", organization=_ORGANIZATION)
        made += _issue(folder, "server", Wanted(name, Purpose.SERVER, parse_names(_names())), now)
    if needs_client:
        made += _issue(folder, "client", Wanted(subject(USER, organization=_ORGANIZATION), Purpose.CLIENT), now)
    return made


def _names() -> list[str]:
    return [*_host_names(), "127.0.0.1", "::1"]


def _make_ca(folder: Folder, now: datetime) -> list[Path]:
    key = new_key()
    # A serial in the name: two development CAs on one machine are not to be taken for each other.
    name = subject(f"mqttsecure development CA {secrets.token_hex(4)}", organization=_ORGANIZATION)
    wanted = Wanted(name, Purpose.CA, lifetime=LEAF_LIFETIME)
    return _write_pair(folder, "ca", self_signed_ca(wanted, key, now), key)


def _issue(folder: Folder, kind: str, wanted: Wanted, now: datetime) -> list[Path]:
    key = new_key()
    return _write_pair(folder, kind, sign(wanted, key.public_key(), _load_ca(folder), now), key)


def _write_pair(folder: Folder, kind: str, certificate: x509.Certificate, key: PrivateKey) -> list[Path]:
    # The key first: after a crash in between, what is left to remove was never certified.
    return [
        folder.write(f"{kind}_key", key_pem(key), PRIVATE),
        folder.write(f"{kind}_certificate", certificate.public_bytes(Encoding.PEM), PUBLIC),
    ]


def _load_ca(folder: Folder) -> Signer:
    file = folder.file("ca_certificate")
    certificate = read_certificates(file)[0]
    key_file = folder.file("ca_key")
    key = read_key(read_bytes(key_file), str(key_file))
    if key.public_key() != certificate.public_key():
        raise CertificateProblem(f"{key_file} is not the key of {file}; put the right one back")
    return Signer(certificate, key)


def _host_names() -> list[str]:
    """``localhost`` and this machine's name, where it can stand in a certificate."""
    name = socket.gethostname()
    try:
        fits = isinstance(parse_name(f"DNS:{name}"), x509.DNSName)
    except CertificateProblem:
        fits = False
    return ["localhost", *([name] if fits and name != "localhost" else [])]
