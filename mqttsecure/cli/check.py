# -*- test-case-name: tests.cli.test_check -*-
"""``mqttsecure check``: is a configuration right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems, print_table, problem_as_json
from mqttsecure.errors import ConfigError
from mqttsecure.policy.review import TableRow
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.assembly import check as check_config
from mqttsecure.service.config import read_config

__all__ = ["check"]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--table", "with_table", is_flag=True, help="Also print who can permit and deny, by listener and stage.")
@json_option
@click.pass_context
def check(context: click.Context, file: Path, with_table: bool, as_json: bool) -> None:
    """Check the configuration FILE as a start would, without starting and without making any file.

    Every problem is told at once, as FILE:LINE: KEY: what is wrong, and how to mend it.

    \b
    Examples:
      mqttsecure check etc/broker.toml
      mqttsecure check --table etc/broker.toml     what can be permitted where, and by whom
      mqttsecure check --json etc/broker.toml | jq '.problems[].text'

    Exit codes: 0 it can be used, 1 it has problems, 2 the command line makes no sense.
    """
    assembly: Assembly | None = None
    problems: list[str] = []
    try:
        config, found = read_config(file)
        assembly = check_config(config, found)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        print_json(_as_json(file, assembly, problems, with_table))
    else:
        _print(file, assembly, problems, with_table)
    context.exit(EXIT_PROBLEMS if problems else 0)


def _print(file: Path, assembly: Assembly | None, problems: list[str], with_table: bool) -> None:
    print_problems(problems)
    if assembly is None:
        click.echo(f"{file}: {len(problems)} problem{'' if len(problems) == 1 else 's'}", err=True)
        return
    for warning in assembly.warnings:
        click.echo(f"warning: {warning}", err=True)
    if with_table:
        _print_table(assembly.chain.table())
    click.echo(f"{file}: no problems")


def _print_table(rows: list[TableRow]) -> None:
    columns = ["listener", "stage", "can permit", "can deny", "must permit", "final: not asked after its permit"]
    print_table("Who decides what, in the order in which they are asked", columns, [_cells(row) for row in rows])


def _cells(row: TableRow) -> list[str]:
    bypasses = "; ".join(f"{bypass.policy}: {', '.join(bypass.bypassed)}" for bypass in row.bypasses)
    lists = (row.can_permit, row.can_deny, row.required)
    return [row.listener, row.stage.value, *(", ".join(ids) or "-" for ids in lists), bypasses or "-"]


def _as_json(file: Path, assembly: Assembly | None, problems: list[str], with_table: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "file": str(file),
        "ok": not problems,
        "problems": [problem_as_json(problem) for problem in problems],
        "warnings": [] if assembly is None else [problem_as_json(warning) for warning in assembly.warnings],
    }
    if with_table:
        answer["table"] = [] if assembly is None else [_row_as_json(row) for row in assembly.chain.table()]
    return answer


def _row_as_json(row: TableRow) -> dict[str, Any]:
    return {
        "listener": row.listener,
        "stage": row.stage.value,
        "can_permit": list(row.can_permit),
        "can_deny": list(row.can_deny),
        "required": list(row.required),
        "bypasses": [{"policy": bypass.policy, "bypassed": list(bypass.bypassed)} for bypass in row.bypasses],
    }
