# -*- test-case-name: tests.cli.test_import -*-
"""``mqttsecure import``: come over from another broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.errors import ConfigError
from mqttsecure.service.mosquitto.importing import CONFIG, Imported, import_mosquitto, verify, write
from mqttsecure.service.mosquitto.notes import LEFT

__all__ = ["import_"]

EXIT_LEFT: Final = 3
"""Written, and some lines were not carried over."""


@click.group("import")
def import_() -> None:
    """Come over from another broker.

    \b
    Examples:
      mqttsecure import mosquitto /etc/mosquitto/mosquitto.conf --out etc/from-mosquitto

    Exit codes: those of the command below it.
    """


@import_.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder to write into."
)
@click.option("--force", is_flag=True, help="Write over files of an earlier import.")
@json_option
@click.pass_context
def mosquitto(context: click.Context, file: Path, out: Path, force: bool, as_json: bool) -> None:
    """Read mosquitto.conf and the files that it names, and write a configuration that decides the same.

    Read are included folders, listeners with TLS, password files, access control files and the file of the dynamic
    security plugin. Written are broker.toml, users, rules, and a policy test for each rule with what mosquitto decides.
    Every line that could not be carried over is told, and every one that means something else here; the same is in
    import-notes.txt. Mosquitto's files are not changed, and its keys and certificates stay where they are.

    \b
    Examples:
      mqttsecure import mosquitto /etc/mosquitto/mosquitto.conf --out etc/from-mosquitto
      mqttsecure check --table etc/from-mosquitto/broker.toml
      mqttsecure policy test -c etc/from-mosquitto/broker.toml

    Exit codes: 0 all was carried over, 1 it cannot be done, 2 the command line makes no sense, 3 written, and some
    lines were not carried over.
    """
    try:
        imported = import_mosquitto(file)
        write(imported, out, force=force)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "problems": error.problems, "notes": []})
        else:
            print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    problems = verify(out)
    if as_json:
        print_json(_as_json(imported, out, problems))
    else:
        _print(imported, out, problems)
    if problems:
        context.exit(EXIT_PROBLEMS)
    context.exit(EXIT_LEFT if any(note.kind == LEFT for note in imported.notes) else 0)


def _print(imported: Imported, out: Path, problems: list[str]) -> None:
    for note in imported.notes:
        click.echo(str(note), err=True)
    left = sum(note.kind == LEFT for note in imported.notes)
    click.echo(f"{out / CONFIG}: written, with {imported.rules} rules and {len(imported.files) - 1} files beside it")
    click.echo(f"{left} lines were not carried over, {len(imported.notes) - left} mean something else here (see above)")
    if problems:
        click.echo("it cannot be used yet:", err=True)
        print_problems(problems)
    else:
        click.echo(f"try it:  twistd -n mqttsecure --config {out / CONFIG}")


def _as_json(imported: Imported, out: Path, problems: list[str]) -> dict[str, Any]:
    return {
        "ok": not problems,
        "problems": problems,
        "files": [str(out / name) for name in imported.files],
        "rules": imported.rules,
        "notes": [
            {"file": note.source.file, "line": note.source.line, "kind": note.kind, "text": note.text}
            for note in imported.notes
        ],
    }
