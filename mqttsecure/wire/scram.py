# -*- test-case-name: tests.wire.test_scram -*-
"""SCRAM-SHA-256 (RFC 5802, RFC 7677): its messages, its keys, and both ends of the exchange, as bytes alone.

The messages travel as Authentication Data of CONNECT, AUTH and CONNACK. ``SCRAM-SHA-256-PLUS`` also proves that both
ends speak over the same TLS connection (tls-exporter, RFC 9266): whoever stands between them has two.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "EXPORTER_BYTES",
    "EXPORTER_LABEL",
    "METHOD",
    "METHOD_PLUS",
    "ClientFinal",
    "ClientFirst",
    "ScramClient",
    "ScramError",
    "ScramKeys",
    "derive_keys",
    "parse_client_final",
    "parse_client_first",
    "prepare",
    "server_final",
    "server_first",
    "verify_proof",
]

METHOD: Final = "SCRAM-SHA-256"
METHOD_PLUS: Final = "SCRAM-SHA-256-PLUS"

BINDING: Final = "tls-exporter"

EXPORTER_LABEL: Final = b"EXPORTER-Channel-Binding"
EXPORTER_BYTES: Final = 32
"""RFC 9266 section 2: what TLS is asked for."""

MAXIMUM_MESSAGE: Final = 2048
"""Bytes: a user name of 256 characters, a nonce and a proof fit three times."""

MAXIMUM_NONCE: Final = 256
MINIMUM_NONCE: Final = 8
"""Characters: fewer could come twice."""

MINIMUM_ITERATIONS: Final = 4096
"""RFC 7677 section 4: a server that asks for fewer wants to guess the password."""

MAXIMUM_ITERATIONS: Final = 1_000_000
"""Half a second of the client; a server that asks for more wants to stall it."""

_NONCE: Final = re.compile(rb"[\x21-\x2b\x2d-\x7e]{%d,%d}" % (MINIMUM_NONCE, MAXIMUM_NONCE))
_NAME: Final = re.compile(r"(?:[^=,\0]|=2C|=3D)+")


class ScramError(Exception):
    """A message that is none, or that proves nothing. The text holds nothing secret."""


@dataclass(slots=True, frozen=True)
class ScramKeys:
    """What a server keeps of a password. With it nobody can log in, though who has it can pass for the server."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def prepare(text: str) -> str:
    """A user name or password in the one form that both ends hash (SASLprep, RFC 4013).

    Raises:
        ScramError: it has characters that none may have.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each for each in text if not stringprep.in_table_b1(each)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(_is_prohibited(each) for each in prepared):
        raise ScramError("it has a character that names and passwords may not have")
    if any(map(stringprep.in_table_d1, prepared)) and (
        any(map(stringprep.in_table_d2, prepared))
        or not stringprep.in_table_d1(prepared[0])
        or not stringprep.in_table_d1(prepared[-1])
    ):
        raise ScramError("it mixes directions of writing")
    return prepared


def _is_prohibited(character: str) -> bool:
    return (
        stringprep.in_table_c12(character)
        or stringprep.in_table_c21_c22(character)
        or stringprep.in_table_c3(character)
        or stringprep.in_table_c4(character)
        or stringprep.in_table_c5(character)
        or stringprep.in_table_c6(character)
        or stringprep.in_table_c7(character)
        or stringprep.in_table_c8(character)
        or stringprep.in_table_c9(character)
        or stringprep.in_table_a1(character)
    )


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _client_key(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """The client key and the server key; takes long, by intent."""
    salted = hashlib.pbkdf2_hmac("sha256", prepare(password).encode("utf-8"), salt, iterations)
    return _hmac(salted, b"Client Key"), _hmac(salted, b"Server Key")


def derive_keys(password: str, salt: bytes, iterations: int) -> ScramKeys:
    """What a server keeps of a password; takes tens of milliseconds.

    Raises:
        ScramError: the password has characters that none may have.
    """
    client_key, server_key = _client_key(password, salt, iterations)
    return ScramKeys(salt, iterations, hashlib.sha256(client_key).digest(), server_key)


# Messages


@dataclass(slots=True, frozen=True)
class ClientFirst:
    """``header`` is what says of channel binding: ``n,,``, ``y,,`` or ``p=tls-exporter,,``."""

    header: bytes
    bare: bytes
    username: str
    nonce: bytes

    @property
    def is_bound(self) -> bool:
        """Whether the client binds the exchange to its TLS connection."""
        return self.header.startswith(b"p=")

    @property
    def saw_no_binding(self) -> bool:
        """Whether the client could bind, and was made to believe that the server cannot."""
        return self.header.startswith(b"y")


@dataclass(slots=True, frozen=True)
class ClientFinal:
    """``without_proof`` is what the proof is about."""

    binding: bytes
    nonce: bytes
    proof: bytes = field(repr=False)
    without_proof: bytes


def parse_client_first(data: bytes) -> ClientFirst:
    """
    Raises:
        ScramError: it is no first message of a client.
    """
    header, bare = _split_header(data)
    fields = bare.split(b",")
    if len(fields) < 2 or fields[0][:2] != b"n=" or fields[1][:2] != b"r=":
        raise ScramError("the first message names no user, or no nonce, or demands an extension")
    try:
        escaped = fields[0][2:].decode("utf-8")
    except UnicodeDecodeError:
        raise ScramError("the user name is no UTF-8") from None
    if not _NAME.fullmatch(escaped):
        raise ScramError("the user name is empty, or not escaped as it should be")
    nonce = fields[1][2:]
    if not _NONCE.fullmatch(nonce):
        raise ScramError(f"the nonce has not {MINIMUM_NONCE} to {MAXIMUM_NONCE} printable characters")
    return ClientFirst(header, bare, prepare(escaped.replace("=2C", ",").replace("=3D", "=")), nonce)


def _split_header(data: bytes) -> tuple[bytes, bytes]:
    if len(data) > MAXIMUM_MESSAGE:
        raise ScramError(f"a message has more than {MAXIMUM_MESSAGE} bytes")
    flag, comma, rest = data.partition(b",")
    identity, second, bare = rest.partition(b",")
    if not comma or not second:
        raise ScramError("the first message has no header")
    if flag not in (b"n", b"y", b"p=" + BINDING.encode()):
        raise ScramError(f"the channel binding is none of n, y and p={BINDING}")
    if identity:
        raise ScramError("somebody wants to act as somebody else, which is not known here")
    return flag + b",,", bare


def server_first(first: ClientFirst, nonce: bytes, keys: ScramKeys) -> bytes:
    """The server's question; ``nonce`` is its own part."""
    salt = base64.b64encode(keys.salt)
    return b"r=%b%b,s=%b,i=%d" % (first.nonce, nonce, salt, keys.iterations)


def parse_client_final(data: bytes) -> ClientFinal:
    """
    Raises:
        ScramError: it is no last message of a client.
    """
    if len(data) > MAXIMUM_MESSAGE:
        raise ScramError(f"a message has more than {MAXIMUM_MESSAGE} bytes")
    without_proof, mark, proof = data.rpartition(b",p=")
    fields = without_proof.split(b",")
    if not mark or len(fields) < 2 or fields[0][:2] != b"c=" or fields[1][:2] != b"r=":
        raise ScramError("the last message has no channel binding, nonce or proof")
    return ClientFinal(_decoded(fields[0][2:]), fields[1][2:], _decoded(proof), without_proof)


def _decoded(field: bytes) -> bytes:
    try:
        return base64.b64decode(field, validate=True)
    except binascii.Error:
        raise ScramError("a field is no Base64") from None


def verify_proof(
    first: ClientFirst, question: bytes, final: ClientFinal, keys: ScramKeys, channel_binding: bytes | None
) -> bool:
    """Whether the client has the password, and speaks over the connection that it thinks it does.

    Args:
        first: its first message.
        question: what the server answered to it.
        final: its last message.
        keys: of the user.
        channel_binding: of the TLS connection; compared where the client bound the exchange to it.
    """
    bound = first.header + (channel_binding or b"" if first.is_bound else b"")
    nonce = question[2:].split(b",", 1)[0]
    if len(final.proof) != len(keys.stored_key):
        return False
    message = first.bare + b"," + question + b"," + final.without_proof
    client_key = _xor(final.proof, _hmac(keys.stored_key, message))
    # All three are compared whatever the first says, so that the time says nothing.
    return (
        hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)
        & hmac.compare_digest(final.binding, bound)
        & hmac.compare_digest(final.nonce, nonce)
    )


def server_final(first: ClientFirst, question: bytes, final: ClientFinal, keys: ScramKeys) -> bytes:
    """The server's proof that it, too, knows the user."""
    message = first.bare + b"," + question + b"," + final.without_proof
    return b"v=" + base64.b64encode(_hmac(keys.server_key, message))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


class ScramClient:
    """The client's end of one exchange: :meth:`first`, then :meth:`final`, then :meth:`check`."""

    def __init__(self, username: str, password: str, nonce: bytes, channel_binding: bytes | None = None) -> None:
        """
        Args:
            username: as the server knows it.
            password: of that user.
            nonce: printable, without a comma, and never the same.
            channel_binding: of the TLS connection; with it the method is ``SCRAM-SHA-256-PLUS``.

        Raises:
            ScramError: the name has characters that none may have.
        """
        escaped = prepare(username).replace("=", "=3D").replace(",", "=2C").encode("utf-8")
        self.method = METHOD if channel_binding is None else METHOD_PLUS
        self._header = b"n,," if channel_binding is None else b"p=" + BINDING.encode() + b",,"
        self._binding = channel_binding or b""
        self._password = password
        self._nonce = nonce
        self._bare = b"n=" + escaped + b",r=" + nonce
        self._signature = b""

    def first(self) -> bytes:
        """The first message."""
        return self._header + self._bare

    def final(self, question: bytes) -> bytes:
        """The answer to the server's question; takes tens of milliseconds.

        Raises:
            ScramError: it is none, or one that a server has no reason to ask.
        """
        salt, iterations, nonce = self._read(question)
        client_key, server_key = _client_key(self._password, salt, iterations)
        bound = base64.b64encode(self._header + self._binding)
        without_proof = b"c=" + bound + b",r=" + nonce
        message = self._bare + b"," + question + b"," + without_proof
        proof = _xor(client_key, _hmac(hashlib.sha256(client_key).digest(), message))
        self._signature = _hmac(server_key, message)
        return without_proof + b",p=" + base64.b64encode(proof)

    def _read(self, question: bytes) -> tuple[bytes, int, bytes]:
        fields = question.split(b",")
        if (
            len(question) > MAXIMUM_MESSAGE
            or len(fields) < 3
            or [each[:2] for each in fields[:3]]
            != [
                b"r=",
                b"s=",
                b"i=",
            ]
        ):
            raise ScramError("the server's question is none")
        nonce, salt, count = fields[0][2:], _decoded(fields[1][2:]), fields[2][2:]
        if not nonce.startswith(self._nonce) or nonce == self._nonce or len(nonce) > 2 * MAXIMUM_NONCE:
            raise ScramError("the server's question is not about this exchange")
        if not salt or not count.isdigit() or len(count) > 9:
            raise ScramError("the server's question has no salt, or no count")
        iterations = int(count)
        if not MINIMUM_ITERATIONS <= iterations <= MAXIMUM_ITERATIONS:
            raise ScramError(f"the server asks for {iterations} iterations, and not {MINIMUM_ITERATIONS} or more")
        return salt, iterations, nonce

    def check(self, answer: bytes | None) -> None:
        """Believe the server, or not.

        Raises:
            ScramError: it has not proved that it knows the user.
        """
        if not self._signature or not hmac.compare_digest(answer or b"", b"v=" + base64.b64encode(self._signature)):
            raise ScramError("the server has not proved that it knows the password")
