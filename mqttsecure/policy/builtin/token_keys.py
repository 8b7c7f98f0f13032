# -*- test-case-name: tests.policy.builtin.test_token_keys -*-
"""The keys that tokens are verified with, out of PEM files and JSON Web Key sets.

Each key has one algorithm from the start, by its kind. What a token says of its algorithm is compared with it and
never believed: that a public key is taken for a shared secret, or a signature for none, cannot be written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

__all__ = ["ALGORITHMS", "KeyFault", "KeySet", "TokenKey", "parse_key_file", "parse_key_set"]

PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

ALGORITHMS: Final = ("EdDSA", "ES256", "RS256", "HS256")

MAXIMUM_KEYS: Final = 64
"""In one set: an issuer that rolls its keys daily has a handful."""

MAXIMUM_KEY_ID: Final = 256
"""Characters of a key's id: it is written into logs."""

_RSA_BITS: Final = (2048, 8192)
"""Below, a signature can be forged with effort; above, verifying one costs the broker too much."""

_SECRET_BYTES: Final = 32
"""RFC 7518 section 3.2: a key of HS256 is at least as long as its hash."""

_FENCE: Final = "-----BEGIN "


class KeyFault(Exception):
    """Something that is no key, or none that may be used. The text never holds any of it."""


@dataclass(slots=True, frozen=True)
class TokenKey:
    """One key. ``thumbprint`` tells it from any other; ``key_id`` is what tokens may name it by."""

    algorithm: str
    key: PublicKey | bytes = field(repr=False)
    thumbprint: str
    key_id: str | None = None


class KeySet:
    """Keys, found by what a token says of the one that signed it."""

    def __init__(self, keys: Iterable[TokenKey]) -> None:
        """
        Raises:
            KeyFault: there are none or too many, or two cannot be told apart.
        """
        self.keys = tuple(keys)
        if not self.keys:
            raise KeyFault("there is no key that tokens can be verified with; put one in")
        if len(self.keys) > MAXIMUM_KEYS:
            raise KeyFault(f"there are {len(self.keys)} keys; at most {MAXIMUM_KEYS} are taken")
        self._by_id: dict[str, TokenKey] = {}
        for key in self.keys:
            if key.key_id is not None and self._by_id.setdefault(key.key_id, key) is not key:
                raise KeyFault(f"two keys have the id {key.key_id!r}; rename one")
        self.thumbprints = frozenset(key.thumbprint for key in self.keys)

    def find(self, key_id: str | None) -> TokenKey | None:
        """The key of that id. A single key need not be named, and one without an id cannot be misnamed."""
        if len(self.keys) == 1 and (key_id is None or self.keys[0].key_id is None):
            return self.keys[0]
        return None if key_id is None else self._by_id.get(key_id)


def parse_key_file(content: bytes) -> KeySet:
    """The keys of a file: public keys as PEM, one or more, or a JSON Web Key or set of them.

    Raises:
        KeyFault: it holds anything else.
    """
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        raise KeyFault("it is neither PEM nor JSON; write public keys as PEM, or a JSON Web Key set") from None
    if _FENCE not in text:
        return parse_key_set(content, secrets_allowed=True)
    blocks = [_FENCE + block for block in text.split(_FENCE)[1:]]
    return KeySet([_from_pem(block) for block in blocks])


def parse_key_set(content: bytes, *, secrets_allowed: bool = False) -> KeySet:
    """The keys of a JSON Web Key set (RFC 7517), or of a single key; those that are for something else are left out.

    Args:
        content: JSON.
        secrets_allowed: whether it may hold keys that are shared secrets: never where others can read it.

    Raises:
        KeyFault: it is none, or a key in it may not be used.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise KeyFault("it is no JSON; write a JSON Web Key set, or public keys as PEM") from None
    listed = document.get("keys") if isinstance(document, dict) and "keys" in document else [document]
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise KeyFault('it is no JSON Web Key set; write {"keys": [...]}')
    if len(listed) > MAXIMUM_KEYS:
        raise KeyFault(f"there are {len(listed)} keys; at most {MAXIMUM_KEYS} are taken")
    found = []
    for index, each in enumerate(listed):
        try:
            key = _from_jwk(each, secrets_allowed)
        except KeyFault as fault:
            raise KeyFault(f"key {index + 1}: {fault}") from None
        if key is not None:
            found.append(key)
    return KeySet(found)


def _from_pem(block: str) -> TokenKey:
    if "PRIVATE KEY" in block.split("\n", 1)[0]:
        raise KeyFault("it holds a private key, with which anyone could make tokens; put in the public key alone")
    try:
        key = load_pem_public_key(block.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFault("a PEM block in it is no public key") from None
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey):
        raise KeyFault("a key is of a kind that no token here is signed with; use Ed25519, P-256 or RSA")
    return _public(key, None)


def _public(key: PublicKey, key_id: str | None) -> TokenKey:
    """A public key with its one algorithm."""
    if isinstance(key, Ed25519PublicKey):
        algorithm = "EdDSA"
    elif isinstance(key, RSAPublicKey):
        algorithm = "RS256"
        if not _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1]:
            raise KeyFault(f"an RSA key has {key.key_size} bits; from {_RSA_BITS[0]} to {_RSA_BITS[1]} are taken")
    elif isinstance(key.curve, SECP256R1):
        algorithm = "ES256"
    else:
        raise KeyFault(f"a key is on the curve {key.curve.name}; ES256 has P-256")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return TokenKey(algorithm, key, hashlib.sha256(der).hexdigest(), key_id)


def _from_jwk(jwk: Mapping[str, Any], secrets_allowed: bool) -> TokenKey | None:
    """One key, None where it is for something else than verifying, or of a kind that is not used here."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    key_id = jwk.get("kid")
    if key_id is not None and (
        not isinstance(key_id, str) or not key_id.isprintable() or not 0 < len(key_id) <= MAXIMUM_KEY_ID
    ):
        raise KeyFault(f"its kid is no printable string of up to {MAXIMUM_KEY_ID} characters")
    kind = jwk.get("kty")
    if kind == "oct":
        key = _secret(jwk, key_id, secrets_allowed)
    elif kind in ("OKP", "EC", "RSA"):
        if "d" in jwk:
            raise KeyFault("it is a private key, with which anyone could make tokens; put in the public part alone")
        public = _public_numbers(kind, jwk)
        if public is None:
            return None
        key = _public(public, key_id)
    else:
        return None
    stated = jwk.get("alg", key.algorithm)
    if stated != key.algorithm and not (stated == "Ed25519" and key.algorithm == "EdDSA"):
        if stated in ALGORITHMS:
            raise KeyFault(f"its alg is {stated}, but a key of its kind has {key.algorithm}")
        return None
    return key


def _secret(jwk: Mapping[str, Any], key_id: str | None, allowed: bool) -> TokenKey:
    if not allowed:
        raise KeyFault("it is a shared secret, which is none where others can fetch it; keep it in a file")
    secret = _bytes_of(jwk, "k")
    if len(secret) < _SECRET_BYTES:
        raise KeyFault(f"the secret has {len(secret)} bytes, and can be guessed; give at least {_SECRET_BYTES}")
    return TokenKey("HS256", secret, hashlib.sha256(b"thumbprint of a secret" + secret).hexdigest(), key_id)


def _public_numbers(kind: str, jwk: Mapping[str, Any]) -> PublicKey | None:
    """The key that the numbers make, None where its curve is not used here."""
    try:
        if kind == "RSA":
            return RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key()
        if kind == "EC" and jwk.get("crv") == "P-256":
            return EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), SECP256R1()).public_key()
        if kind == "OKP" and jwk.get("crv") == "Ed25519":
            return Ed25519PublicKey.from_public_bytes(_bytes_of(jwk, "x"))
    except ValueError:
        raise KeyFault(f"its numbers make no {kind} key") from None
    return None


def _number(jwk: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(_bytes_of(jwk, name), "big")


def _bytes_of(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    try:
        if isinstance(value, str) and value:
            return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        pass
    raise KeyFault(f"its {name} is missing, or no base64url")
