# -*- test-case-name: tests.service.test_certificates -*-
"""Whether the certificate files of the configuration can be used, found out before the start and not at a handshake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from mqttsecure.errors import ConfigError
from mqttsecure.policy.environment import Authority
from mqttsecure.service.config import BrokerConfig, TlsConfig
from mqttsecure.service.problems import Problems

__all__ = ["check_certificates", "load_authorities"]

SOON: Final = timedelta(days=30)
"""When a certificate's end is warned of: a month is time enough to renew one by hand."""


def check_certificates(config: BrokerConfig, problems: Problems, now: datetime | None = None) -> list[str]:
    """Check each listener's certificate and key, adding problems; return warnings."""
    warnings: list[str] = []
    moment = now or datetime.now(UTC)
    for listener in config.listeners:
        if listener.tls is not None:
            warnings += _check_server(listener.tls, ("listener", listener.position, "tls"), problems, moment)
    return warnings


def _check_server(tls: TlsConfig, path: tuple[str | int, ...], problems: Problems, now: datetime) -> list[str]:
    certificates = _load(tls.certificate, (*path, "certificate"), problems)
    public_key = _load_key(tls.key, (*path, "key"), problems)
    if not certificates:
        return []
    leaf = certificates[0]
    if public_key is not None and public_key != _public_bytes(leaf.public_key()):
        problems.add((*path, "key"), f"{tls.key} is not the key of {tls.certificate}; name two that belong together")
    if not _serves(leaf):
        problems.add((*path, "certificate"), f"{tls.certificate} is not for servers (no serverAuth); clients refuse it")
    return _check_dates(leaf, tls.certificate, (*path, "certificate"), problems, now)


def _check_dates(
    certificate: x509.Certificate, file: Path, path: tuple[str | int, ...], problems: Problems, now: datetime
) -> list[str]:
    end = certificate.not_valid_after_utc
    if end <= now:
        problems.add(path, f"{file} expired on {end:%Y-%m-%d}; renew it")
    elif certificate.not_valid_before_utc > now:
        problems.add(
            path, f"{file} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; check the clock"
        )
    elif end - now < SOON:
        return [f"{file} expires on {end:%Y-%m-%d}; renew it in time"]
    return []


def _serves(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage


def _load(file: Path, path: tuple[str | int, ...], problems: Problems) -> list[x509.Certificate]:
    """The certificates in a PEM file; none where it has a problem, noted here unless it is about reading the file."""
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError:
        return []  # noted when the files were looked for
    except ValueError as error:
        problems.add(path, f"{file} holds no PEM certificate that can be read ({error}); is it the right file?")
        return []


def _load_key(file: Path, path: tuple[str | int, ...], problems: Problems) -> bytes | None:
    """The public half of the private key in a PEM file."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except OSError:
        return None  # noted when the files were looked for
    except TypeError:
        problems.add(path, f"{file} has a pass phrase, which nobody can type at a start; remove it with `openssl pkey`")
        return None
    except ValueError as error:
        problems.add(path, f"{file} holds no PEM private key that can be read ({error}); is it the right file?")
        return None
    return _public_bytes(key.public_key())


def _public_bytes(key: object) -> bytes:
    encode = getattr(key, "public_bytes", None)
    if encode is None:
        return b""
    encoded: bytes = encode(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def load_authorities(config: BrokerConfig, problems: Problems) -> dict[str, Authority]:
    """The identity sources by name, their CA certificates read; a file that cannot be used is noted."""
    found: dict[str, Authority] = {}
    for authority in config.authorities:
        anchors: list[bytes] = []
        for item, file in enumerate(authority.ca):
            try:
                read = Authority.load(authority.name, ca_files=[file]).ca_certificates
            except ConfigError as error:
                if file.exists():  # else it was noted when the files were looked for
                    problems.add(("authority", authority.position, "ca", item), str(error))
                continue
            anchors += [each for each in read if each not in anchors]
        found[authority.name] = Authority(authority.name, authority.password_file, tuple(anchors), authority.crl)
    return found
