# -*- test-case-name: tests.lab.attacks.test_middle -*-
"""A man in the middle: a TLS server with a bad certificate before the broker. Rows B1 to B7.

Three clients walk into it: the client library of this package, one that verifies by Python's own means, and a careless
one with verification switched off, as in many a lab text. What reaches the man in the middle is what would be stolen.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from OpenSSL import SSL, crypto

from mqttsecure.client.address import Address
from mqttsecure.client.failures import ClientError
from mqttsecure.client.options import TlsOptions
from mqttsecure.client.trust import Trust
from mqttsecure.lab.attacks.client import PATIENCE
from mqttsecure.lab.attacks.outcome import Outcome, Seen, resisted, succeeded
from mqttsecure.lab.attacks.target import Target
from mqttsecure.pki.bad import BAD
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect

__all__ = ["BAD_ROWS", "careless", "verifying"]

BAD_ROWS: Final = {each.row: each for each in BAD}


class _Middle:
    """Takes one connection with a certificate of its own, and keeps what comes out of TLS."""

    def __init__(self, target: Target, stem: str) -> None:
        folder = Path(target.bad or "")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / f"{stem}.pem", folder / f"{stem}.key")
        self._listening = socket.create_server((target.middle, 0))
        self._listening.settimeout(PATIENCE)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self.stolen = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listening.accept()
            connection.settimeout(PATIENCE)
            with self._context.wrap_socket(connection, server_side=True) as secured:
                while data := secured.recv(65536):
                    self.stolen += data
                    # Enough of an answer for the victim to go on, were there more to steal.
                    secured.sendall(b"\x20\x02\x00\x00")
        except OSError:
            return

    def end(self) -> None:
        self._thread.join(PATIENCE)
        self._listening.close()


@contextmanager
def _in_the_middle(target: Target, stem: str) -> Iterator[_Middle]:
    middle = _Middle(target, stem)
    try:
        yield middle
    finally:
        middle.end()


def _packet(target: Target) -> bytes:
    account = target.writer
    return bytes(encode_packet(Connect(4, account.name, username=account.name, password=account.password.encode()), 4))


def verifying(target: Target, row: str) -> Seen:
    """B1 to B6: our client; it must leave before a byte of MQTT, and say why."""
    if target.bad is None:
        return Outcome.NOT_TRIED, "there are no bad certificates; make them with `mqttsecure cert bad`"
    with _in_the_middle(target, BAD_ROWS[row].stem) as middle:
        said = _connect_verifying(target, middle.address)
    if target.writer.password.encode() in middle.stolen:
        return succeeded("the password was stolen from a client that verifies")
    if middle.stolen or said is None:
        return succeeded(f"{len(middle.stolen)} bytes reached the man in the middle")
    return resisted(f"0 bytes leaked; the client says: {said}")


def _connect_verifying(target: Target, address: tuple[str, int]) -> str | None:
    """What our client says of the server; None where it took it for the broker."""
    return _connect(target, address, TlsOptions(Path(target.ca_file or ""), server_name=target.server_name))


def _connect(target: Target, address: tuple[str, int], options: TlsOptions) -> str | None:
    """Connect with the client library's own judgement; what it says, or None where its password went out."""
    trust = Trust(Address(address[0], address[1], True), options)
    connection = trust.clientConnectionForTLS(None)  # type: ignore[arg-type]  # which it does not look at
    with socket.create_connection(address, PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        connection.set_connect_state()
        try:
            while not _shakes(connection):
                _carry(connection, sock)
        except (SSL.Error, ClientError, OSError):
            _last(connection, sock)
            refusal = trust.judge.refusal
            return str(refusal) if refusal is not None else "the handshake failed"
        connection.sendall(_packet(target))
        _last(connection, sock)
    return None


def _shakes(connection: SSL.Connection) -> bool:
    """Whether the handshake is over; False where the server has to say more."""
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def _carry(connection: SSL.Connection, sock: socket.socket) -> None:
    _last(connection, sock)
    data = sock.recv(65536)
    if not data:
        raise OSError("closed")
    connection.bio_write(data)


def _last(connection: SSL.Connection, sock: socket.socket) -> None:
    try:
        sock.sendall(connection.bio_read(65536))
    except (SSL.WantReadError, OSError):
        pass


def careless(target: Target) -> Seen:
    """B7: a client that does not verify, against all six; and one with a pin, against a rogue."""
    if target.bad is None:
        return Outcome.NOT_TRIED, "there are no bad certificates; make them with `mqttsecure cert bad`"
    stolen = []
    for row, bad in BAD_ROWS.items():
        with _in_the_middle(target, bad.stem) as middle:
            _connect_careless(target, middle.address)
        if target.writer.password.encode() in middle.stolen:
            stolen.append(row)
    pinned = _connect_pinned(target)
    if pinned:
        return succeeded("a client with a pin gave its password to a rogue")
    return resisted(
        f"ours goes without verification only with a pin, and refuses a rogue by it; a careless client of another make "
        f"lost its password to {len(stolen)} of 6 ({', '.join(stolen)})"
    )


def _connect_careless(target: Target, address: tuple[str, int]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(address, PATIENCE) as sock,
            context.wrap_socket(sock, server_hostname=target.server_name) as secured,
        ):
            secured.sendall(_packet(target))
            secured.recv(4)
    except OSError:
        return


def _connect_pinned(target: Target) -> bool:
    """Whether a client that only checks a pin gives its password to a rogue."""
    good = crypto.load_certificate(crypto.FILETYPE_PEM, (Path(target.bad or "") / "good.pem").read_bytes())
    pin = "sha256:" + good.digest("sha256").decode().replace(":", "").lower()
    options = TlsOptions(verify=False, pin=pin, server_name=target.server_name)
    with _in_the_middle(target, BAD_ROWS["B1"].stem) as middle:
        said = _connect(target, middle.address, options)
    return said is None or bool(middle.stolen)
