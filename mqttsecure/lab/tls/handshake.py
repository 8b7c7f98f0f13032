# -*- test-case-name: tests.lab.tls.test_session -*-
"""Handshake messages one after another: what each says, what follows from it, and what can be checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mqttsecure.lab.model import Check, Field, Message, Outcome, Sender, TlsFacts
from mqttsecure.lab.tls import messages as bodies
from mqttsecure.lab.tls.agreed import note_choice, note_resumption
from mqttsecure.lab.tls.assembly import Origin
from mqttsecure.lab.tls.certificates import read_facts
from mqttsecure.lab.tls.cursor import Malformed
from mqttsecure.lab.tls.extensions import EARLY_DATA, find
from mqttsecure.lab.tls.ffdhe import named_prime
from mqttsecure.lab.tls.hello import ServerHello, hello_value, read_client_hello, read_server_hello
from mqttsecure.lab.tls.keylog import KeyLog
from mqttsecure.lab.tls.names import HANDSHAKE_TYPES, SCHEMES, group_name, is_grease, scheme_name, version_name
from mqttsecure.lab.tls.protection import keys_of
from mqttsecure.lab.tls.records import RawRecord
from mqttsecure.lab.tls.schedule import transcript_hash
from mqttsecure.lab.tls.secrets import Secrets
from mqttsecure.lab.tls.signatures import check_signature, verify_content
from mqttsecure.lab.tls.state import TLS_1_2, Handshake, Side
from mqttsecure.lab.tls.suites import describe_suite
from mqttsecure.lab.tls.told import tls_message

__all__ = ["HandshakeReader"]

_MESSAGE_HASH: Final = 254
_MAX_TRANSCRIPT: Final = 2 << 20
"""Bytes of all messages of one handshake, which are hashed for each signature and Finished; it has some kilobytes."""
_OUTSIDE_TRANSCRIPT: Final = (0, 24)
"""HelloRequest and KeyUpdate are in no transcript."""

_Result = tuple[str, tuple[Field, ...], list[Check]]
"""Value, fields and checks of a message."""


class HandshakeReader:
    """Reads handshake messages in order and keeps what is known of the connection."""

    def __init__(self, sides: dict[Sender, Side], facts: TlsFacts, key_log: KeyLog) -> None:
        self._sides = sides
        self._facts = facts
        self._secrets = Secrets(key_log, facts, sides)
        self._state = Handshake()
        self._expected_suite: int | None = None
        self._readers: dict[str, Callable[[Side, bytes], _Result]] = {
            "client_hello": self._client_hello,
            "server_hello": self._server_hello,
            "encrypted_extensions": self._encrypted_extensions,
            "certificate": self._certificate,
            "server_key_exchange": self._server_key_exchange,
            "certificate_request": self._certificate_request,
            "certificate_verify": self._certificate_verify,
            "client_key_exchange": self._client_key_exchange,
            "new_session_ticket": self._new_session_ticket,
            "certificate_status": lambda side, raw: ("an OCSP answer", bodies.read_certificate_status(raw), []),
            "server_hello_done": self._server_hello_done,
            "hello_request": lambda side, raw: ("the client shall begin a new handshake", (), []),
            "finished": self._finished,
            "key_update": self._key_update,
            "end_of_early_data": self._end_of_early_data,
        }

    def expect(self, records: list[RawRecord]) -> None:
        """Look ahead for the suite: early data comes before the ServerHello that tells it."""
        for record in records:
            if record.sender == "server" and record.content_type == 22 and record.body[:1] == b"\x02":
                try:
                    size = int.from_bytes(record.body[1:4], "big") + 4
                    self._expected_suite = read_server_hello(record.body[:size]).suite
                except Malformed:
                    pass
                return

    def is_1_3(self, side: Side) -> bool:
        """Whether this side's records are TLS 1.3's by now; early data is before it is agreed."""
        if self._state.server_hello is not None:
            return self._state.is_1_3
        return side.sender == "client" and self._facts.early_data != "no"

    def closed(self, side: Side, raw: RawRecord) -> None:
        """A record could not be opened: what it may have held is missing from here on."""
        if not self._state.done and (self._state.is_1_3 or raw.content_type == 22):
            self._state.whole = False

    def lost(self) -> None:
        """Bytes are missing from the capture: the transcript cannot be whole."""
        if not self._state.done:
            self._state.whole = False

    def closed_finished(self, side: Side) -> None:
        """A Finished of TLS 1.2 went by, unread."""
        self._done(side)

    def finish(self, messages: list[Message]) -> None:
        """Called when the connection is over."""
        self._secrets.judge()
        facts = self._facts
        facts.handshake_complete = facts.handshake_complete or self._seems_complete(messages)
        unread = not any(message.kind == "encrypted_extensions" for message in messages)
        if self._state.is_1_3 and unread and not facts.resumed and facts.client_authentication == "none":
            facts.client_authentication = "unknown"

    def _seems_complete(self, messages: list[Message]) -> bool:
        """Without keys, TLS 1.3 shows only that the client went on after the server's flight, by more than an alert."""
        if not self._state.is_1_3 or self._facts.key_log.records_decrypted:
            return False
        closed = [each for each in messages if each.kind == "encrypted_record"]
        server = any(each.sender == "server" for each in closed)
        return server and any(each.sender == "client" and each.length > 40 for each in closed)

    def change_cipher_spec(self, side: Side) -> str:
        """Keys change here (TLS 1.2), or nothing does (TLS 1.3)."""
        if self.is_1_3(side):
            return "says nothing in TLS 1.3; it is there so that old boxes on the way take this for TLS 1.2"
        state = self._state
        if side.sender == "server" and state.server_hello is not None and state.whole and not state.hello_done:
            note_resumption(self._facts, state)  # no ServerHelloDone: the server went straight on to Finished
        side.changed_cipher, side.encrypted, side.finished = True, True, False
        self._secrets.start_1_2(self._state, side)
        return f"from here on the {side.sender} encrypts"

    def read(self, side: Side, raw: bytes, origin: Origin, encrypted: bool) -> Message:
        """One message, header included."""
        kind, name = HANDSHAKE_TYPES.get(raw[0], ("unknown_handshake", f"handshake type {raw[0]}"))
        if kind == "client_hello" and self._state.done and not self._state.is_1_3:
            self._state = Handshake(renegotiation=True)
        if kind == "server_hello" and len(raw) >= 38 and ServerHello.is_retry(raw):
            kind, name = "hello_retry_request", "HelloRetryRequest"
        reader = self._readers.get("server_hello" if kind == "hello_retry_request" else kind)
        try:
            value, fields, checks = reader(side, raw) if reader is not None else (f"{len(raw) - 4} bytes", (), [])
        except Malformed as error:
            value, checks = f"malformed: {error}", []
            fields = (Field("fault", str(error), f"malformed: {error}"),)
        self._append(raw, kind)
        return tls_message(side.sender, kind, name, raw, origin, value, fields, encrypted=encrypted, checks=checks)

    def _append(self, raw: bytes, kind: str) -> None:
        """Add a message to the transcript, where it belongs there."""
        state = self._state
        if len(state.transcript) + len(raw) > _MAX_TRANSCRIPT:
            state.whole = False
            return
        if raw[0] in _OUTSIDE_TRANSCRIPT or (state.is_1_3 and kind == "new_session_ticket"):
            return
        if state.is_1_3 and state.done and state.post_handshake is not None:
            state.post_handshake += raw
            return
        if kind == "hello_retry_request" and state.keys is not None:
            # The first ClientHello counts by its hash alone (RFC 8446, section 4.4.1).
            digest = transcript_hash(bytes(state.transcript), state.keys.hash)
            state.transcript[:] = bytes((_MESSAGE_HASH, 0, 0, len(digest))) + digest
        state.transcript += raw
        if kind == "client_key_exchange":
            state.session_hash_end = len(state.transcript)

    def _client_hello(self, side: Side, raw: bytes) -> _Result:
        hello = read_client_hello(raw)
        facts, state = self._facts, self._state
        state.client_hello = hello
        if not state.renegotiation:
            facts.sni = hello.server_name
            facts.client_random = hello.random.hex()
            offered = [each for each in hello.versions if not is_grease(each)] or [hello.legacy_version]
            facts.offered_versions = [version_name(each) for each in offered]
        if find(hello.extensions, EARLY_DATA) is not None:
            facts.early_data = "sent"
            if self._expected_suite is not None:
                self._secrets.start_early(hello.random, keys_of(describe_suite(self._expected_suite)), side)
        elif facts.early_data == "sent":
            facts.early_data = "rejected"  # the second ClientHello, after a retry, has it no more
        return hello_value(hello), hello.fields, []

    def _server_hello(self, side: Side, raw: bytes) -> _Result:
        hello = read_server_hello(raw)
        facts, state = self._facts, self._state
        state.server_hello = hello
        state.suite = describe_suite(hello.suite)
        state.keys = keys_of(state.suite)
        if hello.retry:
            facts.hello_retry_request = True
            facts.version = version_name(hello.version)
            return hello_value(hello), hello.fields, []
        if not state.renegotiation:
            note_choice(facts, state, hello)
        if state.is_1_3:
            self._secrets.start_1_3(state)
        return hello_value(hello), hello.fields, []

    def _encrypted_extensions(self, side: Side, raw: bytes) -> _Result:
        fields = bodies.read_encrypted_extensions(raw)
        extensions = fields[0].fields
        alpn = find(extensions, 16)
        if alpn is not None:
            self._facts.alpn = alpn.text
        if self._facts.early_data == "sent":
            self._facts.early_data = "accepted" if find(extensions, EARLY_DATA) is not None else "rejected"
        return (fields[0].text if extensions else "nothing"), fields, []

    def _certificate(self, side: Side, raw: bytes) -> _Result:
        state, facts = self._state, self._facts
        certificates, fields = bodies.read_certificate(raw, state.version or TLS_1_2)
        side.certificates = certificates
        found = [read_facts(der) for der in certificates]
        if side.sender == "server":
            if not facts.server_certificates:
                facts.server_certificates = found
        else:
            facts.client_authentication = "certificate" if found else "asked, empty"
            facts.client_certificates = found or facts.client_certificates
        if not found:
            return "EMPTY: no certificate at all", fields, []
        value = found[0].subject + (f" and {len(found) - 1} above it" if len(found) > 1 else "")
        return value, fields, []

    def _server_key_exchange(self, side: Side, raw: bytes) -> _Result:
        state = self._state
        if state.suite is None:
            return "of an unknown suite", (), []
        exchange = bodies.read_server_key_exchange(
            raw, state.suite.key_exchange, state.suite.authentication, state.version or TLS_1_2
        )
        state.exchange = exchange
        if exchange.group is not None:
            value = f"ECDHE key for {group_name(exchange.group)}"
            self._facts.group = self._facts.group or group_name(exchange.group)
        elif exchange.kind == "DHE":
            name = named_prime(exchange.prime)
            self._facts.group = self._facts.group or name
            value = f"DHE key modulo {len(exchange.prime) * 8} bits" + (f" ({name})" if name else "")
        else:
            value = f"{len(raw) - 4} bytes"
        checks = []
        if exchange.signature is not None:
            if exchange.signature.scheme is not None:
                value += f", signed by {scheme_name(exchange.signature.scheme)}"
            checks.append(self._check_exchange(side, exchange))
        return value, exchange.fields, checks

    def _check_exchange(self, side: Side, exchange: bodies.KeyExchange) -> Check:
        client, server = self._state.client_hello, self._state.server_hello
        key = "server_key_exchange_signature"
        if client is None or server is None or exchange.signature is None:
            return Check(key, Outcome.UNKNOWN, "the hellos are not in the capture, so the signature cannot be checked")
        content = client.random + server.random + exchange.parameters
        der = side.certificates[0] if side.certificates else None
        return check_signature(key, der, exchange.signature, content, "both randoms and the one-time key")

    def _certificate_request(self, side: Side, raw: bytes) -> _Result:
        fields = bodies.read_certificate_request(raw, self._state.version or TLS_1_2)
        self._facts.client_certificate_requested = True
        if self._facts.client_authentication == "none":
            self._facts.client_authentication = "asked"
        if self._state.is_1_3 and self._state.done:
            self._state.post_handshake = bytearray(self._state.transcript)
        return "the client shall show a certificate", fields, []

    def _certificate_verify(self, side: Side, raw: bytes) -> _Result:
        state = self._state
        signature, fields = bodies.read_certificate_verify(raw, state.version or TLS_1_2)
        name = SCHEMES.get(signature.scheme or 0, "an unknown scheme")
        key = f"{side.sender}_certificate_verify_signature"
        transcript = bytes(state.transcript if state.post_handshake is None else state.post_handshake)
        if not state.whole or (state.is_1_3 and state.keys is None):
            check = Check(key, Outcome.UNKNOWN, "messages before it are missing, so the signature cannot be checked")
        else:
            content = transcript
            if state.is_1_3 and state.keys is not None:
                content = verify_content(transcript_hash(transcript, state.keys.hash), side.sender == "client")
            der = side.certificates[0] if side.certificates else None
            check = check_signature(key, der, signature, content, "all messages before this one")
        return f"signed by {name}", fields, [check]

    def _server_hello_done(self, side: Side, raw: bytes) -> _Result:
        self._state.hello_done = True
        return "nothing more for now: the client's turn", (), []

    def _client_key_exchange(self, side: Side, raw: bytes) -> _Result:
        state = self._state
        if state.suite is None:
            return "of an unknown suite", (), []
        exchange = state.suite.key_exchange
        kind, secret, fields = bodies.read_client_key_exchange(raw, exchange, state.suite.authentication)
        if exchange == "RSA":
            state.encrypted_premaster = secret
        return f"{kind}, {len(secret)} bytes", fields, []

    def _new_session_ticket(self, side: Side, raw: bytes) -> _Result:
        fields = bodies.read_new_session_ticket(raw, self._state.version or TLS_1_2)
        lifetime = next((each.text for each in fields if each.name == "lifetime"), "")
        ticket = next((each.value for each in fields if each.name == "ticket"), None)
        self._secrets.remember(self._state, bytes.fromhex(ticket) if isinstance(ticket, str) else b"")
        return f"valid for {lifetime}", fields, []

    def _finished(self, side: Side, raw: bytes) -> _Result:
        state = self._state
        field = Field(
            "verify_data", raw[4:].hex(), raw[4:].hex(), "a MAC over all messages before", (), 4, len(raw) - 4
        )
        transcript = bytes(state.transcript if state.post_handshake is None else state.post_handshake)
        check = self._secrets.check_finished(state, side, transcript, raw[4:])
        if state.is_1_3 and not state.done:
            side.advance("application")
        self._secrets.remember(state, b"")
        self._done(side)
        state.post_handshake = None
        return (
            f"{len(raw) - 4} bytes that only both ends can compute",
            (field,),
            [check, *self._secrets.take_premaster_check()],
        )

    def _done(self, side: Side) -> None:
        state = self._state
        side.finished = True
        if side.sender == "client":
            state.client_done = True
        else:
            state.server_done = True
        if state.done:
            self._facts.handshake_complete = True

    def _key_update(self, side: Side, raw: bytes) -> _Result:
        fields = bodies.read_key_update(raw)
        self._secrets.update(self._state, side)
        return fields[0].meaning, fields, []

    def _end_of_early_data(self, side: Side, raw: bytes) -> _Result:
        side.advance("handshake")
        return "the data that came early ends here", (), []
