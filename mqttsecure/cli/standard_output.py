# -*- test-case-name: tests.cli.test_standard_output -*-
"""Bytes to stdout without stopping the reactor: where the reader is slow, whoever writes waits, and pings go on."""

from __future__ import annotations

import select
from collections import deque
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFDSet, IWriteDescriptor
from zope.interface import implementer

__all__ = ["StandardOutput"]

_PIECE: Final = 4096
"""Bytes that a pipe which is writable takes without blocking: PIPE_BUF (pipe(7))."""


@implementer(IWriteDescriptor)
class StandardOutput:
    """A file descriptor for output, of any kind.

    It is not made non-blocking, as that would hold for every other program that shares it, the shell among them.
    """

    def __init__(self, descriptor: int, reactor: Any, write: Any) -> None:
        """
        Args:
            descriptor: such as that of stdout.
            reactor: which watches it.
            write: ``os.write``.
        """
        self._descriptor = descriptor
        self._reactor: IReactorFDSet = reactor
        self._write = write
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._waiting: deque[tuple[memoryview, Deferred[None]]] = deque()
        self._error: OSError | None = None

    def write(self, data: bytes) -> Deferred[None]:
        """Write all of it.

        Returns:
            A Deferred that fires when it is written. It fails with BrokenPipeError where nobody reads any more, or
            another OSError.
        """
        done: Deferred[None] = Deferred()
        if self._error is not None:
            done.errback(self._error)
            return done
        if not data:
            return succeed(None)
        self._waiting.append((memoryview(data), done))
        if len(self._waiting) == 1:
            self._flush()
            if self._waiting:
                self._reactor.addWriter(self)
        return done

    def _flush(self) -> None:
        while self._waiting:
            data, done = self._waiting[0]
            try:
                while data and self._poll.poll(0):
                    data = data[self._write(self._descriptor, data[:_PIECE]) :]
            except OSError as error:
                self._fail(error)
                return
            if data:
                self._waiting[0] = (data, done)
                return
            self._waiting.popleft()
            done.callback(None)

    def _fail(self, error: OSError) -> None:
        self._error = error
        waiting, self._waiting = self._waiting, deque()
        for _, done in waiting:
            done.errback(error)

    # -- what the reactor calls -------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._descriptor

    def doWrite(self) -> None:
        self._flush()
        if not self._waiting:
            self._reactor.removeWriter(self)

    def connectionLost(self, reason: Any) -> None:
        self._fail(BrokenPipeError("nobody reads any more"))

    def logPrefix(self) -> str:
        return "stdout"
