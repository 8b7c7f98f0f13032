# -*- test-case-name: tests.policy.builtin.test_token_bucket -*-
"""Rate limits. This module is on the path of each message: plain slots classes, one float of state.

A bucket is kept as the moment at which it will be full again. Spending moves that moment on by the cost; a bucket
whose moment lies further ahead than its whole content is in debt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from mqttsecure.core.decisions import Decision, Throttle

__all__ = ["BucketTable", "RefusingMeter", "ThrottlingMeter", "TokenBucket"]

_ROUNDING: Final = 1e-6
"""Seconds by which sums of costs may miss the exact value."""

_CANDIDATES: Final = 8
"""Old entries looked at for one that can go, before a newcomer must share: bounds the work a stranger can cause."""


class TokenBucket:
    """Refills at a steady rate up to ``burst`` units, of which there is at least one."""

    __slots__ = ("__weakref__", "_content", "_full_at", "_seconds_each")

    def __init__(self, rate: float, burst: float) -> None:
        """``rate`` units come back per second; ``burst`` units fit."""
        self._seconds_each = 1.0 / rate
        self._content = burst / rate + _ROUNDING
        self._full_at = float("-inf")

    def has(self, now: float) -> bool:
        """Whether one unit is left."""
        return max(self._full_at, now) + self._seconds_each - now <= self._content

    def take(self, now: float) -> bool:
        """Take one unit if it is there; a refusal costs nothing."""
        full_at = self._full_at
        if full_at < now:
            full_at = now
        full_at += self._seconds_each
        if full_at - now > self._content:
            return False
        self._full_at = full_at
        return True

    def is_full(self, now: float) -> bool:
        """Whether forgetting this bucket would lose nothing."""
        return self._full_at <= now


class ThrottlingMeter:
    """A bucket that goes into debt and answers with how long reading must rest until it is out of it."""

    __slots__ = ("__weakref__", "_content", "_full_at", "_per_message", "_per_octet", "_rule", "batchable")

    def __init__(self, per_message: float, per_octet: float, content: float, rule: str = "") -> None:
        """``per_message`` and ``per_octet`` are costs in seconds of refill; ``content`` what fits, in the same."""
        self.batchable = True
        self._per_message = per_message
        self._per_octet = per_octet
        self._content = content
        self._full_at = float("-inf")
        self._rule = rule

    def spend(self, messages: int, octets: int, now: float) -> Decision | None:
        """Count, and ask for a rest where the bucket is in debt."""
        full_at = self._full_at
        if full_at < now:
            full_at = now
        full_at += messages * self._per_message + octets * self._per_octet
        self._full_at = full_at
        debt = full_at - now - self._content
        if debt <= _ROUNDING:
            return None
        return Decision.abstain(self._rule, "over the rate", obligations=(Throttle(debt),))

    def is_full(self, now: float) -> bool:
        """Whether forgetting this bucket would lose nothing."""
        return self._full_at <= now


class RefusingMeter:
    """A bucket that refuses each message above the rate; a refused message costs nothing."""

    __slots__ = ("__weakref__", "_content", "_full_at", "_per_message", "_per_octet", "_refusal", "batchable")

    def __init__(self, per_message: float, per_octet: float, content: float, refusal: Decision) -> None:
        """As :class:`ThrottlingMeter`; ``refusal`` is the DENY to answer with."""
        self.batchable = False
        self._per_message = per_message
        self._per_octet = per_octet
        self._content = content + _ROUNDING
        self._full_at = float("-inf")
        self._refusal = refusal

    def spend(self, messages: int, octets: int, now: float) -> Decision | None:
        """Count, or refuse what is not there. A full bucket lets through even a message larger than itself."""
        full_at = self._full_at
        if full_at < now:
            full_at = now
        cost = messages * self._per_message + octets * self._per_octet
        if full_at - now + cost > self._content and full_at > now:
            return self._refusal
        self._full_at = full_at + cost
        return None

    def is_full(self, now: float) -> bool:
        """Whether forgetting this bucket would lose nothing."""
        return self._full_at <= now


class _Bucket(Protocol):
    def is_full(self, now: float) -> bool: ...


B = TypeVar("B", bound=_Bucket)


class BucketTable(Generic[B]):
    """Buckets by key, bounded without ever forgetting a debt.

    A bucket that is full again says nothing, so only such are dropped; one that a cached decision still holds is found
    again, so that nobody has two. Where the table is full of others, newcomers
    share one bucket: an attacker with many addresses slows down strangers, never those who are known.
    """

    __slots__ = ("_buckets", "_dropped", "_make", "_maximum", "_shared")

    def __init__(self, make: Callable[[], B], maximum: int) -> None:
        self._make = make
        self._maximum = maximum
        self._buckets: OrderedDict[Hashable, B] = OrderedDict()
        self._dropped: WeakValueDictionary[Hashable, B] = WeakValueDictionary()
        self._shared: B = make()

    def __len__(self) -> int:
        return len(self._buckets)

    def find(self, key: Hashable) -> B | None:
        """The bucket of ``key`` if there is one; nothing is changed."""
        return self._buckets.get(key)

    def get(self, key: Hashable, now: float) -> B:
        """The bucket of ``key``, a new one, or the shared one where there is no room."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets.move_to_end(key)
            return bucket
        if len(self._buckets) >= self._maximum and not self._make_room(now):
            return self._shared
        bucket = self._dropped.pop(key, None) or self._make()
        self._buckets[key] = bucket
        return bucket

    def _make_room(self, now: float) -> bool:
        for _ in range(min(_CANDIDATES, len(self._buckets))):
            key, bucket = next(iter(self._buckets.items()))
            if bucket.is_full(now):
                del self._buckets[key]
                self._dropped[key] = bucket
                return True
            self._buckets.move_to_end(key)
        return False
