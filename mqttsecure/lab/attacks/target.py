# -*- test-case-name: tests.lab.attacks.test_target -*-
"""Whom attacks are for: a broker of one's own on loopback or in the lab. Anything else is refused."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mqttsecure.errors import LabError
from mqttsecure.lab.network.plan import LAN, TUNNEL
from mqttsecure.wire.constants import MQTT_5_0

__all__ = ["Account", "Target", "check_target", "parse_target"]

_LAB: Final = tuple(ipaddress.ip_network(f"{each}.0/24") for each in (LAN, TUNNEL))
_TARGET: Final = re.compile(r"(?:\[([0-9A-Fa-f:]+)\]|([^:/\s\[\]]+)):(\d{1,5})")


def check_target(host: str, *, in_lab: bool) -> str:
    """The address of ``host``, if it may be attacked.

    Args:
        host: a name or an address.
        in_lab: whether the attack runs within a lab's LAN, from where nobody else can be reached.

    Raises:
        LabError: it is neither on this machine nor in the lab.
    """
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise LabError(f"{host}: no such host ({error.strerror}); give an address such as 127.0.0.1") from None
    addresses = [ipaddress.ip_address(str(each).partition("%")[0]) for each in found]
    for address in addresses:
        is_lab = in_lab and any(address in network for network in _LAB)
        if not address.is_loopback and not is_lab:
            raise LabError(
                f"{host} is {address}: attacks are for a broker of your own, on this machine (127.0.0.0/8, ::1) or in "
                "the lab; run it there"
            )
    return str(min(addresses, key=lambda address: (address.version, int(address))))


def parse_target(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``.

    Raises:
        LabError: it is not that.
    """
    match = _TARGET.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65_536:
        raise LabError(f"{text!r} is no target; write HOST:PORT, such as 127.0.0.1:8883")
    return match[1] or match[2], int(match[3])


@dataclass(slots=True, frozen=True)
class Account:
    """A user of the broker that the attacker knows the password of: a device of theirs, taken over."""

    name: str
    password: str


@dataclass(slots=True, frozen=True)
class Target:
    """A broker, and what is known of it.

    Attributes:
        host: its address.
        port: of TCP.
        tls: whether it speaks TLS there.
        server_name: whose certificate it has.
        ca_file: who may vouch for it.
        writer: may publish below ``topics`` and read there.
        reader: may only read there.
        topics: the first level that both may use.
        forbidden: one that neither may.
        source: the address that the attacker has; None for any.
        control: the control socket of a broker of ours, by which its administrator lifts bans between attacks.
        bad: the folder with the six bad certificates, for the man in the middle.
        middle: the address at which the man in the middle listens.
        patience: seconds after which a silent connection counts as held for good.
        version: of MQTT; 5 or 4.
    """

    host: str
    port: int
    tls: bool
    server_name: str
    ca_file: str | None
    writer: Account
    reader: Account
    topics: str = "lab"
    forbidden: str = "secret"
    source: str | None = None
    control: str | None = None
    bad: str | None = None
    middle: str = "127.0.0.1"
    patience: float = 20.0
    version: int = MQTT_5_0

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def read(cls, line: str) -> Target:
        value: Mapping[str, Any] = json.loads(line)
        accounts = {name: Account(**value[name]) for name in ("writer", "reader")}
        return cls(**{**value, **accounts})

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def context(self) -> ssl.SSLContext | None:
        """TLS that verifies; None where the target speaks none."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.ca_file is not None:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def pardon(self) -> None:
        """Have the administrator lift all bans, so that one attack does not stand in for the next."""
        if self.control is None or not Path(self.control).exists():
            return
        listed = self._ask({"command": "bans"})
        prefixes = {each.get("prefix") or each.get("address") for each in listed.get("bans", ())}
        prefixes |= {self.source}
        for prefix in filter(None, prefixes):
            self._ask({"command": "unban", "address": prefix})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(str(self.control))
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline() or b"{}")
        result: dict[str, Any] = answer.get("result") or {}
        return result
