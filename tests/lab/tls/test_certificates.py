"""Tests for mqttsecure.lab.tls.certificates: a chain judged as a careful client would have."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import CaptureError
from mqttsecure.lab.model import Check, Outcome
from mqttsecure.lab.tls.certificates import load_authorities, read_facts
from mqttsecure.lab.tls.chain import check_chain, matches_name
from tests.lab.authority import Credential, credential, root

_NOW = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC).timestamp()
_NAME = "broker.lab.test"


def der(found: Credential) -> bytes:
    return found.certificate.public_bytes(serialization.Encoding.DER)


def checks(
    *chain: Credential, trusted: bool = True, name: str | None = _NAME, server: bool = True, time: float = _NOW
) -> dict[str, Check]:
    facts = [read_facts(der(each)) for each in chain]
    authorities = [root().certificate] if trusted else []
    check_chain(facts, authorities, time, name=name, for_server=server)
    return {check.key: check for check in facts[0].checks}


class ChainTests(SynchronousTestCase):
    """What is right and what is wrong with a certificate, each in words."""

    def test_a_good_one(self) -> None:
        """All checks pass, with and without the authority in the chain."""
        for chain in ((credential(),), (credential(), root())):
            found = checks(*chain)
            self.assertEqual({check.outcome for check in found.values()}, {Outcome.OK}, found)

    def bad(self, found: dict[str, Check], key: str, text: str) -> None:
        self.assertEqual(found[key].outcome, Outcome.BAD, found)
        self.assertIn(text, found[key].text)
        others = [check.outcome for name, check in found.items() if name != key]
        self.assertNotIn(Outcome.BAD, others, found)

    def test_wrong_name(self) -> None:
        """Another host, an address, a wildcard one level too high; the common name counts for nothing."""
        for names in (("other.lab.test",), ("10.0.0.1",), ("*.test",), ()):
            self.bad(checks(credential(names=names)), "certificate_name", "WRONG NAME")
        self.bad(checks(credential(), name="10.0.0.1"), "certificate_name", "WRONG NAME")

    def test_right_names(self) -> None:
        """Wildcards for one label, any case, addresses."""
        for names, name in (
            (("*.lab.test",), _NAME),
            (("BROKER.lab.test",), _NAME),
            (("10.0.0.1",), "10.0.0.1"),
            (("fd00::1",), "fd00:0::1"),
            ((_NAME,), f"{_NAME}."),
        ):
            self.assertTrue(matches_name(read_facts(der(credential(names=names))), name), name)
        self.assertFalse(matches_name(read_facts(der(credential(names=("*.lab.test",)))), "a.b.lab.test"))

    def test_no_name_to_compare(self) -> None:
        """Without SNI it is not judged, and that is said."""
        self.assertEqual(checks(credential(), name=None)["certificate_name"].outcome, Outcome.UNKNOWN)

    def test_time_of_the_capture(self) -> None:
        """Expired and not yet valid then, whatever the time is now."""
        early = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        late = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
        old = credential(days=(early, late))
        self.bad(checks(old), "certificate_time", "EXPIRED at the time of the capture")
        self.assertEqual(checks(old, time=early.timestamp() + 1)["certificate_time"].outcome, Outcome.OK)
        self.bad(checks(old, time=early.timestamp() - 1), "certificate_time", "NOT YET VALID")

    def test_purpose(self) -> None:
        """A client's certificate at a server, and the other way round; a CA's own."""
        self.bad(checks(credential(client=True)), "certificate_purpose", "NOT for a server")
        self.bad(checks(credential(), server=False), "certificate_purpose", "NOT for a client")
        self.assertEqual(checks(root(), name=None)["certificate_purpose"].outcome, Outcome.BAD)
        self.assertIn("no purpose", checks(credential(purpose=False))["certificate_purpose"].text)

    def test_trust(self) -> None:
        """Another CA, another CA of the same name, self-signed, an unknown issuer, no CA given."""
        rogue, twin = root("Rogue"), root("Test CA", "p384")
        self.bad(checks(credential(issuer=rogue), rogue), "certificate_trust", "which is NOT TRUSTED: anybody")
        self.bad(checks(credential(issuer=rogue)), "certificate_trust", "NOT TRUSTED and not here")
        self.bad(checks(credential(issuer=twin)), "certificate_trust", "NAMES MATCH, THE SIGNATURE DOES NOT")
        self.bad(checks(credential(issuer=twin), twin), "certificate_trust", "which is NOT TRUSTED")
        self.assertIn("SELF-SIGNED", checks(root("Own"), name=None)["certificate_trust"].text)
        for chain in ((credential(),), (credential(), root())):
            self.assertEqual(checks(*chain, trusted=False)["certificate_trust"].outcome, Outcome.UNKNOWN)

    def test_who_may_not_sign(self) -> None:
        """A server's certificate that signs another; a chain longer than its root allows."""
        middle = credential("middle", "p384", names=())
        self.bad(checks(credential(issuer=middle), middle), "certificate_trust", "is NO CA and may not sign")
        below = _authority("Below", root())
        self.bad(checks(credential(issuer=below), below), "certificate_trust", "allows fewer certificates between")

    def test_strength(self) -> None:
        """A small key and an old hash are told."""
        self.bad(checks(credential(kind="rsa-1024")), "certificate_strength", "1024 bits is too small")

    def test_unreadable(self) -> None:
        """Bytes that are no certificate."""
        facts = read_facts(b"\x30\x03abc")
        self.assertEqual(facts.checks[0].key, "certificate_readable")
        check_chain([facts], [], _NOW, name=None, for_server=True)
        check_chain([], [], _NOW, name=None, for_server=True)
        self.assertEqual(len(facts.checks), 1)

    def test_keys_in_words(self) -> None:
        """Each kind of key."""
        for kind, text in (
            ("rsa", "RSA, 2048 bits"),
            ("p384", "ECDSA on secp384r1"),
            ("ed25519", "Ed25519"),
            ("ed448", "Ed448"),
        ):
            self.assertEqual(read_facts(der(credential(kind=kind))).key_text, text)


def _authority(common: str, by: Credential) -> Credential:
    """A CA below another one."""
    key = credential(kind="p521").key
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)]))
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2049, 1, 1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return Credential(builder.sign(by.key, hashes.SHA256()), key)


class AuthorityTests(SynchronousTestCase):
    """Files of CAs."""

    def test_pem_and_der(self) -> None:
        """One or more."""
        self.assertEqual(len(load_authorities(root().pem + credential().pem, "x")), 2)
        self.assertEqual(len(load_authorities(der(root()), "x")), 1)

    def test_others(self) -> None:
        """A key or anything else."""
        for data in (root().key_pem, b"", b"nothing"):
            self.assertRaisesRegex(CaptureError, "x: holds no certificate", load_authorities, data, "x")
