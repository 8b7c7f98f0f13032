# -*- test-case-name: tests.service.test_policy_tests -*-
"""Files of policy tests, and a configuration that demands that they pass."""

from __future__ import annotations

from pathlib import Path

from twisted.trial import unittest

from mqttsecure.errors import ConfigError
from mqttsecure.service import policy_test_file
from mqttsecure.service.assembly import check
from mqttsecure.service.config import load_config
from mqttsecure.service.policy_test_file import read_tests
from mqttsecure.service.policy_tests import TestResult, run_tests
from tests.support.config import write_config

RATES = '[[policy]]\nid = "rates"\nuse = "rate-limit"\nmessages = "1/second"\n'


class PolicyTestCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "tests.toml"

    def problems(self, text: str | bytes) -> list[str]:
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.assertRaises(ConfigError, read_tests, self.file).problems

    def run_text(self, *bodies: str) -> list[TestResult]:
        self.file.write_text("".join(f'[[test]]\nname = "t"\n{body}\n' for body in bodies))
        assembly = check(load_config(write_config(self.directory, extra_policies=RATES).config))
        return run_tests(assembly, read_tests(self.file))


class FileTests(PolicyTestCase):
    """Someone writes one, and makes mistakes."""

    def test_every_mistake_at_once(self) -> None:
        """With file, line, key and mend."""
        found = self.problems(
            '[[test]]\nname = "a"\ndo = "fly"\nexpect = "permit"\n\n'
            '[[test]]\nname = "b"\ndo = "connect"\nexpcet = "deny"\nexpect = "deny"\nwho = "alice"\nfrom = "here"\n'
        )
        self.assertEqual(len(found), 4, found)
        self.assertIn(f"{self.file}:3: test[0].do: must be", found[0])
        self.assertIn(f"{self.file}:9: test[1].expcet: unknown key; did you mean `expect`?", found[1])
        self.assertIn(f"{self.file}:11: test[1].who: 'alice' is not a principal", found[2])
        self.assertIn(f"{self.file}:12: test[1].from: 'here' is no IP address", found[3])

    def test_contradictions(self) -> None:
        """Keys that do not go together."""
        for keys, text in (
            ('do = "connect"\nexpect = "deny"\nwho = "a:b"\nuser = "b"', "give one of them"),
            ('do = "connect"\nexpect = "deny"\ntopic = "a"', "`topic` goes with"),
            ('do = "publish"\nexpect = "deny"', "`topic` goes with"),
            ('do = "connect"\nexpect = "deny"\ncert_authority = "x"', "no effect without `cert_cn`"),
            ('do = "connect"\nexpect = "permit"\nreason_code = 0x87', "`reason_code` goes with"),
            ('do = "connect"\nexpect = "deny"\nprovided = ["x"]', "`provided` goes with"),
        ):
            (problem,) = self.problems(f'[[test]]\nname = "a"\n{keys}\n')
            self.assertIn(text, problem)

    def test_not_a_file_of_tests(self) -> None:
        """Empty, half written, another one, not text, too large, not there."""
        self.assertIn("holds no test", self.problems("")[0])
        self.assertIn("holds no test", self.problems("test = 1")[0])
        self.assertIn("unknown key", self.problems('[[tset]]\nname = "a"')[0])
        self.assertRegex(self.problems('[[test]]\nname = "a')[0], r"tests\.toml:2: not valid TOML")
        self.assertRegex(self.problems("[[test]]\nname = ")[0], r"tests\.toml:2: not valid TOML")
        self.assertRegex(self.problems(b"[[test]]\n\xff")[0], r"tests\.toml:2: not UTF-8")
        self.patch(policy_test_file, "MAXIMUM_FILE", 3)
        self.assertIn("larger than", self.problems("[[test]]")[0])
        self.file.unlink()
        self.assertIn("cannot be read", self.assertRaises(ConfigError, read_tests, self.file).problems[0])


class RunTests(PolicyTestCase):
    """Each test is one question."""

    def test_passing(self) -> None:
        """All kinds of clients; what counts is taken to be within its bounds."""
        results = self.run_text(
            'user = "alice"\ndo = "publish"\ntopic = "lab/1"\nexpect = "permit"\nrule = "topics/rules[0]"',
            'user = "alice"\ndo = "publish"\ntopic = "lab/1"\nexpect = "permit"\nrule = "topics"',
            'who = "lab:bob"\ndo = "publish"\ntopic = "lab/1"\nexpect = "deny"\nrule = "default"\nreason_code = 0x87',
            'cert_cn = "pump"\ngroups = ["admins"]\ndo = "subscribe"\ntopic = "$SYS/#"\nexpect = "permit"',
            'from = "192.0.2.1"\ndo = "connect"\nexpect = "deny"',
            'user = "ghost"\ndo = "connect"\nexpect = "deny"\nrule = "password/password"\nreason_code = 0x86',
            'user = "alice"\ndo = "publish"\ntopic = "lab/1"\nexpect = "unknown"',
        )
        self.assertEqual([result.lines for result in results], [[]] * len(results))

    def test_failing(self) -> None:
        """File and line, what was expected, what came, and by whom."""
        results = self.run_text(
            'user = "alice"\ndo = "publish"\ntopic = "lab/1"\nexpect = "deny"',
            'user = "bob"\ndo = "publish"\ntopic = "lab/1"\nexpect = "permit"',
            'user = "alice"\ndo = "receive"\ntopic = "lab/secret/x"\nexpect = "deny"\nrule = "default"\n'
            "reason_code = 0x97",
            'listener = "tsl"\ndo = "connect"\nexpect = "deny"',
            'cert_cn = ""\ndo = "connect"\nexpect = "deny"',
        )
        self.assertRegex(
            results[0].lines[0], r"tests\.toml:1: test 't': expected deny, came unknown, which depends on rates"
        )
        self.assertRegex(
            results[1].lines[0], r"tests\.toml:\d+: test 't': expected permit, came deny at PUBLISH by default"
        )
        self.assertRegex(
            results[2].lines[0], r"expected default to decide, it was topics/rules\[2\] \(broker\.toml:\d+\)"
        )
        self.assertIn("expected Reason Code 0x97, came 0x87", results[2].lines[1])
        self.assertIn("cannot be run: there is no listener 'tsl'; did you mean `tls`?", results[3].lines[0])
        self.assertIn("cannot be run: the certificate: a common name", results[4].lines[0])
        self.assertFalse(any(result.passed for result in results))

    def test_taken_to_see_it_so(self) -> None:
        """A policy that does not say that it only counts has to be named."""
        plugins = self.directory / "plugins"
        plugins.mkdir()
        (plugins / "hours.py").write_text(_HOURS)
        hours = '[[policy]]\nid = "hours"\nuse = "local:hours"\n'
        files = write_config(self.directory, extra_policies=hours, extra='[plugins]\npath = ["plugins"]\n')
        body = '[[test]]\nname = "t"\nuser = "alice"\ndo = "publish"\ntopic = "lab/1"\nexpect = "permit"\n'
        self.file.write_text(body + body.replace('"t"', '"u"') + 'provided = ["hours"]\n')
        assembly = check(load_config(files.config))
        results = run_tests(assembly, read_tests(self.file))
        self.assertEqual([result.passed for result in results], [False, True])
        self.assertIn("came unknown, which depends on hours", results[0].lines[0])


class DemandTests(PolicyTestCase):
    """A configuration stands or falls with its tests."""

    def demand(self, tests: str, table: str) -> list[str]:
        self.file.write_text(tests)
        config = load_config(write_config(self.directory, extra=f"[tests]\n{table}\n").config)
        try:
            check(config)
        except ConfigError as error:
            return error.problems
        return []

    GOOD = '[[test]]\nname = "t"\nuser = "alice"\ndo = "publish"\ntopic = "lab/1"\nexpect = "permit"\n'
    BAD = GOOD.replace('"permit"', '"deny"')
    TABLE = 'files = ["tests.toml"]\nrequired = true'

    def test_demanded(self) -> None:
        """One that fails refuses the start, and so does a file that is not there."""
        self.assertEqual(self.demand(self.GOOD, self.TABLE), [])
        self.assertIn("expected deny, came permit", self.demand(self.BAD, self.TABLE)[0])
        self.assertIn("cannot be read", self.demand(self.GOOD, self.TABLE.replace("tests.toml", "none.toml"))[0])
        self.assertIn("no files are named", self.demand(self.GOOD, "required = true")[0])

    def test_not_demanded(self) -> None:
        """Nothing is run."""
        self.assertEqual(self.demand(self.BAD, 'files = ["tests.toml"]'), [])


_HOURS = """
from pydantic import BaseModel
from zope.interface import implementer
from mqttsecure.interfaces import INTERFACE_VERSION, Decision, IPolicy, IPolicyFactory, Role, Stage

class Options(BaseModel):
    pass

@implementer(IPolicy)
class Hours:
    def decide(self, request):
        return Decision.abstain()

@implementer(IPolicyFactory)
class Factory:
    interface_version = INTERFACE_VERSION
    name = "hours"
    summary = "hours"
    stages = {Stage.PUBLISH: Role.RESTRICTS}
    options = Options
    attributes = {}
    def build(self, options, environment):
        return Hours()

factory = Factory()
"""
