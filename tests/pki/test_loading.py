# -*- test-case-name: tests.pki.test_loading -*-
"""Files of all forms."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates
from hypothesis import given, settings
from hypothesis import strategies as st

from mqttsecure.pki.bundles import pkcs12
from mqttsecure.pki.errors import CertificateProblem, WrongPassphrase
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.loading import load, parse, read_certificates, read_crls
from mqttsecure.pki.names import subject
from mqttsecure.pki.profiles import Purpose
from mqttsecure.pki.requests import make_request
from tests.pki.case import PkiCase


class LoadingTests(PkiCase):
    """Someone names a file."""

    def test_pem_and_der(self) -> None:
        """Each thing in either form, known by what is in it."""
        ca = self.make_ca()
        key = new_key()
        certificate = self.issue(ca, Purpose.CLIENT, "a", key=key)
        request = make_request(subject("a"), [], key)
        (crl,) = read_crls(ca / "crl.pem")
        for encoding in (Encoding.PEM, Encoding.DER):
            private = key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())
            for data, kind in (
                (certificate.public_bytes(encoding), x509.Certificate),
                (request.public_bytes(encoding), x509.CertificateSigningRequest),
                (crl.public_bytes(encoding), x509.CertificateRevocationList),
                (private, type(key)),
            ):
                (found,) = load(self.write("thing", data))
                self.assertIsInstance(found, kind)
        bundle = self.write("a.p12", pkcs12(certificate, key, [], b"correct horse"))
        (opened,) = load(bundle, lambda: b"correct horse")
        self.assertIsInstance(opened, PKCS12KeyAndCertificates)
        with self.assertRaises(WrongPassphrase):
            load(bundle, lambda: b"wrong horse")
        with self.assertRaisesRegex(WrongPassphrase, "needs a passphrase"):
            load(bundle)

    def test_a_chain_with_its_key(self) -> None:
        """As many servers keep it: certificates are found, and the key is not asked about."""
        self.issue(self.make_ca(), Purpose.CLIENT, "a")
        both = (self.folder / "a.key").read_bytes() + (self.folder / "a.pem").read_bytes()
        self.assertEqual(len(read_certificates(self.write("both.pem", both))), 1)

    def test_broken_files(self) -> None:
        """Cut off, damaged, something else."""
        self.issue(self.make_ca(), Purpose.CLIENT, "a")
        whole = (self.folder / "a.pem").read_bytes()
        for content, reason in (
            (whole[:200], "ends within a PEM block"),
            (whole.replace(whole[100:120], b"A" * 20), "cannot be read"),
            (b"hello\n", "holds no certificate, key, request"),
            (b"-----BEGIN PGP MESSAGE-----\nAA\n-----END PGP MESSAGE-----\n", "nothing that is understood here"),
            ((self.folder / "a.key").read_bytes(), "holds no certificate"),
        ):
            with self.assertRaisesRegex(CertificateProblem, reason):
                read_certificates(self.write("x.pem", content))

    @settings(max_examples=200)
    @given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
    def test_hostile_bytes_end_in_an_error(self, noise: bytes, place: int, pem: bool) -> None:
        """Nothing but our own error comes out, whatever is in the file."""
        base = _SAMPLE if pem else b"\x30\x82" + noise
        content = base[:place] + noise + base[place + len(noise) :]
        try:
            parse(content, "x", lambda: b"secret")
        except CertificateProblem:
            pass


_SAMPLE = make_request(subject("sample"), [], new_key()).public_bytes(Encoding.PEM)
