# -*- test-case-name: tests.policy.builtin.test_rehash -*-
"""Replaces hashes that came over from mosquitto by argon2id, when their users next log in.

A hash cannot be turned into another; the password that fits it can be hashed anew. That is done on a worker, after the
client was answered, and only where the line still holds the hash that the password was found to fit.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mqttsecure.errors import QuotaExceeded
from mqttsecure.interfaces import IPolicyEnvironment
from mqttsecure.policy.builtin.password_hash import PasswordFile, User, hash_password
from mqttsecure.policy.builtin.scram_keys import is_scram

__all__ = ["Rehash"]


class Rehash:
    """Keeps a password file and the users that were read from it in step."""

    def __init__(
        self,
        path: Path,
        users: MutableMapping[str, User],
        fingerprint: Callable[[User], str],
        environment: IPolicyEnvironment,
    ) -> None:
        """
        Args:
            path: the password file.
            users: those read from it; the ones that get new hashes are replaced in here.
            fingerprint: tells a user's credential from another.
            environment: of the policy.
        """
        self._path = path
        self._users = users
        self._fingerprint = fingerprint
        self._environment = environment
        self._tried: set[str] = set()
        self._renewed: dict[str, tuple[str, User]] = {}
        self._is_given_up = False

    def logged_in(self, user: User, password: bytes) -> None:
        """A password was found to fit; hash it anew where that is of use. Once for each user: not at every login."""
        # Nor SCRAM keys: they are as good, and without them the user could not log in by SCRAM any more.
        is_good = user.hash.startswith("$argon2id$") or is_scram(user.hash)
        if self._is_given_up or is_good or not password or user.name in self._tried:
            return
        self._tried.add(user.name)
        deferred: Deferred[str | None] = self._environment.defer_to_thread(
            _replace_hash, self._path, user.name, user.hash, password
        )
        deferred.addCallbacks(partial(self._replaced, user), partial(self._failed, user))

    def still_holds(self, user: User, fingerprint: str) -> bool:
        """Whether a credential is the one of which ``user``'s hash was made anew."""
        former, renewed = self._renewed.get(user.name, ("", None))
        return renewed == user and former == fingerprint

    def take_over(self, previous: Rehash) -> None:
        """What another one, of before a reload, has done."""
        for name, (former, renewed) in previous._renewed.items():
            user = self._users.get(name)
            if user is None:
                continue
            if self._fingerprint(user) == former:
                # The file was read for the reload before the new hash was in it.
                user = self._users[name] = replace(user, hash=renewed.hash)
            if user.hash == renewed.hash:
                self._renewed[name] = (former, user)

    def _replaced(self, user: User, hashed: str | None) -> None:
        current = self._users.get(user.name)
        if hashed is None or current != user:
            return  # somebody else has changed the line meanwhile; the next reload reads it
        renewed = replace(user, hash=hashed)
        self._renewed[user.name] = (self._fingerprint(user), renewed)
        self._users[user.name] = renewed
        self._environment.log.info("the password of {user} is hashed with argon2id from now on", user=user.name)

    def _failed(self, user: User, failure: Failure) -> None:
        if failure.check(QuotaExceeded):
            self._tried.discard(user.name)  # the workers are busy: the next login does it
            return
        self._is_given_up = True
        self._environment.log.warn(
            "{path}: passwords keep the hashes they came with: {why}; let the broker write the file and its folder, or "
            "remove rehash = true",
            path=str(self._path),
            why=failure.getErrorMessage(),
        )


def _replace_hash(path: Path, name: str, old: str, password: bytes) -> str | None:
    """Write a new hash where the old one stands; None where it does not any more. Runs on a worker."""
    hashed = hash_password(password)
    with PasswordFile(path).edit() as edit:
        user = edit.users.get(name)
        if user is None or user.hash != old:
            return None
        edit.set(name, hashed)
    return hashed
