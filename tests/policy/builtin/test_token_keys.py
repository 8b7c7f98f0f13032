"""Tests for mqttsecure.policy.builtin.token_keys."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.token_keys import ALGORITHMS, KeyFault, KeySet, parse_key_file, parse_key_set
from tests.support.tokens import SECRET, Issuer


def _pem(key: Any) -> bytes:
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _set(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


class TokenKeysTests(SynchronousTestCase):
    """Which keys are taken, and for which algorithm."""

    def fault(self, content: bytes, **more: Any) -> str:
        read = parse_key_set if more else parse_key_file
        return str(self.assertRaises(KeyFault, read, content, **more))

    def test_each_kind_has_one_algorithm(self) -> None:
        """It follows from the key, in PEM as in a key set."""
        for algorithm in ALGORITHMS:
            issuer = Issuer(algorithm, key_id="k")
            keys = parse_key_file(_set(issuer.jwk()))
            self.assertEqual([key.algorithm for key in keys.keys], [algorithm])
            if algorithm != "HS256":
                (from_pem,) = parse_key_file(issuer.pem).keys
                self.assertEqual((from_pem.algorithm, from_pem.thumbprint), (algorithm, keys.keys[0].thumbprint))

    def test_several_pem_blocks(self) -> None:
        """A roll of the key: the old one and the new one in one file."""
        keys = parse_key_file(Issuer().pem + b"\n" + Issuer("ES256").pem)
        self.assertEqual([key.algorithm for key in keys.keys], ["EdDSA", "ES256"])
        self.assertIsNone(keys.find(None))

    def test_found_by_id(self) -> None:
        """A single key need not be named; of several the named one is it."""
        one, other = Issuer(key_id="one"), Issuer("ES256", key_id="other")
        keys = parse_key_file(_set(one.jwk(), other.jwk()))
        self.assertEqual(getattr(keys.find("other"), "algorithm", None), "ES256")
        self.assertIsNone(keys.find(None))
        self.assertIsNone(keys.find("third"))
        single = parse_key_file(_set(one.jwk()))
        self.assertIsNotNone(single.find(None))
        self.assertIsNone(single.find("other"))
        self.assertIsNotNone(parse_key_file(one.pem).find("whatever"))

    def test_what_is_for_something_else_is_left_out(self) -> None:
        """Key sets of identity providers hold keys for encryption, and kinds that are not used here."""
        keys = parse_key_set(
            _set(
                Issuer(key_id="a").jwk(),
                Issuer("RS256").jwk(use="enc"),
                Issuer("RS256").jwk(alg="RSA-OAEP"),
                Issuer("ES256").jwk(key_ops=["encrypt"]),
                {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
                {"kty": "EC", "crv": "P-521"},
                {"kty": "new"},
            )
        )
        self.assertEqual([key.key_id for key in keys.keys], ["a"])

    def test_table_of_faults(self) -> None:
        """Each is refused with what is wrong, and never a byte of the key."""
        small = rsa.generate_private_key(65537, 1024).public_key()
        curve = ec.generate_private_key(ec.SECP384R1()).public_key()
        other = dsa.generate_private_key(2048).public_key()
        jwk = Issuer(key_id="k").jwk()
        for content, text in (
            (b"", "no JSON"),
            (b"\xff", "neither PEM nor JSON"),
            (b"[" * 100_000, "no JSON"),
            (b"[]", "no JSON Web Key set"),
            (b'{"keys": 1}', "no JSON Web Key set"),
            (b'{"keys": [1]}', "no JSON Web Key set"),
            (b'{"keys": []}', "no key that tokens can be verified with"),
            (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
            (Issuer().private_pem, "private key"),
            (_pem(small), "1024 bits"),
            (_pem(curve), "secp384r1"),
            (_pem(other), "Ed25519, P-256 or RSA"),
            (_set(jwk, jwk), "two keys have the id 'k'"),
            (_set(*[{**jwk, "kid": str(number)} for number in range(65)]), "at most 64"),
            (_set({**jwk, "d": "secret"}), "private key"),
            (_set({**jwk, "x": "AAAA"}), "make no OKP key"),
            (_set({**jwk, "x": "?"}), "x is missing, or no base64url"),
            (_set({**jwk, "x": None}), "x is missing"),
            (_set({**jwk, "alg": "HS256"}), "its alg is HS256, but a key of its kind has EdDSA"),
            (_set({**jwk, "kid": "a\nb"}), "kid"),
            (_set({**jwk, "kid": 1}), "kid"),
            (_set(Issuer("HS256").jwk(k="c2hvcnQ")), "5 bytes, and can be guessed"),
            (_set({"kty": "RSA", "n": "AQ", "e": "AQ"}), "RSA"),
            (_set({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}), "make no EC key"),
        ):
            fault = self.fault(content)
            self.assertIn(text, fault)
            self.assertNotIn("AAAA", fault)

    def test_a_secret_is_none_where_it_is_published(self) -> None:
        """A shared secret in what a service answers is refused, not used."""
        self.assertIn("shared secret", self.fault(_set(Issuer("HS256").jwk()), secrets_allowed=False))

    def test_keys_are_not_shown(self) -> None:
        """A key in a log line gives nothing away."""
        (key,) = parse_key_file(_set(Issuer("HS256").jwk())).keys
        self.assertNotIn(SECRET[:8].decode(), repr(key))

    @settings(max_examples=200, deadline=None)
    @given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode())))
    def test_anything_else_is_a_fault(self, content: bytes) -> None:
        """No bytes lead to anything but keys or a KeyFault."""
        for read in (parse_key_file, parse_key_set):
            try:
                self.assertIsInstance(read(content), KeySet)
            except KeyFault:
                pass

    @settings(max_examples=200, deadline=None)
    @given(
        st.fixed_dictionaries(
            {"kty": st.sampled_from(["OKP", "EC", "RSA", "oct"])},
            optional={
                name: st.one_of(st.none(), st.integers(), st.text(max_size=8), st.just("P-256"), st.just("Ed25519"))
                for name in ("crv", "x", "y", "n", "e", "k", "alg", "use", "kid", "key_ops")
            },
        )
    )
    def test_any_key_is_taken_or_a_fault(self, jwk: dict[str, Any]) -> None:
        """A key with whatever members either is one, or is told as none."""
        try:
            parse_key_set(_set(jwk), secrets_allowed=True)
        except KeyFault:
            pass
