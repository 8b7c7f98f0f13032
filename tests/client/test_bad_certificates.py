"""B1 to B6: a client in front of a server with a bad certificate refuses it, says why, and sends nothing."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mqttsecure.client.client import connect
from mqttsecure.client.failures import CertificateRefused, ClientError, ConnectionLost
from mqttsecure.client.options import ClientOptions, TlsOptions
from mqttsecure.client.pins import fingerprint
from tests.client.brokers import PATIENCE, TlsServer
from tests.client.certificates import Ca, Pair, now

_DAY = datetime.timedelta(days=1)


class BadCertificateCase(TestCase):
    """Somebody in between, with certificates to try."""

    timeout = 120

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.ca = Ca(self.directory)

    def serve(self, pair: Pair, version: ssl.TLSVersion | None = None) -> TlsServer:
        server = TlsServer(pair, version)
        self.addCleanup(server.stop)
        return server

    async def attempt(self, server: TlsServer, host: str = "localhost", **tls: Any) -> ClientError:
        """What the client says; it never connects, as the server speaks no MQTT."""
        options = ClientOptions(
            username="alice", password=b"s3cret", tls=TlsOptions(**{"ca_file": self.ca.file, **tls}), connect_timeout=60
        )
        try:
            await connect(f"mqtts://{host}:{server.port}", reactor, options)
        except ClientError as error:
            server.ended.wait(PATIENCE)
            return error
        raise AssertionError("connected to a server that is no broker")

    async def assert_refused(self, pair: Pair, *words: str, **tls: Any) -> None:
        """Refused with these words in one line, by TLS 1.2 and 1.3, and not a byte of MQTT was sent."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            server = self.serve(pair, version)
            error = await self.attempt(server, **tls)
            self.assertIsInstance(error, CertificateRefused, str(error))
            self.assertNotIn("\n", str(error))
            for word in words:
                self.assertIn(word, str(error))
            self.assertFalse(error.transient)
            self.assertEqual(server.application_bytes, 0)

    async def assert_accepted(self, pair: Pair, host: str = "localhost", **tls: Any) -> None:
        """The control: this certificate gets the CONNECT."""
        server = self.serve(pair)
        error = await self.attempt(server, host, **tls)
        self.assertIsInstance(error, ConnectionLost, str(error))
        self.assertGreater(server.application_bytes, 0)


class VerifyingTests(BadCertificateCase):
    """With verification, as it comes."""

    async def test_good(self) -> None:
        """The control: a good certificate by name, by IPv4 address, without a purpose, with its chain."""
        await self.assert_accepted(self.ca.issue("localhost"))
        await self.assert_accepted(self.ca.issue("127.0.0.1"), "127.0.0.1")
        await self.assert_accepted(self.ca.issue("localhost", purpose=None, with_ca=True))
        await self.assert_accepted(self.ca.issue("other.example"), server_name="other.example")

    async def test_b1_rogue_ca_of_the_same_name(self) -> None:
        """B1: whether its CA comes along or not, and however it is told apart."""
        rogue = Ca(self.directory)
        words = "has only the name of the trusted one", "'CN=lab CA'", "in between"
        await self.assert_refused(rogue.issue("localhost"), *words)
        await self.assert_refused(rogue.issue("localhost", with_ca=True), *words)
        await self.assert_refused(rogue.issue("localhost", key_identifiers=False), *words)

    async def test_another_ca(self) -> None:
        """A CA of another name is one that is not trusted."""
        other = Ca(self.directory, "other CA")
        await self.assert_refused(other.issue("localhost"), "not trusted here", "'CN=other CA'", "--cafile")
        await self.assert_refused(other.issue("localhost", with_ca=True), "not trusted here", "'CN=other CA'")

    async def test_system_store(self) -> None:
        """Without a CA file the system's CAs are asked, who know nothing of the lab."""
        await self.assert_refused(self.ca.issue("localhost"), "not trusted here", ca_file=None)

    async def test_b2_self_signed(self) -> None:
        """B2; and whoever names that very certificate as trusted may use it."""
        pair = self.ca.issue("localhost", self_signed=True)
        await self.assert_refused(pair, "self-signed", "sha256:", "--cafile")
        await self.assert_accepted(pair, ca_file=pair.certificate)

    async def test_b3_expired(self) -> None:
        """B3: with the day."""
        ends = now() - _DAY
        pair = self.ca.issue("localhost", begins=now() - 3 * _DAY, ends=ends)
        await self.assert_refused(pair, "has expired", f"{ends:%Y-%m-%d}", "renewed")

    async def test_b4_not_yet_valid(self) -> None:
        """B4: with the day, and a thought for the clock."""
        begins = now() + 2 * _DAY
        pair = self.ca.issue("localhost", begins=begins)
        await self.assert_refused(pair, "not valid yet", f"{begins:%Y-%m-%d}", "clock")

    async def test_b5_wrong_host(self) -> None:
        """B5: with the names it has."""
        await self.assert_refused(
            self.ca.issue("other.example", "192.0.2.1"), "'other.example', 192.0.2.1", "'localhost'"
        )
        await self.assert_refused(self.ca.issue(), "no subject alternative names")
        await self.assert_refused(self.ca.issue("127.0.0.1"), "127.0.0.1", "'localhost'")

    async def test_b6_client_only(self) -> None:
        """B6: a certificate of a device is none of a broker."""
        pair = self.ca.issue("localhost", purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
        await self.assert_refused(pair, "not made for a server but for clients", "serverAuth")

    async def test_expired_ca(self) -> None:
        """A fault of the CA is told as one of the CA."""
        # The CA that is trusted has run out; its certificates have not.
        self.ca.certificate = self.ca._build(
            self.ca._name, self.ca._key.public_key(), is_ca=True, begins=now() - 3 * _DAY, ends=now() - _DAY
        )
        self.ca.file = self.ca._write("expired-ca", self.ca.certificate)
        await self.assert_refused(self.ca.issue("localhost"), "CA certificate 'CN=lab CA'", "has expired")


class PinTests(BadCertificateCase):
    """With a fingerprint."""

    def pin(self, pair: Pair) -> str:
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        return f"sha256:{certificate.fingerprint(certificate.signature_hash_algorithm).hex()}"  # type: ignore[arg-type]

    async def test_in_place_of_verification(self) -> None:
        """The pinned certificate is taken whatever else is wrong with it; any other is refused, with both told."""
        good = self.ca.issue("localhost", self_signed=True, ends=now() - _DAY / 2)
        pin = self.pin(good)
        certificate = x509.load_pem_x509_certificate(good.certificate.read_bytes())
        self.assertEqual(pin, fingerprint(certificate.public_bytes(Encoding.DER)))
        await self.assert_accepted(good, verify=False, pin=pin)
        for other in (self.ca.issue("localhost"), self.ca.issue("localhost", self_signed=True)):
            await self.assert_refused(other, pin, self.pin(other), verify=False, pin=pin)

    async def test_on_top_of_verification(self) -> None:
        """With verification on, both have to be right."""
        good = self.ca.issue("localhost")
        await self.assert_accepted(good, pin=self.pin(good))
        await self.assert_refused(self.ca.issue("localhost"), self.pin(good), pin=self.pin(good))
        wrong = self.ca.issue("other.example")
        await self.assert_refused(wrong, "'other.example'", pin=self.pin(wrong))
