# -*- test-case-name: tests.cli.test_running -*-
"""``mqttsecure status``, ``reload`` and ``clients``: talk to the running broker over its control socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems, print_table
from mqttsecure.errors import ConfigError
from mqttsecure.service.config import read_config
from mqttsecure.service.unix_address import unix_address

__all__ = ["ask_broker", "clients", "reload", "request", "socket_of", "status", "which_broker"]

_PATIENCE: Final = 60.0
"""Seconds to wait for an answer: a reload reads files and judges everything again."""

_F = TypeVar("_F", bound=Callable[..., Any])


def which_broker(command: _F) -> _F:
    """The options that say which broker is meant."""
    config = click.option(
        "--config",
        "-c",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The broker's configuration, whose [control] socket is used.",
    )
    path = click.option("--socket", "path", type=click.Path(path_type=Path), help="The control socket itself.")
    return path(config(command))


def in_namespace(command: _F) -> _F:
    """The option that says in which namespace a client is."""
    return click.option("--namespace", default="", help="The client's namespace, where it is not the default one.")(
        command
    )


def ask_broker(context: click.Context, config: Path | None, path: Path | None, command: str, **options: Any) -> Any:
    """Ask the broker; ends the command with 1 where it cannot be reached or says no."""
    try:
        return request(socket_of(config, path), {"command": command, **options})
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)


def socket_of(config: Path | None, path: Path | None) -> Path:
    """The control socket of that broker.

    Raises:
        ConfigError: it has none.
    """
    if path is not None:
        return path
    if config is None:
        raise click.UsageError("say which broker: --config FILE or --socket PATH")
    found, problems = read_config(config)
    if found.control is None:
        problems.raise_if_any()
        raise ConfigError(f'{config}: no control socket is configured; add [control] with socket = "control"')
    return found.control


def request(path: Path, question: dict[str, Any]) -> Any:
    """What the broker answers.

    Raises:
        ConfigError: it cannot be reached, or says no.
    """
    try:
        with unix_address(path) as address, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(address)
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = _answer(path, lines.readline())
    except FileNotFoundError:
        raise ConfigError(f"there is no socket {path}; is the broker running with this configuration?") from None
    except PermissionError:
        raise ConfigError(f"{path} is for the user that runs the broker; run this as that user") from None
    except ConnectionRefusedError:
        raise ConfigError(f"nobody listens on {path}; the broker is not running") from None
    except TimeoutError:
        raise ConfigError(f"no answer on {path} within {_PATIENCE:g} s") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not answer.get("ok"):
        raise ConfigError(answer.get("problems") or "the broker gave no reason")
    return answer.get("result")


def _answer(path: Path, line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise ConfigError(f"{path}: the broker ended before it had answered; its log has more")
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ConfigError(f"{path}: what answers there is no broker of this version")
    return answer


@click.command()
@which_broker
@json_option
@click.option("--prometheus", is_flag=True, help="Print the figures in Prometheus' text format.")
@click.pass_context
def status(context: click.Context, config: Path | None, path: Path | None, as_json: bool, prometheus: bool) -> None:
    """Tell whether the broker serves, by which policy version, and its counters.

    \b
    Examples:
      mqttsecure status --config etc/broker.toml
      mqttsecure status --socket /run/mqttsecure/control --prometheus
      mqttsecure status -c etc/broker.toml --json | jq .counters.messages_received

    Exit codes: 0 it serves, 1 it does not or cannot be reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "status")
    if prometheus:
        click.echo(_prometheus(answer), nl=False)
    elif as_json:
        print_json(answer)
    else:
        click.echo(f"{'serving' if answer['ready'] else 'stopping'}, policy version {answer['policy_version']}")
        click.echo(f"config {answer['config']}, process {answer['pid']}, listeners {', '.join(answer['listeners'])}")
        rows = [
            [name.replace("_", " "), f"{value:,}"] for name, value in (answer["gauges"] | answer["counters"]).items()
        ]
        print_table("Figures", ["what", "value"], rows)
    if not answer["ready"]:
        context.exit(EXIT_PROBLEMS)


def _prometheus(answer: dict[str, Any]) -> str:
    lines = [
        "# TYPE mqttsecure_ready gauge",
        f"mqttsecure_ready {int(answer['ready'])}",
        "# TYPE mqttsecure_policy_version gauge",
        f"mqttsecure_policy_version {answer['policy_version']}",
    ]
    for name, value in answer["gauges"].items():
        lines += [f"# TYPE mqttsecure_{name} gauge", f"mqttsecure_{name} {value}"]
    for name, value in answer["counters"].items():
        lines += [f"# TYPE mqttsecure_{name}_total counter", f"mqttsecure_{name}_total {value}"]
    return "\n".join(lines) + "\n"


@click.command()
@which_broker
@json_option
@click.pass_context
def reload(context: click.Context, config: Path | None, path: Path | None, as_json: bool) -> None:
    """Put the changed configuration of the running broker in force: all of it, or nothing.

    With any mistake the broker keeps what it had, and the mistakes are told here. Policies, users, rules,
    certificates, revocation lists and limits change at once, and every live connection and subscription is judged
    by them; what needs a restart is named.

    \b
    Examples:
      mqttsecure check etc/broker.toml && mqttsecure reload --config etc/broker.toml

    Exit codes: 0 in force, 1 refused or not reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "reload")
    if as_json:
        print_json(answer)
        return
    click.echo(
        f"policy version {answer['policy_version']} is in force; "
        f"all that lives was judged again within {answer['rejudged_seconds']:.3f} s"
    )
    for note in answer["notes"]:
        click.echo(note)


@click.group()
def clients() -> None:
    """List the clients of the running broker, look at one, or disconnect it.

    \b
    Examples:
      mqttsecure clients list --config etc/broker.toml
      mqttsecure clients show alice-sub --config etc/broker.toml
      mqttsecure clients gone --config etc/broker.toml

    Exit codes: 0 done, 1 not reached or no such client, 2 the command line makes no sense.
    """


@clients.command("list")
@click.argument("match", default="")
@which_broker
@json_option
@click.pass_context
def list_(context: click.Context, match: str, config: Path | None, path: Path | None, as_json: bool) -> None:
    """List sessions, connected or not; with MATCH those whose identifier, principal or address contains it.

    \b
    Examples:
      mqttsecure clients list --config etc/broker.toml
      mqttsecure clients list alice -c etc/broker.toml --json

    Exit codes: 0 done, 1 not reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "clients", match=match)
    if as_json:
        print_json(answer)
        return
    columns = ["client_id", "principal", "connected", "peer", "listener", "version"]
    if any(row["namespace"] for row in answer["clients"]):
        columns.insert(1, "namespace")
    rows = [[_word(row[column]) for column in columns] for row in answer["clients"]]
    print_table(f"{answer['total']} clients", [column.replace("_", " ") for column in columns], rows)


@clients.command("gone")
@which_broker
@json_option
@click.pass_context
def gone_(context: click.Context, config: Path | None, path: Path | None, as_json: bool) -> None:
    """List principals whom nobody would let in any more, and what they still have in the broker.

    A deleted user's sessions, and the messages that wait for it or that it retained, stay until their time is over.
    Of a policy that cannot say whom it lets in, such as `http`, nobody counts as gone.

    \b
    Examples:
      mqttsecure clients gone --config etc/broker.toml

    Exit codes: 0 done, 1 not reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "gone")
    if as_json:
        print_json(answer)
        return
    columns = ["principal", "why", "sessions", "subscriptions", "queued_bytes", "retained_messages", "retained_bytes"]
    rows = [[_word(row[column]) for column in columns] for row in answer["gone"]]
    print_table(f"{answer['total']} principals are gone", [column.replace("_", " ") for column in columns], rows)


@clients.command()
@click.argument("client_id")
@in_namespace
@which_broker
@json_option
@click.pass_context
def show(
    context: click.Context, client_id: str, namespace: str, config: Path | None, path: Path | None, as_json: bool
) -> None:
    """Show one client: who it is, what it may do, what waits for it, and what it was last denied.

    \b
    Examples:
      mqttsecure clients show alice-sub --config etc/broker.toml

    Exit codes: 0 done, 1 there is no such client or the broker is not reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "client", client_id=client_id, namespace=namespace)
    if as_json:
        print_json(answer)
        return
    print_table(
        client_id, ["what", "value"], [[name.replace("_", " "), _text(value)] for name, value in answer.items()]
    )


@clients.command()
@click.argument("client_id")
@in_namespace
@which_broker
@json_option
@click.pass_context
def disconnect(
    context: click.Context, client_id: str, namespace: str, config: Path | None, path: Path | None, as_json: bool
) -> None:
    """Disconnect a client (0x98, Administrative action). It may come back unless a policy keeps it out.

    \b
    Examples:
      mqttsecure clients disconnect alice-sub --config etc/broker.toml

    Exit codes: 0 done, 1 it is not connected or the broker is not reached, 2 the command line makes no sense.
    """
    answer = ask_broker(context, config, path, "disconnect", client_id=client_id, namespace=namespace)
    if as_json:
        print_json(answer)
        return
    click.echo(f"{answer['client_id']} is disconnected")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(_text(each) for each in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_word(each)}" for name, each in value.items() if each not in (None, "")) or "-"
    return _word(value)
