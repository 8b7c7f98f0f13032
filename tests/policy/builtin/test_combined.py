"""Several identity policies in one chain: what each knows of a client makes one principal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Effect, Principal, Request, Stage, Verdict
from mqttsecure.interfaces import IPolicyEnvironment
from mqttsecure.policy.builtin import scram_keys
from mqttsecure.policy.builtin.client_certificate import ClientCertificateFactory, ClientCertificateOptions
from mqttsecure.policy.builtin.http_options import HttpOptions
from mqttsecure.policy.builtin.http_service import HttpFactory, HttpPolicy
from mqttsecure.policy.builtin.jwt import JwtFactory
from mqttsecure.policy.builtin.jwt_options import JwtOptions
from mqttsecure.policy.builtin.password_hash import PasswordFile
from mqttsecure.policy.builtin.scram import ScramFactory, ScramOptions
from mqttsecure.policy.builtin.topic_acl import TopicAclFactory, TopicAclOptions
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from mqttsecure.policy.https import HttpsAnswer
from mqttsecure.wire.scram import METHOD, ScramClient
from tests.policy.builtin.helpers import Authority, peer
from tests.support.environment import FakeAuthority, FakeEnvironment
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

ALICE = Principal("people", "alice")


class CombinedTests(SynchronousTestCase):
    """Certificate, SCRAM or token, and a service that knows more, all of the authority `people`."""

    def setUp(self) -> None:
        self.patch(scram_keys, "ITERATIONS", 4096)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        PasswordFile(self.folder / "users").set_user("alice", b"pencil", ["writers"], scram=True)
        keys = self.folder / "keys.json"
        keys.write_text(json.dumps({"keys": [Issuer(key_id="k").jwk()]}))
        keys.chmod(0o600)
        self.ca = Authority()
        people = FakeAuthority("people", (self.ca.der,), password_file=self.folder / "users")
        self.authorities = {"people": people}
        self.answer: dict[str, Any] = {
            "decision": "permit",
            "principal": "alice",
            "groups": ["staff"],
            "attributes": {"tenant": "acme"},
        }
        self.clock: Any = Clock()

    def environment(self, policy_id: str) -> FakeEnvironment:
        return FakeEnvironment(policy_id, self.authorities, self.folder)

    def service(self, environment: IPolicyEnvironment) -> HttpPolicy:
        options = HttpOptions.model_validate(
            {
                "url": "https://auth.example/",
                "stages": ["AUTHENTICATE"],
                "role": "grants",
                "authority": "people",
                "attributes": ["tenant"],
            }
        )

        def ask(document: bytes) -> Deferred[HttpsAnswer]:
            return succeed(HttpsAnswer(200, "application/json", json.dumps(self.answer).encode()))

        return HttpPolicy(options, ask, environment)

    def chain(self, *, aliases: dict[str, str] | None = None) -> PolicyChain:
        jwt = {"issuer": ISSUER, "audience": [AUDIENCE], "keys_file": "keys.json", "groups_claim": "groups"}
        rules = ["permit group:staff publish people/{tenant}/#", "permit group:writers publish w"]
        made = [
            (ClientCertificateFactory(), ClientCertificateOptions(authorities=["people"]), "certificate"),
            (ScramFactory(), ScramOptions(authority="people"), "scram"),
            (JwtFactory(), JwtOptions.model_validate({**jwt, "authority": "people"}), "tokens"),
            (TopicAclFactory(), TopicAclOptions(rules=rules, authority="people"), "topics"),
        ]
        bindings = [
            PolicyBinding(name, factory, factory.build(options, self.environment(name)), frozenset({"lab"}))
            for factory, options, name in made
        ]
        service = PolicyBinding("service", HttpFactory(), self.service(self.environment("service")), frozenset({"lab"}))
        bindings.insert(3, service)
        return PolicyChain(bindings, clock=self.clock, listeners=["lab"], aliases=aliases)

    def ask(self, chain: PolicyChain, connection: ConnectionFacts, stage: Stage, **more: Any) -> Verdict:
        verdict = chain.decide(Request(stage, connection, 0.0, **more))
        assert isinstance(verdict, Verdict)
        return verdict

    def connection(self, name: str = "alice") -> ConnectionFacts:
        return ConnectionFacts(1, "lab", peer(), tls=self.ca.tls(self.ca.issue(name)), username=name)

    def test_groups_and_attributes_add_up(self) -> None:
        """SCRAM after a certificate, and what the service adds: one principal with all groups, and its tenant."""
        chain, connection, exchange = self.chain(), self.connection(), {}
        more: dict[str, Any] = {"authentication_method": METHOD, "exchange": exchange}
        client = ScramClient("alice", "pencil", b"rOprNGfwEbeRWgbNEkqO")
        asked = self.ask(chain, connection, Stage.AUTHENTICATE, authentication_data=client.first(), **more)
        self.assertIs(asked.effect, Effect.CHALLENGE)
        proof = client.final(asked.authentication_data or b"")
        verdict = self.ask(chain, connection, Stage.AUTHENTICATE, authentication_data=proof, **more)
        self.assertEqual((verdict.permitted, verdict.principal), (True, ALICE), verdict.text)
        self.assertEqual(verdict.groups, {"writers", "staff"})
        self.assertEqual([each.policy for each in verdict.evidence], ["certificate", "scram", "service"])
        self.assertEqual(connection.attributes["tenant"], "acme")
        connection.principal, connection.groups = verdict.principal, verdict.groups
        for topic, expected in (("people/acme/x", True), ("people/other/x", False), ("w", True)):
            self.assertEqual(self.ask(chain, connection, Stage.PUBLISH, topic=topic).permitted, expected)

    def test_a_token_beside_a_certificate(self) -> None:
        """The groups of its claims join the others, and the session ends with whichever ends first."""
        chain, connection = self.chain(), self.connection()
        now = FakeEnvironment().wall_clock().timestamp()
        token = Issuer(key_id="k").token(now, groups=["plant"])
        verdict = self.ask(chain, connection, Stage.AUTHENTICATE, password=token)
        self.assertEqual(verdict.groups, {"plant", "staff"}, verdict.text)
        ends = {each.policy: each.valid_until for each in verdict.evidence}
        self.assertEqual((ends["tokens"], ends["service"]), (630, None))
        self.assertGreater(ends["certificate"] or 0, 630)

    def test_two_people_are_not_one(self) -> None:
        """Whoever shows one's certificate and another's token is nobody, unless the configuration says they are one."""
        now = FakeEnvironment().wall_clock().timestamp()
        token = Issuer(key_id="k").token(now, sub="al")
        for aliases, expected in ((None, False), ({"people:al": "people:alice"}, True)):
            connection = self.connection()
            connection.username = "al"
            verdict = self.ask(self.chain(aliases=aliases), connection, Stage.AUTHENTICATE, password=token)
            self.assertEqual(verdict.permitted, expected, verdict.text)
        self.answer = {"decision": "permit", "principal": "mallory"}
        verdict = self.ask(self.chain(), self.connection(), Stage.AUTHENTICATE)
        self.assertIn("people:mallory beside people:alice", verdict.text)

    def test_a_failing_service_denies_though_others_permit(self) -> None:
        """A policy that cannot say is no consent, and its denial is the chain's."""
        self.answer = {"decision": "perhaps"}
        verdict = self.ask(self.chain(), self.connection(), Stage.AUTHENTICATE)
        self.assertEqual((verdict.effect, verdict.policy, verdict.rule), (Effect.DENY, "service", "service"))
