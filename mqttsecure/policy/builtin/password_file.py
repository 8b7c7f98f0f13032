# -*- test-case-name: tests.policy.builtin.test_password_file -*-
"""``password-file``: who a client is, by user name and password."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.core.decisions import Decision, Principal, Purpose, Request, Role, Source, Stage, Strike
from mqttsecure.errors import ConfigError, QuotaExceeded
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IIdentities,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    IStateKeeper,
    KnownIdentity,
)
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.policy.builtin.password_hash import User, is_weak, read_users, verify
from mqttsecure.policy.builtin.rehash import Rehash
from mqttsecure.wire.constants import ReasonCode

__all__ = ["PasswordFileOptions", "PasswordFilePolicy", "PasswordFilePolicyFactory", "password_path"]

MAXIMUM_REMEMBERED: Final = 16_384
"""Good passwords remembered: as many as there are connections, so that a reconnect of all of them finds its own."""

_NO_PASSWORD: Final = Decision.abstain(text="no user name and password were shown")
_NOT_MINE: Final = Decision.abstain(text="not let in by this policy")


class PasswordFileOptions(PolicyOptions):
    """Options of ``password-file``."""

    file: str | None = Field(
        default=None,
        description="The password file; its users are principals of an authority named like this policy.",
        examples=["users"],
    )
    authority: str | None = Field(
        default=None,
        description="Instead of `file`: the [[authority]] whose password file it is, and whose principals they are.",
        examples=["people"],
    )
    cache_seconds: int = Field(
        default=30,
        ge=0,
        le=300,
        description="How long a good password is remembered, keyed and never in clear; 0: not at all.",
        examples=[0],
    )
    rehash: bool = Field(
        default=False,
        description=(
            "Replace hashes that came from mosquitto by argon2id at their users' next login. The broker must be able "
            "to write the file and its folder."
        ),
        examples=[True],
    )


@implementer(IPolicy, IIdentities, IStateKeeper)
class PasswordFilePolicy:
    """Permits a user who shows the right password; hashes off the reactor thread."""

    stateful = False

    def __init__(
        self,
        users: Mapping[str, User],
        authority: str,
        seconds: float,
        environment: IPolicyEnvironment,
        rehashed_file: Path | None = None,
    ) -> None:
        self._users = dict(users)
        self._rehash = None if rehashed_file is None else Rehash(rehashed_file, self._users, _fingerprint, environment)
        self._authority = authority
        self._identities: list[KnownIdentity] = []
        self._environment = environment
        self._policy_id: str = environment.policy_id
        self._source: Source = environment.source()
        self._key: bytes = environment.random_bytes(32)
        self._seconds = seconds
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        # An unknown name is verified against the hash of a known one, so that it takes as long as some user's.
        # Those that were read, also where one gets a new hash: their costs are not to change with every login.
        self._decoys = tuple(users.values())
        self.warnings: tuple[str, ...] = _warnings(users)

    def decide(self, request: Request) -> Decision | Deferred[Decision]:
        """ABSTAIN without a password; else PERMIT the right one, DENY a wrong one, most often later."""
        if request.purpose is Purpose.RECHECK:
            return self._recheck(request)
        name, password = request.connection.username, request.password
        if name is None or password is None:
            return _NO_PASSWORD
        user = self._users.get(name)
        if user is not None and self._is_remembered(user, password):
            return self._permit(user)
        compared = user or self._decoy(name)
        deferred: Deferred[bool] = self._environment.defer_to_thread(verify, compared.hash, password)
        return deferred.addCallbacks(
            self._verified,
            _busy,
            callbackArgs=(user, password, request.purpose is Purpose.LIVE),
            errbackArgs=(self._source,),
        )

    def identities(self) -> list[KnownIdentity]:
        if not self._identities:  # neither names nor groups ever change; only hashes do
            self._identities += [
                KnownIdentity(self._authority, each.name, frozenset(each.groups)) for each in self._users.values()
            ]
        return self._identities

    def decide_assuming(self, request: Request) -> Decision:
        """PERMIT a user who is in the file, DENY any other."""
        name = request.connection.username
        if name is None or request.password is None:
            return _NO_PASSWORD
        user = self._users.get(name)
        if user is None:
            return Decision.deny(
                "password",
                "there is no such user",
                source=self._source,
                reason_code=ReasonCode.BAD_USER_NAME_OR_PASSWORD,
            )
        return self._permit(user)

    def _verified(self, right: bool, user: User | None, password: bytes, live: bool) -> Decision:
        if user is None or not right:
            # The log tells the two apart, the client cannot: one answer, after the same time.
            return Decision.deny(
                "password",
                "the password is wrong" if user is not None else "there is no such user",
                source=self._source,
                reason_code=ReasonCode.BAD_USER_NAME_OR_PASSWORD,
                obligations=(Strike(1, "wrong password"),) if live else (),
            )
        if live:
            self._remember(user, password)
            if self._rehash is not None:
                self._rehash.logged_in(user, password)
        return self._permit(user)

    def _permit(self, user: User) -> Decision:
        return Decision.permit(
            "password",
            f"the password of {user.name} is right",
            source=self._source,
            principal=Principal(self._authority, user.name),
            groups=frozenset(user.groups),
            fingerprint=_fingerprint(user),
        )

    def _recheck(self, request: Request) -> Decision:
        """Whether the user is still there with the same password."""
        evidence = request.evidence
        if evidence is None or evidence.policy != self._policy_id:
            return _NOT_MINE
        user = self._users.get(request.connection.username or "")
        if user is None or not self._is_of(user, evidence.fingerprint):
            return Decision.deny("evidence", "the user was removed or has another password", source=self._source)
        return self._permit(user)

    def _is_of(self, user: User, fingerprint: str) -> bool:
        """Whether a credential is the user's: the very hash, or the one that was made anew of the same password."""
        if fingerprint == _fingerprint(user):
            return True
        return self._rehash is not None and self._rehash.still_holds(user, fingerprint)

    def inherit(self, previous: IPolicy) -> None:
        """Take over which hashes were made anew: who has logged in by the old ones stays."""
        if isinstance(previous, PasswordFilePolicy) and previous._rehash is not None and self._rehash is not None:
            self._rehash.take_over(previous._rehash)

    def save(self) -> None:
        """Nothing is kept: what was hashed anew is in the file."""

    def _decoy(self, name: str) -> User:
        # Always the same for one name, as a user's own hash would be, and nothing that can be foreseen.
        number = int.from_bytes(hmac.digest(self._key, b"decoy" + name.encode("utf-8", "replace"), "sha256")[:8], "big")
        return self._decoys[number % len(self._decoys)]

    # Good passwords are remembered, so that a reconnect storm does not hash each anew; bad ones never, so that guessing
    # always costs a hash. What is kept is a keyed digest: of no use without the memory of this process.

    def _digest(self, user: User, password: bytes) -> bytes:
        stored = f"{user.name}:{user.hash}".encode()
        return hmac.digest(self._key, len(stored).to_bytes(4, "big") + stored + password, "sha256")

    def _is_remembered(self, user: User, password: bytes) -> bool:
        if not self._remembered:
            return False
        until = self._remembered.get(self._digest(user, password))
        return until is not None and self._environment.clock.seconds() < until

    def _remember(self, user: User, password: bytes) -> None:
        if self._seconds <= 0:
            return
        now = self._environment.clock.seconds()
        digest = self._digest(user, password)
        self._remembered.pop(digest, None)
        self._remembered[digest] = now + self._seconds
        # All are kept equally long, so the oldest expire first.
        while len(self._remembered) > MAXIMUM_REMEMBERED or next(iter(self._remembered.values())) <= now:
            self._remembered.popitem(last=False)


def _busy(failure: Failure, source: Source) -> Decision:
    failure.trap(QuotaExceeded)
    return Decision.deny(
        "busy", "too many passwords wait to be verified", source=source, reason_code=ReasonCode.SERVER_BUSY
    )


def _fingerprint(user: User) -> str:
    return hashlib.sha256(f"{user.name}:{user.hash}".encode()).hexdigest()


def _warnings(users: Mapping[str, User]) -> tuple[str, ...]:
    weak = sorted(user.name for user in users.values() if is_weak(user.hash))
    if not weak:
        return ()
    shown = ", ".join(weak[:3]) + (", ..." if len(weak) > 3 else "")
    return (f"{len(weak)} users have hashes that are quickly guessed ({shown}); renew them with: mqttsecure passwd",)


@implementer(IPolicyFactory)
class PasswordFilePolicyFactory:
    """Builds :class:`PasswordFilePolicy`."""

    interface_version = INTERFACE_VERSION
    name = "password-file"
    summary = "who a client is, by user name and password"
    stages: Mapping[Stage, Role] = {Stage.AUTHENTICATE: Role.GRANTS}
    options = PasswordFileOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: PasswordFileOptions, environment: IPolicyEnvironment) -> PasswordFilePolicy:
        problems = Problems(environment)
        option = "file" if options.authority is None else "authority"
        path = password_path(options.file, options.authority, environment, problems)
        users: dict[str, User] = {}
        if path is not None:
            try:
                users = read_users(path)
            except ConfigError as error:
                problems.add_error(option, error)
            else:
                if not users:
                    # An empty file is more often one that was being written than one that is meant.
                    problems.add(option, f"{path}: holds no user; add one with: mqttsecure passwd")
        problems.done()
        authority = environment.policy_id if options.authority is None else options.authority
        rehashed = path if options.rehash else None
        return PasswordFilePolicy(users, authority, options.cache_seconds, environment, rehashed)


def password_path(
    file: str | None, authority: str | None, environment: IPolicyEnvironment, problems: Problems
) -> Path | None:
    """The password file that one of two options names; None where that is noted as a problem."""
    if (file is None) == (authority is None):
        problems.add(None, 'give one of file = "users" and authority = "..."')
        return None
    if file is not None:
        try:
            path: Path = environment.resolve(file)
        except ConfigError as error:
            problems.add_error("file", error)
            return None
        return path
    name = authority or ""
    known = problems.authority("authority", name)
    if known is None:
        return None
    if known.password_file is None:
        problems.add("authority", f"[[authority]] {name!r} has no password file; name it there")
    found: Path | None = known.password_file
    return found
