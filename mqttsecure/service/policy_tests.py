# -*- test-case-name: tests.service.test_policy_tests -*-
"""Runs policy tests against a chain: each asks one question of it and compares the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mqttsecure.core.decisions import Purpose, Source
from mqttsecure.errors import ConfigError
from mqttsecure.policy.trace import Outcome
from mqttsecure.service.assumed_certificate import assumed_chain, choose_authority, trusted_authorities
from mqttsecure.service.config import BrokerConfig
from mqttsecure.service.parts import Parts
from mqttsecure.service.policy_test_file import PolicyTest, TestTable, read_tests
from mqttsecure.service.scenario import Scenario, Trial, judge, listener_of, parse_peer, unsettled

__all__ = ["TestResult", "demanded_failures", "run_tests"]


@dataclass(slots=True, frozen=True)
class TestResult:
    """What came of one test: ``failures`` is empty where it passed; ``trial`` is None where it could not be run."""

    test: PolicyTest
    failures: tuple[str, ...]
    trial: Trial | None

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def lines(self) -> list[str]:
        """Each failure as one line with file and line."""
        return [f"{self.test.source}: test {self.test.table.name!r}: {text}" for text in self.failures]


def run_tests(parts: Parts, tests: Iterable[PolicyTest]) -> list[TestResult]:
    """Put each test to the chain; nothing is counted."""
    return [_run(parts, test) for test in tests]


def demanded_failures(config: BrokerConfig, parts: Parts) -> list[str]:
    """Why the configuration must not be used, by the tests that it demands; empty where it demands none."""
    if not config.tests_required:
        return []
    found: list[str] = []
    if not config.test_files:
        found.append(f"{config.source_of('tests', 'required')}: tests.required: no files are named; name some")
    for file in config.test_files:
        try:
            results = run_tests(parts, read_tests(file))
        except ConfigError as error:
            found += error.problems
            continue
        found += [line for result in results for line in result.lines]
    return found


def _run(parts: Parts, test: PolicyTest) -> TestResult:
    try:
        scenario = _scenario(parts, test)
        trial = judge(parts, scenario, Purpose.TEST, advised=False)
    except ConfigError as error:
        return TestResult(test, (f"cannot be run: {error}",), None)
    failures = tuple(_failures(parts, test.table, trial))
    if failures:
        trial = judge(parts, scenario, Purpose.TEST)  # what would turn it is asked only where somebody reads it
    return TestResult(test, failures, trial)


def _scenario(parts: Parts, test: PolicyTest) -> Scenario:
    table = test.table
    chain: tuple[bytes, ...] = ()
    if table.cert_cn is not None:
        trusted = trusted_authorities(listener_of(parts, table.listener), parts.authorities)
        try:
            chain = assumed_chain(table.cert_cn, table.groups, choose_authority(trusted, table.cert_authority))
        except ValueError as error:
            raise ConfigError(f"the certificate: {error}") from error
    return Scenario(
        table.do,
        table.topic,
        table.qos,
        table.retain,
        table.size,
        peer=None if table.from_ is None else parse_peer(table.from_),
        listener=table.listener,
        principal=test.principal,
        username=table.user,
        groups=frozenset(table.groups),
        client_id=table.client_id,
        version=table.version,
        chain=chain,
        tls_version=table.tls_version,
        cipher=table.cipher,
        attributes=table.attributes,
    )


def _failures(parts: Parts, table: TestTable, trial: Trial) -> list[str]:
    found = []
    came = _came(parts, table, trial)
    if came != table.expect:
        found.append(f"expected {table.expect}, came {came}{_by(trial)}")
    if table.rule is not None and table.rule not in _deciders(trial):
        found.append(
            f"expected {table.rule} to decide, it was {_deciders(trial)[-1]}{_place(trial.last.verdict.source)}"
        )
    code = trial.last.verdict.reason_code
    if table.reason_code is not None and came == "deny" and code != table.reason_code:
        found.append(f"expected Reason Code 0x{table.reason_code:02x}, came 0x{code:02x}")
    return found


def _came(parts: Parts, table: TestTable, trial: Trial) -> str:
    """The outcome in a test's words. A counting policy is taken to be within its bounds: a test is about rules."""
    if trial.outcome is not Outcome.PROVIDED:
        return "permit" if trial.outcome is Outcome.PERMIT else "deny"
    if table.expect == "permit" and not unsettled(parts, trial) - set(table.provided):
        return "permit"
    return "unknown"


def _deciders(trial: Trial) -> list[str]:
    last = trial.last
    if not last.decider:
        return ["default"]
    rule = last.verdict.rule
    return [last.decider, *([f"{last.decider}/{rule}"] if rule else [])]


def _by(trial: Trial) -> str:
    if trial.outcome is Outcome.PROVIDED:
        return f", which depends on {', '.join(dict.fromkeys(policy for _, policy in trial.conditions))}"
    last = trial.last
    return f" at {last.stage.value} by {_deciders(trial)[-1]}{_place(last.verdict.source)}: {last.verdict.text}"


def _place(source: Source | None) -> str:
    return "" if source is None else f" ({Path(source.file).name}:{source.line})"
