# -*- test-case-name: tests.service.test_unix_address -*-
"""Addresses of Unix sockets deep within folders.

The kernel takes 107 bytes of a path and no more. Whoever holds the folder open can name the socket by that, however
long the folder's own name is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["FolderHandle", "unix_address"]

_LONGEST: Final = 107
"""Bytes of ``sun_path``, without the zero at its end (unix(7))."""


class FolderHandle:
    """A name for ``path`` that is short enough, for as long as this is open.

    Raises:
        OSError: the folder is not there.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        self.address = os.fspath(path)
        if len(os.fsencode(path)) > _LONGEST:
            self._descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.address = f"/proc/self/fd/{self._descriptor}/{path.name}"

    def close(self) -> None:
        """The name means nothing any more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """A name for ``path`` within this block.

    Raises:
        OSError: the folder is not there.
    """
    handle = FolderHandle(path)
    try:
        yield handle.address
    finally:
        handle.close()
