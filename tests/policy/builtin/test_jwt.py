"""Tests for mqttsecure.policy.builtin.jwt."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Action, Decision, Evidence, Principal, Purpose, Role, Stage
from mqttsecure.interfaces import IConnectionObserver, IGrants, IIdentities, IPolicy, IStateKeeper, Subject
from mqttsecure.policy.builtin.jwt import JwtFactory, JwtPolicy
from mqttsecure.policy.builtin.jwt_options import JwtOptions
from mqttsecure.policy.builtin.token_source import RemoteKeys
from mqttsecure.policy.https import HttpsAnswer
from mqttsecure.wire.constants import ReasonCode
from tests.policy.builtin.helpers import effect, facts, request
from tests.support.environment import FakeEnvironment
from tests.support.tokens import AUDIENCE, ISSUER, SECRET, Issuer, encode, forge


def _documents(*names: str) -> Any:
    """JSON of any shape, with members of these names."""
    return st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(names), inner),
        max_leaves=5,
    )


GRANTS = {"grants_claim": "mqtt", "grants_within": ["plant/#"]}


class JwtCase(SynchronousTestCase):
    """A policy with the key of one issuer in a file."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.environment = FakeEnvironment("tokens", folder=self.folder)
        self.issuer = Issuer(key_id="k1")
        self.policy = self.build()

    @property
    def now(self) -> float:
        return self.environment.wall_clock().timestamp()

    def build(self, *issuers: Issuer, **options: Any) -> JwtPolicy:
        path = self.folder / "keys.json"
        path.write_text(json.dumps({"keys": [each.jwk() for each in issuers or (self.issuer,)]}))
        path.chmod(0o600)
        options = {"issuer": ISSUER, "audience": [AUDIENCE], "keys_file": "keys.json", **options}
        return JwtFactory().build(JwtOptions.model_validate(options), self.environment)

    def show(self, token: bytes | None, policy: JwtPolicy | None = None, **more: Any) -> Decision:
        """What comes of that token in the password field."""
        connection = facts(principal=None, username=more.pop("username", None), client_id="c1")
        found = (policy or self.policy).decide(request(Stage.AUTHENTICATE, connection, password=token, **more))
        assert isinstance(found, Decision)
        return found

    def denial(self, token: bytes, policy: JwtPolicy | None = None, **more: Any) -> str:
        """Why it is refused; an assertion fails if it is not, or if the log gets any of the token."""
        decision = self.show(token, policy, **more)
        self.assertEqual(effect(decision), "deny", decision)
        self.assertEqual(decision.reason_code, ReasonCode.BAD_USER_NAME_OR_PASSWORD)
        self.assertIsNotNone(decision.source)
        for part in filter(None, token.split(b".")):
            self.assertNotIn(part.decode(errors="replace")[:40], decision.text + decision.rule)
        return f"{decision.rule}: {decision.text}"


class JwtTests(JwtCase):
    """Who a client is, by a token."""

    def test_permits_the_bearer(self) -> None:
        """A good token names the principal, and until when it holds."""
        for algorithm in ("EdDSA", "ES256", "RS256", "HS256"):
            issuer = Issuer(algorithm, key_id="k")
            decision = self.show(issuer.token(self.now), self.build(issuer))
            self.assertEqual(effect(decision), "permit", decision.text)
            self.assertEqual(decision.principal, Principal("tokens", "alice"))
            self.assertEqual((decision.groups, dict(decision.attributes)), (frozenset(), {}))
            self.assertEqual(decision.valid_until, 630)  # with the leeway

    def test_provides_what_it_says(self) -> None:
        """The contract of a policy that observes, keeps memory, and tells whom and what it lets in."""
        for interface in (IPolicy, IConnectionObserver, IStateKeeper, IGrants, IIdentities):
            verifyObject(interface, self.policy)
        self.assertFalse(self.policy.stateful)
        self.assertEqual(dict(self.policy.stages), {Stage.AUTHENTICATE: Role.GRANTS})
        self.assertEqual(dict(self.build(**GRANTS).stages), dict(JwtFactory.stages))

    def test_abstains_where_no_token_of_its_issuer_is_shown(self) -> None:
        """A password is for another policy, and so is a token of another issuer."""
        other = Issuer("ES256").token(self.now, iss="https://other.example/")
        for shown in (
            None,
            b"",
            b"secret",
            b"a.b.c",
            b"password.with.dots!",
            other,
            Issuer().token(self.now, iss=None),
        ):
            self.assertEqual(effect(self.show(shown)), "abstain", shown)

    def test_table_of_refusals(self) -> None:
        """Everything else about a token is checked, and told in the log with the option that it breaks."""
        now = self.now
        token = self.issuer.token
        for shown, text in (
            (token(now, aud="other.example"), "audience: the token is refused: it is not for mqtt.example"),
            (token(now, aud=None), "audience"),
            (token(now, aud=[1, {"a": 1}]), "audience"),
            (token(now, exp=None), "never expires"),
            (token(now, exp="soon"), "exp is no time"),
            (token(now, exp=True), "exp is no time"),
            (token(now, exp=10**400), "exp is no time"),
            (token(now, exp=-1), "exp is no time"),
            (token(now, exp=float("nan")), "exp is no time"),
            (token(now, exp=now - 31), "expired 31 s ago"),
            (token(now, nbf=now + 31), "begins in 31 s"),
            (token(now, iat=now + 31), "begins in 31 s"),
            (token(now, exp=now + 90_000), "maximum_lifetime"),
            (token(now, iat=None, exp=now + 90_000), "maximum_lifetime"),
            (token(now, sub=None), "names nobody"),
            (token(now, sub=""), "names nobody"),
            (token(now, sub=["alice"]), "names nobody"),
            (token(now, sub="a\nb"), "names nobody"),
            (token(now, sub="x" * 257), "names nobody"),
            (token(now, pad="x" * 9000), "at most 8192"),
            (token(now, headers={"kid": "k2"}), "names the key 'k2'"),
            (token(now, headers={"crit": ["exp"]}), "cannot be read"),
            (forge({"alg": "EdDSA", "b64": True}, {"iss": ISSUER}), "demands an extension"),
        ):
            self.assertIn(text, self.denial(shown))

    def test_clocks_may_differ_a_little(self) -> None:
        """Thirty seconds by default, and none where the option says so."""
        now = self.now
        shown = self.issuer.token(now, exp=now - 29, iat=now - 60)
        self.assertEqual(effect(self.show(shown)), "permit")
        self.assertIn("expired", self.denial(shown, self.build(leeway_seconds=0)))

    def test_the_algorithm_is_the_keys(self) -> None:
        """Neither `none`, nor a public key taken for a shared secret, nor any other algorithm gets past."""
        now = int(self.now)
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "root", "exp": now + 60}
        self.assertIn("algorithm", self.denial(forge({"alg": "none", "kid": "k1"}, claims, b"")[:-1] + b"."))
        self.assertIn("algorithm", self.denial(forge({"alg": "HS256", "kid": "k1"}, claims)))
        # The classic: an HMAC with the public key's own bytes.
        head = encode({"alg": "HS256", "kid": "k1"}) + b"." + encode(claims)
        for secret in (self.issuer.pem, self.issuer.jwk()["x"].encode()):
            shown = head + b"." + encode(hmac.digest(secret, head, hashlib.sha256))
            self.assertIn("its key is one of EdDSA", self.denial(shown))
        self.assertIn("algorithm", self.denial(Issuer("RS256", key_id="k1").token(now)))

    def test_a_wrong_signature_is_one(self) -> None:
        """Claims that were changed, or signed by somebody else."""
        now = self.now
        head, body, signature = self.issuer.token(now).split(b".")
        changed = encode({**json.loads(_decode(body)), "sub": "root"})
        self.assertIn("signature", self.denial(b".".join((head, changed, signature))))
        stranger = Issuer(number=1, key_id="k1")
        self.assertIn("signature", self.denial(stranger.token(now)))

    def test_strikes(self) -> None:
        """A forged token counts towards a ban, one that has run out does not, and neither when it is only asked."""
        now = self.now
        forged, late = Issuer(number=1, key_id="k1").token(now), self.issuer.token(now, exp=now - 100)
        self.assertEqual([each.weight for each in self.show(forged).obligations], [1])
        self.assertEqual(self.show(late).obligations, ())
        self.assertEqual(self.show(forged, purpose=Purpose.SHADOW).obligations, ())

    def test_the_user_name_must_be_the_bearers(self) -> None:
        """Where one is given: else rules of thumb that look at it would be fooled."""
        shown = self.issuer.token(self.now)
        for name in (None, "", "alice"):
            self.assertEqual(effect(self.show(shown, username=name)), "permit")
        self.assertIn("username", self.denial(shown, username="bob"))
        ignoring = self.build(username="any")
        self.assertEqual(effect(self.show(shown, ignoring, username="bob")), "permit")
        self.assertFalse(IIdentities.providedBy(ignoring))

    def test_groups(self) -> None:
        """From the claim that the configuration names; one text counts as a list of one."""
        policy = self.build(groups_claim="roles")
        for claim, groups in ((["a", "b"], {"a", "b"}), ("a", {"a"}), ([], set())):
            self.assertEqual(self.show(self.issuer.token(self.now, roles=claim), policy).groups, groups)
        self.assertEqual(self.show(self.issuer.token(self.now), policy).groups, frozenset())
        self.assertEqual(self.show(self.issuer.token(self.now, roles=["a"])).groups, frozenset())
        for bad in (1, {"a": 1}, [1], [""], ["a\nb"], ["x" * 257], [str(each) for each in range(65)], None):
            shown = self.issuer.token(self.now, roles=bad) if bad is not None else forge({}, {})
            if bad is not None:
                self.assertIn("roles", self.denial(shown, policy))

    def test_names(self) -> None:
        """The authority and the claim that names are the configuration's to say."""
        policy = self.build(name_claim="client_id")
        decision = self.show(self.issuer.token(self.now, client_id="pump-7"), policy)
        self.assertEqual(decision.principal, Principal("tokens", "pump-7"))

    def test_says_whom_it_lets_in(self) -> None:
        """For `explain` and proofs: anyone of its authority, and with the token taken as right whoever is named."""
        (known,) = self.build(groups_claim="roles").identities()
        self.assertEqual((known.authority, known.name, known.any_groups), ("tokens", None, True))
        asked = request(Stage.AUTHENTICATE, facts(principal=None, username="bob"), password=b"x")
        self.assertEqual(self.policy.decide_assuming(asked).principal, Principal("tokens", "bob"))
        asked.exchange["principal"] = Principal("login", "bob")
        self.assertEqual(effect(self.policy.decide_assuming(asked)), "abstain")
        asked = request(Stage.AUTHENTICATE, facts(principal=None), password=b"x")
        self.assertEqual(effect(self.policy.decide_assuming(asked)), "abstain")

    def test_other_stages_are_not_its_own(self) -> None:
        """It says nothing where it is not asked."""
        self.assertEqual(effect(self.policy.decide(request(Stage.CONNECT))), "abstain")
        self.assertEqual(effect(self.policy.decide(request(Stage.PUBLISH, topic="a"))), "abstain")

    @settings(max_examples=300, deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=300),
            st.builds(
                forge,
                _documents("alg", "kid", "crit", "typ"),
                _documents("iss", "exp", "aud"),
                st.binary(max_size=80),
            ),
        )
    )
    def test_nobody_gets_in_with_anything_else(self, shown: bytes) -> None:
        """No bytes that the issuer did not sign are a permit, or an exception: that would open the circuit breaker."""
        self.assertIn(effect(self.show(shown)), ("deny", "abstain"))

    def test_deep_nesting_is_no_exception(self) -> None:
        """Brackets upon brackets exhaust a parser; that is the token's fault and not the policy's."""
        deep = b"[" * 5000
        for shown in (
            encode(deep) + b"." + encode({"iss": ISSUER}) + b"." + encode(b"x"),
            encode({"alg": "EdDSA"}) + b"." + encode(deep) + b"." + encode(b"x"),
        ):
            self.assertIn(effect(self.show(shown)), ("deny", "abstain"))

    def test_nothing_of_a_token_is_logged(self) -> None:
        """Nor of a secret that signs them."""
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        shown = Issuer("HS256", key_id="k").token(self.now)
        policy = self.build(Issuer("HS256", key_id="k"), **GRANTS)
        self.show(shown, policy)
        self.show(shown[:-4] + b"AAAA", policy)
        self.assertNotIn(SECRET[:10].decode(), f"{seen}{policy!r}")
        self.assertNotIn(shown[-20:].decode(), f"{seen}")


def _decode(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


class RecheckTests(JwtCase):
    """Does the connection still stand on its token?"""

    def recheck(self, policy: JwtPolicy, evidence: Evidence | None, now: float = 0.0) -> Any:
        return policy.decide(request(Stage.AUTHENTICATE, purpose=Purpose.RECHECK, evidence=evidence, now=now))

    def evidence(self) -> Evidence:
        decision = self.show(self.issuer.token(self.now))
        return Evidence("tokens", decision.fingerprint, decision.valid_until)

    def test_until_it_expires(self) -> None:
        """Live sessions end with the token, within the leeway."""
        evidence = self.evidence()
        self.assertEqual(effect(self.recheck(self.policy, evidence, 629)), "permit")
        decision = self.recheck(self.policy, evidence, 630)
        self.assertEqual((effect(decision), decision.rule), ("deny", "exp"))

    def test_until_its_key_is_taken_out(self) -> None:
        """A key that leaked ends the sessions of all whom it let in."""
        rolled = self.build(Issuer("ES256", key_id="k2"), self.issuer)
        self.assertEqual(effect(self.recheck(rolled, self.evidence())), "permit")
        replaced = self.build(Issuer("ES256", key_id="k1"))
        decision = self.recheck(replaced, self.evidence())
        self.assertEqual((effect(decision), decision.rule), ("deny", "keys"))

    def test_evidence_of_others_is_not_its_own(self) -> None:
        """Who came in by another policy is that one's to vouch for."""
        for evidence in (None, Evidence("other", "x")):
            self.assertEqual(effect(self.recheck(self.policy, evidence)), "abstain")

    def test_evidence_that_never_ends_is_none(self) -> None:
        """A token always has an end, so that without one is refused."""
        self.assertEqual(effect(self.recheck(self.policy, Evidence("tokens", self.evidence().fingerprint))), "deny")


class GrantsTests(JwtCase):
    """What a token may do with topics."""

    def setUp(self) -> None:
        super().setUp()
        self.policy = self.build(**GRANTS)

    def connection(self, *grants: str, name: str = "alice") -> Any:
        decision = self.show(self.issuer.token(self.now, mqtt=list(grants), sub=name))
        self.assertEqual(effect(decision), "permit", decision.text)
        return facts(principal=decision.principal, attributes=dict(decision.attributes), client_id="c1")

    def ask(self, connection: Any, stage: Stage, topic: str, **more: Any) -> str:
        return effect(self.policy.decide(request(stage, connection, topic=topic, **more)))

    def test_grants_what_the_rules_say(self) -> None:
        """Publish, subscribe by containment, receive; deny overrides; the bearer's own name in braces."""
        connection = self.connection(
            "publish plant/{user}/#", "permit read plant/1/# where qos<=1", "deny read plant/1/x"
        )
        for stage, topic, expected in (
            (Stage.PUBLISH, "plant/alice/t", "permit"),
            (Stage.PUBLISH, "plant/bob/t", "abstain"),
            (Stage.SUBSCRIBE, "plant/1/a/#", "permit"),
            (Stage.SUBSCRIBE, "plant/1/#", "deny"),
            (Stage.SUBSCRIBE, "plant/#", "deny"),
            (Stage.SUBSCRIBE, "plant/2/#", "abstain"),
            (Stage.DELIVER, "plant/1/a", "permit"),
            (Stage.DELIVER, "plant/1/x", "deny"),
        ):
            self.assertEqual(self.ask(connection, stage, topic), expected, (stage, topic))
        self.policy.connection_opened(connection)
        self.policy.connection_authenticated(connection)
        self.policy.connection_closed(connection)

    def test_a_name_with_wildcards_widens_nothing(self) -> None:
        """A bearer named + or # gets no level that it could fill with them."""
        for name in ("+", "#", "a/b", "+/#"):
            connection = self.connection("publish,read plant/{user}/#", name=name)
            for topic in ("plant/alice/t", f"plant/{name}/t".replace("#", "x").replace("+", "x"), "plant/x"):
                self.assertEqual(self.ask(connection, Stage.PUBLISH, topic), "abstain")
            self.assertEqual(self.ask(connection, Stage.SUBSCRIBE, "plant/#"), "abstain")
            self.assertEqual(self.ask(connection, Stage.SUBSCRIBE, "plant/+/#"), "abstain")

    def test_no_more_than_the_configuration_allows(self) -> None:
        """An issuer cannot grant what lies outside of grants_within, and such a token lets nobody in."""
        for grant in ("publish #", "read +/x", "read $SYS/#", "publish {user}/x", "publish other/x", "read ${user}/x"):
            self.assertIn("outside of grants_within", self.denial(self.issuer.token(self.now, mqtt=[grant])))

    def test_table_of_what_is_no_grant(self) -> None:
        """Anything that is no rule about the bearer alone refuses the token."""
        for grants in (
            ["permit user:bob publish plant/1"],
            ["everyone publish plant/1"],
            ["publish"],
            ["publish plant/1 where"],
            ["publish plant/#/x"],
            ["publish $share/g/plant/1"],
            ["publish plant/1\npublish plant/2"],
            [""],
            [1],
            {"a": 1},
            ["publish plant/" + "x" * 600],
            ["publish plant/1"] * 65,
        ):
            self.assertIn(
                "mqtt" if grants else "",
                self.denial(self.issuer.token(self.now, mqtt=grants)).replace("grants_claim", "mqtt"),
            )

    def test_grants_of_another_policy_are_not_its_own(self) -> None:
        """Each looks only at what its own tokens brought; a policy that allows less now grants nothing."""
        connection = self.connection("publish plant/1")
        self.environment.policy_id = "other"
        other = self.build(**GRANTS)
        self.assertEqual(effect(other.decide(request(Stage.PUBLISH, connection, topic="plant/1"))), "abstain")
        self.environment.policy_id = "tokens"
        narrower = self.build(grants_claim="mqtt", grants_within=["plant/2"])
        self.assertEqual(effect(narrower.decide(request(Stage.PUBLISH, connection, topic="plant/1"))), "abstain")
        self.assertEqual(self.ask(facts(attributes={"token_grants": 1}), Stage.PUBLISH, "plant/1"), "abstain")

    def test_tells_what_it_grants(self) -> None:
        """Proofs hold for what is in a token, or else for the most that any could grant."""
        connection = self.connection("publish plant/1")
        subject = Subject("tokens", "alice", attributes=connection.attributes)
        self.assertEqual([each.topic_filter for each in self.policy.grants(subject)], ["plant/1"])
        unknown = Subject("tokens", "alice", open_attributes=frozenset({"token_grants"}))
        self.assertEqual(
            {(each.action, each.topic_filter, each.must) for each in self.policy.grants(unknown)},
            {(action, "plant/#", 0) for action in Action},
        )
        self.assertEqual(self.policy.grants(Subject("tokens", "alice")), [])
        self.assertEqual(self.policy.names(), [])
        self.assertEqual(self.policy.advise(request(Stage.PUBLISH, topic="plant/1")).add, "")
        self.assertTrue(self.policy.advise(request(Stage.PUBLISH, connection, topic="plant/2")))


class RemoteTests(JwtCase):
    """Keys of a service."""

    def test_waits_for_the_keys(self) -> None:
        """The first client waits until the service has answered; with no answer nobody gets in."""
        asked: list[Deferred[HttpsAnswer]] = []

        def fetch() -> Deferred[HttpsAnswer]:
            asked.append(Deferred())
            return asked[-1]

        options = JwtOptions(issuer=ISSUER, audience=[AUDIENCE], jwks_url="https://id.example/keys")
        clock: Any = self.environment.clock
        keys = RemoteKeys(fetch, clock, self.environment.log, refresh=600, lifetime=3600)
        policy = JwtPolicy(options, keys, self.environment)
        self.assertTrue(policy.stateful)
        shown = request(Stage.AUTHENTICATE, facts(principal=None), password=self.issuer.token(self.now))
        waiting: Any = policy.decide(shown)
        self.assertNoResult(waiting)
        asked[0].callback(HttpsAnswer(200, "application/json", json.dumps({"keys": [self.issuer.jwk()]}).encode()))
        decision = self.successResultOf(waiting)
        self.assertEqual(effect(decision), "permit")
        # A reload, while the service is away, goes on with the keys that are known.
        later = JwtPolicy(
            options, RemoteKeys(fetch, clock, self.environment.log, refresh=600, lifetime=3600), self.environment
        )
        later.inherit(policy)
        later.save()
        self.assertEqual(effect(later.decide(shown)), "permit")
        evidence = Evidence("tokens", decision.fingerprint, decision.valid_until)
        again = request(Stage.AUTHENTICATE, purpose=Purpose.RECHECK, evidence=evidence)
        self.assertEqual(effect(later.decide(again)), "permit")
        # Once they are too old the service is asked, and as it fails nobody gets in.
        self.environment.clock.advance(3601)
        old: Any = later.decide(again)
        fresh: Any = later.decide(
            request(Stage.AUTHENTICATE, facts(principal=None), password=self.issuer.token(self.now))
        )
        asked[-1].callback(HttpsAnswer(503, "", b""))
        for deferred in (old, fresh):
            decision = self.successResultOf(deferred)
            self.assertEqual((effect(decision), decision.rule), ("deny", "keys"))
        self.assertIn("status 503", decision.text)
