# -*- test-case-name: tests.cli.test_policy_replay -*-
"""How it is shown which recorded decisions would come out differently."""

from __future__ import annotations

from typing import Any, Final

import click

from mqttsecure.cli.trace_output import plain
from mqttsecure.policy.trace import Explanation
from mqttsecure.service.audit_reading import AuditReader
from mqttsecure.service.replay import Replay, Replayed
from mqttsecure.service.trace_json import explanation_as_json

__all__ = ["print_replay", "replay_as_json"]

_MAXIMUM_SHOWN: Final = 200
"""Changes told to people; who asks for JSON gets all."""


def print_replay(found: Replay, reader: AuditReader) -> None:
    """For people."""
    since = f" from {reader.since} on" if reader.since else ""
    click.echo(f"of {found.compared} recorded decisions{since}, would be answered differently: {_sum(found.changes)}")
    for gained, title in ((True, "permitted by NEW:"), (False, "denied by NEW:")):
        changes = [change for change in found.changes if change.gained is gained]
        if changes:
            click.echo(title)
        for change in changes[:_MAXIMUM_SHOWN]:
            click.echo(plain(f"  {_line(change)}"))
        if len(changes) > _MAXIMUM_SHOWN:
            click.echo(f"  and {len(changes) - _MAXIMUM_SHOWN} more; --json has all")
    if found.not_compared:
        click.echo("recorded decisions that could not be compared:")
    for why, count in found.not_compared.most_common():
        click.echo(plain(f"  {count}: {why}"))
    if reader.unreadable:
        click.echo(f"lines of the audit log that are no record: {reader.unreadable}")


def _sum(changes: list[Replayed]) -> int:
    return sum(change.count for change in changes)


def _line(change: Replayed) -> str:
    record = change.record
    who = str(record.get("principal") or record.get("username") or "someone")
    client = f" as {record['client_id']!r}" if record.get("client_id") else ""
    what = str(record.get("stage"))
    if record.get("topic"):
        what = f"{record.get('action')} {record['topic']} qos {record.get('qos', 0)}"
    times = f", {change.count} times" if change.count > 1 else ""
    decision = f", decision {record['decision']}" if record.get("decision") else ""
    return f"{who}{client}: {what} [old: {_by(change.old)}; new: {_by(change.new)}]{times}{decision}"


def _by(explanation: Explanation) -> str:
    verdict = explanation.verdict
    by = f"by {verdict.policy}" if verdict.policy else "by default"
    rule = f"/{verdict.rule}" if verdict.rule else ""
    place = f" {verdict.source}" if verdict.source else ""
    return f"{explanation.outcome.value} {by}{rule}{place}"


def replay_as_json(found: Replay) -> dict[str, Any]:
    """For programs."""
    return {
        "compared": found.compared,
        "changes": [
            {
                "gained": change.gained,
                "count": change.count,
                "record": dict(change.record),
                "old": explanation_as_json(change.old),
                "new": explanation_as_json(change.new),
            }
            for change in found.changes
        ],
        "not_compared": dict(found.not_compared),
    }
