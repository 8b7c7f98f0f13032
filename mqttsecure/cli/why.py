# -*- test-case-name: tests.cli.test_why -*-
"""``mqttsecure why``: what is wrong with this client, and what helps; for three in the morning."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from mqttsecure.cli.offline import assemble, config_option
from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.cli.running import request
from mqttsecure.cli.trace_output import plain, print_lines
from mqttsecure.errors import ConfigError
from mqttsecure.service.assembly import Assembly
from mqttsecure.service.audit_reading import AuditReader
from mqttsecure.service.config import BrokerConfig, read_config
from mqttsecure.service.finding import Finding
from mqttsecure.service.findings import Findings, find_causes
from mqttsecure.service.live_findings import Live
from mqttsecure.service.quantities import parse_duration

__all__ = ["why"]

EXIT_CAUSE: Final = 3
"""A cause was found."""

EXIT_UNKNOWN: Final = 4
"""Nothing is known of such a client."""

_MAXIMUM_SHOWN: Final = 10
"""Causes told to people; who asks for JSON gets all."""

_LONGEST: Final = 10 * 366 * 86_400.0
"""Seconds: further back no clock can be asked."""


def _since(_: click.Context, __: click.Parameter, value: str) -> timedelta:
    try:
        return timedelta(seconds=min(parse_duration(value), _LONGEST))
    except (ValueError, TypeError) as error:
        raise click.BadParameter(f"{error}") from error


@click.command()
@click.argument("who")
@config_option
@click.option("--since", default="24h", callback=_since, help="How far back to look; default: 24h.")
@json_option
@click.pass_context
def why(context: click.Context, who: str, config: Path, since: timedelta, as_json: bool) -> None:
    """Tell what is wrong with WHO: a Client Identifier, a user, a principal or an address.

    From the audit log and, where it runs, the broker: failed TLS handshakes, denials, bans, throttling, lost messages,
    ends of connections, certificates that run out, messages that nobody subscribes to. The most probable cause comes
    first, each with the line of the configuration and what helps.

    \b
    Examples:
      mqttsecure why pump-7 --config etc/broker.toml
      mqttsecure why 10.0.0.7 --since 1h --config etc/broker.toml
      mqttsecure why alice -c etc/broker.toml --json | jq '.causes[0].mend'

    Exit codes: 0 nothing is wrong with it, 1 a problem told on stderr, 2 the command line makes no sense, 3 a cause was
    found, 4 nothing is known of such a client.
    """
    try:
        told = _Told(config)
        found = told.find(who, since)
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    if as_json:
        print_json(_as_json(who, found, told))
    else:
        print_lines(_lines(who, found, told, config))
    if not found.seen:
        context.exit(EXIT_UNKNOWN)
    context.exit(EXIT_CAUSE if any(each.weight > 0 for each in found.causes) else 0)


class _Told:
    """Where the answer comes from, and what could not be asked.

    Raises:
        ConfigError: the configuration cannot be read, or has neither audit log nor control socket.
    """

    def __init__(self, config: Path) -> None:
        self._path = config
        self.config: BrokerConfig
        self.config, problems = read_config(config)
        if self.config.audit is None and self.config.control is None:
            problems.raise_if_any()
            raise ConfigError(
                f"{config}: neither an audit log nor a control socket is configured; add [audit] with "
                'file = "audit.jsonl" and [control] with socket = "control"'
            )
        self.reader = None if self.config.audit is None else AuditReader(self.config.audit.file)
        self.notes: list[str] = []
        if self.reader is None:
            self.notes.append("no audit log is configured ([audit] file), so that nothing of the past is known")

    def find(self, who: str, since: timedelta) -> Findings:
        """All causes.

        Raises:
            ConfigError: the audit log is there and cannot be read, or neither it nor the broker answers.
        """
        answer = self._ask_broker(who)
        now = datetime.now(UTC)
        records = () if self.reader is None else self.reader.records()
        live = Live(answer["clients"], answer["unheard"], answer["kept_out"])
        return find_causes(who, now - since, now, records, live, self.config, self._assembly())

    def _ask_broker(self, who: str) -> dict[str, list[dict[str, Any]]]:
        nothing: dict[str, list[dict[str, Any]]] = {"clients": [], "unheard": [], "kept_out": []}
        if self.config.control is None:
            self.notes.append("no control socket is configured ([control] socket), so that the broker was not asked")
            return nothing
        try:
            answer: dict[str, list[dict[str, Any]]] = request(self.config.control, {"command": "watch", "who": who})
        except ConfigError as error:
            if self.reader is None:
                raise
            self.notes.append(f"the broker does not answer: {error.problems[0]}")
            return nothing
        return answer

    def _assembly(self) -> Assembly | None:
        try:
            return assemble(self._path)
        except ConfigError as error:
            self.notes.append(f"the configuration cannot be used as it is now: {error.problems[0]}")
            return None


def _lines(who: str, found: Findings, told: _Told, config: Path) -> list[Text]:
    lines: list[Text] = []
    if not found.seen:
        lines.append(
            Text(plain(f"nothing is known of {who!r}: it has not got as far as this broker, or not by this name"))
        )
        lines.append(Text("  try its address, or a longer --since; is it the right host and port? listeners:"))
        lines += [
            Text(f"  {each.name} {', '.join(f'{host}:{port}' for host, port in each.addresses)}")
            for each in told.config.listeners
        ]
    elif not any(each.weight > 0 for each in found.causes):
        lines.append(Text(plain(f"nothing is wrong with {who!r}"), "bold green"))
    lines += [Text(plain(_client_line(client))) for client in found.clients[:_MAXIMUM_SHOWN]]
    for number, cause in enumerate(found.causes[:_MAXIMUM_SHOWN], 1):
        lines += [Text(), *_cause_lines(number, cause, config)]
    if len(found.causes) > _MAXIMUM_SHOWN:
        lines.append(Text(f"and {len(found.causes) - _MAXIMUM_SHOWN} more; --json has all"))
    return [*lines, Text(), *(Text(plain(line), "dim") for line in _looked_at(told))]


def _client_line(client: dict[str, Any]) -> str:
    state = f"connected for {client['connected_seconds']:.1f} s" if client["connected"] else "not connected"
    return f"{client['client_id']!r} of {client['principal']} from {client['peer']} on {client['listener']}: {state}"


def _cause_lines(number: int, cause: Finding, config: Path) -> list[Text]:
    head = Text(f"{number}. ")
    head.append(plain(cause.cause), "bold red" if cause.weight else "dim")
    lines = [head]
    times = f"{cause.count} times, last {cause.last}" if cause.count > 1 else cause.last
    if times:
        lines.append(Text(f"   when: {times}"))
    if not cause.weight:
        over = "somebody subscribes to it now" if cause.kind == "unheard" else "the client has come in since"
        lines.append(Text(f"   over: {over}", "dim"))
    elif not cause.sure:
        lines.append(Text("   perhaps: it came from an address that the client has had, too", "yellow"))
    if cause.source:
        lines.append(Text(plain(f"   line: {cause.source}")))
    if cause.today:
        lines.append(Text(plain(f"   now:  {cause.today}")))
    if cause.mend:
        line = Text("   mend: ")
        line.append(plain(cause.mend), "cyan")
        lines.append(line)
    if cause.decision:
        command = f"mqttsecure explain --id {shlex.quote(cause.decision)} --config {shlex.quote(str(config))}"
        lines.append(Text(plain(f"   see:  {command}")))
    return lines


def _looked_at(told: _Told) -> list[str]:
    lines = []
    if told.reader is not None:
        since = f" from {told.reader.since} on" if told.reader.since else ""
        spoiled = f", {told.reader.unreadable} of them unreadable" if told.reader.unreadable else ""
        lines.append(f"looked at {told.reader.read} records{since}{spoiled}")
    return [*lines, *(f"note: {note}" for note in told.notes)]


def _as_json(who: str, found: Findings, told: _Told) -> dict[str, Any]:
    reader = told.reader
    return {
        "who": who,
        "seen": found.seen,
        "causes": [
            {
                "kind": each.kind,
                "cause": each.cause,
                "mend": each.mend or None,
                "source": each.source,
                "count": each.count,
                "first": each.first or None,
                "last": each.last or None,
                "decision": each.decision,
                "today": each.today,
                "over": each.weight == 0,
                "sure": each.sure,
            }
            for each in found.causes
        ],
        "clients": found.clients,
        "records": None
        if reader is None
        else {"read": reader.read, "unreadable": reader.unreadable, "since": reader.since or None},
        "notes": told.notes,
    }
