# -*- test-case-name: tests.cli.test_policy_new -*-
"""``mqttsecure policy new``: a policy of one's own to begin with, with its tests and what ships it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.cli.policy_templates import PACKAGE_FILES, SINGLE_FILES
from mqttsecure.errors import ConfigError
from mqttsecure.policy.registry import PolicyRegistry

__all__ = ["new_policy"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 50


@click.command("new")
@click.argument("name")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="The folder to write into; default: NAME."
)
@click.option("--single-file", is_flag=True, help="One file for a folder of [plugins] path, in place of a package.")
@json_option
@click.pass_context
def new_policy(context: click.Context, name: str, out: Path | None, single_file: bool, as_json: bool) -> None:
    """Write a policy named NAME to begin with: it works, is tested, and can be installed as it stands.

    A package that pip installs, or with --single-file one file for a folder that the configuration names. Its tests
    hold it to the kit (mqttsecure.testing.policy), which stays with it while you change it. Nothing is written over.

    \b
    Examples:
      mqttsecure policy new valve-guard
      cd valve-guard && pip install . && python -m twisted.trial tests/test_mqttsecure_valve_guard.py
      mqttsecure policy new valve-guard --single-file --out etc

    Exit codes: 0 written, 1 it cannot be, 2 the command line makes no sense.
    """
    folder = Path(name) if out is None else out
    try:
        _check_name(name)
        written = _write(folder, _files(name, single_file))
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    if as_json:
        print_json({"files": [str(file) for file in written]})
        return
    for file in written:
        click.echo(str(file))
    test = next(file for file in written if file.parent.name == "tests")
    if not single_file:
        click.echo(f"install it:  pip install {folder}", err=True)
    click.echo(f"test it:     python -m twisted.trial {test}", err=True)


def _check_name(name: str) -> None:
    """
    Raises:
        ConfigError: no policy can be called so.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            f"{name!r} is no name of a policy; write lower case letters, digits and hyphens, as in valve-guard, "
            f"at most {_LONGEST}"
        )
    for found in PolicyRegistry().all():
        if found.name == name:
            raise ConfigError(f"{name!r} is a policy of {found.distribution} already; choose another name")


def _files(name: str, single_file: bool) -> dict[str, str]:
    """The texts by path, filled in."""
    plain = name.replace("-", "_")
    module = plain if single_file else f"mqttsecure_{plain}"
    path = f"plugins/{module}.py" if single_file else f"twisted/plugins/{module}.py"
    values = {
        "@NAME@": name,
        "@MODULE@": module,
        "@FILE@": path,
        "@CLASS@": "".join(word.capitalize() for word in name.split("-")),
        "@DISTRIBUTION@": f"mqttsecure-{name}",
        "@USE@": f"local:{module}" if single_file else name,
        "@DOCS@": "README.md",
        "@RUN@": f"python -m twisted.trial tests/test_{module}.py",
    }
    return {
        _filled(path, values): _filled(text, values)
        for path, text in (SINGLE_FILES if single_file else PACKAGE_FILES).items()
    }


def _filled(text: str, values: dict[str, str]) -> str:
    for word, value in values.items():
        text = text.replace(word, value)
    return text


def _write(folder: Path, files: dict[str, str]) -> list[Path]:
    """
    Raises:
        ConfigError: one of them is there already, or cannot be written; nothing is written over.
    """
    there = [folder / path for path in files if (folder / path).exists()]
    if there:
        raise ConfigError([f"{file}: is there already; name another folder with --out" for file in there])
    written = []
    try:
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
            file.chmod(0o644)  # others must not write what the broker runs, whatever the umask
            written.append(file)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}; name another folder") from error
    return written
