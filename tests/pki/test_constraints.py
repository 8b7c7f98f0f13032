# -*- test-case-name: tests.pki.test_constraints -*-
"""Name constraints, with OpenSSL as the judge."""

from __future__ import annotations

from mqttsecure.pki.constraints import constraints_of, name_constraints, outside
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.issuing import Signer, certify
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.loading import read_certificates
from mqttsecure.pki.names import parse_name, subject
from mqttsecure.pki.profiles import BACKDATED, Purpose, Wanted
from tests.pki.case import PkiCase
from tests.support.openssl import openssl_agrees

_PERMIT = ("DNS:lab.test", "IP:10.77.0.0/24", "URI:.plant.example", "EMAIL:example.org")
_FORBID = ("DNS:secret.lab.test",)


class ConstraintTests(PkiCase):
    """A CA may vouch for some names alone."""

    def test_openssl_agrees_on_each_name(self) -> None:
        """What we call outside, OpenSSL refuses, and what we permit it accepts."""
        ca = self.make_ca(constraints=name_constraints(_PERMIT, _FORBID))
        with self.open(ca) as authority:
            signer = authority.signer
        constraints = constraints_of(signer.certificate)
        assert constraints is not None
        for common_name, text in (
            ("x", "DNS:lab.test"),
            ("x", "DNS:a.b.lab.test"),
            ("x", "DNS:LAB.test"),
            ("x", "DNS:notlab.test"),
            ("x", "DNS:lab.test.evil"),
            ("x", "DNS:a.secret.lab.test"),
            ("x", "IP:10.77.0.10"),
            ("x", "IP:10.77.1.10"),
            ("x", "IP:fd77::1"),
            ("x", "URI:https://a.plant.example/x"),
            ("x", "URI:https://evil.example/x"),
            ("x", "EMAIL:a@example.org"),
            ("x", "EMAIL:a@example.com"),
            ("evil.test", "IP:10.77.0.10"),
            ("a.lab.test", "IP:10.77.0.10"),
        ):
            name = parse_name(text)
            refused = outside(constraints, [name], common_name)
            wanted = Wanted(subject(common_name), Purpose.SERVER, [name])
            ends = self.now + BACKDATED
            file = self.write("leaf.pem", certify(wanted, new_key().public_key(), signer, self.now - BACKDATED, ends))
            agreed, told = openssl_agrees("verify", "-CAfile", ca / "ca.pem", file)
            self.assertEqual(agreed, not refused, f"{common_name} {text}: {refused} {told}")

    def test_issuing_outside_is_refused(self) -> None:
        """With the name and the tree."""
        ca = self.make_ca(constraints=name_constraints(_PERMIT, ()))
        with self.assertRaisesRegex(CertificateProblem, r"may not vouch for DNS:evil.test is not in DNS:lab.test"):
            self.issue(ca, Purpose.SERVER, "x", "evil.test")

    def test_what_is_no_tree(self) -> None:
        """With examples."""
        for text in ("lab.test", "DNS:", "IP:10.77.0.10/24", "IP:x", "URI:http://a/b", "EMAIL:", "X:y"):
            with self.assertRaisesRegex(CertificateProblem, "is no tree of names.*DNS:lab.test"):
                name_constraints((text,), ())

    def test_none(self) -> None:
        """No constraint, no extension."""
        self.assertIsNone(name_constraints((), ()))
        self.assertIsNone(constraints_of(read_certificates(self.make_ca() / "ca.pem")[0]))

    def test_signer_is_what_is_checked(self) -> None:
        """A CA without constraints vouches for anything."""
        ca = self.make_ca("free")
        with self.open(ca) as authority:
            self.assertIsInstance(authority.signer, Signer)
        self.issue(ca, Purpose.SERVER, "x", "evil.test")
