# -*- test-case-name: tests.lab.network.test_tunnel -*-
"""A WireGuard tunnel between the broker and its devices, and the rule that lets in nothing else."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mqttsecure.errors import LabError
from mqttsecure.lab.network.plan import BROKER, LAN, PORT, PUBLISHER, SUBSCRIBER, TUNNEL, Host
from mqttsecure.lab.network.space import Space

__all__ = ["DEVICES", "WIREGUARD_PORT", "build_tunnel", "configuration", "interface_of", "new_pair", "only_from_tunnel"]

WIREGUARD_PORT: Final = 51820
DEVICES: Final = (SUBSCRIBER, PUBLISHER)
_MTU: Final = 1420


def interface_of(host: Host) -> str:
    """A name for each host of its own: the hosts share the folder in which wireguard-go has its sockets."""
    return f"wg-{host.name}"


def new_pair() -> tuple[str, str]:
    """A private and a public key as WireGuard writes them."""
    key = X25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(private).decode(), base64.b64encode(public).decode()


def configuration(host: Host, private: str, public: dict[str, str], network: str = LAN) -> str:
    """The file for ``wg setconf``: of the broker with all devices, of a device with the broker."""
    lines = ["[Interface]", f"PrivateKey = {private}"]
    peers: Sequence[Host] = (BROKER,)
    if host is BROKER:
        lines.append(f"ListenPort = {WIREGUARD_PORT}")
        peers = DEVICES
    for peer in peers:
        lines += ["", "[Peer]", f"# {peer.name}", f"PublicKey = {public[peer.name]}"]
        lines.append(f"AllowedIPs = {peer.address(TUNNEL)}/32")
        if peer is BROKER:
            lines.append(f"Endpoint = {peer.address(network)}:{WIREGUARD_PORT}")
    return "\n".join(lines) + "\n"


def only_from_tunnel() -> str:
    """Rules for nftables: UDP of the tunnel from the LAN, and MQTT through the tunnel alone."""
    return f"""\
table inet mqttsecure_tunnel
delete table inet mqttsecure_tunnel
table inet mqttsecure_tunnel {{
    chain input {{
        type filter hook input priority filter - 1; policy drop;
        ct state established,related accept
        iif lo accept
        iifname "{interface_of(BROKER)}" counter accept comment "through the tunnel"
        udp dport {WIREGUARD_PORT} ip saddr {LAN}.0/24 counter accept comment "the tunnel itself"
        tcp dport {PORT} counter reject with tcp reset comment "MQTT beside the tunnel"
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
        counter drop comment "all else"
    }}
}}
"""


def build_tunnel(space: Space, kind: str, folder: Path, born: Callable[[str], None]) -> None:
    """Make the interface on the broker and each device.

    Args:
        space: with a LAN.
        kind: "kernel" or "wireguard-go".
        folder: where ``NAME.conf`` of each host is.
        born: is told what was done, for the one who waits.

    Raises:
        LabError: it cannot be made.
    """
    for host in (BROKER, *DEVICES):
        if kind == "kernel":
            space.run(host, "ip", "link", "add", interface_of(host), "type", "wireguard")
        else:
            _start_wireguard_go(space, host)
        space.run(host, "wg", "setconf", interface_of(host), str(folder / f"{host.name}.conf"))
        space.run(host, "ip", "addr", "add", f"{host.address(TUNNEL)}/24", "dev", interface_of(host))
        space.run(host, "ip", "link", "set", interface_of(host), "mtu", str(_MTU), "up")
        born(f"{host.name}: {interface_of(host)} {host.address(TUNNEL)} ({kind})")


def _start_wireguard_go(space: Space, host: Host) -> None:
    # Where the kernel has WireGuard this program asks not to be used; it is started where the kernel has none.
    name = "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1"
    done, said = space.attempt(host, "env", name, "wireguard-go", interface_of(host))
    if not done:
        line = said.strip().splitlines()
        raise LabError(f"wireguard-go does not start on {host.name} ({line[-1] if line else 'no reason given'})")
