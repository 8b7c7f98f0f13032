# -*- test-case-name: tests.pki.test_authority -*-
"""The folder of a CA."""

from __future__ import annotations

from datetime import timedelta

from mqttsecure.pki.authority import open_authority
from mqttsecure.pki.errors import CertificateProblem, WrongPassphrase
from mqttsecure.pki.index import serial_text
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.names import name_text, names_of
from mqttsecure.pki.profiles import Purpose
from tests.pki.case import PkiCase


class FolderTests(PkiCase):
    """Something is wrong with it."""

    def test_no_ca(self) -> None:
        """With the command that makes one."""
        with self.assertRaisesRegex(CertificateProblem, "holds no CA .*mqttsecure cert init"), self.open(self.folder):
            pass

    def test_key_kept_elsewhere(self) -> None:
        """It is needed to sign."""
        ca = self.make_ca()
        (ca / "ca.key").unlink()
        with self.assertRaisesRegex(CertificateProblem, "ca.key is missing: it is kept elsewhere"), self.open(ca):
            pass

    def test_key_of_another(self) -> None:
        """Nothing is signed with it."""
        ca, other = self.make_ca(), self.make_ca("other")
        (ca / "ca.key").write_bytes((other / "ca.key").read_bytes())
        with self.assertRaisesRegex(CertificateProblem, "is not the key of .*ca.pem"), self.open(ca):
            pass

    def test_certificate_of_a_leaf(self) -> None:
        """It is no CA."""
        ca = self.make_ca()
        self.issue(ca, Purpose.CLIENT, "a")
        (ca / "ca.pem").write_bytes((self.folder / "a.pem").read_bytes())
        with self.assertRaisesRegex(CertificateProblem, "not the certificate of a CA"), self.open(ca):
            pass

    def test_passphrase(self) -> None:
        """Asked for only where there is one; a wrong one opens nothing."""
        ca = self.make_ca(passphrase=b"correct horse")
        with open_authority(ca, lambda: b"correct horse") as authority:
            self.assertEqual(authority.name, "ca CA")
        with self.assertRaises(WrongPassphrase), open_authority(ca, lambda: b"wrong horse"):
            pass
        with open_authority(self.make_ca("open"), lambda: self.fail("asked for nothing")):
            pass


class RenewTests(PkiCase):
    """A certificate comes to its end."""

    def test_same_names_new_serial(self) -> None:
        """Subject, names, purpose and key stay."""
        ca = self.make_ca()
        old = self.issue(ca, Purpose.SERVER, "broker", "broker.test", "10.0.0.1")
        later = self.now + timedelta(days=800)
        with self.open(ca) as authority:
            new = authority.renew(authority.find("broker", self.now), old.public_key(), None, later)  # type: ignore[arg-type]
        self.assertEqual((new.subject, names_of(new), new.public_key()), (old.subject, names_of(old), old.public_key()))
        self.assertNotEqual(new.serial_number, old.serial_number)
        self.assertGreater(new.not_valid_after_utc, old.not_valid_after_utc)

    def test_a_revoked_one_is_not_renewed(self) -> None:
        """Its key may be known to others."""
        ca = self.make_ca()
        old = self.issue(ca, Purpose.CLIENT, "a")
        with self.open(ca) as authority:
            entry = authority.entry_of(old, "a.pem")
            authority.revoke(entry, "key-compromise", self.now)
            with self.assertRaisesRegex(CertificateProblem, "was revoked .*with a new key"):
                authority.renew(entry, new_key().public_key(), None, self.now)

    def test_another_cas_certificate_is_refused(self) -> None:
        """Also where both CAs have the same name."""
        ca, other = self.make_ca(), self.make_ca("other")
        foreign = self.issue(other, Purpose.CLIENT, "a")
        with self.open(ca) as authority, self.assertRaisesRegex(CertificateProblem, "was not issued by ca CA"):
            authority.entry_of(foreign, "a.pem")


class FindTests(PkiCase):
    """Someone names a certificate."""

    def test_by_serial_or_name(self) -> None:
        """Serials with or without colons; a name only where one is live."""
        ca = self.make_ca()
        first = self.issue(ca, Purpose.CLIENT, "pump-7")
        serial = serial_text(first.serial_number)
        with self.open(ca) as authority:
            colons = ":".join(serial[place : place + 2] for place in range(0, len(serial), 2))
            for what in (serial, serial.upper(), colons, "pump-7"):
                self.assertEqual(authority.find(what, self.now).serial, first.serial_number)
        self.issue(ca, Purpose.CLIENT, "pump-7")
        with self.open(ca) as authority:
            with self.assertRaisesRegex(CertificateProblem, f"2 live certificates.*{serial}"):
                authority.find("pump-7", self.now)
            with self.assertRaisesRegex(CertificateProblem, "has issued no certificate 'pump-8'"):
                authority.find("pump-8", self.now)
            with self.assertRaisesRegex(CertificateProblem, "are revoked or expired"):
                authority.find("pump-7", self.now + timedelta(days=2000))

    def test_twice_revoked(self) -> None:
        """Told, not done again."""
        ca = self.make_ca()
        made = self.issue(ca, Purpose.CLIENT, "a")
        with self.open(ca) as authority:
            entry = authority.entry_of(made, "a")
            authority.revoke(entry, "unspecified", self.now)
            with self.assertRaisesRegex(CertificateProblem, "was revoked on"):
                authority.revoke(entry, "unspecified", self.now)
            with self.assertRaisesRegex(CertificateProblem, "is no reason; take one of"):
                authority.revoke(entry, "mood", self.now)

    def test_names_are_told_as_they_are_written(self) -> None:
        """For the list of what was issued."""
        made = self.issue(self.make_ca(), Purpose.CLIENT, "a", "urn:device:7")
        self.assertEqual(list(map(name_text, names_of(made))), ["URI:urn:device:7"])
