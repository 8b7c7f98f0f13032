"""Tests for mqttsecure.policy.builtin.certificates."""

from __future__ import annotations

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.certificates import (
    CertificateRefused,
    fingerprint,
    groups_of,
    name_of,
    parse_certificate,
    spki_hash,
)
from tests.policy.builtin.helpers import Authority

_ALL = ("san-uri", "san-dns", "san-email", "cn")
_CN = x509.NameOID.COMMON_NAME
_OU = x509.NameOID.ORGANIZATIONAL_UNIT_NAME


def _subject(*names: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in names])


class NameTests(SynchronousTestCase):
    """Whose certificate it is."""

    def setUp(self) -> None:
        self.ca = Authority()

    def _name(self, der: bytes, kinds: tuple = _ALL) -> tuple[str, str]:
        return name_of(parse_certificate(der), kinds)

    def test_takes_the_first_kind_that_is_there(self) -> None:
        """A subject alternative name goes before the common name, in the order I give."""
        uri, dns = x509.UniformResourceIdentifier("urn:dev:1"), x509.DNSName("one.example")
        der = self.ca.issue("one", dns, uri, x509.RFC822Name("one@example"))
        self.assertEqual(self._name(der), ("san-uri", "urn:dev:1"))
        self.assertEqual(self._name(der, ("san-dns", "cn")), ("san-dns", "one.example"))
        self.assertEqual(self._name(der, ("san-email",)), ("san-email", "one@example"))
        self.assertEqual(self._name(der, ("cn", "san-uri")), ("cn", "one"))
        self.assertEqual(self._name(self.ca.issue("plain")), ("cn", "plain"))

    def test_refuses_ambiguity(self) -> None:
        """A certificate that could be read as two people is nobody's."""
        two_names = self.ca.issue("one", x509.DNSName("a.example"), x509.DNSName("b.example"))
        two_cns = self.ca.issue(_subject((_CN, "alice"), (_CN, "admin")))
        both = x509.RelativeDistinguishedName([x509.NameAttribute(_CN, "alice"), x509.NameAttribute(_OU, "x")])
        for der in (two_names, two_cns, self.ca.issue(x509.Name([both]))):
            self.assertRaises(CertificateRefused, self._name, der)

    def test_refuses_names_that_do_not_print(self) -> None:
        """NUL, line breaks and invisible characters are in no name."""
        for text in ("ali\0ce", "a\nb", "a\u202eb", "a\u200b"):
            self.assertRaises(CertificateRefused, self._name, self.ca.issue(_subject((_CN, text))))
        self.assertRaises(CertificateRefused, self._name, self.ca.issue("a", x509.DNSName("a\0b")))

    def test_keeps_topic_characters_as_they_are(self) -> None:
        """A name with + or # stays that name; it is the rules that never let it match."""
        self.assertEqual(self._name(self.ca.issue("a/#")), ("cn", "a/#"))

    def test_refuses_a_certificate_without_such_a_name(self) -> None:
        """No name of the kinds asked for is no identity."""
        self.assertRaises(CertificateRefused, self._name, self.ca.issue(_subject((_OU, "x"))))
        self.assertRaises(CertificateRefused, self._name, self.ca.issue("one"), ("san-uri",))

    def test_refuses_what_is_no_certificate(self) -> None:
        """Bytes that cannot be read are refused as such."""
        self.assertRaises(CertificateRefused, parse_certificate, b"\x30\x03abc")

    def test_refuses_a_subject_that_cannot_be_read(self) -> None:
        """Damaged parts inside a readable certificate are a refusal, never another error."""
        der = self.ca.issue("damaged", x509.DNSName("damaged.example"))
        # A UTF8String of the subject that is not UTF-8, and an IA5String of the extension that is not ASCII.
        for needle, kinds in ((b"\x0c\x07damaged", ("cn",)), (b"damaged.example", _ALL)):
            broken = bytearray(der)
            broken[broken.index(needle) + len(needle) - 1] = 0xFF
            self.assertRaises(CertificateRefused, self._name, bytes(broken), kinds)


class GroupTests(SynchronousTestCase):
    """Groups and fingerprints."""

    def test_groups_are_the_organizational_units(self) -> None:
        """Every organizational unit is a group."""
        der = Authority().issue(_subject((_CN, "one"), (_OU, "sensors"), (_OU, "hall 2")))
        self.assertEqual(groups_of(parse_certificate(der)), {"sensors", "hall 2"})

    def test_refuses_groups_that_do_not_print(self) -> None:
        """A group is held to the same as a name."""
        der = Authority().issue(_subject((_CN, "one"), (_OU, "a\tb")))
        self.assertRaises(CertificateRefused, groups_of, parse_certificate(der))

    def test_key_hash_survives_renewal_and_fingerprint_does_not(self) -> None:
        """I can deny a key in whatever certificate it comes."""
        ca = Authority()
        first, second = ca.issue("one"), ca.issue("two")
        self.assertEqual(spki_hash(parse_certificate(first)), spki_hash(parse_certificate(second)))
        self.assertNotEqual(fingerprint(first), fingerprint(second))
