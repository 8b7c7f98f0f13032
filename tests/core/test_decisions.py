"""Tests of the types that policies, chain and core share."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import (
    BROKER_PRINCIPAL,
    Action,
    Decision,
    Effect,
    Peer,
    Pending,
    Principal,
    Request,
    Source,
    Stage,
    Verdict,
)
from tests.support.policies import make_request


class PrincipalTests(SynchronousTestCase):
    """Who is the same as whom."""

    def test_same_user(self) -> None:
        """A user is the same in two connections, and not the same as a namesake of another authority."""
        alice = Principal("users", "alice")
        self.assertTrue(alice.is_same_as(Principal("users", "alice")))
        self.assertFalse(alice.is_same_as(Principal("devices", "alice")))
        self.assertFalse(alice.is_same_as(None))
        self.assertEqual((str(alice), str(BROKER_PRINCIPAL)), ("users:alice", "broker:broker"))

    def test_anonymous_clients_are_nobody_twice(self) -> None:
        """An anonymous client is not even the same as itself: it owns nothing that another could take."""
        nobody = Principal("anonymous", "1", shared=False)
        self.assertFalse(nobody.is_same_as(nobody))
        self.assertFalse(Principal("anonymous", "1").is_same_as(nobody))


class SmallTypeTests(SynchronousTestCase):
    """How things are written in the log."""

    def test_peer(self) -> None:
        """Addresses are written as people write them, Unix peers by their uid."""
        self.assertEqual(str(Peer(ip_address("192.0.2.1"), 80)), "192.0.2.1:80")
        self.assertEqual(str(Peer(ip_address("2001:db8::1"), 80)), "[2001:db8::1]:80")
        unix = Peer(None, uid=1000)
        self.assertEqual((str(unix), unix.is_unix), ("unix:1000", True))
        self.assertFalse(Peer(ip_address("::1")).is_unix)

    def test_source(self) -> None:
        """A place in the configuration is file and line, as editors understand it."""
        self.assertEqual(str(Source("etc/broker.toml", 7)), "etc/broker.toml:7")

    def test_actions(self) -> None:
        """The rule language's word follows from the stage."""
        actions = {stage: make_request(stage).action for stage in Stage}
        self.assertEqual(actions[Stage.PUBLISH], Action.PUBLISH)
        self.assertEqual(actions[Stage.SUBSCRIBE], Action.SUBSCRIBE)
        self.assertEqual(actions[Stage.DELIVER], Action.RECEIVE)
        self.assertEqual([actions[stage] for stage in (Stage.ACCEPT, Stage.CONNECT, Stage.AUTHENTICATE)], [None] * 3)

    def test_decisions_cannot_be_changed(self) -> None:
        """A policy may hand out one decision again and again; nobody can turn its DENY into a PERMIT."""
        decision = Decision.deny("r", "text")
        self.assertRaises(dataclasses.FrozenInstanceError, setattr, decision, "effect", Effect.PERMIT)

    def test_decision_makers(self) -> None:
        """The four words of a policy."""
        made = [Decision.permit("r"), Decision.deny("r"), Decision.abstain("r"), Decision.challenge(b"c")]
        self.assertEqual([each.effect for each in made], [Effect.PERMIT, Effect.DENY, Effect.ABSTAIN, Effect.CHALLENGE])
        self.assertEqual(made[3].authentication_data, b"c")
        self.assertFalse(made[0].cacheable)

    def test_verdict(self) -> None:
        """Only PERMIT permits; a CHALLENGE is not yet consent, and the default code is no success."""
        permitted = {effect: Verdict(effect, Stage.PUBLISH).permitted for effect in Effect}
        self.assertEqual([effect for effect, yes in permitted.items() if yes], [Effect.PERMIT])
        self.assertEqual(Verdict(Effect.DENY, Stage.PUBLISH).reason_code, 0x87)

    def test_requests_share_nothing(self) -> None:
        """Two requests have their own scratch space."""
        one, two = make_request(), make_request()
        one.exchange["x"] = 1
        self.assertEqual(two.exchange, {})
        self.assertNotIn("password", [field.name for field in dataclasses.fields(one.connection)])
        self.assertIsInstance(one, Request)


class PendingTests(SynchronousTestCase):
    """Verdicts that come later."""

    def setUp(self) -> None:
        self.heard: list[Verdict] = []
        self.cancelled: list[None] = []
        self.pending = Pending(lambda: self.cancelled.append(None))
        self.pending.listener = lambda pending, verdict: self.heard.append(verdict)
        self.verdict = Verdict(Effect.PERMIT, Stage.PUBLISH)

    def test_resolved_once(self) -> None:
        """The first verdict counts, a second one and a late cancellation are ignored."""
        self.pending.resolve(self.verdict)
        self.pending.resolve(Verdict(Effect.DENY, Stage.PUBLISH))
        self.pending.cancel()
        self.assertEqual((self.heard, self.cancelled, self.pending.done), ([self.verdict], [], True))

    def test_cancelled(self) -> None:
        """After a cancellation the work is stopped, once, and no verdict is heard of."""
        self.pending.resume = lambda verdict, now: None
        self.pending.cancel()
        self.pending.cancel()
        self.pending.resolve(self.verdict)
        self.assertEqual((self.heard, self.cancelled, self.pending.resume), ([], [None], None))

    def test_without_listener(self) -> None:
        """A verdict that nobody waits for is no error."""
        pending = Pending()
        pending.resolve(self.verdict)
        Pending().cancel()
        self.assertTrue(pending.done)
