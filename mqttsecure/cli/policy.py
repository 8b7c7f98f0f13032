# -*- test-case-name: tests.cli.test_nft -*-
"""``mqttsecure policy``: what can be done with a configuration's policies besides running them."""

from __future__ import annotations

import click

from mqttsecure.cli.nft import nft

__all__ = ["policy"]


@click.group()
def policy() -> None:
    """Work with the policies of a configuration.

    \b
    Examples:
      mqttsecure policy nft etc/broker.toml    the ACCEPT stage as a firewall of the kernel

    Exit codes: those of the command below it.
    """


policy.add_command(nft)
