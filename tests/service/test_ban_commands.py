"""Tests for mqttsecure.service.ban_commands."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.ban import BanFactory
from mqttsecure.policy.builtin.ban_options import BanOptions
from mqttsecure.policy.builtin.block_list import BlockListFactory, BlockListOptions
from mqttsecure.service.ban_commands import BanCommands
from tests.support.environment import FakeEnvironment
from tests.support.policies import StaticPolicy, bind, chain_of


class BanCommandsTests(SynchronousTestCase):
    """What the control socket does with what it is asked."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.environment = FakeEnvironment("x", folder=folder)
        ban = BanFactory().build(BanOptions(file="bans.json"), self.environment)
        other = BanFactory().build(BanOptions(), self.environment)
        blocks = BlockListFactory().build(BlockListOptions(file="blocked.json"), self.environment)
        self.commands = self.made_of(bind(ban, "bans"), bind(other, "more"), bind(blocks, "blocked"))

    def made_of(self, *bindings: Any) -> BanCommands:
        assembly = SimpleNamespace(chain=chain_of(Clock(), bind(StaticPolicy(None), "rest"), *bindings))
        in_force: Any = SimpleNamespace(assembly=assembly, config=SimpleNamespace(path=Path("broker.toml")))
        return BanCommands(lambda: in_force)

    def ask(self, command: str, /, **request: Any) -> Any:
        answer = self.commands.table()[command](request)
        return answer if isinstance(answer, dict) else self.successResultOf(answer)

    def problem(self, command: str, /, **request: Any) -> str:
        return str(self.assertRaises(ConfigError, self.commands.table()[command], request))

    def test_bans(self) -> None:
        """An address is banned by all policies that ban, listed, and let in again."""
        answer = self.ask("ban", address="2001:db8::1", seconds=60, note="n")
        self.assertEqual(answer, {"address": "2001:db8::/64", "seconds": 60.0, "kept": False})
        listed = self.ask("bans")
        self.assertEqual([(each["policy"], each["note"]) for each in listed["bans"]], [("bans", "n"), ("more", "n")])
        self.assertEqual((listed["total_waiting"], listed["waiting"]), (0, []))
        self.assertEqual(self.ask("unban", address="2001:db8::/32")["lifted"], 2)
        self.assertIn("is not banned", self.problem("unban", address="2001:db8::/32"))

    def test_blocks(self) -> None:
        """A user and a Client Identifier are two things, even of one name."""
        answer = self.ask("block", kind="client", name="lab:alice")
        self.assertEqual(
            answer, {"kind": "client", "name": "lab:alice", "seconds": None, "connections": 0, "kept": True}
        )
        self.ask("block", kind="user", name="lab:alice", seconds=1.5)
        self.assertEqual([each["kind"] for each in self.ask("blocked")["blocked"]], ["client", "user"])
        self.ask("unblock", kind="client", name="lab:alice")
        self.assertIn("is not blocked", self.problem("unblock", kind="client", name="lab:alice"))
        self.assertEqual(len(self.ask("blocked")["blocked"]), 1)

    def test_no_such_policy(self) -> None:
        """It is said what to add."""
        self.commands = self.made_of()
        for name in ("bans", "ban", "unban"):
            self.assertIn('use = "ban"', self.problem(name, address="192.0.2.1"))
        for name in ("blocked", "block", "unblock"):
            self.assertIn('use = "block-list"', self.problem(name, kind="client", name="a"))

    def test_disk_that_fails(self) -> None:
        """It holds, and I am told that it will not after a restart."""
        self.environment.full = True
        for name, request in (("ban", {"address": "192.0.2.1"}), ("block", {"kind": "client", "name": "a"})):
            failure = self.failureResultOf(self.commands.table()[name](request), ConfigError)
            self.assertIn("not after a restart", str(failure.value))
        self.assertEqual(len(self.ask("blocked")["blocked"]), 1)

    def test_nonsense(self) -> None:
        """Every field is checked before anything is done."""
        for address in (None, 7, "", "x", "192.0.2.1/24", "everywhere"):
            self.assertIn("is no address", self.problem("ban", address=address))
        for seconds in ("1h", True, 0, -1, float("inf"), float("nan"), 10**10):
            self.problem("ban", address="192.0.2.1", seconds=seconds)
        for note in (7, "x" * 501, "a\nb", "\x1b[2J"):
            self.assertIn("note", self.problem("ban", address="192.0.2.1", note=note))
        for kind, name in ((None, "a"), ("group", "a"), ("client", ""), ("client", 7), ("user", "alice")):
            self.problem("block", kind=kind, name=name)
        self.assertEqual((self.ask("bans")["bans"], self.ask("blocked")["blocked"]), ([], []))
