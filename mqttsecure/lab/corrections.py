# -*- test-case-name: tests.lab.test_explain -*-
"""What the old lab text says, and what the wire says: its mistakes put right, with what this capture shows of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mqttsecure.lab.model import Connection, Corrected, Outcome, TlsFacts

__all__ = ["corrections_of"]

_Here = Callable[[Connection, TlsFacts], str]


def _is_1_3(facts: TlsFacts) -> bool:
    return (facts.version or "").startswith("TLS 1.3")


def _version_here(connection: Connection, facts: TlsFacts) -> str:
    alerts = [each for each in connection.of_kind("alert") if each.field("description") == 70]
    if alerts:
        offered = ", ".join(facts.offered_versions)
        return f"offered {offered}, refused by the alert protocol_version in frame {alerts[0].frame}"
    if facts.version is None or facts.legacy_version is None:
        return ""
    parts = [
        f"version in the first record 0x{facts.record_version or 0:04x}",
        f"legacy_version 0x{facts.legacy_version:04x}",
    ]
    if facts.selected_version is not None:
        parts.append(f"supported_versions 0x{facts.selected_version:04x}")
    return f"{', '.join(parts)}: the version is {facts.version}"


def _finished_here(connection: Connection, facts: TlsFacts) -> str:
    found = [each for each in connection.of_kind("finished") if each.sender == "client"]
    if not found:
        return ""
    message = found[0]
    if not message.readable:
        return f"in frame {message.frame}, {message.length} bytes encrypted; with a key log it could be opened"
    data = message.field("verify_data")
    return f"frame {message.frame}, opened by the session key: verify_data {data}, no random and no public key in it"


def _confirmed_here(connection: Connection, facts: TlsFacts) -> str:
    for check in connection.checks:
        if check.key == "client_finished" and check.outcome is not Outcome.UNKNOWN:
            equal = "equal" if check.outcome is Outcome.OK else "NOT EQUAL"
            return f"computed {check.values.get('computed')}, on the wire {check.values.get('wire')}: {equal}"
    return "needs a key log" if connection.of_kind("finished") else ""


def _refusal_here(connection: Connection, facts: TlsFacts) -> str:
    bad = [each for each in connection.checks if each.key.startswith("certificate_") and each.outcome is Outcome.BAD]
    if not bad:
        return ""
    sent = any(each.layer == "mqtt" or each.kind == "application_data" for each in connection.messages)
    done = "the client went on all the same" if sent else "the client sent no byte of MQTT"
    return f"{bad[0].text}; {done}"


def _keys_here(connection: Connection, facts: TlsFacts) -> str:
    if not facts.server_certificates:
        return "the certificate is encrypted here, the one-time keys stand in the hellos" if _is_1_3(facts) else ""
    key = facts.server_certificates[0].key_text
    if _is_1_3(facts):
        return f"certificate: {key}; one-time key: {facts.group}, in ServerHello, signed by CertificateVerify"
    if facts.key_exchange == "RSA":
        return f"certificate: {key}; no one-time key at all: the secret is encrypted for the certificate's key"
    for message in connection.of_kind("server_key_exchange"):
        verdict = "was not checked"
        for check in message.checks:
            verdict = {Outcome.OK: "is right", Outcome.BAD: "is WRONG"}.get(check.outcome, verdict)
        one_time = message.value.partition(",")[0]
        return f"certificate: {key}; one-time key: {one_time}; the signature between them {verdict}"
    return ""


def _application_here(connection: Connection, facts: TlsFacts) -> str:
    names = dict.fromkeys(each.name for each in connection.messages if each.layer == "mqtt")
    if names:
        return f"{connection.mqtt_version or 'MQTT'}: {', '.join(names)}"
    closed = [each for each in connection.messages if each.kind == "application_data"]
    if closed:
        return f"{len(closed)} encrypted records of application data; without keys nobody can say what is in them"
    return ""


def _round_trips_here(connection: Connection, facts: TlsFacts) -> str:
    return connection.round_trips.text if connection.round_trips is not None else ""


_CORRECTIONS: Final[tuple[tuple[str, str, str, _Here], ...]] = (
    (
        "C2a",
        "ServerHello fixes the version as TLS 1.2, unlike the TLS 1.1 of ClientHello; where they differ the server "
        "closes.",
        "Three numbers look like the version. That in the header of the first record (0x0301) is there for old "
        "servers and is no offer; legacy_version says TLS 1.2 even in TLS 1.3; what counts is supported_versions, "
        "where there is one. A server that takes nothing of the offer sends the alert protocol_version and no "
        "ServerHello.",
        _version_here,
    ),
    (
        "C4c",
        "The encrypted handshake message holds a random number, encrypted with the server's public key.",
        "It is Finished: a MAC over the handshake, under the session key that both ends have by now. No random is in "
        "it, and no public key encrypts it. (Only ClientKeyExchange of the old RSA key exchange holds something "
        "encrypted for the public key.)",
        _finished_here,
    ),
    (
        "C4d",
        "The client's Finished may be a hash of all earlier messages (not confirmed).",
        'Confirmed: TLS 1.2 computes PRF(master secret, "client finished", hash of all handshake messages), TLS 1.3 an '
        "HMAC over "
        "that hash. Computed anew it is equal to what was decrypted.",
        _confirmed_here,
    ),
    (
        "C5",
        "For a certificate that is untrusted, expired or for another name a warning is shown, and the user chooses.",
        "That is a browser. A device has no user: it has to refuse, and to say why. Whoever lets it go on has no "
        "protection against anybody in the middle.",
        _refusal_here,
    ),
    (
        "C6a",
        "The server's public key is the pubkey in ServerKeyExchange.",
        "There are two. The certificate's key lasts for months and signs; the key in ServerKeyExchange is made for "
        "one connection, serves the key exchange, and is signed by the first. In TLS 1.3 it stands in ServerHello.",
        _keys_here,
    ),
    (
        "C7",
        "Then comes ordinary HTTP, encrypted with the session key.",
        "It is MQTT here. TLS does not know what it carries.",
        _application_here,
    ),
    (
        "E4",
        "TLS costs two more round trips.",
        "Two in a full handshake of TLS 1.2; one when a session is resumed; one in TLS 1.3; two there after a "
        "HelloRetryRequest; none with early data.",
        _round_trips_here,
    ),
)


def corrections_of(connection: Connection) -> list[Corrected]:
    """All corrections, with what this connection shows of them; none for a connection without TLS."""
    facts = connection.tls
    if facts is None:
        return []
    return [Corrected(row, said, wire, here(connection, facts)) for row, said, wire, here in _CORRECTIONS]
