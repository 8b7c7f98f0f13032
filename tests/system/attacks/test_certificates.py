# -*- test-case-name: tests.system.attacks.test_certificates -*-
"""Certificates that mean to name somebody else: what is ambiguous is refused, and a name counts within its CA alone."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.config import ALICE_PASSWORD, BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections
from tests.system.attacks.client import AttackClient, Unexpected

_Name = x509.Name | Sequence[tuple[x509.ObjectIdentifier, str]]


class _Issuer:
    """Signs whatever it is asked to."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key

    @classmethod
    def of(cls, authority: trustme.CA) -> _Issuer:
        key = load_pem_private_key(authority.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(x509.load_pem_x509_certificate(authority.cert_pem.bytes()), key)

    @classmethod
    def called(cls, name: x509.Name) -> _Issuer:
        """A CA of that name, with a key of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, name, key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issue(
        self,
        directory: Path,
        subject: _Name,
        alternatives: Sequence[x509.GeneralName] = (),
        *,
        usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
        days: tuple[int, int] = (-1, 1),
        ca: bool = False,
    ) -> tuple[Path, Path]:
        """Files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        if not isinstance(subject, x509.Name):
            subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
        builder = _builder(subject, self.certificate.subject, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(own, critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        number = len(list(directory.iterdir()))
        files = directory / f"{number}.pem", directory / f"{number}.key"
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: tuple[int, int] = (-1, 1)
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
    )


_CN = NameOID.COMMON_NAME
_OU = NameOID.ORGANIZATIONAL_UNIT_NAME


def _as_version_2(pem: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The same certificate, but for its version, signed anew (RFC 5280 section 4.1)."""
    inner = x509.load_pem_x509_certificate(pem.encode()).tbs_certificate_bytes
    place = inner.index(b"\xa0\x03\x02\x01\x02") + 4
    inner = inner[:place] + b"\x01" + inner[place + 1 :]
    signature = key.sign(inner, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    return _sequence(0x30, inner + algorithm + _sequence(0x03, b"\0" + signature))


def _sequence(tag: int, content: bytes) -> bytes:
    """One element of DER."""
    size = len(content)
    length = bytes((size,)) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
    return bytes((tag,)) + length + content


class CertificateTests(AttackCase):
    """Two authorities, whose CAs have one name: people, who have passwords too, and devices."""

    listeners = 1
    twin: ClassVar[_Issuer]

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        rules = ("permit user:alice publish,read lab/#", "permit user:bob read lab/#")
        files = allow_many_connections(write_config(directory, rules=rules))
        people = _Issuer.of(files.certificate_authority)
        cls.twin = _Issuer.called(people.certificate.subject)
        (directory / "devices.pem").write_bytes(cls.twin.certificate.public_bytes(Encoding.PEM))
        text = files.config.read_text().replace('authorities = ["lab"]', 'authorities = ["lab", "devices"]')
        files.config.write_text(text + '\n[[authority]]\nname = "devices"\nca = ["devices.pem"]\n')
        return files

    def setUp(self) -> None:
        super().setUp()
        self.people = _Issuer.of(self.files.certificate_authority)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)

    def _connect(
        self, files: tuple[Path, Path], username: str | None = None, password: str | None = None
    ) -> int | None:
        """The code of the CONNACK; None where the handshake was refused."""
        try:
            client = AttackClient(self.broker.ports["tls"], context=self.files.client_context(files))
        except OSError:
            return None
        self.addCleanup(client.close)
        self.last = client
        try:
            return client.connect(f"c-{id(client)}", username, password)
        except Unexpected:
            return None

    def test_proper_certificates(self) -> None:
        """alice's certificate makes her alice: what follows is refused for what it is."""
        self.assertEqual(0, self._connect(self.people.issue(self.directory, [(_CN, "alice")])))
        self.assertEqual([0], self.last.subscribe("lab/#"))

    def test_one_name_of_two_authorities(self) -> None:
        """CN=alice of the devices' CA, which has the very name of the people's CA, is not the alice of the people."""
        self.assertEqual(0, self._connect(self.twin.issue(self.directory, [(_CN, "alice")])))
        self.assertEqual([0x87], self.last.subscribe("lab/#"))
        self.assertEqual(0x87, self.last.publish("lab/x"))
        self.assert_logged("devices:alice connected")

    def test_two_identities_in_one_connect(self) -> None:
        """A device's certificate and alice's password are two people, so neither gets in."""
        files = self.twin.issue(self.directory, [(_CN, "alice")])
        self.assertGreaterEqual(self._connect(files, "alice", ALICE_PASSWORD) or 0xFF, 0x80)

    def test_ambiguous_subjects(self) -> None:
        """Two common names, one in a multi-valued RDN, or none: nobody."""
        multi = x509.Name(
            [x509.RelativeDistinguishedName([x509.NameAttribute(_CN, "alice"), x509.NameAttribute(_OU, "admins")])]
        )
        for subject in (multi, [(_CN, "alice"), (_CN, "bob")], [(_CN, "bob"), (_CN, "alice")], [(_OU, "admins")]):
            self._assert_refused(subject)

    def _assert_refused(self, subject: _Name, alternatives: Sequence[x509.GeneralName] = ()) -> None:
        code = self._connect(self.people.issue(self.directory, subject, alternatives))
        self.assertTrue(code is None or code >= 0x80, (subject, alternatives, code))

    def test_names_that_do_not_print(self) -> None:
        """NUL, line ends and direction marks in a name: nobody."""
        for name in ("alice\0.evil", "alice\n", "\u202eecila", "alice\x7f", " "[:0] + "\u200balice"):
            self._assert_refused([(_CN, name)])

    def test_names_that_would_widen_a_rule(self) -> None:
        """Wildcards and separators in a certificate's name reach nobody else's tree."""
        for name in ("+", "#", "alice/#", "$SYS"):
            code = self._connect(self.people.issue(self.directory, [(_CN, name)]))
            if code == 0:
                self.assertEqual([0x87] * 3, self.last.subscribe("lab/#", "#", "$SYS/#"))
                self.assertEqual(0x87, self.last.publish("lab/x"))

    def test_alternative_names(self) -> None:
        """Several alternative names of a kind are ambiguous; a single one counts before the common name."""
        two = [x509.DNSName("alice"), x509.DNSName("bob")]
        self._assert_refused([(_CN, "alice")], two)
        self._assert_refused([(_CN, "alice")], [x509.DNSName("alice"), x509.DNSName("alice")])
        self.assertEqual(0, self._connect(self.people.issue(self.directory, [(_CN, "alice")], [x509.DNSName("eve")])))
        self.assertEqual([0x87], self.last.subscribe("lab/#"))

    def test_certificates_that_are_not_valid(self) -> None:
        """Expired, not yet valid, only for servers, or self-signed: the handshake fails."""
        alice = [(_CN, "alice")]
        alone = _Issuer.called(x509.Name([x509.NameAttribute(_CN, "alice")]))
        for files in (
            self.people.issue(self.directory, alice, days=(-3, -1)),
            self.people.issue(self.directory, alice, days=(1, 3)),
            self.people.issue(self.directory, alice, usage=ExtendedKeyUsageOID.SERVER_AUTH),
            alone.issue(self.directory, alice),
        ):
            self.assertIsNone(self._connect(files))
        self.assert_logged("the TLS handshake failed")

    def test_certificates_that_only_openssl_reads(self) -> None:
        """Of version 2, be it signed by our CA or by nobody: refused again and again, and alice still gets in."""
        for signer in (self.people, _Issuer.called(x509.Name([x509.NameAttribute(_CN, "nobody")]))):
            odd = signer.issue(self.directory, [(_CN, "odd")])
            odd[0].write_text(ssl.DER_cert_to_PEM_cert(_as_version_2(odd[0].read_text(), signer.key)))
            for _ in range(12):  # more often than a policy may fail before it is not asked any more
                code = self._connect(odd)
                self.assertTrue(code is None or code >= 0x80, code)
        self.assertNotIn("Traceback", self.new_log)
        self.assertNotIn("indeterminate", self.new_log)
        self.assertEqual(0, self._connect(self.people.issue(self.directory, [(_CN, "alice")])))

    def test_forged_ca_of_the_same_name(self) -> None:
        """A third CA with the name of ours signs a certificate for alice: the handshake fails."""
        forger = _Issuer.called(self.people.certificate.subject)
        self.assertIsNone(self._connect(forger.issue(self.directory, [(_CN, "alice")])))

    def test_leaf_that_plays_ca(self) -> None:
        """bob signs a certificate for alice with the key of his own certificate: the handshake fails."""
        files = self.people.issue(self.directory, [(_CN, "bob")])
        key = load_pem_private_key(files[1].read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        bob = _Issuer(x509.load_pem_x509_certificate(files[0].read_bytes()), key)
        forged = bob.issue(self.directory, [(_CN, "alice")])
        forged[0].write_bytes(forged[0].read_bytes() + files[0].read_bytes())
        self.assertIsNone(self._connect(forged))
