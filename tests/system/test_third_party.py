"""Tests of policies that others write: the example package, really built and installed, and the how-to's file."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Effect, Stage
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from mqttsecure.policy.registry import PolicyRegistry, verify_policy
from tests.support.config import write_config
from tests.support.policies import make_facts, make_request

CHECKOUT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = CHECKOUT / "examples" / "business-hours"
HOWTO = CHECKOUT / "docs" / "howto" / "write-a-policy.md"

DECIDE = """
import json, sys
from pathlib import Path
from twisted.internet.task import Clock
import mqttsecure
from mqttsecure.core.decisions import ConnectionFacts, Peer, Request, Stage
from mqttsecure.policy.workers import WorkerPool
from mqttsecure.service.assembly import build
from mqttsecure.service.config import load_config
clock = Clock()
chain = build(load_config(Path(sys.argv[1])), clock=clock, workers=WorkerPool(clock)).chain
facts = ConnectionFacts(connection_id=1, listener="tls", peer=Peer(None, uid=0), client_id="alice", username="alice")
verdict = chain.decide(Request(Stage.CONNECT, facts, now=0.0))
print(json.dumps([mqttsecure.__file__, verdict.effect.value, verdict.policy, verdict.rule, str(verdict.source)]))
"""

HOURS = """
[[policy]]
id = "hours"
use = "{use}"
days = {days}
opens = 00:00:00
closes = 23:59:59.999999
"""

EVERY_DAY = '["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]'


OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")


@functools.cache
def fresh_environment() -> Path:
    """A virtual environment with the product and the example in it, made once in the folder of the test run."""
    folder = Path("third-party-environment").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=True)
    # What both need is taken from the environment of the tests, so that nothing is downloaded. Its own packages come
    # first: the mqttsecure that is found is the one installed below.
    own = next((folder / "lib").glob("python*/site-packages"))
    (own / "of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    product = folder / "product"
    product.mkdir()
    for name in ("mqttsecure", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, product / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        else:
            shutil.copy(source, product)
    example = shutil.copytree(EXAMPLE, folder / "example", ignore=shutil.ignore_patterns("__pycache__"))
    for tree in (product, example):
        run_python(folder, "-m", "pip", "wheel", *OFFLINE, "--wheel-dir", str(folder / "wheels"), str(tree))
    wheels = sorted(map(str, (folder / "wheels").glob("*.whl")))
    assert len(wheels) == 2, wheels
    # Not satisfied with a mqttsecure that the environment of the tests may have.
    run_python(folder, "-m", "pip", "install", "--ignore-installed", *OFFLINE, *wheels)
    return folder


def run_python(environment: Path, *arguments: str, expect: int = 0) -> str:
    """Run an environment's Python away from the checkout; its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    done = subprocess.run(
        [str(environment / "bin" / "python"), *arguments],
        cwd=environment,
        env=kept,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


class ThirdPartyPackageTests(SynchronousTestCase):
    """`examples/business-hours`, built as a wheel and installed beside the product into a fresh environment."""

    def setUp(self) -> None:
        self.environment = fresh_environment()

    def run_python(self, *arguments: str, expect: int = 0) -> str:
        return run_python(self.environment, *arguments, expect=expect)

    def config(self, use: str = "business-hours", days: str = EVERY_DAY) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir()
        return write_config(folder, extra_policies=HOURS.format(use=use, days=days)).config.absolute()

    def decide(self, config: Path) -> list[str]:
        return list(json.loads(self.run_python("-c", DECIDE, str(config)).splitlines()[-1]))

    def test_it_decides(self) -> None:
        """Named in a configuration it closes the broker on days that are not listed, and not on the others."""
        config = self.config(days="[]")
        module, effect, policy, rule, source = self.decide(config)
        self.assertTrue(module.startswith(str(self.environment)), module)
        self.assertEqual((effect, policy, rule), ("deny", "hours", "closed"))
        line = config.read_text().splitlines().index('id = "hours"')
        self.assertEqual(source, f"{config}:{line}")
        self.assertEqual(self.decide(self.config())[1], "permit")

    def test_check_shows_it(self) -> None:
        """`mqttsecure check --table` shows where it can deny, under either of its names."""
        for use in ("business-hours", "mqttsecure-business-hours:business-hours"):
            shown = self.run_python("bin/mqttsecure", "check", "--table", "--json", str(self.config(use)))
            self.assertIn('"hours"', shown)

    def test_distributions_that_may_bring_policies(self) -> None:
        """With a list of distributions, one that is not on it is not even imported, and the mend says what to add."""
        for listed, expect in ('["Mqttsecure_Business.Hours"]', 0), ("[]", 1):
            config = self.config()
            text = config.read_text()
            config.write_text(f"{text}\n[plugins]\ndistributions = {listed}\n")
            told = self.run_python("bin/mqttsecure", "check", str(config), expect=expect)
            self.assertEqual("was not looked into" in told, expect == 1, told)
            self.assertEqual("add 'mqttsecure-business-hours' there" in told, expect == 1, told)
        listed_policies = json.loads(self.run_python("bin/mqttsecure", "policies", "--json", "--config", str(config)))
        self.assertNotIn("business-hours", [each["name"] for each in listed_policies["policies"]])
        self.assertEqual([each["distribution"] for each in listed_policies["left_out"]], ["mqttsecure-business-hours"])

    def test_presence_alone_enables_nothing(self) -> None:
        """Installed but not named it has no say."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assertEqual(self.decide(write_config(folder).config.absolute())[1], "permit")

    def test_misspelled_option_is_told(self) -> None:
        """Its options are checked like those of any policy, with the nearest valid name."""
        config = self.config()
        config.write_text(config.read_text().replace("closes =", "close ="))
        config.chmod(0o600)
        told = self.run_python("bin/mqttsecure", "check", str(config), expect=1)
        self.assertIn("closes", told)

    def test_its_own_tests_pass(self) -> None:
        """The example's tests show an author how to test a policy."""
        self.assertIn("PASSED", self.run_python("-m", "twisted.trial", "example/tests/test_business_hours.py"))


class HowToTests(SynchronousTestCase):
    """The complete policy of `docs/howto/write-a-policy.md`."""

    def setUp(self) -> None:
        blocks = re.findall(r"```python\n(.*?)```", HOWTO.read_text(), re.DOTALL)
        self.policy_text, self.test_text = blocks[0], blocks[1]
        self.folder = Path(self.mktemp())
        self.folder.mkdir(mode=0o755)
        (self.folder / "retain_guard.py").write_text(self.policy_text)
        (self.folder / "retain_guard.py").chmod(0o644)

    def test_is_under_thirty_lines(self) -> None:
        """A policy is no great work."""
        self.assertLess(len([line for line in self.policy_text.splitlines() if line.strip()]), 30)

    def test_is_found_and_decides(self) -> None:
        """Copied from the page into a folder it is found, built, and restricts what others grant."""
        found = PolicyRegistry([self.folder]).find("local:retain_guard")
        policy = verify_policy(found.factory.build(found.factory.options(group="writers"), None))
        chain = PolicyChain(
            [PolicyBinding("retain", found.factory, policy, frozenset({"test"}))], clock=Clock(), listeners=["test"]
        )
        verdicts = {
            (retain, groups): chain.decide(
                make_request(Stage.PUBLISH, retain=retain, connection=make_facts(groups=groups))
            )
            for retain in (False, True)
            for groups in (frozenset(), frozenset({"writers"}))
        }
        self.assertEqual([each.policy for each in verdicts.values()], ["", "", "retain", ""])
        self.assertTrue(all(each.effect is Effect.DENY for each in verdicts.values()))  # it grants nothing by itself

    def test_its_test_runs(self) -> None:
        """The test on the page passes as it stands."""
        subprocess.run(
            [sys.executable, "-c", self.policy_text + self.test_text],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            check=True,
            timeout=60,
        )
