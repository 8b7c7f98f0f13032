"""Tests for mqttsecure.policy.builtin.tls_requirements."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Role, Stage, TlsFacts
from mqttsecure.policy.builtin.tls_requirements import (
    REREAD_INTERVAL,
    TlsRequirements,
    TlsRequirementsFactory,
    TlsRequirementsOptions,
)
from tests.policy.builtin.helpers import NOT_LIVE, Authority, effect, facts, later, problems_of, request
from tests.support.environment import FakeAuthority, FakeEnvironment


class TlsRequirementsTests(SynchronousTestCase):
    """Which handshakes are good enough."""

    def setUp(self) -> None:
        self.ca, self.other = Authority("Devices"), Authority("Other")
        self.crl = Path(self.mktemp())
        self.crl.write_bytes(self.ca.crl(13))
        self.environment = FakeEnvironment(
            "tls",
            {
                "devices": FakeAuthority("devices", (self.ca.der,), (self.crl,)),
                "other": FakeAuthority("other", (self.other.der,)),
            },
        )

    def _build(self, **options: Any) -> TlsRequirements:
        return TlsRequirementsFactory().build(TlsRequirementsOptions(**options), self.environment)

    def _ask(
        self, policy: TlsRequirements, tls: TlsFacts | None, address: str | None = "192.0.2.1", **more: Any
    ) -> Any:
        return policy.decide(request(Stage.HANDSHAKE, facts(address=address, principal=None, tls=tls), **more))

    def test_table_of_versions_and_suites(self) -> None:
        """Old versions and suites without forward secrecy are refused, unknown ones too."""
        for version, cipher, options, expected in (
            ("TLSv1.3", "TLS_AES_128_GCM_SHA256", {}, "permit"),
            ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", {}, "permit"),
            ("TLSv1.2", "DHE-RSA-AES256-GCM-SHA384", {}, "permit"),
            ("TLSv1.2", "AES256-GCM-SHA384", {}, "deny"),
            ("TLSv1.2", "ECDH-RSA-AES128-SHA", {}, "deny"),
            ("TLSv1.2", "AES256-GCM-SHA384", {"forward_secrecy": False}, "permit"),
            ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", {"minimum_version": "TLSv1.3"}, "deny"),
            ("TLSv1.1", "ECDHE-RSA-AES128-SHA", {}, "deny"),
            ("TLSv9", "x", {}, "deny"),
        ):
            tls = TlsFacts(version, cipher)
            self.assertEqual(effect(self._ask(self._build(**options), tls)), expected, (version, cipher, options))

    def test_table_of_plaintext(self) -> None:
        """Without TLS nobody comes in unless the config names from where."""
        for option, address, expected in (
            ("never", "127.0.0.1", "deny"),
            ("never", None, "deny"),
            ("loopback", "127.0.0.1", "permit"),
            ("loopback", "::1", "permit"),
            ("loopback", "::ffff:127.0.0.1", "permit"),
            ("loopback", None, "permit"),
            ("loopback", "192.0.2.1", "deny"),
            ("anywhere", "192.0.2.1", "permit"),
        ):
            answer = self._ask(self._build(plaintext=option), None, address)
            self.assertEqual(effect(answer), expected, (option, address))

    def test_warns_of_plaintext_at_start(self) -> None:
        """The start says aloud where passwords can be read on the way."""
        self.assertEqual(self._build().warnings, ())
        self.assertIn("passwords can be read", self._build(plaintext="anywhere").warnings[0])

    def test_table_of_client_certificates(self) -> None:
        """A certificate is demanded, bound to authorities, and checked against the revocation list of its own."""
        mine, revoked, theirs = self.ca.issue("a"), self.ca.issue("b", serial=13), self.other.issue("c")
        foreign = Authority("Foreign")
        required, bound = {"client_certificate": "required"}, {"authorities": ["devices"]}
        for tls, options, expected in (
            (self.ca.tls(None), {}, "permit"),
            (self.ca.tls(None), required, "deny"),
            (self.ca.tls(None), bound, "permit"),
            (self.ca.tls(mine), required, "permit"),
            (self.ca.tls(mine), bound, "permit"),
            (self.ca.tls(revoked), {}, "deny"),
            (self.ca.tls(revoked), bound, "deny"),
            (self.other.tls(theirs), {}, "permit"),
            (self.other.tls(theirs), bound, "deny"),
            (foreign.tls(foreign.issue("d")), {}, "permit"),
            (foreign.tls(foreign.issue("d")), bound, "deny"),
        ):
            self.assertEqual(effect(self._ask(self._build(**options), tls)), expected, options)

    def test_denies_a_certificate_that_was_not_verified(self) -> None:
        """A certificate without its verified chain is worse than none."""
        tls = TlsFacts("TLSv1.3", "x", peer_certificate=self.ca.issue("a"))
        self.assertEqual(effect(self._ask(self._build(), tls)), "deny")

    def test_an_expired_list_refuses_every_certificate_of_its_authority(self) -> None:
        """A list that was not renewed in time is as good as none, and none is a refusal."""
        self.crl.write_bytes(self.ca.crl(ends=later(20)))
        policy, tls = self._build(), self.ca.tls(self.ca.issue("a"))
        self.assertEqual(effect(self._ask(policy, tls)), "permit")
        self.environment.clock.advance(21)
        decision = self._ask(policy, tls)
        self.assertEqual((effect(decision), decision.rule), ("deny", "crl"))
        self.assertEqual(effect(self._ask(policy, self.other.tls(self.other.issue("c")))), "permit")
        self.assertEqual(effect(self._ask(policy, self.ca.tls(None))), "permit")

    def test_warns_of_a_list_that_has_expired(self) -> None:
        """At start it is said whose clients will all be refused."""
        self.assertEqual(self._build().warnings, ())
        self.crl.write_bytes(self.ca.crl(ends=later(-1)))
        (warning,) = self._build().warnings
        self.assertIn("'devices': no current revocation list of CN=Devices", warning)

    def _replace(self, content: bytes | None) -> None:
        self.crl.unlink()
        if content is not None:
            self.crl.write_bytes(content)
            os.utime(self.crl, ns=(content[-40] + 1, len(content)))
        self.environment.clock.advance(REREAD_INTERVAL)

    def test_a_new_list_acts_without_a_restart(self) -> None:
        """A certificate revoked today is refused within half a minute; the file is read off the reactor thread."""
        policy, tls = self._build(), self.ca.tls(self.ca.issue("a", serial=99))
        self.assertEqual(effect(self._ask(policy, tls)), "permit")
        self._replace(self.ca.crl(99))
        answer = self._ask(policy, tls)
        assert isinstance(answer, Deferred)
        self.assertEqual(effect(self.successResultOf(answer)), "deny")
        self.assertEqual(self.environment.threads, 1)
        self.assertEqual(effect(self._ask(policy, tls)), "deny")

    def test_a_lost_list_refuses_until_it_is_back(self) -> None:
        """When the file is gone, every certificate of that authority is refused, and let in again once it is there."""
        policy, tls = self._build(), self.ca.tls(self.ca.issue("a"))
        self._replace_lost(policy, tls)
        self.crl.write_bytes(self.ca.crl())
        self.environment.clock.advance(REREAD_INTERVAL)
        self.assertEqual(effect(self.successResultOf(self._ask(policy, tls))), "permit")

    def _replace_lost(self, policy: TlsRequirements, tls: TlsFacts) -> None:
        self._replace(None)
        self.assertEqual(effect(self.successResultOf(self._ask(policy, tls))), "deny")

    def test_refuses_to_start_without_a_usable_list(self) -> None:
        """A missing, unreadable or forged list is told at the start, with the authority's name."""
        for content in (None, b"", self.ca.crl(key=self.other.key)):
            self.crl.unlink()
            if content is not None:
                self.crl.write_bytes(content)
            problems = problems_of(self._build)
            self.assertIn("'devices'", problems[0])
            self.crl.touch()

    def test_reports_each_bad_option(self) -> None:
        """All mistakes are told at once, each with its place."""
        self.environment.authorities = {**self.environment.authorities, "none": FakeAuthority("none")}
        options = {"plaintext": "loopback", "client_certificate": "required"}
        problems = problems_of(lambda: self._build(authorities=["devises", "none"], **options))
        self.assertEqual(len(problems), 3)
        self.assertIn("authorities[0]", problems[0])
        self.assertIn("did you mean 'devices'?", problems[0])
        self.assertIn("plaintext", problems[2])

    def test_refuses_a_ca_certificate_that_cannot_be_read(self) -> None:
        """A damaged anchor is a fault of the configuration."""
        broken = FakeAuthority("devices", (b"no certificate",), (self.crl,))
        self.environment.authorities = {"devices": broken}
        self.assertIn("cannot be used", problems_of(self._build)[0])

    def test_grants_at_handshake_whatever_the_purpose(self) -> None:
        """It grants at HANDSHAKE alone and counts nothing."""
        self.assertEqual(dict(TlsRequirementsFactory.stages), {Stage.HANDSHAKE: Role.GRANTS})
        for purpose in NOT_LIVE:
            answer: Decision = self._ask(self._build(), TlsFacts("TLSv1.3", "x"), purpose=purpose)
            self.assertEqual(effect(answer), "permit")
