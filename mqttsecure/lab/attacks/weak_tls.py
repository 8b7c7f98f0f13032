# -*- test-case-name: tests.lab.attacks.test_table -*-
"""What can be done to the way: listening in, old versions and suites, changed bytes. Rows A0, A27 to A30, E2."""

from __future__ import annotations

import socket
from typing import Final

from OpenSSL import SSL

from mqttsecure.lab.attacks.client import PATIENCE, is_readable, reset
from mqttsecure.lab.attacks.dialling import dial_tcp
from mqttsecure.lab.attacks.hello import alert_of, client_hello
from mqttsecure.lab.attacks.outcome import Outcome, Seen, resisted, succeeded
from mqttsecure.lab.attacks.target import Target
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect

__all__ = ["changed_bytes", "no_forward_secrecy", "old_versions", "plaintext", "renegotiation"]

_NO_TLS: Final = (Outcome.NOT_TRIED, "the target speaks no TLS there")
_PROTOCOL_VERSION: Final = 70

_WEAK: Final = ("AES128-SHA", "AES128-SHA256", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA")
"""RSA key exchange, or CBC: what lab texts still show."""


def plaintext(target: Target) -> Seen:
    """A0: a CONNECT with a password, without TLS; whoever listens in could read it."""
    sock = dial_tcp(target)
    try:
        # A CONNECT that is answered proves that passwords travel readable; a made-up password does to see that.
        connect = Connect(4, target.writer.name, username=target.writer.name, password=b"made-up")
        sock.sendall(bytes(encode_packet(connect, 4)))
        answer = _answer(sock)
    finally:
        reset(sock)
    if answer[:1] == b"\x20":
        return succeeded("the broker speaks MQTT without TLS there: a password on the wire is readable")
    return resisted("no MQTT without TLS: the connection is closed")


def _answer(sock: socket.socket) -> bytes:
    sock.settimeout(PATIENCE)
    try:
        return sock.recv(4096) if is_readable(sock, PATIENCE) else b""
    except OSError:
        return b""


def old_versions(target: Target) -> Seen:
    """A27: ClientHello messages of SSL 3.0, TLS 1.0 and TLS 1.1."""
    if not target.tls:
        return _NO_TLS
    seen = []
    for name, version in (("SSL 3.0", (3, 0)), ("TLS 1.0", (3, 1)), ("TLS 1.1", (3, 2))):
        sock = dial_tcp(target)
        try:
            sock.sendall(client_hello(version))
            answer = _answer(sock)
        finally:
            reset(sock)
        if answer[:1] == b"\x16":
            return succeeded(f"{name} was agreed to")
        alert = alert_of(answer)
        seen.append(
            f"{name}: "
            + ("protocol_version" if alert == _PROTOCOL_VERSION else f"alert {alert}" if alert else "closed")
        )
    return resisted("refused; " + ", ".join(seen))


def no_forward_secrecy(target: Target) -> Seen:
    """A28: suites without forward secrecy, or with CBC; then A29 reads a recording by a stolen key."""
    if not target.tls:
        return _NO_TLS
    taken = []
    for suite in _WEAK:
        try:
            agreed = _handshake(target, suite)
        except SSL.Error:
            continue
        if agreed:
            taken.append(agreed)
    if taken:
        return succeeded(f"agreed to {', '.join(taken)}")
    return resisted("all refused: a recording stays closed though the key be stolen later")


def _connection(target: Target, suites: str) -> tuple[SSL.Connection, socket.socket]:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(f"{suites}:@SECLEVEL=0".encode())
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    sock = dial_tcp(target)
    sock.settimeout(None)
    connection = SSL.Connection(context, sock)
    connection.set_tlsext_host_name(target.server_name.encode())
    connection.set_connect_state()
    return connection, sock


def _handshake(target: Target, suites: str) -> str | None:
    """The suite that was agreed to; None where none was."""
    connection, sock = _connection(target, suites)
    try:
        connection.do_handshake()
        return connection.get_cipher_name()
    except (SSL.Error, OSError):
        return None
    finally:
        reset(sock)


def renegotiation(target: Target) -> Seen:
    """A30: the client begins a second handshake within TLS 1.2."""
    if not target.tls:
        return _NO_TLS
    connection, sock = _connection(target, "ECDHE+AESGCM")
    try:
        connection.do_handshake()
        connection.renegotiate()
        sock.settimeout(PATIENCE)
        connection.do_handshake()
        done = connection.total_renegotiations() > 0 and not connection.renegotiate_pending()
    except (SSL.Error, OSError):
        done = False
    finally:
        reset(sock)
    return succeeded("it was done") if done else resisted("refused")


def changed_bytes(target: Target) -> Seen:
    """E2: a byte is changed on its way within TLS; does anything of it get through?"""
    if not target.tls:
        return _NO_TLS
    memory, sock = _memory_connection(target)
    try:
        _shake(memory, sock)
        memory.sendall(bytes(encode_packet(Connect(4, target.writer.name), 4)))
        record = bytearray(memory.bio_read(65536))
        record[-1] ^= 1
        sock.sendall(bytes(record))
        alert, plain = _after(memory, sock)
    except SSL.Error as error:
        return Outcome.UNCLEAR, f"no handshake: {error}"
    finally:
        reset(sock)
    if plain:
        return succeeded("the broker answered to bytes that were changed")
    return resisted(f"the connection ended{f' with {alert}' if alert else ''}; nothing got through")


def _memory_connection(target: Target) -> tuple[SSL.Connection, socket.socket]:
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_tlsext_host_name(target.server_name.encode())
    connection.set_connect_state()
    sock = dial_tcp(target)
    sock.settimeout(PATIENCE)
    return connection, sock


def _shake(connection: SSL.Connection, sock: socket.socket) -> None:
    while True:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            _flush(connection, sock)
            connection.bio_write(sock.recv(65536))
        else:
            _flush(connection, sock)
            return


def _flush(connection: SSL.Connection, sock: socket.socket) -> None:
    try:
        sock.sendall(connection.bio_read(65536))
    except SSL.WantReadError:
        pass


def _after(connection: SSL.Connection, sock: socket.socket) -> tuple[str, bytes]:
    """What the broker says to that: the words of its alert, and bytes of MQTT."""
    while True:
        try:
            data = sock.recv(65536)
        except OSError:
            return "", b""
        if not data:
            return "", b""
        connection.bio_write(data)
        try:
            return "", connection.recv(65536)
        except SSL.WantReadError:
            continue
        except SSL.ZeroReturnError:
            return "", b""
        except SSL.Error as error:
            words = error.args[0][0][-1] if error.args and error.args[0] else ""
            return str(words), b""
