# -*- test-case-name: tests.lab.tls.test_session -*-
"""A TCP stream to TLS records, and both directions of a connection in the order of the wire.

A stream may begin in the middle of a record, or have a hole: then the next place is looked for from which on records
follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.streams import HalfStream, TcpConnection
from mqttsecure.lab.model import Sender
from mqttsecure.lab.tls.assembly import Assembler, Origin

__all__ = ["MAX_BODY", "RawRecord", "looks_like_tls", "read_records"]

_HEADER: Final = 5
MAX_BODY: Final = 16384 + 2048
"""Bytes that a record may have at most (RFC 5246, section 6.2.3)."""
_TYPES: Final = (20, 21, 22, 23, 24)
_PROXY_1: Final = b"PROXY "
_PROXY_2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY_1_LENGTH: Final = 107
"""The longest header of the PROXY protocol, version 1."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it is on the wire; ``after_gap`` where bytes before it are missing."""

    sender: Sender
    content_type: int
    version: int
    body: bytes
    origin: Origin
    after_gap: bool = False


def _is_header(data: bytes) -> bool:
    if len(data) < _HEADER or data[0] not in _TYPES or data[1] != 3 or data[2] > 4:
        return False
    return int.from_bytes(data[3:5], "big") <= MAX_BODY


def looks_like_tls(data: bytes) -> bool:
    """Whether a stream that begins so is TLS."""
    return _is_header(_without_proxy(data)[:_HEADER]) and data[:1] != b""


def _without_proxy(data: bytes) -> bytes:
    return data[_proxy_length(data) :]


def _proxy_length(data: bytes) -> int:
    """Bytes of a header of the PROXY protocol that a stream begins with."""
    if data.startswith(_PROXY_2) and len(data) >= 16:
        return 16 + int.from_bytes(data[14:16], "big")
    if data.startswith(_PROXY_1):
        return data.find(b"\r\n", 0, _PROXY_1_LENGTH) + 2 or 0
    return 0


def read_records(connection: TcpConnection, budget: Budget) -> tuple[list[RawRecord], list[str]]:
    """All records of a connection, and what is to be said of bytes that are none."""
    notes: list[str] = []
    records: list[RawRecord] = []
    ends: tuple[tuple[Sender, HalfStream], ...] = (("client", connection.client), ("server", connection.server))
    for sender, half in ends:
        reader = _StreamReader(sender, half, budget)
        records += reader.read()
        notes += reader.notes
    # The frame that completed a record says when it was there; a frame has one sender, so the order is clear.
    records.sort(key=lambda record: record.origin.frames[-1])
    return records, notes


class _StreamReader:
    def __init__(self, sender: Sender, half: HalfStream, budget: Budget) -> None:
        self.sender = sender
        self.half = half
        self.budget = budget
        self.notes: list[str] = []
        self.records: list[RawRecord] = []

    def read(self) -> list[RawRecord]:
        run = Assembler()
        lost = self.half.starts_midway
        first = True
        for chunk in self.half.chunks:
            if chunk.gap:
                self._run(run, lost, first)
                self.notes.append(
                    f"{chunk.gap} bytes of the {self.sender} before frame {chunk.frame} are not in the capture"
                )
                run, lost, first = Assembler(), True, False
            run.feed(chunk.data, Origin((chunk.frame,), chunk.time))
        self._run(run, lost, first)
        return self.records

    def _run(self, run: Assembler, lost: bool, first: bool) -> None:
        """Records from bytes without a hole."""
        if first:
            skipped = _proxy_length(run.peek(300))
            if skipped:
                run.take(min(skipped, len(run)))
                self.notes.append("the PROXY protocol comes before TLS: a proxy tells the address of the client")
        if lost:
            self._find_boundary(run)
        while len(run) >= _HEADER:
            self.budget.check_time()
            header = run.peek(_HEADER)
            length = int.from_bytes(header[3:5], "big")
            if not _is_header(header):
                self.notes.append(
                    f"the {self.sender} sends {len(run)} bytes that are no TLS records: {run.peek(16).hex()}"
                )
                return
            if len(run) < _HEADER + length:
                break
            data, origin = run.take(_HEADER + length)
            version = int.from_bytes(header[1:3], "big")
            self.records.append(RawRecord(self.sender, header[0], version, data[_HEADER:], origin, lost))
            lost = False
        if len(run):
            self.notes.append(f"the last record of the {self.sender} is incomplete: {len(run)} bytes of it are there")

    def _find_boundary(self, run: Assembler) -> None:
        """Skip to where at least two records follow each other, or one ends with the bytes."""
        data = run.peek(MAX_BODY + 4 * _HEADER)
        for start in range(len(data)):
            if self._chain(data, start, complete=len(data) == len(run)):
                if start:
                    run.take(start)
                    self.notes.append(
                        f"{start} bytes of the {self.sender} belong to a record whose beginning is missing"
                    )
                return
        if data:
            run.take(len(run))
            self.notes.append(f"no record begins in {len(data)} bytes of the {self.sender}")

    @staticmethod
    def _chain(data: bytes, start: int, complete: bool) -> bool:
        found = 0
        while found < 3:
            if not _is_header(data[start : start + _HEADER]):
                return False
            found += 1
            start += _HEADER + int.from_bytes(data[start + 3 : start + 5], "big")
            if start >= len(data):
                return found > 1 or (complete and start == len(data))
        return True
