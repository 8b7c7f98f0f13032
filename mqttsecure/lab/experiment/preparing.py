# -*- test-case-name: tests.lab.experiment.test_preparing -*-
"""``lab init``: the policy, a CA with certificates for broker and devices, users, keys of the tunnel."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path
from typing import Final

from mqttsecure.errors import LabError
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.network.plan import BROKER, LAN, LOOPBACK, PORT, PUBLISHER, SUBSCRIBER, TUNNEL
from mqttsecure.lab.network.tunnel import DEVICES, configuration, new_pair
from mqttsecure.pki.authority import Authority, open_authority
from mqttsecure.pki.bad import make_bad
from mqttsecure.pki.creating import create_root
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import PRIVATE, NewFile, make_folder, write_new
from mqttsecure.pki.keys import DEFAULT_KIND, key_pem, new_key
from mqttsecure.pki.names import parse_names, subject
from mqttsecure.pki.profiles import Purpose, Wanted
from mqttsecure.policy.builtin.password_hash import hash_password

__all__ = ["BROKER_NAME", "READER", "WRITER", "prepare"]

BROKER_NAME: Final = "broker.lab.test"
WRITER: Final = "alice"
READER: Final = "bob"

_NAMES: Final = (BROKER_NAME, "localhost", "127.0.0.1", *(BROKER.address(each) for each in (LAN, LOOPBACK, TUNNEL)))

_POLICY: Final = f"""\
# The lab's one policy. It is the broker's configuration, the firewall is compiled from its addresses and limits
# (mqttsecure policy nft broker.toml), and with --vpn the same rules hold for the addresses of the tunnel.
# Change it, check it (mqttsecure check broker.toml), and see what becomes of the lab.

[[listener]]
name = "lab"
bind = "{BROKER.address()}:{PORT}"

[listener.tls]
certificate = "broker.pem"
key = "broker.key"
client_certificate = "optional"     # lab run --mutual shows one
authorities = ["lab"]

[[authority]]
name = "lab"
ca = ["ca/ca.pem"]
crl = ["ca/crl.pem"]
password_file = "users"

[[policy]]
id = "addresses"                    # the network layer: who may knock at all; mallory may not
use = "ip-allowlist"
permit = ["{SUBSCRIBER.address()}", "{PUBLISHER.address()}"]

[[policy]]
id = "bans"                         # who guesses passwords has to wait, then its address is banned
use = "ban"
file = "bans.json"

[[policy]]
id = "connections"                  # 20 unknown connections of one address, and no more
use = "connection-limit"
per_address = 100
unauthenticated = 20

[[policy]]
id = "handshake"                    # the transport layer: TLS 1.2 or later, forward secret
use = "tls-requirements"

[[policy]]
id = "certificate"                  # the application layer: who is it? A certificate of the lab's CA ...
use = "client-certificate"
authorities = ["lab"]

[[policy]]
id = "password"                     # ... or a password
use = "password-file"
authority = "lab"

[[policy]]
id = "client-ids"                   # a Client Identifier belongs to its user
use = "client-id"
patterns = ["{{user}}", "{{user}}-*"]

[[policy]]
id = "rates"
use = "rate-limit"
messages = "1000/second"
bytes = "4MiB/second"
burst = 5.0

[[policy]]
id = "topics"                       # what may they do?
use = "topic-acl"
authority = "lab"
rules = [
  "permit user:{WRITER}  publish,read  lab/#",
  "permit user:{READER}    read          lab/#",
]

[audit]
file = "audit.jsonl"
permits = 1.0

[control]
socket = "control"

[store]
durability = "memory"               # nothing of a lesson is kept
"""


def prepare(folder: LabFolder, now: datetime, *, kind: str = DEFAULT_KIND) -> list[Path]:
    """Make all that a lab needs; return the new files.

    Raises:
        LabError: there is something already, or the folder cannot be written.
    """
    if folder.path.exists() and any(folder.path.iterdir()):
        raise LabError(f"{folder.path} is not empty; name another folder, or take this lab up: mqttsecure lab up")
    try:
        make_folder(folder.path, 0o700)
        made = create_root(folder.authority, Wanted(subject("MQTT Lab CA", organization="MQTT Lab"), Purpose.CA), now)
        with open_authority(folder.authority) as authority:
            made += _issue(authority, folder.path / "broker", Purpose.SERVER, BROKER_NAME, _NAMES, kind, now)
            made += _issue(authority, folder.path / WRITER, Purpose.CLIENT, WRITER, (), kind, now)
            made += _issue(authority, folder.path / READER, Purpose.CLIENT, READER, (), kind, now)
            make_bad(folder.bad, _NAMES, authority.signer, now)
        made += _make_users(folder)
        made += _make_tunnel(folder)
        # The policy last: where it is, all of the lab is.
        return [*made, folder.bad, write_new(NewFile(folder.policy, _POLICY.encode()))]
    except CertificateProblem as error:
        raise LabError(str(error)) from None


def _issue(
    authority: Authority, stem: Path, purpose: Purpose, name: str, names: tuple[str, ...], kind: str, now: datetime
) -> list[Path]:
    key = new_key(kind)
    certificate = authority.issue(Wanted(subject(name), purpose, parse_names(names)), key.public_key(), now)
    return [
        write_new(NewFile(Path(f"{stem}.key"), key_pem(key), PRIVATE)),
        write_new(NewFile(Path(f"{stem}.pem"), authority.with_chain(certificate))),
    ]


def _make_users(folder: LabFolder) -> list[Path]:
    made, lines = [], []
    for user in (WRITER, READER):
        password = secrets.token_urlsafe(12)
        made.append(write_new(NewFile(folder.password(user), f"{password}\n".encode(), PRIVATE)))
        lines.append(f"{user}:{hash_password(password.encode())}\n")
    return [*made, write_new(NewFile(folder.path / "users", "".join(lines).encode(), PRIVATE))]


def _make_tunnel(folder: LabFolder) -> list[Path]:
    hosts = (BROKER, *DEVICES)
    pairs = {host.name: new_pair() for host in hosts}
    public = {name: pair[1] for name, pair in pairs.items()}
    make_folder(folder.tunnel, 0o700)
    return [
        write_new(
            NewFile(
                folder.tunnel / f"{host.name}.conf", configuration(host, pairs[host.name][0], public).encode(), PRIVATE
            )
        )
        for host in hosts
    ]
