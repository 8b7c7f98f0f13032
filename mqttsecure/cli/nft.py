# -*- test-case-name: tests.cli.test_nft -*-
"""``mqttsecure policy nft``: the ACCEPT stage as a firewall of the kernel."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from mqttsecure.cli.output import EXIT_OK, EXIT_PROBLEMS, json_option, print_json, print_problems, problem_as_json
from mqttsecure.errors import ConfigError
from mqttsecure.policy.nft import DEFAULT_TABLE, AcceptListener, Compilation, accept_policies, compile_accept
from mqttsecure.policy.nft_listing import contents_of_kernel, contents_of_ruleset, differences
from mqttsecure.policy.nft_ruleset import render
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.assembly import check as check_config
from mqttsecure.service.config import read_config

__all__ = ["nft"]

EXIT_DIFFERENT: Final = 1
EXIT_WIDER: Final = 3
EXIT_UNKNOWN: Final = 4

_TABLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_ADMINISTRATION: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where nft is; an ordinary user's PATH often lacks them."""

_PATIENCE: Final = 20.0
"""Seconds for nft to print a table: a hundred thousand addresses take it under one."""


class KernelUnknownError(Exception):
    """What the kernel holds cannot be told; the text names the mend."""


def _table_name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if _TABLE.fullmatch(value) is None:
        raise click.BadParameter("a name of nftables starts with a letter and has letters, digits and _ alone")
    return value


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write the ruleset to this file.")
@click.option(
    "--table", default=DEFAULT_TABLE, show_default=True, callback=_table_name, help="Name of the table (family inet)."
)
@click.option("--lock", is_flag=True, help="Also drop all that is not for a listener, SSH included.")
@click.option("--reject", is_flag=True, help="Answer what is refused by a TCP reset in place of silence.")
@click.option("--diff", "with_diff", is_flag=True, help="Compare with the table that the kernel holds.")
@json_option
@click.pass_context
def nft(
    context: click.Context,
    file: Path,
    output: Path | None,
    table: str,
    lock: bool,
    reject: bool,
    with_diff: bool,
    as_json: bool,
) -> None:
    """Compile the ACCEPT stage of the configuration FILE to a ruleset for nftables.

    The kernel then drops, for the listeners' ports, whom the broker would refuse: addresses, too many connections, too
    fast ones. What cannot be compiled is left to the broker and told on stderr. Nothing is loaded.

    \b
    Examples:
      mqttsecure policy nft etc/broker.toml                      look at it
      mqttsecure policy nft etc/broker.toml -o broker.nft        then, as root: nft -f broker.nft
      mqttsecure policy nft --diff etc/broker.toml               is that what the kernel holds?
      mqttsecure policy nft --json etc/broker.toml | jq .wider   what the kernel lets through and the broker refuses

    Exit codes: 0 the kernel decides as the broker does, or the kernel holds this ruleset (--diff); 1 the configuration
    has problems, or the kernel holds another ruleset; 2 the command line makes no sense; 3 the ruleset is made, and
    lets more through than the broker; 4 what the kernel holds cannot be told.
    """
    if with_diff and output is not None:
        raise click.UsageError("--diff writes no file; leave out --output")
    try:
        compilation = _compile(file, table, lock, reject)
    except ConfigError as error:
        _fail(context, file, error.problems, as_json)
    if with_diff:
        context.exit(_compare(compilation, as_json))
    text = render(compilation.ruleset, compilation.comments())
    try:
        if output is not None:
            _write(output, text)
    except OSError as error:
        _fail(context, file, [f"{output}: cannot be written: {error.strerror}"], as_json)
    _print(file, compilation, text, output, as_json)
    context.exit(EXIT_WIDER if compilation.wider else EXIT_OK)


def _fail(context: click.Context, file: Path, problems: list[str], as_json: bool) -> NoReturn:
    print_problems(problems)
    if as_json:
        print_json({"file": str(file), "ok": False, "problems": [problem_as_json(each) for each in problems]})
    context.exit(EXIT_PROBLEMS)


def _compile(file: Path, table: str, lock: bool, reject: bool) -> Compilation:
    config, problems = read_config(file)
    assembly = check_config(config, problems)
    if lock:
        # Locked, such a listener could never be reached: the one case in which nothing would work.
        unknown = [each for each in assembly.listeners if any(port == 0 for _, port in each.addresses)]
        if unknown:
            raise ConfigError(
                [f"{each.source}: listener {each.name!r}: --lock wants a port number, not 0" for each in unknown]
            )
    return compile_accept(
        [AcceptListener(each.name, each.addresses, each.source) for each in assembly.listeners],
        accept_policies(assembly.chain.bindings, _options(assembly)),
        maximum_connections=assembly.limits.maximum_connections,
        table=table,
        lock=lock,
        reject=reject,
    )


def _options(assembly: Assembly) -> dict[str, Any]:
    return {
        each.config.id: each.found.factory.options.model_validate(each.config.options) for each in assembly.policies
    }


def _write(output: Path, text: str) -> None:
    """Replace the file as a whole: a boot that reads half a ruleset would load none."""
    descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, output)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _print(file: Path, compilation: Compilation, text: str, output: Path | None, as_json: bool) -> None:
    for title, lines in (
        ("wider", compilation.wider),
        ("narrower", compilation.narrower),
        ("note", compilation.notes),
    ):
        for line in lines:
            click.echo(f"{title}: {line}", err=True)
    if as_json:
        print_json(_as_json(file, compilation, text, output))
    elif output is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"{output}: written; load it as root with: nft -f {output}", err=True)


def _as_json(file: Path, compilation: Compilation, text: str, output: Path | None) -> dict[str, Any]:
    ruleset = compilation.ruleset
    return {
        "file": str(file),
        "ok": True,
        "table": ruleset.table,
        "chains": [each.name for each in ruleset.chains],
        "sets": [each.name for each in ruleset.address_sets] + [each.name for each in ruleset.counting_sets],
        "maps": [each.name for each in ruleset.verdict_maps],
        "wider": [problem_as_json(each) for each in compilation.wider],
        "narrower": [problem_as_json(each) for each in compilation.narrower],
        "notes": [problem_as_json(each) for each in compilation.notes],
        "output": None if output is None else str(output),
        "ruleset": text if output is None else None,
    }


# What the kernel holds


def _compare(compilation: Compilation, as_json: bool) -> int:
    table = compilation.ruleset.table
    try:
        listing = _listing(table)
        found = {} if listing is None else contents_of_kernel(listing)
    except (KernelUnknownError, ValueError) as error:
        click.echo(str(error), err=True)
        if as_json:
            print_json({"table": table, "equal": None, "error": str(error)})
        return EXIT_UNKNOWN
    lines = differences(contents_of_ruleset(compilation.ruleset), found)
    if as_json:
        print_json({"table": table, "loaded": listing is not None, "equal": not lines, "differences": lines})
    elif listing is None:
        click.echo(f"table inet {table} is not loaded; write it with --output FILE and load it with: nft -f FILE")
    else:
        for line in lines:
            click.echo(line)
        click.echo("they differ: + is in the file alone, - in the kernel alone" if lines else "the kernel holds this")
    return EXIT_DIFFERENT if lines else EXIT_OK


def _listing(table: str) -> str | None:
    """What nft says the table holds; None where there is no such table.

    Raises:
        KernelUnknownError: it cannot be told.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ADMINISTRATION))
    program = shutil.which("nft", path=path)
    if program is None:
        raise KernelUnknownError("nft is not installed; install the package nftables, on the broker's own machine")
    arguments = [program, "-j", "list", "table", "inet", table]
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        # No shell, and the name of the table has been checked.
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=_PATIENCE, env=environment)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise KernelUnknownError(f"{program} did not answer: {error}") from error
    if done.returncode == 0:
        return done.stdout
    if "No such file or directory" in done.stderr:
        return None
    if "not permitted" in done.stderr or "must be root" in done.stderr:
        raise KernelUnknownError("only root may see the kernel's rules; run: sudo mqttsecure policy nft --diff FILE")
    raise KernelUnknownError(f"{program} failed with exit code {done.returncode}: {done.stderr.strip()}")
