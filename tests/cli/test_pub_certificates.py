"""``mqttsecure pub`` and ``sub`` in front of somebody in between: B1 to B6, pins, client certificates."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.pins import fingerprint
from tests.cli.client_case import PATIENCE, run_command
from tests.client.brokers import TlsServer
from tests.client.certificates import Ca, Pair, now

_DAY = datetime.timedelta(days=1)


class CertificateTests(SynchronousTestCase):
    """Somebody in between shows a certificate, and counts what I send."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.ca = Ca(self.directory)

    def run_against(self, pair: Pair, name: str, *more: object, code: int = 4) -> tuple[str, int]:
        """What the command says, and how many bytes it sent through TLS."""
        server = TlsServer(pair)
        self.addCleanup(server.stop)
        what = ("-m", "secret") if name == "pub" else ()
        done = run_command(
            name,
            *("-L", f"mqtts://localhost:{server.port}", "--cafile", self.ca.file, "-t", "lab/x", *what),
            *("-u", "alice", "--no-reconnect", "--timeout", "30s", *more),
            more={"MQTTSECURE_PASSWORD": "s3cret"},
        )
        server.ended.wait(PATIENCE)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        self.assertEqual((done.stdout, done.stderr.count(b"\n")), (b"", 1), done.stderr.decode())
        return done.stderr.decode(), server.application_bytes

    def test_b1_to_b6(self) -> None:
        """Each is refused with 4 and one line that names it, and nothing of me was sent."""
        rogue = Ca(self.directory)
        cases = {
            "only the name": rogue.issue("localhost"),
            "self-signed": self.ca.issue("localhost", self_signed=True),
            "has expired": self.ca.issue("localhost", begins=now() - 2 * _DAY, ends=now() - _DAY),
            "not valid yet": self.ca.issue("localhost", begins=now() + _DAY),
            "is for 'other.example'": self.ca.issue("other.example"),
            "for clients": self.ca.issue("localhost", purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
        }
        for number, (words, pair) in enumerate(cases.items()):
            said, sent = self.run_against(pair, "pub" if number % 2 else "sub")
            self.assertIn(words.replace("only the name", "has only the name of the trusted one"), said)
            self.assertEqual(sent, 0, words)

    def test_pin(self) -> None:
        """With the right pin I talk to a certificate that nobody vouches for; a wrong one is told with both."""
        pair = self.ca.issue("localhost", self_signed=True)
        pin = fingerprint(x509.load_pem_x509_certificate(pair.certificate.read_bytes()).public_bytes(Encoding.DER))
        _, sent = self.run_against(pair, "pub", "--insecure", "--pin", pin, code=3)
        self.assertGreater(sent, 0)
        wrong = f"sha256:{'0' * 64}"
        said, sent = self.run_against(pair, "pub", "--insecure", "--pin", wrong)
        self.assertIn(pin, said)
        self.assertIn(wrong, said)
        self.assertEqual(sent, 0)

    def test_broker_wants_a_certificate(self) -> None:
        """I have none: I am told what to give, by TLS 1.2 and 1.3."""
        pair = self.ca.issue("localhost")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            server = TlsServer(pair, version, clients_of=self.ca.file)
            self.addCleanup(server.stop)
            url = f"mqtts://localhost:{server.port}"
            base = ("pub", "-L", url, "--cafile", self.ca.file, "-t", "x", "-m", "x", "--no-reconnect")
            done = run_command(*base)
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn(b"--cert", done.stderr)
