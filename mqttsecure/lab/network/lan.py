# -*- test-case-name: tests.lab.network.test_lan -*-
"""A switch and a cable to each host: what one would build on a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mqttsecure.errors import LabError
from mqttsecure.lab.network.plan import HOSTS, LAN, Host
from mqttsecure.lab.network.space import Space

__all__ = ["SWITCH", "build_lan", "lan_script"]

SWITCH: Final = "br0"

_BEGIN: Final = f"""\
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
ip link set lo up
ip link add {SWITCH} type bridge
ip link set {SWITCH} up
"""

_HOST: Final = """\
ip netns add {name}
ip link add v-{name} type veth peer name eth0 netns {name}
ip link set v-{name} master {switch} up
ip -n {name} link set lo up
ip -n {name} addr add {address}/24 dev eth0
ip -n {name} link set eth0 up
"""


def lan_script(hosts: Sequence[Host] = HOSTS, network: str = LAN) -> str:
    """The commands that make it, for the switch's shell."""
    return _BEGIN + "".join(
        _HOST.format(name=host.name, switch=SWITCH, address=host.address(network)) for host in hosts
    )


def build_lan(space: Space, hosts: Sequence[Host] = HOSTS) -> None:
    """Build it in an empty space.

    Raises:
        LabError: ip is missing, or the kernel has no bridges or cables.
    """
    done, output = space.attempt(None, "sh", "-euc", lan_script(hosts))
    if not done:
        said = output.strip().splitlines()
        if any("not found" in line for line in said):
            raise LabError("the program ip is missing; install the package iproute2")
        raise LabError(
            f"the LAN cannot be built ({said[-1] if said else 'no reason given'}); see: mqttsecure lab doctor"
        )
