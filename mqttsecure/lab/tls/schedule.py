# -*- test-case-name: tests.lab.tls.test_session -*-
"""From secrets to keys and to Finished: the PRF of TLS 1.2 (RFC 5246 section 5), the key schedule of TLS 1.3 (RFC 8446
section 7)."""

from __future__ import annotations

import hashlib
import hmac

__all__ = [
    "expand_label",
    "finished_1_2",
    "finished_1_3",
    "key_block",
    "master_secret",
    "next_traffic_secret",
    "prf",
    "transcript_hash",
]


def prf(secret: bytes, label: bytes, seed: bytes, length: int, hash_name: str) -> bytes:
    """The pseudorandom function of TLS 1.2."""
    seed = label + seed
    output = b""
    block = seed
    while len(output) < length:
        block = hmac.digest(secret, block, hash_name)
        output += hmac.digest(secret, block + seed, hash_name)
    return output[:length]


def master_secret(
    premaster: bytes, client_random: bytes, server_random: bytes, session_hash: bytes | None, hash_name: str
) -> bytes:
    """The master secret: from both randoms, or from the hash of the handshake so far (extended, RFC 7627)."""
    if session_hash is not None:
        return prf(premaster, b"extended master secret", session_hash, 48, hash_name)
    return prf(premaster, b"master secret", client_random + server_random, 48, hash_name)


def key_block(master: bytes, client_random: bytes, server_random: bytes, length: int, hash_name: str) -> bytes:
    """The bytes that all keys of a TLS 1.2 connection are cut from."""
    return prf(master, b"key expansion", server_random + client_random, length, hash_name)


def transcript_hash(messages: bytes, hash_name: str) -> bytes:
    """The hash of all handshake messages so far."""
    return hashlib.new(hash_name, messages).digest()


def finished_1_2(master: bytes, transcript: bytes, from_client: bool, hash_name: str) -> bytes:
    """The twelve bytes that Finished has to hold."""
    label = b"client finished" if from_client else b"server finished"
    return prf(master, label, transcript_hash(transcript, hash_name), 12, hash_name)


def expand_label(secret: bytes, label: str, context: bytes, length: int, hash_name: str) -> bytes:
    """HKDF-Expand-Label of TLS 1.3."""
    full = b"tls13 " + label.encode()
    info = length.to_bytes(2, "big") + bytes((len(full),)) + full + bytes((len(context),)) + context
    output = block = b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(secret, block + info + bytes((counter,)), hash_name)
        output += block
        counter += 1
    return output[:length]


def finished_1_3(traffic_secret: bytes, transcript: bytes, hash_name: str) -> bytes:
    """What Finished has to hold, under the secret of its sender."""
    length = hashlib.new(hash_name).digest_size
    key = expand_label(traffic_secret, "finished", b"", length, hash_name)
    return hmac.digest(key, transcript_hash(transcript, hash_name), hash_name)


def next_traffic_secret(secret: bytes, hash_name: str) -> bytes:
    """The secret after a KeyUpdate."""
    return expand_label(secret, "traffic upd", b"", len(secret), hash_name)
