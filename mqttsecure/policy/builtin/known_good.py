# -*- test-case-name: tests.policy.builtin.test_ban -*-
"""From where somebody has logged in, and as whom: those addresses are not banned for what others do there."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Final

from mqttsecure.policy.builtin.strike_counts import AddressKey, ClientKey

__all__ = ["KnownGood"]

_REMEMBERED: Final = 65_536
"""Logins that are over and still count, some 15 MB. Only whoever logs in is remembered, so no stranger can push out
others."""


class KnownGood:
    """Logins: those that live, and when others ended.

    What lives is each object's own, as each is told of it; what is over is shared with those it is handed on to.
    """

    def __init__(self) -> None:
        self._live: dict[int, tuple[AddressKey, ClientKey]] = {}
        self._counts: Counter[Hashable] = Counter()
        self._ended: OrderedDict[Hashable, float] = OrderedDict()

    def remember_as(self, other: KnownGood) -> None:
        """Share what is over with another."""
        self._ended = other._ended

    def came(self, connection_id: int, key: AddressKey, client: ClientKey) -> None:
        """Somebody has logged in."""
        if connection_id not in self._live:
            self._live[connection_id] = (key, client)
            self._counts.update((key, (key, client)))

    def went(self, connection_id: int, now: float) -> None:
        """A connection is over, whether anybody had logged in there or not."""
        login = self._live.pop(connection_id, None)
        if login is None:
            return
        for each in (login[0], login):
            self._counts[each] -= 1
            if not self._counts[each]:
                del self._counts[each]
            self._ended[each] = now
            self._ended.move_to_end(each)
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    def has_address(self, key: AddressKey, since: float) -> bool:
        """Whether anybody was logged in from there since then."""
        return self._has(key, since)

    def has_client(self, key: AddressKey, client: ClientKey, since: float) -> bool:
        """Whether that client was."""
        return self._has((key, client), since)

    def _has(self, what: Hashable, since: float) -> bool:
        return what in self._counts or self._ended.get(what, float("-inf")) >= since
