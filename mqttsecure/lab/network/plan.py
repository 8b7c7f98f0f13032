# -*- test-case-name: tests.lab.network.test_plan -*-
"""Who is in the lab, and at which address."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = [
    "BROKER",
    "HOSTS",
    "LAN",
    "LOOPBACK",
    "MALLORY",
    "PLAIN_PORT",
    "PORT",
    "PUBLISHER",
    "SUBSCRIBER",
    "TUNNEL",
    "Host",
    "Mode",
]

LAN: Final = "10.77.0"
LOOPBACK: Final = "127.77.0"
TUNNEL: Final = "10.99.0"

PORT: Final = 8883
PLAIN_PORT: Final = 1883
"""Of the listener without TLS, in a lab that was brought up with one to see what can be read there."""


class Mode(Enum):
    """How the hosts are kept apart. The first that this machine can do is taken."""

    ROOT = "root"
    ROOTLESS = "rootless"
    LOOPBACK = "loopback"

    @property
    def has_lan(self) -> bool:
        return self is not Mode.LOOPBACK

    @property
    def words(self) -> str:
        return _WORDS[self.value]

    @property
    def network(self) -> str:
        """The first three numbers of its addresses."""
        return LAN if self.has_lan else LOOPBACK


_WORDS: Final = {
    "root": "a LAN in network namespaces, as root",
    "rootless": "a LAN in network namespaces, as an ordinary user",
    "loopback": "addresses of 127.0.0.0/8 on this machine, without a LAN and without a firewall",
}


@dataclass(slots=True, frozen=True)
class Host:
    """A host of the lab; ``number`` is the last of its address."""

    name: str
    number: int
    does: str

    def address(self, network: str = LAN) -> str:
        return f"{network}.{self.number}"


BROKER: Final = Host("broker", 10, "the broker, and its firewall")
SUBSCRIBER: Final = Host("subscriber", 20, "bob, who reads")
PUBLISHER: Final = Host("publisher", 30, "alice, who writes")
MALLORY: Final = Host("mallory", 40, "an attacker on the same switch")

HOSTS: Final = (BROKER, SUBSCRIBER, PUBLISHER, MALLORY)
