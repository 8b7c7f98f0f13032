# -*- test-case-name: tests.lab.tls.test_messages -*-
"""ClientHello, ServerHello and HelloRetryRequest (RFC 5246 section 7.4.1, RFC 8446 section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mqttsecure.lab.model import Field, Json
from mqttsecure.lab.tls.cursor import Cursor
from mqttsecure.lab.tls.extensions import find, read_extensions
from mqttsecure.lab.tls.names import group_name, is_grease, version_name
from mqttsecure.lab.tls.suites import SIGNALS, suite_name

__all__ = [
    "RETRY_RANDOM",
    "ClientHello",
    "ServerHello",
    "downgrade_sentinel",
    "hello_value",
    "read_client_hello",
    "read_server_hello",
]

RETRY_RANDOM: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that is a HelloRetryRequest: SHA-256 of that word (RFC 8446, section 4.1.3)."""

_SENTINELS: Final = {b"DOWNGRD\x01": "TLS 1.2", b"DOWNGRD\x00": "TLS 1.1 or below"}

_COMPRESSION: Final = {0: "null", 1: "DEFLATE", 64: "LZS"}

_MAX_SUITES: Final = 512
"""Suites that are told one by one; there are some 360 with a name, and a message has room for 32,767."""

_NO_DATE = "32 random bytes; some programs show the first four as a date, which they have not been for many years"


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What of a ClientHello is needed to follow the handshake."""

    legacy_version: int
    random: bytes
    session_id: bytes
    suites: tuple[int, ...]
    extensions: tuple[Field, ...]
    fields: tuple[Field, ...]

    @property
    def server_name(self) -> str | None:
        found = find(self.extensions, 0)
        return found.value if found is not None and isinstance(found.value, str) else None

    @property
    def versions(self) -> list[int]:
        """The versions in supported_versions; empty where it has none."""
        found = find(self.extensions, 43)
        return _numbers(found.value if found else None)

    @property
    def key_share_groups(self) -> list[int]:
        found = find(self.extensions, 51)
        shares = found.value if found is not None and isinstance(found.value, list) else []
        return [int(str(each["group"])) for each in shares if isinstance(each, dict)]


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What of a ServerHello is needed to follow the handshake."""

    legacy_version: int
    random: bytes
    session_id: bytes
    suite: int
    compression: int
    extensions: tuple[Field, ...]
    fields: tuple[Field, ...]

    @property
    def retry(self) -> bool:
        return self.random == RETRY_RANDOM

    @staticmethod
    def is_retry(raw: bytes) -> bool:
        """Whether this message, header included, is a HelloRetryRequest."""
        return raw[6:38] == RETRY_RANDOM

    @property
    def selected_version(self) -> int | None:
        found = find(self.extensions, 43)
        return found.value if found is not None and isinstance(found.value, int) else None

    @property
    def version(self) -> int:
        """The version that applies."""
        return self.selected_version or self.legacy_version

    @property
    def key_share_group(self) -> int | None:
        found = find(self.extensions, 51)
        value = found.value if found is not None else None
        if isinstance(value, dict):
            value = value["group"]
        return value if isinstance(value, int) else None

    @property
    def chosen_key(self) -> int | None:
        """The number of the pre-shared key that the server takes."""
        found = find(self.extensions, 41)
        return found.value if found is not None and isinstance(found.value, int) else None


def _numbers(value: Json) -> list[int]:
    return [each for each in value if isinstance(each, int)] if isinstance(value, list) else []


def downgrade_sentinel(random: bytes) -> str | None:
    """What the end of a server's random says about the version (RFC 8446, section 4.1.3).

    A server that speaks TLS 1.3 and agrees to less says so here, under its signature: a client that speaks 1.3 too
    knows then that somebody changed its offer.
    """
    return _SENTINELS.get(random[-8:])


def _version(cursor: Cursor, meaning: str) -> Field:
    start = cursor.position
    version = cursor.number(2, "legacy_version")
    return cursor.field("legacy_version", start, version, f"{version_name(version)} (0x{version:04x})", meaning)


def _random(cursor: Cursor, retry: bool = False) -> Field:
    start = cursor.position
    value = cursor.take(32, "the random")
    sentinel = downgrade_sentinel(value)
    if value == RETRY_RANDOM and retry:
        meaning = "not random but a fixed value: this is a HelloRetryRequest"
    elif sentinel:
        meaning = f"{_NO_DATE}; the last eight say DOWNGRD: this server speaks TLS 1.3 and agreed to {sentinel}"
    else:
        meaning = _NO_DATE
    return cursor.field("random", start, value.hex(), value.hex(), meaning)


def _session_id(cursor: Cursor, meaning: str) -> tuple[Field, bytes]:
    start = cursor.position
    value = cursor.vector(1, "the session id")
    if not value:
        meaning = "no session of before is meant"
    return cursor.field("session_id", start, value.hex(), value.hex() or "empty", meaning), value


def _extensions(cursor: Cursor, message: str) -> tuple[Field, tuple[Field, ...]]:
    start = cursor.position
    found = read_extensions(cursor, message)
    names = ", ".join(each.name for each in found) or "none"
    numbers: list[Json] = [each.fields[0].value for each in found]
    return cursor.field("extensions", start, numbers, names, fields=found), found


def read_client_hello(data: bytes) -> ClientHello:
    """Read the body of a ClientHello, which begins behind the four bytes of its header.

    Raises:
        Malformed: it is none.
    """
    cursor = Cursor(data, 4)
    version = _version(cursor, "frozen at TLS 1.2 since TLS 1.3; the true offer stands in supported_versions")
    random = _random(cursor)
    session_field, session_id = _session_id(
        cursor, "names an earlier session to resume, or is random to please old boxes"
    )
    start = cursor.position
    suites = cursor.numbers(2, 2, "the cipher suites")
    suites_field = _suites_field(cursor, start, suites)
    start = cursor.position
    methods = list(cursor.vector(1, "the compression methods"))
    text = ", ".join(_COMPRESSION.get(each, str(each)) for each in methods)
    compression = cursor.field(
        "compression_methods",
        start,
        list(methods),
        text,
        "only null: compression lets an attacker guess secrets (CRIME)",
    )
    extensions_field, extensions = _extensions(cursor, "client_hello")
    cursor.finish("ClientHello")
    return ClientHello(
        int(str(version.value)),
        data[6:38],
        session_id,
        tuple(suites),
        extensions,
        (version, random, session_field, suites_field, compression, extensions_field),
    )


def _suites_field(cursor: Cursor, start: int, suites: list[int]) -> Field:
    shown = suites[:_MAX_SUITES]
    fields = tuple(
        Field(
            "cipher_suite", each, f"{suite_name(each)} (0x{each:04x})", _suite_meaning(each), (), start + 2 + at * 2, 2
        )
        for at, each in enumerate(shown)
    )
    names = ", ".join(suite_name(each) for each in shown) or "none"
    if len(suites) > _MAX_SUITES:
        names += f" and {len(suites) - _MAX_SUITES} more"
    return cursor.field(
        "cipher_suites", start, list(suites), names, "the suites that the client takes, best first", fields
    )


def _suite_meaning(number: int) -> str:
    if is_grease(number):
        return "a made-up number that servers have to ignore"
    return SIGNALS.get(number, "")


def read_server_hello(data: bytes) -> ServerHello:
    """Read the body of a ServerHello or HelloRetryRequest, header included.

    Raises:
        Malformed: it is none.
    """
    cursor = Cursor(data, 4)
    version = _version(cursor, "the version that applies, unless supported_versions says otherwise")
    random = _random(cursor, retry=True)
    retry = data[6:38] == RETRY_RANDOM
    session_field, session_id = _session_id(
        cursor, "the same as the client's: its session is resumed (TLS 1.2), or an echo without meaning (TLS 1.3)"
    )
    start = cursor.position
    suite = cursor.number(2, "the cipher suite")
    suite_field = cursor.field(
        "cipher_suite",
        start,
        suite,
        f"{suite_name(suite)} (0x{suite:04x})",
        "the server's choice from the client's list",
    )
    start = cursor.position
    method = cursor.number(1, "the compression method")
    compression = cursor.field(
        "compression_method", start, method, _COMPRESSION.get(method, str(method)), _compression_meaning(method)
    )
    extensions_field, extensions = _extensions(cursor, "hello_retry_request" if retry else "server_hello")
    cursor.finish("ServerHello")
    return ServerHello(
        int(str(version.value)),
        data[6:38],
        session_id,
        suite,
        method,
        extensions,
        (version, random, session_field, suite_field, compression, extensions_field),
    )


def _compression_meaning(method: int) -> str:
    if method:
        return "compressed before encryption: lengths leak what is inside (CRIME); no server should agree to it"
    return "nothing is compressed, since the lengths of compressed secrets give them away (CRIME)"


def hello_value(hello: ClientHello | ServerHello) -> str:
    """A hello in one line."""
    if isinstance(hello, ClientHello):
        versions = [version_name(each) for each in hello.versions if not is_grease(each)]
        offered = " or ".join(versions) or version_name(hello.legacy_version)
        name = f" for {hello.server_name}" if hello.server_name else ""
        return f"offers {offered}, {len(hello.suites)} cipher suites{name}"
    if hello.retry:
        group = hello.key_share_group
        wanted = f" with a key for {group_name(group)}" if group is not None else ""
        return f"asks for another ClientHello{wanted}"
    return f"chooses {version_name(hello.version)}, {suite_name(hello.suite)}"
