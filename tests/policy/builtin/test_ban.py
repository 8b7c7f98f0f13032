"""Tests for mqttsecure.policy.builtin.ban, ban_options and known_good."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Decision, Peer, Principal, Purpose, Role, Stage, Strike
from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin import known_good
from mqttsecure.policy.builtin.ban import BanFactory, BanPolicy, banned_network
from mqttsecure.policy.builtin.ban_options import BanOptions
from mqttsecure.policy.builtin.known_good import KnownGood
from mqttsecure.policy.registry import verify_policy
from tests.policy.builtin.helpers import NOT_LIVE, effect, problems_of, request
from tests.support.environment import FakeEnvironment
from tests.support.policies import bind, chain_of

HOME, AWAY = "192.0.2.1", "192.0.2.2"


class BanCase(SynchronousTestCase):
    """A ban policy on a clock that stands still, and connections to strike."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.environment = FakeEnvironment("bans", folder=self.folder)
        self.clock = self.environment.clock
        self.last_id = 0
        self.policy = self.build()

    def build(self, **options: Any) -> BanPolicy:
        return BanFactory().build(BanOptions(**options), self.environment)

    def facts(
        self, username: str | None = "alice", address: str | None = HOME, client_id: str = "", logged_in: bool = False
    ) -> ConnectionFacts:
        self.last_id += 1
        peer = Peer(None, uid=7) if address is None else Peer(ip_address(address), 40000)
        principal = Principal("login", username or client_id) if logged_in else None
        return ConnectionFacts(self.last_id, "lab", peer, username=username, client_id=client_id, principal=principal)

    def strike(self, times: int = 1, facts: ConnectionFacts | None = None, **who: Any) -> None:
        for _ in range(times):
            self.policy.struck(facts or self.facts(**who), 1, "wrong password")

    def ask(
        self, stage: Stage, facts: ConnectionFacts | None = None, purpose: Purpose = Purpose.LIVE, **who: Any
    ) -> Decision:
        return self.policy.decide(request(stage, facts or self.facts(**who), now=self.clock.seconds(), purpose=purpose))

    def banned(self, address: str | None = HOME) -> bool:
        return effect(self.ask(Stage.ACCEPT, address=address)) == "deny"

    def waits(self, *arguments: Any, **who: Any) -> bool:
        return effect(self.ask(Stage.CONNECT, *arguments, purpose=Purpose.EXPLAIN, **who)) == "deny"

    def login(self, **who: Any) -> ConnectionFacts:
        facts = self.facts(logged_in=True, **who)
        self.policy.connection_opened(facts)
        self.policy.connection_authenticated(facts)
        return facts


class WaitTests(BanCase):
    """Who fails to log in has to wait; no one else has."""

    def test_after_the_fifth_wrong_password(self) -> None:
        """That user from that address, and neither from elsewhere nor another user."""
        self.strike(4)
        self.assertFalse(self.waits())
        self.strike()
        decision = self.ask(Stage.CONNECT, purpose=Purpose.EXPLAIN)
        self.assertEqual((decision.rule, decision.reason_code), ("wait", 0x9F))
        self.assertIn("wait for 1 s", decision.text)
        self.assertFalse(self.waits(address=AWAY))
        self.assertFalse(self.waits(username="bob"))
        self.assertFalse(self.banned())
        self.clock.advance(1)
        self.assertFalse(self.waits())
        self.strike()
        self.clock.advance(1.5)
        self.assertTrue(self.waits())

    def test_who_does_not_wait_is_banned(self) -> None:
        """Knocking on without a pause counts against the address, and not for a longer wait of the name."""
        self.strike(5)
        answers = [self.ask(Stage.CONNECT) for _ in range(5)]
        self.assertEqual({effect(each) for each in answers}, {"deny"})
        self.assertTrue(self.banned())
        self.clock.advance(1.1)
        self.assertFalse(self.waits())

    def test_asking_why_counts_nothing(self) -> None:
        """Explain, test, shadow and recheck leave all as it was; and who is in need not wait."""
        self.strike(5)
        for purpose in NOT_LIVE:
            for _ in range(20):
                self.ask(Stage.CONNECT, purpose=purpose)
        self.assertFalse(self.banned())
        self.assertEqual(effect(self.ask(Stage.CONNECT, purpose=Purpose.RECHECK)), "abstain")

    def test_a_device_that_logged_in_does_not_wait_for_another_of_its_user(self) -> None:
        """One of the sensors' hundred devices has an old password; the others come back whenever they like."""
        good = self.login(username="sensors", client_id="s1")
        self.strike(8, username="sensors", client_id="bad")
        self.assertTrue(self.waits(username="sensors", client_id="bad"))
        self.assertTrue(self.waits(username="sensors", client_id="new"))
        self.assertFalse(self.waits(username="sensors", client_id="s1"))
        self.policy.connection_closed(good)
        self.assertFalse(self.waits(username="sensors", client_id="s1"))
        self.clock.advance(601)
        self.strike(8, username="sensors", client_id="bad")
        self.assertTrue(self.waits(username="sensors", client_id="s1"))

    def test_a_known_name_is_no_free_pass_for_guessing(self) -> None:
        """A guesser who takes the Client Identifier of a good device has no more guesses than with another."""
        self.login(username="alice", client_id="a1")
        self.strike(5, username="alice", client_id="a1")
        self.assertTrue(self.waits(username="alice", client_id="a1"))

    def test_a_client_that_is_known_waits_alone(self) -> None:
        """Its broken packets are not held against other clients of its user."""
        self.strike(6, username="sensors", client_id="broken", logged_in=True)
        self.assertTrue(self.waits(username="sensors", client_id="broken"))
        self.assertFalse(self.waits(username="sensors", client_id="other"))

    def test_clients_without_a_user_name(self) -> None:
        """They are told apart by their Client Identifiers; garbage before CONNECT is about no client at all."""
        self.strike(5, username=None, client_id="d1")
        self.assertTrue(self.waits(username=None, client_id="d1"))
        self.assertFalse(self.waits(username=None, client_id="d2"))
        self.assertFalse(self.waits(username=None, client_id=""))

    def test_on_a_unix_socket(self) -> None:
        """There is no address to ban, but wrong passwords have to wait."""
        self.strike(50, address=None)
        self.assertTrue(self.waits(address=None))
        self.assertFalse(self.banned(None))


class AddressTests(BanCase):
    """When an address is banned as a whole."""

    def test_ten_strikes(self) -> None:
        """Nobody ever logged in from there: a minute, and its neighbour is not concerned."""
        for number in range(10):
            self.assertFalse(self.banned())
            self.strike(username=f"user{number}")
        decision = self.ask(Stage.ACCEPT)
        self.assertEqual((decision.effect.value, decision.rule, decision.reason_code), ("deny", "banned", 0x8A))
        self.assertIn("for 60 s: wrong password", decision.text)
        self.assertFalse(self.banned(AWAY))
        self.clock.advance(60)
        self.assertFalse(self.banned())
        self.strike(10, username=None)
        self.clock.advance(119)
        self.assertTrue(self.banned())

    def test_not_where_somebody_is_logged_in(self) -> None:
        """One bad device behind a gateway with good ones: the gateway is never banned."""
        good = self.login(username="good", client_id="g")
        self.strike(1000, username="bad")
        self.assertFalse(self.banned())
        self.policy.connection_closed(good)
        self.strike(1000, username="bad")
        self.assertFalse(self.banned())
        self.clock.advance(601)
        self.strike(20, username="bad")
        self.assertTrue(self.banned())

    def test_anonymous_clients_vouch_for_nobody(self) -> None:
        """A guesser that also connects anonymously is banned all the same."""
        facts = self.facts()
        facts.principal = Principal("anonymous", "1", shared=False)
        self.policy.connection_opened(facts)
        self.policy.connection_authenticated(facts)
        self.strike(10)
        self.assertTrue(self.banned())

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["strike", "strike", "connect", "pause"]), st.integers(0, 3), st.integers(1, 300)
            ),
            max_size=80,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_nobody_bans_another(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever others do at the same address and with the same name elsewhere: who is good stays good."""
        self.setUp()
        self.login(username="good", client_id="g")
        self.login(username="alice", client_id="a", address=AWAY)
        for what, number, amount in steps:
            who = {"username": ("alice", "bob", "carol", "dave")[number], "client_id": f"c{amount}"}
            if what == "strike":
                self.strike(amount % 7 + 1, **who)
            elif what == "connect":
                self.ask(Stage.CONNECT, **who)
            else:
                self.clock.advance(amount)
            self.assertFalse(self.banned(HOME) or self.banned(AWAY))
            self.assertFalse(self.waits(username="good", client_id="g"))
            self.assertFalse(self.waits(username="alice", client_id="a", address=AWAY))
            self.assertFalse(self.waits(username="alice", client_id="new", address=AWAY))

    def test_exempt(self) -> None:
        """A proxy of my own is never banned, nor is its word held against the names that come through it."""
        self.policy = self.build(exempt=["192.0.2.0/31"])
        self.strike(100)
        self.assertFalse(self.banned() or self.waits())
        self.strike(100, address=AWAY)
        self.assertTrue(self.banned(AWAY))

    def test_overrides(self) -> None:
        """Other numbers for known prefixes, the longest first."""
        self.policy = self.build(
            overrides=[
                {"prefix": "192.0.0.0/16", "address_threshold": 1},
                {"prefix": "192.0.2.1", "address_threshold": 20, "threshold": 8, "first_ban_seconds": 5},
            ]
        )
        self.strike(7)
        self.assertFalse(self.waits())
        self.strike(13, username="bob")
        self.assertTrue(self.banned())
        self.clock.advance(5)
        self.assertFalse(self.banned())
        self.strike(address=AWAY)
        self.assertTrue(self.banned(AWAY))

    def test_live_connections_are_judged_again(self) -> None:
        """Strangers that hold connections from a banned address lose them; others are not even asked about."""
        strangers = [self.facts() for _ in range(3)]
        for each in [*strangers, self.facts(address=AWAY)]:
            self.policy.connection_opened(each)
        self.policy.connection_closed(strangers[0])
        self.strike(10)
        self.assertEqual(self.environment.rejudged, [{strangers[1].connection_id, strangers[2].connection_id}])
        self.assertEqual(effect(self.ask(Stage.ACCEPT, strangers[1], Purpose.RECHECK)), "deny")
        late = self.facts()
        self.policy.connection_opened(late)  # its ACCEPT was asked before the ban
        self.assertEqual(self.environment.rejudged[1:], [{late.connection_id}])

    def test_one_ban_at_a_time(self) -> None:
        """Strikes that were under way when the ban began do not make it longer."""
        self.strike(15)
        self.clock.advance(60)
        self.assertFalse(self.banned())

    def test_memory_is_bounded(self) -> None:
        """A hundred thousand addresses are banned one after another; old ones make room, nothing else grows."""
        self.policy = self.build(address_threshold=1, threshold=1)
        for number in range(100_000):
            facts = ConnectionFacts(1, "lab", Peer(ip_address(0x0A000000 + number)), username="alice")
            self.policy.struck(facts, 1, "x")
        self.assertEqual(len(self.policy._bans), 16_384)
        self.assertEqual(len(self.policy._counts), 32_768)
        self.assertTrue(self.banned(str(ip_address(0x0A000000 + 99_999))))


class ChainTests(BanCase):
    """With an identity policy in a chain."""

    def test_strikes_of_decisions(self) -> None:
        """Wrong passwords lead to a wait without another question, and at last to a ban."""
        wrong = Decision.deny("password", obligations=(Strike(1, "wrong password"),))
        chain = chain_of(
            self.clock,
            bind(self.policy, "ban", stages=BanFactory.stages, on=("lab",)),
            bind(Decision.permit(), "open", stages={Stage.CONNECT: Role.GRANTS}, on=("lab",)),
            bind(wrong, "login", stages={Stage.AUTHENTICATE: Role.GRANTS}, on=("lab",)),
            listeners=("lab",),
        )
        for stage, expected in ((Stage.CONNECT, True), (Stage.AUTHENTICATE, False)):
            verdict = chain.decide(request(stage, self.facts(), password=b"x"))
            self.assertIs(verdict.permitted, expected)  # type: ignore[union-attr]
        self.strike(4)
        verdict: Any = chain.decide(request(Stage.CONNECT, self.facts()))
        self.assertEqual((verdict.permitted, verdict.policy, verdict.rule), (False, "ban", "wait"))


class MemoryTests(BanCase):
    """Bans outlive a reload and a restart."""

    def test_reload(self) -> None:
        """The new policy goes on where the old one was, with its own numbers."""
        old = self.policy
        self.strike(4)
        self.strike(10, address=AWAY)
        logged_in = self.login(address="192.0.2.3")
        self.policy = self.build(threshold=4)
        self.policy.inherit(old)
        self.assertTrue(self.banned(AWAY))
        self.strike()
        self.assertTrue(self.waits())
        old.connection_closed(logged_in)
        self.strike(20, address="192.0.2.3")
        self.assertFalse(self.banned("192.0.2.3"))
        self.assertRaises(TypeError, self.policy.inherit, object())

    def test_restart(self) -> None:
        """What was banned when the broker ended is banned when it starts, for what is left of it."""
        self.policy = self.build(file="bans.json")
        self.strike(10)
        self.clock.advance(20)
        self.policy = self.build(file="bans.json")
        self.assertEqual(self.policy.warnings, ())
        self.assertTrue(self.banned())
        self.clock.advance(39)
        self.assertTrue(self.banned())
        self.clock.advance(1)
        self.assertFalse(self.banned())
        self.assertIsNone(self.policy.save())

    def test_save_at_the_end(self) -> None:
        """The last bans, which still waited to be written, are written; without a file nothing is."""
        self.assertIsNone(self.policy.save())
        self.policy = self.build(file="bans.json")
        self.strike(10)
        self.strike(10, address=AWAY)
        self.successResultOf(self.policy.save())  # type: ignore[arg-type]
        self.assertEqual(len(json.loads((self.folder / "bans.json").read_text())["bans"]), 2)

    def test_damaged_file(self) -> None:
        """It is told and kept aside, and the broker starts with no bans."""
        path = self.folder / "bans.json"
        for junk in ("{", "[]", '{"version": 2}', '{"version": 1, "bans": 7}', '{"version": 1, "bans": [{}]}'):
            path.write_text(junk)
            path.chmod(0o600)
            self.policy = self.build(file="bans.json")
            (warning,) = self.policy.warnings
            self.assertIn("damaged", warning)
            self.assertFalse(self.banned())
        self.assertEqual(path.read_text(), junk)  # a check changes nothing
        old = self.policy = self.build(file="bans.json")
        self.policy = self.build(file="bans.json")
        self.policy.inherit(old)
        self.strike(10)
        self.assertEqual((self.folder / "bans.json.damaged").read_text(), junk)
        self.assertEqual(json.loads(path.read_text())["version"], 1)

    def test_reload_with_another_file(self) -> None:
        """The bans are written there; with the same file there is one writer."""
        self.policy = self.build(file="a.json")
        self.strike(10)
        old = self.policy
        self.policy = self.build(file="b.json")
        self.policy.inherit(old)
        self.assertEqual((self.folder / "a.json").read_text(), (self.folder / "b.json").read_text())
        same = self.build(file="b.json")
        same.inherit(self.policy)
        self.assertIs(same._file, self.policy._file)


class ByHandTests(BanCase):
    """What administrators do."""

    def test_ban_and_lift(self) -> None:
        """A prefix, for an hour or for good; its live connections are judged again, logged in or not."""
        inside = self.login()
        self.login(address="198.51.100.1")
        self.assertIsNone(self.policy.ban_by_hand(banned_network("192.0.2.0/24"), 3600.0, "scanner"))
        self.assertEqual(self.environment.rejudged, [{inside.connection_id}])
        decision = self.ask(Stage.ACCEPT)
        self.assertEqual((decision.rule, decision.reason_code), ("by_hand", 0x8A))
        self.assertIn("for 3600 s: by hand (scanner)", decision.text)
        self.assertEqual(self.policy.lift(banned_network("192.0.2.0/24")), (1, None))
        self.assertFalse(self.banned())
        self.policy.ban_by_hand(banned_network(HOME), None, "")
        self.assertIn("until the ban is lifted", self.ask(Stage.ACCEPT).text)

    def test_ban_without_live_connections(self) -> None:
        """Nobody has to be asked about."""
        self.policy.ban_by_hand(banned_network(HOME), None, "")
        self.assertEqual(self.environment.rejudged, [])

    def test_lift_forgets_strikes(self) -> None:
        """Who is let in again starts afresh."""
        self.strike(9)
        self.assertEqual(self.policy.lift(banned_network(HOME))[0], 1)
        self.assertFalse(self.waits())
        self.strike()
        self.assertFalse(self.banned())
        self.assertEqual(self.policy.lift(banned_network(AWAY)), (0, None))

    def test_written_at_once(self) -> None:
        """What I typed is on disk when I am told that it is done."""
        self.policy = self.build(file="bans.json")
        done = self.policy.ban_by_hand(banned_network("2001:db8::1"), None, "n")
        assert done is not None
        self.successResultOf(done)
        self.policy = self.build(file="bans.json")
        self.assertTrue(self.banned("2001:db8::2"))
        _, done = self.policy.lift(banned_network("2001:db8::2"))
        assert done is not None
        self.successResultOf(done)
        self.policy = self.build(file="bans.json")
        self.assertFalse(self.banned("2001:db8::1"))

    def test_exempt_address_is_refused(self) -> None:
        """One would not notice that it does nothing."""
        self.policy = self.build(exempt=[HOME])
        self.assertRaises(ConfigError, self.policy.ban_by_hand, banned_network(HOME), None, "")
        self.policy.ban_by_hand(banned_network("192.0.2.0/24"), None, "")
        self.assertEqual((self.banned(), self.banned(AWAY)), (False, True))

    def test_listed(self) -> None:
        """All bans in force, and who has to wait where."""
        self.strike(10)
        self.strike(5, address=None, username=None, client_id="d")
        self.policy.ban_by_hand(banned_network("198.51.100.0/24"), None, "n")
        listed = self.policy.listed()
        self.assertEqual([each["address"] for each in listed["bans"]], ["198.51.100.0/24", "192.0.2.1/32"])
        self.assertEqual(listed["bans"][1]["until"], "2026-06-01T00:01:00+00:00")
        self.assertEqual(
            [(each["address"], each["username"], each["client_id"]) for each in listed["waiting"]],
            [(f"{HOME}/32", "alice", None), ("unix:7", None, "d")],
        )

    def test_too_many(self) -> None:
        """The bound is told."""
        self.patch(self.policy._bans, "ban_by_hand", lambda *arguments: int("x"))
        self.assertRaises(ConfigError, self.policy.ban_by_hand, banned_network(HOME), None, "")

    def test_prefixes(self) -> None:
        """An IPv6 address means its /64; nonsense is refused."""
        self.assertEqual(str(banned_network("2001:db8::5")), "2001:db8::/64")
        self.assertEqual(str(banned_network("2001:db8::/32")), "2001:db8::/32")
        self.assertRaises(ValueError, banned_network, "everyone")


class KnownGoodTests(SynchronousTestCase):
    """Where somebody has logged in."""

    def test_bounded(self) -> None:
        """However many come and go, only the last ones are remembered; who is there always counts."""
        self.patch(known_good, "_REMEMBERED", 10)
        good = KnownGood()
        good.came(0, (4, 0), ("a", "b"))
        good.came(0, (4, 0), ("a", "b"))
        for number in range(1, 100):
            good.came(number, (4, number), ("a", "b"))
            good.went(number, 1.0)
        good.went(12345, 1.0)
        self.assertEqual(len(good._ended), 10)
        self.assertTrue(good.has_address((4, 0), 1000.0))
        self.assertTrue(good.has_client((4, 99), ("a", "b"), 1.0))
        self.assertFalse(good.has_address((4, 1), 1.0))
        self.assertFalse(good.has_address((4, 99), 1.1))


class FactoryTests(BanCase):
    """Options."""

    def test_is_a_whole_policy(self) -> None:
        """It provides what it declares."""
        verify_policy(self.policy)

    def test_mistakes_are_all_told(self) -> None:
        """Each with its place."""
        problems = problems_of(
            self.build_with,
            dict(exempt=["x"], overrides=[{"prefix": "y"}, {"prefix": "192.0.2.1"}, {"prefix": "192.0.2.1/32"}]),
        )
        self.assertEqual(len(problems), 3)
        self.assertIn("same prefix", problems[1])

    def build_with(self, options: dict[str, Any]) -> BanPolicy:
        return self.build(**options)

    def test_file_that_cannot_be(self) -> None:
        """A folder that is missing, a file that others read: refused with the mend."""
        self.assertIn("there is no folder", problems_of(self.build_with, {"file": "no/such/bans.json"})[0])
        (self.folder / "open.json").write_text("{}")
        (self.folder / "open.json").chmod(0o644)
        self.assertIn("chmod 600", problems_of(self.build_with, {"file": "open.json"})[0])

    def test_building_writes_nothing(self) -> None:
        """A check may run beside the broker, as somebody else."""
        self.build(file="bans.json")
        self.assertEqual(list(self.folder.iterdir()), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
