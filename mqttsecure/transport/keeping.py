# -*- test-case-name: tests.transport.test_keeping -*-
"""Has a store keep what the core notes as durable, and tells the core what is on disk. Called at the end of each turn.

One batch is under way at a time; what comes meanwhile is the next one, so that batches grow with the load. Where most
of a batch are messages that were just sent to their readers, it waits a few milliseconds for these to acknowledge: what
is acknowledged by then need not be kept at all, and costs the disk nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mqttsecure.core.broker import BrokerCore
from mqttsecure.core.records import StoredEntry
from mqttsecure.core.state import Load
from mqttsecure.interfaces import IRetainedStore, ISessionStore

__all__ = ["Keeping"]

_log = Logger()

_WORTH_WAITING: Final = 8
"""Messages on their way to their readers from which on it is worth to wait for them; fewer are written at once."""

_GATHER: Final = 0.003
"""Seconds for which a batch waits for readers at most: a round trip on a local network, and some ten commits' time."""

_PAGE: Final = 500
"""Entries read from disk in one go for one client, and the next sessions at the start."""

_PAGE_OCTETS: Final = 1024 * 1024
"""The same in bytes: as much as its outbox."""

_START_PAGE: Final = 5000
"""Sessions and retained messages read in one go at the start."""


class Keeping:
    """Keeps one core's durable state in one store.

    Args:
        core: whose journal it is.
        store: an :class:`ISessionStore` that is an :class:`IRetainedStore` as well, opened.
        clock: the reactor.
        wall_clock: the time of day in seconds since 1970.
        turn: to be called after the core was told something, so that what it wants is carried out.

    ``batches`` counts what was written, ``longest`` has the seconds that the slowest took.
    """

    def __init__(
        self,
        core: BrokerCore,
        store: Any,
        clock: IReactorTime,
        wall_clock: Callable[[], float],
        turn: Callable[[], None],
    ) -> None:
        self._core = core
        self._journal = core.state.journal
        self._sessions: ISessionStore = store
        self._retained: IRetainedStore = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._turn = turn
        self._under_way = 0
        self._call: IDelayedCall | None = None
        self._kept = 0
        self.batches = 0
        self.longest = 0.0
        store.on_problem = self._problem
        store.on_recovered = self._recovered

    # -- the start -------------------------------------------------------------------------------------------------

    def restore(self) -> tuple[int, int]:
        """Have the core know what is in the store; how many sessions and retained messages that is.

        Blocks: it is done before the broker serves.
        """
        now = self._clock.seconds()
        core = self._core
        core.keep()
        core.state.wall_offset = self._wall_clock() - now
        highest = self._sessions.highest()
        self._journal.start_after(*highest)
        return self._restore_sessions(now), self._restore_retained(now)

    def _restore_sessions(self, now: float) -> int:
        count = after = 0
        while page := self._sessions.load_sessions(after, _START_PAGE):
            for stored in page:
                self._core.restore_session(stored, now)
            count += len(page)
            after = page[-1].row.key
        return count

    def _restore_retained(self, now: float) -> int:
        count = 0
        after = ("", "")
        while page := self._retained.load_retained(after, _START_PAGE):
            for stored in page:
                self._core.restore_retained(stored, now)
            count += len(page)
            after = (page[-1].message.namespace, page[-1].message.topic)
        return count

    # -- each turn -------------------------------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether there is something to keep or to read, or somebody waits although there is not."""
        state = self._core.state
        return (
            self._journal.changes != self._kept
            or bool(state.loads)
            or (not self._under_way and bool(state.gated or state.uncommitted))
        )

    def turn_ended(self) -> None:
        """Write what has changed, or see to it that it is written soon; read what is wanted."""
        loads = self._core.take_loads()
        if loads:
            self._write_now()  # what is read next must have it
            for load in loads:
                self._read(load)
        elif self._journal.is_empty():
            self._kept = self._journal.changes
            if not self._under_way:
                self._nothing_to_write()
        elif not self._under_way:
            hopeful = self._journal.hopeful
            if hopeful >= _WORTH_WAITING and hopeful * 2 >= self._journal.changes - self._kept:
                self._write_later(_GATHER)
            else:
                self._write_now()

    def _nothing_to_write(self) -> None:
        state = self._core.state
        if state.gated or state.uncommitted:
            number = self._journal.number
            self._journal.skip()
            self._core.committed(number, self._clock.seconds())

    def _write_later(self, seconds: float) -> None:
        if self._call is None:
            self._call = self._clock.callLater(seconds, self._write_now)

    def _write_now(self) -> None:
        if self._call is not None:
            call, self._call = self._call, None
            if call.active():
                call.cancel()
        self._kept = self._journal.changes
        if self._journal.is_empty():
            return
        started = self._clock.seconds()
        batch = self._core.take_batch(started, self._wall_clock())
        self._under_way += 1
        self.batches += 1
        self._sessions.commit(batch).addCallbacks(self._written, _fault, callbackArgs=(batch.number, started))

    def _written(self, result: None, number: int, started: float) -> None:
        now = self._clock.seconds()
        self.longest = max(self.longest, now - started)
        self._under_way -= 1
        self._core.committed(number, now)
        self._turn()

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, load: Load) -> None:
        entries = self._sessions.load_entries(load.key, load.after, _PAGE, _PAGE_OCTETS)
        incoming: Deferred[Sequence[int]]
        if load.with_incoming:
            incoming = self._sessions.load_incoming(load.key)
        else:
            incoming = Deferred()
            incoming.callback(())
        both: Deferred[Any] = gatherResults([entries, incoming], consumeErrors=True)
        both.addErrback(_unreadable)
        both.addCallback(self._was_read, load)
        both.addErrback(_fault)

    def _was_read(self, read: tuple[Sequence[StoredEntry], Sequence[int]], load: Load) -> None:
        self._core.loaded(load, read[0], read[1], self._clock.seconds())
        self._turn()

    # -- trouble, and the end ----------------------------------------------------------------------------------------

    def _problem(self, why: str) -> None:
        _log.error("nothing durable can be kept at the moment: {why}", why=why)
        self._core.storage_fails(why, self._clock.seconds())
        self._turn()

    def _recovered(self) -> None:
        _log.warn("what is durable is kept again")
        self._core.storage_fails(None, self._clock.seconds())
        self._turn()

    def close(self) -> Deferred[None]:
        """Write all that is left, and let go of the store."""
        self._core.take_loads()
        self._write_now()
        return self._sessions.close()


def _unreadable(failure: Failure) -> tuple[Sequence[StoredEntry], Sequence[int]]:
    """The client comes back all the same; the store says what is damaged."""
    _log.failure("what is queued for a client cannot be read from disk", failure=failure)
    return (), ()


def _fault(failure: Failure) -> None:
    _log.failure("internal error; please report it", failure=failure)
