# -*- test-case-name: tests.core.test_replaying -*-
"""Retained messages for new subscriptions, no faster than the client takes them, and a part of them a turn."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.model import Message
from mqttsecure.core.session import Session
from mqttsecure.core.state import BrokerState
from mqttsecure.core.subscriptions import Subscription

if TYPE_CHECKING:
    from mqttsecure.core.delivery import Deliveries

__all__ = ["Replaying"]

_PER_TURN: Final = 500
"""Retained messages judged in one go: a subscription may match all there are, of which it may get none."""

_PAUSE: Final = 0.001
"""Seconds until the next ones."""


class Replaying:
    """Sends retained messages through the one delivery path."""

    def __init__(self, state: BrokerState, deliveries: Deliveries) -> None:
        self._state = state
        self._deliveries = deliveries

    def start(self, connection: Connection, subscriptions: list[Subscription], now: float) -> None:
        """The connection owes its client what ``subscriptions`` match."""
        if not subscriptions:
            return
        # A filter that waits already is not put in twice, so that there are no more than the session's subscriptions.
        owed = {entry[0].topic_filter: entry for entry in connection.replays or ()}
        for subscription in subscriptions:
            owed.pop(subscription.topic_filter, None)
            owed[subscription.topic_filter] = (subscription, None)
        connection.replays = deque(owed.values())
        self.go_on(connection, now)

    def go_on(self, connection: Connection, now: float) -> None:
        """Send what the client takes now."""
        if connection.replay_deadline is not None:
            return  # enough for this turn
        session = connection.session
        left = _PER_TURN
        while connection.replays and session is not None:
            subscription, messages = connection.replays[0]
            if session.subscriptions.get(subscription.topic_filter) is not subscription:
                connection.replays.popleft()  # unsubscribed, or replaced
                continue
            if messages is None:
                messages = self._state.retained.matching(subscription.inner, session.namespace)
                connection.replays[0] = (subscription, messages)
            while True:
                if self._is_busy(connection, session):
                    return
                if not left:
                    self._go_on_later(connection, now)
                    return
                left -= 1
                message = next(messages, None)
                if message is None:
                    break
                self._send(session, subscription, message, now)
            if connection.replays:  # not so where sending has ended the connection
                connection.replays.popleft()
        connection.replays = None

    def _is_busy(self, connection: Connection, session: Session) -> bool:
        """Whether the client has enough for now; what it waits for wakes us again."""
        return (
            not connection.is_open
            or session.queue is not None
            or session.waiting is not None
            or connection.outbox_bytes > self._state.outbox_limit // 2
        )

    def _go_on_later(self, connection: Connection, now: float) -> None:
        if connection.replay_deadline is None:
            connection.replay_deadline = self._state.deadlines.at(now + _PAUSE, lambda now: self._wake(connection, now))

    def _wake(self, connection: Connection, now: float) -> None:
        connection.replay_deadline = None
        self.go_on(connection, now)

    def _send(self, session: Session, subscription: Subscription, message: Message, now: float) -> None:
        if message.expires_at is not None and now >= message.expires_at:
            return  # its own deadline, which is due as well, makes it go
        self._deliveries.deliver_retained(session, subscription, message, now)
