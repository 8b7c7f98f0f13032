# -*- test-case-name: tests.lab.tls.test_messages -*-
"""All handshake messages but the hellos, and alerts: bytes to fields (RFC 5246 section 7.4, RFC 8446 section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mqttsecure.lab.model import Field, Json
from mqttsecure.lab.tls.cursor import Cursor, Malformed
from mqttsecure.lab.tls.extensions import read_extensions
from mqttsecure.lab.tls.ffdhe import named_prime
from mqttsecure.lab.tls.name_lists import distinguished_names
from mqttsecure.lab.tls.names import ALERT_MEANINGS, ALERTS, CLIENT_CERTIFICATE_TYPES, group_name, scheme_name

__all__ = [
    "KeyExchange",
    "Signature",
    "read_alert",
    "read_certificate",
    "read_certificate_request",
    "read_certificate_status",
    "read_certificate_verify",
    "read_client_key_exchange",
    "read_encrypted_extensions",
    "read_key_update",
    "read_new_session_ticket",
    "read_server_key_exchange",
]

_MAX_CERTIFICATES: Final = 64
"""Certificates in one message: chains have two to four."""
_NAMED_CURVE: Final = 3
_SHOWN: Final = 48
"""Bytes of a key or signature that a person is shown; programs have all of them."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as it stands in a message; ``scheme`` is None before TLS 1.2."""

    scheme: int | None
    value: bytes


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """A ServerKeyExchange.

    Attributes:
        kind: "ECDHE", "DHE" or "other".
        parameters: the bytes that are signed.
    """

    kind: str
    parameters: bytes
    fields: tuple[Field, ...]
    group: int | None = None
    public: bytes = b""
    prime: bytes = b""
    generator: bytes = b""
    signature: Signature | None = None


def _bytes_field(cursor: Cursor, name: str, start: int, value: bytes, meaning: str) -> Field:
    shown = value[:_SHOWN].hex() + ("..." if len(value) > _SHOWN else "")
    return cursor.field(name, start, value.hex(), f"{len(value)} bytes: {shown}" if value else "empty", meaning)


def read_signature(cursor: Cursor, with_scheme: bool) -> tuple[Signature, tuple[Field, ...]]:
    """A signature with the scheme before it."""
    fields: list[Field] = []
    scheme = None
    if with_scheme:
        start = cursor.position
        scheme = cursor.number(2, "the signature scheme")
        fields.append(cursor.field("signature_algorithm", start, scheme, f"{scheme_name(scheme)} (0x{scheme:04x})"))
    start = cursor.position
    value = cursor.vector(2, "the signature")
    fields.append(_bytes_field(cursor, "signature", start, value, ""))
    return Signature(scheme, value), tuple(fields)


def read_server_key_exchange(data: bytes, exchange: str, authentication: str, version: int) -> KeyExchange:
    """Read a ServerKeyExchange, header included, for that key exchange.

    Raises:
        Malformed: it is none.
    """
    cursor = Cursor(data, 4)
    if authentication == "PSK":
        cursor.vector(2, "the hint")
    if exchange == "ECDHE":
        found = _read_ecdhe(cursor)
    elif exchange in ("DHE", "DH"):
        found = _read_dhe(cursor)
    else:
        rest = cursor.take(cursor.left)
        return KeyExchange(
            "other", rest, (Field("parameters", rest.hex(), f"{len(rest)} bytes", "", (), 4, len(rest)),)
        )
    if authentication in ("anon", "PSK"):
        cursor.finish("ServerKeyExchange")
        return found
    signature, fields = read_signature(cursor, version >= 0x0303)
    cursor.finish("ServerKeyExchange")
    return KeyExchange(
        found.kind,
        found.parameters,
        found.fields + fields,
        found.group,
        found.public,
        found.prime,
        found.generator,
        signature,
    )


def _read_ecdhe(cursor: Cursor) -> KeyExchange:
    start = cursor.position
    kind = cursor.number(1, "the type of the curve")
    if kind != _NAMED_CURVE:
        raise Malformed(f"the curve is given by type {kind}, which nobody uses any more (RFC 8422)")
    group = cursor.number(2, "the curve")
    curve = cursor.field("named_curve", start, group, group_name(group), "the group that both compute in")
    at = cursor.position
    public = cursor.vector(1, "the public key")
    meaning = "the server's one-time public key: not the one in the certificate, which only signs it"
    point = _bytes_field(cursor, "public_key", at, public, meaning)
    return KeyExchange("ECDHE", cursor.data[start : cursor.position], (curve, point), group, public)


def _read_dhe(cursor: Cursor) -> KeyExchange:
    start = cursor.position
    prime = cursor.vector(2, "the prime")
    bits = int.from_bytes(prime, "big").bit_length()
    meaning = f"the prime that both compute modulo, {bits} bits"
    name = named_prime(prime)
    if bits < 2048:
        meaning += "; too small, large attackers can break it (Logjam)"
    elif name is not None:
        meaning += f": {name}, a group that is known to be good"
    fields = [_bytes_field(cursor, "dh_p", start, prime, meaning)]
    at = cursor.position
    generator = cursor.vector(2, "the generator")
    fields.append(_bytes_field(cursor, "dh_g", at, generator, "the number that both raise to a secret power"))
    at = cursor.position
    public = cursor.vector(2, "the public key")
    fields.append(_bytes_field(cursor, "public_key", at, public, "the server's one-time public key, signed below"))
    parameters = cursor.data[start : cursor.position]
    return KeyExchange("DHE", parameters, tuple(fields), None, public, prime, generator)


def read_client_key_exchange(data: bytes, exchange: str, authentication: str) -> tuple[str, bytes, tuple[Field, ...]]:
    """Read a ClientKeyExchange, header included: its kind, its public key or secret, its fields.

    Raises:
        Malformed: it is none.
    """
    cursor = Cursor(data, 4)
    fields: list[Field] = []
    kind, value = exchange, b""
    if authentication == "PSK":
        start = cursor.position
        value = cursor.vector(2, "the identity")
        fields.append(_bytes_field(cursor, "psk_identity", start, value, "which key the client means, readable by all"))
    start = cursor.position
    name = "public_key"
    meaning = "the client's one-time public key; with the server's it gives the shared secret"
    if exchange == "ECDHE":
        value = cursor.vector(1, "the public key")
    elif exchange in ("DHE", "DH"):
        value = cursor.vector(2, "the public key")
        kind = "DHE"
    elif exchange == "RSA":
        value = cursor.vector(2, "the encrypted secret")
        kind, name = "RSA encrypted premaster", "encrypted_premaster_secret"
        meaning = (
            "a secret that the client alone chose, encrypted for the certificate's key: "
            "whoever gets that key, even years later, reads everything"
        )
    elif exchange != "PSK":
        value = cursor.take(cursor.left)
        name, meaning = "key", f"what {exchange} needs"
    if exchange != "PSK":
        fields.append(_bytes_field(cursor, name, start, value, meaning))
    cursor.finish("ClientKeyExchange")
    return kind, value, tuple(fields)


def read_certificate(data: bytes, version: int) -> tuple[list[bytes], tuple[Field, ...]]:
    """Read a Certificate, header included: the DER of each, and the fields.

    Raises:
        Malformed: it is none.
    """
    cursor = Cursor(data, 4)
    fields: list[Field] = []
    if version >= 0x0304:
        start = cursor.position
        context = cursor.vector(1, "the context")
        text = context.hex() or "empty"
        fields.append(
            cursor.field("certificate_request_context", start, context.hex(), text, "which request is answered")
        )
    certificates: list[bytes] = []
    inner = cursor.inside(3, "the certificates")
    while inner.left:
        if len(certificates) >= _MAX_CERTIFICATES:
            raise Malformed(f"more than {_MAX_CERTIFICATES} certificates")
        start = inner.position
        der = inner.vector(3, "a certificate")
        extensions = read_extensions(inner, "certificate") if version >= 0x0304 else ()
        certificates.append(der)
        fields.append(inner.field("certificate", start, len(der), f"{len(der)} bytes", fields=extensions))
    cursor.finish("Certificate")
    return certificates, tuple(fields)


def read_certificate_request(data: bytes, version: int) -> tuple[Field, ...]:
    """Read a CertificateRequest, header included.

    Raises:
        Malformed: it is none.
    """
    cursor = Cursor(data, 4)
    start = cursor.position
    if version >= 0x0304:
        context = cursor.vector(1, "the context")
        text = context.hex() or "empty"
        field = cursor.field("certificate_request_context", start, context.hex(), text, "names this request")
        start = cursor.position
        extensions = read_extensions(cursor, "certificate_request")
        cursor.finish("CertificateRequest")
        numbers: list[Json] = [each.fields[0].value for each in extensions]
        names = ", ".join(each.name for each in extensions)
        return field, cursor.field("extensions", start, numbers, names, fields=extensions)
    kinds = list(cursor.vector(1, "the types"))
    names = ", ".join(CLIENT_CERTIFICATE_TYPES.get(each, str(each)) for each in kinds)
    fields = [cursor.field("certificate_types", start, list(kinds), names, "kinds of certificates that are welcome")]
    if version >= 0x0303:
        start = cursor.position
        schemes = cursor.numbers(2, 2, "the signature schemes")
        names = ", ".join(scheme_name(each) for each in schemes)
        fields.append(
            cursor.field("signature_algorithms", start, list(schemes), names, "signatures the server can check")
        )
    start = cursor.position
    authorities = distinguished_names(cursor)
    values: list[Json] = list(authorities)
    text = "; ".join(authorities) or "none named: any authority"
    fields.append(cursor.field("certificate_authorities", start, values, text, "whose certificates are welcome"))
    cursor.finish("CertificateRequest")
    return tuple(fields)


def read_certificate_verify(data: bytes, version: int) -> tuple[Signature, tuple[Field, ...]]:
    """Read a CertificateVerify, header included."""
    cursor = Cursor(data, 4)
    found = read_signature(cursor, version >= 0x0303)
    cursor.finish("CertificateVerify")
    return found


def read_new_session_ticket(data: bytes, version: int) -> tuple[Field, ...]:
    """Read a NewSessionTicket, header included."""
    cursor = Cursor(data, 4)
    start = cursor.position
    lifetime = cursor.number(4, "the lifetime")
    fields = [cursor.field("lifetime", start, lifetime, f"{lifetime} s", "how long the ticket may be used")]
    if version >= 0x0304:
        start = cursor.position
        age = cursor.number(4, "the addend")
        fields.append(
            cursor.field("age_add", start, age, str(age), "hides from others how old the ticket is when it is used")
        )
        start = cursor.position
        nonce = cursor.vector(1, "the nonce")
        fields.append(_bytes_field(cursor, "nonce", start, nonce, "gives each ticket a key of its own"))
    start = cursor.position
    ticket = cursor.vector(2, "the ticket")
    fields.append(
        _bytes_field(cursor, "ticket", start, ticket, "the session, encrypted for the server's own later use")
    )
    if version >= 0x0304:
        start = cursor.position
        extensions = read_extensions(cursor, "new_session_ticket")
        numbers: list[Json] = [each.fields[0].value for each in extensions]
        names = ", ".join(each.name for each in extensions) or "none"
        fields.append(cursor.field("extensions", start, numbers, names, fields=extensions))
    cursor.finish("NewSessionTicket")
    return tuple(fields)


def read_encrypted_extensions(data: bytes) -> tuple[Field, ...]:
    """Read EncryptedExtensions, header included."""
    cursor = Cursor(data, 4)
    extensions = read_extensions(cursor, "encrypted_extensions")
    cursor.finish("EncryptedExtensions")
    numbers: list[Json] = [each.fields[0].value for each in extensions]
    names = ", ".join(each.name for each in extensions) or "none"
    return (cursor.field("extensions", 4, numbers, names, fields=extensions),)


def read_certificate_status(data: bytes) -> tuple[Field, ...]:
    """Read a CertificateStatus, header included."""
    cursor = Cursor(data, 4)
    kind = cursor.field("status_type", 4, cursor.number(1, "the type"), "ocsp")
    start = cursor.position
    answer = cursor.vector(3, "the answer")
    cursor.finish("CertificateStatus")
    return kind, _bytes_field(
        cursor, "response", start, answer, "the CA's own word that the certificate is not revoked"
    )


def read_key_update(data: bytes) -> tuple[Field, ...]:
    """Read a KeyUpdate, header included."""
    cursor = Cursor(data, 4)
    value = cursor.number(1, "the request")
    cursor.finish("KeyUpdate")
    text = {0: "update_not_requested", 1: "update_requested"}.get(value, str(value))
    meaning = "the sender changes its key now" + (", and wants the other end to do the same" if value == 1 else "")
    return (cursor.field("request_update", 4, value, text, meaning),)


def read_alert(data: bytes) -> tuple[Field, Field]:
    """Read the two bytes of an alert: level and description."""
    cursor = Cursor(data)
    level = cursor.number(1, "the level")
    first = cursor.field("level", 0, level, {1: "warning", 2: "fatal"}.get(level, f"unknown ({level})"))
    description = cursor.number(1, "the description")
    name = ALERTS.get(description, f"unknown ({description})")
    return first, cursor.field("description", 1, description, name, ALERT_MEANINGS.get(description, ""))
