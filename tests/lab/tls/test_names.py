"""Tests for mqttsecure.lab.tls.names, suites and ffdhe: numbers, names, grades."""

from __future__ import annotations

import re
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.tls.ffdhe import named_prime, prime_of
from mqttsecure.lab.tls.names import group_name, is_grease, scheme_name, version_name
from mqttsecure.lab.tls.suites import SUITES, describe_suite, suite_name
from tests.support.foreign import require


class NameTests(SynchronousTestCase):
    """Numbers by name."""

    def test_known_unknown_and_made_up(self) -> None:
        """Each number has a name, if only that it has none."""
        self.assertEqual(version_name(0x0304), "TLS 1.3")
        self.assertEqual(version_name(0x7F1C), "TLS 1.3 draft 28")
        self.assertEqual(group_name(0x001D), "x25519")
        self.assertEqual(scheme_name(0x0804), "rsa_pss_rsae_sha256")
        for name in (group_name, scheme_name, suite_name):
            self.assertEqual(name(0xFEFE), "unknown (0xfefe)")
            self.assertEqual(name(0x4A4A), "GREASE (0x4a4a)")
        self.assertEqual([number for number in range(0x10000) if is_grease(number)][:2], [0x0A0A, 0x1A1A])

    def test_suites_have_the_names_that_openssl_knows(self) -> None:
        """Each suite that OpenSSL tells under its standard name, with the same number."""
        command = [require("openssl"), "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
        output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        found = re.findall(r"0x(\w\w),0x(\w\w) - (TLS_\w+)", output)
        self.assertGreater(len(found), 100)
        for high, low, name in found:
            self.assertEqual(SUITES[int(high + low, 16)], name)


class GradeTests(SynchronousTestCase):
    """A suite spelled out: key exchange, authentication, cipher, hash, and whether one should use it."""

    def test_the_suites_of_the_lab(self) -> None:
        """The one of the lab text, and the one of today."""
        old = describe_suite(0x003C)
        self.assertEqual((old.key_exchange, old.authentication, old.cipher), ("RSA", "RSA", "AES_128_CBC"))
        self.assertEqual((old.hash, old.grade), ("SHA-256", "weak"))
        self.assertEqual(old.reasons, ("no forward secrecy", "CBC"))
        new = describe_suite(0xC02F)
        self.assertEqual((new.key_exchange, new.authentication, new.mode), ("ECDHE", "RSA", "GCM"))
        self.assertEqual((new.hash, new.grade, new.forward_secrecy), ("SHA-256", "good", True))

    def test_grades(self) -> None:
        """Broken, weak and good ones, each with its reason."""
        for number, grade, reason in (
            (0x1301, "good", ""),
            (0xCCA8, "good", ""),
            (0x009E, "good", ""),
            (0x0005, "broken", "RC4"),
            (0x0001, "broken", "no encryption"),
            (0x0018, "broken", "nobody is authenticated"),
            (0x0003, "broken", "40-bit"),
            (0x0060, "broken", "export"),
            (0x000A, "weak", "Sweet32"),
            (0xC013, "weak", "SHA-1"),
            (0xC0AE, "weak", "64 bits"),
            (0x00A2, "weak", "DSA"),
            (0x00A8, "weak", "no forward secrecy"),
            (0xFEFE, "broken", "nobody knows"),
        ):
            suite = describe_suite(number)
            self.assertEqual(suite.grade, grade, suite)
            self.assertIn(reason, " ".join(suite.reasons), suite)


class PrimeTests(SynchronousTestCase):
    """Finite-field groups by their primes."""

    def test_computed_from_e_and_pi(self) -> None:
        """They end and begin as the RFCs print them, and are odd numbers that pass Fermat's test."""
        for name, last in (
            ("ffdhe2048", 0x886B423861285C97),
            ("ffdhe3072", 0x25E41D2B66C62E37),
            ("ffdhe8192", 0xD68C8BB7C5C6424C),
            ("modp2048", 0x15728E5A8AACAA68),
        ):
            prime = prime_of(name)
            self.assertEqual(prime >> 64 & 0xFFFFFFFFFFFFFFFF, last, name)
            self.assertEqual(prime.bit_length(), int(name[-4:]))
            self.assertEqual(named_prime(prime.to_bytes(prime.bit_length() // 8, "big")), name)
        for name in ("ffdhe2048", "modp2048", "modp1536"):
            prime = prime_of(name)
            self.assertEqual(pow(3, prime - 1, prime), 1)

    def test_others_have_no_name(self) -> None:
        """A prime that a server made up."""
        self.assertIsNone(named_prime(b"\xff" * 256))
        self.assertIsNone(named_prime(b""))
