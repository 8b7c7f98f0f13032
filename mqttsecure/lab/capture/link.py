# -*- test-case-name: tests.lab.capture.test_link -*-
"""From a frame to the IP packet in it, by the link type of its interface."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ETHERNET",
    "IPV4",
    "IPV6",
    "LINUX_SLL",
    "LINUX_SLL2",
    "LOOP",
    "NULL",
    "RAW",
    "RAW_IPV4",
    "RAW_IPV6",
    "ip_packet",
    "link_name",
]

NULL: Final = 0
ETHERNET: Final = 1
RAW: Final = 101
LOOP: Final = 108
LINUX_SLL: Final = 113
RAW_IPV4: Final = 228
RAW_IPV6: Final = 229
LINUX_SLL2: Final = 276
_RAW_OLD: Final = (12, 14)
"""What some systems write for raw IP: their own DLT_RAW."""

IPV4: Final = 0x0800
IPV6: Final = 0x86DD
_VLAN: Final = (0x8100, 0x88A8, 0x9100)
_PPPOE: Final = 0x8864
_MAX_TAGS: Final = 4
"""VLAN tags one in another: two are in use (802.1ad); more than four are an attack on whoever reads them."""

_NAMES: Final = {
    NULL: "BSD loopback",
    ETHERNET: "Ethernet",
    12: "raw IP",
    14: "raw IP",
    RAW: "raw IP",
    LOOP: "OpenBSD loopback",
    LINUX_SLL: "Linux cooked v1",
    RAW_IPV4: "raw IPv4",
    RAW_IPV6: "raw IPv6",
    LINUX_SLL2: "Linux cooked v2",
    105: "IEEE 802.11 (Wi-Fi)",
    127: "IEEE 802.11 with radiotap (Wi-Fi)",
    9: "PPP",
    189: "USB",
    220: "USB",
    249: "USB",
    187: "Bluetooth",
    201: "Bluetooth",
    195: "IEEE 802.15.4",
}


def link_name(link_type: int) -> str:
    """A link type in words."""
    return _NAMES.get(link_type, f"link type {link_type}")


def ip_packet(link_type: int, data: bytes) -> bytes | None:
    """The IP packet in a frame, with what pads the frame behind it; None where there is none.

    Raises:
        KeyError: a link type that is not read here.
    """
    if link_type == ETHERNET:
        return _by_ether_type(data, 12)
    if link_type == LINUX_SLL:
        return _by_ether_type(data, 14)
    if link_type == LINUX_SLL2:
        return _cooked_2(data)
    if link_type in (RAW, RAW_IPV4, RAW_IPV6, *_RAW_OLD):
        return data if data and data[0] >> 4 in (4, 6) else None
    if link_type in (NULL, LOOP):
        return _loopback(data)
    raise KeyError(link_type)


def _by_ether_type(data: bytes, position: int) -> bytes | None:
    for _tag in range(_MAX_TAGS + 1):
        if len(data) < position + 2:
            return None
        kind = int.from_bytes(data[position : position + 2], "big")
        if kind in (IPV4, IPV6):
            return data[position + 2 :]
        if kind == _PPPOE:
            return _ppp(data[position + 8 :])
        if kind not in _VLAN:
            return None
        position += 4
    return None


def _ppp(data: bytes) -> bytes | None:
    """What follows the six bytes of PPPoE, as DSL lines have it (RFC 2516)."""
    return data[2:] if data[:2] in (b"\x00\x21", b"\x00\x57") else None


def _cooked_2(data: bytes) -> bytes | None:
    if len(data) < 20:
        return None
    kind = int.from_bytes(data[:2], "big")
    if kind in (IPV4, IPV6):
        return data[20:]
    if kind in _VLAN:
        return _by_ether_type(data, 22)
    return None


def _loopback(data: bytes) -> bytes | None:
    """Four bytes of address family in the byte order of who captured; the packet itself says which IP it is."""
    packet = data[4:]
    return packet if packet and packet[0] >> 4 in (4, 6) and any(data[:4]) else None
