# -*- test-case-name: tests.service.test_file_watch -*-
"""Notices that files of the configuration were changed and then left alone, so that they can be read again.

It looks at them once a second. That costs a few system calls, sees a file that was replaced by another one, a link that
was led elsewhere and a mode that was mended, and needs nothing of the kernel. What is written in several steps is not
taken up in between: all files must have been the same for a while. Whoever needs more time writes beside the file and
renames.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mqttsecure.service.assembly import Assembly

__all__ = ["FileWatch", "ReloadOnChange", "Seen", "StillChangingError", "files_of"]

_log = Logger()

INTERVAL: Final = 1.0
"""Seconds from one look to the next."""

Seen: TypeAlias = Mapping[Path, tuple[int, ...] | None]
"""What each file was like, None for one that was not there."""


def files_of(assembly: Assembly) -> Iterator[Path]:
    """The files that a configuration was read from, and that a reload reads again; not those that policies write."""
    config = assembly.config
    yield config.path
    for listener in assembly.listeners:
        if listener.tls is not None:
            yield from (listener.tls.certificate, listener.tls.key)
    for authority in config.authorities:
        yield from (*authority.ca, *authority.crl)
        if authority.password_file is not None:
            yield authority.password_file
    yield from config.test_files
    for folder in config.plugin_paths:
        yield from sorted(folder.glob("*.py"))
    yield from assembly.files
    if assembly.shadow is not None:
        yield from files_of(assembly.shadow)


def look_at(files: Iterable[Path]) -> Seen:
    """What files are like now."""
    return {file: _look_at(file) for file in files}


def _look_at(file: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    # The time of the last change of content, and that of mode, owner and name, which no program can set.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class StillChangingError(Exception):
    """Files were changed while they were read, or one that nobody has watched so far is to be read."""


class FileWatch:
    """Calls ``changed`` with what it has seen when the files are other ones and have stayed so for ``settle`` seconds.

    Args:
        clock: for the looks.
        changed: is told once of each state; what comes of it is no concern of the watch.
    """

    def __init__(self, clock: IReactorTime, changed: Callable[[Seen], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._settle = 0.0
        self._files: tuple[Path, ...] = ()
        self._known: Seen = {}
        self._new: Seen | None = None
        self._since = 0.0
        self._next: IDelayedCall | None = None

    def start(self, files: Iterable[Path], settle: float, seen: Seen) -> None:
        """Watch these files from now on.

        Args:
            files: all of them.
            settle: seconds for which they must stay the same.
            seen: what they were like when they were read; of one that is not among these, what it is like now counts.
        """
        self.stop()
        self._files, self._settle = tuple(dict.fromkeys(files)), settle
        self._known = {**self.look(), **{file: state for file, state in seen.items() if file in self._files}}
        self._new = None
        self._next = self._clock.callLater(INTERVAL, self._look)

    def stop(self) -> None:
        """Watch no more."""
        later, self._next = self._next, None
        if later is not None and later.active():
            later.cancel()

    def look(self) -> Seen:
        """What the files are like now."""
        return look_at(self._files)

    def go_on(self, files: Iterable[Path]) -> None:
        """Watch these files as well, and tell of what is there when all of it has settled."""
        self._files = tuple(dict.fromkeys((*self._files, *files)))
        self._known, self._new = {}, None

    def _look(self) -> None:
        self._next = self._clock.callLater(INTERVAL, self._look)
        now, seen = self._clock.seconds(), self.look()
        if seen == self._known:
            self._new = None
        elif seen != self._new:
            self._new, self._since = seen, now
        elif now - self._since >= self._settle:
            self._known, self._new = seen, None
            self._changed(seen)


class ReloadOnChange:
    """Has the configuration reloaded when its files were changed, where it says so.

    Args:
        clock: for the looks.
        reload: reloads. Before anything is put in force it calls what it is given with what was built, and lets
            through what that raises; it deals with a configuration that cannot be used itself.
    """

    def __init__(self, clock: IReactorTime, reload: Callable[[Callable[[Assembly], None]], object]) -> None:
        self._reload = reload
        self._watch = FileWatch(clock, self._files_changed)

    def look(self) -> Seen:
        """What the files are like; to be asked before they are read."""
        return self._watch.look()

    def follow(self, assembly: Assembly, seen: Seen) -> None:
        """This is in force now. ``seen`` is what the files were like before it was read."""
        if assembly.config.watch is None:
            self._watch.stop()
        else:
            self._watch.start(files_of(assembly), assembly.config.watch, seen)

    def stop(self) -> None:
        """Reload no more."""
        self._watch.stop()

    def _files_changed(self, seen: Seen) -> None:
        def check(assembly: Assembly) -> None:
            files = set(files_of(assembly))
            if not files <= seen.keys() or self._watch.look() != seen:
                self._watch.go_on(files)
                raise StillChangingError

        try:
            self._reload(check)
        except StillChangingError:
            _log.info("files of the configuration are still changing; it is reloaded when they are left alone")
