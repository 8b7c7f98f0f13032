# -*- test-case-name: tests.lab.experiment.test_attacking -*-
"""The report of a lab as Markdown: verdicts, ladders, firewall, decisions, attacks, corrections of the old lab text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from mqttsecure.lab.experiment.record import LabRecord, RunRecord
from mqttsecure.lab.model import Connection

__all__ = ["markdown"]

_MOST_MESSAGES: Final = 200
"""Of one connection that are listed."""


def markdown(record: LabRecord) -> str:
    """The report."""
    return "\n".join(_lines(record)) + "\n"


def _lines(record: LabRecord) -> Iterator[str]:
    yield "# Lab report"
    yield ""
    for run in record.runs:
        yield from _run(run)
    if record.attacks:
        yield "## Attacks"
        yield ""
        for table in record.attacks:
            yield from _attacks(table)
    if record.decisions:
        yield from _decisions(record.decisions)
    yield from _corrections(record)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    names = list(columns)
    yield f"| {' | '.join(names)} |"
    yield f"|{' --- |' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""


def _run(run: RunRecord) -> Iterator[str]:
    summary = run.summary
    options = ", ".join(f"{name} {value}" for name, value in summary["options"].items() if value) or "as it comes"
    yield f"## Run {run.number}: {options}"
    yield ""
    yield f"{summary['time']}, {len(summary['published'])} messages published, {len(summary['received'])} received, "
    yield f"{run.reading.frames} frames. A password is {'' if summary['password_visible'] else 'not '}readable in them."
    yield ""
    for failure in summary["failures"].items():
        yield f"- {failure[0]}: {failure[1]}"
    for tunnel in run.reading.tunnels:
        yield f"- {tunnel.text}"
    for connection in run.reading.connections:
        yield from _connection(connection)
    if summary["counters"]:
        yield "### Firewall"
        yield ""
        rows = [
            (each["chain"], each["comment"], each["verdict"], each["packets"], each["bytes"])
            for each in summary["counters"]
            if each["packets"]
        ]
        yield from _table(("chain", "rule", "verdict", "packets", "bytes"), rows)


def _connection(connection: Connection) -> Iterator[str]:
    yield f"### {connection.client} to {connection.server}"
    yield ""
    yield f"**{connection.verdict.text}**"
    yield ""
    trips = connection.round_trips
    if trips is not None:
        yield f"{trips.total} round trips before the first byte of MQTT ({trips.tcp} of TCP, {trips.tls} of TLS)."
        yield ""
    for finding in connection.verdict.findings:
        yield f"- {finding.severity}: {finding.text}"
    yield ""
    start = connection.start
    rows = [
        (
            f"{(each.time - start) * 1000:.1f} ms",
            each.sender,
            each.name,
            "encrypted" if each.encrypted else "readable",
            each.value,
        )
        for each in connection.messages[:_MOST_MESSAGES]
    ]
    yield from _table(("time", "from", "message", "on the wire", "what it says"), rows)


def _attacks(table: dict[str, Any]) -> Iterator[str]:
    yield f"### {table['target']}, {table['time']}"
    yield ""
    rows = [(each["row"], each["attack"], each["outcome"], each["seen"], each["required"]) for each in table["results"]]
    yield from _table(("row", "attack", "outcome", "what was seen", "a secure one"), rows)


def _decisions(decisions: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Denials"
    yield ""
    counted = Counter(
        (each.get("stage", ""), each.get("policy") or "default deny", each.get("line") or "", each.get("text", ""))
        for each in decisions
    )
    rows = [(*key, count) for key, count in counted.most_common()]
    yield from _table(("stage", "policy", "line of the policy", "why", "times"), rows)


def _corrections(record: LabRecord) -> Iterator[str]:
    found = {}
    for run in record.runs:
        for connection in run.reading.connections:
            for each in connection.corrections:
                if each.row not in found or each.here:
                    found[each.row] = each
    if found:
        yield "## What the old lab text says, and what the wire says"
        yield ""
        rows = [(each.row, each.said, each.wire, each.here) for _, each in sorted(found.items())]
        yield from _table(("row", "the text", "the wire", "here"), rows)
