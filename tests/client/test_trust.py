"""Files that TLS is set up from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from OpenSSL import SSL, crypto
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.address import Address
from mqttsecure.client.failures import CertificateRefused, OptionsInvalid, TlsFailed
from mqttsecure.client.options import TlsOptions
from mqttsecure.client.trust import Judge, Trust, tls_failure
from tests.client.certificates import Ca

_ADDRESS = Address("localhost", 8883, True)


class FilesTests(SynchronousTestCase):
    """Someone names the wrong file."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.ca = Ca(self.directory)

    def refused(self, **tls: Any) -> str:
        return str(self.assertRaises(OptionsInvalid, Trust, _ADDRESS, TlsOptions(**tls)))

    def test_told(self) -> None:
        """Which file, what is wrong with it, what helps."""
        empty = self.directory / "empty.pem"
        empty.touch()
        one, two = self.ca.issue("a"), self.ca.issue("b")
        self.assertIn("no certificate in it", self.refused(ca_file=empty))
        self.assertIn("cannot be read", self.refused(ca_file=self.directory))
        self.assertIn("no private key in it", self.refused(certificate_file=one.certificate))
        self.assertIn("does not belong to", self.refused(certificate_file=one.certificate, key_file=two.key))
        locked = self.directory / "locked.key"
        locked.write_bytes(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            )
        )
        self.assertIn("is encrypted", self.refused(certificate_file=one.certificate, key_file=locked))
        Trust(_ADDRESS, TlsOptions(ca_file=self.ca.file, certificate_file=one.certificate, key_file=one.key))

    def test_name_indication(self) -> None:
        """Names go into SNI without a dot at the end, addresses do not."""
        for host, expected in {"a.example.": b"a.example", "192.0.2.1": None, "::1": None}.items():
            connection = Trust(Address(host, 1, True), TlsOptions()).clientConnectionForTLS(None)  # type: ignore[arg-type]
            self.assertEqual(connection.get_servername(), expected)


class JudgeTests(SynchronousTestCase):
    """What no certificate should be able to do."""

    def test_unreadable_certificate(self) -> None:
        """A certificate that breaks its reader is refused, not let through."""
        judge = Judge(_ADDRESS, TlsOptions(), ())
        self.assertFalse(judge.judge(None, None, 0, 0, 1))  # type: ignore[arg-type]
        self.assertIsInstance(judge.refusal, CertificateRefused)
        self.assertFalse(judge.is_satisfied)

    def test_satisfied_by_the_leaf_alone(self) -> None:
        """Good CAs above are not enough."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        ca = Ca(directory)
        judge = Judge(_ADDRESS, TlsOptions(), ())
        self.assertTrue(judge.judge(None, crypto.X509.from_cryptography(ca.certificate), 0, 1, 1))  # type: ignore[arg-type]
        self.assertFalse(judge.is_satisfied)


class FailureTests(SynchronousTestCase):
    """Alerts in words."""

    def words(self, text: str) -> str:
        judge = Judge(_ADDRESS, TlsOptions(), ())
        return str(tls_failure(judge, Failure(SSL.Error([("SSL routines", "", text)]))))

    def test_alerts(self) -> None:
        """What the broker's TLS says is told as what it means, with OpenSSL's words beside it."""
        self.assertIn("--cert", self.words("tlsv13 alert certificate required"))
        self.assertIn("does not speak TLS", self.words("wrong version number"))
        self.assertIn("strange words", self.words("strange words"))

    def test_no_failure_of_tls(self) -> None:
        """A connection that just ended is none."""
        judge = Judge(_ADDRESS, TlsOptions(), ())
        self.assertIsNone(tls_failure(judge, Failure(SSL.ZeroReturnError())))
        self.assertIsNone(tls_failure(judge, Failure(ConnectionError())))
        self.assertIsInstance(tls_failure(judge, Failure(SSL.Error())), TlsFailed)
