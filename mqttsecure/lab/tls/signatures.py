# -*- test-case-name: tests.lab.tls.test_messages -*-
"""Checks signatures: of ServerKeyExchange (TLS 1.2) and CertificateVerify (both versions) under a certificate's key."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from mqttsecure.lab.model import Check, Outcome
from mqttsecure.lab.tls.messages import Signature
from mqttsecure.lab.tls.names import scheme_name

__all__ = ["check_signature", "verify_content"]

_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


class _Unsuitable(Exception):
    """The key cannot have made a signature of this scheme."""


def verify_content(transcript_hash: bytes, from_client: bool) -> bytes:
    """What a CertificateVerify of TLS 1.3 signs (RFC 8446, section 4.4.3)."""
    who = b"client" if from_client else b"server"
    return b" " * 64 + b"TLS 1.3, " + who + b" CertificateVerify\0" + transcript_hash


def check_signature(key: str, der: bytes | None, signature: Signature, content: bytes, what: str) -> Check:
    """Check a signature.

    Args:
        key: the name of the check.
        der: the certificate whose key should have signed; None where it was not seen.
        signature: as it stands in the message.
        content: what was signed.
        what: what that is, in words.
    """
    if signature.scheme is None:
        return Check(key, Outcome.UNKNOWN, f"the signature over {what} is of a TLS before 1.2, and is not checked here")
    name = scheme_name(signature.scheme)
    if der is None:
        return Check(
            key, Outcome.UNKNOWN, f"the certificate was not seen, so the signature over {what} cannot be checked"
        )
    try:
        public = x509.load_der_x509_certificate(der).public_key()
        _verify(public, name, signature.value, content)
    except InvalidSignature:
        text = (
            f"the signature over {what} is INVALID: not made with the certificate's key, or what it signs was changed"
        )
        return Check(key, Outcome.BAD, text, {"algorithm": name})
    except _Unsuitable as error:
        return Check(key, Outcome.BAD, f"the signature over {what} is INVALID: {error}", {"algorithm": name})
    except (UnsupportedAlgorithm, ValueError, KeyError):
        return Check(key, Outcome.UNKNOWN, f"{name} cannot be checked here", {"algorithm": name})
    return Check(key, Outcome.OK, f"the certificate's key signed {what} ({name})", {"algorithm": name})


def _verify(public: object, name: str, signature: bytes, content: bytes) -> None:
    hash_name = name.rpartition("_")[2]
    if name.startswith("rsa_"):
        if not isinstance(public, rsa.RSAPublicKey):
            raise _Unsuitable(f"{name} needs an RSA key, and the certificate has another")
        _verify_rsa(public, name, hash_name, signature, content)
    elif name.startswith("ecdsa_"):
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise _Unsuitable(f"{name} needs an elliptic curve key, and the certificate has another")
        public.verify(signature, content, ec.ECDSA(_HASHES[hash_name]()))
    elif name in ("ed25519", "ed448"):
        if not isinstance(public, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            raise _Unsuitable(f"{name} needs an Edwards curve key, and the certificate has another")
        public.verify(signature, content)
    elif name.startswith("dsa_"):
        if not isinstance(public, dsa.DSAPublicKey):
            raise _Unsuitable(f"{name} needs a DSA key, and the certificate has another")
        public.verify(signature, content, _HASHES[hash_name]())
    else:
        raise UnsupportedAlgorithm(name)


def _verify_rsa(public: rsa.RSAPublicKey, name: str, hash_name: str, signature: bytes, content: bytes) -> None:
    algorithm = _HASHES[hash_name]()
    if "_pss_" in name:
        scheme: padding.AsymmetricPadding = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    else:
        scheme = padding.PKCS1v15()
    public.verify(signature, content, scheme, algorithm)
