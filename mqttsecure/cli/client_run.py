# -*- test-case-name: tests.cli.test_pub -*-
"""Runs one client to its end: the reactor, Ctrl-C, and the exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final

import click
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.tcp import Connection
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from mqttsecure.cli.client_exit import EXIT_BROKEN_PIPE, exit_code_of
from mqttsecure.cli.output import EXIT_OK, EXIT_PROBLEMS
from mqttsecure.client.client import Change
from mqttsecure.client.failures import ClientError

__all__ = ["EndWith", "counted", "run", "tell_change"]

_GOODBYE: Final = 3.0
"""Seconds for connections to close; a client itself cuts off after two."""

_PAUSE: Final = 0.01
"""Seconds between two looks."""

Program = Callable[[Any], Coroutine[Deferred[Any], Any, int | None]]


class EndWith(Exception):
    """The program is to end with this exit code and these words, if any, on stderr."""

    def __init__(self, code: int, words: str = "") -> None:
        super().__init__(words)
        self.code = code


class _Run:
    """One run of the reactor.

    Ctrl-C and SIGTERM cancel the program, which says goodbye to the broker; the second time they end it at once.
    """

    def __init__(self, reactor: Any, program: Program) -> None:
        self._reactor = reactor
        self._program = program
        self._running: Deferred[Any] | None = None
        self._signal = 0
        self.code = EXIT_OK

    def begin(self) -> None:
        """The reactor runs."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self._running = Deferred.fromCoroutine(self._program(self._reactor))
        self._running.addCallbacks(self._done, self._failed)
        self._running.addBoth(lambda _: self._stop(self._reactor.seconds() + _GOODBYE))

    def _stop(self, deadline: float) -> None:
        """Stop once what was said last has been sent: who is interrupted while it connects waits for nothing itself."""
        reactor = self._reactor
        is_open = any(isinstance(each, Connection) for each in (*reactor.getReaders(), *reactor.getWriters()))
        if is_open and reactor.seconds() < deadline:
            reactor.callLater(_PAUSE, self._stop, deadline)
        else:
            reactor.stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal:
            os._exit(128 + number)
        self._signal = number
        self._reactor.callFromThread(self._cancel)

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def _done(self, code: int | None) -> None:
        self.code = 128 + self._signal if self._signal else code or EXIT_OK

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, EndWith):
            self.code = error.code
            if str(error):
                click.echo(str(error), err=True)
        elif isinstance(error, BrokenPipeError):
            self.code = EXIT_BROKEN_PIPE
        elif self._signal:
            self.code = 128 + self._signal
        elif isinstance(error, ClientError):
            self.code = exit_code_of(error)
            click.echo(f"mqttsecure: {error}", err=True)
        elif isinstance(error, OSError):
            self.code = EXIT_PROBLEMS
            click.echo(f"{error.filename or 'mqttsecure'}: {error.strerror}", err=True)
        elif not isinstance(error, CancelledError):
            self.code = EXIT_PROBLEMS
            click.echo(f"mqttsecure: internal error, please report it:\n{failure.getTraceback()}", err=True)


def run(program: Program) -> int:
    """Run ``program(reactor)`` and return the exit code of the process."""
    # Importing it installs it; no other command needs one.
    from twisted.internet import reactor

    log = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.error)])
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False, discardBuffer=True)
    running = _Run(reactor, program)
    reactor.callWhenRunning(running.begin)
    # Not Twisted's handlers: they stop the reactor, and the broker would hear no DISCONNECT.
    reactor.run(installSignalHandlers=False)  # type: ignore[call-arg]  # not in its interface
    _drop_closed_stdout()
    return running.code


def _drop_closed_stdout() -> None:
    """Have Python not complain at exit about a stdout that nobody reads any more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def counted(number: int, one: str, many: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number} {one if number == 1 else many}"


def tell_change(change: Change) -> None:
    """Tell on stderr that the connection was lost, or is back."""
    if change.error is not None:
        click.echo(f"mqttsecure: {change.error}; trying again in {change.wait:.1f} s", err=True)
    else:
        kept = "the session was kept" if change.session_present else "with a new session"
        click.echo(f"mqttsecure: connected again, {kept}", err=True)
