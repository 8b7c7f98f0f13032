# -*- test-case-name: tests.pki.test_creating -*-
"""New CAs, in one step and through one that is kept offline."""

from __future__ import annotations

import stat
from pathlib import Path

from mqttsecure.pki.authority import open_authority
from mqttsecure.pki.constraints import name_constraints
from mqttsecure.pki.creating import create_request, install_certificate
from mqttsecure.pki.errors import CertificateProblem, FileIsThere
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.loading import read_request
from mqttsecure.pki.names import parse_names, subject
from mqttsecure.pki.profiles import Purpose, Wanted
from mqttsecure.pki.requests import read_asked
from tests.pki.case import PkiCase
from tests.support.openssl import openssl, openssl_agrees


class RootTests(PkiCase):
    """A root in one step."""

    def test_openssl_takes_it_for_a_ca(self) -> None:
        """Strictly, with its constraints; the first list is empty and valid."""
        ca = self.make_ca(constraints=name_constraints(["DNS:lab.test"], []))
        openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", ca / "ca.pem", ca / "ca.pem")
        text = openssl("x509", "-in", ca / "ca.pem", "-noout", "-text")
        for expected in ("CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "DNS:lab.test"):
            self.assertIn(expected, text)
        openssl("crl", "-in", ca / "crl.pem", "-noout", "-CAfile", ca / "ca.pem")

    def test_key_is_for_its_owner_alone(self) -> None:
        """The certificate is for everybody."""
        ca = self.make_ca()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in ca.iterdir()}
        self.assertEqual(modes, {"ca.key": 0o600, "ca.pem": 0o644, "index.jsonl": 0o600, "crl.pem": 0o644})

    def test_nothing_is_overwritten(self) -> None:
        """With force the old index is put aside, so that nothing is forgotten by a slip."""
        ca = self.make_ca()
        before = {path.name: path.read_bytes() for path in ca.iterdir()}
        self.assertRaises(FileIsThere, self.make_ca)
        self.assertEqual({path.name: path.read_bytes() for path in ca.iterdir()}, before)
        self.issue(ca, Purpose.CLIENT, "a")
        with self.assertRaisesRegex(CertificateProblem, "shorter than 8"):
            self.make_ca(force=True, passphrase=b"short")
        self.assertIn('"name": "a"', (ca / "index.jsonl").read_text())
        self.make_ca(force=True)
        self.assertIn('"name": "a"', (ca / "index.jsonl.old").read_text())
        self.assertNotEqual((ca / "ca.key").read_bytes(), before["ca.key"])


class OfflineTests(PkiCase):
    """Request out, certificate in."""

    def signed(self, root: Path, request: Path, purpose: Purpose = Purpose.CA) -> Path:
        asked = read_asked(read_request(request), str(request))
        with self.open(root) as authority:
            wanted = Wanted(subject(asked.name or ""), purpose, ())
            return self.write("signed.pem", authority.with_chain(authority.issue(wanted, asked.key, self.now)))

    def test_openssl_follows_the_chain(self) -> None:
        """The server's file holds what clients need to get to the root; they trust the root alone."""
        root, ca = self.make_ca("root", path_length=1), self.folder / "plant"
        create_request(ca, subject("Plant CA"), passphrase=b"correct horse")
        openssl("req", "-in", ca / "ca.csr", "-verify", "-noout")
        waiting = "waits for its certificate.*--certificate FILE"
        with self.assertRaisesRegex(CertificateProblem, waiting), open_authority(ca):
            pass
        install_certificate(ca, self.signed(root, ca / "ca.csr"), self.now, lambda: b"correct horse")
        self.assertFalse((ca / "ca.csr").exists())
        with open_authority(ca, lambda: b"correct horse") as authority:
            self.assertEqual(authority.name, "Plant CA")
            wanted = Wanted(subject("b"), Purpose.SERVER, parse_names(["b.test"]))
            chain = authority.with_chain(authority.issue(wanted, new_key().public_key(), self.now))
        file = self.write("b.pem", chain)
        self.assertEqual(chain.count(b"BEGIN CERTIFICATE"), 2)
        openssl("verify", "-x509_strict", "-CAfile", root / "ca.pem", "-untrusted", file, file)
        self.assertFalse(openssl_agrees("verify", "-CAfile", root / "ca.pem", file)[0])

    def test_wrong_certificates_are_refused(self) -> None:
        """Another key's, a leaf, none."""
        root, ca = self.make_ca("root", path_length=1), self.folder / "plant"
        with self.assertRaisesRegex(CertificateProblem, "has no ca.csr; begin with"):
            install_certificate(ca, root / "ca.pem", self.now)
        create_request(ca, subject("Plant CA"))
        with self.assertRaisesRegex(CertificateProblem, "is not for the key of"):
            install_certificate(ca, root / "ca.pem", self.now)
        leaf = self.signed(root, ca / "ca.csr", Purpose.CLIENT)
        with self.assertRaisesRegex(CertificateProblem, "is not for a CA; sign the request with: .*--as ca"):
            install_certificate(ca, leaf, self.now)
        self.assertTrue((ca / "ca.csr").exists())
