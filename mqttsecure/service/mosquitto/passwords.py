# -*- test-case-name: tests.service.mosquitto.test_passwords -*-
"""Password files of mosquitto: the hashes are taken as they are, and verified natively."""

from __future__ import annotations

from pathlib import Path

from mqttsecure.core.decisions import Source
from mqttsecure.policy.builtin.password_hash import User, check_hash, check_user
from mqttsecure.service.mosquitto.notes import Notes, read_text_file

__all__ = ["read_passwords", "take_user"]


def read_passwords(path: Path, notes: Notes) -> dict[str, User]:
    """The users of a password file, by name.

    Raises:
        ConfigError: it cannot be read.
    """
    users: dict[str, User] = {}
    for number, line in enumerate(read_text_file(path).split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, stored = text.partition(":")
        take_user(users, User(name, stored), Source(str(path), number), notes)
    return users


def take_user(users: dict[str, User], user: User, source: Source, notes: Notes) -> bool:
    """Take a user over, or note why that cannot be; never with a password or a hash in it."""
    mend = f"set a password here: mqttsecure passwd users {user.name}"
    try:
        check_user(user.name, user.groups)
    except ValueError as error:
        notes.left(source, f"{error}; give this user another name")
        return False
    if user.name in users:
        notes.left(source, f"user {user.name!r} is there twice; the first one counts")
        return False
    if not user.hash.startswith("$"):
        notes.left(source, f"user {user.name!r} has a password in the clear, which is taken for no hash; {mend}")
        return False
    try:
        check_hash(user.hash)
    except ValueError:
        notes.left(source, f"user {user.name!r} has a hash of no kind that mosquitto writes; {mend}")
        return False
    users[user.name] = user
    return True
