# -*- test-case-name: tests.pki.test_issuing -*-
"""What stands in certificates, with OpenSSL as the judge."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.names import subject
from mqttsecure.pki.profiles import LEAF_LIFETIME, Purpose, Wanted, purpose_of
from tests.pki.case import PkiCase
from tests.support.openssl import openssl, openssl_agrees


class LeafTests(PkiCase):
    """Servers and clients get certificates."""

    def test_openssl_accepts_a_server_for_its_purpose_and_names_alone(self) -> None:
        """Chain, purpose, host names, wildcard and addresses."""
        ca = self.make_ca()
        self.issue(ca, Purpose.SERVER, "broker", "broker.lab.test", "*.plant.test", "10.77.0.10", "fd77::10")
        file = self.folder / "broker.pem"
        strict = ("verify", "-x509_strict", "-CAfile", ca / "ca.pem")
        openssl(*strict, "-purpose", "sslserver", "-verify_hostname", "a.plant.test", file)
        openssl(*strict, "-purpose", "sslserver", "-verify_ip", "10.77.0.10", file)
        self.assertFalse(openssl_agrees(*strict, "-purpose", "sslclient", file)[0])
        for option, value, expected in (
            ("-checkhost", "broker.lab.test", True),
            ("-checkhost", "x.plant.test", True),
            ("-checkhost", "x.y.plant.test", False),
            ("-checkhost", "other.lab.test", False),
            ("-checkip", "fd77::10", True),
            ("-checkip", "10.77.0.11", False),
        ):
            told = openssl("x509", "-in", file, "-noout", option, value)
            self.assertEqual("does NOT match" not in told, expected, told)

    def test_openssl_accepts_a_client_as_a_client_alone(self) -> None:
        """It cannot pose as the server."""
        ca = self.make_ca()
        self.issue(ca, Purpose.CLIENT, "pump-7", "URI:urn:device:7")
        strict = ("verify", "-x509_strict", "-CAfile", ca / "ca.pem", "-purpose")
        openssl(*strict, "sslclient", self.folder / "pump-7.pem")
        self.assertFalse(openssl_agrees(*strict, "sslserver", self.folder / "pump-7.pem")[0])
        self.assertIn("URI:urn:device:7", openssl("x509", "-in", self.folder / "pump-7.pem", "-noout", "-text"))

    def test_every_kind_of_key_signs_and_is_signed(self) -> None:
        """CA and server of one kind each; no signature is by SHA-1."""
        for kind in ("ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048"):  # longer ones take seconds to make
            ca = self.make_ca(kind, kind=kind)
            self.issue(ca, Purpose.SERVER, f"{kind}.test", f"{kind}.test", key=new_key(kind))
            openssl("verify", "-x509_strict", "-CAfile", ca / "ca.pem", self.folder / f"{kind}.test.pem")

    def test_lifetimes(self) -> None:
        """The default, a wish, and what makes no sense."""
        ca = self.make_ca()
        default = self.issue(ca, Purpose.CLIENT, "a")
        self.assertEqual(default.not_valid_after_utc - default.not_valid_before_utc, LEAF_LIFETIME)
        wished = self.issue(ca, Purpose.CLIENT, "b", lifetime=timedelta(days=7))
        self.assertEqual(wished.not_valid_after_utc, self.now + timedelta(days=7))
        for lifetime, reason in (
            (timedelta(seconds=1), "a minute at least"),
            (timedelta(days=4000), "would outlive its CA"),
            (timedelta(days=999_999_999), "past the year 9999"),
        ):
            with self.assertRaisesRegex(CertificateProblem, reason):
                self.issue(ca, Purpose.CLIENT, "c", lifetime=lifetime)

    def test_a_lifetime_that_nobody_asked_for_ends_with_the_ca(self) -> None:
        """So that no certificate outlives who vouches for it."""
        ca = self.make_ca(lifetime=timedelta(days=30))
        self.assertEqual(self.issue(ca, Purpose.CLIENT, "a").not_valid_after_utc, self.now + timedelta(days=30))

    def test_an_expired_ca_signs_nothing(self) -> None:
        """Nor one that is not valid yet; each with the mend."""
        ca = self.make_ca(lifetime=timedelta(days=30))
        with self.assertRaisesRegex(CertificateProblem, "expired on .*; make a new one with `mqttsecure cert init`"):
            self.issue(ca, Purpose.CLIENT, "a", now=self.now + timedelta(days=31))
        with self.assertRaisesRegex(CertificateProblem, "check the clock"):
            self.issue(ca, Purpose.CLIENT, "a", now=self.now - timedelta(days=1))

    def test_a_server_without_a_host_is_refused(self) -> None:
        """Clients do not look at the common name."""
        with self.assertRaisesRegex(CertificateProblem, "needs a host name or an address"):
            self.issue(self.make_ca(), Purpose.SERVER, "broker.test", "URI:urn:broker")

    def test_serials_are_long_and_each_once(self) -> None:
        """Nobody can guess the next one."""
        ca = self.make_ca()
        serials = {self.issue(ca, Purpose.CLIENT, f"c{number}").serial_number for number in range(20)}
        self.assertEqual(len(serials), 20)
        self.assertTrue(all(serial.bit_length() > 100 for serial in serials))

    def test_purposes_are_told_apart(self) -> None:
        """Of what we issue; None for what does not say."""
        ca = self.make_ca()
        for purpose in (Purpose.CLIENT, Purpose.SERVER):
            self.assertIs(purpose_of(self.issue(ca, purpose, "a", "a.test")), purpose)


class DepthTests(PkiCase):
    """CAs below CAs."""

    def test_a_ca_that_may_have_none_below_it_makes_none(self) -> None:
        """With the mend."""
        with self.open(self.make_ca()) as authority, self.assertRaisesRegex(CertificateProblem, "--path-length 1"):
            authority.issue(Wanted(subject("sub"), Purpose.CA), new_key().public_key(), self.now)

    def test_path_length_stands_in_it(self) -> None:
        """One level, and no more."""
        with self.open(self.make_ca(path_length=1)) as authority:
            made = authority.issue(Wanted(subject("sub"), Purpose.CA), new_key().public_key(), self.now)
        self.assertEqual(made.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length, 0)
