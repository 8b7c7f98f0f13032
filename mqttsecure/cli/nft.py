# -*- test-case-name: tests.cli.test_nft -*-
"""``mqttsecure policy nft``: the ACCEPT stage as a firewall of the kernel."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from mqttsecure.cli.nft_kernel import KernelUnknownError, listing_of_table
from mqttsecure.cli.output import EXIT_OK, EXIT_PROBLEMS, json_option, print_json, print_problems, problem_as_json
from mqttsecure.cli.running import request
from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.ban import BanPolicy
from mqttsecure.policy.builtin.ban_table import parse_moment
from mqttsecure.policy.builtin.networks import parse_network
from mqttsecure.policy.nft import DEFAULT_TABLE, Compilation
from mqttsecure.policy.nft_bans import LiveBans
from mqttsecure.policy.nft_listing import contents_of_kernel, contents_of_ruleset, differences, same_times
from mqttsecure.policy.nft_ruleset import Network, render, render_update
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.assembly import check as check_config
from mqttsecure.service.config import BrokerConfig, read_config
from mqttsecure.service.firewall import compile_firewall

__all__ = ["nft"]

EXIT_DIFFERENT: Final = 1
EXIT_WIDER: Final = 3
EXIT_UNKNOWN: Final = 4

_TABLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


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
@click.option("--live", is_flag=True, help="Take the bans from the running broker, not from the policy's file.")
@click.option("--bans-only", is_flag=True, help="Write the bans alone, for a table that is loaded; its counts stay.")
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
    live: bool,
    bans_only: bool,
    with_diff: bool,
    as_json: bool,
) -> None:
    """Compile the ACCEPT stage of the configuration FILE to a ruleset for nftables.

    The kernel then drops, for the listeners' ports, whom the broker would refuse: addresses, too many connections, too
    fast ones, and who is banned now. What cannot be compiled is left to the broker and told on stderr. Nothing is
    loaded.

    \b
    Examples:
      mqttsecure policy nft etc/broker.toml                      look at it
      mqttsecure policy nft etc/broker.toml -o broker.nft        then, as root: nft -f broker.nft
      mqttsecure policy nft --diff etc/broker.toml               is that what the kernel holds?
      mqttsecure policy nft --live --bans-only etc/broker.toml | nft -f -    bring the bans up to date, as root
      mqttsecure policy nft --json etc/broker.toml | jq .wider   what the kernel lets through and the broker refuses

    Exit codes: 0 the kernel decides as the broker does, or the kernel holds this ruleset (--diff); 1 the configuration
    has problems, or the kernel holds another ruleset; 2 the command line makes no sense; 3 the ruleset is made, and
    lets more through than the broker; 4 what the kernel holds cannot be told.
    """
    if with_diff and output is not None:
        raise click.UsageError("--diff writes no file; leave out --output")
    if with_diff and bans_only:
        raise click.UsageError("--diff compares the whole table; leave out --bans-only")
    try:
        compilation = _compile(file, table, lock=lock, reject=reject, live=live)
        if bans_only and not compilation.ruleset.timed_sets:
            raise ConfigError(f"{file}: no policy `ban` is on a listener, so there are no bans to write")
    except ConfigError as error:
        _fail(context, file, error.problems, as_json)
    if with_diff:
        context.exit(_compare(compilation, as_json))
    text = (
        render_update(compilation.ruleset, ["The bans alone, for a table that is loaded."])
        if bans_only
        else render(compilation.ruleset, compilation.comments())
    )
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


def _compile(file: Path, table: str, *, lock: bool, reject: bool, live: bool) -> Compilation:
    config, problems = read_config(file)
    assembly = check_config(config, problems)
    live_bans = _live_bans(config, assembly) if live else None
    return compile_firewall(assembly, table=table, lock=lock, reject=reject, live_bans=live_bans)


def _live_bans(config: BrokerConfig, assembly: Assembly) -> LiveBans:
    """What the running broker has banned, by policy.

    Raises:
        ConfigError: it cannot be asked.
    """
    if not any(isinstance(each.policy, BanPolicy) for each in assembly.chain.bindings):
        return {}
    if config.control is None:
        raise ConfigError(f'{config.path}: --live needs a control socket; add [control] with socket = "control"')
    answer = request(config.control, {"command": "bans"})
    found: dict[str, dict[Network, float | None]] = {}
    now = datetime.now(UTC)
    for each in answer["bans"]:
        bans = found.setdefault(str(each["policy"]), {})
        network = parse_network(each["address"])
        left, before = parse_moment(each["until"], 0.0, now), bans.get(network, 0.0)
        bans[network] = None if left is None or before is None else max(left, before)
    return found


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
        "sets": [
            *(each.name for each in ruleset.address_sets),
            *(each.name for each in ruleset.timed_sets),
            *(each.name for each in ruleset.counting_sets),
        ],
        "banned": sum(len(each.entries) for each in ruleset.timed_sets),
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
        listing = listing_of_table(table)
        found = {} if listing is None else contents_of_kernel(listing)
    except (KernelUnknownError, ValueError) as error:
        click.echo(str(error), err=True)
        if as_json:
            print_json({"table": table, "equal": None, "error": str(error)})
        return EXIT_UNKNOWN
    lines = differences(*same_times(contents_of_ruleset(compilation.ruleset), found))
    if as_json:
        print_json({"table": table, "loaded": listing is not None, "equal": not lines, "differences": lines})
    elif listing is None:
        click.echo(f"table inet {table} is not loaded; write it with --output FILE and load it with: nft -f FILE")
    else:
        for line in lines:
            click.echo(line)
        click.echo("they differ: + is in the file alone, - in the kernel alone" if lines else "the kernel holds this")
    return EXIT_DIFFERENT if lines else EXIT_OK
