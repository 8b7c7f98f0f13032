# -*- test-case-name: tests.cli.test_policy_test -*-
"""``mqttsecure policy test``: does the chain answer as its tests expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mqttsecure.cli.offline import assemble, config_option
from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.cli.trace_output import trial_as_json, trial_lines
from mqttsecure.errors import ConfigError
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.policy_test_file import read_tests
from mqttsecure.service.policy_tests import TestResult, run_tests

__all__ = ["run_policy_tests"]


@click.command("test")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(dir_okay=False, path_type=Path))
@config_option
@click.option("--quiet", "-q", is_flag=True, help="Leave out the traces of the tests that fail.")
@json_option
@click.pass_context
def run_policy_tests(
    context: click.Context, /, files: tuple[Path, ...], config: Path, quiet: bool, as_json: bool
) -> None:
    """Run the policy tests in the FILEs, or in those that `[tests]` of the configuration names.

    Each `[[test]]` says who does what and what must come of it. Nothing is started and nobody is asked for a password.
    A test that fails is told with file and line, what was expected, what came, and the trace of the decision.

    \b
    Examples:
      mqttsecure policy test -c etc/broker.toml
      mqttsecure policy test -c next.toml etc/policy-tests.toml      a new configuration against the old one's tests
      mqttsecure policy test -c etc/broker.toml --json | jq '.tests[] | select(.passed | not)'

    Exit codes: 0 all passed, 1 a test failed or a file cannot be used, 2 the command line makes no sense.
    """
    try:
        assembly = assemble(config)
        results = _results(assembly, files)
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    failed = [result for result in results if not result.passed]
    if as_json:
        print_json({"ok": not failed, "tests": [_as_json(result) for result in results]})
    else:
        for result in failed:
            _print_failure(result, quiet)
        click.echo(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    context.exit(EXIT_PROBLEMS if failed else 0)


def _results(assembly: Assembly, files: tuple[Path, ...]) -> list[TestResult]:
    """What came of all tests.

    Raises:
        ConfigError: there is no file to read, or one of them cannot be used.
    """
    named = files or assembly.config.test_files
    if not named:
        raise ConfigError(f"{assembly.config.path}: names no tests; add [tests] files = [...], or name a FILE")
    problems: list[str] = []
    tests = []
    for file in named:
        try:
            tests += read_tests(file)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return run_tests(assembly, tests)


def _print_failure(result: TestResult, quiet: bool) -> None:
    print_problems(result.lines)
    if result.trial is not None and not quiet:
        for line in trial_lines(result.trial):
            click.echo(f"    {line.plain}".rstrip())
        click.echo()


def _as_json(result: TestResult) -> dict[str, Any]:
    return {
        "name": result.test.table.name,
        "file": result.test.source.file,
        "line": result.test.source.line,
        "passed": result.passed,
        "failures": list(result.failures),
        "trial": None if result.trial is None or result.passed else trial_as_json(result.trial),
    }
