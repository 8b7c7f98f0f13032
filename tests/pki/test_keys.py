# -*- test-case-name: tests.pki.test_keys -*-
"""Private keys."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from mqttsecure.pki.errors import CertificateProblem, WrongPassphrase
from mqttsecure.pki.keys import (
    KEY_KINDS,
    describe_key,
    key_fingerprint,
    key_pem,
    new_key,
    read_key,
    usable_public_key,
)
from mqttsecure.pki.pkcs8 import ROUNDS
from tests.pki.case import PkiCase
from tests.support.openssl import openssl, openssl_agrees


class KeyTests(PkiCase):
    """Someone makes keys and keeps them."""

    def test_every_kind_is_made_and_read_by_openssl(self) -> None:
        """What is written is what OpenSSL takes for the same key."""
        told = []
        for kind in KEY_KINDS:
            key = new_key(kind)
            told.append(describe_key(key.public_key()))
            file = self.write("key.pem", key_pem(key))
            public = openssl("pkey", "-in", file, "-pubout", "-outform", "DER", "-out", self.folder / "public.der")
            self.assertEqual(public, "")
            digest = openssl("dgst", "-sha256", "-r", self.folder / "public.der").split()[0]
            self.assertEqual(digest, key_fingerprint(key.public_key()), kind)
            self.assertEqual(read_key(file.read_bytes(), "key").public_key(), key.public_key())
        self.assertEqual(told, ["ECDSA P-256", "ECDSA P-384", "Ed25519", "RSA 2048", "RSA 3072", "RSA 4096"])

    def test_a_passphrase_closes_it(self) -> None:
        """OpenSSL opens it with the right one and with no other; so do we."""
        key = new_key()
        file = self.write("key.pem", key_pem(key, b"correct horse"))
        openssl("pkey", "-in", file, "-passin", "pass:correct horse", "-noout")
        self.assertFalse(openssl_agrees("pkey", "-in", file, "-passin", "pass:wrong horse", "-noout")[0])
        opened = read_key(file.read_bytes(), "key.pem", lambda: b"correct horse")
        self.assertEqual(opened.public_key(), key.public_key())
        with self.assertRaisesRegex(WrongPassphrase, "key.pem does not open with this passphrase"):
            read_key(file.read_bytes(), "key.pem", lambda: b"wrong horse")
        with self.assertRaisesRegex(WrongPassphrase, "key.pem has a passphrase; give it with --passphrase-file"):
            read_key(file.read_bytes(), "key.pem")

    def test_guessing_takes_long(self) -> None:
        """The rounds stand in the file."""
        file = self.write("key.pem", key_pem(new_key(), b"correct horse"))
        self.assertIn(f"INTEGER           :{ROUNDS:06X}", openssl("asn1parse", "-in", file))

    def test_short_passphrases_are_refused(self) -> None:
        """They would be guessed all the same."""
        with self.assertRaisesRegex(CertificateProblem, "shorter than 8 characters"):
            key_pem(new_key(), b"secret")

    def test_keys_that_nobody_should_use(self) -> None:
        """Each with what to take instead."""
        for key, text in (
            (rsa.generate_private_key(65_537, 1024).public_key(), "1024 bits can be broken; make one of 3072"),
            (ec.generate_private_key(ec.SECP256K1()).public_key(), "secp256k1 is not used in TLS; make a key on P-256"),
            (ed448.Ed448PrivateKey.generate().public_key(), "are not taken; make one of ecdsa-p256"),
        ):
            with self.assertRaisesRegex(CertificateProblem, text):
                usable_public_key(key, "key.pem")

    def test_what_is_no_key_is_told(self) -> None:
        """Not a traceback."""
        for text in (b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
            with self.assertRaisesRegex(CertificateProblem, "key.pem holds no private key"):
                read_key(text, "key.pem")
