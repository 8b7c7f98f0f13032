"""The kit for policies of third parties, run against those of the broker that ask, count, remember or tell the time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Principal, Request, Stage
from mqttsecure.interfaces import IPolicyEnvironment
from mqttsecure.policy.builtin import scram_keys
from mqttsecure.policy.builtin.http_options import HttpOptions
from mqttsecure.policy.builtin.http_service import HttpFactory, HttpPolicy
from mqttsecure.policy.builtin.jwt import JwtFactory, JwtPolicy
from mqttsecure.policy.builtin.jwt_options import JwtOptions
from mqttsecure.policy.builtin.password_hash import PasswordFile
from mqttsecure.policy.builtin.payload import PayloadFactory
from mqttsecure.policy.builtin.quota import QuotaFactory
from mqttsecure.policy.builtin.schedule import ScheduleFactory
from mqttsecure.policy.builtin.scram import ScramFactory
from mqttsecure.policy.builtin.token_source import RemoteKeys
from mqttsecure.policy.https import HttpsAnswer
from mqttsecure.testing.policy import PolicyKit, TestEnvironment, facts, request
from mqttsecure.wire.scram import METHOD, METHOD_PLUS, ScramClient
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()


def _tokens() -> Iterable[Request]:
    """Good ones, late ones, forged ones."""
    issuer = Issuer(key_id="k")
    tokens = [
        issuer.token(NOON, exp=int(NOON) + 80_000, groups=["a"], mqtt=["publish,read plant/{user}/#"]),
        issuer.token(NOON, exp=int(NOON) - 100),
        issuer.token(NOON, mqtt=["publish #"]),
        Issuer(number=1, key_id="k").token(NOON),
        issuer.token(NOON, headers={"kid": "unknown"}),
    ]
    for token in tokens:
        yield request(Stage.AUTHENTICATE, connection=facts(principal=None, username=None), password=token)


class JwtKitTests(PolicyKit, SynchronousTestCase):
    factory = JwtFactory()
    options = {
        "issuer": ISSUER,
        "audience": [AUDIENCE],
        "keys_file": "keys.json",
        "groups_claim": "groups",
        "grants_claim": "mqtt",
        "grants_within": ["plant/#"],
    }
    bad_options = ({}, {**options, "keys_file": "none"}, {**options, "grants_within": []}, {**options, "audience": []})

    def make_environment(self) -> TestEnvironment:
        environment = super().make_environment()
        path = environment.resolve("keys.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"keys": [Issuer(key_id="k").jwk()]}))
        path.chmod(0o600)
        return environment

    def more_requests(self) -> Iterable[Request]:
        return _tokens()


class _RemoteJwtFactory(JwtFactory):
    """Fetches its keys by the broker's threads, which the kit holds up, fails and refuses."""

    def build(self, options: JwtOptions, environment: IPolicyEnvironment) -> JwtPolicy:
        body = json.dumps({"keys": [Issuer(key_id="k").jwk()]}).encode()

        def fetch() -> Deferred[HttpsAnswer]:
            fetched: Deferred[HttpsAnswer] = environment.defer_to_thread(HttpsAnswer, 200, "application/json", body)
            return fetched

        keys = RemoteKeys(fetch, environment.clock, environment.log, refresh=600, lifetime=3600)
        return JwtPolicy(options, keys, environment)


class RemoteJwtKitTests(PolicyKit, SynchronousTestCase):
    factory = _RemoteJwtFactory()
    options = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks_url": "https://id.example/keys"}

    def more_requests(self) -> Iterable[Request]:
        return _tokens()


class ScramKitTests(PolicyKit, SynchronousTestCase):
    factory = ScramFactory()
    options = {"file": "users"}
    bad_options = ({}, {"file": "none"}, {"file": "users", "authority": "x"}, {"channel_binding": "never"})

    def setUp(self) -> None:
        self.patch(scram_keys, "ITERATIONS", 4096)
        self.users = Path(self.mktemp())
        PasswordFile(self.users).set_user("alice", b"pencil", scram=True)

    def make_environment(self) -> TestEnvironment:
        environment = super().make_environment()
        path = environment.resolve("users")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.users.read_bytes())
        path.chmod(0o600)
        return environment

    def more_requests(self) -> Iterable[Request]:
        for name, method in (("alice", METHOD), ("nobody", METHOD), ("alice", METHOD_PLUS)):
            data = ScramClient(name, "pencil", b"rOprNGfwEbeRWgbNEkqO").first()
            yield request(
                Stage.AUTHENTICATE,
                connection=facts(principal=None, username=None),
                authentication_method=method,
                authentication_data=data,
            )


class ScheduleKitTests(PolicyKit, SynchronousTestCase):
    factory = ScheduleFactory()
    options = {
        "time_zone": "Europe/Berlin",
        "hours": ["08:00-18:00"],
        "only": ["user:alice"],
        "stages": ["AUTHENTICATE", "PUBLISH", "SUBSCRIBE", "DELIVER"],
    }
    bad_options = ({}, {**options, "time_zone": "Nowhere"}, {**options, "hours": ["8"]}, {"time_zone": "UTC"})


class PayloadKitTests(PolicyKit, SynchronousTestCase):
    factory = PayloadFactory()
    options = {"topics": ["#"], "maximum_bytes": 1000, "json": True}
    bad_options = ({}, {"topics": ["#"]}, {"topics": ["a/#/b"], "json": True}, {**options, "schema_file": "none"})


class QuotaKitTests(PolicyKit, SynchronousTestCase):
    factory = QuotaFactory()
    options = {"sessions": 2, "subscriptions": 5, "retained_messages": 3, "queued_bytes": 10_000, "inflight": 10}
    bad_options = ({}, {"sessions": 0}, {**options, "only": ["bob"]})

    def more_requests(self) -> Iterable[Request]:
        exchange = {"principal": Principal("login", "alice")}
        yield request(Stage.AUTHENTICATE, connection=facts(principal=None), exchange=exchange)


class _AnsweredHttpFactory(HttpFactory):
    """Its service is one of the broker's threads, which the kit holds up, fails and refuses."""

    def build(self, options: BaseModel, environment: IPolicyEnvironment) -> HttpPolicy:
        def ask(document: bytes) -> Deferred[HttpsAnswer]:
            answered: Deferred[HttpsAnswer] = environment.defer_to_thread(_answer, document)
            return answered

        assert isinstance(options, HttpOptions)
        return HttpPolicy(options, ask, environment)


def _answer(document: bytes) -> HttpsAnswer:
    asked = json.loads(document)
    answer: dict[str, Any] = {"decision": "permit", "cache_seconds": 0}
    if asked["stage"] == "AUTHENTICATE":
        answer["principal"] = asked.get("username", "nobody")
    return HttpsAnswer(200, "application/json", json.dumps(answer).encode())


class HttpKitTests(PolicyKit, SynchronousTestCase):
    factory = _AnsweredHttpFactory()
    options = {"url": "https://auth.example/", "stages": ["CONNECT", "AUTHENTICATE", "PUBLISH"], "role": "grants"}
    bad_options = ({}, {**options, "stages": []}, {**options, "role": "x"})


class OfflineHttpKitTests(PolicyKit, SynchronousTestCase):
    factory = HttpFactory()
    options = {"url": "https://auth.example/", "stages": ["PUBLISH"], "role": "grants"}
    bad_options = ({}, {**options, "url": "http://auth.example/"}, {**options, "token_file": "none"})
