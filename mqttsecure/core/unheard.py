# -*- test-case-name: tests.core.test_unheard -*-
"""Which topics were published to while nobody subscribed to them: accepted, and yet nothing arrives.

Noted when the receivers of a topic are looked for and none is found, not for each message. Of each client the latest
topics, of all clients those that published so last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mqttsecure.core.decisions import ConnectionFacts
from mqttsecure.core.session import session_key

__all__ = ["MAXIMUM_OCTETS", "MAXIMUM_TOPICS", "Publisher", "UnheardTopics"]

MAXIMUM_TOPICS: Final = 16
"""Of one client: enough to see what is wrong, and one that tries all topics pushes out only its own."""

MAXIMUM_OCTETS: Final = 4 * 1024 * 1024
"""Of all names together, which bounds the clients too: some ten thousand with a few topics each."""

_OVERHEAD: Final = 256
"""Bytes that a name costs beside its characters."""


@dataclass(slots=True)
class Publisher:
    """A client, and when it first and last was found to publish to a topic that nobody heard."""

    client_id: str
    namespace: str
    principal: str
    username: str | None
    address: str
    topics: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    @property
    def octets(self) -> int:
        """What it costs to remember it."""
        return _cost(self.client_id) + sum(map(_cost, self.topics))


class UnheardTopics:
    """All of them, within their bounds."""

    def __init__(self) -> None:
        self._publishers: OrderedDict[str, Publisher] = OrderedDict()
        self.octets = 0

    def note(self, facts: ConnectionFacts, topic: str, now: float) -> None:
        """Nobody subscribed when that client published to ``topic``."""
        key, principal = session_key(facts.namespace, facts.client_id), str(facts.principal)
        publisher = self._publishers.get(key)
        if publisher is None or publisher.principal != principal:
            self._forget(key)
            publisher = Publisher(facts.client_id, facts.namespace, principal, facts.username, "")
            self._publishers[key] = publisher
            self.octets += publisher.octets
        self._publishers.move_to_end(key)
        publisher.address = str(facts.peer.address)
        known = publisher.topics.pop(topic, None)
        publisher.topics[topic] = (now if known is None else known[0], now)
        if known is None:
            self.octets += _cost(topic)
            if len(publisher.topics) > MAXIMUM_TOPICS:
                self.octets -= _cost(publisher.topics.popitem(last=False)[0])
        while self.octets > MAXIMUM_OCTETS and len(self._publishers) > 1:
            self._forget(next(iter(self._publishers)))

    def _forget(self, key: str) -> None:
        publisher = self._publishers.pop(key, None)
        if publisher is not None:
            self.octets -= publisher.octets

    def __iter__(self) -> Iterator[Publisher]:
        """The clients, the one that was noted last at the end."""
        return iter(self._publishers.values())


def _cost(text: str) -> int:
    return _OVERHEAD + len(text)
