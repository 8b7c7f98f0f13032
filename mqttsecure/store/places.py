# -*- test-case-name: tests.store.test_places -*-
"""The file of a store and what lies beside it: modes, the folder, and the lock that keeps a second broker out.

``FILE-wal`` and ``FILE-shm`` are SQLite's. ``FILE.lock`` is held (flock) by the process that may write, and says
whether the last one ended in order.

No file that SQLite has open may be opened and closed here meanwhile: closing any descriptor of a file drops the POSIX
locks that the process holds on it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from mqttsecure.errors import ConfigError

__all__ = ["Lock", "beside", "check_modes", "make_folder", "make_private_file", "sync_folder"]

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def beside(path: Path, suffix: str) -> Path:
    """``FILE`` with ``suffix`` after its name."""
    return path.with_name(path.name + suffix)


def make_folder(path: Path) -> None:
    """Make the folder of ``path`` (0700), where that one's parent is there.

    Raises:
        ConfigError: it cannot be made, or is not ours alone to write.
    """
    folder = path.parent
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no folder {folder.parent}; make it, for the user that serves") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: the folder {folder} cannot be made: {error.strerror}; make it, for the user that serves"
        ) from error
    if not folder.is_dir():
        raise ConfigError(f"{path}: {folder} is no folder; name another file")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS_WRITE:
        raise ConfigError(f"{path}: others can change its folder (mode {mode:04o}); run: chmod 700 {folder}")


def check_modes(path: Path) -> None:
    """Refuse a file that others can get at, or that is none.

    Raises:
        ConfigError: with the mend.
    """
    for file in (path, beside(path, "-wal"), beside(path, "-shm")):
        try:
            status = file.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"{file} cannot be used: {error.strerror}; check its owner and mode") from error
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{file} is not a regular file; name another, or move it away")
        mode = stat.S_IMODE(status.st_mode)
        if mode & _OTHERS:
            raise ConfigError(f"{file}: others can read or change it (mode {mode:04o}); run: chmod 600 {file}")
        if not os.access(file, os.R_OK | os.W_OK):
            raise ConfigError(
                f"{file} cannot be written by the user that serves; "
                f"run: chown {os.geteuid()} {file} && chmod 600 {file}"
            )


def make_private_file(path: Path) -> bool:
    """Make an empty file that is the owner's alone; False where there is one."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(f"{path} cannot be made: {error.strerror}; check its folder's owner and mode") from error
    return True


def sync_folder(path: Path) -> None:
    """Have the names in the folder of ``path`` on disk."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Lock:
    """``FILE.lock``: held by the one process that may write ``FILE``.

    ``ended_in_order`` is None where there was no process before, or nobody knows.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            ConfigError: another process has it.
        """
        self._file = beside(path, ".lock")
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._file, flags, 0o600)
        except OSError as error:
            raise ConfigError(
                f"{self._file} cannot be opened: {error.strerror}; check the owner and mode of it and its folder"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            note = self._read()
            os.close(self._descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise ConfigError(f"{self._file} cannot be locked: {error.strerror}; use a local disk") from error
            holder = f"process {note['pid']}" if "pid" in note else "another process"
            raise ConfigError(f"{path} is in use by {holder}; stop that first, or name another file") from None
        self.ended_in_order: bool | None = self._read().get("ended_in_order")
        self.is_first = self.ended_in_order is None

    def _read(self) -> dict[str, Any]:
        try:
            note = json.loads(os.pread(self._descriptor, 4096, 0))
        except ValueError:
            return {}
        return note if isinstance(note, dict) else {}

    def note(self, *, ended_in_order: bool) -> None:
        """Write down who has it, and whether that one is done."""
        content = json.dumps({"pid": os.getpid(), "ended_in_order": ended_in_order}).encode() + b"\n"
        try:
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))
            os.fsync(self._descriptor)
        except OSError:
            pass  # a full disk; the note only makes a report of damage more exact

    def release(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)
