# -*- test-case-name: tests.cli.test_cert_issue -*-
"""``mqttsecure cert server`` and ``client``: certificates with keys that are made here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from cryptography import x509
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mqttsecure.cli.cert_options import (
    CA_FOLDER,
    FILE,
    FOLDER,
    Passphrase,
    ca_passphrase,
    force_option,
    key_option,
    lifetime_option,
    now,
    tells_problems,
)
from mqttsecure.cli.output import json_option, print_json, print_problems
from mqttsecure.pki.authority import Authority, open_authority
from mqttsecure.pki.batch import issue_all, read_devices
from mqttsecure.pki.bundles import pkcs12
from mqttsecure.pki.files import PRIVATE, NewFile, check_absent, make_folder, write_new
from mqttsecure.pki.index import serial_text
from mqttsecure.pki.keys import key_pem, new_key
from mqttsecure.pki.names import file_stem, name_text, names_of, parse_names, subject
from mqttsecure.pki.profiles import Purpose, Wanted

__all__ = ["client", "groups_option", "san_option", "server", "tell_issued"]

EXIT_STOPPED: Final = 130
"""Ended by Ctrl-C, as a shell shows it."""

_F = TypeVar("_F", bound=Callable[..., Any])

_out = click.option("--out", type=FOLDER, default=Path(), help="Where the files go [here].")
groups_option = click.option("--group", "groups", multiple=True, help="Its groups (OU); may be repeated.")
san_option = click.option("--san", "names", multiple=True, help="A further name: DNS:..., IP:..., URI:..., EMAIL:...")


def _bundle_options(command: _F) -> _F:
    bundle = click.option("--pkcs12", "bundle", is_flag=True, help="Also make a .p12 with key, certificate and chain.")
    file = click.option("--pkcs12-passphrase-file", "bundle_file", type=FILE, help="Its first line closes the .p12.")
    variable = click.option("--pkcs12-passphrase-env", "bundle_env", metavar="NAME", help="This variable closes it.")
    return bundle(file(variable(command)))


@click.command()
@CA_FOLDER
@click.argument("names", nargs=-1, required=True)
@key_option
@lifetime_option
@_out
@_bundle_options
@ca_passphrase
@force_option
@json_option
@tells_problems
def server(
    ca: Path,
    names: tuple[str, ...],
    kind: str,
    lifetime: timedelta | None,
    out: Path,
    bundle: bool,
    bundle_file: Path | None,
    bundle_env: str | None,
    passphrase: Passphrase,
    force: bool,
    as_json: bool,
) -> None:
    """Issue a certificate for a server that is reached by NAMES: host names, wildcards, addresses.

    The files are named after the first one. Behind a CA that is not a root, its chain is in the .pem too.

    \b
    Examples:
      mqttsecure cert server plant-ca broker.example.org 10.20.0.10 --out etc
      mqttsecure cert server plant-ca '*.plant.example' --key rsa-3072 --lifetime 90d

    Exit codes: 0 issued, 1 it could not be, 2 the command line makes no sense.
    """
    alternatives = parse_names(names)
    title = name_text(alternatives[0]).partition(":")[2]
    wanted = Wanted(subject(title[:64]), Purpose.SERVER, alternatives, lifetime)
    source = _bundle_source(bundle, bundle_file, bundle_env)
    with open_authority(ca, passphrase.ask) as authority:
        _issue(authority, wanted, out / file_stem(title), kind, force, source, as_json)


@click.command()
@CA_FOLDER
@click.argument("name", required=False)
@san_option
@groups_option
@click.option("--batch", type=FILE, help="One for each line of this file: NAME, then further names.")
@key_option
@lifetime_option
@_out
@_bundle_options
@ca_passphrase
@force_option
@json_option
@click.pass_context
@tells_problems
def client(
    context: click.Context,
    ca: Path,
    name: str | None,
    names: tuple[str, ...],
    groups: tuple[str, ...],
    batch: Path | None,
    kind: str,
    lifetime: timedelta | None,
    out: Path,
    bundle: bool,
    bundle_file: Path | None,
    bundle_env: str | None,
    passphrase: Passphrase,
    force: bool,
    as_json: bool,
) -> None:
    """Issue a certificate for the client NAME, which is its user name for the policy client-certificate.

    With --batch one for each line of a file. It may be stopped at any time; the same command goes on where it stopped,
    and does not touch what is finished.

    \b
    Examples:
      mqttsecure cert client plant-ca pump-7 --group sensors
      mqttsecure cert client plant-ca alice --pkcs12           alice.p12 for a phone
      mqttsecure cert client plant-ca pump-7 --san URI:urn:device:7
      mqttsecure cert client plant-ca --batch devices.txt --out devices

    Exit codes: 0 issued, 1 it could not be, 2 the command line makes no sense, 130 a batch was stopped by Ctrl-C.
    """
    if (name is None) == (batch is None):
        raise click.UsageError("name one client, or many with --batch FILE")
    if batch is not None:
        if names or bundle or force:
            raise click.UsageError("--batch takes names from its file, makes no PKCS#12 and overwrites nothing")
        if not _issue_many(ca, batch, out, groups, kind, lifetime, passphrase):
            context.exit(EXIT_STOPPED)
        return
    wanted = Wanted(subject(name or "", groups), Purpose.CLIENT, parse_names(names), lifetime)
    source = _bundle_source(bundle, bundle_file, bundle_env)
    with open_authority(ca, passphrase.ask) as authority:
        _issue(authority, wanted, out / file_stem(name or ""), kind, force, source, as_json)


def _bundle_source(wanted: bool, file: Path | None, variable: str | None) -> Passphrase | None:
    if not wanted:
        if file is not None or variable is not None:
            raise click.UsageError("a passphrase for PKCS#12 needs --pkcs12")
        return None
    return Passphrase("the .p12", "MQTTSECURE_PKCS12_PASSPHRASE", "--pkcs12-passphrase", file, variable)


def _issue(
    authority: Authority, wanted: Wanted, stem: Path, kind: str, force: bool, bundle: Passphrase | None, as_json: bool
) -> None:
    key_file, certificate_file = Path(f"{stem}.key"), Path(f"{stem}.pem")
    bundle_file = Path(f"{stem}.p12")
    if not force:
        check_absent([key_file, certificate_file, *([bundle_file] if bundle else [])])
    secret = None if bundle is None else bundle.ask(new=True)
    make_folder(stem.parent)
    key = new_key(kind)
    certificate = authority.issue(wanted, key.public_key(), now())
    made = [
        write_new(NewFile(key_file, key_pem(key), PRIVATE), force=force),
        write_new(NewFile(certificate_file, authority.with_chain(certificate)), force=force),
    ]
    if secret is not None:
        data = pkcs12(certificate, key, [authority.certificate, *authority.chain], secret)
        made.append(write_new(NewFile(bundle_file, data, PRIVATE), force=force))
    tell_issued(certificate, made, as_json)


def tell_issued(certificate: x509.Certificate, made: list[Path], as_json: bool) -> None:
    """What was issued, and in which files."""
    serial, ends = serial_text(certificate.serial_number), f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if as_json:
        print_json({"files": list(map(str, made)), "serial": serial, "ends": ends})
        return
    for file in made:
        click.echo(f"made {file}")
    names = ", ".join(map(name_text, names_of(certificate))) or "no further names"
    click.echo(f"{certificate.subject.rfc4514_string()} ({names}), valid until {ends}, serial {serial}")


def _issue_many(
    ca: Path,
    batch: Path,
    out: Path,
    groups: tuple[str, ...],
    kind: str,
    lifetime: timedelta | None,
    passphrase: Passphrase,
) -> bool:
    devices = read_devices(batch)
    make_folder(out)
    made = finished = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with open_authority(ca, passphrase.ask) as authority:
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        try:
            with bar:
                task = bar.add_task("certificates", total=len(devices))
                for _, new in issue_all(authority, devices, out, now(), groups=groups, kind=kind, lifetime=lifetime):
                    made, finished = made + new, finished + 1
                    bar.update(task, completed=finished)
        except KeyboardInterrupt:
            print_problems([f"stopped: {finished} of {len(devices)} are finished; the same command goes on from there"])
            return False
    click.echo(f"{made} made in {out}, {finished - made} were there already")
    return True
