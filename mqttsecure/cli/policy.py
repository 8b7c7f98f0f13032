# -*- test-case-name: tests.cli.test_nft -*-
"""``mqttsecure policy``: what can be done with a configuration's policies besides running them."""

from __future__ import annotations

import click

from mqttsecure.cli.nft import nft
from mqttsecure.cli.policy_diff import diff_policies
from mqttsecure.cli.policy_new import new_policy
from mqttsecure.cli.policy_prove import prove_claim
from mqttsecure.cli.policy_test import run_policy_tests

__all__ = ["policy"]


@click.group()
def policy() -> None:
    """Work with the policies of a configuration.

    \b
    Examples:
      mqttsecure policy test -c etc/broker.toml            does the chain answer as its tests expect
      mqttsecure policy prove -c etc/broker.toml --who group:guests --never publish 'plant/#'
      mqttsecure policy diff etc/broker.toml next.toml     who gains and who loses what
      mqttsecure policy nft etc/broker.toml                the ACCEPT stage as a firewall of the kernel
      mqttsecure policy new valve-guard                    a policy of your own to begin with, tested

    Exit codes: those of the command below it.
    """


policy.add_command(diff_policies)
policy.add_command(new_policy)
policy.add_command(nft)
policy.add_command(prove_claim)
policy.add_command(run_policy_tests)
