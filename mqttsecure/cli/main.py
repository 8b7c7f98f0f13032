# -*- test-case-name: tests.cli.test_main -*-
"""The ``mqttsecure`` command and its tree."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from mqttsecure.cli.bans import bans
from mqttsecure.cli.cert import cert
from mqttsecure.cli.check import check
from mqttsecure.cli.explain import explain
from mqttsecure.cli.handshake import handshake
from mqttsecure.cli.import_ import import_
from mqttsecure.cli.lab import lab
from mqttsecure.cli.passwd import passwd
from mqttsecure.cli.policies import policies
from mqttsecure.cli.policy import policy
from mqttsecure.cli.pub import pub
from mqttsecure.cli.running import clients, reload, status
from mqttsecure.cli.store import store
from mqttsecure.cli.store_copies import backup, export
from mqttsecure.cli.store_copies import import_ as import_store
from mqttsecure.cli.store_owners import reassign_, release_
from mqttsecure.cli.sub import sub
from mqttsecure.cli.why import why

__all__ = ["main"]


def _version() -> str:
    try:
        return version("mqttsecure")
    except PackageNotFoundError:
        return "from a checkout, not installed"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(_version(), "--version", prog_name="mqttsecure")
def main() -> None:
    """Look after a secure MQTT broker.

    The broker itself is started by twistd.

    \b
    Examples:
      twistd -n mqttsecure --config etc/broker.toml    run the broker in the foreground
      mqttsecure check etc/broker.toml                 look for mistakes without starting
      mqttsecure passwd certs/users bob                add a user, or change a password
      mqttsecure cert init plant-ca                    a certificate authority of your own
      mqttsecure policies                              list the policies that can be used
      mqttsecure explain -c etc/broker.toml --user alice publish lab/1
                                                       what the chain says to that, and why
      mqttsecure policy test -c etc/broker.toml        does the chain answer as its tests expect
      mqttsecure policy nft etc/broker.toml            the same addresses and limits, as a firewall of the kernel
      mqttsecure import mosquitto /etc/mosquitto/mosquitto.conf --out etc/from-mosquitto
                                                       come over from mosquitto
      mqttsecure handshake localhost:8883 --ca certs/ca.pem
                                                       a TLS handshake, live or captured, message by message
      mqttsecure status --config etc/broker.toml       how the running broker is
      mqttsecure reload --config etc/broker.toml       put a changed configuration in force, all of it or nothing
      mqttsecure clients list --config etc/broker.toml who is connected
      mqttsecure bans list --config etc/broker.toml    which addresses are banned, and why
      mqttsecure store info --config etc/broker.toml   what is on disk, and whose it is
      mqttsecure why pump-7 --config etc/broker.toml   what is wrong with a client, and what helps

      mqttsecure sub -t 'lab/#' -v -u alice            messages to stdout, from a broker that is verified
      mqttsecure pub -t lab/hello -m world -u alice    publish one

    \b
    Exit codes of all commands:
      0  done, nothing wrong
      1  problems were found, and told on stderr
      2  the command line makes no sense
      3 and above: see the command's own --help
    """


main.add_command(bans)
main.add_command(cert)
main.add_command(check)
main.add_command(explain)
main.add_command(import_)
main.add_command(handshake)
main.add_command(lab)
main.add_command(passwd)
main.add_command(policies)
main.add_command(policy)
main.add_command(status)
main.add_command(reload)
main.add_command(clients)
main.add_command(pub)
main.add_command(sub)
main.add_command(store)
main.add_command(why)

for _command in (backup, export, import_store, reassign_, release_):
    store.add_command(_command)
