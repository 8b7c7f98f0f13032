# -*- test-case-name: tests.cli.test_store -*-
"""``mqttsecure store``: look into, check, copy and move the durable state."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems, print_table
from mqttsecure.errors import ConfigError
from mqttsecure.service.config import read_config
from mqttsecure.store.database import Database
from mqttsecure.store.looking import Unsound, describe, find_damage, opened_to_read

__all__ = ["store"]

EXIT_UNSOUND: Final = 3

_MOST_PRINCIPALS: Final = 20
"""Rows of the table for people; JSON has all."""

_F = TypeVar("_F", bound=Callable[..., Any])


def which_store(command: _F) -> _F:
    """The options that say which file is meant."""
    config = click.option(
        "--config",
        "-c",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The broker's configuration, whose [store] file is used.",
    )
    file = click.option("--file", "-f", type=click.Path(dir_okay=False, path_type=Path), help="The file itself.")
    return file(config(command))


def file_of(config: Path | None, file: Path | None) -> Path:
    """The file that is meant.

    Raises:
        ConfigError: the configuration names none.
    """
    if file is not None:
        return file.absolute()
    if config is None:
        raise click.UsageError("say which store: --config FILE or --file PATH")
    found, problems = read_config(config)
    if found.store is None:
        problems.raise_if_any()
        raise ConfigError(f"{config}: [store] durability is memory: there is no file")
    return found.store.file


@contextmanager
def told(context: click.Context) -> Iterator[None]:
    """Errors become lines on stderr and exit code 1."""
    try:
        yield
    except Unsound as error:
        print_problems(error.problems)
        context.exit(EXIT_UNSOUND)
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    except OSError as error:
        print_problems([f"{error.filename or 'the file'}: {error.strerror or error}"])
        context.exit(EXIT_PROBLEMS)
    except sqlite3.Error as error:
        print_problems([f"the store cannot be written: {error}; nothing has been changed"])
        context.exit(EXIT_PROBLEMS)


@contextmanager
def opened_to_write(path: Path) -> Iterator[Database]:
    """The store, for this process alone.

    Raises:
        ConfigError: a broker has it, or it may not be used.
    """
    database = Database(path)
    try:
        database.open()
    except ConfigError as error:
        raise ConfigError([f"{each} (this command needs the broker stopped)" for each in error.problems]) from error
    with closing(database):
        for loss in database.losses:
            click.echo(f"mended: {loss}", err=True)
        yield database


@click.group()
def store() -> None:
    """Look into, check, back up and move what the broker keeps on disk.

    `info`, `check`, `backup` and `export` work while the broker runs; the others need it stopped.

    \b
    Examples:
      mqttsecure store info -c etc/broker.toml
      mqttsecure store check -c etc/broker.toml
      mqttsecure store backup /backup/mqttsecure.db -c etc/broker.toml
      mqttsecure store reassign devices:pump-7 devices:pump-7b -c etc/broker.toml

    Exit codes: 0 done, 1 it could not be done, 2 the command line makes no sense, 3 the store is damaged.
    """


@store.command()
@which_store
@json_option
@click.pass_context
def info(context: click.Context, config: Path | None, file: Path | None, as_json: bool) -> None:
    """Tell what is in the store: counts, bytes, whose it is, and what was lost to damage.

    \b
    Examples:
      mqttsecure store info -c etc/broker.toml
      mqttsecure store info -f state/mqttsecure.db --json | jq '.principals[0]'

    Exit codes: 0 told, 1 there is no such store, 2 the command line makes no sense, 3 it is damaged.
    """
    with told(context):
        path = file_of(config, file)
        with opened_to_read(path) as connection:
            found = describe(connection, path)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['file']}, schema {found['schema']}")
    rows = [[name, f"{count:,}"] for name, count in found["rows"].items()]
    names = {"connected_sessions": "sessions with a connection", "wills": "wills"}
    rows += [[name, f"{found[key]:,}"] for key, name in names.items()]
    sizes = {"message_bytes": "bytes of messages", "bytes": "bytes of the file", "wal_bytes": "bytes of its WAL"}
    rows += [[name, f"{found[key]:,}"] for key, name in sizes.items()]
    print_table("In the store", ["what", "how much"], rows)
    principals = found["principals"]
    columns = ["principal", "sessions", "queued", "queued_bytes", "retained"]
    shown = [[f"{each[key]:,}" if key != "principal" else each[key] for key in columns] for each in principals]
    title = f"{len(principals)} principals" + (", the first" if len(principals) > _MOST_PRINCIPALS else "")
    print_table(title, [name.replace("_", " ") for name in columns], shown[:_MOST_PRINCIPALS])
    for loss in found["losses"]:
        click.echo(f"lost: {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(loss['at']))}: {loss['text']}")


@store.command()
@which_store
@json_option
@click.pass_context
def check(context: click.Context, config: Path | None, file: Path | None, as_json: bool) -> None:
    """Check that the file is sound, and that its rows fit: references are counted right, nothing refers to nothing.

    It reads the whole file, also while the broker runs.

    \b
    Examples:
      mqttsecure store check -c etc/broker.toml
      mqttsecure store check -f backup.db --json | jq .sound

    Exit codes: 0 all is well, 1 it cannot be looked into, 2 the command line makes no sense, 3 it is damaged or rows
    do not fit: start the broker, which keeps what can be read, or restore a backup.
    """
    with told(context):
        path = file_of(config, file)
        try:
            with opened_to_read(path) as connection:
                problems, faults = find_damage(connection)
                losses = describe(connection, path)["losses"] if not problems else []
        except Unsound as error:
            problems, faults, losses = error.problems, {}, []
    if as_json:
        print_json({"file": str(path), "sound": not problems, "problems": problems, "faults": faults, "losses": losses})
    else:
        print_problems([f"{path}: {problem}" for problem in problems])
        for loss in losses:
            click.echo(f"earlier: {loss['text']}")
        if not problems:
            click.echo(f"{path} is sound")
    if problems:
        context.exit(EXIT_UNSOUND)
