# -*- test-case-name: tests.service.test_sys_topics -*-
"""``$SYS/#``: the broker's counters as retained messages, for those whom the chain permits to read them."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from mqttsecure.core.state import Counters
from mqttsecure.transport.driver import CoreDriver

__all__ = ["SysTopics"]

_COUNTERS = {
    "bytes/received": "bytes_received",
    "bytes/sent": "bytes_sent",
    "messages/received": "messages_received",
    "messages/sent": "messages_sent",
    "messages/dropped": "messages_dropped",
    "messages/expired": "messages_expired",
    "connections/accepted": "connections_accepted",
    "connections/refused": "connections_refused",
    "denied/publish": "publishes_denied",
    "denied/subscribe": "subscriptions_denied",
    "denied/deliver": "deliveries_denied",
    "errors/internal": "internal_errors",
}


class SysTopics:
    """Publishes the counters at an interval, those that changed."""

    def __init__(self, driver: CoreDriver, clock: IReactorTime) -> None:
        self._driver = driver
        self._started = clock.seconds()
        self._clock = clock
        self._last: dict[str, int] = {}
        self._loop: Any = LoopingCall(self.publish)
        self._loop.clock = clock

    def start(self, interval: float) -> None:
        """Publish every ``interval`` seconds; 0 never."""
        if interval > 0:
            self._loop.start(interval, now=True)

    def stop(self) -> None:
        """Publish no more."""
        if self._loop.running:
            self._loop.stop()

    def publish(self) -> None:
        """Publish each value that is not what it was."""
        for name, value in self._values().items():
            if self._last.get(name) != value:
                self._last[name] = value
                self._driver.publish(f"$SYS/broker/{name}", str(value).encode(), retain=True)

    def _values(self) -> dict[str, int]:
        core = self._driver.core
        state = core.state
        counters: Counters = core.counters
        values = {topic: int(getattr(counters, name)) for topic, name in _COUNTERS.items()}
        values["uptime"] = int(self._clock.seconds() - self._started)
        values["connections/open"] = len(state.connections)
        values["sessions"] = len(state.sessions)
        values["subscriptions"] = state.tree.count
        values["retained/messages"] = state.retained.count
        values["retained/bytes"] = state.retained.octets
        values["queued/bytes"] = state.queued_octets
        values["stored/bytes"] = state.stored_octets
        keeping = self._driver.keeping
        if keeping is not None:
            values["store/batches"] = keeping.batches
            values["store/failing"] = int(state.storage_problem is not None)
            values["store/losses"] = len(keeping.losses)
        return values
