# -*- test-case-name: tests.policy.builtin.test_scram_keys -*-
"""SCRAM keys in a password file: ``$scram-sha-256$ITERATIONS$SALT$STORED_KEY$SERVER_KEY``, in the place of a hash.

Whoever reads them cannot log in with them, but can try passwords as with any hash. A file with such keys also has a
line ``#scram-secret:...``, a comment for everything else: from it come the salts that are told of users who do not
exist, so that they are the same each time and nobody finds out who does.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from typing import Final

from mqttsecure.wire.scram import MAXIMUM_ITERATIONS, MINIMUM_ITERATIONS, ScramError, ScramKeys, derive_keys

__all__ = ["NAME", "decoy", "find_secret", "hash_password", "is_scram", "new_secret_line", "parse_keys", "verify"]

NAME: Final = "scram-sha-256"

ITERATIONS: Final = 100_000
"""Of new keys. The client computes them at each login, some 40 ms on a computer; the broker never does."""

SALT_BYTES: Final = 16
"""Of every salt, or its length would tell whether a user exists."""

_KEY_BYTES: Final = 32
_PREFIX: Final = f"${NAME}$"
_MARK: Final = "#scram-secret:"


def is_scram(stored: str) -> bool:
    """Whether it is of this kind."""
    return stored.startswith(_PREFIX)


def hash_password(password: bytes) -> str:
    """Keys of a password with a fresh salt, as they are written; takes tens of milliseconds.

    Raises:
        ValueError: it is empty, or has characters that clients could not send.
    """
    if not password:
        raise ValueError("an empty password protects nothing; give one of at least one character")
    try:
        keys = derive_keys(password.decode("utf-8"), os.urandom(SALT_BYTES), ITERATIONS)
    except (UnicodeDecodeError, ScramError):
        raise ValueError("SCRAM takes passwords of printable characters, in UTF-8") from None
    fields = (keys.salt, keys.stored_key, keys.server_key)
    salt, stored, server = (base64.b64encode(field).decode("ascii") for field in fields)
    return f"{_PREFIX}{keys.iterations}${salt}${stored}${server}"


def parse_keys(stored: str) -> ScramKeys:
    """The keys that are written there.

    Raises:
        ValueError: they are none.
    """
    fields = stored.removeprefix(_PREFIX).split("$")
    if len(fields) != 4 or not (fields[0].isascii() and fields[0].isdigit() and len(fields[0]) < 10):
        raise ValueError("the SCRAM keys are none; make them with: mqttsecure passwd --scram")
    iterations = int(fields[0])
    if not MINIMUM_ITERATIONS <= iterations <= MAXIMUM_ITERATIONS:
        raise ValueError(f"the number of iterations is not between {MINIMUM_ITERATIONS} and {MAXIMUM_ITERATIONS}")
    try:
        salt, stored_key, server_key = (base64.b64decode(field, validate=True) for field in fields[1:])
    except (binascii.Error, ValueError):
        raise ValueError("the SCRAM keys are not Base64") from None
    if len(salt) != SALT_BYTES or len(stored_key) != _KEY_BYTES or len(server_key) != _KEY_BYTES:
        raise ValueError(f"the SCRAM keys have not {SALT_BYTES}, {_KEY_BYTES} and {_KEY_BYTES} bytes")
    return ScramKeys(salt, iterations, stored_key, server_key)


def verify(stored: str, password: bytes) -> bool:
    """Whether a password that was sent in clear is that of the keys; takes tens of milliseconds."""
    keys = parse_keys(stored)
    try:
        tried = derive_keys(password.decode("utf-8"), keys.salt, keys.iterations)
    except (UnicodeDecodeError, ScramError):
        return False
    return hmac.compare_digest(tried.stored_key, keys.stored_key)


def new_secret_line() -> str:
    """The line that a file with such keys has."""
    return _MARK + base64.b64encode(os.urandom(_KEY_BYTES)).decode("ascii")


def find_secret(text: str) -> bytes | None:
    """The secret of a file, None where it has no such line.

    Raises:
        ValueError: the line holds none.
    """
    for line in text.split("\n"):
        if line.startswith(_MARK):
            try:
                secret = base64.b64decode(line.removeprefix(_MARK).strip(), validate=True)
            except (binascii.Error, ValueError):
                secret = b""
            if len(secret) < _KEY_BYTES:
                raise ValueError(f"the line {_MARK} holds no secret; remove it, and run: mqttsecure passwd --scram")
            return secret
    return None


def decoy(name: str, secret: bytes, iterations: tuple[int, ...]) -> ScramKeys:
    """Keys for a user who does not exist, always the same, and with as many iterations as some user's."""
    seed = hmac.digest(secret, name.encode("utf-8", "replace"), "sha256")
    salt, stored_key, server_key, choice = (hmac.digest(seed, each, "sha256") for each in (b"1", b"2", b"3", b"4"))
    count = iterations[int.from_bytes(choice[:8], "big") % len(iterations)]
    return ScramKeys(salt[:SALT_BYTES], count, stored_key, server_key)
