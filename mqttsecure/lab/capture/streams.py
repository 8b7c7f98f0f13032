# -*- test-case-name: tests.lab.test_edges -*-
"""Segments to connections, and each direction of one to an ordered stream.

What comes twice, overlaps or comes out of order is put right; the first bytes to arrive at a place stay. A hole that is
never filled is kept as a hole: what lies behind it follows, marked with the number of missing bytes.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.tcp import ACK, FIN, RST, SYN, Segment

__all__ = ["Chunk", "Connections", "HalfStream", "TcpConnection"]

_HALF: Final = 1 << 31
_WHOLE: Final = 1 << 32
_SERVER_PORTS: Final = (8883, 1883, 8884, 443, 8443, 80)
_MAX_LISTED: Final = 1000
"""Numbers of frames that carry nothing but an acknowledgement are listed up to here."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that became readable with ``frame``; ``gap`` bytes before them are not in the capture."""

    data: bytes
    frame: int
    time: float
    gap: int = 0


@dataclass(slots=True)
class HalfStream:
    """What one end sent.

    Attributes:
        address: where it is.
        port: its TCP port.
        chunks: its bytes in order.
        segments: segments with bytes.
        received: bytes in order, repetitions not counted.
        retransmissions: segments whose bytes had come before.
        out_of_order: segments that came before others that they follow.
        conflicts: frames that repeat bytes with other contents than before.
        missing: bytes that are not in the capture.
        starts_midway: its SYN is not in the capture.
        cut: bytes beyond the limits were not looked at.
        acks: frames that carry nothing but an acknowledgement.
    """

    address: str
    port: int
    chunks: list[Chunk] = field(default_factory=list)
    segments: int = 0
    received: int = 0
    retransmissions: int = 0
    out_of_order: int = 0
    conflicts: list[int] = field(default_factory=list)
    missing: int = 0
    starts_midway: bool = True
    cut: bool = False
    mss: int | None = None
    syn_frame: int | None = None
    fin_frame: int | None = None
    rst_frame: int | None = None
    fin_time: float | None = None
    acks: list[int] = field(default_factory=list)

    @property
    def first_bytes(self) -> bytes:
        """The first bytes that there are, at most 64."""
        return b"".join(chunk.data for chunk in self.chunks[:64])[:64]


@dataclass(slots=True)
class TcpConnection:
    """A connection with its two streams.

    Attributes:
        oriented_by: how it is known which end is the client.
        handshake: frames of SYN, SYN-ACK and ACK, as far as they are there.
        handshake_times: their times.
    """

    number: int
    client: HalfStream
    server: HalfStream
    oriented_by: str
    first_frame: int
    first_time: float
    last_frame: int
    last_time: float
    handshake: tuple[int | None, int | None, int | None]
    handshake_times: tuple[float | None, float | None, float | None]


class _Raw:
    """Segments of one connection in the order of the capture, before it is known who is who."""

    def __init__(self, first: tuple[str, int], second: tuple[str, int]) -> None:
        self.ends = (first, second)
        self.segments: tuple[list[Segment], list[Segment]] = ([], [])
        self.syns: list[Segment | None] = [None, None]
        self.dropped = [False, False]
        self.ack: Segment | None = None
        self.first: Segment | None = None
        self.last: Segment | None = None


class Connections:
    """Takes segments; gives connections when all are in."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._open: dict[tuple[tuple[str, int], tuple[str, int]], _Raw] = {}
        self._all: list[_Raw] = []
        self.ignored = 0

    def feed(self, source: str, destination: str, segment: Segment) -> None:
        """One segment, in the order of the capture."""
        sender, receiver = (source, segment.source_port), (destination, segment.destination_port)
        key = (sender, receiver) if sender <= receiver else (receiver, sender)
        raw = self._open.get(key)
        if raw is None or self._begins_anew(raw, sender, segment):
            if len(self._all) >= self._budget.limits.connections:
                self.ignored += 1
                return
            raw = self._open[key] = _Raw(*key)
            self._all.append(raw)
        side = raw.ends.index(sender)
        if sender == receiver and raw.segments[0] and segment.flags & SYN and segment.flags & ACK:
            side = 1
        self._keep(raw, side, segment)

    def _keep(self, raw: _Raw, side: int, segment: Segment) -> None:
        raw.first = raw.first or segment
        raw.last = segment
        if segment.flags & SYN:
            raw.syns[side] = raw.syns[side] or segment
        elif raw.ack is None and all(raw.syns) and segment.flags & ACK:
            raw.ack = segment
        room = len(raw.segments[side]) < self._budget.limits.segments
        if room and self._budget.take_bytes(len(segment.payload)):
            raw.segments[side].append(segment)
        else:
            raw.dropped[side] = True

    def _begins_anew(self, raw: _Raw, sender: tuple[str, int], segment: Segment) -> bool:
        """Whether this SYN opens a later connection between the same ports."""
        if not segment.flags & SYN or segment.flags & ACK:
            return False
        before = raw.syns[raw.ends.index(sender)]
        if before is None:
            return bool(raw.segments[0] or raw.segments[1])
        return before.sequence != segment.sequence

    def finish(self) -> list[TcpConnection]:
        """All connections, in the order of their first frames."""
        return [self._connection(number, raw) for number, raw in enumerate(self._all, 1)]

    def _connection(self, number: int, raw: _Raw) -> TcpConnection:
        halves = [self._half(raw, side) for side in (0, 1)]
        client, reason = _which_is_client(raw, halves)
        syns = [raw.syns[client], raw.syns[1 - client], raw.ack]
        first, last = raw.first, raw.last
        return TcpConnection(
            number=number,
            client=halves[client],
            server=halves[1 - client],
            oriented_by=reason,
            first_frame=first.frame if first else 0,
            first_time=first.time if first else 0.0,
            last_frame=last.frame if last else 0,
            last_time=last.time if last else 0.0,
            handshake=(_frame(syns[0]), _frame(syns[1]), _frame(syns[2])),
            handshake_times=(_time(syns[0]), _time(syns[1]), _time(syns[2])),
        )

    def _half(self, raw: _Raw, side: int) -> HalfStream:
        half = HalfStream(*raw.ends[side], cut=raw.dropped[side])
        syn = raw.syns[side]
        if syn is not None:
            half.starts_midway, half.syn_frame, half.mss = False, syn.frame, syn.mss
        for segment in raw.segments[side]:
            if segment.flags & FIN and half.fin_frame is None:
                half.fin_frame, half.fin_time = segment.frame, segment.time
            if segment.flags & RST and half.rst_frame is None:
                half.rst_frame = segment.frame
                half.fin_time = half.fin_time or segment.time
            if not segment.payload and segment.flags == ACK and len(half.acks) < _MAX_LISTED:
                half.acks.append(segment.frame)
        _Assembly(half, syn, self._budget).run([each for each in raw.segments[side] if each.payload])
        return half


def _frame(segment: Segment | None) -> int | None:
    return None if segment is None else segment.frame


def _time(segment: Segment | None) -> float | None:
    return None if segment is None else segment.time


class _Assembly:
    """Puts the segments of one direction in order."""

    def __init__(self, half: HalfStream, syn: Segment | None, budget: Budget) -> None:
        self.half = half
        self.syn = syn
        self.budget = budget
        self.next = 0
        self.seen = bytearray()
        """All that was delivered, holes as zeros: to tell a repetition from other bytes at the same place."""
        self.holes: list[tuple[int, int]] = []
        self.waiting: list[tuple[int, int, bytes, Segment]] = []

    def run(self, segments: list[Segment]) -> None:
        if not segments:
            return
        # Data in the SYN itself (TCP Fast Open) begins behind the number that the SYN takes.
        base = self.syn.sequence + 1 if self.syn is not None else segments[0].sequence
        starts = []
        for segment in segments:
            sequence = segment.sequence + 1 if segment.flags & SYN else segment.sequence
            starts.append((sequence - base + _HALF) % _WHOLE - _HALF)
        if self.syn is None:
            lowest = min(starts)
            starts = [start - lowest for start in starts]
        for start, segment in zip(starts, segments, strict=True):
            self.budget.check_time()
            self.take(start, segment)
        while self.waiting:
            start, _order, data, segment = heapq.heappop(self.waiting)
            self.deliver(start, data, segment.frame, segment.time)

    def take(self, start: int, segment: Segment) -> None:
        half = self.half
        half.segments += 1
        data = segment.payload
        if start > self.next:
            half.out_of_order += 1
            heapq.heappush(self.waiting, (start, half.segments, data, segment))
            return
        if start + len(data) <= self.next:
            half.retransmissions += 1
            self.compare(start, data, segment.frame)
            return
        self.deliver(start, data, segment.frame, segment.time)
        while self.waiting and self.waiting[0][0] <= self.next:
            start, _order, data, late = heapq.heappop(self.waiting)
            # It was there before, and can be read from now on.
            self.deliver(start, data, max(segment.frame, late.frame), max(segment.time, late.time))

    def compare(self, start: int, data: bytes, frame: int) -> None:
        """Note a repetition that says something else than the first time.

        A single byte in the place of the last one only asks whether the other end is there (RFC 9293, section 3.8.4);
        what it says means nothing.
        """
        if len(data) == 1 and start == self.next - 1:
            return
        if start < 0:
            data, start = data[-start:], 0
        data = data[: max(0, len(self.seen) - start)]
        if any(begin < start + len(data) and start < end for begin, end in self.holes):
            return
        if self.seen[start : start + len(data)] != data and len(self.half.conflicts) < _MAX_LISTED:
            self.half.conflicts.append(frame)

    def deliver(self, start: int, data: bytes, frame: int, time: float) -> None:
        half = self.half
        gap = max(0, start - self.next)
        if start < self.next:
            known = self.next - start
            self.compare(start, data[:known], frame)
            data = data[known:]
            if not data:
                return
        if len(self.seen) + gap + len(data) > self.budget.limits.stream_bytes:
            half.cut = True
            return
        if gap:
            self.holes.append((self.next, start))
            half.missing += gap
        self.seen += bytes(gap) + data
        self.next += gap + len(data)
        half.received += len(data)
        half.chunks.append(Chunk(data, frame, time, gap))


def _which_is_client(raw: _Raw, halves: list[HalfStream]) -> tuple[int, str]:
    """The side of the client, and how that is known."""
    for side, syn in enumerate(raw.syns):
        if syn is not None and not syn.flags & ACK:
            return side, "its SYN"
    for side, syn in enumerate(raw.syns):
        if syn is not None:
            return 1 - side, "the server's SYN-ACK"
    for side, half in enumerate(halves):
        role = _role(half.first_bytes)
        if role is not None:
            return (side if role == "client" else 1 - side), "what it says"
    ports = [end[1] for end in raw.ends]
    for port in _SERVER_PORTS:
        if port in ports:
            return 1 - ports.index(port), "the server's port"
    return (0 if ports[0] > ports[1] else 1), "the higher port"


def _role(data: bytes) -> str | None:
    """Who sends this at the beginning of a connection."""
    if len(data) > 5 and data[0] == 22 and data[1] == 3:
        return {1: "client", 2: "server"}.get(data[5])
    if data[:1] == b"\x10" and (b"MQTT" in data[:12] or b"MQIsdp" in data[:14]):
        return "client"
    if data[:2] == b"\x20\x02":
        return "server"
    return None
