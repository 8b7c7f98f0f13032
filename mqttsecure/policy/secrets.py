# -*- test-case-name: tests.policy.test_secrets -*-
"""Reads files that hold secrets, and refuses those that others could have read or written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from mqttsecure.errors import ConfigError

__all__ = ["MAXIMUM_SECRET_BYTES", "check_private", "open_regular", "read_secret"]

MAXIMUM_SECRET_BYTES: Final = 64 * 1024 * 1024
"""Of one file: half a million users fit, a mistaken path to a disk image does not."""

_FORBIDDEN: Final = stat.S_IRWXO | stat.S_IWGRP
"""What others must not do. The group may read: root:mqtt 0640 is how a service user gets at a file it cannot change."""


def check_private(path: Path) -> None:
    """Refuse a secret that others can get at.

    Raises:
        ConfigError: it is missing, not a regular file, or its mode lets others read or write it.
    """
    read_secret(path, 0)


def read_secret(path: Path, maximum: int = MAXIMUM_SECRET_BYTES) -> bytes:
    """The bytes of a secret file; what is checked and what is read is the same open file.

    Args:
        path: of the file.
        maximum: bytes; a larger file is refused. With 0 nothing is read.

    Raises:
        ConfigError: as :func:`check_private`, or the file is too large.
    """
    try:
        with open_regular(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & _FORBIDDEN:
                raise ConfigError(f"{path}: others can read or change it (mode {mode:04o}); run: chmod 600 {path}")
            content = file.read(maximum + 1) if maximum else b""
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > maximum:
        raise ConfigError(f"{path}: is larger than {maximum} bytes; is it the right file?")
    return content


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be opened, or is a folder, a FIFO or a device.
    """
    # Non-blocking, so that a FIFO put in its place cannot hang the start.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file")
    return os.fdopen(descriptor, "rb")
