# -*- test-case-name: tests.store.test_damage -*-
"""Finds out that a file is damaged, puts it aside, and makes a new one of what can be read.

The new file is made whole before the old one is moved: whenever the process or the machine dies meanwhile, the next
start finds either the damaged file or the new one.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from mqttsecure.errors import ConfigError
from mqttsecure.store.invariants import find_faults, mend_faults
from mqttsecure.store.places import beside, make_private_file, sync_folder
from mqttsecure.store.salvage import salvage
from mqttsecure.store.schema import Damaged, Schema

__all__ = ["DAMAGE", "Damaged", "check_whole", "finish_mending", "is_damage", "look_at", "mend"]

_MAGIC: Final = b"SQLite format 3\0"

_CHECKED_BYTES: Final = 512 * 1024 * 1024
"""Of a file that is read whole at each start: a second or two. Damage in a larger one shows when it is read."""

_NEW: Final = ".mending"
_SCRATCH: Final = ".scratch"

_WAL_HEADER: Final = 32
_FRAME_HEADER: Final = 24


DAMAGE: Final = (sqlite3.DatabaseError, UnicodeDecodeError, Damaged)
"""What :func:`is_damage` may be true of."""


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is damaged, or cannot even say it in words that are UTF-8."""
    if isinstance(error, Damaged | UnicodeDecodeError):
        return True
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    return isinstance(error, sqlite3.OperationalError) and "decode to UTF-8" in str(error)


def finish_mending(path: Path) -> None:
    """Do the last step of a :func:`mend` that was cut off, or undo it."""
    new = beside(path, _NEW)
    if new.exists() and not path.exists():
        os.replace(new, path)
        sync_folder(path)
    for rest in (new, beside(path, _SCRATCH)):
        for suffix in ("", "-wal", "-shm", "-journal"):
            beside(rest, suffix).unlink(missing_ok=True)


def look_at(path: Path, *, was_used: bool, ended_in_order: bool) -> list[str]:
    """Look at the file before SQLite does, which would take some kinds of damage for an empty file.

    Args:
        path: of the file.
        was_used: whether it was a store before.
        ended_in_order: whether the last process had written everything to it.

    Returns:
        Losses that are no reason to make a new file.

    Raises:
        Damaged: it has to be mended.
        ConfigError: it is not ours.
    """
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if not was_used:
        if start and start != _MAGIC:
            raise ConfigError(f"{path} is not a store; name another file, or move it away")
        return []
    if not start:
        raise Damaged("it is empty")
    if start != _MAGIC:
        raise Damaged("it does not begin as a database does")
    wal = beside(path, "-wal")
    if ended_in_order:
        return []
    if not wal.exists():
        return [f"{wal} is missing, although the last process did not end in order: what it wrote last is lost"]
    lost = _lost_transactions(wal)
    return [f"{wal} is damaged: at least {lost} of the last transactions are lost"] if lost else []


def check_whole(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Check the file, and that its rows fit, where it is not too large for that; mend rows that do not.

    Returns:
        What was wrong with rows.

    Raises:
        Damaged: the file is.
    """
    if path.stat().st_size > _CHECKED_BYTES:
        return []
    ((found,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        raise Damaged(str(found))
    faults = find_faults(connection)
    if faults:
        connection.execute("BEGIN IMMEDIATE")
        mend_faults(connection)
        connection.execute("COMMIT")
    return [f"{path}: {fault.rows} {fault.text}" for fault in faults]


def mend(path: Path, schema: Schema, why: str) -> list[str]:
    """Put the file aside and a new one, with what can be read, in its place. Nobody may have it open.

    Returns:
        What was found, where the damaged file is now, and a line for each kind of loss.

    Raises:
        sqlite3.Error: the new file cannot be written.
        OSError: the same, or the old one cannot be moved.
    """
    finish_mending(path)
    new = beside(path, _NEW)
    make_private_file(new)
    with closing(sqlite3.connect(new, isolation_level=None, check_same_thread=False)) as target:
        schema.make_ready(target, new)
        losses = salvage(path, target, beside(path, _SCRATCH))
        aside = _free_name(path)
        report = [f"{path} was damaged ({why}); it is kept as {aside}", *losses]
        at = time.time()
        target.executemany("INSERT INTO losses VALUES (?, ?)", [(at, text) for text in report])
    for suffix in ("-wal", ""):
        if beside(path, suffix).exists():
            os.replace(beside(path, suffix), beside(aside, suffix))
    beside(path, "-shm").unlink(missing_ok=True)
    os.replace(new, path)
    sync_folder(path)
    return report


def _free_name(path: Path) -> Path:
    name = beside(path, time.strftime(".damaged-%Y%m%dT%H%M%SZ", time.gmtime()))
    candidate, number = name, 1
    while candidate.exists():
        number += 1
        candidate = beside(name, f"-{number}")
    return candidate


def _lost_transactions(wal: Path) -> int:
    """How many whole transactions, at least, stand behind the place where the WAL breaks off.

    After a loss of power the last one may be in pieces, and was acknowledged to nobody. Each one before it was on disk
    before the next was begun: where two commits stand behind the break, one of them was lost to damage.
    """
    content = wal.read_bytes()
    if len(content) < _WAL_HEADER:
        return 0
    magic, _, page, _, salt_1, salt_2, sum_1, sum_2 = struct.unpack(">8I", content[:_WAL_HEADER])
    if magic & ~1 != 0x377F0682 or not 512 <= page <= 65_536:
        return 0
    order = ">" if magic & 1 else "<"
    sums = _checksum(content[:24], order, 0, 0)
    is_whole = sums == (sum_1, sum_2)
    behind = 0
    for at in range(_WAL_HEADER, len(content) - page - _FRAME_HEADER + 1, page + _FRAME_HEADER):
        header = content[at : at + _FRAME_HEADER]
        _, size, frame_salt_1, frame_salt_2, frame_1, frame_2 = struct.unpack(">6I", header)
        is_of_this = (frame_salt_1, frame_salt_2) == (salt_1, salt_2)
        if is_whole:
            if not is_of_this:
                return 0
            sums = _checksum(header[:8], order, *sums)
            sums = _checksum(content[at + _FRAME_HEADER : at + _FRAME_HEADER + page], order, *sums)
            is_whole = sums == (frame_1, frame_2)
        if not is_whole and is_of_this and size:
            behind += 1
    return max(0, behind - 1)


def _checksum(content: bytes, order: str, first: int, second: int) -> tuple[int, int]:
    """SQLite's running sums over pairs of words (fileformat2.html, section 4.2)."""
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second
