# -*- test-case-name: tests.pki.test_requests -*-
"""Signing requests that others made."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.loading import load, read_request
from mqttsecure.pki.names import name_text, parse_names, subject
from mqttsecure.pki.requests import make_request, read_asked, take
from tests.pki.case import PkiCase
from tests.support.openssl import openssl


class RequestTests(PkiCase):
    """A device sends one."""

    def test_openssls_request_is_read(self) -> None:
        """Its name, its alternative names, its key."""
        file = self.folder / "pump.csr"
        openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            self.folder / "pump.key", "-out", file, "-subj", "/O=Plant/CN=pump-7", "-addext",
            "subjectAltName=DNS:pump-7.test,IP:10.0.0.7,URI:urn:device:7",
        )  # fmt: skip
        asked = read_asked(read_request(file), str(file))
        self.assertEqual(asked.name, "pump-7")
        self.assertEqual(asked.asked, ["DNS:pump-7.test", "IP:10.0.0.7", "URI:urn:device:7"])
        self.assertEqual(list(map(name_text, take(asked, ["IP:10.0.0.7"]))), ["IP:10.0.0.7"])
        self.assertEqual(take(asked, ["all"]), list(asked.names))
        self.assertEqual(take(asked, []), [])

    def test_a_changed_request_is_refused(self) -> None:
        """One flipped byte of the name."""
        request = make_request(subject("pump-7"), [], new_key())
        changed = request.public_bytes(Encoding.DER).replace(b"pump-7", b"admin7")
        file = self.write("pump.csr", changed)
        (found,) = load(file)
        with self.assertRaisesRegex(CertificateProblem, "the signature is wrong: it was changed on its way"):
            read_asked(found, str(file))  # type: ignore[arg-type]

    def test_only_what_was_asked_for_is_taken(self) -> None:
        """A slip of the pen names no other device."""
        asked = read_asked(make_request(subject("a"), parse_names(["a.test"]), new_key()), "a.csr")
        with self.assertRaisesRegex(CertificateProblem, "DNS:b.test is not in the request, which asks for DNS:a.test"):
            take(asked, ["b.test"])

    def test_weak_keys_are_refused(self) -> None:
        """Whoever made them."""
        file = self.folder / "weak.csr"
        openssl(
            "req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", self.folder / "k", "-out", file, "-subj", "/CN=a"
        )
        with self.assertRaisesRegex(CertificateProblem, "1024 bits can be broken"):
            read_asked(read_request(file), str(file))

    def test_what_is_no_request(self) -> None:
        """Told by its name."""
        with self.assertRaisesRegex(CertificateProblem, "holds no signing request"):
            read_request(self.make_ca() / "ca.pem")
