# -*- test-case-name: tests.transport.test_keeping -*-
"""Has a store keep what the core notes as durable, and tells the core what is on disk. Called at the end of each turn.

One batch is under way at a time; what comes meanwhile is the next one, so that batches grow with the load. Where most
of a batch are messages that were just sent to their readers, it waits a few milliseconds for these to acknowledge, as
long as that was worth it lately: what is acknowledged by then need not be kept at all, and costs the disk nothing.
"""

from __future__ import annotations

import gc
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

_GATHER: Final = 0.003
"""Seconds for which a batch waits for readers at most: a round trip on a local network, and some ten commits' time."""

_TRUST: Final = 16
"""How often in a row readers must have been in time to be trusted most."""

_DISAPPOINTMENT: Final = 4
"""What one wait for nothing takes off that: it delayed acknowledgements by more than the disk would have."""

_TRY_AGAIN: Final = 64
"""Batches after which readers that were too slow are waited for once more: they may be others by now."""

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
        self._looked_at = 0
        self._waits_from = 0
        self._trust = _TRUST
        self._untried = 0
        self.batches = 0
        self.longest = 0.0
        store.on_problem = self._problem
        store.on_recovered = self._recovered

    @property
    def losses(self) -> Sequence[str]:
        """What was damaged in the store and could not be kept."""
        return self._sessions.losses()

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
        gc.disable()  # it would go through all of it again and again, and none of it is garbage
        try:
            return self._restore_sessions(now), self._restore_retained(now)
        finally:
            gc.freeze()
            gc.enable()

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
        """Whether there is something to keep or to read, or to say that it needs no keeping any more."""
        journal = self._journal
        return journal.changes != self._looked_at or bool(self._core.state.loads) or journal.has_undone

    def turn_ended(self) -> None:
        """Write what has changed, or see to it that it is written soon; read what is wanted."""
        self._looked_at = self._journal.changes
        loads = self._core.take_loads()
        if loads:
            self._write_now()  # what is read next must have it
            for load in loads:
                self._read(load)
        elif not self._under_way:
            self._settle()
            if self._call is None and not self._journal.is_empty():
                if self._is_worth_waiting():
                    self._wait()
                else:
                    self._write_now()

    def _settle(self) -> None:
        """Tell what needs no disk any more."""
        settled = self._journal.settled_to()
        if settled > self._journal.committed:
            self._core.committed(settled, self._clock.seconds())

    def _is_worth_waiting(self) -> bool:
        """Whether readers may acknowledge most of the batch before it would be on disk."""
        if self._trust <= 0:
            self._untried += 1
            if self._untried < _TRY_AGAIN:
                return False
            self._untried = 0
            self._trust = 1
        return self._journal.hopeful > 0 and self._journal.hopeful * 2 >= self._journal.unsettled

    def _wait(self) -> None:
        self._waits_from = self._journal.changes
        self._call = self._clock.callLater(_GATHER, self._waited)

    def _waited(self) -> None:
        """Write, unless all that was there when the wait began needs no writing any more."""
        self._call = None
        if self._under_way:
            return
        self._settle()
        if self._journal.committed < self._waits_from:
            self._trust -= _DISAPPOINTMENT
            self._write_now()
        else:
            self._trust = min(_TRUST, self._trust + 1)
            self._looked_at = -1  # what came since the wait began
        self._turn()

    def _write_now(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._journal.is_empty():
            return
        started = self._clock.seconds()
        number = self._journal.changes
        batch = self._core.take_batch(started, self._wall_clock())
        self._under_way += 1
        self.batches += 1
        self._sessions.commit(batch).addCallbacks(self._written, _fault, callbackArgs=(number, started))

    def _written(self, result: None, number: int, started: float) -> None:
        now = self._clock.seconds()
        self.longest = max(self.longest, now - started)
        self._under_way -= 1
        self._core.committed(number, now)
        self._looked_at = -1  # what came meanwhile
        self._turn()

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, load: Load) -> None:
        octets = _PAGE_OCTETS
        if load.at_least:
            octets += 2 * self._core.state.limits.maximum_inflight_bytes  # with all that is around the payloads
        entries = self._sessions.load_entries(load.key, load.after, max(_PAGE, load.at_least), octets)
        incoming: Deferred[Sequence[int]]
        if load.at_least:
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
