# -*- test-case-name: tests.cli.test_store -*-
"""``mqttsecure store reassign`` and ``release``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from mqttsecure.cli.output import json_option, print_json
from mqttsecure.cli.store import file_of, opened_to_write, told, which_store
from mqttsecure.errors import ConfigError
from mqttsecure.store.database import Database
from mqttsecure.store.owners import Belongings, Owner, belongings, reassign, release

__all__ = ["reassign_", "release_"]


def _owner(context: click.Context, parameter: click.Parameter, value: str) -> Owner:
    try:
        return Owner.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _existing(path: Path) -> Path:
    """Raises ConfigError where there is no such store: opening it would make one."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist; is it the `file` of [store], and has the broker run?")
    return path


def _in_words(found: Belongings) -> str:
    return (
        f"{found.sessions:,} sessions ({found.wills:,} with a will, {found.queued:,} queued messages), "
        f"{found.retained:,} retained messages"
    )


def _belongings(database: Database, owner: Owner) -> Belongings:
    found = database.read(lambda connection: belongings(connection, owner))
    if not (found.sessions or found.messages):
        raise ConfigError(f"nothing belongs to {owner}; `mqttsecure store info` shows who has what")
    return found


@click.command("reassign")
@click.argument("old", callback=_owner)
@click.argument("new", callback=_owner)
@which_store
@json_option
@click.pass_context
def reassign_(
    context: click.Context, old: Owner, new: Owner, config: Path | None, file: Path | None, as_json: bool
) -> None:
    """Let the principal NEW have what is OLD's: sessions with their queues and wills, and messages it has written.

    Principals are written authority:name. So nobody loses a subscription or a message when the names in certificates
    change, or when devices go from passwords to certificates. The broker must be stopped.

    \b
    Examples:
      mqttsecure store reassign devices:pump-7 devices:pump-7.plant.example -c etc/broker.toml
      mqttsecure store reassign users:alice devices:alice -c etc/broker.toml

    Exit codes: 0 done, 1 nothing is OLD's or it could not be done, 2 the command line makes no sense.
    """
    with told(context):
        with opened_to_write(_existing(file_of(config, file))) as database:
            _belongings(database, old)
            found = database.read(lambda connection: reassign(connection, old, new))
        if as_json:
            print_json({"old": str(old), "new": str(new), **asdict(found)})
        else:
            click.echo(f"{new} has what was {old}'s: {_in_words(found)}")


@click.command("release")
@click.argument("principal", callback=_owner)
@which_store
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def release_(
    context: click.Context, principal: Owner, config: Path | None, file: Path | None, yes: bool, as_json: bool
) -> None:
    """Drop the sessions, queues, wills and retained messages of PRINCIPAL. The broker must be stopped.

    Messages that it wrote and that wait for others are delivered where it still may write them.

    \b
    Examples:
      mqttsecure store release devices:pump-7 -c etc/broker.toml
      mqttsecure store release users:mallory --yes -c etc/broker.toml

    Exit codes: 0 done, 1 nothing is its, it could not be done, or you said no; 2 the command line makes no sense.
    """
    with told(context):
        with opened_to_write(_existing(file_of(config, file))) as database:
            found = _belongings(database, principal)
            if not yes:
                click.confirm(f"Drop {_in_words(found)} of {principal}?", abort=True, err=True)
            database.read(lambda connection: release(connection, principal))
        if as_json:
            print_json({"principal": str(principal), **asdict(found)})
        else:
            click.echo(f"dropped of {principal}: {_in_words(found)}")
