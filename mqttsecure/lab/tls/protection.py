# -*- test-case-name: tests.lab.tls.test_session -*-
"""Opens records: AES-GCM, AES-CCM, ChaCha20-Poly1305, and CBC with a MAC, before or after encryption."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from mqttsecure.lab.model import SuiteFacts
from mqttsecure.lab.tls.schedule import expand_label

__all__ = ["Closed", "Protection", "SuiteKeys", "keys_of", "protection_1_2", "protection_1_3"]

_HASHES: Final = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384"}
_MAC_SIZES: Final = {"md5": 16, "sha1": 20, "sha256": 32, "sha384": 48}


class Closed(Exception):
    """A record does not open: other keys, or other bytes."""


@dataclass(frozen=True, slots=True)
class SuiteKeys:
    """What keys a suite needs.

    Attributes:
        kind: "gcm", "ccm", "ccm8", "chacha", "cbc" or "null".
        key: bytes of an encryption key.
        iv: bytes of the part of the nonce that is derived (TLS 1.2).
        mac: bytes of a MAC key; 0 for AEAD.
        hash: name for hashlib of the hash of PRF or HKDF.
        mac_hash: name for hashlib of the hash of the MAC.
    """

    kind: str
    key: int
    iv: int
    mac: int
    hash: str
    mac_hash: str

    @property
    def block_length(self) -> int:
        """Bytes of TLS 1.2's key block."""
        return 2 * (self.mac + self.key + self.iv)


class Protection(Protocol):
    """Opens the records of one direction under one set of keys."""

    def open(self, sequence: int, content_type: int, version: int, body: bytes) -> tuple[int, bytes]:
        """The true content type and the content.

        Raises:
            Closed: it does not open.
        """


_CIPHERS: Final = {
    "AES_128_GCM": ("gcm", 16),
    "AES_256_GCM": ("gcm", 32),
    "AES_128_CCM": ("ccm", 16),
    "AES_256_CCM": ("ccm", 32),
    "AES_128_CCM_8": ("ccm8", 16),
    "AES_256_CCM_8": ("ccm8", 32),
    "CHACHA20_POLY1305": ("chacha", 32),
    "AES_128_CBC": ("cbc", 16),
    "AES_256_CBC": ("cbc", 32),
    "NULL": ("null", 0),
}


def keys_of(suite: SuiteFacts) -> SuiteKeys | None:
    """What keys a suite needs; None for a cipher that is not decrypted here."""
    if suite.cipher not in _CIPHERS:
        return None
    kind, key = _CIPHERS[suite.cipher]
    hash_name = "sha384" if suite.hash == "SHA-384" else "sha256"
    if kind in ("cbc", "null"):
        mac_hash = _HASHES.get(suite.hash, "sha1")
        return SuiteKeys(kind, key, 0, _MAC_SIZES[mac_hash], hash_name, mac_hash)
    return SuiteKeys(kind, key, 12 if kind == "chacha" else 4, 0, hash_name, "")


def _aead(kind: str, key: bytes) -> AESGCM | AESCCM | ChaCha20Poly1305:
    if kind == "gcm":
        return AESGCM(key)
    if kind == "chacha":
        return ChaCha20Poly1305(key)
    return AESCCM(key, tag_length=8 if kind == "ccm8" else 16)


def _xor(iv: bytes, sequence: int) -> bytes:
    return (int.from_bytes(iv, "big") ^ sequence).to_bytes(len(iv), "big")


class _Aead13:
    """TLS 1.3 (RFC 8446, section 5.2): the header is authenticated, the true type is the last byte that is not zero."""

    def __init__(self, kind: str, key: bytes, iv: bytes) -> None:
        self._cipher = _aead(kind, key)
        self._iv = iv

    def open(self, sequence: int, content_type: int, version: int, body: bytes) -> tuple[int, bytes]:
        header = bytes((content_type,)) + version.to_bytes(2, "big") + len(body).to_bytes(2, "big")
        try:
            inner = self._cipher.decrypt(_xor(self._iv, sequence), body, header)
        except (InvalidTag, ValueError):
            raise Closed from None
        content = inner.rstrip(b"\0")
        if not content:
            raise Closed
        return content[-1], content[:-1]


class _Aead12:
    """TLS 1.2: eight bytes of the nonce in the record (RFC 5288), or none of it (RFC 7905)."""

    def __init__(self, keys: SuiteKeys, key: bytes, iv: bytes) -> None:
        self._cipher = _aead(keys.kind, key)
        self._iv = iv
        self._explicit = keys.kind != "chacha"
        self._tag = 8 if keys.kind == "ccm8" else 16

    def open(self, sequence: int, content_type: int, version: int, body: bytes) -> tuple[int, bytes]:
        if self._explicit:
            nonce, body = self._iv + body[:8], body[8:]
        else:
            nonce = _xor(self._iv, sequence)
        if len(body) < self._tag or len(nonce) != 12:
            raise Closed
        header = sequence.to_bytes(8, "big") + bytes((content_type,)) + version.to_bytes(2, "big")
        try:
            return content_type, self._cipher.decrypt(nonce, body, header + (len(body) - self._tag).to_bytes(2, "big"))
        except (InvalidTag, ValueError):
            raise Closed from None


class _Cbc:
    """CBC with an explicit IV (RFC 5246, section 6.2.3.2), the MAC inside or, by RFC 7366, around the ciphertext."""

    def __init__(self, keys: SuiteKeys, key: bytes, mac_key: bytes, encrypt_then_mac: bool) -> None:
        self._key = key
        self._mac_key = mac_key
        self._hash = keys.mac_hash
        self._size = keys.mac
        self._encrypt_then_mac = encrypt_then_mac

    def open(self, sequence: int, content_type: int, version: int, body: bytes) -> tuple[int, bytes]:
        head = sequence.to_bytes(8, "big") + bytes((content_type,)) + version.to_bytes(2, "big")
        if self._encrypt_then_mac:
            body, mac = body[: -self._size], body[-self._size :]
            self._check(mac, head + len(body).to_bytes(2, "big") + body)
        if len(body) < 32 or len(body) % 16:
            raise Closed
        decryptor = Cipher(algorithms.AES(self._key), modes.CBC(body[:16])).decryptor()
        plain = decryptor.update(body[16:]) + decryptor.finalize()
        padding = plain[-1] + 1
        if padding > len(plain) or plain[-padding:] != bytes((padding - 1,)) * padding:
            raise Closed
        content = plain[:-padding]
        if not self._encrypt_then_mac:
            if len(content) < self._size:
                raise Closed
            content, mac = content[: -self._size], content[-self._size :]
            self._check(mac, head + len(content).to_bytes(2, "big") + content)
        return content_type, content

    def _check(self, mac: bytes, data: bytes) -> None:
        if not hmac.compare_digest(mac, hmac.digest(self._mac_key, data, self._hash)):
            raise Closed


class _Null:
    """No encryption, only a MAC: the content could be read by anyone."""

    def __init__(self, keys: SuiteKeys, mac_key: bytes) -> None:
        self._mac_key = mac_key
        self._hash = keys.mac_hash
        self._size = keys.mac

    def open(self, sequence: int, content_type: int, version: int, body: bytes) -> tuple[int, bytes]:
        content, mac = body[: -self._size], body[-self._size :]
        head = sequence.to_bytes(8, "big") + bytes((content_type,)) + version.to_bytes(2, "big")
        wanted = hmac.digest(self._mac_key, head + len(content).to_bytes(2, "big") + content, self._hash)
        if not hmac.compare_digest(mac, wanted):
            raise Closed
        return content_type, content


def protection_1_3(keys: SuiteKeys, secret: bytes) -> Protection:
    """What opens records under a traffic secret."""
    key = expand_label(secret, "key", b"", keys.key, keys.hash)
    return _Aead13(keys.kind, key, expand_label(secret, "iv", b"", 12, keys.hash))


def protection_1_2(keys: SuiteKeys, block: bytes, from_client: bool, encrypt_then_mac: bool) -> Protection:
    """What opens the records of one direction, by the key block of the connection."""
    which = 0 if from_client else 1
    mac_key = block[which * keys.mac : (which + 1) * keys.mac]
    start = 2 * keys.mac
    key = block[start + which * keys.key : start + (which + 1) * keys.key]
    start += 2 * keys.key
    iv = block[start + which * keys.iv : start + (which + 1) * keys.iv]
    if keys.kind == "cbc":
        return _Cbc(keys, key, mac_key, encrypt_then_mac)
    if keys.kind == "null":
        return _Null(keys, mac_key)
    return _Aead12(keys, key, iv)


def digest_size(hash_name: str) -> int:
    """Bytes of a hash."""
    return hashlib.new(hash_name).digest_size
