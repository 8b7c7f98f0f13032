# -*- test-case-name: tests.cli.test_nft -*-
"""``mqttsecure policy nft``."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial import unittest

from mqttsecure.cli.main import main
from mqttsecure.cli.policy import policy
from tests.policy.nft_case import Accept, allowlist
from tests.policy.nft_json import listing_of
from tests.support.config import write_config
from tests.support.process import CHECKOUT

SHIPPED = CHECKOUT / "etc" / "broker.toml"
GOLDEN = Path(__file__).parent / "shipped.nft"

# The module has a command of its own name.
nft_module = importlib.import_module("mqttsecure.cli.nft")

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
        self.patch(nft_module, "_ADMINISTRATION", ())
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
