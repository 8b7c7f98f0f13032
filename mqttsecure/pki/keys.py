# -*- test-case-name: tests.pki.test_keys -*-
"""Private keys: which kinds are made and accepted, and how they are written and read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mqttsecure.pki.errors import CertificateProblem, WrongPassphrase
from mqttsecure.pki.pkcs8 import encrypt_pkcs8

__all__ = [
    "DEFAULT_KIND",
    "KEY_KINDS",
    "SHORTEST_PASSPHRASE",
    "PrivateKey",
    "PublicKey",
    "describe_key",
    "hash_for",
    "key_fingerprint",
    "key_pem",
    "new_key",
    "read_key",
    "usable_public_key",
]

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

DEFAULT_KIND: Final = "ecdsa-p256"
"""Every TLS library of the last ten years takes it, and a small device makes its handshake in milliseconds."""

_EXPONENT: Final = 65_537

_MAKERS: Final[dict[str, Callable[[], PrivateKey]]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa-2048": lambda: rsa.generate_private_key(_EXPONENT, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(_EXPONENT, 3072),
    "rsa-4096": lambda: rsa.generate_private_key(_EXPONENT, 4096),
}

KEY_KINDS: Final = tuple(_MAKERS)

SHORTEST_PASSPHRASE: Final = 8
"""Characters; less is guessed in an afternoon, however slow each guess is made."""

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_SHORTEST_RSA: Final = 2048
_LONGEST_RSA: Final = 8192
"""Bits; a longer key makes each handshake a way to keep a server busy."""


def new_key(kind: str = DEFAULT_KIND) -> PrivateKey:
    """A new private key of one of :data:`KEY_KINDS`."""
    return _MAKERS[kind]()


def hash_for(key: PrivateKey) -> SHA256 | SHA384 | None:
    """The hash that a signature by this key takes; None for Ed25519, which has its own."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256:
        return SHA384()
    return SHA256()


def key_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """PKCS#8 in PEM, encrypted where there is a passphrase.

    Raises:
        CertificateProblem: the passphrase is too short.
    """
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise CertificateProblem(
            f"the passphrase is shorter than {SHORTEST_PASSPHRASE} characters; take several words, they are easier to "
            "remember than to guess"
        )
    return encrypt_pkcs8(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), passphrase)


def read_key(pem: bytes, name: str, passphrase: Callable[[], bytes] | None = None) -> PrivateKey:
    """The private key in a PEM text.

    Args:
        pem: the text.
        name: what to call it in an error: its file.
        passphrase: asked for it only where the key has one.

    Raises:
        WrongPassphrase: it has a passphrase, and none or a wrong one was given.
        CertificateProblem: it is no private key of a kind that is used here.
    """
    try:
        secret = passphrase() if b"ENCRYPTED" in pem and passphrase is not None else None
        key = load_pem_private_key(pem, secret)
    except TypeError:
        raise WrongPassphrase(
            f"{name} has a passphrase; give it with --passphrase-file FILE or --passphrase-env NAME, or at a terminal"
        ) from None
    except ValueError as error:
        if b"ENCRYPTED" in pem:
            raise WrongPassphrase(f"{name} does not open with this passphrase; try again") from None
        raise CertificateProblem(f"{name} holds no private key that can be read ({error}); name a PEM file") from None
    except Exception as error:  # what the library does not support, of several unrelated classes
        raise CertificateProblem(f"{name} holds a key that cannot be used ({error}); make a new one") from None
    usable_public_key(key.public_key(), name)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise CertificateProblem(f"{name} holds a key for something else than certificates; make one of {_KINDS_TEXT}")
    return key


_KINDS_TEXT: Final = ", ".join(KEY_KINDS)


def usable_public_key(key: object, name: str) -> PublicKey:
    """The key, if clients and brokers of today accept certificates with it.

    Raises:
        CertificateProblem: they do not, or should not.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in _CURVES:
            return key
        raise CertificateProblem(f"{name}: the curve {key.curve.name} is not used in TLS; make a key on P-256")
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SHORTEST_RSA:
            raise CertificateProblem(f"{name}: an RSA key of {key.key_size} bits can be broken; make one of 3072 bits")
        if key.key_size > _LONGEST_RSA:
            raise CertificateProblem(f"{name}: an RSA key of {key.key_size} bits is too slow; make one of 3072 bits")
        return key
    raise CertificateProblem(f"{name}: keys of the kind {type(key).__name__} are not taken; make one of {_KINDS_TEXT}")


def describe_key(key: object) -> str:
    """``ECDSA P-256``, ``RSA 3072``, ``Ed25519``."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {_CURVES.get(key.curve.name, key.curve.name)}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return type(key).__name__.removesuffix("PublicKey").strip("_")


def key_fingerprint(key: PublicKey) -> str:
    """The SHA-256 of the public key with its algorithm: the same in a key and in whatever is made for it."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
