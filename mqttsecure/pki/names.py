# -*- test-case-name: tests.pki.test_names -*-
"""Names in certificates, as people write them: ``broker.lab.test``, ``10.77.0.10``, ``URI:urn:device:7``."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from mqttsecure.pki.errors import CertificateProblem

__all__ = [
    "check_common_name",
    "common_name",
    "dns_names",
    "file_stem",
    "ip_addresses",
    "name_text",
    "names_of",
    "parse_name",
    "parse_names",
    "short_name",
    "subject",
]

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+")
_SURELY_URI: Final = re.compile(r"urn:|[A-Za-z][A-Za-z0-9+.-]*://")
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@([A-Za-z0-9.-]+)")
_LONGEST_DNS: Final = 253
_LONGEST_COMMON_NAME: Final = 64
"""Characters (X.520); OpenSSL makes no certificate with a longer one."""
_LONGEST_URI: Final = 1024
_MOST_NAMES: Final = 1000
"""In one certificate: every client reads them all at each handshake."""
_SAFE: Final = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9._@-]*")


def parse_name(text: str) -> x509.GeneralName:
    """A name with its kind before it (``DNS:``, ``IP:``, ``URI:``, ``EMAIL:``), or one whose kind can be seen.

    Raises:
        CertificateProblem: it is none.
    """
    kind, colon, value = text.partition(":")
    if colon and kind.upper() in _PARSERS:
        return _PARSERS[kind.upper()](value)
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return _uri(text) if _SURELY_URI.match(text) else _dns(text)


def parse_names(texts: Iterable[str]) -> list[x509.GeneralName]:
    """Several, each once.

    Raises:
        CertificateProblem: one of them is none, or they are too many.
    """
    names = list(dict.fromkeys(map(parse_name, texts)))
    if len(names) > _MOST_NAMES:
        raise CertificateProblem(f"{len(names)} names are too many for one certificate; {_MOST_NAMES} fit")
    return names


def _dns(text: str) -> x509.GeneralName:
    if not text.isascii():
        raise CertificateProblem(f"{text!r} is no DNS name in ASCII; write it in its xn-- form")
    labels = text.split(".")
    wild = labels[0] == "*"
    if wild and len(labels) < 3:
        raise CertificateProblem(f"{text!r} would stand for half the world; a wildcard needs two labels after it")
    if len(text) > _LONGEST_DNS or not all(_LABEL.fullmatch(label) for label in labels[wild:]):
        raise CertificateProblem(f"{text!r} is no DNS name; write it like broker.example.org, without a port")
    if all(label.isdigit() for label in labels):
        raise CertificateProblem(f"{text!r} is neither an address nor a DNS name; write an address like 10.77.0.10")
    return x509.DNSName(text)


def _ip(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        raise CertificateProblem(f"{text!r} is no IP address; write it like 10.77.0.10 or fd77::10") from None


def _uri(text: str) -> x509.GeneralName:
    if not text.isascii() or not text.isprintable() or len(text) > _LONGEST_URI or not _SCHEME.fullmatch(text):
        raise CertificateProblem(f"{text!r} is no URI; write it like urn:device:7 or spiffe://plant/pump-7")
    try:
        urlsplit(text)
    except ValueError as error:
        raise CertificateProblem(f"{text!r} is no URI: {error}; write it like spiffe://plant/pump-7") from None
    return x509.UniformResourceIdentifier(text)


def _email(text: str) -> x509.GeneralName:
    match = _EMAIL.fullmatch(text)
    if match is None:
        raise CertificateProblem(f"{text!r} is no e-mail address; write it like pump-7@example.org")
    _dns(match[1])
    return x509.RFC822Name(text)


_PARSERS: Final = {"DNS": _dns, "IP": _ip, "URI": _uri, "EMAIL": _email}


def name_text(name: x509.GeneralName) -> str:
    """``DNS:broker.lab.test``; what :func:`parse_name` reads again."""
    match name:
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.IPAddress():
            return f"IP:{name.value}"
        case x509.UniformResourceIdentifier():
            return f"URI:{name.value}"
        case x509.RFC822Name():
            return f"EMAIL:{name.value}"
        case x509.DirectoryName():
            return f"DIRECTORY:{name.value.rfc4514_string()}"
        case _:
            return f"{type(name).__name__}:{name.value!r}"


def names_of(thing: x509.Certificate | x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    """The alternative names of a certificate or a request.

    Raises:
        CertificateProblem: its extensions cannot be read.
    """
    try:
        return list(thing.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateProblem(f"its extensions cannot be read: {error}; have it made again") from None


def dns_names(names: Iterable[x509.GeneralName]) -> list[str]:
    return [name.value for name in names if isinstance(name, x509.DNSName)]


def ip_addresses(names: Iterable[x509.GeneralName]) -> list[str]:
    return [str(name.value) for name in names if isinstance(name, x509.IPAddress)]


def check_common_name(name: str) -> str:
    """The name, if it can be a common name.

    Raises:
        CertificateProblem: it cannot.
    """
    if not name or not name.isprintable() or name != name.strip():
        raise CertificateProblem(f"{name!r} cannot be a name: it is empty, or has characters that do not print")
    if len(name) > _LONGEST_COMMON_NAME:
        raise CertificateProblem(f"{name!r} is longer than {_LONGEST_COMMON_NAME} characters; take a shorter name")
    return name


def subject(name: str, groups: Sequence[str] = (), organization: str | None = None) -> x509.Name:
    """``O=organization, OU=group ..., CN=name``: what the broker's ``client-certificate`` reads user and groups from.

    Raises:
        CertificateProblem: one of them cannot stand there.
    """
    attributes = [] if organization is None else [(NameOID.ORGANIZATION_NAME, organization)]
    attributes += [(NameOID.ORGANIZATIONAL_UNIT_NAME, group) for group in groups]
    attributes.append((NameOID.COMMON_NAME, name))
    return x509.Name([x509.NameAttribute(oid, check_common_name(value)) for oid, value in attributes])


def common_name(name: x509.Name) -> str | None:
    """The common name, where there is exactly one."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else None


def short_name(name: x509.Name) -> str:
    """What to call it in a sentence: the common name, or all of it."""
    return common_name(name) or name.rfc4514_string() or "(without a name)"


def file_stem(name: str) -> str:
    """The name as part of a file name: unchanged where that is harmless, else made so and told apart by a hash."""
    if _SAFE.fullmatch(name):
        return name
    safe = re.sub(r"[^A-Za-z0-9._@-]", "_", name).lstrip(".-") or "_"
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
