# -*- test-case-name: tests.service.test_development -*-
"""The development folder, and the certificates that are made in it."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shlex
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mqttsecure.errors import ConfigError
from mqttsecure.service.files import DEVELOPMENT_FILES

__all__ = ["USER", "Folder", "Owner", "make_certificates"]

USER: Final = "alice"
"""The user that is made, by password and by certificate."""

LIFETIME: Final = timedelta(days=825)
"""The longest that Apple's TLS still accepts of a private CA's certificates."""

_BACKDATED: Final = timedelta(hours=1)
"""For clients whose clock is a little behind."""


@dataclass(slots=True, frozen=True)
class Owner:
    """The user and group that generated files belong to."""

    uid: int
    gid: int


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
        if not self.path.exists():
            self.path.mkdir(mode=0o755, parents=True)
            self._give(self.path)

    def write(self, kind: str, data: bytes, mode: int) -> Path:
        """Write a new file, which must not be there, not even as a link to somewhere else."""
        file = self.file(kind)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            if self.owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, self.owner.uid, self.owner.gid)
            stream.write(data)
        return file

    def _give(self, path: Path) -> None:
        if self.owner is not None and os.geteuid() == 0:
            os.chown(path, self.owner.uid, self.owner.gid, follow_symlinks=False)


def make_certificates(folder: Folder) -> list[Path]:
    """Make the CA, the server's and the client's certificate where they are missing; return the new files.

    Raises:
        ConfigError: half of a pair, or the CA of what is there, is missing.
        OSError: a file cannot be written.
    """
    made: list[Path] = []
    # The broker needs the CA's certificate alone, and of the client's nothing: who keeps their keys elsewhere may.
    needs_server = not folder.has_pair("server")
    needs_client = not (folder.has("client_certificate") or folder.has("client_key"))
    if not folder.has("ca_certificate") and not (needs_server and needs_client):
        raise ConfigError(
            f"{folder.file('ca_certificate')}: missing, while what it has signed is there; put it back, or remove the "
            "certificates and keys in this folder to have new ones made"
        )
    if (needs_server or needs_client) and not folder.has_pair("ca"):
        key = ec.generate_private_key(ec.SECP256R1())
        made += _write_pair(folder, "ca", _ca_certificate(key), key)
    if needs_server:
        made += _issue(folder, "server", "localhost", _server_extensions)
    if needs_client:
        made += _issue(folder, "client", USER, _client_extensions)
    return made


def _write_pair(
    folder: Folder, kind: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> list[Path]:
    # The key first: after a crash in between, what is left to remove was never certified.
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return [
        folder.write(f"{kind}_key", pem, 0o600),
        folder.write(f"{kind}_certificate", certificate.public_bytes(serialization.Encoding.PEM), 0o644),
    ]


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mqttsecure development"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now - _BACKDATED + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # A serial in the name: two development CAs on one machine are not to be taken for each other.
    name = _name(f"mqttsecure development CA {secrets.token_hex(4)}")
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return builder.sign(key, hashes.SHA256())


_Extend = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


def _issue(folder: Folder, kind: str, common_name: str, extend: _Extend) -> list[Path]:
    ca, ca_key = _load_ca(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    builder = extend(_builder(_name(common_name), ca.subject, key.public_key()))
    builder = builder.add_extension(identifier, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    return _write_pair(folder, kind, builder.sign(ca_key, hashes.SHA256()), key)


def _load_ca(folder: Folder) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(folder.file("ca_certificate").read_bytes())
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        key = serialization.load_pem_private_key(folder.file("ca_key").read_bytes(), None)
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise ConfigError(f"{folder.file('ca_certificate')}: not a development CA with its key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{folder.file('ca_key')}: not the key of a development CA")
    return certificate, key


def _server_extensions(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    addresses = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _host_names()]
    names += [x509.IPAddress(address) for address in addresses]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)


def _host_names() -> list[str]:
    """``localhost`` and this machine's name, where it can stand in a certificate."""
    name = socket.gethostname()
    fits = name.isascii() and 0 < len(name) <= 253 and all(part.isalnum() or part in "-." for part in name)
    return ["localhost", *([name] if fits and name != "localhost" else [])]


def _client_extensions(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
