# -*- test-case-name: tests.pki.test_revoking -*-
"""Revocation lists, with OpenSSL as the judge."""

from __future__ import annotations

from datetime import timedelta

from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.loading import read_crls
from mqttsecure.pki.profiles import Purpose
from mqttsecure.pki.revoking import REASONS, reason_text
from mqttsecure.policy.builtin.revocation import read_lists
from tests.pki.case import PkiCase
from tests.support.openssl import openssl, openssl_agrees


class RevokingTests(PkiCase):
    """A key is lost."""

    def test_openssl_refuses_what_is_revoked_and_nothing_else(self) -> None:
        """With the list, and only once it is written."""
        ca = self.make_ca()
        lost, _ = self.issue(ca, Purpose.CLIENT, "lost"), self.issue(ca, Purpose.CLIENT, "kept")
        check = ("verify", "-CAfile", ca / "ca.pem", "-crl_check", "-CRLfile", ca / "crl.pem")
        openssl(*check, self.folder / "lost.pem")
        with self.open(ca) as authority:
            authority.revoke(authority.entry_of(lost, "lost"), "key-compromise", self.now)
            authority.write_crl(self.now)
        agreed, told = openssl_agrees(*check, self.folder / "lost.pem")
        self.assertFalse(agreed)
        self.assertIn("certificate revoked", told)
        openssl(*check, self.folder / "kept.pem")
        text = openssl("crl", "-in", ca / "crl.pem", "-noout", "-text", "-CAfile", ca / "ca.pem")
        self.assertIn("verify OK", text)
        self.assertIn("Key Compromise", text)

    def test_numbers_grow(self) -> None:
        """Also over openings; the next update is the one asked for."""
        ca = self.make_ca()
        for expected in (2, 3):
            with self.open(ca) as authority:
                made = authority.write_crl(self.now, timedelta(days=7))
            self.assertEqual(made.next_update_utc, self.now + timedelta(days=7))
            self.assertIn(f"crlNumber=0x{expected:02X}", openssl("crl", "-in", ca / "crl.pem", "-noout", "-crlnumber"))
        with self.open(ca) as authority, self.assertRaisesRegex(CertificateProblem, "must come after this one"):
            authority.write_crl(self.now, timedelta(0))

    def test_every_reason(self) -> None:
        """Is in the list and read again; the one that says nothing is left out."""
        ca = self.make_ca()
        for reason in REASONS:
            made = self.issue(ca, Purpose.CLIENT, reason)
            with self.open(ca) as authority:
                authority.revoke(authority.entry_of(made, reason), reason, self.now)
                authority.write_crl(self.now)
        (crl,) = read_crls(ca / "crl.pem")
        told = sorted(reason_text(entry) for entry in crl)
        expected = sorted("" if reason == "unspecified" else f" ({reason.replace('-', ' ')})" for reason in REASONS)
        self.assertEqual(told, expected)

    def test_the_broker_takes_it(self) -> None:
        """The policy client-certificate reads the same file."""
        ca = self.make_ca()
        (found,) = read_lists(ca / "crl.pem")
        with self.open(ca) as authority:
            self.assertTrue(found.is_signed_by(authority.certificate.public_bytes(Encoding.DER)))
        self.assertTrue(found.is_current(self.now))
