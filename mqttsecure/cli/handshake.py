# -*- test-case-name: tests.cli.test_handshake -*-
"""``mqttsecure handshake``: a TLS handshake, live or captured, explained message by message."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

import click

from mqttsecure.cli.output import EXIT_OK, EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.errors import CaptureError
from mqttsecure.lab.document import reading_document
from mqttsecure.lab.live import LiveOptions, read_live
from mqttsecure.lab.model import Reading
from mqttsecure.lab.reading import read_capture
from mqttsecure.lab.report.page import reading_page
from mqttsecure.lab.text import render

__all__ = ["EXIT_WRONG", "handshake"]

EXIT_WRONG: Final = 3
"""It was read, and something in it is wrong: a refusal, or a finding in red."""

_TARGET: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:/\s\[\]]+)):(?P<port>\d{1,5})")
_COLOURS: Final[dict[str, str]] = {"good": "green", "bad": "red", "warn": "yellow"}

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("target")
@click.option("--keys", type=_FILE, help="Key log that opens a capture (NSS format; SSLKEYLOGFILE writes it).")
@click.option("--ca", "authorities", type=_FILE, help="CAs that are trusted, PEM. Without it trust is not judged.")
@click.option("--connection", type=click.IntRange(min=1), help="Tell only the connection of this number.")
@click.option("--brief", is_flag=True, help="Verdicts and ladders alone.")
@click.option("--cert", "certificate", type=_FILE, help="Live: client certificate with its chain, PEM.")
@click.option("--key", type=_FILE, help="Live: key of the client certificate, PEM; default: in the same file.")
@click.option("--sni", help="Live: name to ask for and to check; default: the host.")
@click.option("--tls", "version", type=click.Choice(["1.2", "1.3"]), help="Live: this version alone.")
@click.option("--suites", help="Live: cipher suites, in OpenSSL's names, with colons between.")
@click.option("--alpn", multiple=True, help="Live: application protocol to offer; may be given again.")
@click.option("--connect/--no-connect", default=True, help="Live: send a CONNECT without user name and password.")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Live: seconds in all."
)
@click.option("--save", type=_FILE, help="Live: keep it as pcapng, secrets inside; Wireshark opens it decrypted.")
@click.option("--html", type=_FILE, help="Write it as one HTML file, in English and Chinese, that needs nothing else.")
@json_option
@click.pass_context
def handshake(
    context: click.Context,
    target: str,
    keys: Path | None,
    authorities: Path | None,
    connection: int | None,
    brief: bool,
    certificate: Path | None,
    key: Path | None,
    sni: str | None,
    version: str | None,
    suites: str | None,
    alpn: tuple[str, ...],
    connect: bool,
    timeout: float,
    save: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Explain the TLS handshake of TARGET: a server, HOST:PORT, or a capture, FILE.pcap or FILE.pcapng.

    Every message is told with its fields, what they mean, what an attacker sees of it, and where the specification
    says so; signatures and Finished are computed anew, certificates are judged at the time of the capture, and with a
    key log the MQTT packets inside are read. A live connection never sends a user name or a password.

    \b
    Examples:
      mqttsecure handshake lab.pcapng --keys lab.keys --ca ca.pem    a capture, decrypted
      mqttsecure handshake lab.pcapng --brief                        its ladder alone
      mqttsecure handshake localhost:8883 --ca certs/ca.pem          a broker, live
      mqttsecure handshake localhost:8883 --tls 1.2 --save h.pcapng  and keep it for Wireshark
      mqttsecure handshake lab.pcapng --ca ca.pem --html lab.html    with pictures, for a browser
      mqttsecure handshake lab.pcap --json | jq '.connections[0].verdict'

    \b
    Exit codes:
      0  read, and nothing is wrong in it
      1  it cannot be read or reached; the reason and the mend are on stderr
      2  the command line makes no sense
      3  read, and something is wrong: a connection was refused, or a finding is red
    """
    try:
        if Path(target).exists() or not (match := _TARGET.fullmatch(target)):
            _refuse_live_options(context)
            reading = read_capture(Path(target), keys=keys, authorities=authorities)
        else:
            if keys is not None:
                raise click.UsageError("--keys is for captures; a live connection has its own secrets")
            options = LiveOptions(
                host=match["six"] or match["host"],
                port=int(match["port"]),
                authorities=authorities,
                certificate=certificate,
                key=key,
                server_name=sni,
                version=version,
                suites=suites,
                alpn=alpn,
                connect=connect,
                timeout=timeout,
            )
            reading = _live(options, save)
        _check_number(reading, connection)
        if html is not None:
            _write(html, reading_page(reading, number=connection).encode())
    except CaptureError as error:
        print_problems([str(error)])
        context.exit(EXIT_PROBLEMS)
    if html is None or as_json:
        _print(reading, connection, brief, as_json)
    else:
        click.echo(f"made {html}")
    context.exit(_exit_code(reading, connection))


def _refuse_live_options(context: click.Context) -> None:
    """An option that would do nothing is a mistake."""
    for name in ("certificate", "key", "sni", "version", "suites", "alpn", "save"):
        source = context.get_parameter_source(name)
        if source is click.core.ParameterSource.COMMANDLINE:
            option = {"certificate": "cert", "version": "tls"}.get(name, name)
            raise click.UsageError(f"--{option} is for a live connection, HOST:PORT; this is a capture")


def _live(options: LiveOptions, save: Path | None) -> Reading:
    if options.port > 65535:
        raise CaptureError(f"{options.port} is no port; write 1 to 65535")
    if options.key is not None and options.certificate is None:
        raise CaptureError("--key without --cert: name the client certificate too")
    reading, recorded = read_live(options)
    if save is not None:
        _write(save, recorded.pcapng)
    return reading


def _write(file: Path, content: bytes) -> None:
    """It holds secrets of the session, or a password that was opened, and is for its owner alone."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise CaptureError(f"{file}: cannot be written: {error.strerror}; name another place") from None


def _check_number(reading: Reading, number: int | None) -> None:
    if number is not None and number > len(reading.connections):
        raise CaptureError(f"there is no connection {number}; the capture has {len(reading.connections)}")


def _print(reading: Reading, number: int | None, brief: bool, as_json: bool) -> None:
    if as_json:
        if number is not None:
            reading.connections = [each for each in reading.connections if each.number == number]
        print_json(reading_document(reading))
        return
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in render(reading, number=number, brief=brief):
        if not colour or not line.style:
            click.echo(line.text)
        else:
            click.secho(line.text, fg=_COLOURS.get(line.style), bold=line.style == "heading", dim=line.style == "dim")


def _exit_code(reading: Reading, number: int | None) -> int:
    for connection in reading.connections:
        if number is not None and connection.number != number:
            continue
        if connection.verdict.refused or any(each.severity == "red" for each in connection.verdict.findings):
            return EXIT_WRONG
    return EXIT_OK
