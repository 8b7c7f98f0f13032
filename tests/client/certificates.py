"""Certificates of a broker: a good one, and those of B1 to B6."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Ca", "Pair", "now"]


def now() -> datetime.datetime:
    """Certificates have real dates: OpenSSL looks at the real clock."""
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Pair:
    """The files of a certificate, its chain, and its key."""

    certificate: Path
    key: Path


class Ca:
    """A CA of its own key; several may have one name."""

    def __init__(self, directory: Path, name: str = "lab CA") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._count = 0
        self.certificate = self._build(self._name, self._key.public_key(), is_ca=True)
        self.file = self._write("ca", self.certificate)

    def _build(self, subject: x509.Name, key: Any, *, is_ca: bool = False, **more: Any) -> x509.Certificate:
        day = datetime.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(more.get("issuer", self._name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(more.get("begins", now() - day))
            .not_valid_after(more.get("ends", now() + 30 * day))
            .add_extension(x509.BasicConstraints(is_ca, None), True)
        )
        if more.get("key_identifiers", True):
            public = self._key.public_key()
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
            builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False)
        for extension in more.get("extensions", ()):
            builder = builder.add_extension(extension, False)
        return builder.sign(more.get("signer", self._key), hashes.SHA256())

    def _write(self, name: str, *certificates: x509.Certificate) -> Path:
        file = self._directory / f"{name}-{id(self):x}-{self._count}.pem"
        file.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates))
        return file

    def issue(
        self,
        *names: str,
        purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.SERVER_AUTH,
        self_signed: bool = False,
        with_ca: bool = False,
        **more: Any,
    ) -> Pair:
        """A certificate for those names or addresses.

        Args:
            names: of the SAN; none for a certificate without one.
            purpose: its extended key usage; None for none.
            self_signed: signed by itself.
            with_ca: the CA's certificate comes along in the chain.
            more: ``begins``, ``ends``, ``key_identifiers``.
        """
        self._count += 1
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "broker")])
        extensions: list[x509.ExtensionType] = []
        if names:
            extensions.append(x509.SubjectAlternativeName([_general_name(name) for name in names]))
        if purpose is not None:
            extensions.append(x509.ExtendedKeyUsage([purpose]))
        if self_signed:
            more = {**more, "issuer": subject, "signer": key, "key_identifiers": False}
        certificate = self._build(subject, key.public_key(), extensions=extensions, **more)
        key_file = self._directory / f"key-{id(self):x}-{self._count}.key"
        key_file.touch(0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        chain = (certificate, self.certificate) if with_ca else (certificate,)
        return Pair(self._write("broker", *chain), key_file)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
