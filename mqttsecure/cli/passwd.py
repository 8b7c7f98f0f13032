# -*- test-case-name: tests.cli.test_passwd -*-
"""``mqttsecure passwd``: users and passwords of a password file."""

from __future__ import annotations

import secrets
import stat
import sys
from pathlib import Path
from typing import Final

import click

from mqttsecure.cli.output import EXIT_PROBLEMS, print_problems
from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin import scram_keys
from mqttsecure.policy.builtin.password_hash import PasswordFile, check_user, hash_password

__all__ = ["passwd"]

_GENERATED_BYTES: Final = 18
"""144 bits of a generated password: more than anyone can guess, still one line to copy."""


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("user", required=False)
@click.option("--groups", help="Put the user into these groups and no others: one or more, with commas; '' for none.")
@click.option("--generate", is_flag=True, help="Make up a password and show it, this once.")
@click.option("--scram", is_flag=True, help="Write SCRAM keys: the user can log in without sending the password.")
@click.option("--delete", is_flag=True, help="Remove the user.")
@click.option(
    "--batch",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Set many users at once from lines USER:PASSWORD in this file; - is stdin.",
)
@click.pass_context
def passwd(
    context: click.Context,
    file: Path,
    user: str | None,
    groups: str | None,
    generate: bool,
    scram: bool,
    delete: bool,
    batch: Path | None,
) -> None:
    """Add USER to the password file FILE, or change the password, groups, or both.

    The password is asked for, twice and unseen; where stdin is no terminal its first line is taken. It is never an
    argument, which others could read in the process list. FILE is made if it is not there, replaced as a whole or not
    at all, and kept readable by its owner alone.

    \b
    Examples:
      mqttsecure passwd certs/users bob
      mqttsecure passwd certs/users bob --groups sensors,lab
      mqttsecure passwd certs/users bob --generate
      mqttsecure passwd certs/users bob --scram             for MQTT 5 clients that speak SCRAM-SHA-256
      mqttsecure passwd certs/users bob < password.txt
      mqttsecure passwd certs/users --batch users.txt    lines of USER:PASSWORD
      mqttsecure passwd certs/users bob --delete

    Exit codes: 0 done, 1 it could not be done, 2 the command line makes no sense.
    """
    _check_usage(user, generate, delete, batch, scram)
    names = None if groups is None else tuple(group.strip() for group in groups.split(",") if group.strip())
    try:
        if batch is not None:
            _set_many(file, batch, names, scram)
        elif delete:
            _delete(file, user or "")
        else:
            _set_one(file, user or "", names, generate, scram)
    except (ConfigError, ValueError, OSError) as error:
        print_problems(_in_words(file, error))
        context.exit(EXIT_PROBLEMS)


def _check_usage(user: str | None, generate: bool, delete: bool, batch: Path | None, scram: bool) -> None:
    if batch is not None and (user is not None or generate or delete):
        raise click.UsageError("--batch names its own users; give it without USER, --generate and --delete")
    if batch is None and user is None:
        raise click.UsageError("name a USER, or many with --batch FILE")
    if delete and (generate or scram):
        raise click.UsageError("--delete needs no --generate and no --scram")


def _in_words(file: Path, error: Exception) -> list[str]:
    if isinstance(error, ConfigError):
        return error.problems
    if isinstance(error, OSError):
        return [f"{error.filename or file}: {error.strerror}"]
    return [f"{file}: {error}"]


def _set_one(file: Path, user: str, groups: tuple[str, ...] | None, generate: bool, scram: bool) -> None:
    check_user(user, groups or ())
    password = secrets.token_urlsafe(_GENERATED_BYTES) if generate else _ask(user)
    PasswordFile(file).set_user(user, password.encode(), groups, scram=scram or user in _with_keys(file))
    if generate:
        # The password alone on stdout, so that it can go straight into a file.
        click.echo(f"The new password of {user}, shown this once:", err=True)
        click.echo(password)
    click.echo(f"{file}: {user} is set", err=True)


def _with_keys(file: Path) -> set[str]:
    """The users who log in by SCRAM, and are to do so with their new password."""
    if not file.exists():
        return set()
    return {name for name, user in PasswordFile(file).users().items() if scram_keys.is_scram(user.hash)}


def _ask(user: str) -> str:
    if _is_terminal():
        answer: str = click.prompt(f"Password of {user}", hide_input=True, confirmation_prompt=True)
        return answer
    line = sys.stdin.readline()
    if not line.rstrip("\r\n"):
        raise ValueError("no password was given on stdin")
    return line.rstrip("\r\n")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _delete(file: Path, user: str) -> None:
    if not file.exists():
        raise ValueError("there is no such file")
    if not PasswordFile(file).delete_user(user):
        raise ValueError(f"there is no user {user!r}")
    click.echo(f"{file}: {user} is removed", err=True)


def _set_many(file: Path, batch: Path, groups: tuple[str, ...] | None, scram: bool) -> None:
    users = _read_batch(batch, groups)
    # Hashed before the file is locked: each takes tens of milliseconds, and others may want to write it.
    with_keys = set(users) if scram else _with_keys(file)
    hashed = {
        name: (scram_keys.hash_password if name in with_keys else hash_password)(password.encode())
        for name, password in users.items()
    }
    with PasswordFile(file).edit() as edit:
        for name, each in hashed.items():
            edit.set(name, each, groups)
    click.echo(f"{file}: {len(hashed)} user{' is' if len(hashed) == 1 else 's are'} set", err=True)


def _read_batch(batch: Path, groups: tuple[str, ...] | None) -> dict[str, str]:
    """Names and passwords; problems name the line and never the password."""
    if str(batch) == "-":
        text, name = sys.stdin.read(), "<stdin>"
    else:
        text, name = batch.read_text(encoding="utf-8"), str(batch)
        if stat.S_IMODE(batch.stat().st_mode) & 0o077:
            click.echo(f"warning: others may read the passwords in {batch}; remove it once you are done", err=True)
    users: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.partition(":")
        try:
            if not colon or not password:
                raise ValueError("a line is USER:PASSWORD")
            check_user(user, groups or ())
            if user in users:
                raise ValueError(f"user {user!r} is there twice")
        except ValueError as error:
            problems.append(f"{name}:{number}: {error}")
        users[user] = password
    if problems:
        raise ConfigError(problems)
    return users
