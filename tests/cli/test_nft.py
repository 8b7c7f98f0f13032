# -*- test-case-name: tests.cli.test_nft -*-
"""``mqttsecure policy nft``."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial import unittest

from mqttsecure.cli import nft_kernel
from mqttsecure.cli.main import main
from mqttsecure.cli.policy import policy
from tests.policy.nft_case import Accept, allowlist
from tests.policy.nft_json import listing_of
from tests.support.config import write_config
from tests.support.process import CHECKOUT

SHIPPED = CHECKOUT / "etc" / "broker.toml"
GOLDEN = Path(__file__).parent / "shipped.nft"

_BANS = '[[policy]]\nid = "bans"\nuse = "ban"\nfile = "bans.json"\n'
LIST_ALONE = '[[policy]]\nid = "addresses"\nuse = "ip-allowlist"\npermit = ["127.0.0.0/8"]\n'


class NftCase(unittest.SynchronousTestCase):
    """A folder, and the command."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def nft(self, *arguments: object, path: str | None = None) -> Result:
        environment = None if path is None else {"PATH": path}
        return CliRunner(env=environment).invoke(main, ["policy", "nft", *map(str, arguments)])

    def exact(self) -> Path:
        """A configuration whose ACCEPT stage has nothing that the kernel cannot know."""
        files = write_config(self.directory)
        text = files.config.read_text().replace('bind = "127.0.0.1:0"', 'bind = "127.0.0.1:8883"')
        limits = '[[policy]]\nid = "connections"\nuse = "connection-limit"\n'
        assert limits in text
        files.config.write_text(text.replace(limits, ""))
        return files.config


class CompileTests(NftCase):
    """Someone wants the same rules in the kernel."""

    def test_shipped_configuration(self) -> None:
        """The whole ruleset, as it is in the manual; exit code 3, since strangers cannot be counted."""
        result = self.nft(SHIPPED)
        self.assertEqual(result.exit_code, 3, result.output)
        head, mark, rules = result.stdout.partition("add table")
        self.assertEqual(mark + rules, GOLDEN.read_text())
        self.assertTrue(head.startswith("#!/usr/sbin/nft -f\n"))
        self.assertIn("It lets through all that the broker's ACCEPT stage permits, and besides:", head)
        self.assertRegex(result.stderr, r"(?m)^wider: .*broker\.toml:\d+: policy 'connections': `unauthenticated`")
        self.assertIn("narrower: ", result.stderr)
        self.assertIn(GOLDEN.read_text().strip(), (CHECKOUT / "docs" / "reference" / "nft.md").read_text())

    def test_exact(self) -> None:
        """Exit code 0 where the kernel refuses what the broker refuses."""
        result = self.nft(self.exact())
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertIn("lets through nothing that the broker's ACCEPT stage refuses", result.stdout)

    def test_output_is_replaced_as_a_whole(self) -> None:
        """The file is there or is the old one; nothing else is left in the folder."""
        config, output = self.exact(), self.directory / "out" / "broker.nft"
        self.assertEqual(self.nft(config, "-o", output).exit_code, 1)
        output.parent.mkdir()
        output.write_text("old")
        result = self.nft(config, "-o", output)
        self.assertEqual((result.exit_code, result.stdout), (0, ""))
        self.assertIn(f"nft -f {output}", result.stderr)
        self.assertIn("table inet mqttsecure {", output.read_text())
        self.assertEqual(os.listdir(output.parent), ["broker.nft"])

    def test_output_that_cannot_be_written(self) -> None:
        """A problem like any other, also for programs; a folder in its place is a usage error."""
        result = self.nft(self.exact(), "--json", "-o", self.directory / "none" / "broker.nft")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("cannot be written: No such file", result.stderr)
        self.assertFalse(json.loads(result.stdout)["ok"])
        self.assertEqual(self.nft(self.exact(), "-o", self.directory).exit_code, 2)

    def test_table_lock_and_reject(self) -> None:
        """The options show in the rules; a name that nft would not take is refused."""
        text = self.nft(self.exact(), "--table", "lab1", "--lock", "--reject").stdout
        self.assertIn("add table inet lab1\ndelete table inet lab1\n", text)
        self.assertIn("policy drop;", text)
        self.assertIn("reject with tcp reset", text)
        for name in ("1a", "a-b", "a b", "a;flush ruleset", "", "a" * 64, "a\n"):
            self.assertEqual(self.nft(self.exact(), "--table", name).exit_code, 2, name)

    def test_lock_wants_port_numbers(self) -> None:
        """A listener on any free port would be locked out."""
        result = self.nft(write_config(self.directory).config, "--lock")
        self.assertEqual(result.exit_code, 1)
        self.assertRegex(result.stderr, r"broker\.toml:\d+: listener 'tls': --lock wants a port number")

    def test_json(self) -> None:
        """What is made, and how it compares with the broker."""
        answer = json.loads(self.nft("--json", SHIPPED).stdout)
        self.assertEqual((answer["ok"], answer["table"], answer["output"]), (True, "mqttsecure", None))
        self.assertIn("limit_2_connections", answer["chains"])
        self.assertIn("rate_2_connections_v4", answer["sets"])
        self.assertEqual(answer["maps"], [])
        self.assertIsInstance(answer["wider"][0]["line"], int)
        self.assertIn(GOLDEN.read_text(), answer["ruleset"])
        output = self.directory / "broker.nft"
        answer = json.loads(self.nft("--json", SHIPPED, "-o", output).stdout)
        self.assertEqual((answer["output"], answer["ruleset"]), (str(output), None))

    def banned(self, *networks: str, seconds: int = 3600) -> Path:
        """A configuration with a ``ban`` policy that has these by hand."""
        config = self.exact()
        text = config.read_text()
        config.write_text(text.replace("[[policy]]", f"{_BANS}[[policy]]", 1))
        until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        entry = {"since": until, "until": until, "why": "", "by_hand": True, "earlier": 0, "note": ""}
        state = self.directory / "bans.json"
        state.write_text(json.dumps({"version": 1, "bans": [{"address": each, **entry} for each in networks]}))
        state.chmod(0o600)
        return config

    def test_bans(self) -> None:
        """Those of the file are in a set that lets go of them by itself; nothing is wider for that."""
        result = self.nft(self.banned("192.0.2.0/24"))
        self.assertEqual(result.exit_code, 0, result.stderr)
        self.assertRegex(result.stdout, r"set banned_0_bans_v4 \{\n +type ipv4_addr\n +flags interval,timeout\n")
        self.assertRegex(result.stdout, r"elements = \{ 192\.0\.2\.0/24 timeout 3[0-6]\d\ds \}")
        self.assertIn("narrower: ", result.stderr)
        answer = json.loads(self.nft("--json", self.banned("192.0.2.0/24")).stdout)
        self.assertEqual((answer["banned"], "banned_0_bans_v4" in answer["sets"]), (1, True))

    def test_bans_only(self) -> None:
        """Nothing but the sets of bans; not together with a comparison, and not without bans."""
        result = self.nft(self.banned("192.0.2.0/24"), "--bans-only", "--table", "lab1")
        self.assertEqual(result.exit_code, 0, result.stderr)
        self.assertIn("flush set inet lab1 banned_0_bans_v4\nadd element inet lab1 banned_0_bans_v4 {\n", result.stdout)
        self.assertNotIn("chain", result.stdout)
        self.assertEqual(self.nft(self.banned(), "--bans-only", "--diff").exit_code, 2)
        result = self.nft(self.exact(), "--bans-only")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("no policy `ban` is on a listener", result.stderr)

    def test_bans_that_are_not_known(self) -> None:
        """A damaged file is no empty one, and a policy without a file keeps its bans to itself: exit code 3."""
        config = self.banned("192.0.2.0/24")
        (self.directory / "bans.json").write_text("{")
        result = self.nft(config)
        self.assertEqual(result.exit_code, 3)
        self.assertRegex(result.stderr, r"wider: .*broker\.toml:\d+: policy 'bans': .*bans\.json is damaged")
        config.write_text(config.read_text().replace('file = "bans.json"\n', ""))
        result = self.nft(config)
        self.assertEqual(result.exit_code, 3)
        self.assertIn("known to the running broker alone; --live asks that", result.stderr)

    def test_live_with_no_broker(self) -> None:
        """Without a control socket, and with nobody behind it: told, and nothing is made up."""
        config = self.banned("192.0.2.0/24")
        result = self.nft(config, "--live")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("--live needs a control socket; add [control]", result.stderr)
        config.write_text(config.read_text() + '[control]\nsocket = "control"\n')
        result = self.nft(config, "--live")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("is the broker running", result.stderr)
        self.assertEqual(self.nft(self.exact(), "--live").exit_code, 0)  # where nothing bans, nobody need be asked

    def test_problems_of_the_configuration(self) -> None:
        """Told as by ``check``; nothing is written."""
        config = write_config(self.directory, policies=LIST_ALONE).config
        output = self.directory / "broker.nft"
        result = self.nft(config, "-o", output)
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("no policy can permit anything", result.stderr)
        self.assertFalse(output.exists())
        answer = json.loads(self.nft("--json", self.directory / "none.toml").stdout)
        self.assertIn("cannot be read", answer["problems"][0]["text"])


class DiffTests(NftCase):
    """Someone wants to know what the kernel holds; here a program in place of nft tells it."""

    def setUp(self) -> None:
        super().setUp()
        self.programs = self.directory / "bin"
        self.programs.mkdir()
        made = [allowlist("addresses", ["tls"], permit=["127.0.0.0/8", "::1"])]
        self.listing = listing_of(Accept(made, {"tls": [("127.0.0.1", 8883)]}).compilation.ruleset)

    def diff(self, *arguments: str, listing: Any = None, error: str = "", code: int = 0) -> Result:
        config = self.exact()
        (self.directory / "listing").write_text(json.dumps(self.listing if listing is None else listing))
        (self.directory / "error").write_text(error)
        program = self.programs / "nft"
        program.write_text(
            f'#!/bin/sh\n[ "$*" = "-j list table inet mqttsecure" ] || exit 9\ncat {self.directory}/error >&2\n'
            f"cat {self.directory}/listing\nexit {code}\n"
        )
        program.chmod(0o755)
        return self.nft(config, "--diff", *arguments, path=f"{self.programs}:{os.environ['PATH']}")

    def test_equal(self) -> None:
        """Exit code 0."""
        result = self.diff()
        self.assertEqual((result.exit_code, result.output), (0, "the kernel holds this\n"))
        self.assertEqual(json.loads(self.diff("--json").stdout)["equal"], True)

    def test_different(self) -> None:
        """Exit code 1, and the difference in the words of nft."""
        result = self.diff("--lock")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("+     iif lo accept\n", result.stdout)
        answer = json.loads(self.diff("--lock", "--json").stdout)
        self.assertEqual((answer["equal"], answer["loaded"]), (False, True))
        self.assertIn("  chain input", answer["differences"])

    def test_not_loaded(self) -> None:
        """Exit code 1, and what to do."""
        result = self.diff(error="Error: No such file or directory", code=1)
        self.assertEqual(result.exit_code, 1)
        self.assertIn("is not loaded; write it with --output FILE", result.stdout)

    def test_not_root(self) -> None:
        """Exit code 4, which nobody takes for a difference."""
        result = self.diff(error="Operation not permitted (you must be root)", code=1)
        self.assertEqual((result.exit_code, result.stdout), (4, ""))
        self.assertIn("run: sudo mqttsecure policy nft --diff", result.stderr)
        answer = json.loads(self.diff("--json", error="Operation not permitted", code=1).stdout)
        self.assertIsNone(answer["equal"])

    def test_nft_fails_otherwise(self) -> None:
        """Its own words are told."""
        result = self.diff(error="Error: out of order", code=3)
        self.assertEqual(result.exit_code, 4)
        self.assertIn("exit code 3: Error: out of order", result.stderr)

    def test_nft_prints_nonsense(self) -> None:
        """No traceback."""
        result = self.diff(listing={"nftables": 3})
        self.assertEqual(result.exit_code, 4)
        self.assertIn("cannot be read", result.stderr)

    def test_no_nft(self) -> None:
        """It is named, and so is the package."""
        self.patch(nft_kernel, "_ADMINISTRATION", ())
        result = self.nft(self.exact(), "--diff", path=str(self.programs))
        self.assertEqual(result.exit_code, 4)
        self.assertIn("install the package nftables", result.stderr)

    def test_nft_that_cannot_be_run(self) -> None:
        """As after a broken installation."""
        config = self.exact()
        (self.programs / "nft").write_text("#!/no/such/interpreter\n")
        (self.programs / "nft").chmod(0o755)
        result = self.nft(config, "--diff", path=str(self.programs))
        self.assertEqual(result.exit_code, 4)
        self.assertIn("did not answer", result.stderr)

    def test_diff_writes_no_file(self) -> None:
        """A usage error, before anything is done."""
        self.assertEqual(self.nft(self.exact(), "--diff", "-o", self.directory / "x").exit_code, 2)


class HelpTests(NftCase):
    """Someone types ``mqttsecure policy``."""

    def test_help_has_examples_and_exit_codes(self) -> None:
        """Of each command of the group."""
        for arguments in (["policy", "--help"], *(["policy", name, "--help"] for name in policy.commands)):
            result = CliRunner().invoke(main, arguments)
            self.assertEqual(result.exit_code, 0)
            self.assertIn("Examples:", result.output, arguments)
            self.assertIn("Exit codes", result.output, arguments)
