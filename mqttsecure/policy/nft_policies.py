# -*- test-case-name: tests.policy.test_nft -*-
"""What a firewall is made of: listeners, and the policies that are asked at ACCEPT as far as they are understood."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel

from mqttsecure.core.decisions import Role, Source, Stage
from mqttsecure.policy.binding import PolicyBinding
from mqttsecure.policy.builtin.ban import BanPolicy
from mqttsecure.policy.builtin.ban_options import BanOptions
from mqttsecure.policy.builtin.connection_limit import ConnectionLimit, ConnectionLimitOptions
from mqttsecure.policy.builtin.ip_allowlist import IpAllowlist, IpAllowlistOptions
from mqttsecure.policy.nft_bans import HeldBans, LiveBans, held_bans

__all__ = ["AcceptListener", "AcceptPolicy", "Known", "accept_policies", "identifier", "where"]

Known: TypeAlias = IpAllowlistOptions | ConnectionLimitOptions | HeldBans
"""What is understood of a policy here."""


@dataclass(slots=True, frozen=True)
class AcceptListener:
    """A listener by its name and its pairs of IP address and port."""

    name: str
    addresses: tuple[tuple[str, int], ...]
    source: Source | None = None


@dataclass(slots=True, frozen=True)
class AcceptPolicy:
    """A policy that is asked at ACCEPT; ``options`` is None for one that is not known here."""

    position: int
    id: str
    use: str
    on: frozenset[str]
    grants: bool
    final: bool
    required: bool
    options: Known | None
    source: Source | None = None

    @property
    def name(self) -> str:
        """What its sets and chains are called: nftables' names have no "-", and the number keeps them apart."""
        return f"{self.position}_{identifier(self.id)}"


def identifier(text: str) -> str:
    """``text`` as nftables takes it in a name."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def where(each: AcceptPolicy | AcceptListener) -> str:
    """How a sentence about it begins."""
    what = "policy" if isinstance(each, AcceptPolicy) else "listener"
    label = each.id if isinstance(each, AcceptPolicy) else each.name
    return f"{each.source}: {what} {label!r}" if each.source else f"{what} {label!r}"


def accept_policies(
    bindings: Sequence[PolicyBinding], options: Mapping[str, BaseModel], live: LiveBans | None = None
) -> list[AcceptPolicy]:
    """The policies of a chain that are asked at ACCEPT.

    Args:
        bindings: of the chain, in order.
        options: the validated options of each policy by its id.
        live: the bans of the running broker, where it was asked; else those of the policies' files are taken.
    """
    found = []
    for position, binding in enumerate(bindings):
        role = binding.stages.get(Stage.ACCEPT)
        if role is None:
            continue
        found.append(
            AcceptPolicy(
                position=position,
                id=binding.id,
                use=binding.factory.name,
                on=binding.on,
                grants=role is Role.GRANTS,
                final=Stage.ACCEPT in binding.final,
                required=Stage.ACCEPT in binding.required,
                options=_known(binding, options.get(binding.id), live),
                source=binding.source,
            )
        )
    return found


def _known(binding: PolicyBinding, options: BaseModel | None, live: LiveBans | None) -> Known | None:
    # By the class of the policy itself: what a third party names alike, or derives from it, may decide otherwise.
    kind, policy = type(binding.policy), binding.policy
    if kind is IpAllowlist and isinstance(options, IpAllowlistOptions):
        return options
    if kind is ConnectionLimit and isinstance(options, ConnectionLimitOptions):
        return options
    if kind is BanPolicy and isinstance(policy, BanPolicy) and isinstance(options, BanOptions):
        return held_bans(policy, options, None if live is None else live.get(binding.id, {}))
    return None
