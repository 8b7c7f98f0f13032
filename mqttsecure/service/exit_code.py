# -*- test-case-name: tests.service.test_exit_code -*-
"""Signals, and the exit code of the process: 0 after an orderly stop, 1 after a start that failed.

twistd sends itself the signal again with which it was stopped, so that a stop by SIGTERM ends with 143, and it ends
with 0 when a service stops the reactor because of a failure. Both tell a supervisor the wrong thing.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from mqttsecure.errors import MqttsecureError

__all__ = ["StartFailed", "call_on_sighup", "fail_start", "stop_on_sigterm"]

_log = Logger()


class StartFailed(MqttsecureError):
    """The broker cannot start; the text says why and how to mend it."""


class _Reactor(Protocol):
    """The part of Twisted's reactor that is used here."""

    running: bool

    def stop(self) -> object: ...

    def callFromThread(self, callable: Any, *arguments: Any) -> object: ...

    def callWhenRunning(self, callable: Any, *arguments: Any) -> object: ...


def stop_on_sigterm(reactor: _Reactor) -> None:
    """Let SIGTERM stop ``reactor`` in order and the process end with 0.

    Twisted's own handler, set when the reactor starts to run, also notes the signal for twistd to send itself again
    at the end; ours takes its place right after.
    """
    reactor.callWhenRunning(_take_sigterm, reactor)


def call_on_sighup(reactor: _Reactor, action: Callable[[], object]) -> None:
    """Have SIGHUP call ``action`` in the reactor's thread, in place of ending the process."""

    def take() -> None:
        signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(action))

    reactor.callWhenRunning(take)


def _take_sigterm(reactor: _Reactor) -> None:
    def on_sigterm(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(_stop, reactor)

    signal.signal(signal.SIGTERM, on_sigterm)


def _stop(reactor: _Reactor) -> None:
    _log.info("SIGTERM received, stopping")
    try:
        reactor.stop()
    except ReactorNotRunning:
        pass  # a second SIGTERM while the first one's stop is still under way


def fail_start(reason: str, reactor: _Reactor) -> None:
    """End a start that cannot succeed: one line in the log and on stderr, no traceback, exit code 1.

    Before the reactor runs (``privilegedStartService``, ``startService``) this raises, which twistd, also as a daemon,
    reports to the process that started it. Later it stops the reactor in order.

    Raises:
        StartFailed: the reactor does not run yet.
    """
    # The log alone may be in a file that nobody looks at: who typed the command, or systemd, reads stderr. Twisted has
    # put its log in place of sys.stderr by now; in a daemon the real one is /dev/null.
    _log.critical("cannot start: {reason}", reason=reason)
    _say(f"mqttsecure: cannot start: {reason}")
    if not reactor.running:
        sys.excepthook = _without_traceback(sys.excepthook)
        raise StartFailed(reason)
    _exit_with_failure()
    _stop_quietly(reactor)


def _say(line: str) -> None:
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{line}\n")
        sys.__stderr__.flush()


def _stop_quietly(reactor: _Reactor) -> None:
    try:
        reactor.stop()
    except ReactorNotRunning:
        pass  # it is stopping already, for the same or another reason


def _without_traceback(otherwise: Any) -> Any:
    """An excepthook that says nothing about :class:`StartFailed`, which has been reported where it was raised."""

    def excepthook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        if not issubclass(kind, StartFailed):
            otherwise(kind, value, traceback)

    return excepthook


def _exit_with_failure() -> None:
    """Let the process end with 1 once twistd has finished: it has no way of its own to be told so."""
    atexit.register(_exit_now, 1)


def _exit_now(code: int) -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(code)
