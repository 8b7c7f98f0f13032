# -*- test-case-name: tests.client.test_consuming -*-
"""Messages handed to the application one by one, with room for a few that wait and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mqttsecure.client.events import Arrived, Message
from mqttsecure.wire.constants import ReasonCode

__all__ = ["INBOX_BYTES", "INBOX_MESSAGES", "Consumer", "Inbox"]

INBOX_MESSAGES: Final = 64
"""Messages that wait for the application before nothing more is read: twice the Receive Maximum that is announced."""

INBOX_BYTES: Final = 1024 * 1024
"""The same in bytes of payload; one larger message is taken into an empty inbox."""

Consumer: TypeAlias = Callable[[Message], object]
"""What takes messages. While the Deferred or coroutine that it returns, if any, is not done, no other message comes."""

_log = Logger()


class Inbox:
    """The messages of one client on their way to its application.

    Attributes:
        dropped: QoS 0 messages for which there was no room, see :meth:`add`.
    """

    def __init__(self, consumer: Consumer, done: Callable[[Arrived, int], None]) -> None:
        """
        Args:
            consumer: the application.
            done: told of each message when the application is done with it, with the Reason Code to answer.
        """
        self._consumer = consumer
        self._done = done
        self._waiting: deque[Arrived] = deque()
        self._bytes = 0
        self._is_busy = False
        self._is_looping = False
        self._is_closed = False
        self.dropped = 0

    @property
    def is_full(self) -> bool:
        """Whether reading should pause."""
        return len(self._waiting) >= INBOX_MESSAGES or self._bytes >= INBOX_BYTES

    @property
    def is_overfull(self) -> bool:
        """Whether reading must pause, whatever else we wait for."""
        return len(self._waiting) >= 4 * INBOX_MESSAGES or self._bytes >= 4 * INBOX_BYTES

    def add(self, arrived: Arrived) -> None:
        """Take a message. Where reading goes on although the inbox is full, those of QoS 0 are dropped and counted."""
        if self.is_full and arrived.publish.qos == 0:
            self.dropped += 1
            return
        self._waiting.append(arrived)
        self._bytes += len(arrived.publish.payload)
        self._next()

    def close(self) -> None:
        """Hand over nothing more."""
        self._is_closed = True
        self._waiting.clear()
        self._bytes = 0

    def _next(self) -> None:
        if self._is_looping:
            return  # called from within the consumer: the loop goes on by itself
        self._is_looping = True
        while self._waiting and not self._is_busy:
            arrived = self._waiting.popleft()
            self._bytes -= len(arrived.publish.payload)
            self._is_busy = True
            result = maybeDeferred(self._consumer, arrived.message)
            result.addErrback(_log_failure)
            result.addCallback(self._finished, arrived)
        self._is_looping = False

    def _finished(self, result: object, arrived: Arrived) -> None:
        self._is_busy = False
        failed = isinstance(result, _Failed)
        if not self._is_closed:
            self._done(arrived, int(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR) if failed else 0)
            self._next()


class _Failed:
    """The application could not deal with a message."""


def _log_failure(failure: Failure) -> _Failed:
    _log.failure("the consumer of messages failed; the broker is told so where the protocol allows it", failure)
    return _Failed()
