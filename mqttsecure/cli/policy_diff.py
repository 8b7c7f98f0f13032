# -*- test-case-name: tests.cli.test_policy_diff -*-
"""``mqttsecure policy diff``: who gains and loses what from one configuration to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mqttsecure.cli.offline import assemble
from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.cli.replay_output import print_replay, replay_as_json
from mqttsecure.errors import ConfigError
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.audit_reading import AuditReader
from mqttsecure.service.differences import Change, Differences, differences
from mqttsecure.service.replay import Replay, replay

__all__ = ["diff_policies"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("diff")
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option("--audit", type=_FILE, help="An audit log: also put the decisions recorded there to both.")
@json_option
@click.pass_context
def diff_policies(context: click.Context, /, old: Path, new: Path, audit: Path | None, as_json: bool) -> None:
    """Tell who gains and who loses what from the configuration OLD to NEW, each with a topic that shows it.

    It is decided for all topics by what policies say they grant, for each user that is known or named, for the groups,
    and for anyone else. What was changed beside the rules is told in words, and so is what could not be compared.

    With --audit the decisions of that audit log (and of the files put aside beside it) are put to both configurations:
    what was really asked and would be answered differently. Secrets are not in it, and passwords are taken as right.

    \b
    Examples:
      mqttsecure policy diff etc/broker.toml next.toml
      mqttsecure policy diff etc/broker.toml next.toml --audit /var/log/mqttsecure/audit.jsonl
      mqttsecure policy diff etc/broker.toml next.toml --json | jq '.changes[] | select(.gained)'

    Exit codes: 0 compared, with or without differences, 1 a configuration or the audit log cannot be used, 2 the
    command line makes no sense.
    """
    assemblies: list[Assembly] = []
    problems: list[str] = []
    for file in (old, new):
        try:
            assemblies.append(assemble(file))
        except ConfigError as error:
            problems += error.problems
    replayed: Replay | None = None
    reader = None if audit is None else AuditReader(audit)
    if reader is not None and not problems:
        try:
            before, after = assemblies
            replayed = replay(before, after, reader.records())
        except ConfigError as error:
            problems += error.problems
    if problems:
        print_problems(problems)
        context.exit(EXIT_PROBLEMS)
    found = differences(*assemblies)
    if as_json:
        print_json(_as_json(found) | ({} if replayed is None else {"replay": replay_as_json(replayed)}))
    else:
        _print(found)
        if replayed is not None and reader is not None:
            print_replay(replayed, reader)
    context.exit(0)


def _print(found: Differences) -> None:
    for gained, title in ((True, "gained"), (False, "lost")):
        changes = [change for change in found.changes if change.gained is gained]
        if changes:
            click.echo(f"{title}:")
        for change in changes:
            click.echo(f"  {_line(change)}")
    if not found.changes:
        click.echo("nobody gains or loses a topic")
    for title, lines in (("changed:", found.words), ("not compared, or not in full:", found.notes)):
        if lines:
            click.echo(title)
        for line in lines:
            click.echo(f"  {line}")


def _line(change: Change) -> str:
    when = f" at {', '.join(change.when)}" if change.when else ""
    where = f" on {', '.join(change.listeners)}" if change.listeners else ""
    sure = "" if change.certain else " (perhaps)"
    place = f" [{change.source}]" if change.source else ""
    what = f"{change.action.value} {change.topic_filter}, as {change.topic}"
    return f"{change.who}: {what}{when}{where}{sure}, by {change.policy}/{change.rule}{place}"


def _as_json(found: Differences) -> dict[str, Any]:
    return {
        "changes": [
            {
                "who": change.who,
                "gained": change.gained,
                "action": change.action.value,
                "filter": change.topic_filter,
                "topic": change.topic,
                "policy": change.policy,
                "rule": change.rule,
                "source": None if change.source is None else {"file": change.source.file, "line": change.source.line},
                "listeners": list(change.listeners),
                "when": list(change.when),
                "certain": change.certain,
            }
            for change in found.changes
        ],
        "words": list(found.words),
        "notes": list(found.notes),
    }
