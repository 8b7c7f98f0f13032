"""Tests for mqttsecure.policy.builtin.client_certificate."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Evidence, Principal, Purpose, Role, Stage, TlsFacts
from mqttsecure.policy.builtin.certificates import fingerprint, parse_certificate, spki_hash
from mqttsecure.policy.builtin.client_certificate import (
    ClientCertificate,
    ClientCertificateFactory,
    ClientCertificateOptions,
)
from tests.policy.builtin.helpers import END, START, Authority, effect, facts, later, problems_of, request
from tests.support.environment import FakeAuthority, FakeEnvironment


class ClientCertificateTests(SynchronousTestCase):
    """Who a client is, by its certificate."""

    def setUp(self) -> None:
        self.devices, self.people = Authority("Devices"), Authority("People")
        authorities = {
            "devices": FakeAuthority("devices", (self.devices.der,)),
            "people": FakeAuthority("people", (self.people.der,)),
            "empty": FakeAuthority("empty"),
            "twin": FakeAuthority("twin", (self.devices.der,)),
        }
        self.environment = FakeEnvironment("mtls", authorities)

    def _build(self, **options: Any) -> ClientCertificate:
        options.setdefault("authorities", ["devices"])
        return ClientCertificateFactory().build(ClientCertificateOptions(**options), self.environment)

    def _ask(self, policy: ClientCertificate, tls: TlsFacts | None, **more: Any) -> Decision:
        return policy.decide(request(Stage.AUTHENTICATE, facts(principal=None, tls=tls), **more))

    def test_permits_the_owner_with_groups_and_evidence(self) -> None:
        """A good certificate makes a principal of its authority, in its groups, until it expires."""
        subject = x509.Name(
            [
                x509.NameAttribute(x509.NameOID.COMMON_NAME, "sensor-1"),
                x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "sensors"),
            ]
        )
        der = self.devices.issue(subject, ends=later(3600))
        decision = self._ask(self._build(), self.devices.tls(der), now=100.0)
        self.assertEqual(effect(decision), "permit")
        self.assertEqual(decision.principal, Principal("devices", "sensor-1"))
        self.assertEqual(decision.groups, {"sensors"})
        self.assertEqual((decision.fingerprint, decision.valid_until), (fingerprint(der), 3700.0))
        self.assertEqual(self._ask(self._build(groups_from_ou=False), self.devices.tls(der)).groups, frozenset())

    def test_abstains_where_no_certificate_of_its_own_was_shown(self) -> None:
        """No TLS, no certificate, or one of another authority: another policy may know the client."""
        policy = self._build()
        for tls in (None, self.devices.tls(None), self.people.tls(self.people.issue("sensor-1"))):
            self.assertEqual(effect(self._ask(policy, tls)), "abstain")

    def test_a_ca_of_the_same_name_is_another_ca(self) -> None:
        """Names are bound to the CA's very certificate, not to what it calls itself."""
        rogue = Authority("Devices", key="rogue")
        self.assertEqual(effect(self._ask(self._build(), rogue.tls(rogue.issue("sensor-1")))), "abstain")

    def test_two_authorities_have_two_admins(self) -> None:
        """The same name from two CAs is two principals."""
        policy = self._build(authorities=["devices", "people"])
        for ca, authority in ((self.devices, "devices"), (self.people, "people")):
            decision = self._ask(policy, ca.tls(ca.issue("admin")))
            self.assertEqual(decision.principal, Principal(authority, "admin"))

    def test_denies_what_was_not_verified(self) -> None:
        """A certificate without its verified chain proves nothing."""
        der = self.devices.issue("sensor-1")
        for chain in ((), (self.devices.issue("other"), self.devices.der)):
            tls = TlsFacts("TLSv1.3", "x", peer_certificate=der, verified_chain=chain)
            self.assertEqual(effect(self._ask(self._build(), tls)), "deny")

    def test_denies_ambiguous_and_expired_certificates(self) -> None:
        """What cannot be read in exactly one way, or is out of date, is refused."""
        two = self.devices.issue("x", x509.DNSName("a.example"), x509.DNSName("b.example"))
        old = self.devices.issue("x", ends=later(-1))
        new = self.devices.issue("x", begins=later(1))
        for der in (two, old, new):
            self.assertEqual(effect(self._ask(self._build(), self.devices.tls(der))), "deny")

    def test_lets_in_only_the_known(self) -> None:
        """With a list, everyone else of the authority is refused."""
        policy = self._build(authorities=["devices", "people"], known=["devices:a"])
        for ca, name, expected in (
            (self.devices, "a", "permit"),
            (self.devices, "b", "deny"),
            (self.people, "a", "deny"),
        ):
            self.assertEqual(effect(self._ask(policy, ca.tls(ca.issue(name)))), expected)
        alone = self._build(known=["urn:dev:1"])
        der = self.devices.issue("x", x509.UniformResourceIdentifier("urn:dev:1"))
        self.assertEqual(effect(self._ask(alone, self.devices.tls(der))), "permit")

    def test_denies_by_name_serial_and_key(self) -> None:
        """I can lock out a lost device at once, by whatever I know of it."""
        der = self.devices.issue("lost", serial=0x0A1B)
        key = spki_hash(parse_certificate(der))
        for entry in ("name:lost", "serial:0A:1B", "serial:0a1b", f"spki:sha256:{key}", f"spki:{key.upper()}"):
            decision = self._ask(self._build(denied=["name:other", entry]), self.devices.tls(der))
            self.assertEqual((effect(decision), decision.rule), ("deny", "denied[1]"), entry)
        self.assertEqual(effect(self._ask(self._build(denied=["name:other"]), self.devices.tls(der))), "permit")

    def _recheck(self, policy: ClientCertificate, tls: TlsFacts | None, evidence: Evidence | None) -> str:
        return effect(self._ask(policy, tls, purpose=Purpose.RECHECK, evidence=evidence))

    def test_recheck_confirms_the_same_certificate(self) -> None:
        """An open connection keeps its identity as long as that certificate would still be let in."""
        der = self.devices.issue("a", ends=later(50))
        tls = self.devices.tls(der)
        evidence = Evidence("mtls", fingerprint(der))
        policy = self._build()
        self.assertEqual(self._recheck(policy, tls, evidence), "permit")
        self.assertEqual(self._recheck(policy, tls, None), "abstain")
        self.assertEqual(self._recheck(policy, tls, Evidence("login", fingerprint(der))), "abstain")
        self.assertEqual(self._recheck(policy, tls, Evidence("mtls", "other")), "deny")
        self.assertEqual(self._recheck(policy, None, evidence), "deny")
        self.assertEqual(self._recheck(self._build(denied=["name:a"]), tls, evidence), "deny")
        self.assertEqual(self._recheck(self._build(authorities=["people"]), tls, evidence), "deny")
        self.environment.clock.advance(51)
        self.assertEqual(self._recheck(policy, tls, evidence), "deny")

    def test_reports_each_bad_option(self) -> None:
        """All mistakes are told at once, each with its place."""
        options = ClientCertificateOptions(
            authorities=["device", "empty", "devices", "twin"],
            known=["bare"],
            denied=["name:", "serial:xyz", "spki:sha256:12", "lost"],
        )
        problems = problems_of(ClientCertificateFactory().build, options, self.environment)
        self.assertEqual(len(problems), 8)
        for place, text in (
            ("authorities[0]", "did you mean 'devices'?"),
            ("authorities[1]", "has no CA certificates"),
            ("authorities", "share a CA"),
            ("known[0]", "does not say whose name"),
            ("denied[3]", "names no certificate"),
        ):
            self.assertTrue(any(f"{place}: " in line and text in line for line in problems), text)

    def test_grants_at_authenticate_alone(self) -> None:
        """It grants an identity and no rights."""
        self.assertEqual(dict(ClientCertificateFactory.stages), {Stage.AUTHENTICATE: Role.GRANTS})
        self.assertLess(START, END)
