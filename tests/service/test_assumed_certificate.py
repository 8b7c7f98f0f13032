# -*- test-case-name: tests.service.test_assumed_certificate -*-
"""Certificates that are asked about."""

from __future__ import annotations

from pathlib import Path

from twisted.trial import unittest

from mqttsecure.errors import ConfigError
from mqttsecure.policy.environment import Authority
from mqttsecure.service.assumed_certificate import (
    assumed_chain,
    certificate_chain,
    choose_authority,
    trusted_authorities,
)
from tests.support.chains import listener
from tests.support.config import write_config


class CertificateTests(unittest.SynchronousTestCase):
    """Someone has a certificate, or imagines one."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.files = write_config(self.directory)
        self.authority = Authority.load("lab", ca_files=[self.files.ca])

    def test_real_one(self) -> None:
        """Is verified up to the authority's CA."""
        certificate, _ = self.files.issue("pump")
        chain = certificate_chain(certificate, [self.authority])
        self.assertEqual((len(chain), chain[-1]), (2, self.authority.ca_certificates[0]))

    def test_of_another_ca(self) -> None:
        """The handshake would fail, and that is said."""
        other = self.directory / "other"
        other.mkdir()
        certificate, _ = write_config(other).issue("pump")
        error = self.assertRaises(ConfigError, certificate_chain, certificate, [self.authority])
        self.assertIn("no CA that the listener trusts", str(error))

    def test_files_that_hold_none(self) -> None:
        """Missing, and not PEM."""
        self.assertRaises(ConfigError, certificate_chain, self.directory / "none.pem", [self.authority])
        self.assertRaises(ConfigError, certificate_chain, self.files.users, [self.authority])

    def test_imagined_ones_that_cannot_be(self) -> None:
        """No name, too long a one, no CA."""
        for name in ("", "x" * 65):
            self.assertRaises(ValueError, assumed_chain, name, (), self.authority)
        self.assertRaises(ValueError, assumed_chain, "x", (), Authority("people"))

    def test_whose(self) -> None:
        """The only authority, or the one that is named."""
        other = Authority("other")
        self.assertIs(choose_authority([other], None), other)
        self.assertIs(choose_authority([self.authority, other], "other"), other)
        for trusted, name in (([self.authority, other], None), ([other], "lab"), ([], None)):
            self.assertRaises(ConfigError, choose_authority, trusted, name)
        self.assertEqual(trusted_authorities(listener(), {}), [])
