# -*- test-case-name: tests.lab.capture.test_files -*-
"""One captured frame, and a capture file as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CaptureFile", "Frame"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it was captured.

    Attributes:
        number: from 1, as Wireshark counts.
        time: seconds since 1970; 0.0 where the file has none.
        data: the bytes that were kept.
        length: bytes on the wire; more than ``data`` has where the capture cut frames.
        link_type: what the bytes begin with (LINKTYPE_ number).
    """

    number: int
    time: float
    data: bytes
    length: int
    link_type: int


@dataclass(slots=True)
class CaptureFile:
    """What a capture file holds.

    Attributes:
        format: "pcap" or "pcapng".
        frames: in the order of the file.
        secrets: texts of key logs that the file carries (Decryption Secrets Blocks).
        notes: what is wrong with the file or was left out of it, a sentence each.
    """

    format: str
    frames: list[Frame] = field(default_factory=list)
    secrets: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
