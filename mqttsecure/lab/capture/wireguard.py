# -*- test-case-name: tests.lab.capture.test_reader -*-
"""Recognizes WireGuard by the form of its messages, which is all that anybody on the way sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Tunnel", "count_wireguard"]

_INITIATION: Final = (1, 148)
_RESPONSE: Final = (2, 92)
_COOKIE: Final = (3, 64)
_DATA: Final = 4
_DATA_LENGTH: Final = 32
"""Bytes of a Transport Data message that carries nothing. Longer ones are padded to 16, but not beyond the MTU."""


@dataclass(slots=True)
class Tunnel:
    """One WireGuard tunnel between two addresses, as far as it can be seen."""

    ends: tuple[str, str]
    initiations: int = 0
    responses: int = 0
    cookies: int = 0
    data: int = 0
    bytes: int = 0
    first_frame: int = 0


def count_wireguard(tunnels: dict[tuple[str, str], Tunnel], ends: tuple[str, str], payload: bytes, frame: int) -> bool:
    """Count a UDP datagram to its tunnel; False where it is no message of WireGuard."""
    message = payload[8:]  # behind the UDP header
    if len(message) < _DATA_LENGTH or message[1:4] != b"\0\0\0":
        return False
    kind = message[0]
    is_data = kind == _DATA
    if (kind, len(message)) not in (_INITIATION, _RESPONSE, _COOKIE) and not is_data:
        return False
    key = (min(ends), max(ends))
    tunnel = tunnels.setdefault(key, Tunnel(key, first_frame=frame))
    tunnel.initiations += kind == 1
    tunnel.responses += kind == 2
    tunnel.cookies += kind == 3
    tunnel.data += kind == _DATA
    tunnel.bytes += len(message)
    return True
