# -*- test-case-name: tests.core.test_publishing -*-
"""Throttling: pausing what a connection may still send, for a while."""

from __future__ import annotations

from typing import Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Decision, Effect, Meter, Obligation, Throttle
from mqttsecure.core.events import Throttled
from mqttsecure.core.state import BrokerState

__all__ = ["Throttling", "within_meters"]

_TOLD_EVERY: Final = 60.0
"""Seconds between two events about one connection: one at its limit is paused many times a second."""


def within_meters(meters: tuple[Meter, ...], octets: int, now: float) -> bool:
    """Count one message on ``meters`` where there is nobody to slow down; False where one refuses it."""
    for meter in meters:
        decision = meter.spend(1, octets, now)
        if decision is not None and decision.effect is Effect.DENY:
            return False
    return True


class Throttling:
    """Spends on meters and carries out what they and verdicts oblige to."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state

    def spend(self, connection: Connection, meters: tuple[Meter, ...], octets: int, now: float) -> Decision | None:
        """Count one message on ``meters``; the Decision that refuses it, if any."""
        for meter in meters:
            decision = meter.spend(1, octets, now)
            if decision is not None:
                if decision.effect is Effect.DENY:
                    return decision
                self.oblige(connection, decision.obligations, now)
        return None

    def oblige(self, connection: Connection, obligations: tuple[Obligation, ...], now: float) -> None:
        """Carry out what a verdict or a meter obliges to: at PUBLISH that is to pause reading."""
        for obligation in obligations:
            if isinstance(obligation, Throttle):
                self.throttle(connection, obligation.seconds, now)

    def throttle(self, connection: Connection, seconds: float, now: float) -> None:
        """Read nothing from the connection for a while: at most half its Keep Alive, so that it can still ping."""
        if not connection.is_open:
            return
        # keep_alive here is one and a half times the Keep Alive: a third of it is half of that.
        until = now + min(seconds, connection.keep_alive / 3 if connection.keep_alive else seconds)
        if until <= connection.paused_until:
            return
        if not connection.paused_until:
            self._state.counters.throttled += 1
            connection.pause_deadline = self._state.deadlines.at(until, lambda now: self._unthrottle(connection, now))
            if connection.throttle_told is None or now - connection.throttle_told >= _TOLD_EVERY:
                connection.throttle_told = now
                self._state.events.append(Throttled(connection.facts, until - now))
        connection.paused_until = until
        connection.reading = False
        self._state.touch(connection)

    def _unthrottle(self, connection: Connection, now: float) -> float | None:
        if not connection.is_open:
            return None
        if now < connection.paused_until:
            return connection.paused_until
        connection.paused_until = 0.0
        connection.pause_deadline = None
        self._state.released.append(connection)
        return None
