# -*- test-case-name: tests.lab.attacks.test_table -*-
"""Holding connections without saying anything: rows A13 to A19. All at once, since each takes its time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from mqttsecure.errors import LabError
from mqttsecure.lab.attacks.client import is_readable, reset
from mqttsecure.lab.attacks.dialling import dial, dial_tcp, login
from mqttsecure.lab.attacks.hello import client_hello
from mqttsecure.lab.attacks.outcome import Outcome, Seen, resisted, succeeded
from mqttsecure.lab.attacks.target import Target

__all__ = ["STALLING", "stall"]

_HALF_CONNECT: Final = b"\x10\x20\x00\x04MQTT"
_STEP: Final = 2.0
"""Seconds between two bytes of a dripped CONNECT."""
_ALLOWED: Final = 15.0
"""A secure broker has cut a stranger by then; ours takes 10."""
_KEEP_ALIVE: Final = 5


def _silent(target: Target) -> socket.socket:
    return dial_tcp(target)


def _half_connect(target: Target) -> socket.socket:
    client = dial(target)
    client.send(_HALF_CONNECT)
    return client.socket


def _half_hello(target: Target) -> socket.socket:
    made = dial_tcp(target)
    made.sendall(client_hello((3, 3))[:40])
    return made


def _tls_alone(target: Target) -> socket.socket:
    return dial(target).socket


def _keep_alive(target: Target) -> socket.socket:
    return login(target, target.writer, keep_alive=_KEEP_ALIVE).socket


STALLING: Final[dict[str, tuple[str, Callable[[Target], socket.socket], bool]]] = {
    "A13": ("TCP open, and silence", _silent, False),
    "A14": ("half a CONNECT, and silence", _half_connect, False),
    "A15": ("a CONNECT, a byte every two seconds", _tls_alone, False),
    "A16": ("the TLS port, and silence", _silent, True),
    "A17": ("half a ClientHello, and silence", _half_hello, True),
    "A18": ("TLS, and then silence", _tls_alone, True),
    "A19": (f"connected with Keep Alive {_KEEP_ALIVE}, and silence", _keep_alive, False),
}
"""By row: the words, how it begins, and whether it needs TLS."""


def stall(target: Target, rows: list[str]) -> dict[str, Seen]:
    """All of these rows at once; how long each connection was let be."""
    found: dict[str, Seen] = {}
    threads = [threading.Thread(target=_hold, args=(target, row, found), daemon=True) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(target.patience + 30)
    return {row: found.get(row, (Outcome.UNCLEAR, "it did not end in time")) for row in rows}


def _hold(target: Target, row: str, found: dict[str, Seen]) -> None:
    _, begin, needs_tls = STALLING[row]
    if needs_tls and not target.tls:
        found[row] = Outcome.NOT_TRIED, "the target speaks no TLS there"
        return
    started = time.monotonic()
    try:
        sock = begin(target)
    except (OSError, LabError) as error:
        found[row] = Outcome.UNCLEAR, f"it could not begin: {error}"
        return
    try:
        seconds = _until_closed(sock, started, target, drip=row == "A15")
    finally:
        reset(sock)
    if seconds is None:
        found[row] = succeeded(f"still open after {target.patience:g} s")
    elif seconds <= _ALLOWED:
        found[row] = resisted(f"closed after {seconds:.1f} s")
    else:
        found[row] = succeeded(f"closed only after {seconds:.1f} s")


def _until_closed(sock: socket.socket, started: float, target: Target, *, drip: bool) -> float | None:
    """Seconds from the beginning to the broker's closing; None where it does not close."""
    sock.settimeout(0.25)
    packet = b"\x10\x40\x00\x04MQTT\x04\x02\x00\x3c\x00\x34" + b"x" * 52
    position = 0
    while (elapsed := time.monotonic() - started) < target.patience:
        if drip and position < elapsed // _STEP:
            try:
                sock.sendall(packet[position : position + 1])
            except OSError:
                return time.monotonic() - started
            position += 1
        if is_readable(sock, min(0.25, target.patience - elapsed)):
            try:
                if not sock.recv(65536):
                    return time.monotonic() - started
            except TimeoutError:
                continue
            except OSError:
                return time.monotonic() - started
    return None
