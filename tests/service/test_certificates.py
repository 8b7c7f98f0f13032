# -*- test-case-name: tests.service.test_certificates -*-
"""A certificate that cannot work is told before the start, not by the first client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from twisted.trial import unittest

from mqttsecure.errors import ConfigError
from mqttsecure.service.assembly import Assembly, check
from mqttsecure.service.certificates import check_certificates
from mqttsecure.service.config import load_config
from mqttsecure.service.problems import Problems
from tests.support.config import write_config


class CertificateFileTests(unittest.SynchronousTestCase):
    """Someone names the wrong file."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.files = write_config(self.directory)

    def check(self) -> Assembly:
        return check(load_config(self.files.config))

    def assertRefused(self, text: str) -> None:
        with self.assertRaisesRegex(ConfigError, text):
            self.check()

    def test_right_files(self) -> None:
        """Nothing to say."""
        self.assertEqual(self.check().warnings, ())

    def test_key_of_another_certificate(self) -> None:
        """The two are named."""
        other = trustme.CA().issue_cert("localhost")
        other.private_key_pem.write_to_path(self.directory / "server.key")
        self.assertRefused(r"tls\.key: .*server\.key is not the key of .*server\.pem")

    def test_no_certificate_and_no_key(self) -> None:
        """Text that is no PEM."""
        (self.directory / "server.pem").write_text("hello")
        (self.directory / "server.key").write_text("hello")
        self.assertRefused("holds no PEM certificate")
        self.assertRefused("holds no PEM private key")

    def test_pass_phrase(self) -> None:
        """A daemon cannot be asked for one."""
        key = serialization.load_pem_private_key((self.directory / "server.key").read_bytes(), None)
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        (self.directory / "server.key").write_bytes(encrypted)
        self.assertRefused("has a pass phrase")

    def test_leaf_as_ca(self) -> None:
        """An authority is a CA, not one of its certificates."""
        self.files.ca.write_bytes((self.directory / "server.pem").read_bytes())
        self.assertRefused(r"authority\[0\]\.ca\[0\]: .* is not a CA certificate")

    def test_dates(self) -> None:
        """Expired and not yet valid are refused, an end within a month is warned of."""
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=100)
        leaf = self.files.certificate_authority.issue_cert("localhost", not_after=expires)
        (self.directory / "server.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
        leaf.private_key_pem.write_to_path(self.directory / "server.key")
        config = load_config(self.files.config)
        for moment, warnings, problem in (
            (datetime.now(UTC), 0, None),
            (expires - timedelta(days=5), 1, None),
            (expires + timedelta(days=1), 0, "expired on"),
            (datetime(1999, 1, 1, tzinfo=UTC), 0, "check the clock"),
        ):
            problems = Problems(config.path, config.lines)
            self.assertEqual(len(check_certificates(config, problems, moment)), warnings, moment)
            if problem is None:
                self.assertEqual(problems.texts, [])
            else:
                self.assertIn(problem, problems.texts[0])
