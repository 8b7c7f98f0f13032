# -*- test-case-name: tests.cli.test_explain -*-
"""``mqttsecure explain``."""

from __future__ import annotations

import re

from click.testing import Result

from mqttsecure.cli.main import main
from tests.cli.asking import RATES, AskingTestCase

GOLDEN = """\
lab:bob as 'b1' from 127.0.0.1 on tls: publish lab/1/valve qos 1 retain

ACCEPT
  addresses    permit     permit[0]: the address is under 127.0.0.0/8  [FILE:N]  <- decides
  connections  unknown    keeps counts or asks elsewhere: only the running broker knows  [FILE:N]
HANDSHAKE
  handshake  permit     tls: the handshake meets the requirements  [FILE:N]  <- decides
CONNECT
  client-ids  permit     patterns[0]: the Client Identifier fits  [FILE:N]  <- decides
AUTHENTICATE
  certificate  abstain    no client certificate was shown  [FILE:N]
  password     permit     password: the password of bob is right  [FILE:N]  <- decides
  client-ids   abstain    the Client Identifier is the principal's to use  [FILE:N]
PUBLISH
  rates   unknown    keeps counts or asks elsewhere: only the running broker knows  [FILE:N]
  topics  abstain    no rule applies  [FILE:N]

DENY at PUBLISH by default, Reason Code 0x87
to permit it, add to the rules of topics (after FILE:N):
  permit user:bob publish lab/1/valve
almost, in topics:
  rules[1] [FILE:N]: permit user:bob read lab/#; it permits receive, subscribe, and not publish
  rules[0] [FILE:N]: permit user:alice publish,read lab/#; it is for user alice, and lab:bob is in no group

assumed:
  TLS: TLSv1.3 with TLS_AES_256_GCM_SHA384
  identity: the client knows the password of 'bob'
"""


class ExplainTests(AskingTestCase):
    """Someone was refused, or let in, and wants to know why."""

    def explain(self, *arguments: object, exit_code: int = 0) -> Result:
        return self.run_command("explain", "-c", self.files.config, *arguments, exit_code=exit_code)

    def test_trace(self) -> None:
        """Every policy asked, in order, who decides and by which line, and the rule that is missing."""
        self.files = self.write(extra_policies=RATES)
        result = self.explain(
            *("--from", "127.0.0.1", "--user", "bob", "--client-id", "b1"),
            *("publish", "lab/1/valve", "--qos", "1", "--retain"),
            exit_code=1,
        )
        self.assertEqual(re.sub(r"[^\s\[]*broker\.toml:\d+", "FILE:N", result.stdout), GOLDEN)

    def test_lines_of_the_configuration(self) -> None:
        """The decider's place is where the rule stands."""
        result = self.explain("--user", "alice", "publish", "lab/1")
        line = next(text for text in result.stdout.split("\n") if "rules[0]" in text)
        match = re.search(r"\[(\S+):(\d+)\]", line)
        assert match is not None
        text = self.files.config.read_text().split("\n")[int(match[2]) - 1]
        self.assertIn("permit user:alice publish,read lab/#", text)

    def test_exit_codes(self) -> None:
        """0 permitted, 1 denied, 3 permitted provided that, 2 for a command line that makes no sense."""
        self.explain("--user", "alice", "publish", "lab/1")
        self.explain("--user", "bob", "publish", "lab/1", exit_code=1)
        result = self.explain("--user", "alice", "--from", "127.0.0.1", "connect", exit_code=3)
        self.assertIn("PERMIT provided that:\n  connections sees it so, at ACCEPT", result.stdout)
        for arguments in (
            ("publish",),
            ("connect", "lab/1"),
            ("fly", "lab/1"),
            ("--from", "nowhere", "connect"),
            ("--principal", "alice", "connect"),
            ("--attribute", "x", "connect"),
            ("--qos", "3", "publish", "a"),
            ("--cert", "x.pem", "--cert-cn", "x", "connect"),
        ):
            self.explain(*arguments, exit_code=2)

    def test_deny_rule(self) -> None:
        """Nothing to add helps; what denies is named."""
        result = self.explain("--user", "alice", "receive", "lab/secret/1", exit_code=1)
        self.assertIn("narrow or remove in topics:\n  rules[2]", result.stdout)
        self.assertNotIn("add to the rules", result.stdout)

    def test_certificates(self) -> None:
        """Made up, or a file."""
        self.files = self.write(rules=["permit group:pumps publish plant/{client}/#"])
        more = ("--client-id", "p7", "publish", "plant/p7/a")
        self.explain("--cert-cn", "p7", "--group", "pumps", *more)
        certificate, _ = self.files.issue("p7", ["pumps"])
        self.assertIn("lab:p7 in pumps", self.explain("--cert", certificate, *more).stdout)
        self.assertIn("64 characters", self.explain("--cert-cn", "x" * 65, *more, exit_code=1).stderr)
        self.assertIn("cannot be read", self.explain("--cert", "none.pem", *more, exit_code=1).stderr)
        self.explain("--cert-cn", "p7", "--cert-authority", "ghosts", *more, exit_code=1)

    def test_json(self) -> None:
        """The same for programs."""
        arguments = ("explain", "-c", self.files.config, "--principal", "lab:bob", "publish", "lab/1")
        answer = self.answer(*arguments, exit_code=1)
        self.assertEqual((answer["outcome"], answer["decided_at"], answer["policy"]), ("deny", "PUBLISH", None))
        self.assertEqual(answer["advice"]["topics"]["add"], "permit user:bob publish lab/1")
        self.assertEqual(answer["advice"]["topics"]["near"][0]["rule"], "rules[1]")
        self.assertEqual([each["stage"] for each in answer["skipped"]], ["ACCEPT", "HANDSHAKE", "CONNECT"])
        last = answer["stages"][-1]["answers"][-1]
        self.assertEqual((last["policy"], last["effect"], last["status"]), ("topics", "abstain", "asked"))
        self.assertIsInstance(last["source"]["line"], int)

    def test_what_cannot_be_used(self) -> None:
        """A configuration that is not there or wrong, a listener that does not exist, a topic that is none."""
        self.assertIn("cannot be read", self.run_command("explain", "-c", "none.toml", "connect", exit_code=1).stderr)
        self.assertIn("there is no listener 'tsl'", self.explain("--listener", "tsl", "connect", exit_code=1).stderr)
        self.assertIn("wildcard", self.explain("publish", "lab/#", exit_code=1).stderr)
        self.files.config.write_text("[[policy]]\nid = ")
        self.assertIn("not valid TOML", self.explain("connect", exit_code=1).stderr)

    def test_failing_tests_do_not_keep_it_from_answering(self) -> None:
        """Who asks why a demanded test fails must get an answer."""
        self.files = self.write(extra='[tests]\nfiles = ["none.toml"]\nrequired = true\n')
        self.run_command("check", self.files.config, exit_code=1)
        self.explain("--user", "alice", "publish", "lab/1")

    def test_names_that_a_terminal_would_obey(self) -> None:
        """Are shown, and not obeyed."""
        result = self.explain("--user", "bob", "--client-id", "x\x1b[2J", "publish", "lab/\x1b[2J", exit_code=1)
        self.assertNotIn("\x1b", result.stdout)
        self.assertIn("\\x1b[2J", result.stdout)

    def test_attributes(self) -> None:
        """What is known beforehand can be said."""
        self.files = self.write(rules=["permit everyone publish {tenant}/#"])
        self.explain("--user", "alice", "--attribute", "tenant=acme", "publish", "acme/1")
        self.explain("--user", "alice", "publish", "acme/1", exit_code=1)

    def test_is_in_the_tree(self) -> None:
        """Where it is looked for."""
        self.assertIn("explain", main.commands)
