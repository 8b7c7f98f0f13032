# -*- test-case-name: tests.policy.builtin.test_ip_allowlist -*-
"""``ip-allowlist``: who may connect at all, by address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import Decision, Request, Role, Stage
from mqttsecure.interfaces import INTERFACE_VERSION, IPolicy, IPolicyEnvironment, IPolicyFactory
from mqttsecure.policy.builtin.networks import EVERYWHERE, UNIX, NetworkTable, parse_network
from mqttsecure.policy.builtin.options import PolicyOptions, Problems

__all__ = ["IpAllowlist", "IpAllowlistFactory", "IpAllowlistOptions"]

_NOT_LISTED: Final = Decision.abstain(text="the address is not listed", cacheable=True)


class IpAllowlistOptions(PolicyOptions):
    """Options of ``ip-allowlist``."""

    permit: list[str] = Field(
        default=[],
        description='Addresses and prefixes that may connect; "everywhere" is all of IP, "unix" the Unix sockets.',
        examples=[["192.0.2.0/24", "2001:db8::/32", "unix"]],
    )
    deny: list[str] = Field(
        default=[],
        description="Addresses and prefixes that may not, even where `permit` holds them too.",
        examples=[["192.0.2.66"]],
    )


@implementer(IPolicy)
class IpAllowlist:
    """Permits and denies by the peer's address; deny wins."""

    stateful = False

    def __init__(self, permit: NetworkTable[Decision], deny: NetworkTable[Decision]) -> None:
        self._permit = permit
        self._deny = deny

    def decide(self, request: Request) -> Decision:
        """DENY an address under ``deny``, PERMIT one under ``permit``, ABSTAIN on any other."""
        peer = request.connection.peer
        return self._deny.find(peer) or self._permit.find(peer) or _NOT_LISTED


@implementer(IPolicyFactory)
class IpAllowlistFactory:
    """Builds :class:`IpAllowlist`."""

    interface_version = INTERFACE_VERSION
    name = "ip-allowlist"
    summary = "who may connect, by address"
    stages: Mapping[Stage, Role] = {Stage.ACCEPT: Role.GRANTS}
    options = IpAllowlistOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: IpAllowlistOptions, environment: IPolicyEnvironment) -> IpAllowlist:
        problems = Problems(environment)
        if not options.permit and not options.deny:
            problems.add(None, f'it lists no address; give permit = ["192.0.2.0/24"], or permit = ["{EVERYWHERE}"]')
        for option, entries in (("permit", options.permit), ("deny", options.deny)):
            for index, text in enumerate(entries):
                if text not in (EVERYWHERE, UNIX):
                    problems.attempt(option, parse_network, text, index)
        problems.done()
        return IpAllowlist(
            NetworkTable(_decisions("permit", options.permit, environment)),
            NetworkTable(_decisions("deny", options.deny, environment)),
        )


def _decisions(option: str, entries: list[str], environment: IPolicyEnvironment) -> dict[str, Decision]:
    make = Decision.permit if option == "permit" else Decision.deny
    decisions: dict[str, Decision] = {}
    for index, text in enumerate(entries):
        rule = f"{option}[{index}]"
        source = environment.source(option, index)
        decisions.setdefault(text, make(rule, f"the address is under {text}", source=source, cacheable=True))
    return decisions
