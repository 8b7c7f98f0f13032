# -*- test-case-name: tests.store.test_sqlite -*-
"""The store in a file, as the reactor's thread sees it: everything is put to the thread that writes."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.core.records import Batch, Highest, StoredEntry, StoredRetained, StoredSession
from mqttsecure.interfaces import IRetainedStore, ISessionStore
from mqttsecure.store.database import Database
from mqttsecure.store.reading import read_entries, read_highest, read_incoming, read_retained, read_sessions
from mqttsecure.store.thread import Question, StoreThread, Write

__all__ = ["Reactor", "SqliteStore"]

_T = TypeVar("_T")

_FIRST_RETRY: Final = 0.1
_LAST_RETRY: Final = 1.0
"""Seconds from a failure to the next attempt, doubled each time: a broker that has room again is back within one."""

_SWITCH_INTERVAL: Final = 0.0005
"""Seconds for which a busy thread may keep Python's global lock while another waits. With Python's 5 ms a commit takes
that long for each of its statements; with this, a busy reactor and a busy store cost each other half a millisecond."""


class Reactor(Protocol):
    """The part of Twisted's reactor that is used here."""

    def callFromThread(self, callable: Callable[..., object], *arguments: Any) -> object:
        """Call it in the reactor's thread."""

    def callLater(self, delay: float, callable: Callable[..., object], *arguments: Any) -> IDelayedCall:
        """Call it after ``delay`` seconds."""


def _say_nothing(text: str = "") -> None:
    """For a store that nobody listens to."""


@implementer(ISessionStore, IRetainedStore)
class SqliteStore:
    """Keeps everything in the file ``path`` (and ``path-wal``, ``path-shm``, ``path.lock`` beside it).

    Args:
        path: of the file, which is made where its folder's parent is there.
        reactor: in whose thread all methods are called and all answers given.
        interval: None: a commit is done when it is on disk. A number: when it would survive the end of the process,
            and every so many seconds what has come is brought to disk.
        database: what is written, for tests.
    """

    def __init__(
        self, path: Path, reactor: Reactor, *, interval: float | None = None, database: Database | None = None
    ) -> None:
        self.path = path
        self.on_problem: Callable[[str], None] = _say_nothing
        self.on_recovered: Callable[[], None] = _say_nothing
        self._reactor = reactor
        self._interval = interval
        self._database = Database(path, synchronous=interval is None) if database is None else database
        self._thread: StoreThread | None = None
        self._problem: str | None = None
        self._delay = _FIRST_RETRY
        self._retrying: IDelayedCall | None = None
        self._syncing: IDelayedCall | None = None

    def open(self) -> None:
        """See :class:`~mqttsecure.interfaces.ISessionStore`. Call it after the process has forked for the last time."""
        self._database.open()
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL))
        self._thread = StoreThread(self._database, self._reactor.callFromThread, self)
        self._thread.start()
        self._sync_later()

    def losses(self) -> Sequence[str]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        return tuple(self._database.losses)

    def commit(self, batch: Batch) -> Deferred[None]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        done: Deferred[None] = Deferred()
        if self._thread is not None:
            self._thread.put(Write(batch, lambda: done.callback(None)))
        return done

    def highest(self) -> Highest:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        return self._wait_for(read_highest)

    def load_sessions(self, after: int, limit: int) -> Sequence[StoredSession]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        return self._wait_for(lambda connection: read_sessions(connection, after, limit))

    def load_retained(self, after: tuple[str, str], limit: int) -> Sequence[StoredRetained]:
        """See :class:`~mqttsecure.interfaces.IRetainedStore`."""
        return self._wait_for(lambda connection: read_retained(connection, after, limit))

    def load_entries(self, session: int, after: int, limit: int, octets: int) -> Deferred[Sequence[StoredEntry]]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        return self._ask(lambda connection: read_entries(connection, session, after, limit, octets))

    def load_incoming(self, session: int) -> Deferred[Sequence[int]]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        return self._ask(lambda connection: read_incoming(connection, session))

    def close(self) -> Deferred[None]:
        """See :class:`~mqttsecure.interfaces.ISessionStore`."""
        done: Deferred[None] = Deferred()
        thread, self._thread = self._thread, None
        for call in (self._retrying, self._syncing):
            if call is not None and call.active():
                call.cancel()
        if thread is None:
            done.callback(None)
        else:
            thread.close(lambda: done.callback(None))
        return done

    def _ask(self, read: Callable[[sqlite3.Connection], _T]) -> Deferred[_T]:
        answered: Deferred[_T] = Deferred()

        def answer(result: _T) -> None:
            self._reactor.callFromThread(answered.callback, result)

        if self._thread is not None:
            self._thread.put(Question(lambda database: database.read(read), answer))
        return answered

    def _wait_for(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        """The answer, for which this thread stands still.

        Raises:
            Exception: the file cannot be read, or what was to be written before cannot be written.
        """
        if self._thread is None:
            raise RuntimeError("the store is not open")
        answers: list[Any] = []
        is_there = threading.Event()

        def answer(result: Any) -> None:
            answers.append(result)
            is_there.set()

        self._thread.put(Question(lambda database: database.read(read), answer, is_patient=False))
        is_there.wait()
        if isinstance(answers[0], Failure):
            answers[0].raiseException()
        found: _T = answers[0]
        return found

    # What the thread says, in the reactor's.

    def failed(self, text: str) -> None:
        """See :class:`mqttsecure.store.thread.Listener`."""
        is_new = self._problem is None
        if is_new:
            self._problem = text
            self._delay = _FIRST_RETRY
        if self._thread is not None and (self._retrying is None or not self._retrying.active()):
            self._retrying = self._reactor.callLater(self._delay, self._thread.retry)
            self._delay = min(2 * self._delay, _LAST_RETRY)
        if is_new:
            self.on_problem(text)

    def recovered(self) -> None:
        """See :class:`mqttsecure.store.thread.Listener`."""
        if self._problem is not None:
            self._problem = None
            self.on_recovered()

    def lost(self, text: str) -> None:
        """See :class:`mqttsecure.store.thread.Listener`."""
        self.on_problem(text)
        if self._problem is None:
            self.on_recovered()

    def _sync_later(self) -> None:
        if self._interval is not None:
            self._syncing = self._reactor.callLater(self._interval, self._sync)

    def _sync(self) -> None:
        if self._thread is not None:
            self._thread.sync()
            self._sync_later()
