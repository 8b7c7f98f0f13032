"""Tests for mqttsecure.policy.builtin.block_list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Principal, Purpose, Role, Stage
from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin import block_list
from mqttsecure.policy.builtin.block_list import CLIENT, USER, BlockList, BlockListFactory, BlockListOptions
from mqttsecure.policy.registry import verify_policy
from tests.policy.builtin.helpers import effect, facts, problems_of, request
from tests.support.environment import FakeEnvironment
from tests.support.policies import bind, chain_of

ALICE = Principal("login", "alice")


class BlockListTests(SynchronousTestCase):
    """Names that are kept out by hand."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.environment = FakeEnvironment("blocked", folder=self.folder)
        self.clock = self.environment.clock
        self.policy = self.build()

    def build(self, file: str = "blocked.json") -> BlockList:
        return BlockListFactory().build(BlockListOptions(file=file), self.environment)

    def ask(self, stage: Stage = Stage.AUTHENTICATE, client_id: str = "a1", **more: Any) -> Decision:
        more.setdefault("exchange", {"principal": ALICE})
        connection = facts(client_id=client_id, principal=more.pop("known", None))
        return self.policy.decide(request(stage, connection, now=self.clock.seconds(), **more))

    def block(self, kind: str, name: str, seconds: float | None = None, note: str = "") -> int:
        count, done = self.policy.block(kind, name, seconds, note)
        self.successResultOf(done)
        return count

    def test_nobody_is_blocked_at_first(self) -> None:
        """And there is no file yet."""
        self.assertEqual((effect(self.ask(Stage.CONNECT)), effect(self.ask())), ("abstain", "abstain"))
        self.assertEqual(list(self.folder.iterdir()), [])
        verify_policy(self.policy)

    def test_client_identifier(self) -> None:
        """Kept out at CONNECT, before any password is looked at, and for every purpose."""
        self.block(CLIENT, "a1", note="stolen")
        for purpose in Purpose:
            decision = self.ask(Stage.CONNECT, purpose=purpose)
            self.assertEqual((decision.effect.value, decision.rule, decision.reason_code), ("deny", "client", 0x8A))
        self.assertIn("(stolen)", decision.text)
        self.assertEqual(effect(self.ask(Stage.CONNECT, "a2")), "abstain")
        # The broker may have chosen it, so that it was not there at CONNECT.
        self.assertEqual(effect(self.ask(purpose=Purpose.RECHECK)), "deny")

    def test_user(self) -> None:
        """Kept out once it is proved who that is: a claimed name shuts out nobody."""
        self.block(USER, "login:alice")
        self.assertEqual(effect(self.ask(Stage.CONNECT)), "abstain")
        self.assertEqual((self.ask().rule, self.ask().reason_code), ("user", 0x8A))
        for other in (Principal("devices", "alice"), Principal("login", "bob")):
            self.assertEqual(effect(self.ask(exchange={"principal": other})), "abstain")
        self.assertEqual(effect(self.ask(exchange={}, known=ALICE, purpose=Purpose.RECHECK)), "deny")

    def test_needs_to_know_who_it_is(self) -> None:
        """Above the identity policies it lets nobody pass, rather than everybody."""
        self.assertIn("behind the identity policies", self.ask(exchange={}).text)
        self.assertEqual(effect(self.ask(exchange={})), "deny")
        self.assertEqual(effect(self.ask(exchange={}, purpose=Purpose.RECHECK)), "abstain")

    def test_in_a_chain(self) -> None:
        """With the policy that knows alice above, she is let in until she is blocked."""
        chain = chain_of(
            self.clock,
            bind(Decision.permit(principal=ALICE), "login", stages={Stage.AUTHENTICATE: Role.GRANTS}, on=("lab",)),
            bind(self.policy, "blocked", stages=BlockListFactory.stages, on=("lab",)),
            listeners=("lab",),
        )
        asked = request(Stage.AUTHENTICATE, facts(principal=None), password=b"x")
        verdict: Any = chain.decide(asked)
        self.assertTrue(verdict.permitted)
        self.block(USER, "login:alice")
        verdict = chain.decide(asked)
        self.assertEqual((verdict.permitted, verdict.reason_code), (False, 0x8A))

    def test_end_and_unblock(self) -> None:
        """For an hour, or until I say so."""
        self.block(CLIENT, "a1", 3600.0)
        self.clock.advance(3600)
        self.assertEqual((effect(self.ask(Stage.CONNECT)), self.policy.listed()), ("abstain", []))
        self.block(CLIENT, "a1")
        self.clock.advance(10**8)
        self.assertEqual(effect(self.ask(Stage.CONNECT)), "deny")
        self.assertIsNotNone(self.policy.unblock(CLIENT, "a1"))
        self.assertIsNone(self.policy.unblock(CLIENT, "a1"))
        self.assertIsNone(self.policy.unblock(USER, "a1"))
        self.assertEqual(effect(self.ask(Stage.CONNECT)), "abstain")

    def test_live_connections_are_judged_again(self) -> None:
        """Those of that name, and no others; also one that was being let in when it was blocked."""
        for number, client_id in enumerate(("a1", "a2", "a3"), 1):
            connection = facts(number, client_id=client_id, principal=ALICE)
            self.policy.connection_opened(connection)
            self.policy.connection_authenticated(connection)
        self.policy.connection_closed(facts(3))
        self.assertEqual(self.block(CLIENT, "a2"), 1)
        self.assertEqual(self.block(USER, "login:alice"), 2)
        self.assertEqual(self.block(USER, "login:bob"), 0)
        self.assertEqual(self.environment.rejudged, [{2}, {1, 2}])
        self.policy.connection_authenticated(facts(4, client_id="a2", principal=Principal("login", "bob")))
        self.assertEqual(self.environment.rejudged[2:], [{4}])

    def test_restart(self) -> None:
        """What was blocked is blocked, for what is left of the time, with its note."""
        self.block(CLIENT, "a1", 100.0, "n\u00f8te")
        self.block(USER, "login:alice")
        self.clock.advance(50)
        before = self.policy.listed()
        self.policy = self.build()
        self.assertEqual(self.policy.listed(), before)
        self.clock.advance(50)
        self.assertEqual([each["name"] for each in self.policy.listed()], ["login:alice"])
        self.assertIsNone(self.policy.save())

    def test_reload(self) -> None:
        """Blocks stay; with another file those of both hold."""
        self.block(CLIENT, "a1")
        old = self.policy
        self.policy = self.build()
        self.policy.inherit(old)
        self.assertIs(self.policy._file, old._file)
        self.policy = self.build("other.json")
        self.block(CLIENT, "b1")
        self.policy = self.build("other.json")
        self.policy.inherit(old)
        self.assertEqual({each["name"] for each in self.policy.listed()}, {"a1", "b1"})
        self.assertEqual([each["name"] for each in old.listed()], ["a1"])
        self.policy = self.build("other.json")
        self.assertEqual(len(self.policy.listed()), 2)
        self.assertRaises(TypeError, self.policy.inherit, object())

    def test_damaged_file_refuses_the_start(self) -> None:
        """To go on without it would let in whom I wanted to be kept out."""
        self.block(CLIENT, "a1")
        path = self.folder / "blocked.json"
        whole = path.read_text()
        odd = [whole[:-5], "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "blocked": [7]}']
        odd += [whole.replace('"client"', '"x"'), whole.replace('"a1"', '""'), whole.replace('"a1"', "7")]
        odd += [whole.replace("null", '"x"'), whole.replace("null", "7")]
        for content in odd:
            path.write_text(content)
            (problem,) = problems_of(self.build)
            self.assertIn("bring back a copy", problem, content)
        path.write_text(whole)
        path.chmod(0o666)
        self.assertIn("chmod 600", problems_of(self.build)[0])
        self.assertIn("there is no folder", problems_of(self.build, "no/such/blocked.json")[0])

    def test_number_is_bounded(self) -> None:
        """There is an end to what one person looks after."""
        self.patch(block_list, "MAXIMUM_BLOCKS", 2)
        self.block(CLIENT, "a")
        self.block(CLIENT, "b")
        self.block(CLIENT, "b", note="again")
        self.assertRaises(ConfigError, self.policy.block, CLIENT, "c", None, "")
