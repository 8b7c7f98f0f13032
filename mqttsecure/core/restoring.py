# -*- test-case-name: tests.core.test_restoring -*-
"""From what was on disk back to sessions, messages and wills."""

from __future__ import annotations

from typing import Final

from mqttsecure.core.decisions import Principal
from mqttsecure.core.journal import Record
from mqttsecure.core.model import Envelope, Message
from mqttsecure.core.records import MessageRow, StoredEntry, StoredRetained, StoredSession
from mqttsecure.core.session import Delivery, Session
from mqttsecure.core.state import BrokerState
from mqttsecure.core.stored_json import Unreadable, will_from_json, writer_from_json
from mqttsecure.core.subscriptions import Subscription
from mqttsecure.core.will import PendingWill
from mqttsecure.errors import MqttError
from mqttsecure.wire.encoder import encode_remaining_length
from mqttsecure.wire.properties import decode_properties

__all__ = ["Restoring"]

_MANY_ENVELOPES: Final = 10_000
"""Writers kept by what is on disk of them, so that their messages share one envelope."""

_PUBLISH: Final = 3

_NONSENSE: Final = (ValueError, KeyError, TypeError, AttributeError, MqttError)
"""What reading a row may raise that was changed on disk."""


class Restoring:
    """Makes objects of rows. Whatever it makes was written under older policies, and is judged anew when it is used."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state
        self._principals: dict[tuple[str, str], Principal] = {}
        self._envelopes: dict[tuple[str, bytes], Envelope] = {}

    def session(self, stored: StoredSession) -> Session:
        """A session whose client is away, with its subscriptions; its entries stay on disk."""
        row = stored.row
        owner = self._principals.setdefault((row.authority, row.name), Principal(row.authority, row.name))
        session = Session(row.client_id, owner, row.facts, row.namespace)
        session.expiry = row.expiry
        record = session.record = Record(row.key)
        record.is_row_changed = False
        record.is_out = True
        record.behind = stored.entries
        record.behind_octets = stored.octets
        record.next_number = stored.highest + 1
        for each in stored.subscriptions:
            subscription = Subscription(
                session,
                each.topic_filter,
                each.qos,
                bool(each.no_local),
                bool(each.retain_as_published),
                each.retain_handling,
                each.identifier,
            )
            self._state.tree.add(subscription)
            session.subscriptions[each.topic_filter] = subscription
        return session

    def will(self, content: bytes, namespace: str) -> PendingWill:
        """A will whose client is away.

        Raises:
            Unreadable: it is none.
        """
        try:
            will, writer, facts = will_from_json(content)
        except _NONSENSE as error:
            raise Unreadable(str(error)) from error
        facts.namespace = namespace
        return PendingWill(will, Envelope(writer, 0, namespace), facts)

    def delivery(self, session: Session, entry: StoredEntry, now: float) -> Delivery:
        """An entry that has a message.

        Raises:
            Unreadable: it has none that can be delivered.
        """
        row = entry.row
        if entry.message is None:
            raise Unreadable("it has no message")
        try:
            message = self._message(entry.message, entry.writer)
            identifiers = tuple(int(each) for each in row.identifiers.split(",")) if row.identifiers else ()
        except _NONSENSE as error:
            raise Unreadable(str(error)) from error
        subscription = session.subscriptions.get(row.share) if row.share else None
        group = None if subscription is None else subscription.group
        return (message, row.qos, bool(row.retain), identifiers, group, row.number)

    def retained(self, stored: StoredRetained) -> Message:
        """A retained message.

        Raises:
            Unreadable: it is none.
        """
        try:
            return self._message(stored.message, stored.writer)
        except _NONSENSE as error:
            raise Unreadable(str(error)) from error

    def _message(self, row: MessageRow, writer: bytes) -> Message:
        properties = None
        if row.properties:
            prefixed = encode_remaining_length(len(row.properties)) + row.properties
            properties, _ = decode_properties(prefixed, 0, _PUBLISH, from_client=False)
        message = Message(
            row.topic,
            row.payload,
            row.qos,
            bool(row.retain),
            self._envelope(row, writer),
            properties,
            None if row.expires_at is None else row.expires_at - self._state.wall_offset,
        )
        message.stored_id = row.id
        message.references = 1
        return message

    def _envelope(self, row: MessageRow, writer: bytes) -> Envelope:
        place = (row.namespace, writer)
        envelope = self._envelopes.get(place)
        if envelope is None:
            if len(self._envelopes) >= _MANY_ENVELOPES:
                self._envelopes.clear()
            envelope = self._envelopes[place] = Envelope(writer_from_json(writer), 0, row.namespace)
            envelope.stored_id = row.writer
        return envelope
