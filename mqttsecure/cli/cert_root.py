# -*- test-case-name: tests.cli.test_cert_root -*-
"""``mqttsecure cert init``: a new CA."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from mqttsecure.cli.cert_options import (
    CA_FOLDER,
    FILE,
    Passphrase,
    ca_passphrase,
    force_option,
    key_option,
    lifetime_option,
    now,
    tells_problems,
)
from mqttsecure.pki.constraints import name_constraints
from mqttsecure.pki.creating import create_request, create_root, install_certificate
from mqttsecure.pki.names import subject
from mqttsecure.pki.profiles import Purpose, Wanted

__all__ = ["init"]


@click.command()
@CA_FOLDER
@click.option("--name", help="The CA's common name [the folder's name, with CA].")
@click.option("--organization", help="The organization in its name.")
@key_option
@lifetime_option
@click.option("--permit", multiple=True, metavar="TREE", help="Names it may vouch for: DNS:lab.test, IP:10.77.0.0/24.")
@click.option("--forbid", multiple=True, metavar="TREE", help="Names it must not vouch for.")
@click.option("--path-length", type=click.IntRange(0, 5), default=0, show_default=True, help="Levels of CAs below it.")
@click.option("--no-passphrase", is_flag=True, help="Keep the key without one: who can read the file owns the CA.")
@click.option("--request", is_flag=True, help="Make a signing request (ca.csr) for a CA that is kept offline.")
@click.option("--certificate", type=FILE, help="The certificate that came back for the request.")
@ca_passphrase
@force_option
@tells_problems
def init(
    ca: Path,
    name: str | None,
    organization: str | None,
    kind: str,
    lifetime: timedelta | None,
    permit: tuple[str, ...],
    forbid: tuple[str, ...],
    path_length: int,
    no_passphrase: bool,
    request: bool,
    certificate: Path | None,
    passphrase: Passphrase,
    force: bool,
) -> None:
    """Make a CA in the folder CA: key, certificate, index, and an empty revocation list.

    Its key is kept under a passphrase, asked for or from a file or the environment. With --request it is a CA below
    another that is kept offline: ca.csr goes out, is signed there (`mqttsecure cert sign --as ca`), and the certificate
    comes in with --certificate.

    \b
    Examples:
      mqttsecure cert init plant-ca
      mqttsecure cert init plant-ca --permit DNS:plant.example --permit IP:10.20.0.0/16 --passphrase-file ca.passphrase
      mqttsecure cert init root-ca --path-length 1            on a machine without a network
      mqttsecure cert init plant-ca --request                 then: cert sign root-ca plant-ca/ca.csr --as ca --take all
      mqttsecure cert init plant-ca --certificate ca-signed.pem

    Exit codes: 0 made, 1 it could not be made, 2 the command line makes no sense.
    """
    moment = now()
    if certificate is not None:
        _tell(install_certificate(ca, certificate, moment, None if no_passphrase else passphrase.ask))
        return
    if request and (permit or forbid or lifetime or path_length):
        raise click.UsageError("lifetime, constraints and path length are for the upper CA to say, when it signs")
    title = subject(name or f"{ca.resolve().name} CA"[-64:], organization=organization)
    constraints = name_constraints(permit, forbid)
    secret = None if no_passphrase else passphrase.ask(new=True)
    if request:
        _tell(create_request(ca, title, kind=kind, passphrase=secret, force=force))
        click.echo(f"next: mqttsecure cert sign ROOT-CA {ca / 'ca.csr'} --as ca --take all")
        return
    wanted = Wanted(title, Purpose.CA, (), lifetime, path_length, constraints)
    _tell(create_root(ca, wanted, moment, kind=kind, passphrase=secret, force=force))


def _tell(files: list[Path]) -> None:
    for file in files:
        click.echo(f"made {file}")
