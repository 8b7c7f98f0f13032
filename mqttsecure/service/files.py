# -*- test-case-name: tests.service.test_config -*-
"""Files that the configuration names: are they there, readable, and secret where they must be."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from mqttsecure.errors import ConfigError
from mqttsecure.policy.secrets import open_regular

__all__ = [
    "DEVELOPMENT_FILES",
    "is_development_file",
    "read_utf8",
    "resolve_path",
    "secret_problem",
    "unreadable_problem",
]

_CREDENTIAL: Final = "credential:"

DEVELOPMENT_FILES: Final = {
    "ca_certificate": "ca.pem",
    "ca_key": "ca.key",
    "server_certificate": "server.pem",
    "server_key": "server.key",
    "client_certificate": "alice.pem",
    "client_key": "alice.key",
    "users": "users",
    "password": "alice.password",
}
"""What ``[development] generate`` makes in its folder, by what it is."""


def is_development_file(file: Path, directory: Path | None) -> bool:
    """Whether ``file`` is one that is made in the development folder ``directory``."""
    if directory is None or file.name not in DEVELOPMENT_FILES.values():
        return False
    return Path(os.path.normpath(file.parent)) == Path(os.path.normpath(directory))


def resolve_path(directory: Path, text: str) -> Path:
    """The absolute path of a file named in a configuration in ``directory``.

    ``credential:NAME`` is the systemd credential of that name; where none were given it stays as it is, and
    :func:`unreadable_problem` says so. Symbolic links are not followed here but anew at each reload, as they change.
    """
    if text.startswith(_CREDENTIAL) and "/" not in text:
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        return Path(credentials, text.removeprefix(_CREDENTIAL)) if credentials else Path(text)
    return Path(directory, text).absolute()


def unreadable_problem(file: Path) -> str | None:
    """What keeps ``file`` from being read, with the mend; None where nothing does."""
    if not file.is_absolute():
        name = str(file).removeprefix(_CREDENTIAL)
        return f"{file}: no credentials were given; add `LoadCredential={name}:FILE` to the systemd unit"
    try:
        # Non-blocking, so that a FIFO put in its place cannot hang the start.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return f"{file} does not exist; make it, or mend the name (paths are relative to the file that names them)"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}; check its owner and mode"
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return f"{file} is not a regular file; name one"
    return f"{file} is empty; fill it, or mend the name" if status.st_size == 0 else None


def secret_problem(file: Path) -> str | None:
    """The same for a file with a secret, which nobody but its owner and group may read, and only its owner write."""
    problem = unreadable_problem(file)
    if problem is not None:
        return problem
    mode = stat.S_IMODE(file.stat().st_mode)
    # The group may read: that is how Debian hands out keys (ssl-cert) and systemd credentials.
    if mode & 0o007:
        return f"{file} can be read by others (mode {mode:04o}); run: chmod 600 {file}"
    if mode & 0o020:
        return f"{file} can be changed by its group (mode {mode:04o}); run: chmod 600 {file}"
    return None


def read_utf8(file: Path, maximum: int, mend: str) -> str:
    """The text of a file that somebody names.

    Args:
        file: the file.
        maximum: bytes; a larger one is not the right file.
        mend: what to do where it cannot be read.

    Raises:
        ConfigError: it cannot be read, is too large, or is not UTF-8; with the line and the mend.
    """
    try:
        with open_regular(file) as stream:
            data = stream.read(maximum + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; {mend}") from error
    if len(data) > maximum:
        raise ConfigError(f"{file}: larger than {maximum} bytes; is this the right file?")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}:{data.count(10, 0, error.start) + 1}: not UTF-8 text; save it as UTF-8") from error
