"""Tests for mqttsecure.lab.tls: messages and hellos that are rare or damaged, signatures of all schemes, assembly."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.model import Outcome
from mqttsecure.lab.tls import messages
from mqttsecure.lab.tls.assembly import Assembler, Origin
from mqttsecure.lab.tls.cursor import Malformed
from mqttsecure.lab.tls.hello import RETRY_RANDOM, downgrade_sentinel, hello_value, read_client_hello, read_server_hello
from mqttsecure.lab.tls.messages import Signature
from mqttsecure.lab.tls.signatures import check_signature
from tests.lab.authority import Credential, credential

_HEADER = b"\0\0\0\0"


def der(found: Credential) -> bytes:
    return found.certificate.public_bytes(serialization.Encoding.DER)


class HelloTests(SynchronousTestCase):
    """Hellos that somebody wrote by hand."""

    def test_a_hello_without_extensions(self) -> None:
        """As old clients send it."""
        hello = read_client_hello(_HEADER + b"\3\1" + bytes(32) + b"\0" + b"\0\4\0\x2f\x56\0" + b"\2\1\0")
        self.assertEqual((hello.legacy_version, hello.suites, hello.extensions), (0x0301, (0x2F, 0x5600), ()))
        self.assertEqual((hello.server_name, hello.versions, hello.key_share_groups), (None, [], []))
        self.assertEqual(hello.fields[4].text, "DEFLATE, null")
        self.assertIn("tries again with a lower version", hello.fields[3].fields[1].meaning)
        self.assertEqual(hello_value(hello), "offers TLS 1.0, 2 cipher suites")

    def test_compression_and_sentinels(self) -> None:
        """What a server should not choose, and what it says of itself in its random."""
        raw = _HEADER + b"\3\3" + bytes(24) + b"DOWNGRD\0" + b"\0\0\x2f\1"
        hello = read_server_hello(raw)
        self.assertEqual((hello.compression, hello.selected_version, hello.version), (1, None, 0x0303))
        self.assertIn("CRIME", hello.fields[4].meaning)
        self.assertEqual(downgrade_sentinel(hello.random), "TLS 1.1 or below")
        self.assertIn("agreed to TLS 1.1 or below", hello.fields[1].meaning)
        self.assertIsNone(downgrade_sentinel(bytes(32)))

    def test_retry(self) -> None:
        """Known by its random."""
        hello = read_server_hello(_HEADER + b"\3\3" + RETRY_RANDOM + b"\0\x13\1\0")
        self.assertTrue(hello.retry)
        self.assertIsNone(hello.key_share_group)
        self.assertEqual(hello_value(hello), "asks for another ClientHello")

    def test_very_many_suites(self) -> None:
        """As many as a message has room for: the first are told one by one."""
        suites = bytes(2) * 32000
        hello = read_client_hello(_HEADER + b"\3\3" + bytes(33) + len(suites).to_bytes(2, "big") + suites + b"\1\0")
        self.assertEqual((len(hello.suites), len(hello.fields[3].fields)), (32000, 512))
        self.assertIn("and 31488 more", hello.fields[3].text)

    def test_damaged(self) -> None:
        """Cut anywhere, or with something behind."""
        whole = _HEADER + b"\3\3" + bytes(33) + b"\0\2\0\x2f" + b"\1\0"
        for size in range(4, len(whole)):
            self.assertRaises(Malformed, read_client_hello, whole[:size])
        self.assertRaises(Malformed, read_client_hello, whole + b"\0\0x")
        self.assertRaises(Malformed, read_server_hello, whole[:30])


class MessageTests(SynchronousTestCase):
    """Other messages."""

    def test_alerts(self) -> None:
        """Known and unknown ones."""
        level, description = messages.read_alert(b"\2\x30")
        self.assertEqual((level.text, description.text), ("fatal", "unknown_ca"))
        level, description = messages.read_alert(b"\7\x07")
        self.assertEqual((level.text, description.text), ("unknown (7)", "unknown (7)"))
        self.assertRaises(Malformed, messages.read_alert, b"\2")

    def test_exchanges_that_are_rare(self) -> None:
        """An explicit curve, another key exchange, anonymous, a small prime, a hint before the key."""
        self.assertRaisesRegex(
            Malformed, "type 1", messages.read_server_key_exchange, _HEADER + b"\1", "ECDHE", "RSA", 0x303
        )
        self.assertEqual(messages.read_server_key_exchange(_HEADER + b"x", "KRB5", "KRB5", 0x303).kind, "other")
        prime = b"\0\x40" + b"\xff" * 64 + b"\0\1\2" + b"\0\2\1\2"
        found = messages.read_server_key_exchange(_HEADER + prime, "DH", "anon", 0x303)
        self.assertIn("Logjam", found.fields[0].meaning)
        self.assertIsNone(found.signature)
        hinted = _HEADER + b"\0\4hint" + b"\3\0\x1d\2ab"
        self.assertEqual(messages.read_server_key_exchange(hinted, "ECDHE", "PSK", 0x303).public, b"ab")
        old = messages.read_server_key_exchange(_HEADER + b"\3\0\x1d\2ab\0\3sig", "ECDHE", "RSA", 0x302)
        self.assertEqual(old.signature, Signature(None, b"sig"))

    def test_client_exchanges(self) -> None:
        """Each kind."""
        for exchange, authentication, body, kind, value in (
            ("ECDHE", "RSA", b"\2ab", "ECDHE", b"ab"),
            ("DHE", "RSA", b"\0\2ab", "DHE", b"ab"),
            ("RSA", "RSA", b"\0\2ab", "RSA encrypted premaster", b"ab"),
            ("PSK", "PSK", b"\0\2id", "PSK", b"id"),
            ("ECDHE", "PSK", b"\0\2id\2ab", "ECDHE", b"ab"),
            ("KRB5", "KRB5", b"xyz", "KRB5", b"xyz"),
        ):
            found = messages.read_client_key_exchange(_HEADER + body, exchange, authentication)
            self.assertEqual(found[:2], (kind, value))

    def test_status_and_update(self) -> None:
        """An OCSP answer, a KeyUpdate with an unknown request, far too many certificates."""
        self.assertEqual(messages.read_certificate_status(_HEADER + b"\1\0\0\1x")[1].value, "78")
        self.assertEqual(messages.read_key_update(_HEADER + b"\7")[0].text, "7")
        many = b"\0\0\0" * 65
        body = _HEADER + len(many).to_bytes(3, "big") + many
        self.assertRaises(Malformed, messages.read_certificate, body, 0x303)


class SignatureTests(SynchronousTestCase):
    """Signatures that fit, that do not, and that cannot be."""

    def check(self, found: Credential, scheme: int | None, signature: bytes) -> Outcome:
        return check_signature("x", der(found), Signature(scheme, signature), b"content", "it").outcome

    def test_rsa(self) -> None:
        """PKCS1 and PSS, each hash."""
        found = credential(kind="rsa")
        key = found.key
        if not isinstance(key, rsa.RSAPrivateKey):
            self.fail("no RSA key")
        for scheme, algorithm in ((0x0401, hashes.SHA256()), (0x0501, hashes.SHA384()), (0x0601, hashes.SHA512())):
            signature = key.sign(b"content", padding.PKCS1v15(), algorithm)
            self.assertEqual(self.check(found, scheme, signature), Outcome.OK)
            self.assertEqual(self.check(found, scheme, signature[:-1] + bytes((signature[-1] ^ 1,))), Outcome.BAD)
            pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            signature = key.sign(b"content", pss, algorithm)
            self.assertEqual(self.check(found, scheme >> 8 | 0x0800, signature), Outcome.OK)
            self.assertEqual(self.check(found, (scheme >> 8) + 0x0805, signature), Outcome.OK)

    def test_keys_that_do_not_fit(self) -> None:
        """A scheme that the certificate's key cannot have made."""
        for kind, scheme in (("rsa", 0x0403), ("p256", 0x0804), ("p256", 0x0807), ("p256", 0x0402)):
            self.assertEqual(self.check(credential(kind=kind), scheme, b"sig"), Outcome.BAD)

    def test_what_cannot_be_checked(self) -> None:
        """Unknown schemes, TLS 1.0's own, no certificate, bytes that are none: open, not wrong."""
        signature = Signature(0x0403, b"sig")
        self.assertEqual(self.check(credential(), 0xFEFE, b"sig"), Outcome.UNKNOWN)
        self.assertEqual(self.check(credential(kind="rsa"), None, b"sig"), Outcome.UNKNOWN)
        self.assertEqual(check_signature("x", None, signature, b"", "it").outcome, Outcome.UNKNOWN)
        self.assertEqual(check_signature("x", b"no", signature, b"", "it").outcome, Outcome.UNKNOWN)

    def test_ecdsa_and_edwards(self) -> None:
        """The other kinds, right and wrong."""
        found = credential()
        if not isinstance(found.key, ec.EllipticCurvePrivateKey):
            self.fail("no elliptic curve key")
        signature = found.key.sign(b"content", ec.ECDSA(hashes.SHA256()))
        self.assertEqual(self.check(found, 0x0403, signature), Outcome.OK)
        self.assertEqual(self.check(found, 0x0503, signature), Outcome.BAD)
        for kind, scheme in (("ed25519", 0x0807), ("ed448", 0x0808)):
            self.assertEqual(self.check(credential(kind=kind), scheme, bytes(64)), Outcome.BAD)


class AssemblyTests(SynchronousTestCase):
    """Bytes that remember where they came from."""

    def test_origins_of_a_part(self) -> None:
        """All pieces that a part lies in, and no other."""
        found = Assembler()
        for number in range(1, 4):
            found.feed(b"abc", Origin((number,), float(number), (number + 10,)))
        found.feed(b"", Origin((9,), 9.0))
        self.assertEqual(found.peek(4), b"abca")
        self.assertEqual(found.take(3), (b"abc", Origin((1,), 1.0, (11,))))
        self.assertEqual(found.take(4), (b"abca", Origin((2, 3), 3.0, (12, 13))))
        self.assertEqual(len(found), 2)
        self.assertEqual(found.clear(), 2)
        self.assertEqual(found.take(0), (b"", Origin((), 0.0, ())))
