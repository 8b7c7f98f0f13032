# -*- test-case-name: tests.cli.test_cert_revoke -*-
"""``mqttsecure cert renew``, ``revoke`` and ``crl``: what becomes of certificates later."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from mqttsecure.cli.cert_options import (
    CA_FOLDER,
    FILE,
    LIFETIME,
    Passphrase,
    ca_passphrase,
    force_option,
    lifetime_option,
    now,
    tells_problems,
)
from mqttsecure.cli.output import json_option, print_json
from mqttsecure.pki.authority import CRL, Authority, open_authority
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import PRIVATE, NewFile, check_absent, write_new
from mqttsecure.pki.index import Entry, serial_text
from mqttsecure.pki.keys import DEFAULT_KIND, KEY_KINDS, key_pem, usable_public_key
from mqttsecure.pki.keys import new_key as make_key
from mqttsecure.pki.loading import read_certificates
from mqttsecure.pki.revoking import CRL_LIFETIME, REASONS

__all__ = ["crl", "renew", "revoke"]

_next_update = click.option(
    "--next-update", type=LIFETIME, default=CRL_LIFETIME, help="Until when the list may be relied on [30d]."
)


@click.command()
@CA_FOLDER
@click.argument("certificate", type=FILE)
@click.option("--new-key", is_flag=True, help="Make a new key too; needs --force, or --out for both.")
@click.option("--key", "kind", type=click.Choice(KEY_KINDS), default=DEFAULT_KIND, help="The kind of a new key.")
@lifetime_option
@click.option("--out", type=FILE, help="The new certificate [in place of the old one].")
@ca_passphrase
@force_option
@json_option
@tells_problems
def renew(
    ca: Path,
    certificate: Path,
    new_key: bool,
    kind: str,
    lifetime: timedelta | None,
    out: Path | None,
    passphrase: Passphrase,
    force: bool,
    as_json: bool,
) -> None:
    """Issue CERTIFICATE anew, for the same names and purpose, and put it in its place.

    The key stays, unless --new-key is given. The old certificate is valid until its end and stays in the CA's index;
    revoke it by its serial number if it must not be used any more.

    \b
    Examples:
      mqttsecure cert renew plant-ca etc/broker.example.org.pem
      mqttsecure cert renew plant-ca pump-7.pem --new-key --force
      mqttsecure cert renew plant-ca pump-7.pem --out new/pump-7.pem

    Exit codes: 0 renewed, 1 it could not be, 2 the command line makes no sense.
    """
    old = read_certificates(certificate)[0]
    target = out or certificate
    key_file = target.with_suffix(".key")
    if not force:
        check_absent([*([target] if out else []), *([key_file] if new_key else [])])
    with open_authority(ca, passphrase.ask) as authority:
        entry = authority.entry_of(old, str(certificate))
        fresh = make_key(kind) if new_key else None
        key = usable_public_key(old.public_key(), str(certificate)) if fresh is None else fresh.public_key()
        made = authority.renew(entry, key, lifetime, now())
        chain = authority.with_chain(made)
    # Only now, when nothing can be refused any more, is the old key replaced.
    if fresh is not None:
        write_new(NewFile(key_file, key_pem(fresh), PRIVATE), force=force)
    write_new(NewFile(target, chain), force=force or out is None)
    serial, ends = serial_text(made.serial_number), f"{made.not_valid_after_utc:%Y-%m-%d}"
    if as_json:
        files = [str(target), *([str(key_file)] if fresh is not None else [])]
        print_json({"files": files, "serial": serial, "ends": ends, "old": serial_text(old.serial_number)})
        return
    click.echo(f"made {target}, valid until {ends}, serial {serial}")
    click.echo(
        f"the old one, serial {serial_text(old.serial_number)}, is valid until {old.not_valid_after_utc:%Y-%m-%d}"
    )


@click.command()
@CA_FOLDER
@click.argument("what")
@click.option("--reason", type=click.Choice(list(REASONS)), default="unspecified", show_default=True)
@_next_update
@ca_passphrase
@json_option
@tells_problems
def revoke(ca: Path, what: str, reason: str, next_update: timedelta, passphrase: Passphrase, as_json: bool) -> None:
    """Revoke WHAT: a certificate's file, its serial number, or the common name where only one is live.

    The CA's revocation list is written anew at once. It is in force where it is read: name it as `crl` of the
    authority in the broker's configuration, and the broker ends the connections of who is on it.

    \b
    Examples:
      mqttsecure cert revoke plant-ca pump-7 --reason key-compromise
      mqttsecure cert revoke plant-ca 5f:3a:90:...
      mqttsecure cert revoke plant-ca pump-7.pem

    Exit codes: 0 revoked, 1 it could not be, 2 the command line makes no sense.
    """
    moment = now()
    with open_authority(ca, passphrase.ask) as authority:
        entry = _meant(authority, what)
        authority.revoke(entry, reason, moment)
        authority.write_crl(moment, next_update)
        number = authority.index.crl_number
    if as_json:
        print_json({"name": entry.name, "serial": serial_text(entry.serial), "crl": str(ca / CRL), "number": number})
        return
    click.echo(f"{entry.name} with serial {serial_text(entry.serial)} is revoked")
    click.echo(f"made {ca / CRL}, number {number}; put it where the broker reads it")


def _meant(authority: Authority, what: str) -> Entry:
    path = Path(what)
    if path.is_file():
        return authority.entry_of(read_certificates(path)[0], what)
    if path.suffix in (".pem", ".crt", ".cer", ".der"):
        raise CertificateProblem(
            f"{what} does not exist; mend the name, or give the serial number (mqttsecure cert list)"
        )
    return authority.find(what, now())


@click.command()
@CA_FOLDER
@_next_update
@ca_passphrase
@json_option
@tells_problems
def crl(ca: Path, next_update: timedelta, passphrase: Passphrase, as_json: bool) -> None:
    """Write the revocation list of the CA anew, with the next number.

    Do it before the old one ends: a broker that has only an old one refuses everybody of that CA.

    \b
    Examples:
      mqttsecure cert crl plant-ca
      mqttsecure cert crl plant-ca --next-update 7d --passphrase-file /etc/mqttsecure/ca.passphrase    from cron

    Exit codes: 0 written, 1 it could not be, 2 the command line makes no sense.
    """
    with open_authority(ca, passphrase.ask) as authority:
        made = authority.write_crl(now(), next_update)
        number, revoked = authority.index.crl_number, len(authority.index.revoked())
    ends = made.next_update_utc
    if as_json:
        until = None if ends is None else ends.isoformat()
        print_json({"crl": str(ca / CRL), "number": number, "revoked": revoked, "ends": until})
        return
    click.echo(
        f"made {ca / CRL}, number {number}, {revoked} revoked" + (f", until {ends:%Y-%m-%d %H:%M} UTC" if ends else "")
    )
