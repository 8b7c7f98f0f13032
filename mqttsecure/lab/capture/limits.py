# -*- test-case-name: tests.lab.test_hostile -*-
"""How much of a file is looked at. A capture may come from anybody, so each thing that it could grow has a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mqttsecure.errors import CaptureError

__all__ = ["Budget", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds; each can be set higher by whoever trusts the file.

    Attributes:
        file_bytes: a file is read as a whole; a lesson's capture has kilobytes, an afternoon of a broker some hundred
            megabytes.
        frames: frames in the file.
        frame_bytes: one frame; segmentation offload makes 64 KiB ones, tcpdump's own bound is 256 KiB.
        connections: TCP connections that are kept apart.
        stream_bytes: bytes of one direction of one connection; what comes later is counted, not looked at.
        total_bytes: bytes of all streams.
        segments: segments of one direction that are kept.
        fragments: IP packets that wait for the rest of their fragments at the same time.
        messages: messages told of one connection.
        secrets: lines of key logs, from the file and from Decryption Secrets Blocks.
        seconds: of work.
    """

    file_bytes: int = 512 * 1024 * 1024
    frames: int = 1_000_000
    frame_bytes: int = 256 * 1024
    connections: int = 10_000
    stream_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 256 * 1024 * 1024
    segments: int = 100_000
    fragments: int = 1024
    messages: int = 20_000
    secrets: int = 1_000_000
    seconds: float = 120.0


class Budget:
    """What is left of the limits while one file is read."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = Limits() if limits is None else limits
        self._clock = clock
        self._end = clock() + self.limits.seconds
        self._bytes = 0

    def check_time(self) -> None:
        """Called once for each frame, record and message.

        Raises:
            CaptureError: the time is up.
        """
        if self._clock() > self._end:
            raise CaptureError(
                f"reading took more than {self.limits.seconds:g} s; cut the capture down to what you mean"
            )

    def take_bytes(self, count: int) -> bool:
        """Whether ``count`` more bytes of streams may be kept."""
        if self._bytes + count > self.limits.total_bytes:
            return False
        self._bytes += count
        return True
