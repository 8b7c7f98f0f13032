# -*- test-case-name: tests.core.test_session -*-
"""Session State: what outlives a Network Connection (v5.0 section 4.1)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from mqttsecure.core.decisions import ConnectionFacts, Peer, Pending, Principal
from mqttsecure.core.model import Message
from mqttsecure.core.stored_json import facts_from_json
from mqttsecure.core.verdict_cache import VerdictCache
from mqttsecure.wire.constants import MAX_PACKET_IDENTIFIER

if TYPE_CHECKING:
    from mqttsecure.core.connection import Connection
    from mqttsecure.core.delivery import Target
    from mqttsecure.core.journal import Record
    from mqttsecure.core.subscriptions import SharedGroup, Subscription
    from mqttsecure.core.timers import Deadline
    from mqttsecure.core.will import PendingWill

__all__ = ["Delivery", "Session", "session_key"]

Delivery: TypeAlias = "tuple[Message, int, bool, tuple[int, ...], SharedGroup | None, int]"
"""A message on its way to one session: message, QoS, RETAIN, Subscription Identifiers, its shared subscription, and its
number among the session's entries on disk, 0 for one that is in memory alone."""


def session_key(namespace: str, client_id: str) -> str:
    """Under what all sessions hold the one of ``client_id`` in ``namespace``, "" for the default one.

    Two pairs never have the same key: neither a namespace nor a Client Identifier has U+0000 (v5.0 [MQTT-1.5.4-2]).
    """
    return f"{namespace}\0{client_id}" if namespace else client_id


class Session:
    """The state of one Client Identifier in one namespace, owned by one principal.

    ``facts`` are those of its last connection; of a session that was on disk they are JSON until somebody asks for
    them. ``claimant`` is a connection that is about to get the session, once what that changes is on disk. ``left_at``
    is when the last connection ended, None while there is one or a claimant.

    ``inflight`` maps Packet Identifiers to what is unacknowledged, in the order of sending; a number alone (as in a
    Delivery) stands for a PUBREL that waits for its PUBCOMP. ``inflight_octets`` are those of its payloads. ``unsent``
    are the identifiers in ``inflight`` that this connection has not sent again yet. ``incoming`` holds the Packet
    Identifiers of QoS 2 messages taken in and not yet released.

    ``waiting`` holds, in order, messages behind a DELIVER verdict that is pending; ``head`` is the first of ``queue``
    while it waits for one. ``queue`` is None only while nothing is queued, be it in memory or, for a session with a
    ``record``, on disk alone. ``drop_told`` says that a loss of messages was told, which is done once until the queue
    has moved. ``ended`` says that nothing may be kept here any more.
    """

    __slots__ = (
        "_facts",
        "claimant",
        "client_id",
        "connection",
        "drop_told",
        "ended",
        "expiry",
        "expiry_deadline",
        "head",
        "incoming",
        "inflight",
        "inflight_octets",
        "left_at",
        "namespace",
        "next_packet_id",
        "owner",
        "pending",
        "queue",
        "queue_octets",
        "record",
        "subscriptions",
        "unsent",
        "verdicts",
        "waiting",
        "waiting_octets",
        "will",
        "will_deadline",
    )

    def __init__(
        self, client_id: str, owner: Principal, facts: ConnectionFacts | bytes, namespace: str | None = None
    ) -> None:
        self.client_id = client_id
        self.owner = owner
        self._facts = facts
        if namespace is None:
            namespace = "" if isinstance(facts, bytes) else facts.namespace
        self.namespace = namespace
        self.connection: Connection | None = None
        self.claimant: Connection | None = None
        self.left_at: float | None = None
        self.record: Record | None = None
        self.ended = False
        self.expiry = 0.0
        self.expiry_deadline: Deadline | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.inflight: dict[int, Delivery | int] = {}
        self.inflight_octets = 0
        self.drop_told = False
        self.unsent: deque[int] | None = None
        self.incoming: set[int] | None = None
        self.queue: deque[Delivery] | None = None
        self.queue_octets = 0
        self.next_packet_id = 1
        self.waiting: deque[tuple[Target, Message, int]] | None = None
        self.waiting_octets = 0
        self.head: Delivery | None = None
        self.pending: Pending | None = None
        self.will: PendingWill | None = None
        self.will_deadline: Deadline | None = None
        self.verdicts = VerdictCache()

    @property
    def facts(self) -> ConnectionFacts:
        """What is known of its last connection."""
        facts = self._facts
        if isinstance(facts, bytes):
            try:
                facts = facts_from_json(facts)
            except (ValueError, KeyError, TypeError, AttributeError):
                # Damaged on disk. Nothing but whose it is is known of it, which permits less and never more.
                facts = ConnectionFacts(0, "", Peer(None), principal=self.owner)
            self._facts = facts
            facts.namespace = self.namespace
            facts.client_id = self.client_id
        return facts

    @facts.setter
    def facts(self, facts: ConnectionFacts) -> None:
        self._facts = facts

    @property
    def key(self) -> str:
        """Under what all sessions hold it."""
        return session_key(self.namespace, self.client_id)

    def take_packet_id(self) -> int:
        """The next Packet Identifier that is not in use, counted up from 1 and round again.

        There is always one: the send quota is below 65,535 (see ``Limits.maximum_inflight``).
        """
        packet_id = self.next_packet_id
        while packet_id in self.inflight:
            packet_id = packet_id + 1 if packet_id < MAX_PACKET_IDENTIFIER else 1
        self.next_packet_id = packet_id + 1 if packet_id < MAX_PACKET_IDENTIFIER else 1
        return packet_id

    def enqueue(self, delivery: Delivery) -> None:
        """Put it at the end of the queue."""
        if self.queue is None:
            self.queue = deque()
        self.queue.append(delivery)
        self.queue_octets += delivery[0].size

    def put_back(self, delivery: Delivery) -> None:
        """Put what :meth:`dequeue` gave at the head again."""
        if self.queue is None:
            self.queue = deque()
        self.queue.appendleft(delivery)
        self.queue_octets += delivery[0].size

    def dequeue(self) -> Delivery | None:
        """Take the first of the queue."""
        if not self.queue:
            return None
        delivery = self.queue.popleft()
        self.queue_octets -= delivery[0].size
        if not self.queue and not (self.record is not None and self.record.behind):
            self.queue = None
        return delivery
