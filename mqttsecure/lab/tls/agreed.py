# -*- test-case-name: tests.lab.tls.test_session -*-
"""What was agreed, read off a ServerHello: version, suite, group, and whether an earlier session is resumed."""

from __future__ import annotations

from mqttsecure.lab.model import TlsFacts
from mqttsecure.lab.tls.extensions import find
from mqttsecure.lab.tls.hello import ServerHello, downgrade_sentinel
from mqttsecure.lab.tls.names import group_name, version_name
from mqttsecure.lab.tls.state import Handshake

__all__ = ["note_choice", "note_resumption"]

_ALPN = 16
_ENCRYPT_THEN_MAC = 22
_EXTENDED_MASTER_SECRET = 23
_SESSION_TICKET = 35
_RENEGOTIATION_INFO = 65281


def note_choice(facts: TlsFacts, state: Handshake, hello: ServerHello) -> None:
    """Note what the server chose."""
    facts.version = version_name(hello.version)
    facts.legacy_version = hello.legacy_version
    facts.selected_version = hello.selected_version
    facts.suite = state.suite
    facts.server_random = hello.random.hex()
    if state.is_1_3:
        _note_1_3(facts, hello)
    else:
        _note_1_2(facts, state, hello)


def _note_1_3(facts: TlsFacts, hello: ServerHello) -> None:
    group = hello.key_share_group
    facts.group = group_name(group) if group is not None else None
    facts.key_exchange = f"TLS 1.3 ({facts.group or 'PSK'})"
    if hello.chosen_key is not None:
        facts.resumed, facts.resumption = True, "psk"
        facts.psk_mode = "psk_dhe_ke" if group is not None else "psk_ke"


def _note_1_2(facts: TlsFacts, state: Handshake, hello: ServerHello) -> None:
    client = state.client_hello
    facts.key_exchange = state.suite.key_exchange if state.suite else None
    facts.downgrade_sentinel = downgrade_sentinel(hello.random)
    offered = client is not None and find(client.extensions, _EXTENDED_MASTER_SECRET) is not None
    facts.extended_master_secret = offered and find(hello.extensions, _EXTENDED_MASTER_SECRET) is not None
    facts.encrypt_then_mac = find(hello.extensions, _ENCRYPT_THEN_MAC) is not None
    facts.secure_renegotiation = find(hello.extensions, _RENEGOTIATION_INFO) is not None
    alpn = find(hello.extensions, _ALPN)
    facts.alpn = alpn.text if alpn is not None else None


def note_resumption(facts: TlsFacts, state: Handshake) -> None:
    """The server went on without a certificate: it resumes a session of TLS 1.2, by a ticket or by its session id."""
    state.resumed = True
    if state.renegotiation or facts.resumed:
        return
    facts.resumed = True
    ticket = find(state.client_hello.extensions, _SESSION_TICKET) if state.client_hello is not None else None
    facts.resumption = "ticket" if ticket is not None and ticket.value else "session id"
