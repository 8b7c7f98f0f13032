# -*- test-case-name: tests.lab.tls.test_extensions -*-
"""Extensions of TLS messages, each by name with its value and what it means.

One that is unknown, or whose content is malformed, is told as such; the rest of its message is read on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mqttsecure.lab.model import Field, Json
from mqttsecure.lab.tls.cursor import Cursor, Malformed
from mqttsecure.lab.tls.name_lists import distinguished_names
from mqttsecure.lab.tls.names import EXTENSIONS, group_name, is_grease, scheme_name, version_name

__all__ = ["EARLY_DATA", "extension_name", "find", "read_extensions"]

EARLY_DATA: Final = 42
_MAX_EXTENSIONS: Final = 256
"""Extensions of one message: browsers send twenty; each number may come once."""

_Parsed = tuple[Json, str, str]
"""Value, text, meaning."""

_MEANINGS: Final = {
    1: "asks for smaller records, for devices with little memory",
    4: "shortens the MAC of each record; unsafe, never use it",
    5: "asks the server to bring the proof that its certificate is not revoked (OCSP)",
    7: "authorization data of the client",
    12: "login by password within TLS (SRP)",
    14: "keys for media streams",
    15: "heartbeats; the extension of Heartbleed, rightly rare today",
    17: "asks for OCSP answers for the whole chain",
    18: "asks for, or brings, the proof that the certificate is in a public log",
    21: "zeros that make the message longer, for servers that stumble over some lengths",
    22: "CBC suites: encrypt first, then compute the MAC, which closes padding oracles (RFC 7366)",
    23: "binds the master secret to the whole handshake, so that no two sessions can share it (RFC 7627)",
    24: "binds tokens to this connection",
    27: "certificates may come compressed",
    28: "the largest record that the sender takes",
    34: "certificates may be delegated to short-lived keys",
    48: "which client certificates are wanted, by their extensions",
    49: "the client would also show a certificate later, when asked after the handshake",
    54: "names the connection by a number, for DTLS",
    57: "parameters of QUIC",
    13172: "the forerunner of ALPN",
    17513: "settings of the application protocol",
    17613: "settings of the application protocol",
    65037: "hides the true ClientHello, and so the name of the server (ECH)",
}


def extension_name(number: int) -> str:
    """The name of an extension, also of one that has none."""
    if number in EXTENSIONS:
        return EXTENSIONS[number]
    return f"GREASE (0x{number:04x})" if is_grease(number) else f"unknown ({number})"


def read_extensions(cursor: Cursor, message: str) -> tuple[Field, ...]:
    """The extensions of a message, from their common length on.

    Args:
        cursor: at the length; nothing is read where the message ends.
        message: its kind, since some extensions look different in each.

    Raises:
        Malformed: the list itself is damaged.
    """
    if not cursor.left:
        return ()
    inner = cursor.inside(2, "the extensions")
    found: list[Field] = []
    while inner.left:
        if len(found) >= _MAX_EXTENSIONS:
            raise Malformed(f"more than {_MAX_EXTENSIONS} extensions")
        start = inner.position
        number = inner.number(2, "the type of an extension")
        body = inner.inside(2, f"extension {extension_name(number)}")
        value, text, meaning = _read_one(number, body, message)
        found.append(
            Field(
                extension_name(number),
                value,
                text,
                meaning,
                (Field("type", number, str(number), start=start, length=2),),
                start,
                inner.position - start,
            )
        )
    return tuple(found)


def find(extensions: tuple[Field, ...], number: int) -> Field | None:
    """The extension of that number."""
    return next((each for each in extensions if each.fields[0].value == number), None)


def _read_one(number: int, body: Cursor, message: str) -> _Parsed:
    if is_grease(number):
        return (
            None,
            "nothing",
            "a made-up number: whoever does not know it has to ignore it, and this keeps them used to it",
        )
    content = body.data[body.position : body.end]
    reader = _READERS.get(number)
    if reader is None:
        meaning = _MEANINGS.get(number, "this reader does not know it")
        return content.hex(), f"{len(content)} bytes" if content else "present", meaning
    try:
        parsed = reader(body, message)
        body.finish("it")
    except Malformed as error:
        return content.hex(), f"malformed: {error}", "its content cannot be read"
    return parsed


def _list(names: list[str]) -> str:
    return ", ".join(names) if names else "none"


def _server_name(body: Cursor, message: str) -> _Parsed:
    if not body.left:
        return None, "acknowledged", "the server used the name to choose its certificate"
    names = []
    inner = body.inside(2, "the names")
    while inner.left:
        inner.number(1, "the type of a name")
        names.append(inner.vector(2, "a name").decode("ascii", "backslashreplace"))
    text = _list(names)
    return names[0] if names else None, text, "the server that the client wants, readable by everyone on the way"


def _supported_groups(body: Cursor, message: str) -> _Parsed:
    groups = body.numbers(2, 2, "the groups")
    return list(groups), _list([group_name(each) for each in groups]), "groups for the key exchange, the best first"


def _point_formats(body: Cursor, message: str) -> _Parsed:
    formats = list(body.vector(1, "the formats"))
    names = {0: "uncompressed", 1: "compressed (prime)", 2: "compressed (char2)"}
    return list(formats), _list([names.get(each, str(each)) for each in formats]), "how points on a curve are written"


def _schemes(body: Cursor, message: str) -> _Parsed:
    schemes = body.numbers(2, 2, "the signature schemes")
    meaning = "signatures that the sender can check, the best first"
    return list(schemes), _list([scheme_name(each) for each in schemes]), meaning


def _alpn(body: Cursor, message: str) -> _Parsed:
    protocols = []
    inner = body.inside(2, "the protocols")
    while inner.left:
        protocols.append(inner.vector(1, "a protocol").decode("ascii", "backslashreplace"))
    meaning = "what will be spoken inside"
    meaning += ", chosen by the server" if message != "client_hello" else ", as the client offers it"
    return list(protocols), _list(protocols), meaning


def _ticket(body: Cursor, message: str) -> _Parsed:
    ticket = body.take(body.left)
    if message != "client_hello":
        return None, "present", "the server will send a ticket with which this session can be resumed"
    if ticket:
        return (
            ticket.hex(),
            f"a ticket of {len(ticket)} bytes",
            "the client shows a ticket to resume an earlier session",
        )
    return "", "empty", "the client would take a ticket, to resume this session later"


def _supported_versions(body: Cursor, message: str) -> _Parsed:
    if message != "client_hello":
        version = body.number(2, "the version")
        return (
            version,
            f"{version_name(version)} (0x{version:04x})",
            "the version that really applies, whatever legacy_version says",
        )
    versions = body.numbers(1, 2, "the versions")
    text = _list([version_name(each) for each in versions])
    return list(versions), text, "the versions that the client really offers, whatever legacy_version says"


def _share(body: Cursor) -> tuple[dict[str, Json], str]:
    group = body.number(2, "the group")
    key = body.vector(2, "the public key")
    return {"group": group, "name": group_name(group), "key": key.hex()}, f"{group_name(group)} ({len(key)} bytes)"


def _key_share(body: Cursor, message: str) -> _Parsed:
    if message == "hello_retry_request":
        group = body.number(2, "the group")
        return group, group_name(group), "the group that the client shall send a key for"
    if message == "client_hello":
        inner = body.inside(2, "the key shares")
        shares = []
        while inner.left:
            shares.append(_share(inner))
        values: list[Json] = [value for value, _text in shares]
        return (
            values,
            _list([text for _value, text in shares]),
            "one-time public keys, sent on the guess that the server takes one",
        )
    value, text = _share(body)
    return value, text, "the server's one-time public key; with the client's it gives the shared secret"


def _psk_modes(body: Cursor, message: str) -> _Parsed:
    modes = list(body.vector(1, "the modes"))
    names = {0: "psk_ke (no forward secrecy)", 1: "psk_dhe_ke"}
    return list(modes), _list([names.get(each, str(each)) for each in modes]), "how a pre-shared key may be used"


def _pre_shared_key(body: Cursor, message: str) -> _Parsed:
    if message != "client_hello":
        chosen = body.number(2, "the chosen key")
        return chosen, f"number {chosen}", "the server resumes the session of this ticket; no certificate will be sent"
    identities: list[Json] = []
    inner = body.inside(2, "the identities")
    while inner.left:
        identity = inner.vector(2, "an identity")
        age = inner.number(4, "the age of a ticket")
        identities.append({"identity": identity.hex(), "obfuscated_ticket_age": age})
    binders: list[Json] = []
    inner = body.inside(2, "the binders")
    while inner.left:
        binders.append(inner.vector(1, "a binder").hex())
    text = f"{len(identities)} offered, each with a binder that proves the client has its key"
    return (
        {"identities": identities, "binders": binders},
        text,
        "tickets of earlier sessions, or keys that were agreed on beforehand",
    )


def _early_data(body: Cursor, message: str) -> _Parsed:
    if message == "new_session_ticket":
        size = body.number(4, "the size")
        return size, f"at most {size} bytes", "data may be sent in the very first flight of the resumed session"
    if message == "client_hello":
        return (
            None,
            "present",
            "data follows at once, before the server has answered; it can be replayed by an attacker",
        )
    return None, "present", "the server takes the early data"


def _cookie(body: Cursor, message: str) -> _Parsed:
    cookie = body.vector(2, "the cookie")
    return cookie.hex(), f"{len(cookie)} bytes", "the server's state, carried by the client over the retry"


def _renegotiation(body: Cursor, message: str) -> _Parsed:
    verify = body.vector(1, "the earlier Finished")
    if verify:
        return (
            verify.hex(),
            f"{len(verify)} bytes",
            "the Finished of the handshake before: binds the new one to it (RFC 5746)",
        )
    return "", "empty", "secure renegotiation is known; this is a first handshake (RFC 5746)"


def _authorities(body: Cursor, message: str) -> _Parsed:
    names = distinguished_names(body)
    values: list[Json] = list(names)
    return values, "; ".join(names) or "none", "certificates by these authorities are welcome"


def _max_fragment(body: Cursor, message: str) -> _Parsed:
    code = body.number(1, "the code")
    size = 1 << (code + 8) if 1 <= code <= 4 else None
    return code, f"{size} bytes" if size else f"unknown code {code}", _MEANINGS[1]


def _record_limit(body: Cursor, message: str) -> _Parsed:
    size = body.number(2, "the limit")
    return size, f"{size} bytes", _MEANINGS[28]


def _empty(meaning: str) -> Callable[[Cursor, str], _Parsed]:
    return lambda body, message: (None, "present", meaning)


_READERS: Final[dict[int, Callable[[Cursor, str], _Parsed]]] = {
    0: _server_name,
    1: _max_fragment,
    10: _supported_groups,
    11: _point_formats,
    13: _schemes,
    16: _alpn,
    22: _empty(_MEANINGS[22]),
    23: _empty(_MEANINGS[23]),
    28: _record_limit,
    35: _ticket,
    41: _pre_shared_key,
    42: _early_data,
    43: _supported_versions,
    44: _cookie,
    45: _psk_modes,
    47: _authorities,
    49: _empty(_MEANINGS[49]),
    50: _schemes,
    51: _key_share,
    65281: _renegotiation,
}
