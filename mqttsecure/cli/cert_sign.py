# -*- test-case-name: tests.cli.test_cert_sign -*-
"""``mqttsecure cert sign``: certificates for keys that were made elsewhere."""

from __future__ import annotations

import shlex
from datetime import timedelta
from pathlib import Path

import click

from mqttsecure.cli.cert_issue import groups_option, san_option, tell_issued
from mqttsecure.cli.cert_options import (
    CA_FOLDER,
    FILE,
    Passphrase,
    ca_passphrase,
    force_option,
    lifetime_option,
    now,
    tells_problems,
)
from mqttsecure.cli.output import json_option
from mqttsecure.pki.authority import open_authority
from mqttsecure.pki.constraints import name_constraints
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import NewFile, check_absent, write_new
from mqttsecure.pki.loading import read_request
from mqttsecure.pki.names import parse_names, subject
from mqttsecure.pki.profiles import Purpose, Wanted
from mqttsecure.pki.requests import Request, read_asked, take

__all__ = ["sign"]


@click.command()
@CA_FOLDER
@click.argument("request", type=FILE)
@click.option("--as", "purpose", type=click.Choice(["client", "server", "ca"]), default="client", show_default=True)
@click.option("--take", "wishes", multiple=True, help="What is taken of the request: all, CN, or a name in it.")
@click.option("--name", help="The common name, in place of the one asked for.")
@san_option
@groups_option
@lifetime_option
@click.option("--permit", multiple=True, metavar="TREE", help="For --as ca: names it may vouch for.")
@click.option("--forbid", multiple=True, metavar="TREE", help="For --as ca: names it must not vouch for.")
@click.option("--out", type=FILE, help="The certificate [beside the request, with .pem].")
@ca_passphrase
@force_option
@json_option
@tells_problems
def sign(
    ca: Path,
    request: Path,
    purpose: str,
    wishes: tuple[str, ...],
    name: str | None,
    names: tuple[str, ...],
    groups: tuple[str, ...],
    lifetime: timedelta | None,
    permit: tuple[str, ...],
    forbid: tuple[str, ...],
    out: Path | None,
    passphrase: Passphrase,
    force: bool,
    as_json: bool,
) -> None:
    """Sign REQUEST, the signing request (CSR) of a key that was made on the device and never left it.

    Its signature is checked. A device may ask for any name; nothing of that is taken but what --take names. Purpose,
    lifetime and groups are never taken from it.

    \b
    Examples:
      mqttsecure cert sign plant-ca pump-7.csr                      shows what it asks for, signs nothing
      mqttsecure cert sign plant-ca pump-7.csr --take CN            takes its common name alone
      mqttsecure cert sign plant-ca broker.csr --as server --take all
      mqttsecure cert sign plant-ca pump-7.csr --name pump-7 --san URI:urn:device:7
      mqttsecure cert sign root-ca plant-ca/ca.csr --as ca --take all --permit DNS:plant.example

    Exit codes: 0 signed, 1 it could not be, or nothing was confirmed, 2 the command line makes no sense.
    """
    if (permit or forbid) and purpose != "ca":
        raise click.UsageError("--permit and --forbid are for --as ca")
    asked = read_asked(read_request(request), str(request))
    title = _common_name(asked, wishes, name)
    if title is None:
        raise CertificateProblem(_unconfirmed(asked, ca, request, purpose))
    taken = [*take(asked, [wish for wish in wishes if wish.upper() != "CN"]), *parse_names(names)]
    file = out or request.with_suffix(".pem")
    if not force:
        check_absent([file])
    kind = Purpose(purpose)
    wanted = Wanted(
        subject(title, groups), kind, list(dict.fromkeys(taken)), lifetime, 0, name_constraints(permit, forbid)
    )
    with open_authority(ca, passphrase.ask) as authority:
        certificate = authority.issue(wanted, asked.key, now())
        chain = authority.with_chain(certificate)
    tell_issued(certificate, [write_new(NewFile(file, chain), force=force)], as_json)


def _common_name(asked: Request, wishes: tuple[str, ...], name: str | None) -> str | None:
    """The common name that was confirmed; None where none was."""
    if name is not None:
        return name
    if any(wish == "all" or wish.upper() == "CN" for wish in wishes):
        if asked.name is None:
            raise CertificateProblem("the request asks for no common name; give one with --name")
        return asked.name
    return None


def _unconfirmed(asked: Request, ca: Path, request: Path, purpose: str) -> str:
    command = f"mqttsecure cert sign {shlex.quote(str(ca))} {shlex.quote(str(request))} --as {purpose}"
    return (
        f"nothing is signed yet. {request} asks for the common name {asked.name!r} and for "
        f"{', '.join(asked.asked) or 'no further names'}; if that is right: {command} --take all; else name it "
        "yourself: --name NAME, with --take for each name that is right"
    )
