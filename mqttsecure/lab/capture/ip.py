# -*- test-case-name: tests.lab.capture.test_ip -*-
"""IPv4 and IPv6: from packets to what they carry, fragments put together.

Checksums are not judged: a capture on the machine that sends has frames whose checksum the network card was still to
fill in. For the same reason a total length of 0 is taken as "all that is there".
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from mqttsecure.lab.capture.limits import Budget

__all__ = ["TCP", "UDP", "Datagram", "Defragmenter"]

TCP: Final = 6
UDP: Final = 17
_HOP_BY_HOP: Final = 0
_ROUTING: Final = 43
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
_DESTINATION: Final = 60
_MOBILITY: Final = 135
_EXTENSIONS: Final = (_HOP_BY_HOP, _ROUTING, _DESTINATION, _MOBILITY)
_MAX_EXTENSIONS: Final = 16
"""Extension headers of one packet; a receiver sees at most six kinds (RFC 8200, section 4.1)."""
_MAX_PACKET: Final = 65535
_MAX_PIECES: Final = 256
"""Fragments of one packet: 64 KiB in the smallest pieces that links make (some hundred bytes)."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """What an IP packet carries.

    Attributes:
        source: address in its usual form.
        destination: address in its usual form.
        protocol: 6 is TCP.
        payload: without padding of the frame.
        missing: bytes that the packet has and the capture cut off.
    """

    source: str
    destination: str
    protocol: int
    payload: bytes
    missing: int = 0


@dataclass(slots=True)
class _Pieces:
    parts: dict[int, bytes] = field(default_factory=dict)
    length: int | None = None
    protocol: int = 0

    def whole(self) -> bytes | None:
        """The packet, when nothing is missing; bytes that came twice stay as they came first."""
        if self.length is None:
            return None
        data = bytearray()
        for start in sorted(self.parts):
            if start > len(data):
                return None
            data += self.parts[start][len(data) - start :]
        return bytes(data[: self.length]) if len(data) >= self.length else None


class Defragmenter:
    """Takes IP packets; gives what they carry, that of fragments when the last piece is there."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._waiting: dict[tuple[str, str, int, int], _Pieces] = {}
        self.fragments = 0
        self.malformed = 0
        self.dropped = 0

    @property
    def unfinished(self) -> int:
        """Packets whose fragments are not all in the capture."""
        return len(self._waiting) + self.dropped

    def feed(self, packet: bytes) -> Datagram | None:
        """One packet; None where it is malformed or a fragment that leaves its packet incomplete."""
        if not packet:
            return None
        return self._ipv4(packet) if packet[0] >> 4 == 4 else self._ipv6(packet)

    def _bad(self) -> Datagram | None:
        self.malformed += 1
        return None

    def _ipv4(self, packet: bytes) -> Datagram | None:
        header = (packet[0] & 15) * 4
        if len(packet) < 20 or header < 20 or len(packet) < header:
            return self._bad()
        total = int.from_bytes(packet[2:4], "big") or len(packet)
        if total < header:
            return self._bad()
        payload = packet[header:total]
        missing = max(0, total - len(packet))
        source, destination = (str(ipaddress.IPv4Address(packet[at : at + 4])) for at in (12, 16))
        identifier, flags = int.from_bytes(packet[4:6], "big"), int.from_bytes(packet[6:8], "big")
        offset, more = (flags & 0x1FFF) * 8, bool(flags & 0x2000)
        if offset or more:
            key = (source, destination, packet[9], identifier)
            return self._fragment(key, offset, more, payload, packet[9])
        return Datagram(source, destination, packet[9], payload, missing)

    def _ipv6(self, packet: bytes) -> Datagram | None:
        if len(packet) < 40 or packet[0] >> 4 != 6:
            return self._bad()
        source, destination = (str(ipaddress.IPv6Address(packet[at : at + 16])) for at in (8, 24))
        length = int.from_bytes(packet[4:6], "big") or len(packet) - 40
        data = packet[40 : 40 + length]
        missing = max(0, 40 + length - len(packet))
        following = packet[6]
        for _header in range(_MAX_EXTENSIONS):
            if following == _FRAGMENT:
                return self._ipv6_fragment(source, destination, data)
            if following not in _EXTENSIONS and following != _AUTHENTICATION:
                return Datagram(source, destination, following, data, missing)
            if len(data) < 2:
                return self._bad()
            size = (data[1] + 2) * 4 if following == _AUTHENTICATION else (data[1] + 1) * 8
            if len(data) < size:
                return self._bad()
            following, data = data[0], data[size:]
        return self._bad()

    def _ipv6_fragment(self, source: str, destination: str, data: bytes) -> Datagram | None:
        if len(data) < 8:
            return self._bad()
        word = int.from_bytes(data[2:4], "big")
        offset, more = word & 0xFFF8, bool(word & 1)
        if not offset and not more:  # an "atomic fragment": the packet is whole (RFC 6946)
            return Datagram(source, destination, data[0], data[8:])
        key = (source, destination, -1, int.from_bytes(data[4:8], "big"))
        return self._fragment(key, offset, more, data[8:], data[0])

    def _fragment(
        self, key: tuple[str, str, int, int], offset: int, more: bool, data: bytes, protocol: int
    ) -> Datagram | None:
        self.fragments += 1
        pieces = self._waiting.get(key)
        if pieces is None:
            if len(self._waiting) >= self._budget.limits.fragments:
                del self._waiting[next(iter(self._waiting))]
                self.dropped += 1
            pieces = self._waiting[key] = _Pieces()
        if offset + len(data) > _MAX_PACKET or len(pieces.parts) >= _MAX_PIECES:
            del self._waiting[key]
            return self._bad()
        pieces.parts.setdefault(offset, data)
        if not offset:
            pieces.protocol = protocol
        if not more:
            pieces.length = offset + len(data)
        whole = pieces.whole()
        if whole is None:
            return None
        del self._waiting[key]
        return Datagram(key[0], key[1], pieces.protocol, whole)
