# -*- test-case-name: tests.pki.test_files -*-
"""New files: there as a whole or not at all, with their mode from the first byte on, and never over an old one."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mqttsecure.pki.errors import CertificateProblem, FileIsThere

__all__ = ["PRIVATE", "PUBLIC", "NewFile", "Owner", "check_absent", "make_folder", "read_bytes", "write_new"]

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644

MAXIMUM_BYTES: Final = 64 * 1024 * 1024
"""Of a file that is read: a revocation list of a million entries fits, a disk image does not."""


@dataclass(slots=True, frozen=True)
class Owner:
    """The user and group that new files belong to, where root makes them for another."""

    uid: int
    gid: int


@dataclass(slots=True, frozen=True)
class NewFile:
    """A file that is to be there."""

    path: Path
    data: bytes
    mode: int = PUBLIC


def check_absent(paths: Sequence[Path]) -> None:
    """Refuse before any work is done what :func:`write_new` would refuse after it.

    Raises:
        FileIsThere: one of them is there, be it as a link to nowhere.
    """
    for path in paths:
        if os.path.lexists(path):
            raise FileIsThere(f"{path} is there already, and is kept; name another with --out, or give --force")


def write_new(file: NewFile, *, force: bool = False, owner: Owner | None = None) -> Path:
    """Write a file that is not there; with ``force`` in the place of what is.

    It gets its name only once all of it is on the disk, so a crash leaves the old or the new one, never half of it.

    Raises:
        FileIsThere: it is there, be it as a link.
        CertificateProblem: the folder cannot be written.
    """
    temporary = file.path.with_name(f".{file.path.name}.{secrets.token_hex(6)}")
    try:
        _write(temporary, file, owner)
        try:
            _give_name(temporary, file.path, force)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(file.path.parent)
    except FileExistsError:
        check_absent([file.path])
        raise FileIsThere(f"{file.path} appeared meanwhile; is another command at work here?") from None
    except OSError as error:
        raise CertificateProblem(
            f"{file.path} cannot be written: {error.strerror}; mend the folder or its mode"
        ) from error
    return file.path


def _write(path: Path, file: NewFile, owner: Owner | None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, file.mode & 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, owner.uid, owner.gid)
            os.fchmod(descriptor, file.mode)
            stream.write(file.data)
            stream.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _give_name(temporary: Path, path: Path, force: bool) -> None:
    if force:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, it fails where something has that name
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links, such as a memory card's: claim the name, then put the file there.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        os.replace(temporary, path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path, mode: int = 0o755, owner: Owner | None = None) -> None:
    """Make a folder where there is none.

    Raises:
        CertificateProblem: it cannot be made, or something else has its name.
    """
    try:
        path.mkdir(mode=mode, parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise CertificateProblem(f"{path} is no folder; name another") from None
        return
    except OSError as error:
        raise CertificateProblem(f"{path} cannot be made: {error.strerror}; name a folder you may write") from error
    if owner is not None and os.geteuid() == 0:
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def read_bytes(path: Path, maximum: int = MAXIMUM_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        CertificateProblem: it cannot be read, is no regular file, is empty, or too large.
    """
    try:
        # Non-blocking, so that a FIFO put in its place cannot hang the command.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", closefd=True) as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CertificateProblem(f"{path} is not a regular file; name one")
            content = stream.read(maximum + 1)
    except IsADirectoryError:
        raise CertificateProblem(f"{path} is a folder; name a file in it") from None
    except FileNotFoundError:
        raise CertificateProblem(f"{path} does not exist; mend the name") from None
    except OSError as error:
        raise CertificateProblem(f"{path} cannot be read: {error.strerror}; check its owner and mode") from error
    if len(content) > maximum:
        raise CertificateProblem(f"{path} is larger than {maximum} bytes; is it the right file?")
    if not content:
        raise CertificateProblem(f"{path} is empty; name another, or make it again")
    return content
