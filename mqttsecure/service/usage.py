# -*- test-case-name: tests.service.test_usage -*-
"""What the running broker holds, as policies may ask for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from zope.interface import implementer

from mqttsecure.core.decisions import Principal
from mqttsecure.core.session import session_key
from mqttsecure.core.state import BrokerState
from mqttsecure.core.usage import Usage
from mqttsecure.interfaces import IUsage

__all__ = ["BrokerUsage"]


@implementer(IUsage)
class BrokerUsage:
    """Looks into the core."""

    def __init__(self, state: Callable[[], BrokerState | None]) -> None:
        """
        Args:
            state: of the core; None before it is there, when policies are built.
        """
        self._state = state

    def of(self, principal: Principal) -> Usage:
        """What a principal has."""
        state = self._state()
        if state is None:
            return Usage()
        messages, octets = state.retained.writers.of(principal)
        usage = state.sessions.usage(principal)
        return dataclasses.replace(usage, retained_messages=messages, retained_bytes=octets)

    def has_session(self, principal: Principal, namespace: str, client_id: str) -> bool:
        """Whether that session is there, and the principal's."""
        state = self._state()
        return state is not None and session_key(namespace, client_id) in state.sessions.of(principal)

    def has_subscription(self, namespace: str, client_id: str, topic_filter: str) -> bool:
        """Whether that session has a subscription to that filter."""
        state = self._state()
        session = None if state is None else state.sessions.get(session_key(namespace, client_id))
        return session is not None and topic_filter in session.subscriptions

    def retained(self, namespace: str, topic: str) -> tuple[Principal, int] | None:
        """Whose the topic's retained message is, and its bytes."""
        state = self._state()
        message = None if state is None else state.retained.get(topic, namespace)
        return None if message is None else (message.envelope.writer.principal, message.size)
