# -*- test-case-name: tests.store.test_sqlite -*-
"""The one thread that writes. It is given batches and questions, and answers by calls in the reactor's thread.

What has come while a transaction was under way goes into the next one together. A transaction that fails is kept and
tried again when the reactor's clock says so; until then nothing behind it is done either.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from mqttsecure.core.records import Batch
from mqttsecure.store.database import Database, in_words

__all__ = ["Listener", "Question", "StoreThread", "Write"]

_MOST_ROWS: Final = 50_000
"""Of one transaction: half a second at most, so that the first of many batches is not kept waiting for all of them."""

_log = Logger()


@dataclass(slots=True)
class Write:
    """A batch; ``done`` is called in the reactor's thread once it is on disk."""

    batch: Batch
    done: Callable[[], object]


@dataclass(slots=True)
class Question:
    """What is to be read after all writes before it.

    ``answer`` is called in the writing thread, with the result or a Failure. Where ``is_patient`` it is never told of
    an error of the file but waits until that is over; the reactor's thread, which says when to try again, must not.
    """

    ask: Callable[[Database], Any]
    answer: Callable[[Any], object]
    is_patient: bool = True


class Listener(Protocol):
    """Who is told how it goes, each by a call in the reactor's thread."""

    def failed(self, text: str) -> None:
        """It cannot write, and waits for :meth:`StoreThread.retry`."""

    def recovered(self) -> None:
        """It can write again."""

    def lost(self, text: str) -> None:
        """The file was damaged, and has been mended."""


class _Signal:
    """What is not to be done in its order but when it comes."""


_RETRY: Final = _Signal()
_SYNC: Final = _Signal()
_CLOSE: Final = _Signal()


class StoreThread:
    """Serves ``database``, which is open, until it is told to end; closes it then.

    Args:
        database: what is written.
        call: calls something in the reactor's thread (``reactor.callFromThread``).
        listener: hears how it goes.
    """

    def __init__(self, database: Database, call: Callable[..., object], listener: Listener) -> None:
        self._database = database
        self._call = call
        self._listener = listener
        self._queue: SimpleQueue[Write | Question | _Signal] = SimpleQueue()
        self._waiting: deque[Write | Question] = deque()
        self._is_failing = False
        self._has_failed = False
        self._is_closing = False
        self._told_losses = len(database.losses)
        self._closed: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._run, name="mqttsecure store", daemon=True)

    # Called in the reactor's thread.

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def put(self, work: Write | Question) -> None:
        """Have it done after all that was put before."""
        self._queue.put(work)

    def retry(self) -> None:
        """Try again what could not be written."""
        self._queue.put(_RETRY)

    def sync(self) -> None:
        """Have on disk what was written without waiting for that."""
        self._queue.put(_SYNC)

    def close(self, closed: Callable[[], object]) -> None:
        """Do what is left, give up what cannot be written, close the file, and call ``closed`` in the reactor."""
        self._closed = closed
        self._queue.put(_CLOSE)

    # Called in its own.

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self._take()
                if self._waiting and not self._is_failing:
                    self._do_first()
                else:
                    self._use_leisure()
            self._do_last()
        except BaseException:
            _log.failure("the thread of the store has ended, nothing is written any more: a bug", Failure())
        finally:
            self._database.close()
            if self._closed is not None:
                self._call(self._closed)

    def _take(self) -> None:
        """Take all that has come; wait for something where nothing else is to be done."""
        try:
            if self._is_failing or not (self._waiting or self._database.is_untidy):
                self._accept(self._queue.get())
            while True:
                self._accept(self._queue.get_nowait())
        except Empty:
            pass

    def _accept(self, item: Write | Question | _Signal) -> None:
        if not isinstance(item, _Signal):
            self._waiting.append(item)
            if isinstance(item, Question) and not item.is_patient:
                self._is_failing = False
        elif item is _RETRY:
            self._is_failing = False
        elif item is _CLOSE:
            self._is_closing = True
        elif not self._is_failing:
            self._attempt(self._database.sync)

    def _use_leisure(self) -> None:
        """Nothing waits: move what is in the WAL, tidy up a little."""
        if self._is_failing or not self._attempt(lambda: self._database.checkpoint(idle=True)):
            return
        if self._database.is_untidy:
            self._attempt(self._database.tidy)

    def _do_first(self) -> None:
        """Do the first that waits, and with it what can be done at once."""
        first = self._waiting[0]
        if isinstance(first, Question):
            self._answer(first)
            return
        group = self._group()
        if self._attempt(lambda: self._database.write([write.batch for write in group])):
            for _ in group:
                self._waiting.popleft()
            self._call(_fire, [write.done for write in group])
            self._attempt(lambda: self._database.checkpoint(idle=not self._waiting and self._queue.empty()))

    def _group(self) -> list[Write]:
        """The writes that go into one transaction."""
        group: list[Write] = []
        rows = 0
        for work in self._waiting:
            if not isinstance(work, Write) or rows >= _MOST_ROWS:
                break
            group.append(work)
            batch = work.batch
            rows += len(batch.entries) + len(batch.messages) + len(batch.removed) + len(batch.retained)
        return group

    def _answer(self, question: Question) -> None:
        answer: Any = None

        def ask() -> None:
            nonlocal answer
            answer = question.ask(self._database)

        if self._attempt(ask):
            self._waiting.popleft()
            question.answer(answer)

    def _attempt(self, action: Callable[[], object]) -> bool:
        """Whether it could be done; otherwise it is to be tried again once :meth:`retry` says so."""
        try:
            action()
        except Exception as error:
            self._fail(error)
            return False
        losses = self._database.losses
        if len(losses) > self._told_losses:
            self._call(self._listener.lost, "; ".join(losses[self._told_losses :]))
            self._told_losses = len(losses)
        if self._has_failed:
            self._has_failed = False
            self._call(self._listener.recovered)
        return True

    def _fail(self, error: Exception) -> None:
        self._is_failing = self._has_failed = True
        failure = Failure(error)
        hasty = [work for work in self._waiting if isinstance(work, Question) and not work.is_patient]
        for question in hasty:
            self._waiting.remove(question)
            question.answer(failure)
        self._call(self._listener.failed, in_words(self._database.path, error))

    def _do_last(self) -> None:
        """Try once more what waits; no question is answered any more."""
        self._is_failing = False
        while self._waiting and not self._is_failing:
            if isinstance(self._waiting[0], Write):
                self._do_first()
            else:
                self._waiting.popleft()


def _fire(calls: list[Callable[[], object]]) -> None:
    for call in calls:
        call()
