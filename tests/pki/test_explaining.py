# -*- test-case-name: tests.pki.test_explaining -*-
"""What files say, in words."""

from __future__ import annotations

from datetime import timedelta

from mqttsecure.pki.bundles import pkcs12
from mqttsecure.pki.constraints import name_constraints
from mqttsecure.pki.explaining import explain
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.loading import load
from mqttsecure.pki.profiles import Purpose
from tests.pki.case import PkiCase
from tests.support.openssl import openssl


class ExplainingTests(PkiCase):
    """Someone looks at a file."""

    def rows(self, name: str, kind: str, later: timedelta = timedelta(0)) -> dict[str, str]:
        (found,) = [each for each in explain(load(self.folder / name), self.now + later) if each.kind == kind]
        return dict(found.rows)

    def test_certificate(self) -> None:
        """As OpenSSL reads it."""
        self.issue(self.make_ca(), Purpose.SERVER, "broker", "broker.test", "10.0.0.1")
        rows = self.rows("broker.pem", "certificate")
        for option, row in (("-fingerprint", "fingerprint"), ("-serial", "serial")):
            told = openssl("x509", "-in", self.folder / "broker.pem", "-noout", "-sha256", option)
            value = told.strip().partition("=")[2].replace(":", "").lower()
            self.assertEqual(rows[row].removeprefix("sha256:"), value)
        self.assertEqual(rows["for"], "servers")
        self.assertEqual(rows["names"], "DNS:broker.test, IP:10.0.0.1")
        self.assertIn("824 more days", rows["valid"])
        self.assertIn("expired", self.rows("broker.pem", "certificate", timedelta(days=900))["valid"])
        self.assertIn("not yet", self.rows("broker.pem", "certificate", timedelta(days=-9))["valid"])

    def test_ca(self) -> None:
        """What it may vouch for."""
        self.make_ca(constraints=name_constraints(["DNS:lab.test"], ["DNS:secret.lab.test"]))
        rows = self.rows("ca/ca.pem", "certificate")
        self.assertEqual((rows["issued by"], rows["for"]), ("itself", "a CA, with 0 CAs below it"))
        self.assertEqual(
            (rows["may vouch only for"], rows["must not vouch for"]), ("DNS:lab.test", "DNS:secret.lab.test")
        )

    def test_key_is_never_shown(self) -> None:
        """The hash of its public half is: the same as the certificate's."""
        self.issue(self.make_ca(), Purpose.CLIENT, "a")
        rows = self.rows("a.key", "private key")
        self.assertEqual(sorted(rows), ["hash", "kind"])
        self.assertEqual(rows["hash"], self.rows("a.pem", "certificate")["key hash"])

    def test_revocation_list(self) -> None:
        """Who is on it and why."""
        ca = self.make_ca()
        made = self.issue(ca, Purpose.CLIENT, "a")
        with self.open(ca) as authority:
            authority.revoke(authority.entry_of(made, "a"), "key-compromise", self.now)
            authority.write_crl(self.now)
        rows = self.rows("ca/crl.pem", "revocation list")
        self.assertEqual((rows["number"], rows["revoked"]), ("2", "1"))
        self.assertTrue(any(value.endswith("UTC (key compromise)") for value in rows.values()), rows)

    def test_bundle(self) -> None:
        """Each part of it."""
        key = new_key()
        ca = self.make_ca()
        certificate = self.issue(ca, Purpose.CLIENT, "a", key=key)
        file = self.write("a.p12", pkcs12(certificate, key, [], b"correct horse"))
        found = explain(load(file, lambda: b"correct horse"), self.now)
        self.assertEqual([each.kind for each in found], ["certificate in PKCS#12", "private key in PKCS#12"])

    def test_public_key(self) -> None:
        """Alone in a file."""
        file = self.folder / "k.pem"
        openssl("genpkey", "-algorithm", "ed25519", "-out", file)
        openssl("pkey", "-in", file, "-pubout", "-out", self.folder / "p.pem")
        self.assertEqual(self.rows("p.pem", "public key"), self.rows("k.pem", "private key"))
