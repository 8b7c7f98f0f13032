"""Tokens and their keys for tests: an issuer that signs what it is told."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

__all__ = ["AUDIENCE", "ISSUER", "Issuer", "encode", "forge"]

ISSUER = "https://id.example/"
AUDIENCE = "mqtt.example"
SECRET = b"a secret of more than thirty-two bytes"


@functools.cache
def private_key(kind: str, number: int = 0) -> Any:
    """A key of that algorithm; the same one for the same number."""
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return SECRET + bytes([number])


def encode(part: Any) -> bytes:
    """A part of a token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def forge(header: Any, claims: Any, signature: bytes = b"signature") -> bytes:
    """A token of any parts, with a signature of nobody."""
    return encode(header) + b"." + encode(claims) + b"." + encode(signature)


class Issuer:
    """Signs tokens with one key."""

    def __init__(self, algorithm: str = "EdDSA", number: int = 0, key_id: str | None = None) -> None:
        self.algorithm = algorithm
        self.key = private_key(algorithm, number)
        self.key_id = key_id

    @property
    def pem(self) -> bytes:
        """The public key."""
        pem: bytes = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    @property
    def private_pem(self) -> bytes:
        """The private key, which is nobody's business."""
        pem: bytes = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem

    def jwk(self, **more: Any) -> dict[str, Any]:
        """The public key, or the secret, as a JSON Web Key."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        public = self.key if self.algorithm == "HS256" else self.key.public_key()
        made: dict[str, Any] = json.loads(algorithm.to_jwk(public))
        made.pop("key_ops", None)
        if self.key_id is not None:
            made["kid"] = self.key_id
        return {**made, **more}

    def token(self, now: float, headers: dict[str, Any] | None = None, **claims: Any) -> bytes:
        """A token of alice that holds for ten minutes, unless told otherwise; a claim of None is left out."""
        full = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": int(now), "exp": int(now) + 600, **claims}
        named = {} if self.key_id is None else {"kid": self.key_id}
        kept = {name: value for name, value in full.items() if value is not None}
        payload = json.dumps(kept).encode()
        signed = jwt.api_jws.PyJWS().encode(payload, self.key, self.algorithm, {**named, **(headers or {})})
        return signed.encode()
