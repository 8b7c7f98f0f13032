# -*- test-case-name: tests.service.test_assembly -*-
"""From a configuration to a chain, or to the list of everything that is in the way."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial import unittest

from mqttsecure.core.decisions import ConnectionFacts, Peer, Request, Stage, Verdict
from mqttsecure.errors import ConfigError
from mqttsecure.policy.workers import WorkerPool
from mqttsecure.service.assembly import build, check
from mqttsecure.service.config import load_config, read_config
from tests.support.config import write_config
from tests.support.process import CHECKOUT

ALLOW = '[[policy]]\nid = "addresses"\nuse = "ip-allowlist"\npermit = ["127.0.0.0/8"]\n'


class AssemblyTestCase(unittest.SynchronousTestCase):
    """A configuration in a folder of its own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def problems(self, policies: str, extra: str = "") -> str:
        files = write_config(self.directory, policies=policies, extra=extra)
        with self.assertRaises(ConfigError) as raised:
            check(*read_config(files.config))
        return "\n".join(raised.exception.problems)


class BuildTests(AssemblyTestCase):
    """What can be built decides."""

    def test_build(self) -> None:
        """The chain answers, and its answers name the lines of the file."""
        clock = Clock()
        config = load_config(write_config(self.directory).config)
        assembly = build(config, clock=clock, workers=WorkerPool(clock), version=7)
        self.assertEqual(assembly.chain.version, 7)
        self.assertEqual([each.config.id for each in assembly.policies][:2], ["addresses", "connections"])
        self.assertEqual(len(assembly.authorities["lab"].ca_certificates), 1)
        facts = ConnectionFacts(1, "tls", Peer(ip_address("127.0.0.1")))
        verdict = assembly.chain.decide(Request(Stage.ACCEPT, facts, 0.0))
        assert isinstance(verdict, Verdict)
        self.assertTrue(verdict.permitted)
        self.assertEqual(verdict.policy, "addresses")
        source = verdict.source
        assert source is not None
        self.assertIn("127.0.0.0/8", config.path.read_text().splitlines()[source.line - 1])

    def test_shipped_configurations(self) -> None:
        """Both files of the repository can be used, and the shipped one has nothing to warn of."""
        self.assertEqual(check(load_config(CHECKOUT / "etc" / "broker.toml")).warnings, ())
        warnings = check(load_config(CHECKOUT / "tests" / "interop" / "open.toml")).warnings
        self.assertTrue(any("anonymous clients are let in" in warning for warning in warnings))

    def test_plaintext_beyond_loopback_is_warned_of(self) -> None:
        """What was asked for by name is still said at each start."""
        extra = '[[listener]]\nname = "open"\nbind = "0.0.0.0:0"\nplaintext = true\nplaintext_beyond_loopback = true\n'
        files = write_config(self.directory, extra=extra)
        text = files.config.read_text().replace('plaintext = "never"', 'plaintext = "anywhere"')
        files.config.write_text(text)
        warnings = "\n".join(check(load_config(files.config)).warnings)
        self.assertIn("listener 'open' takes passwords and messages in the clear on 0.0.0.0", warnings)

    def test_restriction_before_the_identity_policies_is_warned_of(self) -> None:
        """``client-id`` with {user} above the password file would refuse everybody."""
        files = write_config(self.directory)
        text = files.config.read_text()
        block = text[text.index('[[policy]]\nid = "client-ids"') : text.index('[[policy]]\nid = "topics"')]
        files.config.write_text(
            text.replace(block, "").replace('[[policy]]\nid = "certificate"', block + '[[policy]]\nid = "certificate"')
        )
        (warning,) = check(load_config(files.config)).warnings
        self.assertIn("is asked at AUTHENTICATE before certificate, password could say", warning)


class ProblemTests(AssemblyTestCase):
    """Everything in the way, at once and by line."""

    def test_problems_of_file_and_policies_together(self) -> None:
        """An unknown key, a bad prefix, a bad filter, an unknown option and an unknown policy in one go."""
        policies = """\
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8", "10.0.0.0/33"]
premit = []
[[policy]]
id = "topics"
use = "topic-acl"
rules = [
  "permit everyone read lab/#",
  "permit everyone read lab/#/x",
]
[[policy]]
id = "what"
use = "topic-alc"
"""
        problems = self.problems(policies, "[log]\nlevle = 'info'\n")
        base = (self.directory / "broker.toml").read_text().splitlines()
        for line_text, expected in (
            ("premit = []", "policy[0].premit: unknown key; did you mean `permit`?"),
            ('  "permit everyone read lab/#/x",', "rules[1]"),
            ('use = "topic-alc"', "topic-acl"),
            ("levle = 'info'", "log.levle: unknown key; did you mean `level`?"),
        ):
            number = base.index(line_text) + 1
            self.assertTrue(
                any(f"broker.toml:{number}: " in line and expected in line for line in problems.splitlines()),
                (expected, problems),
            )

    def test_bad_prefix(self) -> None:
        """The item of the list is named, with its line."""
        problems = self.problems(
            '[[policy]]\nid = "a"\nuse = "ip-allowlist"\npermit = [\n"127.0.0.1",\n"10.0.0.0/33"]\n'
        )
        self.assertRegex(problems, r"broker\.toml:\d+: policy 'a': permit\[1\]: .*10\.0\.0\.0/33")

    def test_top_level_key_in_a_policy(self) -> None:
        """It is told where it belongs, although a policy may have any option."""
        problems = self.problems(f"{ALLOW}log = {{ level = 'info' }}\n")
        self.assertIn("policy[0].log: `log` is a top-level key", problems)

    def test_a_stage_at_which_nobody_can_permit(self) -> None:
        """A listener that would refuse everyone does not start."""
        problems = self.problems(ALLOW)
        self.assertRegex(problems, r"broker\.toml:\d+: listener .* no policy can permit anything at AUTHENTICATE")

    def test_file_that_a_policy_misses(self) -> None:
        """A rules file that is not there."""
        problems = self.problems(f'{ALLOW}[[policy]]\nid = "t"\nuse = "topic-acl"\nrules_file = "none.rules"\n')
        self.assertIn("none.rules", problems)


PLUGIN = """
from pydantic import BaseModel
from zope.interface import implementer
from mqttsecure.interfaces import INTERFACE_VERSION, Decision, IPolicy, IPolicyFactory, Role, Stage

class Options(BaseModel):
    pass

@implementer(IPolicy)
class Policy:
    warnings = ["look out"]
    def decide(self, request):
        return Decision.permit()

@implementer(IPolicyFactory)
class Factory:
    interface_version = INTERFACE_VERSION
    name = "mine"
    summary = "a test"
    stages = {stage: Role.GRANTS for stage in Stage}
    options = Options
    attributes = {}
    def build(self, options, environment):
        BUILD

factory = Factory()
"""


class SingleFilePolicyTests(AssemblyTestCase):
    """A policy in one file, named in ``[plugins] path``."""

    def configure(self, build_body: str) -> Path:
        folder = self.directory / "plugins"
        folder.mkdir(mode=0o755)
        (folder / "mine.py").write_text(PLUGIN.replace("BUILD", build_body))
        (folder / "mine.py").chmod(0o644)
        policies = '[[policy]]\nid = "mine"\nuse = "local:mine"\n'
        return write_config(self.directory, policies=policies, extra='[plugins]\npath = ["plugins"]\n').config

    def test_is_used_and_its_warning_told(self) -> None:
        """With its file and id."""
        assembly = check(load_config(self.configure("return Policy()")))
        (warning,) = assembly.warnings
        self.assertTrue(warning.endswith("policy 'mine': look out"), warning)

    def test_one_that_raises_refuses_the_start(self) -> None:
        """With the place of its fault, not as a crash of ours."""
        config = self.configure("raise KeyError('oops')")
        with self.assertRaisesRegex(
            ConfigError, r"policy\[0\]: local:mine .* failed to build it:(.|\n)*KeyError: 'oops'"
        ):
            check(load_config(config))

    def test_one_that_builds_no_policy_refuses_the_start(self) -> None:
        """Something without ``decide`` is found out before the first client."""
        config = self.configure("return object()")
        with self.assertRaises(ConfigError):
            check(load_config(config))
