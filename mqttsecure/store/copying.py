# -*- test-case-name: tests.cli.test_store -*-
"""A copy of the file as it is at one moment, while others write to it: whole or not at all, and its owner's alone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mqttsecure.store.places import beside, make_private_file, sync_folder

__all__ = ["copy_database"]

_PAGES: Final = 4_096
"""Copied at a time: 16 MiB, between which progress is told."""


def copy_database(
    source: sqlite3.Connection, target: Path, progress: Callable[[int, int], object] | None = None
) -> None:
    """Copy what ``source`` is connected to, in no transaction, to ``target``, in place of what is there.

    Args:
        source: to the file.
        target: the copy.
        progress: told how many pages are copied, of how many.

    Raises:
        sqlite3.Error: it cannot be read or written.
        OSError: the same.
    """
    temporary = beside(target, ".new")
    temporary.unlink(missing_ok=True)  # of a process that was killed while it wrote
    make_private_file(temporary)

    def tell(status: int, left: int, total: int) -> None:
        if progress is not None:
            progress(total - left, total)

    try:
        with_copy = sqlite3.connect(temporary, isolation_level=None)
        try:
            # One transaction for all steps: without it, each write of another connection starts the copy anew.
            source.execute("BEGIN")
            try:
                source.execute("SELECT count(*) FROM sqlite_master").fetchall()
                source.backup(with_copy, pages=_PAGES, progress=tell, sleep=0)
            finally:
                source.rollback()
            with_copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            with_copy.close()
        descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
        sync_folder(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
