# -*- test-case-name: tests.transport.test_strikes -*-
"""What the broker itself holds against its peers: broken packets, a broken protocol, and endless coming and going.

Told to the policies as strikes (:class:`~mqttsecure.interfaces.IStrikeObserver`), from the events of the core. What
policies have denied is never part of it: a connection that was closed for a denied PUBLISH is no fault here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final, Generic, TypeVar

from mqttsecure.core.decisions import ConnectionFacts
from mqttsecure.core.events import Disconnected, Event
from mqttsecure.wire.constants import ReasonCode

__all__ = ["Strikes"]

_FAULTS: Final[Mapping[int, str]] = {
    ReasonCode.MALFORMED_PACKET: "malformed packet",
    ReasonCode.PROTOCOL_ERROR: "protocol error",
    ReasonCode.RECEIVE_MAXIMUM_EXCEEDED: "Receive Maximum exceeded",
    ReasonCode.TOPIC_ALIAS_INVALID: "invalid Topic Alias",
}

_STRANGERS_FAULTS: Final[Mapping[int, str]] = {**_FAULTS, ReasonCode.PACKET_TOO_LARGE: "packet too large"}
"""A client that is known has most often just been configured with too large a message; a stranger probes."""

_SHORT: Final = 10.0
"""Seconds: a connection that ends sooner was of no use to anyone, but for a client that sends one message and goes."""

_SHORT_ALLOWED: Final = 15
"""Such connections of one client within a minute: a program may send a message every four seconds that way."""

_MINUTE: Final = 60.0

_REMEMBERED: Final = 4096
"""Clients of which something is remembered here, under a megabyte. All of them have proved who they are, so nobody can
push out others with names made up."""

_REPEATS: Final = 3600.0
"""Seconds for which a message that is sent again and again counts once: a client that cannot get rid of it comes back
with it at each reconnect."""

_V = TypeVar("_V")


class _Recent(Generic[_V]):
    """The values last used, as many as are remembered."""

    def __init__(self) -> None:
        self._values: OrderedDict[Hashable, _V] = OrderedDict()

    def get(self, key: Hashable) -> _V | None:
        return self._values.get(key)

    def put(self, key: Hashable, value: _V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > _REMEMBERED:
            self._values.popitem(last=False)


class Strikes:
    """Finds strikes among the core's events and tells ``strike(facts, weight, why)`` of each."""

    def __init__(self, strike: Callable[[ConnectionFacts, int, str], None]) -> None:
        self._strike = strike
        self._short: _Recent[tuple[float, int]] = _Recent()
        self._faults: _Recent[float] = _Recent()

    def take(self, events: Iterable[Event], now: float) -> None:
        """Look through what happened until ``now``."""
        for event in events:
            if isinstance(event, Disconnected):
                self._disconnected(event, now)

    def _disconnected(self, event: Disconnected, now: float) -> None:
        facts = event.facts
        if event.by_peer or event.reason_code == ReasonCode.SESSION_TAKEN_OVER:
            if facts.principal is not None and now - facts.accepted_at < _SHORT:
                self._was_short(facts, now)
            return
        known = facts.principal is not None
        why = (_FAULTS if known else _STRANGERS_FAULTS).get(event.reason_code)
        if why is None:
            return
        if known and self._is_repeated(event, now):
            return
        self._strike(facts, 1, why)

    def _was_short(self, facts: ConnectionFacts, now: float) -> None:
        key = _key(facts)
        since, count = self._short.get(key) or (now, 0)
        if now - since >= _MINUTE:
            since, count = now, 0
        self._short.put(key, (since, count + 1))
        if count >= _SHORT_ALLOWED:
            self._strike(facts, 1, "comes and goes too quickly")

    def _is_repeated(self, event: Disconnected, now: float) -> bool:
        """Whether the fault is one that was counted, in a message that the client has to send again (DUP).

        Only of clients that are known: a stranger has nothing to repeat, and would set DUP to be spared.
        """
        key = (_key(event.facts), event.reason_code)
        before = self._faults.get(key)
        if event.repeated and before is not None and now - before < _REPEATS:
            return True
        self._faults.put(key, now)
        return False


def _key(facts: ConnectionFacts) -> Hashable:
    return facts.peer.address, facts.principal, facts.client_id
