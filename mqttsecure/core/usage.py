# -*- test-case-name: tests.core.test_usage -*-
"""What each principal has in the broker: sessions, and what is in them, and retained messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mqttsecure.core.decisions import Principal
from mqttsecure.core.session import Session

__all__ = ["SessionTable", "Usage", "WriterCounts"]


@dataclass(slots=True, frozen=True)
class Usage:
    """Of one principal; ``inflight`` are messages sent to its clients and not acknowledged yet."""

    sessions: int = 0
    subscriptions: int = 0
    inflight: int = 0
    queued_bytes: int = 0
    retained_messages: int = 0
    retained_bytes: int = 0


class SessionTable(dict[str, Session]):
    """All sessions by their keys, and those of each principal."""

    def __init__(self) -> None:
        super().__init__()
        self._owned: dict[Principal, dict[str, Session]] = {}

    def __setitem__(self, key: str, session: Session) -> None:
        if key in self:
            del self[key]
        super().__setitem__(key, session)
        self._owned.setdefault(session.owner, {})[key] = session

    def __delitem__(self, key: str) -> None:
        owner = self[key].owner
        super().__delitem__(key)
        owned = self._owned[owner]
        del owned[key]
        if not owned:
            del self._owned[owner]

    def of(self, owner: Principal) -> dict[str, Session]:
        """The sessions of a principal, by their keys; not to be changed."""
        return self._owned.get(owner, {})

    def owners(self) -> list[Principal]:
        """Everyone who has a session."""
        return list(self._owned)

    def usage(self, owner: Principal) -> Usage:
        """What is in them. It takes some tenths of a microsecond for each."""
        subscriptions = inflight = octets = 0
        owned = self.of(owner)
        for session in owned.values():
            subscriptions += len(session.subscriptions)
            inflight += len(session.inflight)
            octets += session.queue_octets + session.waiting_octets
            if session.record is not None:
                octets += session.record.behind_octets
        return Usage(len(owned), subscriptions, inflight, octets)


class WriterCounts:
    """How many retained messages, and how many bytes, are each principal's."""

    def __init__(self) -> None:
        self._counts: dict[Principal, tuple[int, int]] = {}

    def add(self, writer: Principal, messages: int, octets: int) -> None:
        """Count some more, or less."""
        old_messages, old_octets = self._counts.get(writer, (0, 0))
        counts = (old_messages + messages, old_octets + octets)
        if counts[0] > 0:
            self._counts[writer] = counts
        else:
            self._counts.pop(writer, None)

    def __iter__(self) -> Iterator[Principal]:
        return iter(list(self._counts))

    def of(self, writer: Principal) -> tuple[int, int]:
        """Messages and bytes."""
        return self._counts.get(writer, (0, 0))
