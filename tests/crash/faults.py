"""Runs a process on a disk that fails, and shows what is on that disk after its power has gone.

``disk.c`` is compiled with ``cc`` and loaded before the C library of any process, a broker's as well::

    disk = Disk(folder_of_the_test, prefix=folder_of_the_store)
    process = subprocess.Popen(command, env={**os.environ, **disk.environment()})
    ...                                         # an acknowledgement has come:
    at = disk.position()                        # whatever is lost from now on, that must not be
    ...
    disk.recording().lose_power(at_or_later, random.Random(seed), another_folder)

What was synced is there; of what was written since, some is, some is not, and some in part, in any order.
"""

from __future__ import annotations

import errno
import os
import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.foreign import require

__all__ = ["Disk", "Event", "Recording"]

_HEADER: Final = struct.Struct("<cIQQ")
_SECTOR: Final = 512
_SOURCE: Final = Path(__file__).with_name("disk.c")


@dataclass(slots=True, frozen=True)
class Event:
    """A change: ``kind`` is W (write), S (sync), T (truncate), C (create), U (unlink), R (rename), D (folder synced).

    ``end`` is the position in the log behind it.
    """

    kind: str
    path: str
    offset: int
    data: bytes
    end: int


class Disk:
    """A disk for what is below ``prefix``. What else it does is said by :meth:`environment`."""

    def __init__(self, folder: Path, prefix: Path) -> None:
        self._prefix = prefix
        self._log = folder / "disk.log"
        self.switch = folder / "disk.fails"
        """Operations fail while there is a file of this name."""
        self._library = folder / "disk.so"
        self._before = _files(prefix)
        compiler = require("cc")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", self._library, _SOURCE, "-ldl"], check=True)

    def environment(
        self, fail: str = "", error: int = errno.EIO, after: int = 0, count: int = -1, torn: bool = False
    ) -> dict[str, str]:
        """What to add to the environment of a process.

        Args:
            fail: operations that fail while :attr:`switch` is there: w (write), s (sync), t (truncate), c (create).
            error: how.
            after: how many of them succeed first.
            count: how many fail then; -1 for all.
            torn: a write that fails has written its first half.
        """
        return {
            "LD_PRELOAD": str(self._library),
            "DISK_PREFIX": str(self._prefix),
            "DISK_LOG": str(self._log),
            "DISK_SWITCH": str(self.switch),
            "DISK_FAIL": fail,
            "DISK_ERRNO": str(error),
            "DISK_AFTER": str(after),
            "DISK_COUNT": str(count),
            "DISK_TORN": str(int(torn)),
        }

    def position(self) -> int:
        """How far the log goes: everything that has been done until now is before it."""
        return self._log.stat().st_size

    def recording(self) -> Recording:
        """What has been recorded until now."""
        return Recording(self._prefix, self._before, list(_read(self._log)))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.iterdir() if file.is_file()} if folder.exists() else {}


def _read(log: Path) -> Iterator[Event]:
    content = log.read_bytes()
    at = 0
    while at + _HEADER.size <= len(content):
        kind, path_length, offset, length = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        path = content[at : at + path_length].decode()
        data = content[at + path_length : at + path_length + length]
        at += path_length + length
        if at <= len(content):
            yield Event(kind.decode(), path, offset, data, at)


@dataclass(slots=True)
class _File:
    """``synced`` is what is on disk for certain, ``pending`` what came since: (offset, data), or (size, None)."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _change(self.synced, *change)
        self.pending.clear()

    def after_power_loss(self, random: random.Random) -> bytes:
        content = bytearray(self.synced)
        pending = list(self.pending)
        if random.random() < 0.5:
            random.shuffle(pending)
        share = random.choice((0.0, 0.5, 0.9, 1.0))
        for offset, data in pending:
            if random.random() >= share:
                continue
            if data is not None and random.random() < 0.1:
                data = data[: random.randrange(len(data) // _SECTOR + 1) * _SECTOR]
            _change(content, offset, data)
        return bytes(content)


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    size = offset if data is None else offset + len(data)
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset:size] = data


class _Names:
    """Which file has which name: on disk for certain, now, and what has been done since the folder was synced."""

    def __init__(self, files: dict[str, _File]) -> None:
        self.synced = dict(files)
        self.now = dict(files)
        self.pending: list[tuple[str, str, _File | None]] = []

    def note(self, event: Event) -> None:
        if event.kind == "C":
            self._do(("C", event.path, _File()))
        elif event.kind == "U":
            self._do(("U", event.path, None))
        elif event.kind == "R":
            self._do(("C", event.data.decode(), self.now[event.path]))
            self._do(("U", event.path, None))
        else:
            for change in self.pending:
                self._apply(self.synced, change)
            self.pending.clear()

    def _do(self, change: tuple[str, str, _File | None]) -> None:
        self.pending.append(change)
        self._apply(self.now, change)

    @staticmethod
    def _apply(names: dict[str, _File], change: tuple[str, str, _File | None]) -> None:
        _, path, file = change
        if file is not None:
            names[path] = file
        else:
            names.pop(path, None)

    def after_power_loss(self, random: random.Random) -> dict[str, _File]:
        """A journal keeps the order of what is done to names, but not all of it has come to the disk."""
        names = dict(self.synced)
        for change in self.pending[: random.randrange(len(self.pending) + 1)]:
            self._apply(names, change)
        return names


class Recording:
    """All that was done to a disk, in its order."""

    def __init__(self, prefix: Path, before: dict[str, bytes], events: list[Event]) -> None:
        self._prefix = str(prefix)
        self._before = before
        self.events = events

    def lose_power(self, position: int, random: random.Random, target: Path) -> None:
        """Put into the folder ``target`` what is on the disk when its power goes at ``position`` of the log."""
        names = _Names({path: _File(bytearray(content)) for path, content in self._before.items()})
        for event in self.events:
            if event.end > position:
                break
            if event.kind in "CURD":
                names.note(event)
                continue
            file = names.now.get(event.path)
            if file is None:
                continue  # it has no name any more
            if event.kind == "S":
                file.sync()
            else:
                file.pending.append((event.offset, event.data if event.kind == "W" else None))
        target.mkdir(mode=0o700)
        for path, file in names.after_power_loss(random).items():
            if path.endswith("-shm"):
                continue  # memory that processes share, which SQLite never syncs and makes anew
            copy = target / os.path.relpath(path, self._prefix)
            copy.write_bytes(file.after_power_loss(random))
            copy.chmod(0o600)
