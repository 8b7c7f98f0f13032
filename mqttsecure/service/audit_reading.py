# -*- test-case-name: tests.service.test_audit_reading -*-
"""Reads an audit log with the files put aside, the oldest first, without taking all of it into memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

from mqttsecure.errors import ConfigError

__all__ = ["SCHEMA_VERSION", "AuditReader", "last_records"]

SCHEMA_VERSION: Final = 1

_MAXIMUM_KEPT: Final = 9
"""Files put aside that there may be: the greatest `keep` of `[audit]`."""

_MAXIMUM_LINE: Final = 1024 * 1024
"""Bytes of one line. A record has a few thousand; a file without line ends is no audit log."""


class AuditReader:
    """One reading of an audit log.

    Attributes:
        read: the lines read so far.
        unreadable: those among them that are no record, such as half of one.
        since: the time of the oldest record, "" before one was read.
    """

    def __init__(self, path: Path, keep: int = _MAXIMUM_KEPT) -> None:
        self._path = path
        self._keep = keep
        self.read = 0
        self.unreadable = 0
        self.since = ""

    def records(self, containing: str = "") -> Iterator[dict[str, Any]]:
        """The records, the oldest first; with ``containing`` only those in whose line that text stands.

        Raises:
            ConfigError: the log cannot be read.
        """
        needle = json.dumps(containing)[1:-1].encode() if containing else b""
        with ExitStack() as stack:
            for file in self._open(stack):
                yield from self._of(file, needle)

    def _open(self, stack: ExitStack) -> list[BinaryIO]:
        """All files, opened before any is read: one that is put aside meanwhile is neither missed nor read twice."""
        found: dict[tuple[int, int], BinaryIO] = {}
        paths = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._keep + 1))]
        for path in paths:
            try:
                file = stack.enter_context(path.open("rb"))
            except FileNotFoundError:
                continue
            except OSError as error:
                mend = "; run this as the user that runs the broker" if isinstance(error, PermissionError) else ""
                raise ConfigError(f"{path}: the audit log cannot be read: {error.strerror}{mend}") from error
            found.setdefault(_identity(file), file)
        if not found:
            raise ConfigError(f"there is no audit log {self._path}; has the broker run with this configuration?")
        return list(reversed(found.values()))

    def _of(self, file: BinaryIO, needle: bytes) -> Iterator[dict[str, Any]]:
        while line := file.readline(_MAXIMUM_LINE):
            self.read += 1
            if self.since and needle and needle not in line:
                continue
            record = _parsed(line)
            if record is None:
                self.unreadable += 1
                continue
            if not self.since:
                self.since = str(record.get("time", ""))
            if not needle or needle in line:
                yield record


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("v") == SCHEMA_VERSION else None


def last_records(path: Path, keep: int = _MAXIMUM_KEPT) -> list[dict[str, Any]]:
    """All readable records of an audit log, the oldest first.

    Raises:
        OSError: the file itself cannot be read.
    """
    with path.open("rb"):
        pass
    return list(AuditReader(path, keep).records())
