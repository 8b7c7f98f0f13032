# -*- test-case-name: tests.cli.test_message_sources -*-
"""Where ``pub`` has its messages from: an argument, files, stdin as a whole or line by line."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from zope.interface import implementer

from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.policy.secrets import open_regular

__all__ = ["MAXIMUM_PAYLOAD", "Files", "Lines", "Repeated", "Source", "read_all"]

MAXIMUM_PAYLOAD: Final = 268_435_455 - 65_535 - 1024
"""Bytes that fit into a PUBLISH beside the longest topic and some properties (v5.0 section 2.1.4)."""

MAXIMUM_LINE: Final = 16 * 1024 * 1024
"""Bytes of one line: far more than anybody writes, and what comes without line ends is held in memory."""

_PIECE: Final = 65536


class Source(Protocol):
    """Messages, one after another."""

    total: int | None
    """How many there are, if that is known."""
    size: int | None
    """Bytes of all of them, where a single one may take long."""

    async def next(self) -> bytes | None:
        """The next payload, or None after the last one.

        Raises:
            OptionsInvalid, OSError: it cannot be read.
        """


class Repeated:
    """One payload, some number of times."""

    def __init__(self, payload: bytes, times: int) -> None:
        self.total: int | None = times
        self.size: int | None = None
        self._payload = payload
        self._left = times

    async def next(self) -> bytes | None:
        """As in Source."""
        if not self._left:
            return None
        self._left -= 1
        return self._payload


class Files:
    """A message for each file, all of it some number of times; each is read when its turn comes."""

    def __init__(self, files: Iterable[Path], times: int) -> None:
        self._files = deque(list(files) * times)
        self.total: int | None = len(self._files)
        self.size: int | None = sum(file.stat().st_size for file in self._files)

    async def next(self) -> bytes | None:
        """As in Source."""
        if not self._files:
            return None
        file = self._files.popleft()
        with open_regular(file) as opened:
            return _bounded(opened.read(MAXIMUM_PAYLOAD + 1), str(file))


def read_all(descriptor: int, name: str) -> bytes:
    """All of stdin, to its end.

    Raises:
        OptionsInvalid: it is larger than a message can be.
    """
    pieces = []
    size = 0
    while size <= MAXIMUM_PAYLOAD and (piece := os.read(descriptor, _PIECE)):
        pieces.append(piece)
        size += len(piece)
    return _bounded(b"".join(pieces), name)


def _bounded(payload: bytes, name: str) -> bytes:
    if len(payload) > MAXIMUM_PAYLOAD:
        raise OptionsInvalid(f"{name} is larger than a message can be", f"send at most {MAXIMUM_PAYLOAD} bytes at once")
    return payload


@implementer(IReadDescriptor)
class Lines:
    """A message for each line of a descriptor, as it comes; nothing is read while a line waits to be taken."""

    def __init__(self, descriptor: int, reactor: Any) -> None:
        self.total: int | None = None
        self.size: int | None = None
        self._descriptor = descriptor
        self._reactor: IReactorFDSet = reactor
        self._buffer = bytearray()
        self._searched = 0
        self._is_at_end = False
        self._asked: Deferred[None] | None = None

    async def next(self) -> bytes | None:
        """As in Source; a last line without an end is one, too."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0 and not self._is_at_end:
            self._searched = len(self._buffer)
            if self._searched > MAXIMUM_LINE:
                raise OptionsInvalid(f"a line has more than {MAXIMUM_LINE} bytes", "use --stdin-file, or shorter lines")
            await self._more()
        self._searched = 0
        if end < 0:
            line, self._buffer = bytes(self._buffer), bytearray()
            return line or None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    async def _more(self) -> None:
        """Wait for bytes. A regular file cannot be watched, and need not be: it never waits."""
        try:
            self._reactor.addReader(self)
        except PermissionError:
            self._read()
            return
        self._asked = Deferred()
        try:
            await self._asked
        finally:
            self._reactor.removeReader(self)

    def _read(self) -> None:
        data = os.read(self._descriptor, _PIECE)
        self._buffer += data
        self._is_at_end = not data

    # -- what the reactor calls -------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        asked, self._asked = self._asked, None
        if asked is None:
            return
        try:
            self._read()
        except OSError:
            asked.errback()
        else:
            asked.callback(None)

    def connectionLost(self, reason: Any) -> None:
        self._is_at_end = True
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.callback(None)

    def logPrefix(self) -> str:
        return "stdin"
