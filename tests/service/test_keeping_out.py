"""Tests for mqttsecure.service.keeping_out: who is kept out right now."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Peer
from mqttsecure.policy.builtin.ban import BanFactory
from mqttsecure.policy.builtin.ban_options import BanOptions
from mqttsecure.policy.builtin.block_list import BlockListFactory, BlockListOptions
from mqttsecure.service.keeping_out import kept_out
from tests.support.environment import FakeEnvironment
from tests.support.policies import bind


class KeptOutTests(SynchronousTestCase):
    """Somebody asks about an address, a user or a client."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.bans = BanFactory().build(BanOptions(threshold=1), FakeEnvironment("bans", folder=folder))
        options = BlockListOptions(file="blocked.json")
        self.blocks = BlockListFactory().build(options, FakeEnvironment("blocked", folder=folder))
        self.bans.ban_by_hand(ip_network("192.0.2.0/24"), 60.0, "scans")
        self.bans.ban_by_hand(ip_network("2001:db8::/64"), None, "")
        facts = ConnectionFacts(1, "tls", Peer(ip_address("198.51.100.7"), 1), client_id="pump-7", username="pump")
        self.bans.struck(facts, 1, "wrong password")
        self.blocks.block("client", "pump-9", None, "stolen")
        self.blocks.block("user", "lab:mallory", 60.0, "")

    def found(self, who: str) -> list[tuple[str, str, str]]:
        bindings = [bind(self.bans, "bans"), bind(self.blocks, "blocked")]
        return [(each["kind"], each["name"], each["policy"]) for each in kept_out(bindings, who)]

    def test_address(self) -> None:
        """Of a prefix that is banned, IPv4 also as IPv6 writes it; no other."""
        for who in ("192.0.2.9", "::ffff:192.0.2.9"):
            self.assertEqual(self.found(who), [("ban", "192.0.2.0/24", "bans")])
        self.assertEqual(self.found("2001:db8::7"), [("ban", "2001:db8::/64", "bans")])
        self.assertEqual(self.found("192.0.3.9"), [])

    def test_who_has_to_wait(self) -> None:
        """By its user name and its address."""
        for who in ("pump", "198.51.100.7"):
            self.assertEqual({kind for kind, _, _ in self.found(who)}, {"wait"}, who)

    def test_names(self) -> None:
        """A client, and a user with and without the authority."""
        self.assertEqual(self.found("pump-9"), [("client", "pump-9", "blocked")])
        for who in ("mallory", "lab:mallory"):
            self.assertEqual(self.found(who), [("user", "lab:mallory", "blocked")])
        self.assertEqual(self.found("nobody"), [])
