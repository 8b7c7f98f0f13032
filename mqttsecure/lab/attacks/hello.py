# -*- test-case-name: tests.system.attacks.test_tls -*-
"""TLS ClientHello messages by hand, for what no library of today offers any more."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Final

__all__ = ["OLD_SUITES", "alert_of", "client_hello"]

OLD_SUITES: Final = (0xC013, 0xC014, 0xC009, 0xC00A, 0x002F, 0x0035, 0x000A)
"""ECDHE and RSA with AES-CBC, and 3DES: all that TLS 1.0 had."""


def client_hello(version: tuple[int, int], suites: Sequence[int] = OLD_SUITES) -> bytes:
    """One record with a ClientHello of an old ``version``: (3, 0) is SSL 3.0, (3, 1) TLS 1.0, (3, 3) TLS 1.2."""
    ciphers = b"".join(struct.pack("!H", suite) for suite in suites)
    groups = struct.pack("!HHHHH", 10, 6, 4, 23, 29)  # supported_groups: P-256, X25519
    formats = struct.pack("!HHBB", 11, 2, 1, 0)  # ec_point_formats: uncompressed
    signatures = struct.pack("!HHHHHH", 13, 8, 6, 0x0403, 0x0401, 0x0201)
    extensions = groups + formats + signatures
    body = bytes(version) + os.urandom(32) + b"\0"
    body += struct.pack("!H", len(ciphers)) + ciphers + b"\x01\x00" + struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def alert_of(answer: bytes) -> int | None:
    """The description of the fatal alert that ``answer`` begins with, None where it is no alert."""
    return answer[6] if len(answer) >= 7 and answer[0] == 21 and answer[5] == 2 else None
