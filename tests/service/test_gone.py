"""Tests for mqttsecure.service.gone."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Evidence, Principal, Role, Stage
from mqttsecure.interfaces import KnownIdentity
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from mqttsecure.service.gone import Gone, Known, as_json, gone
from tests.support.chains import door
from tests.support.core import Bench
from tests.support.policies import LISTENER, StaticFactory, StaticPolicy

ALICE, BOB = Principal("users", "alice"), Principal("users", "bob")


def _known(*names: str | None, others: tuple[Any, ...] = (), aliases: dict[str, str] | None = None) -> Known:
    clock: Any = Clock()
    known = [KnownIdentity("users", name) for name in names]
    return Known(PolicyChain([door(known), *others], clock=clock, listeners=[LISTENER], aliases=aliases))


def _silent() -> PolicyBinding:
    """A policy that lets in and does not say whom."""
    policy = StaticPolicy(None)
    factory = StaticFactory(policy, name="other", stages={Stage.AUTHENTICATE: Role.GRANTS})
    return PolicyBinding("other", factory, policy, frozenset({LISTENER}))


class KnownTests(SynchronousTestCase):
    """Whom the policies would let in."""

    def test_table(self) -> None:
        """Whoever is listed; of an authority that takes anyone, or that nobody tells of, nobody is said to be gone."""
        device = Principal("devices", "d")
        for known, principal, expected in (
            (_known("alice"), ALICE, True),
            (_known("alice"), BOB, False),
            (_known(None), BOB, True),
            (_known("alice"), device, False),
            (_known("alice", others=(_silent(),)), device, True),
            (_known("alice", others=(_silent(),)), BOB, False),
            (_known("alice"), Principal("anonymous", "x", shared=False), True),
            (_known("alice"), Principal("broker", "broker"), True),
            (_known("alice", aliases={"users:alice": "people:al"}), Principal("people", "al"), True),
            (_known("alice", aliases={"users:alice": "people:al"}), ALICE, False),
        ):
            self.assertEqual(known.has(principal), expected, principal)


class GoneTests(SynchronousTestCase):
    """What is left of them."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.state = self.bench.core.state

    def test_a_deleted_user(self) -> None:
        """Is listed with sessions, subscriptions, what waits, and retained messages, until nothing is left."""
        client = self.bench.connected("b", user="bob", session_expiry_interval=100)
        client.subscribe("t", qos=1)
        client.publish("r", b"12345", retain=True)
        client.lose()
        writer = self.bench.connected("a", user="alice")
        writer.publish("t", b"12345", qos=1)
        self.assertEqual(gone(self.state, _known("alice", "bob"), self.bench.now), [])
        (found,) = gone(self.state, _known("alice"), self.bench.now)
        self.assertEqual((found.principal, found.sessions, found.subscriptions), ("users:bob", 1, 1))
        self.assertEqual((found.retained_messages, found.why), (1, "no identity policy knows it any more"))
        self.assertGreater(found.queued_bytes, 5)
        self.bench.advance(101)
        (found,) = gone(self.state, _known("alice"), self.bench.now)
        self.assertEqual((found.sessions, found.retained_messages), (0, 1))
        self.bench.connected("a", user="alice").publish("r", b"", retain=True)
        self.assertEqual(gone(self.state, _known("alice"), self.bench.now), [])

    def test_an_expired_credential(self) -> None:
        """Is listed once its client has gone and could not come back with it."""
        evidence = (Evidence("tokens", "x", self.bench.now + 50),)
        self.bench.chain.oblige(Stage.AUTHENTICATE, principal=BOB, evidence=evidence)
        client = self.bench.connected("b", session_expiry_interval=1000)
        self.assertEqual(gone(self.state, _known(None), self.bench.now + 60), [])
        client.lose()
        self.assertEqual(gone(self.state, _known(None), self.bench.now + 40), [])
        (found,) = gone(self.state, _known(None), self.bench.now + 60)
        self.assertIn("has expired", found.why)

    def test_as_json(self) -> None:
        """All of it goes through the control socket."""
        (row,) = as_json([Gone("users:bob", "why", 1)])
        self.assertEqual((row["principal"], row["sessions"], row["retained_bytes"]), ("users:bob", 1, 0))
