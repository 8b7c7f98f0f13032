# -*- test-case-name: tests.cli.test_check -*-
"""``mqttsecure check``: is a configuration right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems, print_table, problem_as_json
from mqttsecure.errors import ConfigError
from mqttsecure.policy.lint import Lint
from mqttsecure.policy.review import TableRow
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.assembly import check as check_config
from mqttsecure.service.config import read_config
from mqttsecure.service.lints import lints_of

__all__ = ["check"]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--table", "with_table", is_flag=True, help="Also print who can permit and deny, by listener and stage.")
@click.option("--strict", is_flag=True, help="Take lints for problems.")
@json_option
@click.pass_context
def check(context: click.Context, file: Path, with_table: bool, strict: bool, as_json: bool) -> None:
    """Check the configuration FILE as a start would, without starting and without making any file.

    Every problem is told at once, as FILE:LINE: KEY: what is wrong, and how to mend it. Lints are warnings about what
    can be used and does nothing, or more than it looks like: FILE:LINE: [ID] what: why; and the mend.

    \b
    Examples:
      mqttsecure check etc/broker.toml
      mqttsecure check --table etc/broker.toml     what can be permitted where, and by whom
      mqttsecure check --strict etc/broker.toml    with exit code 1 for a lint, as for a program that reviews changes
      mqttsecure check --json etc/broker.toml | jq '.problems[].text'

    Exit codes: 0 it can be used, 1 it has problems, or with --strict lints, 2 the command line makes no sense.
    """
    assembly: Assembly | None = None
    problems: list[str] = []
    lints: list[Lint] = []
    try:
        config, found = read_config(file)
        assembly = check_config(config, found)
        lints = lints_of(assembly)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        print_json(_as_json(file, assembly, problems, lints, with_table, strict))
    else:
        _print(file, assembly, problems, lints, with_table, strict)
    context.exit(EXIT_PROBLEMS if problems or (strict and lints) else 0)


def _print(
    file: Path,
    assembly: Assembly | None,
    problems: list[str],
    lints: list[Lint],
    with_table: bool,
    strict: bool,
) -> None:
    print_problems(problems)
    if assembly is None:
        click.echo(f"{file}: {len(problems)} problem{'' if len(problems) == 1 else 's'}", err=True)
        return
    for warning in assembly.warnings:
        click.echo(f"warning: {warning}", err=True)
    for lint in lints:
        click.echo(str(lint) if strict else f"warning: {lint}", err=True)
    if with_table:
        _print_table(assembly.chain.table())
    if strict and lints:
        click.echo(f"{file}: {len(lints)} lint{'' if len(lints) == 1 else 's'}", err=True)
    else:
        click.echo(f"{file}: no problems")


def _print_table(rows: list[TableRow]) -> None:
    columns = ["listener", "stage", "can permit", "can deny", "must permit", "final: not asked after its permit"]
    print_table("Who decides what, in the order in which they are asked", columns, [_cells(row) for row in rows])


def _cells(row: TableRow) -> list[str]:
    bypasses = "; ".join(f"{bypass.policy}: {', '.join(bypass.bypassed)}" for bypass in row.bypasses)
    lists = (row.can_permit, row.can_deny, row.required)
    return [row.listener, row.stage.value, *(", ".join(ids) or "-" for ids in lists), bypasses or "-"]


def _as_json(
    file: Path,
    assembly: Assembly | None,
    problems: list[str],
    lints: list[Lint],
    with_table: bool,
    strict: bool,
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "file": str(file),
        "ok": not problems and not (strict and lints),
        "problems": [problem_as_json(problem) for problem in problems],
        "warnings": [] if assembly is None else [problem_as_json(warning) for warning in assembly.warnings],
        "lints": [_lint_as_json(lint) for lint in lints],
    }
    if with_table:
        answer["table"] = [] if assembly is None else [_row_as_json(row) for row in assembly.chain.table()]
    return answer


def _lint_as_json(lint: Lint) -> dict[str, Any]:
    return {
        "id": lint.id,
        "file": lint.source.file if lint.source else None,
        "line": lint.source.line if lint.source else None,
        "text": lint.text,
        "why": lint.why,
        "mend": lint.mend,
    }


def _row_as_json(row: TableRow) -> dict[str, Any]:
    return {
        "listener": row.listener,
        "stage": row.stage.value,
        "can_permit": list(row.can_permit),
        "can_deny": list(row.can_deny),
        "required": list(row.required),
        "bypasses": [{"policy": bypass.policy, "bypassed": list(bypass.bypassed)} for bypass in row.bypasses],
    }
