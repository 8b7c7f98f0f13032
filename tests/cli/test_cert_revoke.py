# -*- test-case-name: tests.cli.test_cert_revoke -*-
"""``mqttsecure cert renew``, ``revoke`` and ``crl``."""

from __future__ import annotations

import json

from tests.cli.cert_case import CertCase
from tests.support.openssl import openssl, openssl_agrees


class RenewTests(CertCase):
    """A certificate ends soon."""

    def test_in_its_place_with_its_key(self) -> None:
        """The key is untouched; the CA remembers both."""
        self.make_ca()
        self.cert("server", "ca", "a.test")
        old, key = (self.folder / "a.test.pem").read_bytes(), (self.folder / "a.test.key").read_bytes()
        self.cert("renew", "ca", "a.test.pem")
        self.assertNotEqual((self.folder / "a.test.pem").read_bytes(), old)
        self.assertEqual((self.folder / "a.test.key").read_bytes(), key)
        self.assertEqual(len(json.loads(self.cert("list", "ca", "--json").output)), 2)
        openssl("verify", "-CAfile", "ca/ca.pem", "-verify_hostname", "a.test", "a.test.pem")

    def test_a_new_key_needs_force_or_a_new_place(self) -> None:
        """A key is never overwritten by accident."""
        self.make_ca()
        self.cert("client", "ca", "a")
        key = (self.folder / "a.key").read_bytes()
        self.assertIn("is there already", self.cert("renew", "ca", "a.pem", "--new-key", code=1).output)
        self.assertEqual((self.folder / "a.key").read_bytes(), key)
        self.cert("renew", "ca", "a.pem", "--new-key", "--out", "b.pem")
        self.assertEqual(
            openssl("pkey", "-in", "b.key", "-pubout"), openssl("x509", "-in", "b.pem", "-noout", "-pubkey")
        )
        self.cert("renew", "ca", "a.pem", "--new-key", "--force")

    def test_a_key_is_not_replaced_for_a_certificate_that_is_refused(self) -> None:
        """Of a revoked one there will be no new certificate, so that its old key stays."""
        self.make_ca()
        self.cert("client", "ca", "a")
        key = (self.folder / "a.key").read_bytes()
        self.cert("revoke", "ca", "a")
        self.assertIn("was revoked", self.cert("renew", "ca", "a.pem", "--new-key", "--force", code=1).output)
        self.assertEqual((self.folder / "a.key").read_bytes(), key)

    def test_json(self) -> None:
        """For programs that renew and revoke."""
        self.make_ca()
        self.cert("client", "ca", "a")
        renewed = json.loads(self.cert("renew", "ca", "a.pem", "--json").output)
        self.assertEqual(renewed["files"], ["a.pem"])
        revoked = json.loads(self.cert("revoke", "ca", renewed["old"], "--json").output)
        self.assertEqual((revoked["name"], revoked["number"]), ("a", 2))
        self.assertEqual(json.loads(self.cert("crl", "ca", "--json").output)["revoked"], 1)

    def test_another_cas(self) -> None:
        """Told whose it is."""
        self.make_ca()
        self.cert("init", "other", "--no-passphrase")
        self.cert("client", "other", "a")
        self.assertIn("was not issued by ca CA", self.cert("renew", "ca", "a.pem", code=1).output)


class RevokeTests(CertCase):
    """A device is lost."""

    def test_by_file_name_or_serial(self) -> None:
        """The list is written at once, and OpenSSL goes by it."""
        self.make_ca()
        for name in ("a", "b", "c", "d"):
            self.cert("client", "ca", name)
        serial = json.loads(self.cert("list", "ca", "--json").output)[2]["serial"]
        for what in ("a.pem", "b", serial):
            self.cert("revoke", "ca", what, "--reason", "key-compromise")
        check = ("verify", "-CAfile", "ca/ca.pem", "-crl_check", "-CRLfile", "ca/crl.pem")
        agreed = [openssl_agrees(*check, f"{name}.pem")[0] for name in ("a", "b", "c", "d")]
        self.assertEqual(agreed, [False, False, False, True])

    def test_refusals(self) -> None:
        """Twice, nobody, no file, no reason."""
        self.make_ca()
        self.cert("client", "ca", "a")
        self.cert("revoke", "ca", "a")
        self.assertIn("was revoked on", self.cert("revoke", "ca", "a.pem", code=1).output)
        self.assertIn("has issued no certificate", self.cert("revoke", "ca", "nobody", code=1).output)
        self.assertIn("missing.pem does not exist", self.cert("revoke", "ca", "missing.pem", code=1).output)
        self.cert("revoke", "ca", "a", "--reason", "mood", code=2)

    def test_crl_is_renewed(self) -> None:
        """With the next number, until the time that is wished."""
        self.make_ca()
        self.assertIn("number 2, 0 revoked", self.cert("crl", "ca", "--next-update", "7d").output)
        self.assertIn("number 3", self.cert("crl", "ca").output)
        self.assertIn("crlNumber=0x03", openssl("crl", "-in", "ca/crl.pem", "-noout", "-crlnumber"))
        self.assertIn("must come after", self.cert("crl", "ca", "--next-update", "0s", code=1).output)
