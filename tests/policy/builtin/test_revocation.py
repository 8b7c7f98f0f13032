"""Tests for mqttsecure.policy.builtin.revocation."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin import revocation
from mqttsecure.policy.builtin.certificates import CertificateRefused
from mqttsecure.policy.builtin.revocation import RevocationLists, read_lists
from tests.policy.builtin.helpers import Authority, later

NOW = later(0)


class ReadListsTests(SynchronousTestCase):
    """Reading files."""

    def _file(self, content: bytes) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return path

    def test_reads_several_lists(self) -> None:
        """One file may hold the lists of several CAs."""
        lists = read_lists(self._file(Authority("A").crl(1, 2) + Authority("B").crl()))
        self.assertEqual([sorted(found.serials) for found in lists], [[1, 2], []])

    def test_refuses_files_that_cannot_be_used(self) -> None:
        """Missing, empty, cut, damaged, partial: each is told in words."""
        good = Authority().crl(1)
        cut, damaged = good[: len(good) // 2], good.replace(b"M", b"N", 3)
        for content, text in ((b"", "holds no"), (cut, "ends within"), (damaged, "cannot be read")):
            self.assertIn(text, str(self.assertRaises(ValueError, read_lists, self._file(content))))
        self.assertIn("delta", str(self.assertRaises(ValueError, read_lists, self._file(Authority().crl(delta=True)))))
        self.assertIn("cannot be read", str(self.assertRaises(ValueError, read_lists, Path("nowhere.crl"))))

    def test_refuses_a_file_beyond_all_measure(self) -> None:
        """A mistaken path to something huge is refused before it is parsed."""

        self.patch(revocation, "MAXIMUM_CRL_BYTES", 10)
        self.assertIn("larger", str(self.assertRaises(ValueError, read_lists, self._file(Authority().crl()))))


class RevocationListsTests(SynchronousTestCase):
    """Asking about a chain."""

    def setUp(self) -> None:
        self.ca = Authority()
        self.der = self.ca.issue("a", serial=7)
        self.path = Path(self.mktemp())

    def _lists(self, content: bytes) -> RevocationLists:
        self.path.write_bytes(content)
        lists = RevocationLists((self.path,))
        lists.read()
        return lists

    def _refusal(self, lists: RevocationLists, authority: Authority | None = None, der: bytes = b"") -> str:
        chain = (authority or self.ca).chain(der or self.der)
        return str(self.assertRaises(CertificateRefused, lists.check, chain, NOW))

    def test_accepts_what_is_not_on_a_current_list(self) -> None:
        """A certificate that is not revoked passes."""
        self._lists(self.ca.crl(8)).check(self.ca.chain(self.der), NOW)

    def test_refuses_what_is_on_it(self) -> None:
        """A revoked certificate is refused, even by a list that has been replaced."""
        self.assertIn("revoked", self._refusal(self._lists(self.ca.crl(7))))
        self.assertIn("revoked", self._refusal(self._lists(self.ca.crl(7, ends=later(-1)) + self.ca.crl())))

    def test_refuses_where_no_list_counts(self) -> None:
        """Expired, not yet valid, of another CA, or with a forged signature: as if there were none."""
        for content, text in (
            (self.ca.crl(ends=later(-1)), "expired"),
            (self.ca.crl(begins=later(1)), "expired"),
            (Authority("Other").crl(), "missing"),
            (self.ca.crl(key=Authority("forger").key), "missing"),
        ):
            self.assertIn(text, self._refusal(self._lists(content)))

    def test_names_the_cas_whose_clients_are_refused(self) -> None:
        """Known ahead of the first client: which CA has no list that counts now."""
        for content, gaps in (
            (self.ca.crl(), []),
            (self.ca.crl(ends=later(-1)), ["CN=Lab CA"]),
            (Authority("Other").crl(), ["CN=Lab CA"]),
        ):
            self.assertEqual(self._lists(content).gaps([self.ca.der], NOW), gaps)

    def test_an_intermediate_ca_needs_its_list_too(self) -> None:
        """Each certificate below the anchor is checked, so a revoked CA takes all of its own with it."""
        below = Authority("Below", issuer=self.ca)
        der = below.issue("deep")
        self.assertIn("missing", self._refusal(self._lists(self.ca.crl()), below, der))
        self._lists(self.ca.crl() + below.crl()).check(below.chain(der), NOW)
        revoked = self.ca.crl(below.certificate.serial_number) + below.crl()
        self.assertIn("revoked", self._refusal(self._lists(revoked), below, der))

    def test_is_unusable_until_read(self) -> None:
        """Nothing passes a list that nobody has read."""
        self.assertIn("not read", self._refusal(RevocationLists((self.path,))))

    def test_notices_replacement_and_loss(self) -> None:
        """A new list is noticed; a list that is gone, or half-written, refuses everyone."""
        lists = self._lists(self.ca.crl())
        self.assertFalse(lists.changed())
        content = self.ca.crl(7)
        self.path.write_bytes(content)
        os.utime(self.path, ns=(1, 1))
        self.assertTrue(lists.changed())
        lists.read()
        self.assertIn("revoked", self._refusal(lists))
        self.path.write_bytes(content[:50])
        lists.read()
        self.assertIn("ends within", self._refusal(lists))
        self.path.unlink()
        self.assertTrue(lists.changed())
        lists.read()
        self.assertFalse(lists.changed())
        self.assertIn("cannot be read", self._refusal(lists))

    def test_finds_forged_lists_at_start(self) -> None:
        """A list that names the CA but is not signed by it is a fault of the configuration."""
        forged = self._lists(self.ca.crl(key=Authority("forger").key))
        self.assertIn("not signed", forged.signature_faults((self.ca.der,))[0])
        self.assertEqual(self._lists(self.ca.crl()).signature_faults((self.ca.der,)), [])
