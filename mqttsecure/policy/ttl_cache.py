# -*- test-case-name: tests.policy.test_ttl_cache -*-
"""A cache that forgets: after a time, and the oldest first where it is full."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["TtlCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """Values by key, each for a while, never more than ``maximum``.

    Put nothing secret into a key: digest it first, keyed by ``environment.random_bytes(32)``.
    """

    def __init__(self, maximum: int, lifetime: float, seconds: Callable[[], float]) -> None:
        """
        Args:
            maximum: how many are kept; with one more the one that was put in first goes.
            lifetime: seconds that a value is kept, where :meth:`put` says nothing else.
            seconds: tells the time, as ``environment.clock.seconds``.

        Raises:
            ValueError: ``maximum`` or ``lifetime`` is not above 0.
        """
        if maximum < 1 or not lifetime > 0:
            raise ValueError("a cache keeps at least one value, for more than no time")
        self._maximum = maximum
        self._lifetime = lifetime
        self._seconds = seconds
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value of a key; None where there is none, or its time is over."""
        found = self._values.get(key)
        if found is None:
            return None
        if self._seconds() >= found[0]:
            del self._values[key]
            return None
        return found[1]

    def put(self, key: K, value: V, lifetime: float | None = None) -> None:
        """Keep a value, in place of an older one, for ``lifetime`` seconds; for none, where that is 0 or less."""
        self._values.pop(key, None)
        kept = self._lifetime if lifetime is None else lifetime
        if not kept > 0:
            return
        self._values[key] = (self._seconds() + kept, value)
        if len(self._values) > self._maximum:
            self._values.popitem(last=False)

    def forget(self, key: K) -> None:
        """Keep it no longer."""
        self._values.pop(key, None)

    def clear(self) -> None:
        """Keep nothing."""
        self._values.clear()
