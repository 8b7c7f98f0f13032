# -*- test-case-name: tests.lab.capture.test_files -*-
"""Reads pcap: microsecond and nanosecond times, both byte orders."""

from __future__ import annotations

import struct
from typing import Final

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.frames import CaptureFile, Frame
from mqttsecure.lab.capture.limits import Budget

__all__ = ["MAGICS", "read_pcap"]

MAGICS: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1e6),
    b"\xd4\xc3\xb2\xa1": ("<", 1e6),
    b"\xa1\xb2\x3c\x4d": (">", 1e9),
    b"\x4d\x3c\xb2\xa1": ("<", 1e9),
}
"""The first four bytes, and what they say: byte order, parts of a second."""

_HEADER: Final = 24
_RECORD: Final = 16


def read_pcap(data: bytes, budget: Budget) -> CaptureFile:
    """Read all frames; a file that was cut gives those before the cut, and a note.

    Raises:
        CaptureError: it cannot be read as pcap.
    """
    order, parts = MAGICS[data[:4]]
    if len(data) < _HEADER:
        raise CaptureError("the file ends within its header; it was cut, capture or copy it again")
    major, minor, _zone, _figures, _snap, link = struct.unpack_from(order + "HHiIII", data, 4)
    if major != 2:
        raise CaptureError(f"pcap version {major}.{minor} is unknown; save it as pcap 2.4 or pcapng")
    capture = CaptureFile("pcap")
    record = struct.Struct(order + "IIII")
    position = _HEADER
    while position < len(data):
        if len(data) - position < _RECORD:
            capture.notes.append(f"the file ends within the header of frame {len(capture.frames) + 1}; it was cut")
            break
        seconds, fraction, kept, length = record.unpack_from(data, position)
        position += _RECORD
        number = len(capture.frames) + 1
        if kept > budget.limits.frame_bytes:
            raise CaptureError(f"frame {number} claims {kept} bytes, more than any frame has; the file is damaged")
        if len(data) - position < kept:
            capture.notes.append(f"the file ends within frame {number}; it was cut")
            break
        if number > budget.limits.frames:
            raise CaptureError(f"more than {budget.limits.frames} frames; cut the capture down with a filter")
        budget.check_time()
        time = seconds + fraction / parts
        # The upper bits hold the length of a frame check sequence.
        capture.frames.append(Frame(number, time, data[position : position + kept], length, link & 0xFFFF))
        position += kept
    return capture
