# -*- test-case-name: tests.policy.builtin.test_password_hash -*-
"""Password hashes, and the files that hold them.

A line is ``user:hash`` or ``user:hash:group,group``; empty lines and lines that begin with ``#`` are kept and ignored.
New hashes are argon2id, or where they are asked for SCRAM keys (:mod:`~mqttsecure.policy.builtin.scram_keys`);
Mosquitto's ``$6$`` (salted SHA-512) and ``$7$`` (PBKDF2) are read.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import verify_secret

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin import scram_keys
from mqttsecure.policy.builtin.options import decode_text
from mqttsecure.policy.secrets import read_secret

__all__ = [
    "PasswordEdit",
    "PasswordFile",
    "User",
    "check_hash",
    "check_user",
    "hash_password",
    "is_weak",
    "parse_users",
    "read_users",
    "verify",
]

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16)
"""OWASP's choice for argon2id: 19 MiB and two passes, about 30 ms, so that a few workers can bear a reconnect storm."""

MAXIMUM_MEMORY_KIB: Final = 1024 * 1024
"""Of an argon2 hash: beyond it a line of the file could push the broker out of memory."""

MAXIMUM_TIME_COST: Final = 20
MAXIMUM_PARALLELISM: Final = 16
MAXIMUM_ITERATIONS: Final = 10_000_000
"""Of PBKDF2: some seconds of a worker; beyond it a line of the file could stall them all."""

_FIELDS_OF_MOSQUITTO: Final = {"6": 4, "7": 5}
_WEAK_ITERATIONS: Final = 100_000
_MAXIMUM_FIELD: Final = 1024
_FIELD: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")


@dataclass(slots=True, frozen=True)
class User:
    """One line of a password file."""

    name: str
    hash: str
    groups: tuple[str, ...] = ()

    def line(self) -> str:
        """As it is written."""
        suffix = ":" + ",".join(self.groups) if self.groups else ""
        return f"{self.name}:{self.hash}{suffix}"


def hash_password(password: bytes) -> str:
    """Hash a password with argon2id and a fresh salt; takes tens of milliseconds.

    Raises:
        ValueError: it is empty.
    """
    if not password:
        raise ValueError("an empty password protects nothing; give one of at least one character")
    return _HASHER.hash(password)


def verify(stored: str, password: bytes) -> bool:
    """Whether a password is that of a hash which :func:`check_hash` accepts; may take long, so run it on a worker."""
    if stored.startswith("$argon2id$"):
        try:
            return verify_secret(stored.encode("ascii"), password, Type.ID)
        except Argon2Error:
            return False
    if scram_keys.is_scram(stored):
        return scram_keys.verify(stored, password)
    _, algorithm, *fields = stored.split("$")
    salt, expected = (base64.b64decode(field) for field in fields[-2:])
    if algorithm == "6":
        actual = hashlib.sha512(password + salt).digest()
    else:
        actual = hashlib.pbkdf2_hmac("sha512", password, salt, int(fields[0]), len(expected))
    return hmac.compare_digest(actual, expected)


def check_hash(stored: str) -> None:
    """Accept a stored hash.

    Raises:
        ValueError: it is none that can be verified, or its cost could stall the broker.
    """
    if len(stored) > _MAXIMUM_FIELD:
        raise ValueError("the hash is too long")
    if stored.startswith("$argon2id$"):
        _check_argon2(stored)
        return
    if scram_keys.is_scram(stored):
        scram_keys.parse_keys(stored)
        return
    fields = stored.split("$")
    if fields[0] or len(fields) != _FIELDS_OF_MOSQUITTO.get(fields[1] if len(fields) > 1 else ""):
        raise ValueError("the hash is of no known kind; make it with: mqttsecure passwd")
    if fields[1] == "7" and not (
        fields[2].isascii() and fields[2].isdigit() and 1 <= int(fields[2]) <= MAXIMUM_ITERATIONS
    ):
        raise ValueError(f"the number of iterations is not between 1 and {MAXIMUM_ITERATIONS}")
    salt, digest = (_decoded(field) for field in fields[-2:])
    if not salt or len(digest) != 64:
        raise ValueError("the hash has no salt, or not 64 bytes")


def _decoded(field: str) -> bytes:
    try:
        return base64.b64decode(field, validate=True)
    except binascii.Error as error:
        raise ValueError("the hash is not Base64") from error


def _check_argon2(stored: str) -> None:
    try:
        parameters = extract_parameters(stored)
    except (InvalidHashError, ValueError) as error:
        raise ValueError("the hash is no argon2id hash; make it with: mqttsecure passwd") from error
    fields = stored.split("$")
    # Base64 fields also make sure that it is ASCII, as verify() expects.
    if parameters.version != 19 or len(fields) != 6 or not all(_FIELD.fullmatch(field) for field in fields[4:]):
        raise ValueError("the hash is no argon2id hash of version 19; make it with: mqttsecure passwd")
    if not 8 <= parameters.memory_cost <= MAXIMUM_MEMORY_KIB:
        raise ValueError(
            f"the hash asks for {parameters.memory_cost} KiB of memory; at most {MAXIMUM_MEMORY_KIB} is taken"
        )
    if not 1 <= parameters.time_cost <= MAXIMUM_TIME_COST or not 1 <= parameters.parallelism <= MAXIMUM_PARALLELISM:
        text = f"at most t={MAXIMUM_TIME_COST} and p={MAXIMUM_PARALLELISM} is taken"
        raise ValueError(f"the hash asks for t={parameters.time_cost}, p={parameters.parallelism}; {text}")
    if parameters.salt_len < 8 or parameters.hash_len < 16:
        raise ValueError("the hash or its salt is too short to be safe")


def is_weak(stored: str) -> bool:
    """Whether a hash is of a kind that can be guessed quickly, once stolen."""
    fields = stored.split("$")
    return fields[1] == "6" or (fields[1] in ("7", scram_keys.NAME) and int(fields[2]) < _WEAK_ITERATIONS)


def check_user(name: str, groups: Iterable[str] = ()) -> None:
    """Accept a user name and groups for a line.

    Raises:
        ValueError: one of them cannot be written in a line, or not be read again.
    """
    if not name or not name.isprintable() or ":" in name or name != name.strip() or name.startswith("#"):
        raise ValueError(f"{name!r} is no user name; use printable characters without a colon, and no # in front")
    for group in groups:
        if not group or not group.isprintable() or group != group.strip() or ":" in group or "," in group:
            raise ValueError(f"{group!r} is no group name; use printable characters without a colon or comma")


def _parse_line(line: str) -> User | None:
    """The user of a line, None for an empty line or a comment.

    Raises:
        ValueError: it is none of these.
    """
    if not line.strip() or line.startswith("#"):
        return None
    fields = line.split(":")
    if not 2 <= len(fields) <= 3:
        raise ValueError("a line is user:hash or user:hash:group,group")
    groups = tuple(fields[2].split(",")) if len(fields) == 3 and fields[2] else ()
    check_user(fields[0], groups)
    check_hash(fields[1])
    return User(fields[0], fields[1], groups)


def parse_users(text: str, path: Path) -> dict[str, User]:
    """The users of a password file, by name.

    Args:
        text: its content.
        path: named in errors.

    Raises:
        ConfigError: with one line for each bad line; never with a hash in it.
    """
    users: dict[str, User] = {}
    faults = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            user = _parse_line(line.rstrip("\r"))
            if user is not None and user.name in users:
                raise ValueError(f"user {user.name!r} has a line above; remove one")
        except ValueError as error:
            faults.append(f"{path}:{number}: {error}")
            continue
        if user is not None:
            users[user.name] = user
    if faults:
        raise ConfigError(faults)
    return users


def read_users(path: Path) -> dict[str, User]:
    """The users of a password file that is nobody else's to read.

    Raises:
        ConfigError: it is missing, readable by others, or not as :func:`parse_users` wants it.
    """
    return parse_users(decode_text(path, read_secret(path)), path)


class PasswordFile:
    """Changes a password file: one writer at a time, and a reader sees the old file or the new one, never half."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def users(self) -> dict[str, User]:
        """As it is now.

        Raises:
            ConfigError: as :func:`read_users`.
        """
        return read_users(self.path)

    def set_user(self, name: str, password: bytes, groups: Iterable[str] | None = None, *, scram: bool = False) -> None:
        """Add a user or change the password; ``groups`` None keeps those that are there.

        With ``scram`` keys are written that let the user log in without sending the password.

        Raises:
            ConfigError: the file cannot be used.
            ValueError: the name, password or a group cannot be used.
            OSError: the file cannot be written.
        """
        hashed = scram_keys.hash_password(password) if scram else hash_password(password)
        with self.edit() as edit:
            edit.set(name, hashed, groups)

    def delete_user(self, name: str) -> bool:
        """Remove a user; False if there was none.

        Raises:
            ConfigError: the file cannot be used.
            OSError: it cannot be written.
        """
        with self.edit() as edit:
            return edit.delete(name)

    @contextlib.contextmanager
    def edit(self) -> Iterator[PasswordEdit]:
        """Several changes as one: all are written at the end, or none if the block raises.

        Hash the passwords before (:func:`hash_password`): others wait meanwhile.
        """
        with self._locked():
            try:
                content = read_secret(self.path) if self.path.exists() else b""
            except OSError as error:
                raise ConfigError(f"{self.path}: cannot be read: {error.strerror or error}") from error
            edit = PasswordEdit(decode_text(self.path, content), self.path)
            yield edit
            if edit.changed:
                self._replace(edit.text().encode("utf-8"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Not the file itself, which is replaced: who waited for it would hold the lock of a file that is gone.
        lock = self.path.with_name(self.path.name + ".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, content: bytes) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                self._keep_owner(descriptor)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # so that the rename itself outlives a power cut
        finally:
            os.close(folder)

    def _keep_owner(self, descriptor: int) -> None:
        try:
            old = os.stat(self.path)
        except FileNotFoundError:
            return
        if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        # The group may read, if it could; nobody else ever.
        os.fchmod(descriptor, 0o600 | (stat.S_IMODE(old.st_mode) & 0o040))


class PasswordEdit:
    """The lines of a password file while they are changed; comments and order are kept."""

    def __init__(self, text: str, path: Path) -> None:
        """
        Raises:
            ConfigError: the file is not as it should be; it is not changed then.
        """
        self._users = parse_users(text, path)
        self._lines: list[str | None] = [line.rstrip("\r") for line in text.split("\n")]
        if not self._lines[-1]:
            self._lines.pop()
        self._position = {
            line.partition(":")[0]: index for index, line in enumerate(self._lines) if line and not line.startswith("#")
        }
        self.changed = False

    @property
    def users(self) -> dict[str, User]:
        """As they are now, changes included."""
        return dict(self._users)

    def set(self, name: str, hashed: str, groups: Iterable[str] | None = None) -> None:
        """Add a user or change the hash; ``groups`` None keeps those that are there.

        Raises:
            ValueError: one of them cannot be used.
        """
        old = self._users.get(name)
        kept = old.groups if old is not None and groups is None else tuple(groups or ())
        check_user(name, kept)
        check_hash(hashed)
        user = User(name, hashed, kept)
        if scram_keys.is_scram(hashed):
            self._keep_scram_secret()
        if old is None:
            self._position[name] = len(self._lines)
            self._lines.append(user.line())
        else:
            self._lines[self._position[name]] = user.line()
        self._users[name] = user
        self.changed = True

    def _keep_scram_secret(self) -> None:
        if scram_keys.find_secret("\n".join(line for line in self._lines if line is not None)) is None:
            self._lines.append(scram_keys.new_secret_line())

    def delete(self, name: str) -> bool:
        """Remove a user; False if there was none."""
        if self._users.pop(name, None) is None:
            return False
        self._lines[self._position.pop(name)] = None
        self.changed = True
        return True

    def text(self) -> str:
        """The file as it shall be."""
        return "".join(f"{line}\n" for line in self._lines if line is not None)
