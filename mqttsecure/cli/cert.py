# -*- test-case-name: tests.cli.test_cert -*-
"""``mqttsecure cert``: the group, and what reads certificates: show, verify, list, bad."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mqttsecure.cli.cert_issue import client, server
from mqttsecure.cli.cert_options import (
    CA_FOLDER,
    FILE,
    FOLDER,
    Passphrase,
    ca_passphrase,
    force_option,
    now,
    tells_problems,
)
from mqttsecure.cli.cert_revoke import crl, renew, revoke
from mqttsecure.cli.cert_root import init
from mqttsecure.cli.cert_sign import sign
from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_table
from mqttsecure.pki.authority import INDEX, open_authority
from mqttsecure.pki.bad import BAD, make_bad, throwaway_ca
from mqttsecure.pki.explaining import explain
from mqttsecure.pki.index import Entry, Index, serial_text
from mqttsecure.pki.loading import load, read_certificates, read_crls
from mqttsecure.pki.profiles import Purpose
from mqttsecure.pki.verifying import Trust, in_words, verify

__all__ = ["cert"]


@click.group()
def cert() -> None:
    """Make and look after certificates: a small certificate authority.

    A CA is a folder with its certificate (ca.pem), its key (ca.key), an index of all that it issued (index.jsonl) and
    its revocation list (crl.pem). Keys are 0600, and nothing is ever overwritten without --force.

    \b
    Examples:
      mqttsecure cert init plant-ca                        a CA; asks for a passphrase
      mqttsecure cert server plant-ca broker.example.org   broker.example.org.pem and .key
      mqttsecure cert client plant-ca pump-7               pump-7.pem and .key
      mqttsecure cert verify broker.example.org.pem --ca plant-ca/ca.pem --host broker.example.org
      mqttsecure cert revoke plant-ca pump-7 --reason key-compromise

    Exit codes: 0 done, 1 it could not be done, or the certificate is not to be trusted, 2 the command line makes no
    sense, 130 a batch was stopped by Ctrl-C and can be resumed.
    """


@cert.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--passphrase-file", type=FILE, help="Its first line opens a key or PKCS#12.")
@click.option("--passphrase-env", metavar="NAME", help="This environment variable opens a key or PKCS#12.")
@json_option
@tells_problems
def show(files: tuple[Path, ...], passphrase_file: Path | None, passphrase_env: str | None, as_json: bool) -> None:
    """Explain what is in FILES: certificates, keys, signing requests, revocation lists, PKCS#12, in PEM or DER.

    Of a private key its kind and the hash of its public half are shown, never the key. The fingerprint of a
    certificate is what --pin of the client tools takes.

    \b
    Examples:
      mqttsecure cert show certs/server.pem
      mqttsecure cert show phone.p12 --passphrase-file phone.passphrase
      mqttsecure cert show certs/*.pem --json

    Exit codes: 0 shown, 1 a file cannot be read, 2 the command line makes no sense.
    """
    found = []
    for file in files:
        source = Passphrase(str(file), "MQTTSECURE_PASSPHRASE", "--passphrase", passphrase_file, passphrase_env)
        for each in explain(load(file, source.ask), now()):
            found.append((file, each))
    if as_json:
        print_json([{"file": str(file), "kind": each.kind, **dict(each.rows)} for file, each in found])
        return
    for file, each in found:
        print_table(f"{file}: {each.kind}", ["what", "value"], [list(row) for row in each.rows])


def _moment(context: click.Context, parameter: click.Parameter, value: datetime | None) -> datetime | None:
    return None if value is None else value.replace(tzinfo=UTC)


@cert.command("verify")
@click.argument("file", type=FILE)
@click.option("--ca", "roots", type=FILE, multiple=True, required=True, help="CAs that are trusted; may be repeated.")
@click.option("--chain", type=FILE, multiple=True, help="CAs between; those in FILE are taken too.")
@click.option("--crl", "crls", type=FILE, multiple=True, help="Revocation lists; may be repeated.")
@click.option("--host", help="The host name or address that it must be for.")
@click.option(
    "--purpose", type=click.Choice(["server", "client", "ca"]), help="What it must be for; with --host: server."
)
@click.option("--at", callback=_moment, type=click.DateTime(), help="As if it were that time, in UTC.")
@json_option
@click.pass_context
@tells_problems
def verify_(
    context: click.Context,
    file: Path,
    roots: tuple[Path, ...],
    chain: tuple[Path, ...],
    crls: tuple[Path, ...],
    host: str | None,
    purpose: str | None,
    at: datetime | None,
    as_json: bool,
) -> None:
    """Say in one line whether the certificate in FILE can be trusted, and if not, what is wrong and what helps.

    Looked at are the chain up to a trusted CA with its constraints, the time, the purpose, the host name, and with
    --crl whether it is revoked.

    \b
    Examples:
      mqttsecure cert verify server.pem --ca ca.pem --host broker.example.org
      mqttsecure cert verify pump-7.pem --ca ca.pem --purpose client --crl crl.pem
      mqttsecure cert verify server.pem --ca ca.pem --at 2027-01-31

    Exit codes: 0 it can be trusted, 1 it cannot, or a file cannot be read, 2 the command line makes no sense.
    """
    wanted = Purpose(purpose) if purpose else (Purpose.SERVER if host else None)
    leaf, *sent = read_certificates(file)
    trust = Trust(
        [each for path in roots for each in read_certificates(path)],
        [*sent, *(each for path in chain for each in read_certificates(path))],
        [each for path in crls for each in read_crls(path)],
        host,
        wanted,
    )
    moment = at or now()
    findings = verify(leaf, trust, moment)
    line = f"{file}: {in_words(leaf, trust, findings, moment)}"
    if as_json:
        problems = [{"check": each.check, "text": each.text} for each in findings]
        print_json({"file": str(file), "trusted": not findings, "text": line, "problems": problems})
    else:
        click.echo(line)
    if findings:
        context.exit(EXIT_PROBLEMS)


@cert.command("list")
@CA_FOLDER
@json_option
@tells_problems
def list_(ca: Path, as_json: bool) -> None:
    """List all that the CA in the folder CA ever issued, with serial number and state.

    \b
    Examples:
      mqttsecure cert list plant-ca
      mqttsecure cert list plant-ca --json | jq '.[] | select(.state == "live") | .name'

    Exit codes: 0 done, 1 the index cannot be read, 2 the command line makes no sense.
    """
    moment = now()
    with Index(ca / INDEX).open(create=False) as index:
        rows = [_row(entry, moment) for entry in index.entries.values()]
    if as_json:
        print_json(rows)
    else:
        columns = ["serial", "name", "purpose", "names", "ends", "state"]
        print_table(f"{len(rows)} certificates", columns, [[_cell(row[column]) for column in columns] for row in rows])


def _row(entry: Entry, moment: datetime) -> dict[str, Any]:
    if entry.revoked is not None:
        state = f"revoked {entry.revoked:%Y-%m-%d} ({entry.reason})"
    else:
        state = "live" if entry.is_live(moment) else "expired"
    return {
        "serial": serial_text(entry.serial),
        "name": entry.name,
        "purpose": entry.purpose,
        "names": list(entry.names),
        "ends": f"{entry.ends:%Y-%m-%d}",
        "state": state,
    }


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


@cert.command()
@click.argument("folder", type=FOLDER)
@click.option("--host", "hosts", multiple=True, help="Whom the certificates are for [localhost, 127.0.0.1, ::1].")
@click.option("--ca", type=FOLDER, help="The right CA is this one; else one is made for the lesson.")
@ca_passphrase
@force_option
@tells_problems
def bad(folder: Path, hosts: tuple[str, ...], ca: Path | None, passphrase: Passphrase, force: bool) -> None:
    """Make the six bad certificates of a lesson in FOLDER, with a README: a client must refuse each of them.

    B1 rogue CA of the same name, B2 self-signed, B3 expired, B4 not yet valid, B5 wrong host, B6 for clients only; and
    a good one to compare with.

    \b
    Examples:
      mqttsecure cert bad lesson
      mqttsecure cert bad lesson --host broker.lab.test --host 10.77.0.10 --ca lab-ca

    Exit codes: 0 made, 1 they could not be made, 2 the command line makes no sense.
    """
    moment = now()
    names = hosts or ("localhost", "127.0.0.1", "::1")
    if ca is None:
        make_bad(folder, names, throwaway_ca(moment), moment, force=force)
    else:
        with open_authority(ca, passphrase.ask) as authority:
            for path, certificate in make_bad(folder, names, authority.signer, moment, force=force):
                if certificate.issuer == authority.certificate.subject and not path.name.startswith("b1"):
                    authority.index.note_issued(certificate, "lesson", moment)
    for each in BAD:
        click.echo(f"{each.row}  {folder / each.stem}.pem  {each.wrong}")
    click.echo(f"{folder / 'README.md'} tells what they are and how to try a client with them")


for _command in (init, server, client, sign, renew, revoke, crl):
    cert.add_command(_command)
