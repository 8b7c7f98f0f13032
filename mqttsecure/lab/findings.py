# -*- test-case-name: tests.lab.test_explain -*-
"""What a person should look at in a connection: broken, weak and odd things, each with the message that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from mqttsecure.lab.flights import is_application
from mqttsecure.lab.model import Check, Connection, Finding, Json, Message, Outcome, TlsFacts

__all__ = ["find_all"]

_OLD: Final = {
    "SSL 2.0": "broken since 1995",
    "SSL 3.0": "broken by POODLE (RFC 7568)",
    "TLS 1.0": "forbidden since 2021 (RFC 8996)",
    "TLS 1.1": "forbidden since 2021 (RFC 8996)",
}
_FAILURE: Final = 0x80
"""Reason Codes from here on are refusals (MQTT 5.0, section 2.4)."""
_SMALL_PRIME: Final = 256
"""Bytes of a prime of 2048 bits."""


def find_all(connection: Connection, outcome: str) -> list[Finding]:
    """All findings, the worst first."""
    found = [*_of_everything(connection)]
    if connection.tls is not None:
        found += _of_tls(connection, connection.tls, outcome)
    order = {"red": 0, "amber": 1, "info": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def _of_everything(connection: Connection) -> Iterator[Finding]:
    for message in connection.of_kind("connect"):
        clear = not message.encrypted or (connection.tls is not None and _is_null(connection.tls))
        if message.field("password") is not None and clear:
            text = "the password goes over the wire readable, to be used by whoever sees it"
            yield Finding("password_visible", "red", text, message.index)
    for message in connection.of_kind("malformed_mqtt"):
        yield Finding("malformed_mqtt", "amber", f"{message.name}: {message.value}", message.index)
    for message in connection.of_kind("connack"):
        if message.field("reason_code"):
            yield Finding("connect_refused", "amber", f"the broker refused the CONNECT: {message.value}", message.index)
    yield from _of_refusals(connection)
    for sender, frames in connection.tcp.conflicts.items():
        if frames:
            text = f"frame {frames[0]} repeats bytes of the {sender} with other contents: injected, or a broken sender"
            yield Finding("tcp_conflict", "red", text)


def _of_refusals(connection: Connection) -> Iterator[Finding]:
    """What the broker said no to."""
    for message in connection.messages:
        if message.layer != "mqtt" or message.sender != "server":
            continue
        code = message.field("reason_code")
        if message.kind == "disconnect" and isinstance(code, int) and code >= _FAILURE:
            yield Finding("broker_disconnect", "amber", f"the broker ended it: {message.value}", message.index)
        elif message.kind in ("puback", "pubrec") and isinstance(code, int) and code >= _FAILURE:
            yield Finding("publish_refused", "amber", f"the broker refused a PUBLISH: {message.value}", message.index)
        elif message.kind == "suback" and any(
            isinstance(each, int) and each >= _FAILURE for each in _codes(message.field("reason_codes"))
        ):
            yield Finding("subscribe_refused", "amber", f"the broker refused a filter: {message.value}", message.index)


def _codes(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _is_null(facts: TlsFacts) -> bool:
    return facts.suite is not None and facts.suite.cipher == "NULL"


def _of_tls(connection: Connection, facts: TlsFacts, outcome: str) -> Iterator[Finding]:
    yield from _of_checks(connection, facts)
    yield from _of_choice(connection, facts)
    yield from _of_version(connection, facts)
    yield from _of_messages(connection, facts, outcome)
    yield from _of_key_log(facts)


def _first(connection: Connection, kind: str, sender: str | None = None) -> Message | None:
    found = (each for each in connection.of_kind(kind) if sender is None or each.sender == sender)
    return next(found, None)


def _index(message: Message | None) -> int | None:
    return message.index if message is not None else None


def _of_checks(connection: Connection, facts: TlsFacts) -> Iterator[Finding]:
    for message in connection.messages:
        for check in message.checks:
            if check.outcome is Outcome.BAD:
                yield Finding(check.key, "red", check.text, message.index)
    bad: list[Check] = []
    for sender, chain in (("server", facts.server_certificates), ("client", facts.client_certificates)):
        message_index = _index(_first(connection, "certificate", sender))
        for at, certificate in enumerate(chain):
            for check in certificate.checks:
                if check.outcome is not Outcome.BAD:
                    continue
                whose = f"the {sender}'s certificate" if not at else f"{certificate.subject} above the {sender}'s"
                yield Finding(check.key, "red", f"{whose}: {check.text}", message_index)
                if sender == "server":
                    bad.append(check)
    data = next((each for each in connection.messages if is_application(each) and each.sender == "client"), None)
    if bad and data is not None:
        secret = any(each.field("password") is not None for each in connection.of_kind("connect"))
        what = "its PASSWORD" if secret else "its data"
        text = f"the client took a certificate that it should have refused, and sent {what} to whoever has its key"
        yield Finding("accepted_bad_certificate", "red", text, data.index)


def _of_choice(connection: Connection, facts: TlsFacts) -> Iterator[Finding]:
    hello = _index(_first(connection, "server_hello"))
    suite = facts.suite
    if suite is not None and suite.grade != "good":
        severity: Literal["red", "amber"] = "red" if suite.grade == "broken" else "amber"
        yield Finding("cipher_suite", severity, f"{suite.name} is {suite.grade}: {', '.join(suite.reasons)}", hello)
    if facts.psk_mode == "psk_ke":
        text = "resumed by the pre-shared key alone, without a fresh key exchange: no forward secrecy"
        yield Finding("psk_without_dhe", "amber", text, hello)
    message = _first(connection, "server_hello")
    if message is not None and message.field("compression_method") not in (None, 0):
        yield Finding("compression", "red", "compression is on: lengths give secrets away (CRIME)", hello)
    if facts.extended_master_secret is False and facts.version == "TLS 1.2":
        text = "no extended master secret: sessions can be made to share one (triple handshake, RFC 7627)"
        yield Finding("no_extended_master_secret", "amber", text, hello)
    if facts.secure_renegotiation is False and facts.version == "TLS 1.2":
        yield Finding(
            "no_secure_renegotiation", "amber", "the server does not know secure renegotiation (RFC 5746)", hello
        )
    for exchange in connection.of_kind("server_key_exchange"):
        prime = exchange.field("dh_p")
        if isinstance(prime, str) and len(prime) // 2 < _SMALL_PRIME:
            text = f"a prime of {len(prime) * 4} bits is too small for DHE (Logjam); 2048 at least"
            yield Finding("small_dh_prime", "red", text, exchange.index)


def _of_version(connection: Connection, facts: TlsFacts) -> Iterator[Finding]:
    hello = _index(_first(connection, "server_hello"))
    if facts.version in _OLD:
        yield Finding("old_version", "red", f"{facts.version} is {_OLD[facts.version]}", hello)
    if facts.downgrade_sentinel is not None:
        offered = any(each.startswith("TLS 1.3") for each in facts.offered_versions)
        if offered:
            text = "DOWNGRADED: both ends speak TLS 1.3, and the offer that reached the server had it no more"
            yield Finding("downgrade", "red", text, hello)
        else:
            text = f"the server speaks TLS 1.3; the client offered no more than {facts.downgrade_sentinel}"
            yield Finding("downgrade_sentinel", "info", text, hello)
    if facts.hello_retry_request:
        text = "the server asked for another ClientHello, which costs a round trip"
        yield Finding("hello_retry_request", "info", text, _index(_first(connection, "hello_retry_request")))
    if facts.early_data == "rejected":
        text = "the server threw away the data that came before the handshake was done; the client has to send it again"
        yield Finding("early_data_refused", "info", text, _index(_first(connection, "client_hello")))
    if facts.early_data in ("sent", "accepted"):
        text = "data went out before the handshake was done: an attacker can send it to the server once more"
        yield Finding("early_data", "amber", text, _index(_first(connection, "client_hello")))


def _of_messages(connection: Connection, facts: TlsFacts, outcome: str) -> Iterator[Finding]:
    hellos = connection.of_kind("client_hello")
    if len(hellos) > 1 and not facts.hello_retry_request:
        yield Finding("renegotiation", "amber", "a new handshake was begun within the connection", hellos[1].index)
    for message in connection.of_kind("alert"):
        if message.field("description") == 100:
            text = f"the {message.sender} refused to renegotiate"
            yield Finding("renegotiation_refused", "info", text, message.index)
    if facts.client_authentication == "asked, empty":
        message_index = _index(_first(connection, "certificate", "client"))
        yield Finding(
            "no_client_certificate", "amber", "the client was asked for a certificate and sent none", message_index
        )
    for message in connection.messages:
        if message.layer == "tls" and message.value.startswith("malformed"):
            yield Finding("malformed_message", "red", f"{message.name} is {message.value}", message.index)


def _of_key_log(facts: TlsFacts) -> Iterator[Finding]:
    if facts.key_log.state in ("absent", "wrong", "partial"):
        severity: Literal["amber", "info"] = "info" if facts.key_log.state == "partial" else "amber"
        yield Finding(f"key_log_{facts.key_log.state}", severity, facts.key_log.text)
