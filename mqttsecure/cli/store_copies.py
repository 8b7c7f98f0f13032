# -*- test-case-name: tests.cli.test_store -*-
"""``mqttsecure store backup``, ``export`` and ``import``."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mqttsecure.cli.store import file_of, opened_to_write, told, which_store
from mqttsecure.errors import ConfigError
from mqttsecure.store.copying import copy_database
from mqttsecure.store.exchange import export_rows, import_rows
from mqttsecure.store.looking import opened_to_read
from mqttsecure.store.places import beside, make_private_file, sync_folder

__all__ = ["backup", "export", "import_"]


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int | None], object]]:
    """A progress bar on stderr, where that is a terminal; to be told how much is done, of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@click.command()
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@which_store
@click.option("--force", is_flag=True, help="Replace TARGET where it is there.")
@click.pass_context
def backup(context: click.Context, target: Path, config: Path | None, file: Path | None, force: bool) -> None:
    """Copy the store, as it is at one moment, to TARGET: whole or not at all, and its owner's alone.

    The broker may run, and goes on writing meanwhile. To restore it: stop the broker, move its file and what begins
    with that name away, and copy TARGET there.

    \b
    Examples:
      mqttsecure store backup /backup/mqttsecure.db -c etc/broker.toml
      mqttsecure store backup --force nightly.db -c etc/broker.toml && mqttsecure store check -f nightly.db

    Exit codes: 0 done, 1 it could not be done, 2 the command line makes no sense, 3 the store is damaged.
    """
    with told(context):
        path = file_of(config, file)
        _refuse_existing(target, force)
        try:
            with opened_to_read(path) as connection, _bar("pages") as progress:
                copy_database(connection, target.absolute(), progress)
        except sqlite3.Error as error:
            raise ConfigError(f"{target} cannot be written: {error}") from error
        click.echo(f"{target}: {target.stat().st_size:,} bytes", err=True)


def _refuse_existing(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise ConfigError(f"{target} is there already; name another file, or use --force")
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"{target}: there is no folder {target.absolute().parent}; make it")


@click.command()
@click.argument("target", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@which_store
@click.option("--force", is_flag=True, help="Replace TARGET where it is there.")
@click.pass_context
def export(context: click.Context, target: Path, config: Path | None, file: Path | None, force: bool) -> None:
    """Write all rows to TARGET as lines of JSON, as they are at one moment; - is stdout. The broker may run.

    It holds the content of messages. What the lines mean: docs/reference/store.md.

    \b
    Examples:
      mqttsecure store export state.jsonl -c etc/broker.toml
      mqttsecure store export - -c etc/broker.toml | jq -r 'select(.table == "sessions") | .client_id'

    Exit codes: 0 done, 1 it could not be done, 2 the command line makes no sense, 3 the store is damaged.
    """
    with told(context):
        path = file_of(config, file)
        if str(target) == "-":
            with opened_to_read(path) as connection:
                sys.stdout.writelines(export_rows(connection, lambda done, total: None))
            return
        _refuse_existing(target, force)
        with opened_to_read(path) as connection, _bar("rows") as progress:
            _write(target.absolute(), export_rows(connection, progress))
        click.echo(f"{target}: {target.stat().st_size:,} bytes", err=True)


def _write(target: Path, lines: Iterator[str]) -> None:
    """Write a file of the owner's alone, whole or not at all."""
    temporary = beside(target, ".new")
    temporary.unlink(missing_ok=True)
    make_private_file(temporary)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync_folder(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@click.command("import")
@click.argument("source", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@which_store
@click.pass_context
def import_(context: click.Context, source: Path, config: Path | None, file: Path | None) -> None:
    """Take in what `mqttsecure store export` wrote to SOURCE; - is stdin. All of it, or nothing.

    The store must be empty or not there yet, and the broker stopped.

    \b
    Examples:
      mqttsecure store import state.jsonl -c etc/broker.toml
      mqttsecure store import - -f state/mqttsecure.db < state.jsonl

    Exit codes: 0 done, 1 it could not be done, 2 the command line makes no sense.
    """
    with told(context), contextlib.ExitStack() as stack:
        path = file_of(config, file)
        lines = sys.stdin if str(source) == "-" else stack.enter_context(source.open(encoding="utf-8"))
        database = stack.enter_context(opened_to_write(path))
        progress = stack.enter_context(_bar("rows"))
        count = database.read(
            lambda connection: import_rows(connection, lines, str(source), lambda done: progress(done, None))
        )
        click.echo(f"{path}: {count:,} rows", err=True)
