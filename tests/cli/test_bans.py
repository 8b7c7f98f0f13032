"""Tests for mqttsecure.cli.bans, at a broker that is really started."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from tests.support.config import write_config
from tests.support.process import BrokerProcess
from tests.system.conformance.client import Client

_BLOCKED = '[[policy]]\nid = "blocked"\nuse = "block-list"\nfile = "blocked.json"\n'
_BANS = '[[policy]]\nid = "bans"\nuse = "ban"\nfile = "bans.json"\n'


class BansCase(SynchronousTestCase):
    """A broker with a control socket."""

    policies = _BLOCKED + _BANS

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        socket = Path(f"/tmp/mqttsecure-test-{id(self):x}")  # a socket's name has room for a hundred bytes
        self.addCleanup(socket.unlink, missing_ok=True)
        self.files = write_config(
            self.folder, plaintext=True, extra_policies=self.policies, extra=f'[control]\nsocket = "{socket}"\n'
        )
        self.start()

    def start(self) -> None:
        self.broker = BrokerProcess(self.files.config, self.folder)
        self.addCleanup(self.broker.kill)
        self.broker.start(listeners=2)

    def run_command(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--config", str(self.files.config)])
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def ask_json(self, *arguments: str) -> Any:
        return json.loads(self.run_command(*arguments, "--json").stdout)

    def client(self, client_id: str, user: str = "alice", code: int = 0) -> Client:
        client = Client(self.broker.ports["plain"])
        self.addCleanup(client.drop)
        password = self.files.passwords[user].encode()
        client.connect(client_id, username=user, password=password, code=code)
        return client


class FirewallTests(BansCase):
    """``mqttsecure policy nft --live`` asks this broker."""

    policies = _BANS.replace('file = "bans.json"\n', "")

    def test_bans_that_only_the_broker_knows(self) -> None:
        """Without a file they are in its memory alone; the ruleset has them all the same."""
        self.run_command("bans", "add", "192.0.2.0/24", "--for", "1h")
        self.run_command("bans", "add", "2001:db8::7")
        for options in ((), ("--bans-only",)):
            result = CliRunner().invoke(main, ["policy", "nft", str(self.files.config), "--live", *options])
            self.assertNotIn("--live asks", result.stderr)
            self.assertRegex(result.stdout, r"192\.0\.2\.0/24 timeout 3[0-6]\d\ds")
            self.assertNotIn("2001:db8", result.stdout)  # its listeners are IPv4's


class BansTests(BansCase):
    """Addresses and names, kept out by hand."""

    def test_block_ends_the_session_and_survives_a_restart(self) -> None:
        """I block a device: it is gone within two seconds, stays out after a restart, and comes back when I say so."""
        for arguments, client_id in (
            (("press-7", "--note", "stolen"), "press-7"),
            (("--user", "lab:alice", "--for", "2h"), "a2"),
        ):
            client, other = self.client(client_id), self.client("bob-1", "bob")
            started = time.monotonic()
            self.assertIn("live connection", self.run_command("clients", "block", *arguments).stdout)
            client.expect_closed([0x87])
            self.assertLess(time.monotonic() - started, 2)
            other.ping()
            self.client(client_id, code=0x8A)
            self.assertEqual(self.broker.stop(), 0)
            self.start()
            self.client(client_id, code=0x8A)
            self.client("bob-1", "bob")
            names = [each for each in arguments if each in ("--user", "press-7", "lab:alice")]
            self.assertIn(names[-1], self.run_command("clients", "blocked").stdout)
            text = self.run_command("why", names[-1], code=3).stdout
            self.assertIn(f"mqttsecure clients unblock {' '.join(names)} --config {self.files.config}", text)
            self.run_command("clients", "unblock", *names)
            self.client(client_id)
        self.assertEqual(self.ask_json("clients", "blocked"), {"blocked": []})
        self.assertIn("is not blocked", self.run_command("clients", "unblock", "press-7", code=1).output)

    def test_ban_ends_connections(self) -> None:
        """I ban an address: its connections end, a reload changes nothing, and it is free when I lift the ban."""
        client = self.client("a1")
        answer = self.run_command("bans", "add", "127.0.0.1", "--for", "1h", "--note", "test").stdout
        self.assertIn("127.0.0.1/32 is banned for 1h", answer)
        client.expect_closed([0x87])
        self.run_command("reload")
        (ban,) = self.ask_json("bans", "list")["bans"]
        self.assertEqual((ban["address"], ban["note"], ban["by_hand"]), ("127.0.0.1/32", "test", True))
        self.assertIn("127.0.0.1/32", self.run_command("bans", "list").stdout)
        self.broker.kill()
        self.start()
        self.assertEqual(len(self.ask_json("bans", "list")["bans"]), 1)
        self.assertIn("may come again", self.run_command("bans", "remove", "127.0.0.1").stdout)
        self.assertIn("is not banned", self.run_command("bans", "remove", "127.0.0.1", code=1).output)
        self.client("a1")

    def test_who_has_to_wait_is_listed(self) -> None:
        """I see whose password is wrong; what the answer of each command is, as JSON too."""
        for number in range(6):
            client = Client(self.broker.ports["plain"])
            code = 0x86 if number < 5 else 0x9F
            client.connect("a1", username="alice", password=b"wrong", code=code)
            client.drop()
        (row,) = self.ask_json("bans", "list")["waiting"]
        self.assertEqual((row["address"], row["username"], row["client_id"]), ("127.0.0.1/32", "alice", None))
        self.assertIn("1 have to wait", self.run_command("bans", "list").stdout)
        self.assertEqual(self.ask_json("bans", "remove", "127.0.0.1")["lifted"], 1)
        self.assertTrue(self.ask_json("bans", "add", "192.0.2.0/24")["kept"])
        self.assertEqual(self.ask_json("clients", "block", "x")["seconds"], None)
        self.assertEqual(self.ask_json("clients", "unblock", "x")["name"], "x")

    def test_mistakes(self) -> None:
        """What makes no sense is refused with the reason."""
        self.assertIn("is no address", self.run_command("bans", "add", "everyone", code=1).output)
        self.run_command("bans", "add", "192.0.2.1", "--for", "soon", code=2)
        self.assertIn(
            "at most ten years", self.run_command("bans", "add", "192.0.2.1", "--for", "9000d", code=1).output
        )
        self.assertIn("authority:name", self.run_command("clients", "block", "--user", "alice", code=1).output)


class WithoutPoliciesTests(BansCase):
    """A configuration that has neither policy."""

    policies = ""

    def test_what_to_add(self) -> None:
        """Each command says it."""
        for arguments in (("bans", "list"), ("bans", "add", "192.0.2.1"), ("bans", "remove", "192.0.2.1")):
            self.assertIn('use = "ban"', self.run_command(*arguments, code=1).output)
        for arguments in (("clients", "blocked"), ("clients", "block", "a"), ("clients", "unblock", "a")):
            self.assertIn('use = "block-list"', self.run_command(*arguments, code=1).output)


class KeptTests(BansCase):
    """Bans that have no file."""

    policies = _BANS.replace('file = "bans.json"\n', "")

    def test_it_is_said(self) -> None:
        """I am told that a ban ends with the process."""
        self.assertIn("give its policy a `file`", self.run_command("bans", "add", "192.0.2.1").stdout)
