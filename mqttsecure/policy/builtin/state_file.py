# -*- test-case-name: tests.policy.builtin.test_state_file -*-
"""A small JSON file in which a policy keeps what must outlive the process.

It is read when the policy is built, and written as a whole by a worker thread: to a new file beside it, which takes
its place when it is on disk. It belongs to its owner alone (0600).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IPolicyEnvironment
from mqttsecure.policy.secrets import read_secret

__all__ = ["Damaged", "StateFile"]

_MAXIMUM_BYTES: Final = 32 * 1024 * 1024
"""Above all that a policy of this package ever writes."""

_INTERVAL: Final = 5.0
"""Seconds from one write to the next that nobody waits for: an attack may change much, and often."""

_DAMAGED: Final = ".damaged"


class Damaged(ValueError):
    """The file does not hold what was once written."""


class StateFile:
    """Reads and writes ``path``. ``snapshot`` gives what to write, as JSON can hold it and as nothing changes later."""

    def __init__(self, path: Path, environment: IPolicyEnvironment, snapshot: Callable[[], Any]) -> None:
        self.path = path
        self.snapshot = snapshot
        self._environment = environment
        self._keep_aside = False
        self._writing = False
        self._dirty = False
        self._last: float | None = None
        self._later: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []

    def read(self) -> Any:
        """What is in the file, None where there is none yet.

        Raises:
            ConfigError: it may not be used, as others can read it, or could never be written, as its folder and
                that one's are missing.
            Damaged: it is no JSON.
        """
        folder = self.path.parent
        if not folder.is_dir() and not Path(os.path.normpath(folder)).parent.is_dir():
            raise ConfigError(f"{self.path}: there is no folder {folder}; make it, for the user that serves")
        if not os.path.lexists(self.path):
            return None
        content = read_secret(self.path, _MAXIMUM_BYTES)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise Damaged(f"{self.path} is damaged: {error}") from error

    @property
    def is_kept_aside(self) -> bool:
        """Whether the next write is to keep what is there."""
        return self._keep_aside

    def keep_aside(self) -> Path:
        """Have the file that is there kept under another name at the first write; that name."""
        self._keep_aside = True
        return self.path.with_name(self.path.name + _DAMAGED)

    def changed(self) -> None:
        """Have it written: at once, or a few seconds after the last time."""
        self._dirty = True
        if self._writing or self._later is not None:
            return
        now = self._environment.clock.seconds()
        due = now if self._last is None else self._last + _INTERVAL
        if due <= now:
            self._write()
        else:
            self._later = self._environment.clock.callLater(due - now, self._write)

    def flush(self) -> Deferred[None]:
        """Have it written at once; fires when it is on disk, fails with a ConfigError where it cannot be."""
        self._dirty = True
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        if not self._writing:
            self._write()
        return done

    def save(self) -> Deferred[None] | None:
        """Write what is not written yet; None where all is."""
        return self.flush() if self._dirty or self._writing else None

    def _write(self) -> None:
        later, self._later = self._later, None
        if later is not None and later.active():
            later.cancel()
        self._writing, self._dirty = True, False
        self._last = self._environment.clock.seconds()
        waiting, self._waiting = self._waiting, []
        aside = self.path.with_name(self.path.name + _DAMAGED) if self._keep_aside else None
        written: Deferred[None] = self._environment.defer_to_thread(_replace, self.path, self.snapshot(), aside)
        written.addBoth(self._written, waiting)

    def _written(self, result: object, waiting: list[Deferred[None]]) -> None:
        self._writing = False
        if isinstance(result, Failure):
            self._failed(result, waiting)
        else:
            self._keep_aside = False
            for each in waiting:
                each.callback(None)
        if self._waiting:
            self._write()
        elif self._dirty:
            self.changed()

    def _failed(self, failure: Failure, waiting: list[Deferred[None]]) -> None:
        """Tell it, and try again later: what is known in memory holds all the same."""
        self._dirty = True
        text = f"{self.path} cannot be written: {failure.getErrorMessage()}"
        self._environment.log.error("{text}; it is tried again", text=text)
        for each in waiting:
            each.errback(ConfigError(f"{text}; it holds now, but not after a restart"))


def _replace(path: Path, document: Any, aside: Path | None) -> None:
    """Runs in a worker thread, one at a time for each file."""
    content = json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if aside is not None:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, aside)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # of a process that was killed while it wrote
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # so that the rename itself outlives a power cut
    finally:
        os.close(folder)
