# -*- test-case-name: tests.pki.test_bundles -*-
"""PKCS#12, with OpenSSL as the judge."""

from __future__ import annotations

from mqttsecure.pki.bundles import pkcs12
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.profiles import Purpose
from tests.pki.case import PkiCase
from tests.support.openssl import openssl, openssl_agrees


class BundleTests(PkiCase):
    """A phone gets a certificate."""

    def test_openssl_opens_it(self) -> None:
        """Key, certificate and CA are in it, under AES; with a wrong passphrase nothing is."""
        key = new_key()
        ca = self.make_ca()
        certificate = self.issue(ca, Purpose.CLIENT, "alice", key=key)
        with self.open(ca) as authority:
            file = self.write("alice.p12", pkcs12(certificate, key, [authority.certificate], b"correct horse"))
        text = openssl("pkcs12", "-in", file, "-passin", "pass:correct horse", "-nodes", "-info")
        self.assertEqual(text.count("BEGIN CERTIFICATE"), 2)
        self.assertEqual(text.count("BEGIN PRIVATE KEY"), 1)
        for expected in ("AES-256-CBC", "MAC: sha256", "friendlyName: alice"):
            self.assertIn(expected, text)
        self.assertFalse(openssl_agrees("pkcs12", "-in", file, "-passin", "pass:wrong horse", "-nodes")[0])

    def test_refusals(self) -> None:
        """A short passphrase, and a key that is another's."""
        certificate = self.issue(self.make_ca(), Purpose.CLIENT, "alice")
        with self.assertRaisesRegex(CertificateProblem, "shorter than 8"):
            pkcs12(certificate, new_key(), [], b"short")
        with self.assertRaisesRegex(CertificateProblem, "not that of the certificate"):
            pkcs12(certificate, new_key(), [], b"correct horse")
