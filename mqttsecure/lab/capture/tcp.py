# -*- test-case-name: tests.lab.capture.test_tcp -*-
"""One TCP segment (RFC 9293, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ACK", "FIN", "PSH", "RST", "SYN", "Segment", "parse_segment"]

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
_OPTION_END: Final = 0
_OPTION_NOTHING: Final = 1
_OPTION_MSS: Final = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment and the frame that completed it.

    Attributes:
        missing: bytes of its payload that the capture cut off.
        mss: the Maximum Segment Size that a SYN announces.
    """

    frame: int
    time: float
    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    payload: bytes
    missing: int = 0
    mss: int | None = None


def parse_segment(data: bytes, frame: int, time: float, missing: int) -> Segment | None:
    """Read a segment; None where it is malformed."""
    if len(data) < 20:
        return None
    header = (data[12] >> 4) * 4
    if header < 20 or len(data) < header:
        return None
    flags = data[13] & 0x3F
    return Segment(
        frame=frame,
        time=time,
        source_port=int.from_bytes(data[0:2], "big"),
        destination_port=int.from_bytes(data[2:4], "big"),
        sequence=int.from_bytes(data[4:8], "big"),
        acknowledgement=int.from_bytes(data[8:12], "big"),
        flags=flags,
        payload=data[header:],
        missing=missing,
        mss=_mss(data[20:header]) if flags & SYN else None,
    )


def _mss(options: bytes) -> int | None:
    position = 0
    while position < len(options):
        kind = options[position]
        if kind == _OPTION_END:
            return None
        if kind == _OPTION_NOTHING:
            position += 1
            continue
        if position + 1 >= len(options) or options[position + 1] < 2:
            return None
        if kind == _OPTION_MSS and options[position + 1] == 4 and position + 4 <= len(options):
            return int.from_bytes(options[position + 2 : position + 4], "big")
        position += options[position + 1]
    return None
