# -*- test-case-name: tests.cli.test_lab -*-
"""``mqttsecure lab``: the whole experiment on one machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from mqttsecure.cli.lab_attack import attack_, check_
from mqttsecure.cli.lab_options import FOLDER, tells_problems
from mqttsecure.cli.lab_report import report
from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_table
from mqttsecure.errors import LabError
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.preparing import prepare
from mqttsecure.lab.experiment.setting import running, set_up, take_down
from mqttsecure.lab.experiment.traffic import CAPTURE, RUN, RunOptions, run_traffic
from mqttsecure.lab.network.machine import examine
from mqttsecure.lab.network.plan import HOSTS, Mode
from mqttsecure.lab.network.processes import environment
from mqttsecure.pki.keys import DEFAULT_KIND, KEY_KINDS

__all__ = ["lab"]


@click.group()
def lab() -> None:
    """Do the whole experiment: a LAN, a secure broker, its clients, an attacker, a capture, a report.

    \b
    Examples:
      mqttsecure lab init mylab        first: policy, CA, certificates, users, keys of a tunnel
      mqttsecure lab up mylab          switch, broker, subscriber, publisher, mallory; firewall from the policy
      mqttsecure lab run mylab         traffic, captured with the keys inside
      mqttsecure lab attack mylab      what mallory can try, and what comes of it
      mqttsecure lab report mylab      all of it on one page
      mqttsecure lab down mylab        nothing is left behind

    \b
    Exit codes of all of them:
      0  done, nothing wrong
      1  something was found: a message was lost, an attack succeeded, a requirement is not met
      2  the command line makes no sense
      4  this machine or this lab does not let it; the mend is told on stderr
    """


@lab.command()
@FOLDER
@click.option(
    "--key", "kind", type=click.Choice(KEY_KINDS), default=DEFAULT_KIND, show_default=True, help="Kind of keys."
)
@json_option
@tells_problems
def init(folder: Path, kind: str, as_json: bool) -> None:
    """Prepare a lab in FOLDER: one policy, a CA, certificates for broker and devices, users, keys of a tunnel.

    \b
    Examples:
      mqttsecure lab init mylab
      mqttsecure lab init mylab --key rsa-3072

    Exit codes: 0 prepared, 2 the command line makes no sense, 4 the folder is not empty or cannot be written.
    """
    made = prepare(LabFolder.at(folder), datetime.now(UTC), kind=kind)
    if as_json:
        print_json(list(map(str, made)))
        return
    click.echo(f"prepared {folder}: policy broker.toml, CA ca/, certificates, users alice and bob, keys of a tunnel")
    click.echo(f"next: mqttsecure lab up {folder}")


@lab.command()
@FOLDER
@click.option("--vpn", is_flag=True, help="Broker and devices meet in a WireGuard tunnel, and only there.")
@click.option("--plaintext", is_flag=True, help="Also a listener without TLS, to see what can be read there.")
@click.option("--mode", type=click.Choice([each.value for each in Mode]), help="This way, and no other.")
@tells_problems
def up(folder: Path, vpn: bool, plaintext: bool, mode: str | None) -> None:
    """Bring the lab up: switch, hosts, firewall, tunnel, broker; all of it or nothing.

    The first way that works here is taken: network namespaces as root, network namespaces as an ordinary user,
    addresses of 127.0.0.0/8.

    \b
    Examples:
      mqttsecure lab up mylab
      mqttsecure lab up mylab --vpn
      mqttsecure lab up mylab --mode rootless

    Exit codes: 0 it is up, 2 the command line makes no sense, 4 it cannot be brought up, and nothing is left behind.
    """
    way = None if mode is None else Mode(mode)
    set_up(LabFolder.at(folder), vpn=vpn, plaintext=plaintext, wanted=way, tell=click.echo)
    click.echo(f"next: mqttsecure lab run {folder}")


@lab.command()
@FOLDER
@tells_problems
def down(folder: Path) -> None:
    """Take the lab down. Nothing is left behind, also after Ctrl-C or a crash; doing it twice does no harm.

    \b
    Examples:
      mqttsecure lab down mylab

    Exit codes: 0 it is down, 2 the command line makes no sense, 4 what was started cannot be told.
    """
    ended = take_down(LabFolder.at(folder))
    for each in ended:
        click.echo(f"ended: {each}")
    click.echo(f"the lab in {folder} is down" if ended else f"the lab in {folder} was not up")


@lab.command()
@json_option
@click.pass_context
@tells_problems
def doctor(context: click.Context, as_json: bool) -> None:
    """Tell what this machine can do for the lab, found out by doing it, and which way the lab takes here.

    \b
    Examples:
      mqttsecure lab doctor
      mqttsecure lab doctor --json | jq .mode

    Exit codes: 0 there is a LAN, 1 the lab has to do without one, 2 the command line makes no sense.
    """
    machine = examine()
    if as_json:
        rows = [{"name": each.name, "works": each.works, "detail": each.detail} for each in machine.abilities]
        print_json({"mode": machine.mode.value, "tunnel": machine.tunnel, "abilities": rows})
    else:
        rows_of = [[each.name, "yes" if each.works else "no", each.detail] for each in machine.abilities]
        print_table("What this machine can do", ["what", "works", "how, or what helps"], rows_of)
        click.echo(f"The lab takes: {machine.mode.words}.")
    if not machine.mode.has_lan:
        context.exit(EXIT_PROBLEMS)


@lab.command("run")
@FOLDER
@click.option("--tls", "version", type=click.Choice(["1.2", "1.3"]), help="This version of TLS alone.")
@click.option("--suite", "suites", help="These cipher suites, in OpenSSL's names, with colons between.")
@click.option("--mutual", is_flag=True, help="Clients show a certificate in place of a password.")
@click.option("--resume", is_flag=True, help="Also offer to resume a session of TLS.")
@click.option("--plaintext", is_flag=True, help="Without TLS, in a lab that is up with --plaintext.")
@json_option
@click.pass_context
@tells_problems
def run_(
    context: click.Context,
    folder: Path,
    version: str | None,
    suites: str | None,
    mutual: bool,
    resume: bool,
    plaintext: bool,
    as_json: bool,
) -> None:
    """Let the publisher write and the subscriber read, captured with the keys inside, and say what the wire shows.

    The capture opens in Wireshark decrypted; `mqttsecure handshake` explains it message by message.

    \b
    Examples:
      mqttsecure lab run mylab
      mqttsecure lab run mylab --tls 1.2 --mutual
      mqttsecure lab run mylab --tls 1.2 --resume
      mqttsecure lab run mylab --plaintext               after lab up --plaintext: the password can be read
      mqttsecure lab run mylab --suite AES128-SHA256     an old suite: refused, and the capture shows by whom

    Exit codes: 0 every message arrived and no password is readable, 1 it is not so, 2 the command line makes no sense,
    4 the lab is not up, or frames cannot be captured.
    """
    place = LabFolder.at(folder)
    if version is None and suites is not None:
        version = "1.3" if suites.startswith("TLS_") else "1.2"
    if plaintext and (version or suites or mutual or resume):
        raise click.UsageError("--plaintext goes without all that belongs to TLS")
    if mutual and resume:
        raise click.UsageError("--resume logs in by password; leave out --mutual")
    options = RunOptions(version, suites, mutual, resume, plaintext)
    run = run_traffic(place, running(place), options, (lambda text: None) if as_json else click.echo)
    if as_json:
        click.echo((run.folder / RUN).read_text(encoding="utf-8"), nl=False)
    elif run.reading is not None:
        for connection in run.reading.connections:
            click.echo(f"{connection.client} -> {connection.server}: {connection.verdict.text}")
        for tunnel in run.reading.tunnels:
            click.echo(tunnel.text)
        seen = "IS READABLE" if run.password_visible else "is not readable"
        click.echo(f"{run.reading.frames} frames; a password {seen} in them")
        click.echo(f"capture, with keys: {run.folder / CAPTURE}")
    if not run.complete:
        context.exit(EXIT_PROBLEMS)


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@FOLDER
@click.argument("host", type=click.Choice([each.name for each in HOSTS]))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@tells_problems
def exec_(folder: Path, host: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on a host of the lab: broker, subscriber, publisher or mallory. For experiments of your own.

    \b
    Examples:
      mqttsecure lab exec mylab mallory ip addr
      mqttsecure lab exec mylab publisher mqttsecure handshake 10.77.0.10:8883 --ca $PWD/mylab/ca/ca.pem

    Exit codes: those of COMMAND, 2 the command line makes no sense, 4 the lab is not up, or has no LAN.
    """
    space = running(LabFolder.at(folder)).space
    if space is None:
        raise LabError("this lab has no LAN; its hosts are addresses of this machine, from which you can run anything")
    where = next(each for each in HOSTS if each.name == host)
    arguments = space.command(where, *command)
    os.execvpe(arguments[0], arguments, environment())  # noqa: S606  # what runs is what was asked for


for _command in (attack_, check_, report):
    lab.add_command(_command)
