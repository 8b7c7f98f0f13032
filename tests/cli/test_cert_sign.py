# -*- test-case-name: tests.cli.test_cert_sign -*-
"""``mqttsecure cert sign``."""

from __future__ import annotations

import json

from tests.cli.cert_case import CertCase
from tests.support.openssl import openssl


class SignTests(CertCase):
    """A key was made on the device."""

    def setUp(self) -> None:
        super().setUp()
        self.make_ca()
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "d.key", "-out", "d.csr",
                "-subj", "/CN=pump-7", "-addext", "subjectAltName=DNS:pump-7.test,DNS:admin.test")  # fmt: skip

    def test_nothing_is_taken_unasked(self) -> None:
        """It shows what is asked for, and the command that takes it."""
        output = self.cert("sign", "ca", "d.csr", code=1).output
        self.assertIn("asks for the common name 'pump-7' and for DNS:pump-7.test, DNS:admin.test", output)
        self.assertIn("mqttsecure cert sign ca d.csr --as client --take all", output)
        self.assertFalse((self.folder / "d.pem").exists())

    def test_what_is_confirmed_is_taken(self) -> None:
        """The common name and one of two names; groups are given here, never asked for."""
        self.cert("sign", "ca", "d.csr", "--take", "CN", "--take", "DNS:pump-7.test", "--group", "pumps")
        (row,) = json.loads(self.cert("list", "ca", "--json").output)
        self.assertEqual((row["name"], row["names"], row["purpose"]), ("pump-7", ["DNS:pump-7.test"], "client"))
        self.assertEqual(
            openssl("x509", "-in", "d.pem", "-noout", "-pubkey"), openssl("pkey", "-in", "d.key", "-pubout")
        )

    def test_another_name(self) -> None:
        """The one who signs names it."""
        self.cert("sign", "ca", "d.csr", "--name", "pump-8", "--as", "server", "--san", "pump-8.test", "--out", "x.pem")
        self.assertIn("CN = pump-8", openssl("x509", "-in", "x.pem", "-noout", "-subject"))
        self.cert("verify", "x.pem", "--ca", "ca/ca.pem", "--host", "pump-8.test")

    def test_refusals(self) -> None:
        """A name that was not asked for, a server without a host, a CA below one that may have none."""
        self.assertIn(
            "is not in the request", self.cert("sign", "ca", "d.csr", "--take", "CN", "--take", "x.test", code=1).output
        )
        self.assertIn(
            "needs a host name", self.cert("sign", "ca", "d.csr", "--take", "CN", "--as", "server", code=1).output
        )
        self.assertIn("--path-length 1", self.cert("sign", "ca", "d.csr", "--take", "CN", "--as", "ca", code=1).output)
        self.cert("sign", "ca", "d.csr", "--take", "CN", "--permit", "DNS:x", code=2)
