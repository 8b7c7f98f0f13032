# -*- test-case-name: tests.policy.test_https -*-
"""Which HTTPS services may be asked, whom to trust there, and what to show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from OpenSSL import SSL, crypto
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from mqttsecure.errors import ConfigError
from mqttsecure.policy.secrets import open_regular, read_secret

__all__ = ["TlsMaterial", "check_https_url"]

_MAXIMUM_PEM: Final = 4 * 1024 * 1024
_MAXIMUM_URL: Final = 2048


def check_https_url(url: str) -> str:
    """Accept the address of a service.

    Raises:
        ValueError: it is none, or would give away what is asked or a secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is no URL; write one like https://auth.example.com/mqtt") from None
    if parts.scheme != "https" or not parts.hostname or port == 0:
        raise ValueError("it is no https URL; write one like https://auth.example.com/mqtt")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "it holds a user or password, which would be read by all who see the configuration; take it out"
        )
    if parts.fragment or len(url) > _MAXIMUM_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"it is longer than {_MAXIMUM_URL} characters, or has some that no URL has")
    return url


@dataclass(slots=True, frozen=True)
class TlsMaterial:
    """Whom to trust, None for the system's CAs, and what to show."""

    trust: tuple[bytes, ...] | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def load(cls, ca: Path | None, certificate: Path | None, key: Path | None) -> TlsMaterial:
        """Read the files.

        Raises:
            ConfigError: one of them cannot be used.
        """
        trust = None if ca is None else tuple(_certificates(ca))
        if certificate is None or key is None:
            return cls(trust)
        shown = cls(trust, _read_pem(certificate), read_secret(key, _MAXIMUM_PEM))
        _certificates(certificate)
        try:
            context = SSL.Context(SSL.TLS_METHOD)
            context.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, shown.certificate or b""))
            context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, shown.key or b"", b""))
            context.check_privatekey()
        except (SSL.Error, crypto.Error, ValueError, TypeError):
            raise ConfigError(f"{key}: is no PEM key without a pass phrase that fits {certificate}") from None
        return shown

    def options_for(self, host: str) -> Any:
        """What Twisted connects to ``host`` with."""
        trust: Any = platformTrust()
        if self.trust is not None:
            trust = trustRootFromCertificates([Certificate.loadPEM(each) for each in self.trust])
        mine = None
        more: dict[str, Any] = {"raiseMinimumTo": TLSVersion.TLSv1_2}
        if self.certificate is not None and self.key is not None:
            mine = PrivateCertificate.loadPEM(self.key + b"\n" + self.certificate)
            chain = _split_pem(self.certificate)[1:]
            if chain:
                more["extraCertChain"] = [crypto.load_certificate(crypto.FILETYPE_PEM, each) for each in chain]
        return optionsForClientTLS(host, trustRoot=trust, clientCertificate=mine, extraCertificateOptions=more)


def _read_pem(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(_MAXIMUM_PEM + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > _MAXIMUM_PEM:
        raise ConfigError(f"{path}: is larger than {_MAXIMUM_PEM} bytes; is it the right file?")
    return content


def _split_pem(content: bytes) -> list[bytes]:
    fence = b"-----BEGIN CERTIFICATE-----"
    return [fence + block for block in content.split(fence)[1:]]


def _certificates(path: Path) -> list[bytes]:
    blocks = _split_pem(_read_pem(path))
    try:
        for block in blocks:
            crypto.load_certificate(crypto.FILETYPE_PEM, block)
    except crypto.Error as error:
        raise ConfigError(f"{path}: holds something that is no PEM certificate") from error
    if not blocks:
        raise ConfigError(f"{path}: holds no PEM certificate")
    return blocks
