"""Tests for mqttsecure.policy.builtin.scram."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scramp
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import (
    ConnectionFacts,
    Decision,
    Effect,
    Evidence,
    Principal,
    Purpose,
    Request,
    Role,
    Stage,
    TlsFacts,
    Verdict,
)
from mqttsecure.interfaces import IIdentities, IPolicy
from mqttsecure.policy.builtin import scram_keys
from mqttsecure.policy.builtin.password_hash import PasswordFile
from mqttsecure.policy.builtin.scram import Scram, ScramFactory, ScramOptions
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.scram import METHOD, METHOD_PLUS, ScramClient
from tests.policy.builtin.helpers import effect, facts, problems_of, request
from tests.support.environment import FakeAuthority, FakeEnvironment

NONCE = b"rOprNGfwEbeRWgbNEkqO"
BINDING = b"b" * 32
TLS = TlsFacts("TLSv1.3", "x", channel_binding=BINDING)


class ScramCase(SynchronousTestCase):
    """A file in which alice and bob have SCRAM keys, and carol a hash."""

    def setUp(self) -> None:
        self.patch(scram_keys, "ITERATIONS", 4096)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.environment = FakeEnvironment("scram", folder=self.folder)
        self.file = PasswordFile(self.folder / "users")
        self.file.set_user("alice", b"pencil", ["staff"], scram=True)
        self.file.set_user("bob", b"brush", scram=True)
        self.file.set_user("carol", b"pencil")

    def build(self, **options: Any) -> Scram:
        if "authority" not in options:
            options.setdefault("file", "users")
        return ScramFactory().build(ScramOptions.model_validate(options), self.environment)

    def exchange(
        self,
        policy: Scram,
        client: ScramClient,
        tls: TlsFacts | None = TLS,
        username: str | None = None,
        method: str | None = None,
    ) -> Decision:
        """The last answer of an exchange, or the first that is no CHALLENGE."""
        connection = facts(principal=None, tls=tls, username=username)
        more: dict[str, Any] = {"authentication_method": method or client.method, "exchange": {}}
        first = policy.decide(request(Stage.AUTHENTICATE, connection, authentication_data=client.first(), **more))
        if first.effect is not Effect.CHALLENGE:
            return first
        answer = client.final(first.authentication_data or b"")
        return policy.decide(request(Stage.AUTHENTICATE, connection, authentication_data=answer, **more))


class ScramTests(ScramCase):
    """Who a client is, by a password that is never sent."""

    def test_permits_who_knows_the_password(self) -> None:
        """With and without channel binding; the broker proves itself, too."""
        policy = self.build()
        verifyObject(IPolicy, policy)
        verifyObject(IIdentities, policy)
        for binding, tls in ((None, TLS), (None, None), (BINDING, TLS)):
            client = ScramClient("alice", "pencil", NONCE, binding)
            decision = self.exchange(policy, client, tls)
            self.assertEqual(effect(decision), "permit", decision.text)
            self.assertEqual(decision.principal, Principal("scram", "alice"))
            self.assertEqual((decision.groups, decision.authentication_method), (frozenset({"staff"}), client.method))
            client.check(decision.authentication_data)
        self.assertEqual(dict(ScramFactory.stages), {Stage.AUTHENTICATE: Role.GRANTS})

    def test_an_independent_client_gets_in(self) -> None:
        """scramp, which others wrote, over the policy."""
        for password, expected in (("pencil", "permit"), ("pen", "deny")):
            client = scramp.ScramClient(["SCRAM-SHA-256"], "alice", password)
            connection = facts(principal=None)
            more: dict[str, Any] = {"authentication_method": METHOD, "exchange": {}}
            policy = self.build()
            data = client.get_client_first().encode()
            challenge = policy.decide(request(Stage.AUTHENTICATE, connection, authentication_data=data, **more))
            client.set_server_first((challenge.authentication_data or b"").decode())
            data = client.get_client_final().encode()
            decision = policy.decide(request(Stage.AUTHENTICATE, connection, authentication_data=data, **more))
            self.assertEqual(effect(decision), expected)
            if decision.authentication_data is not None:
                client.set_server_final(decision.authentication_data.decode())

    def test_nobody_learns_who_exists(self) -> None:
        """An unknown user, one without SCRAM keys and a wrong password look alike, also when asked again."""
        policy, again = self.build(), self.build()
        questions: dict[str, set[tuple[int, bytes]]] = {}
        for name in ("alice", "carol", "nobody"):
            denied = self.exchange(policy, ScramClient(name, "wrong", NONCE))
            self.assertEqual((effect(denied), denied.reason_code), ("deny", ReasonCode.NOT_AUTHORIZED))
            self.assertEqual([each.weight for each in denied.obligations], [1])
            for each in (policy, again):
                client = ScramClient(name, "wrong", NONCE)
                asked = request(
                    Stage.AUTHENTICATE,
                    facts(principal=None),
                    authentication_method=METHOD,
                    authentication_data=client.first(),
                )
                question = each.decide(asked).authentication_data or b""
                self.environment._random = 0  # the same nonce
                _, salt, count = question.split(b",")
                questions.setdefault(name, set()).add((len(question), salt + count))
        self.assertEqual([len(each) for each in questions.values()], [1, 1, 1])
        self.assertEqual(len({length for each in questions.values() for length, _ in each}), 1)

    def test_channel_binding(self) -> None:
        """A man in the middle is found out, and who is told that there is no binding, too."""
        policy, strict = self.build(), self.build(channel_binding="required")
        bound, unbound = ScramClient("alice", "pencil", NONCE, b"x" * 32), ScramClient("alice", "pencil", NONCE)
        self.assertEqual(self.exchange(policy, bound).rule, "proof")
        for client, more, chosen, text in (
            (bound, {"tls": None}, policy, "needs TLS 1.3"),
            (bound, {"tls": TlsFacts("TLSv1.2", "x")}, policy, "needs TLS 1.3"),
            (bound, {"method": METHOD}, policy, "channel binding goes with"),
            (unbound, {"method": METHOD_PLUS}, policy, "channel binding goes with"),
            (unbound, {}, strict, "channel binding is required"),
        ):
            decision = self.exchange(chosen, client, **more)
            self.assertEqual((effect(decision), decision.rule), ("deny", "channel_binding"))
            self.assertIn(text, decision.text)
        asked = request(
            Stage.AUTHENTICATE,
            facts(principal=None, tls=TLS),
            authentication_method=METHOD,
            authentication_data=b"y,,n=alice,r=" + NONCE,
        )
        self.assertIn("somebody may be in between", policy.decide(asked).text)

    def test_abstains_from_other_methods_and_questions(self) -> None:
        """A password, another method, or a question that nobody can answer for the client."""
        policy = self.build()
        for more in (
            {},
            {"password": b"pencil"},
            {"authentication_method": "GS2-KRB5"},
            {"authentication_method": METHOD, "purpose": Purpose.EXPLAIN},
            {"authentication_method": METHOD, "purpose": Purpose.SHADOW},
        ):
            self.assertEqual(
                effect(policy.decide(request(Stage.AUTHENTICATE, facts(principal=None), **more))), "abstain"
            )
        self.assertEqual(policy.authentication_methods, {METHOD, METHOD_PLUS})

    def test_hostile_messages_are_denied(self) -> None:
        """And never an exception, which would open the circuit breaker."""
        policy = self.build()
        for first in (None, b"", b"x" * 5000, b"n,,n=alice,r=short", b"\xff\xff", b"n,a=root,n=alice,r=" + NONCE):
            asked = request(
                Stage.AUTHENTICATE, facts(principal=None), authentication_method=METHOD, authentication_data=first
            )
            self.assertEqual(policy.decide(asked).rule, "exchange")
        for last in (None, b"", b"c=biws", b"x" * 5000, b"c=biws,r=x,p=AAAA"):
            more: dict[str, Any] = {"authentication_method": METHOD, "exchange": {}}
            data = ScramClient("alice", "pencil", NONCE).first()
            policy.decide(request(Stage.AUTHENTICATE, facts(principal=None), authentication_data=data, **more))
            asked = request(Stage.AUTHENTICATE, facts(principal=None), authentication_data=last, **more)
            self.assertIn(policy.decide(asked).rule, ("exchange", "proof"))
            self.assertEqual(more["exchange"].get("scram:scram"), None)

    def test_the_user_name_must_be_the_same(self) -> None:
        """CONNECT may name the user as well, and no other."""
        client = ScramClient("alice", "pencil", NONCE)
        self.assertEqual(effect(self.exchange(self.build(), client, username="alice")), "permit")
        self.assertEqual(effect(self.exchange(self.build(), client, username="bob")), "deny")

    def test_a_reload_between_the_steps(self) -> None:
        """Another policy does not take over a question that it did not ask: the exchange is denied."""
        client = ScramClient("alice", "pencil", NONCE)
        connection, exchange = facts(principal=None), {}
        more: dict[str, Any] = {"authentication_method": METHOD, "exchange": exchange}
        first = self.build().decide(request(Stage.AUTHENTICATE, connection, authentication_data=client.first(), **more))
        answer = client.final(first.authentication_data or b"")
        later = self.build().decide(request(Stage.AUTHENTICATE, connection, authentication_data=answer, **more))
        self.assertEqual(effect(later), "deny")

    def test_recheck(self) -> None:
        """The session stands as long as the user does, with the same password."""
        policy = self.build()
        permitted = self.exchange(policy, ScramClient("alice", "pencil", NONCE))
        evidence = Evidence("scram", permitted.fingerprint)

        def recheck(policy: Scram, evidence: Evidence | None) -> str:
            asked = request(Stage.AUTHENTICATE, facts(), purpose=Purpose.RECHECK, evidence=evidence)
            return effect(policy.decide(asked))

        self.assertEqual(recheck(policy, evidence), "permit")
        self.assertEqual(recheck(policy, None), "abstain")
        self.assertEqual(recheck(policy, Evidence("login", permitted.fingerprint)), "abstain")
        self.file.set_user("alice", b"pencil", scram=True)
        self.assertEqual(recheck(self.build(), evidence), "deny")
        self.file.delete_user("alice")
        self.assertEqual(recheck(self.build(), evidence), "deny")

    def test_says_whom_it_lets_in(self) -> None:
        """Those with keys, and no other."""
        policy = self.build()
        self.assertEqual(sorted(str(each.name) for each in policy.identities()), ["alice", "bob"])
        for name, expected in (("alice", "permit"), ("carol", "abstain"), (None, "abstain")):
            asked = request(Stage.AUTHENTICATE, facts(principal=None, username=name), password=b"x")
            self.assertEqual(effect(policy.decide_assuming(asked)), expected)
        asked.connection.username = "alice"
        asked.exchange["principal"] = Principal("login", "alice")
        self.assertEqual(effect(policy.decide_assuming(asked)), "abstain")

    def test_nothing_secret_is_told(self) -> None:
        """Neither in a denial nor in a state that is shown."""
        policy = self.build()
        stored = (self.folder / "users").read_text()
        exchange: dict[str, Any] = {}
        data = ScramClient("alice", "wrong", NONCE).first()
        policy.decide(
            request(
                Stage.AUTHENTICATE,
                facts(principal=None),
                authentication_method=METHOD,
                authentication_data=data,
                exchange=exchange,
            )
        )
        shown = repr(exchange) + repr(policy)
        for line in stored.split("\n"):
            for field in line.split("$")[4:]:
                self.assertNotIn(field.split(":")[0][:20], shown)

    def test_table_of_problems(self) -> None:
        """What refuses the start, with file and mend."""

        def write(name: str, text: str, mode: int = 0o600) -> None:
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(mode)

        good = (self.folder / "users").read_text()
        keys = next(line for line in good.split("\n") if line.startswith("alice")).split(":")[1]
        secret = next(line for line in good.split("\n") if line.startswith("#scram-secret"))
        write("hashes", next(line for line in good.split("\n") if line.startswith("carol")))
        write("bare", f"alice:{keys}\n")
        write("broken", f"alice:{keys}x\n{secret}\n")
        write("short", f"alice:{keys}\n#scram-secret:AAAA\n")
        write("open", good, 0o644)
        write("twins", f"IX:{keys}\n\u2168:{keys}\n{secret}\n")
        write("odd", f"a\u0221:{keys}\n{secret}\n")
        for options, text in (
            ({"file": None}, "give one of"),
            ({"file": "users", "authority": "people"}, "give one of"),
            ({"authority": "people"}, "there is no [[authority]] 'people'"),
            ({"file": "none"}, "cannot be read"),
            ({"file": "open"}, "chmod 600"),
            ({"file": "hashes"}, "no user has SCRAM keys; give some with: mqttsecure passwd --scram"),
            ({"file": "bare"}, "has no line #scram-secret"),
            ({"file": "short"}, "holds no secret"),
            ({"file": "broken"}, "broken:1: the SCRAM keys"),
            ({"file": "twins"}, "are the same name to SCRAM"),
            ({"file": "odd"}, "rename the user"),
        ):
            full = ScramOptions.model_validate(options)
            found = "\n".join(problems_of(ScramFactory().build, full, self.environment))
            self.assertIn(text, found)
            self.assertNotIn(keys[-20:], found)
        self.environment.authorities = {"people": FakeAuthority("people", password_file=self.folder / "users")}
        decision = self.exchange(self.build(authority="people"), ScramClient("alice", "pencil", NONCE))
        self.assertEqual(decision.principal, Principal("people", "alice"))


class ChainTests(ScramCase):
    """In the chain, as a connection meets it."""

    def test_exchange(self) -> None:
        """The verdicts carry what goes to the client, the principal, and the evidence."""
        clock: Any = Clock()
        policy = self.build()
        binding = PolicyBinding("scram", ScramFactory(), policy, frozenset({"lab"}))
        chain = PolicyChain([binding], clock=clock, listeners=["lab"])
        self.assertEqual(chain.authentication_methods, {METHOD, METHOD_PLUS})
        client = ScramClient("alice", "pencil", NONCE)
        connection: ConnectionFacts = facts(principal=None)
        exchange: dict[str, Any] = {}

        def ask(data: bytes, method: str = METHOD) -> Verdict:
            asked = Request(
                Stage.AUTHENTICATE,
                connection,
                0.0,
                authentication_method=method,
                authentication_data=data,
                exchange=exchange,
            )
            verdict = chain.decide(asked)
            assert isinstance(verdict, Verdict)
            return verdict

        question = ask(client.first())
        self.assertIs(question.effect, Effect.CHALLENGE)
        verdict = ask(client.final(question.authentication_data or b""))
        self.assertEqual((verdict.permitted, verdict.principal), (True, Principal("scram", "alice")))
        client.check(verdict.authentication_data)
        self.assertEqual([each.policy for each in verdict.evidence], ["scram"])
        self.assertEqual(ask(b"x", "OTHER").reason_code, ReasonCode.NOT_AUTHORIZED)
