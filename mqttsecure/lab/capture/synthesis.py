# -*- test-case-name: tests.lab.capture.test_synthesis -*-
"""Frames for a conversation that was recorded at a socket: TCP and IP around it as a wire would have carried them.

A live connection is explained by the same code as a capture, and can be kept as a file that Wireshark opens. What the
frames around the bytes say (sequence numbers, acknowledgements) is made up in a consistent way.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import Final

from mqttsecure.lab.capture.link import ETHERNET, IPV4, IPV6, LINUX_SLL, LINUX_SLL2, LOOP, NULL
from mqttsecure.lab.capture.tcp import ACK, FIN, PSH, RST, SYN

__all__ = ["Conversation", "End", "ip_header", "link_header", "tcp_header"]

_CLIENT_MAC: Final = bytes.fromhex("02000a4d001e")
_SERVER_MAC: Final = bytes.fromhex("02000a4d000a")
_TCP: Final = 6


@dataclass(slots=True)
class End:
    """One end of a conversation: where it is, and what it sends next."""

    address: str
    port: int
    sequence: int = 1000

    @property
    def packed(self) -> bytes:
        return ipaddress.ip_address(self.address).packed


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_header(source: End, destination: End, flags: int, payload: bytes, mss: int | None = None) -> bytes:
    """A segment with its checksum; ``mss`` adds the option that a SYN has."""
    options = struct.pack(">BBH", 2, 4, mss) if mss is not None else b""
    acknowledgement = destination.sequence if flags & ACK else 0
    head = struct.pack(
        ">HHIIBBHHH",
        source.port,
        destination.port,
        source.sequence & 0xFFFFFFFF,
        acknowledgement & 0xFFFFFFFF,
        (20 + len(options)) // 4 << 4,
        flags,
        64240,
        0,
        0,
    )
    segment = head + options + payload
    pseudo = source.packed + destination.packed + struct.pack(">II", len(segment), _TCP)
    return segment[:16] + struct.pack(">H", _checksum(pseudo + segment)) + segment[18:]


def ip_header(source: End, destination: End, payload: bytes, protocol: int = _TCP, identifier: int = 0) -> bytes:
    """An IPv4 or IPv6 packet around ``payload``."""
    if len(source.packed) == 16:
        head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
        return head + source.packed + destination.packed + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), identifier & 0xFFFF, 0x4000, 64, protocol, 0)
    head += source.packed + destination.packed
    return head[:10] + struct.pack(">H", _checksum(head)) + head[12:] + payload


def link_header(link_type: int, packet: bytes, from_client: bool, vlans: tuple[int, ...] = ()) -> bytes:
    """A frame of ``link_type`` around an IP packet."""
    kind = IPV6 if packet[0] >> 4 == 6 else IPV4
    mac = _CLIENT_MAC if from_client else _SERVER_MAC
    if link_type == ETHERNET:
        tags = b"".join(struct.pack(">HH", 0x8100, vlan) for vlan in vlans)
        other = _SERVER_MAC if from_client else _CLIENT_MAC
        return other + mac + tags + struct.pack(">H", kind) + packet
    if link_type == LINUX_SLL:
        return struct.pack(">HHH6sHH", 4 if from_client else 0, 1, 6, mac, 0, kind) + packet
    if link_type == LINUX_SLL2:
        return struct.pack(">HHIHBB6sH", kind, 0, 2, 1, 4 if from_client else 0, 6, mac, 0) + packet
    if link_type == NULL:
        return struct.pack("<I", 30 if kind == IPV6 else 2) + packet
    if link_type == LOOP:
        return struct.pack(">I", 24 if kind == IPV6 else 2) + packet
    return packet


@dataclass(slots=True)
class Conversation:
    """Makes the frames of one TCP connection, in order; ``frames`` holds (nanoseconds, frame)."""

    client: End
    server: End
    link_type: int = ETHERNET
    mss: int = 1460
    vlans: tuple[int, ...] = ()
    frames: list[tuple[int, bytes]] = field(default_factory=list)

    def open(self, time_ns: int) -> None:
        """SYN, SYN-ACK, ACK."""
        self._send(True, SYN, b"", time_ns, self.mss)
        self.client.sequence += 1
        self._send(False, SYN | ACK, b"", time_ns, self.mss)
        self.server.sequence += 1
        self._send(True, ACK, b"", time_ns)

    def send(self, from_client: bool, data: bytes, time_ns: int, *, acknowledge: bool = True) -> None:
        """Bytes from one end, in segments of at most ``mss``, and the other end's acknowledgement."""
        end = self.client if from_client else self.server
        for start in range(0, len(data), self.mss):
            piece = data[start : start + self.mss]
            self._send(from_client, PSH | ACK, piece, time_ns)
            end.sequence += len(piece)
        if acknowledge and data:
            self._send(not from_client, ACK, b"", time_ns)

    def close(self, from_client: bool, time_ns: int, *, reset: bool = False) -> None:
        """FIN from one end (and its acknowledgement), or RST."""
        self._send(from_client, (RST if reset else FIN) | ACK, b"", time_ns)
        if not reset:
            (self.client if from_client else self.server).sequence += 1
            self._send(not from_client, ACK, b"", time_ns)

    def _send(self, from_client: bool, flags: int, payload: bytes, time_ns: int, mss: int | None = None) -> None:
        source, destination = (self.client, self.server) if from_client else (self.server, self.client)
        packet = ip_header(
            source, destination, tcp_header(source, destination, flags, payload, mss), identifier=len(self.frames)
        )
        self.frames.append((time_ns, link_header(self.link_type, packet, from_client, self.vlans)))
