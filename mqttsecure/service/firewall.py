# -*- test-case-name: tests.cli.test_nft -*-
"""A checked configuration as a ruleset for nftables: for ``mqttsecure policy nft``, and for the lab's broker."""

from __future__ import annotations

from mqttsecure.errors import ConfigError
from mqttsecure.policy.nft import DEFAULT_TABLE, Compilation, compile_accept
from mqttsecure.policy.nft_bans import LiveBans
from mqttsecure.policy.nft_policies import AcceptListener, accept_policies
from mqttsecure.service.assembly import Assembly

__all__ = ["compile_firewall"]


def compile_firewall(
    assembly: Assembly,
    *,
    table: str = DEFAULT_TABLE,
    lock: bool = False,
    reject: bool = False,
    live_bans: LiveBans | None = None,
) -> Compilation:
    """Compile the ACCEPT stage.

    Args:
        assembly: listeners and policies.
        table: of nftables.
        lock: also drop what is not for a listener.
        reject: answer what is refused by a reset in place of silence.
        live_bans: what is banned now, in place of what the policy's file says.

    Raises:
        ConfigError: locked, a listener could never be reached, as its port is not known.
    """
    if lock:
        unknown = [each for each in assembly.listeners if any(port == 0 for _, port in each.addresses)]
        if unknown:
            raise ConfigError(
                [f"{each.source}: listener {each.name!r}: --lock wants a port number, not 0" for each in unknown]
            )
    options = {
        each.config.id: each.found.factory.options.model_validate(each.config.options) for each in assembly.policies
    }
    return compile_accept(
        [AcceptListener(each.name, each.addresses, each.source) for each in assembly.listeners],
        accept_policies(assembly.chain.bindings, options, live_bans),
        maximum_connections=assembly.limits.maximum_connections,
        table=table,
        lock=lock,
        reject=reject,
    )
