# -*- test-case-name: tests.lab.network.test_machine -*-
"""What this machine can do for the lab, found out by doing it in a space that is thrown away at once."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mqttsecure.errors import LabError
from mqttsecure.lab.network.lan import SWITCH, build_lan
from mqttsecure.lab.network.plan import BROKER, LOOPBACK, Mode
from mqttsecure.lab.network.processes import environment
from mqttsecure.lab.network.space import Space

__all__ = ["Ability", "Machine", "choose_mode", "examine"]

_PACKAGES: Final = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables"}

_BIND_PACKET: Final = f"""\
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("{SWITCH}", 0))
"""


@dataclass(slots=True, frozen=True)
class Ability:
    """One thing that the lab would use: whether it works here, and if not why, with what helps."""

    name: str
    works: bool
    detail: str


@dataclass(slots=True)
class Machine:
    """All that was found. ``mode`` is the way that the lab takes here."""

    mode: Mode
    abilities: list[Ability]
    tunnel: str | None
    """"kernel" or "wireguard-go", or None where there is no WireGuard."""


def _program(name: str) -> str | None:
    return shutil.which(name, path=environment()["PATH"])


def examine() -> Machine:
    """Try all of it."""
    abilities = [_has(name) for name in _PACKAGES]
    mode = Mode.LOOPBACK
    tunnel: str | None = None
    for each in (Mode.ROOT, Mode.ROOTLESS):
        found, tunnel_here = _try_mode(each)
        abilities += found
        if mode is Mode.LOOPBACK and all(ability.works for ability in found[:2]):
            mode, tunnel = each, tunnel_here
    abilities.append(_loopback())
    abilities.append(_wireguard(mode, tunnel))
    return Machine(mode, abilities, tunnel)


def _has(name: str) -> Ability:
    path = _program(name)
    if path is not None:
        return Ability(f"program {name}", True, path)
    return Ability(f"program {name}", False, f"missing; install the package {_PACKAGES[name]}")


def choose_mode(wanted: Mode | None = None) -> tuple[Mode, list[str]]:
    """The way that the lab takes, and why not those before it.

    Raises:
        LabError: the one that is wanted does not work here.
    """
    if wanted is Mode.LOOPBACK:
        return wanted, []
    reasons: list[str] = []
    for each in (Mode.ROOT, Mode.ROOTLESS) if wanted is None else (wanted,):
        found, _ = _try_mode(each, only_needed=True)
        missing = [ability for ability in found if not ability.works]
        if not missing:
            return each, reasons
        reasons.append(f"{missing[0].name}: {missing[0].detail}")
    if wanted is not None:
        raise LabError(f"this machine does not do {wanted.words}: {reasons[0]}; leave out --mode to take what works")
    return Mode.LOOPBACK, reasons


def _try_mode(mode: Mode, *, only_needed: bool = False) -> tuple[list[Ability], str | None]:
    """Namespaces and LAN first, which the mode needs; then what it can do without."""
    label = mode.value
    if mode is Mode.ROOT and os.geteuid() != 0:
        return [
            Ability(
                f"{label}: namespaces", False, "you are not root; sudo would do, and is not needed if rootless works"
            )
        ], None
    space: Space | None = None
    try:
        space = Space.open(rootless=mode is Mode.ROOTLESS)
        found = [
            Ability(
                f"{label}: namespaces",
                True,
                "user, mount, PID and network" if space.rootless else "mount, PID and network",
            )
        ]
        build_lan(space)
        found.append(Ability(f"{label}: LAN", True, "a bridge and a cable to each host"))
        if only_needed:
            return found, None
        optional, tunnel = _optional(space, label)
        return found + optional, tunnel
    except LabError as error:
        name = f"{label}: namespaces" if space is None else f"{label}: LAN"
        return [Ability(name, False, _why(str(error)))], None
    finally:
        if space is not None:
            space.close()


def _why(text: str) -> str:
    for file, value, mend in _KNOBS:
        try:
            if Path(file).read_text().strip() == value:
                return f"{text}; the kernel forbids it: {mend}"
        except OSError:
            continue
    return text


_KNOBS: Final = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "as root: sysctl kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
     "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ("/proc/sys/user/max_user_namespaces", "0", "as root: sysctl user.max_user_namespaces=1000"),
)  # fmt: skip


def _optional(space: Space, label: str) -> tuple[list[Ability], str | None]:
    found = []
    checks: tuple[tuple[str, Callable[[], tuple[bool, str]], str], ...] = (
        (
            "firewall",
            lambda: space.attempt(BROKER, "nft", "add", "table", "inet", "probe"),
            "rules are loaded into nftables",
        ),
        ("capture", lambda: space.attempt(None, sys.executable, "-c", _BIND_PACKET), "frames off the switch"),
        ("tunnel device", lambda: space.attempt(BROKER, "sh", "-c", "exec 3<>/dev/net/tun"), "/dev/net/tun opens"),
    )
    for name, check, good in checks:
        works, said = check()
        found.append(Ability(f"{label}: {name}", works, good if works else said.strip().splitlines()[-1]))
    kernel, _ = space.attempt(BROKER, "ip", "link", "add", "wg-probe", "type", "wireguard")
    if kernel:
        return found, "kernel"
    return found, "wireguard-go" if found[-1].works and _program("wireguard-go") else None


def _loopback() -> Ability:
    return Ability("loopback: addresses", True, f"{LOOPBACK}.0/24 on this machine; it always works")


def _wireguard(mode: Mode, tunnel: str | None) -> Ability:
    if _program("wg") is None:
        return Ability("tunnel (--vpn)", False, "wg is missing; install the package wireguard-tools")
    if tunnel is not None:
        return Ability("tunnel (--vpn)", True, f"WireGuard by {'the kernel' if tunnel == 'kernel' else 'wireguard-go'}")
    if not mode.has_lan:
        return Ability("tunnel (--vpn)", False, "needs a LAN")
    if _program("wireguard-go") is None:
        return Ability("tunnel (--vpn)", False, "this kernel has no WireGuard; install the package wireguard-go")
    return Ability(
        "tunnel (--vpn)", False, "this kernel has no WireGuard, and /dev/net/tun is for root; run the lab as root"
    )
