"""Tests for mqttsecure.policy.builtin.http_service and http_options."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import trustme
from pydantic import ValidationError
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Decision, Evidence, Principal, Purpose, Role, Stage
from mqttsecure.interfaces import IPolicy
from mqttsecure.policy.builtin.http_options import HttpOptions
from mqttsecure.policy.builtin.http_service import HttpFactory, HttpPolicy
from mqttsecure.policy.https import HttpsAnswer, HttpsFault
from mqttsecure.wire.constants import ReasonCode
from tests.policy.builtin.helpers import effect, facts, problems_of, request
from tests.support.environment import FakeAuthority, FakeEnvironment
from tests.support.https import HttpsService, key_pair_pem

URL = "https://auth.example/mqtt"


class HttpPolicyTests(SynchronousTestCase):
    """A service decides; here a test is the service."""

    def setUp(self) -> None:
        self.environment = FakeEnvironment("auth")
        self.asked: list[bytes] = []
        self.waiting: list[Deferred[HttpsAnswer]] = []

    def ask(self, document: bytes) -> Deferred[HttpsAnswer]:
        self.asked.append(document)
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def build(self, *stages: str, **options: Any) -> HttpPolicy:
        full = {"url": URL, "stages": list(stages or ("AUTHENTICATE",)), "role": "grants", **options}
        return HttpPolicy(HttpOptions.model_validate(full), self.ask, self.environment)

    def decide(self, policy: HttpPolicy, stage: Stage = Stage.AUTHENTICATE, **more: Any) -> Any:
        connection = more.pop("connection", None) or facts(principal=None, username="alice", client_id="c1")
        return policy.decide(request(stage, connection, now=self.environment.clock.seconds(), **more))

    def answered(self, policy: HttpPolicy, document: Any, stage: Stage = Stage.AUTHENTICATE, **more: Any) -> Decision:
        """The decision that comes of that answer of the service."""
        deferred = self.decide(policy, stage, **more)
        body = json.dumps(document).encode()
        self.waiting[-1].callback(HttpsAnswer(200, "application/json", body))
        decision = self.successResultOf(deferred)
        assert isinstance(decision, Decision)
        return decision

    def test_it_identifies(self) -> None:
        """A permit at AUTHENTICATE names a principal, groups and attributes, for as long as the service says."""
        policy = self.build(attributes=["tenant"])
        verifyObject(IPolicy, policy)
        document = {
            "decision": "permit",
            "principal": "alice",
            "groups": ["staff"],
            "attributes": {"tenant": "a"},
            "session_seconds": 60,
        }
        decision = self.answered(policy, document)
        self.assertEqual((effect(decision), decision.principal), ("permit", Principal("auth", "alice")))
        self.assertEqual((decision.groups, dict(decision.attributes)), (frozenset({"staff"}), {"tenant": "a"}))
        self.assertEqual(decision.valid_until, 60)
        self.assertEqual(dict(policy.stages), {Stage.AUTHENTICATE: Role.GRANTS})
        self.assertEqual(dict(policy.attributes), {"tenant": str})

    def test_it_decides_at_any_stage(self) -> None:
        """With what the service says, also a no and a don't know."""
        for stage in Stage:
            policy = self.build(stage.value)
            for word in ("deny", "abstain"):
                decision = self.answered(policy, {"decision": word, "reason": "why", "cache_seconds": 0}, stage)
                self.assertEqual(effect(decision), word)
                self.assertIn("the service says", decision.text)
            self.assertEqual(
                effect(self.decide(policy, Stage.ACCEPT if stage is not Stage.ACCEPT else Stage.CONNECT)), "abstain"
            )

    def test_table_of_answers_that_do_not_fit(self) -> None:
        """Each is a denial: a service that says too much has not understood the question."""
        for role, stage, document, text in (
            ("restricts", "PUBLISH", {"decision": "permit"}, "may only restrict"),
            ("grants", "AUTHENTICATE", {"decision": "permit"}, "named no principal"),
            ("grants", "PUBLISH", {"decision": "permit", "principal": "root"}, "nobody is to be named"),
            ("grants", "AUTHENTICATE", {"decision": "abstain", "principal": "root"}, "nobody is to be named"),
            ("grants", "PUBLISH", {"decision": "permit", "groups": ["admin"]}, "gave groups"),
            ("grants", "AUTHENTICATE", {"decision": "deny", "session_seconds": 5}, "session's length"),
            ("grants", "PUBLISH", {"decision": "permit", "attributes": {"role": "x"}}, "'role'"),
            ("grants", "PUBLISH", {"decision": "yes"}, "decision"),
        ):
            decision = self.answered(self.build(stage, role=role), document, Stage(stage))
            self.assertEqual((effect(decision), decision.rule), ("deny", "service"), document)
            self.assertIn(text, decision.text)

    def test_no_answer_is_a_denial(self) -> None:
        """Told to the client as the broker's trouble while it connects, and in the log with the line of the url."""
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        for stage, code in (
            (Stage.AUTHENTICATE, ReasonCode.SERVER_UNAVAILABLE),
            (Stage.PUBLISH, ReasonCode.NOT_AUTHORIZED),
        ):
            policy = self.build(stage.value)
            for fault in (HttpsFault("no answer within 2 s"), ZeroDivisionError("secret")):
                deferred = self.decide(policy, stage)
                self.waiting[-1].errback(fault)
                decision = self.successResultOf(deferred)
                self.assertEqual((effect(decision), decision.reason_code), ("deny", code))
                self.assertEqual(decision.source.line, 10)
                self.assertNotIn("secret", decision.text)
        lines = [each for each in seen if "no usable answer" in str(each.get("log_format"))]
        self.assertEqual(len(lines), 2)  # one for each policy: a service that is away does not fill the disk

    def test_a_service_that_keeps_failing_is_left_alone(self) -> None:
        """After five failures it is asked no more, what is remembered counts on, and one question tries it again."""
        policy = self.build("PUBLISH")
        self.answered(policy, {"decision": "permit"}, Stage.PUBLISH, topic="known")
        for _ in range(5):
            deferred = self.decide(policy, Stage.PUBLISH, topic="t")
            self.waiting[-1].errback(HttpsFault("no answer"))
            self.successResultOf(deferred)
        asked = len(self.asked)
        for _ in range(10):
            self.assertIn("circuit breaker", self.decide(policy, Stage.PUBLISH, topic="t").text)
        self.assertEqual(effect(self.decide(policy, Stage.PUBLISH, topic="known")), "permit")
        self.assertEqual(len(self.asked), asked)
        self.environment.clock.advance(1)
        self.assertEqual(effect(self.answered(policy, {"decision": "permit"}, Stage.PUBLISH, topic="t")), "permit")

    def test_a_question_that_is_given_up_is_no_failure(self) -> None:
        """Clients that go while they wait do not open the circuit breaker."""
        policy = self.build()
        for _ in range(10):
            deferred = self.decide(policy)
            deferred.cancel()
            self.failureResultOf(deferred, CancelledError)
        self.assertEqual(effect(self.answered(policy, {"decision": "deny"})), "deny")

    def test_answers_are_remembered(self) -> None:
        """For as long as both sides say, and for the same question alone."""
        policy = self.build("PUBLISH", cache_seconds=10)
        decision = self.answered(policy, {"decision": "permit"}, Stage.PUBLISH, topic="a")
        self.assertEqual((decision.cacheable, decision.valid_until), (True, 10))
        self.assertEqual(effect(self.decide(policy, Stage.PUBLISH, topic="a")), "permit")
        self.assertEqual(effect(self.decide(policy, Stage.PUBLISH, topic="a", purpose=Purpose.RECHECK)), "permit")
        for other in ({"topic": "b"}, {"topic": "a", "qos": 1}, {"topic": "a", "retain": True}):
            self.assertIsInstance(self.decide(policy, Stage.PUBLISH, **other), Deferred)
        self.environment.clock.advance(10)
        self.assertIsInstance(self.decide(policy, Stage.PUBLISH, topic="a"), Deferred)
        self.answered(policy, {"decision": "permit", "cache_seconds": 0}, Stage.PUBLISH, topic="c")
        self.assertIsInstance(self.decide(policy, Stage.PUBLISH, topic="c"), Deferred)
        self.answered(policy, {"decision": "permit", "cache_seconds": 3600}, Stage.PUBLISH, topic="d")
        self.environment.clock.advance(10)
        self.assertIsInstance(self.decide(policy, Stage.PUBLISH, topic="d"), Deferred)

    def test_another_policy_version_remembers_nothing(self) -> None:
        """A reload asks anew."""
        self.answered(self.build("PUBLISH"), {"decision": "permit"}, Stage.PUBLISH, topic="a")
        self.assertIsInstance(self.decide(self.build("PUBLISH"), Stage.PUBLISH, topic="a"), Deferred)

    def test_only_so_much_is_remembered(self) -> None:
        """The oldest goes first."""
        policy = self.build("PUBLISH", cache_entries=2)
        for topic in "abc":
            self.answered(policy, {"decision": "permit"}, Stage.PUBLISH, topic=topic)
        self.assertIsInstance(self.decide(policy, Stage.PUBLISH, topic="a"), Deferred)
        self.assertEqual(effect(self.decide(policy, Stage.PUBLISH, topic="c")), "permit")

    def test_secrets_go_out_only_where_the_configuration_says(self) -> None:
        """And what is remembered of a password is none that could be read."""
        self.decide(self.build(), password=b"pass-word")
        self.assertNotIn(base64.b64encode(b"pass-word"), self.asked[-1])
        policy = self.build(send_password=True)
        self.answered(policy, {"decision": "permit", "principal": "alice"}, password=b"pass-word")
        self.assertIn(base64.b64encode(b"pass-word"), self.asked[-1])
        self.assertNotIn("pass-word", repr(policy._remembered) + repr(vars(policy)))
        self.assertIsInstance(self.decide(policy, password=b"other"), Deferred)
        self.assertEqual(effect(self.decide(policy, password=b"pass-word")), "permit")
        content = self.build("PUBLISH", send_payload=True)
        decision = self.answered(content, {"decision": "permit"}, Stage.PUBLISH, topic="a", payload=b"load")
        self.assertIn(base64.b64encode(b"load"), self.asked[-1])
        self.assertFalse(decision.cacheable)

    def test_recheck(self) -> None:
        """Who was let in stays until the time is over that the service gave; others are not its own."""
        policy = self.build()
        self.environment.clock.advance(100)
        for evidence, expected in (
            (Evidence("auth", "answer", 101.0), "permit"),
            (Evidence("auth", "answer", None), "permit"),
            (Evidence("auth", "answer", 100.0), "deny"),
            (Evidence("other", "x"), "abstain"),
            (None, "abstain"),
        ):
            self.assertEqual(effect(self.decide(policy, purpose=Purpose.RECHECK, evidence=evidence)), expected)
        restricting = self.build(role="restricts")
        self.assertEqual(effect(self.answered(restricting, {"decision": "deny"}, purpose=Purpose.RECHECK)), "deny")

    def test_the_principal_of_this_very_exchange_is_told(self) -> None:
        """A service that restricts behind an identity policy hears who it is."""
        policy = self.build(role="restricts")
        exchange = {"principal": Principal("login", "alice"), "groups": frozenset({"a"})}
        self.answered(policy, {"decision": "abstain"}, exchange=exchange)
        self.assertEqual(json.loads(self.asked[-1])["principal"], "login:alice")


class HttpOptionsTests(SynchronousTestCase):
    """What refuses the start."""

    def test_table_of_problems(self) -> None:
        """With line, key and mend, and without a secret."""
        folder = Path(self.mktemp())
        folder.mkdir()
        environment = FakeEnvironment("auth", {"people": FakeAuthority("people")}, folder)
        certificate, key = key_pair_pem(trustme.CA().issue_cert("a.example"), folder, "broker")
        for name, content, mode in (
            ("token", "sec-ret\n", 0o600),
            ("open", "sec-ret\n", 0o644),
            ("empty", "\n", 0o600),
            ("two", "sec-ret two\n", 0o600),
            ("odd", "ä", 0o600),
        ):
            (folder / name).write_text(content)
            (folder / name).chmod(mode)
        mutual = {"certificate": certificate.name, "key": key.name}
        good = {"url": URL, "stages": ["PUBLISH"]}
        for more in ({}, {"token_file": "token", "authority": "people"}, mutual):
            HttpFactory().build(HttpOptions.model_validate({**good, **more}), environment)
        for more, text in (
            ({"url": "http://auth.example/"}, "broker.toml:10: auth url: it is no https URL"),
            ({"url": "https://u:sec-ret@auth.example/"}, "take it out"),
            ({"authority": "peopel"}, "did you mean 'people'"),
            ({"attributes": ["User"]}, "attributes[0]"),
            ({"attributes": ["client"]}, "attributes[0]"),
            ({"ca_file": "none.pem"}, "ca_file: "),
            ({"certificate": certificate.name}, "give both"),
            ({"key": key.name}, "give both"),
            ({**mutual, "key": "open"}, "key: "),
            ({**mutual, "certificate": "token"}, "certificate: "),
            ({"token_file": "none"}, "token_file: "),
            ({"token_file": "open"}, "chmod 600"),
            ({"token_file": "empty"}, "holds no token"),
            ({"token_file": "two"}, "holds no token"),
            ({"token_file": "odd"}, "holds no token"),
            ({"send_password": True}, "it is not asked there"),
        ):
            found = "\n".join(
                problems_of(HttpFactory().build, HttpOptions.model_validate({**good, **more}), environment)
            )
            self.assertIn(text, found)
            self.assertNotIn("sec-ret", found)
        for bad in ({"stages": []}, {"stages": ["X"]}, {"answer_seconds": 0}, {"cache_seconds": 10**6}, {"role": "x"}):
            self.assertRaises(ValidationError, HttpOptions.model_validate, {**good, **bad})


class RealServiceTests(TestCase):
    """Over TLS, to a service on loopback."""

    timeout = 60

    async def test_mutual_tls_and_a_token(self) -> None:
        """The service knows the broker by both, and is asked over one connection."""
        folder = Path(self.mktemp())
        ours = trustme.CA()
        service = HttpsService(folder, client_ca=ours)
        self.addCleanup(service.stop)
        certificate, key = key_pair_pem(ours.issue_cert("broker.example"), folder, "broker")
        (folder / "token").write_text("sec-ret")
        (folder / "token").chmod(0o600)
        headers: list[Any] = []

        def answer(asked: Any) -> bytes:
            headers.append(asked.getHeader("authorization"))
            asked.setHeader(b"content-type", b"application/json")
            return b'{"decision": "permit", "cache_seconds": 0}'

        service.answer = answer
        environment = FakeEnvironment("auth", folder=folder)
        environment.clock = reactor  # type: ignore[assignment]
        options = HttpOptions.model_validate(
            {
                "url": service.url,
                "stages": ["PUBLISH"],
                "role": "grants",
                "ca_file": service.ca_file.name,
                "certificate": certificate.name,
                "key": key.name,
                "token_file": "token",
                "answer_seconds": 30.0,
            }
        )
        policy = HttpFactory().build(options, environment)
        for _ in range(3):
            decision = await maybeDeferred(policy.decide, request(Stage.PUBLISH, topic="a"))
            self.assertEqual(decision.effect.value, "permit", decision.text)
        self.assertEqual(headers, ["Bearer sec-ret"] * 3)
        self.assertEqual(service.connections, 1)
        await service.stop()
        decision = await maybeDeferred(policy.decide, request(Stage.PUBLISH, topic="a"))
        self.assertEqual((decision.effect.value, decision.rule), ("deny", "service"))
