# -*- test-case-name: tests.pki.test_verifying -*-
"""What is wrong with a certificate; OpenSSL must be of the same mind."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from cryptography import x509

from mqttsecure.pki.bad import BAD, make_bad, throwaway_ca
from mqttsecure.pki.issuing import Signer, certify
from mqttsecure.pki.keys import new_key
from mqttsecure.pki.loading import read_certificates, read_crls
from mqttsecure.pki.names import parse_names, subject
from mqttsecure.pki.profiles import Purpose, Wanted
from mqttsecure.pki.verifying import Trust, in_words, matches_host, verify
from tests.pki.case import PkiCase
from tests.support.openssl import openssl_agrees


class VerifyTests(PkiCase):
    """Someone asks whether a certificate can be trusted."""

    def told(self, leaf: x509.Certificate, trust: Trust, later: timedelta = timedelta(0)) -> str:
        findings = verify(leaf, trust, self.now + later)
        return in_words(leaf, trust, findings, self.now + later)

    def trust(self, ca: Path, host: str | None = None, purpose: Purpose | None = None, *, crl: bool = False) -> Trust:
        crls = read_crls(ca / "crl.pem") if crl else ()
        return Trust(read_certificates(ca / "ca.pem"), (), crls, host, purpose)

    def test_good(self) -> None:
        """In one line: by whom, how long, for what, for whom, revoked or not."""
        ca = self.make_ca()
        leaf = self.issue(ca, Purpose.SERVER, "broker", "broker.test")
        self.assertEqual(
            self.told(leaf, self.trust(ca, "broker.test", Purpose.SERVER, crl=True)),
            "broker: good: issued by ca CA, valid for 824 more days, for a server, is broker.test's, not revoked",
        )

    def test_the_six_bad_ones(self) -> None:
        """Each is refused by us and by OpenSSL, with its reason in plain words; the good one by neither."""
        folder = self.folder / "bad"
        make_bad(folder, ["broker.test", "127.0.0.1"], throwaway_ca(self.now), self.now)
        roots = read_certificates(folder / "ca.pem")
        trust = Trust(roots, (), (), "broker.test", Purpose.SERVER)
        reasons = {
            "b1-rogue-ca": "a rogue CA of the same name",
            "b2-self-signed": "it is self-signed: no CA vouches for it",
            "b3-expired": "it expired on .* 30 days ago; renew it",
            "b4-not-yet-valid": "it is not valid before .*check the clock",
            "b5-wrong-host": "it is for DNS:wrong-host.invalid, not for broker.test",
            "b6-client-only": "it is for clients only, and cannot be a server's",
            "good": "good: issued by mqttsecure lesson CA",
        }
        for stem, reason in reasons.items():
            (leaf,) = read_certificates(folder / f"{stem}.pem")
            line = self.told(leaf, trust)
            self.assertRegex(line, reason)
            self.assertNotIn("\n", line)
            agreed, output = openssl_agrees(
                "verify", "-CAfile", folder / "ca.pem", "-purpose", "sslserver", "-verify_hostname", "broker.test",
                folder / f"{stem}.pem",
            )  # fmt: skip
            self.assertEqual(agreed, stem == "good", f"{stem}: {output}")
        self.assertEqual(len(BAD), 6)

    def test_a_stranger(self) -> None:
        """Issued by nobody that is trusted."""
        ca, other = self.make_ca(), self.make_ca("other")
        leaf = self.issue(other, Purpose.CLIENT, "a")
        self.assertRegex(
            self.told(leaf, self.trust(ca)), r"issued by other CA, whom nobody that you trust \(ca CA\) vouches for"
        )

    def test_chains(self) -> None:
        """With the CA between it is good; without it, it says which is missing; a leaf that signs is no CA."""
        root = self.make_ca("root", path_length=1)
        key = new_key()
        with self.open(root) as authority:
            middle = authority.issue(Wanted(subject("middle"), Purpose.CA), key.public_key(), self.now)
        leaf_key = new_key()
        wanted = Wanted(subject("leaf"), Purpose.SERVER, parse_names(["a.test"]))
        ends = self.now + timedelta(days=1)
        leaf = certify(wanted, leaf_key.public_key(), Signer(middle, key), self.now, ends)
        roots = read_certificates(root / "ca.pem")
        self.assertEqual(verify(leaf, Trust(roots, [middle]), self.now), [])
        self.assertIn("issued by middle, whom nobody", self.told(leaf, Trust(roots)))
        below = certify(
            Wanted(subject("x"), Purpose.CLIENT), new_key().public_key(), Signer(leaf, leaf_key), self.now, ends
        )
        self.assertIn("leaf, which signed x, is no CA", self.told(below, Trust(roots, [leaf, middle])))
        deeper_key = new_key()
        deeper = certify(
            Wanted(subject("deep"), Purpose.CA), deeper_key.public_key(), Signer(middle, key), self.now, ends
        )
        last = certify(
            Wanted(subject("x"), Purpose.CLIENT), new_key().public_key(), Signer(deeper, deeper_key), self.now, ends
        )
        self.assertIn("may have 0 CAs below it, and here are 1", self.told(last, Trust(roots, [deeper, middle])))

    def test_circles_end(self) -> None:
        """CAs that vouch for each other, none of them trusted."""
        keys = [new_key() for _ in range(12)]
        ends = self.now + timedelta(days=1)
        circle = []
        for number, key in enumerate(keys):
            for other in range(12):
                signer = Signer(self.named(f"ca{other}", keys[other].public_key()), keys[other])
                circle.append(
                    certify(
                        Wanted(subject(f"ca{number}"), Purpose.CA, (), None, 5),
                        key.public_key(),
                        signer,
                        self.now,
                        ends,
                    )
                )
        leaf = certify(
            Wanted(subject("x"), Purpose.CLIENT), new_key().public_key(), Signer(circle[0], keys[0]), self.now, ends
        )
        self.assertNotEqual(verify(leaf, Trust(read_certificates(self.make_ca() / "ca.pem"), circle), self.now), [])

    def named(self, name: str, key: object) -> x509.Certificate:
        own = new_key()
        signer = Signer(read_certificates(self.any_ca() / "ca.pem")[0], own)
        return certify(Wanted(subject(name), Purpose.CA), key, signer, self.now, self.now + timedelta(days=1))  # type: ignore[arg-type]

    def any_ca(self) -> Path:
        folder = self.folder / "any"
        return folder if folder.exists() else self.make_ca("any")

    def test_time_of_the_ca(self) -> None:
        """A valid certificate of an expired CA."""
        ca = self.make_ca(lifetime=timedelta(days=30))
        leaf = self.issue(ca, Purpose.CLIENT, "a")
        self.assertIn("it expired on", self.told(leaf, self.trust(ca), timedelta(days=31)))

    def test_purposes(self) -> None:
        """The CA itself is neither a server nor a client."""
        ca = self.make_ca()
        (root,) = read_certificates(ca / "ca.pem")
        self.assertIn("it is a CA's, not a server's", self.told(root, self.trust(ca, None, Purpose.SERVER)))
        self.assertEqual(verify(root, self.trust(ca, None, Purpose.CA), self.now), [])
        leaf = self.issue(ca, Purpose.SERVER, "a", "a.test")
        self.assertIn(
            "for servers only, and cannot be a client's", self.told(leaf, self.trust(ca, None, Purpose.CLIENT))
        )

    def test_revocation(self) -> None:
        """Revoked, no list, an old list, a list of a rogue."""
        ca = self.make_ca()
        leaf = self.issue(ca, Purpose.CLIENT, "a")
        other = self.make_ca("other")
        strange = Trust(read_certificates(ca / "ca.pem"), (), read_crls(other / "crl.pem"))
        self.assertIn("there is no revocation list of ca CA", self.told(leaf, strange))
        self.assertIn("too old to be relied on", self.told(leaf, self.trust(ca, crl=True), timedelta(days=40)))
        with self.open(ca) as authority:
            authority.revoke(authority.entry_of(leaf, "a"), "key-compromise", self.now)
            authority.write_crl(self.now)
        self.assertRegex(self.told(leaf, self.trust(ca, crl=True)), r"it was revoked on \S+ \(key compromise\)")
        rogue = self.folder / "rogue"
        self.assertFalse(rogue.exists())

    def test_hosts(self) -> None:
        """A wildcard stands for one label; a common name for nothing."""
        names = parse_names(["broker.test", "*.plant.test", "10.0.0.1", "fd77::1"])
        for host, expected in (
            ("broker.test", True),
            ("BROKER.test.", True),
            ("a.plant.test", True),
            ("a.b.plant.test", False),
            ("plant.test", False),
            ("10.0.0.1", True),
            ("10.0.0.2", False),
            ("[fd77::1]", True),
            ("fd77:0::1", True),
            ("", False),
        ):
            self.assertEqual(matches_host(names, host), expected, host)
        ca = self.make_ca()
        leaf = self.issue(ca, Purpose.CLIENT, "broker.test")
        self.assertIn("names no host", self.told(leaf, self.trust(ca, "broker.test")))
