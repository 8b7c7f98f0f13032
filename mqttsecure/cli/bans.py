# -*- test-case-name: tests.cli.test_bans -*-
"""``mqttsecure bans``, and ``block``, ``unblock`` and ``blocked`` of ``mqttsecure clients``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mqttsecure.cli.output import json_option, print_json, print_table
from mqttsecure.cli.running import ask_broker, clients, which_broker
from mqttsecure.service.quantities import format_duration, parse_duration

__all__ = ["bans"]


def _seconds_of(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A time such as 90, 30m or 7d, as seconds."""
    if value is None:
        return None
    try:
        return parse_duration(float(value) if value.isdecimal() else value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_for = click.option(
    "--for",
    "seconds",
    metavar="TIME",
    callback=_seconds_of,
    help="How long, such as 30m, 2h or 7d; without it, for good.",
)
_note = click.option("--note", default="", help="Why, for those who look at the list later.")
_user = click.option("--user", is_flag=True, help="NAME is a user, written authority:name.")


@click.group()
def bans() -> None:
    """List, make and lift bans of addresses at the running broker. It needs a policy `ban`.

    \b
    Examples:
      mqttsecure bans list --config etc/broker.toml
      mqttsecure bans add 192.0.2.7 --for 1h --note "port scans" --config etc/broker.toml
      mqttsecure bans remove 192.0.2.7 --config etc/broker.toml

    Exit codes: 0 done, 1 refused or the broker is not reached, 2 the command line makes no sense.
    """


@bans.command("list")
@which_broker
@json_option
@click.pass_context
def list_(context: click.Context, config: Path | None, path: Path | None, as_json: bool) -> None:
    """List the addresses that are banned, and the clients that have to wait after wrong attempts.

    \b
    Examples:
      mqttsecure bans list --config etc/broker.toml
      mqttsecure bans list -c etc/broker.toml --json | jq -r '.bans[].address'

    Exit codes: 0 done, 1 there is no policy that bans or the broker is not reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "bans")
    if as_json:
        print_json(answer)
        return
    rows = [
        [each["address"], each["until"] or "lifted", each["why"], each["note"], each["policy"]]
        for each in answer["bans"]
    ]
    print_table(f"{len(rows)} banned", ["address", "until", "why", "note", "policy"], rows)
    if answer["total_waiting"]:
        rows = [
            [each["address"], each["username"] or "-", each["client_id"] or "any", f"{each['seconds_left']:.0f} s"]
            for each in answer["waiting"]
        ]
        print_table(f"{answer['total_waiting']} have to wait", ["address", "user", "client id", "for"], rows)


@bans.command()
@click.argument("address")
@_for
@_note
@which_broker
@json_option
@click.pass_context
def add(
    context: click.Context,
    address: str,
    seconds: float | None,
    note: str,
    config: Path | None,
    path: Path | None,
    as_json: bool,
) -> None:
    """Ban ADDRESS, or a prefix; live connections from there end. One IPv6 address stands for its /64.

    \b
    Examples:
      mqttsecure bans add 192.0.2.7 --for 1h --config etc/broker.toml
      mqttsecure bans add 2001:db8:bad::/48 --note "port scans" -c etc/broker.toml

    Exit codes: 0 banned, and on disk where the policy has a file; 1 refused, not written or not reached; 2 the command
    line makes no sense.
    """
    answer = ask_broker(context, config, path, "ban", address=address, seconds=seconds, note=note)
    if as_json:
        print_json(answer)
        return
    click.echo(f"{answer['address']} is banned {_how_long(answer['seconds'])}{_kept(answer)}")


@bans.command()
@click.argument("address")
@which_broker
@json_option
@click.pass_context
def remove(context: click.Context, address: str, config: Path | None, path: Path | None, as_json: bool) -> None:
    """Lift the bans of ADDRESS, or of all under a prefix, and forget the strikes of that address.

    \b
    Examples:
      mqttsecure bans remove 192.0.2.7 --config etc/broker.toml
      mqttsecure bans remove 192.0.2.0/24 -c etc/broker.toml

    Exit codes: 0 lifted, 1 nothing was banned there or the broker is not reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "unban", address=address)
    if as_json:
        print_json(answer)
        return
    click.echo(f"{answer['address']} may come again{_kept(answer)}")


@clients.command()
@click.argument("name")
@_user
@_for
@_note
@which_broker
@json_option
@click.pass_context
def block(
    context: click.Context,
    name: str,
    user: bool,
    seconds: float | None,
    note: str,
    config: Path | None,
    path: Path | None,
    as_json: bool,
) -> None:
    """Keep out the Client Identifier NAME, or a user; live connections end, and it survives a restart.

    It needs a policy `block-list`.

    \b
    Examples:
      mqttsecure clients block press-7 --for 2h --note "sends nonsense" --config etc/broker.toml
      mqttsecure clients block --user lab:mallory -c etc/broker.toml

    Exit codes: 0 blocked and on disk; 1 refused, not written or not reached; 2 the command line makes no sense.
    """
    kind = "user" if user else "client"
    answer = ask_broker(context, config, path, "block", kind=kind, name=name, seconds=seconds, note=note)
    if as_json:
        print_json(answer)
        return
    ended = answer["connections"]
    click.echo(
        f"the {kind} {name} is blocked {_how_long(answer['seconds'])}; "
        + (f"{ended} live {'connections end' if ended > 1 else 'connection ends'}" if ended else "it was not connected")
    )


@clients.command()
@click.argument("name")
@_user
@which_broker
@json_option
@click.pass_context
def unblock(
    context: click.Context, name: str, user: bool, config: Path | None, path: Path | None, as_json: bool
) -> None:
    """Let the Client Identifier NAME, or a user, in again.

    \b
    Examples:
      mqttsecure clients unblock press-7 --config etc/broker.toml
      mqttsecure clients unblock --user lab:mallory -c etc/broker.toml

    Exit codes: 0 done, 1 it is not blocked or the broker is not reached, 2 the command line makes no sense.
    """
    kind = "user" if user else "client"
    answer = ask_broker(context, config, path, "unblock", kind=kind, name=name)
    if as_json:
        print_json(answer)
        return
    click.echo(f"the {kind} {name} may come again")


@clients.command()
@which_broker
@json_option
@click.pass_context
def blocked(context: click.Context, config: Path | None, path: Path | None, as_json: bool) -> None:
    """List the Client Identifiers and users that are blocked.

    \b
    Example:
      mqttsecure clients blocked --config etc/broker.toml

    Exit codes: 0 done, 1 no policy blocks names or the broker is not reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "blocked")
    if as_json:
        print_json(answer)
        return
    rows = [[each["kind"], each["name"], each["until"] or "unblocked", each["note"]] for each in answer["blocked"]]
    print_table(f"{len(rows)} blocked", ["kind", "name", "until", "note"], rows)


def _how_long(seconds: float | None) -> str:
    return "for good" if seconds is None else f"for {format_duration(seconds)}"


def _kept(answer: dict[str, Any]) -> str:
    return "" if answer["kept"] else ", until the broker ends: give its policy a `file` to keep it over a restart"
