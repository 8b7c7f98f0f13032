"""Tests for mqttsecure.service.audit_certificates: what the audit log keeps of a client's certificate."""

from __future__ import annotations

import json
import warnings

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import TlsFacts
from mqttsecure.policy.builtin.certificates import fingerprint
from mqttsecure.service.audit_certificates import certificate_record, chain_of, chain_record

CA = trustme.CA()


def der_of(pem: trustme.Blob) -> bytes:
    return x509.load_pem_x509_certificate(pem.bytes()).public_bytes(Encoding.DER)


LEAF = der_of(CA.issue_cert("pump-7.example", "192.0.2.7", "ops@example.com", common_name="pump-7").cert_chain_pems[0])
VERSION = LEAF.index(b"\xa0\x03\x02\x01\x02") + 4
OLD = LEAF[:VERSION] + b"\x01" + LEAF[VERSION + 1 :]
"""A certificate of version 2, which OpenSSL takes for one, and cryptography does not."""


class RecordTests(SynchronousTestCase):
    """What a person looks for."""

    def test_all_of_it(self) -> None:
        """Whose it is, whose word that is, its number, since and until when."""
        certificate = x509.load_der_x509_certificate(LEAF)
        record = certificate_record(LEAF)
        self.assertIn("CN=pump-7", record["subject"])
        self.assertEqual(record["issuer"], certificate.issuer.rfc4514_string())
        self.assertEqual(record["serial"], f"{certificate.serial_number:x}")
        self.assertEqual(record["fingerprint"], fingerprint(LEAF))
        self.assertEqual(record["names"], ["DNS:pump-7.example", "IP:192.0.2.7", "email:ops@example.com"])
        self.assertTrue(record["valid_from"] < record["expires"])
        self.assertTrue(record["expires"].endswith("Z"))

    def test_many_long_names(self) -> None:
        """A stranger's certificate does not fill the disk."""
        names = [f"{'a' * 60}.{'b' * 60}.{index}.example" for index in range(200)]
        record = certificate_record(der_of(CA.issue_cert(*names).cert_chain_pems[0]))
        self.assertLess(len(json.dumps(record)), 16_000)
        self.assertEqual(len(record["names"]), 16)

    def test_odd_certificates(self) -> None:
        """What OpenSSL took for a certificate and others cannot read is told by its fingerprint alone."""
        for der in (b"", b"nonsense", OLD):
            self.assertEqual(certificate_record(der), {"subject": "unreadable", "fingerprint": fingerprint(der)})

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255)), min_size=1, max_size=3))
    def test_any_byte_may_be_wrong(self, changes: list[tuple[int, int]]) -> None:
        """Nothing but a record comes of it."""
        broken = bytearray(LEAF)
        for position, value in changes:
            broken[position] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.assertIn("fingerprint", certificate_record(bytes(broken)))


class ChainTests(SynchronousTestCase):
    """The certificates themselves."""

    def test_there_and_back(self) -> None:
        """As they were verified."""
        chain = (LEAF, der_of(CA.cert_pem))
        texts = chain_record(TlsFacts("TLSv1.3", "X", peer_certificate=LEAF, verified_chain=chain))
        assert texts is not None
        self.assertEqual(chain_of(json.loads(json.dumps(texts))), chain)

    def test_bounded(self) -> None:
        """A chain that is too long or too large is not recorded, nor one that was not verified."""
        for chain in ((), (LEAF,) * 9, (b"x" * 13_000,)):
            self.assertIsNone(chain_record(TlsFacts("TLSv1.3", "X", peer_certificate=LEAF, verified_chain=chain)))

    def test_damaged(self) -> None:
        """A ValueError, whatever stands there."""
        for texts in ([], ["!"], [7], None, 7, {"a": 1}, "abc"):
            with self.assertRaises(ValueError, msg=repr(texts)):
                chain_of(texts)  # type: ignore[arg-type]  # as a file may hold it
