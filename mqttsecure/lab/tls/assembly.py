# -*- test-case-name: tests.lab.tls.test_messages -*-
"""Bytes that came in pieces, put together so that each part still tells where it came from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Assembler", "Origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where some bytes came from: frames, the time of the last of them, and records of TLS."""

    frames: tuple[int, ...]
    time: float
    records: tuple[int, ...] = ()


class Assembler:
    """Takes pieces with their origin; gives any number of bytes with the origins of all pieces they lie in."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pieces: deque[tuple[int, Origin]] = deque()
        """Bytes of each piece that are still in the buffer."""

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes, origin: Origin) -> None:
        """Add a piece."""
        if data:
            self._buffer += data
            self._pieces.append((len(data), origin))

    def peek(self, count: int) -> bytes:
        """The next bytes, as many as there are up to ``count``; they stay."""
        return bytes(self._buffer[:count])

    def take(self, count: int) -> tuple[bytes, Origin]:
        """The next ``count`` bytes, which must be there, and where they came from."""
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        frames: dict[int, None] = {}
        records: dict[int, None] = {}
        time = 0.0
        while count and self._pieces:
            size, origin = self._pieces.popleft()
            frames.update(dict.fromkeys(origin.frames))
            records.update(dict.fromkeys(origin.records))
            time = max(time, origin.time)
            if size > count:
                self._pieces.appendleft((size - count, origin))
            count -= min(size, count)
        return data, Origin(tuple(sorted(frames)), time, tuple(sorted(records)))

    def clear(self) -> int:
        """Forget what is there; how many bytes that was."""
        size = len(self._buffer)
        self._buffer.clear()
        self._pieces.clear()
        return size
