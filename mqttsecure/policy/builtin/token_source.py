# -*- test-case-name: tests.policy.builtin.test_token_source -*-
"""Where the keys come from that tokens are verified with: a file that was read, or a service that is asked.

What a service answered is used for ``lifetime`` seconds. It is asked again in the background once ``refresh`` seconds
have passed, and at once where a token names a key that is not known: that is how a new key comes into use. A stranger
can name as many unknown keys as it likes, so for those it is asked no more than every half minute. Without an answer
that is young enough there are no keys, and nobody gets in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mqttsecure.policy.builtin.token_keys import KeyFault, KeySet, TokenKey, parse_key_set
from mqttsecure.policy.https import HttpsAnswer, HttpsFault

__all__ = ["FixedKeys", "KeySource", "RemoteKeys"]

T = TypeVar("T")

UNKNOWN_INTERVAL: Final = 30.0
"""Seconds between two looks for keys that are not known."""

PATIENCE: Final = 4.5
"""Seconds for an answer, whatever the client that asks has for a time-out: all wait for it."""

FAILED_INTERVAL: Final = 5.0
"""Seconds for which a service that gave no keys is left alone."""


class KeySource(Protocol):
    """Gives the key that a token names."""

    def find(self, key_id: str | None) -> TokenKey | Deferred[TokenKey | None] | None:
        """The key, perhaps later; None where there is none, or none now."""

    def is_trusted(self, thumbprint: str) -> bool | Deferred[bool]:
        """Whether the key that once verified a token is still there."""

    @property
    def fault(self) -> str | None:
        """Why there are no keys, None where there are."""


class FixedKeys:
    """The keys of a file."""

    fault = None

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def find(self, key_id: str | None) -> TokenKey | None:
        return self._keys.find(key_id)

    def is_trusted(self, thumbprint: str) -> bool:
        return thumbprint in self._keys.thumbprints


class RemoteKeys:
    """The keys that a service publishes."""

    def __init__(
        self,
        fetch: Callable[[], Deferred[HttpsAnswer]],
        clock: IReactorTime,
        log: Logger,
        *,
        refresh: float,
        lifetime: float,
    ) -> None:
        """
        Args:
            fetch: asks the service.
            clock: monotonic time.
            log: told of services that give no keys.
            refresh: seconds after which it is asked again.
            lifetime: seconds for which an answer is used.
        """
        self._fetch = fetch
        self._clock = clock
        self._log = log
        self._refresh = refresh
        self._lifetime = lifetime
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._asked_at: float | None = None
        self._failed = False
        self._fault = "they were not fetched yet"
        self._waiting: list[Deferred[None]] | None = None

    def inherit(self, other: RemoteKeys) -> None:
        """Go on with what another source of the same service knows."""
        self._keys, self._fetched_at, self._fault = other._keys, other._fetched_at, other._fault

    @property
    def fault(self) -> str | None:
        return self._fault if self._current() is None else None

    def find(self, key_id: str | None) -> TokenKey | Deferred[TokenKey | None] | None:
        keys = self._current()
        found = None if keys is None else keys.find(key_id)
        if found is not None:
            if self._clock.seconds() - self._fetched_at > self._refresh:
                self._ask(self._refresh)
            return found
        interval = 0.0 if keys is None else UNKNOWN_INTERVAL
        return self._then(interval, lambda keys: None if keys is None else keys.find(key_id))

    def is_trusted(self, thumbprint: str) -> bool | Deferred[bool]:
        keys = self._current()
        if keys is not None:
            return thumbprint in keys.thumbprints
        return self._then(0.0, lambda keys: keys is not None and thumbprint in keys.thumbprints)

    def _current(self) -> KeySet | None:
        if self._keys is not None and self._clock.seconds() - self._fetched_at > self._lifetime:
            self._keys = None
            self._fault = f"those of {self._lifetime:.0f} s ago are too old ({self._fault})"
        return self._keys

    def _then(self, interval: float, answer: Callable[[KeySet | None], T]) -> T | Deferred[T]:
        """What to answer once the service was asked, or now where it is not asked again so soon."""
        if self._waiting is None and not self._ask(interval):
            return answer(self._current())
        waiting = self._waiting
        if waiting is None:  # it answered at once
            return answer(self._current())
        turn: Deferred[None] = Deferred(lambda deferred: waiting.remove(deferred) if deferred in waiting else None)
        waiting.append(turn)
        return turn.addCallback(lambda _: answer(self._current()))

    def _ask(self, interval: float) -> bool:
        """Ask the service, unless it was asked within the interval or failed just now."""
        now = self._clock.seconds()
        least = max(interval, FAILED_INTERVAL) if self._failed else interval
        if self._waiting is not None or (self._asked_at is not None and now - self._asked_at < least):
            return False
        self._asked_at = now
        self._waiting = []
        asked = self._fetch().addTimeout(PATIENCE, self._clock)
        asked.addCallback(self._take).addErrback(self._not_taken).addBoth(lambda _: self._answered())
        return True

    def _take(self, answer: HttpsAnswer) -> None:
        if answer.status != 200:
            raise HttpsFault(f"it answered with status {answer.status}")
        self._keys = parse_key_set(answer.body)
        self._fetched_at = self._clock.seconds()
        self._failed = False

    def _not_taken(self, failure: Failure) -> None:
        self._failed = True
        known = failure.check(HttpsFault, KeyFault) is not None
        self._fault = str(failure.value) if known else f"{type(failure.value).__name__}"
        self._log.error("no keys to verify tokens with: {fault}", fault=self._fault)

    def _answered(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for turn in waiting:
            turn.callback(None)
