# -*- test-case-name: tests.cli.test_check -*-
"""What all commands share: exit codes, tables for people, JSON for programs."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "EXIT_OK",
    "EXIT_PROBLEMS",
    "EXIT_USAGE",
    "json_option",
    "print_json",
    "print_problems",
    "print_table",
    "telling_problems",
]

_F = TypeVar("_F", bound=Callable[..., Any])

EXIT_OK: Final = 0
EXIT_PROBLEMS: Final = 1
EXIT_USAGE: Final = 2
"""What click itself ends with when it cannot make sense of the command line."""

_WIDE: Final = 200
"""Columns of a table that goes to a file or a pipe, where nobody's terminal sets them."""

_PROBLEM: Final = re.compile(r"(?P<file>.+?):(?P<line>\d+): (?P<text>.*)", re.DOTALL)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
"""The ``--json`` that every command with an answer has."""


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def problem_as_json(problem: str) -> dict[str, Any]:
    """``FILE:LINE: text`` in its parts; file and line are null where the problem names none."""
    match = _PROBLEM.fullmatch(problem)
    if match is None:
        return {"file": None, "line": None, "text": problem}
    return {"file": match["file"], "line": int(match["line"]), "text": match["text"]}


def print_problems(problems: list[str]) -> None:
    """Each problem on stderr, as it is: a compiler's form, which editors can follow."""
    for problem in problems:
        click.echo(problem, err=True)


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table on stdout; cells are plain text, whatever brackets they hold."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE)
    table = Table(title=Text(title), title_justify="left")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def telling_problems(refusals: tuple[type[Exception], ...], exit_code: int) -> Callable[[_F], _F]:
    """Decorate a command: tell each of ``refusals``, a line a problem, and failing files; end with ``exit_code``."""

    def decorate(command: _F) -> _F:
        @functools.wraps(command)
        def told(*args: Any, **options: Any) -> Any:
            try:
                return command(*args, **options)
            except refusals as error:
                print_problems(str(error).splitlines())
            except OSError as error:
                print_problems([f"{error.filename or 'a file'}: {error.strerror}; mend its owner or mode"])
            raise click.exceptions.Exit(exit_code)

        return told  # type: ignore[return-value]  # the same function

    return decorate
