# -*- test-case-name: tests.pki.test_keys -*-
"""A private key under a passphrase: PKCS#8, PBES2, PBKDF2 with HMAC-SHA-256, AES-256-CBC (RFC 5958, RFC 8018).

The same form as OpenSSL's and read by everything that reads those; but OpenSSL and ``cryptography`` write 2,048 rounds
and take no other number, while a stolen CA key has to withstand years of guessing.
"""

from __future__ import annotations

import base64
import hashlib
import os
import textwrap
from typing import Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["ROUNDS", "encrypt_pkcs8"]

ROUNDS: Final = 600_000
"""Of PBKDF2-HMAC-SHA-256, as OWASP asks for: about a fifth of a second for us, and for each guess of a thief."""

_SALT_BYTES: Final = 16
_BLOCK_BYTES: Final = 16
_KEY_BYTES: Final = 32

_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_NULL: Final = b"\x05\x00"
_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256: Final = bytes.fromhex("06082a864886f70d0209")
_AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")


def encrypt_pkcs8(key: bytes, passphrase: bytes) -> bytes:
    """The PEM block ``ENCRYPTED PRIVATE KEY`` of a PKCS#8 key in DER."""
    salt, vector = os.urandom(_SALT_BYTES), os.urandom(_BLOCK_BYTES)
    secret = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ROUNDS, _KEY_BYTES)
    padder = padding.PKCS7(_BLOCK_BYTES * 8).padder()
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(vector)).encryptor()
    encrypted = encryptor.update(padder.update(key) + padder.finalize()) + encryptor.finalize()
    return _pem(_sequence(_algorithm(salt, vector), _tagged(_OCTETS, encrypted)))


def _algorithm(salt: bytes, vector: bytes) -> bytes:
    rounds = _tagged(_INTEGER, ROUNDS.to_bytes(4, "big").lstrip(b"\0"))
    derivation = _sequence(_PBKDF2, _sequence(_tagged(_OCTETS, salt), rounds, _sequence(_HMAC_SHA256, _NULL)))
    scheme = _sequence(_AES_256_CBC, _tagged(_OCTETS, vector))
    return _sequence(_PBES2, _sequence(derivation, scheme))


def _sequence(*parts: bytes) -> bytes:
    return _tagged(_SEQUENCE, b"".join(parts))


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _pem(der: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, "-----END ENCRYPTED PRIVATE KEY-----", "")
    ).encode()
