# -*- test-case-name: tests.core.test_journal -*-
"""Writes down, as rows of one batch, what the journal has noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from mqttsecure.core.model import Message, writer_of
from mqttsecure.core.records import Batch, EntryRow, MessageRow, RetainedRow, SessionRow, SubscriptionRow
from mqttsecure.core.stored_json import facts_to_json, will_to_json

if TYPE_CHECKING:
    from mqttsecure.core.journal import Record
    from mqttsecure.core.session import Delivery, Session
    from mqttsecure.core.subscriptions import Subscription
    from mqttsecure.wire.packets import Will

__all__ = ["BatchWriter"]


class BatchWriter:
    """One batch being written down. ``offset`` turns monotonic seconds into the time of day."""

    def __init__(
        self,
        batch: Batch,
        offset: float,
        message_id: Callable[[Message, Batch], int],
    ) -> None:
        self._batch = batch
        self._offset = offset
        self._message_id = message_id
        self._new: dict[Message, int] = {}
        self._old: dict[Message, int] = {}

    def session(self, session: Session, record: Record) -> None:
        batch = self._batch
        key = record.key
        if record.is_row_changed:
            record.is_row_changed = False
            batch.sessions.append(self._session_row(session, key))
        self._entries(session, record)
        if record.released:
            batch.entries.extend(
                EntryRow(key, number, 0, 0, 2, False, "", "", packet_id, order)
                for number, (packet_id, order) in record.released.items()
            )
            record.released = None
        if record.removed:
            batch.removed.extend([(key, number) for number in record.removed])
            record.removed = None
        if record.incoming:
            for packet_id, is_open in record.incoming.items():
                (batch.incoming if is_open else batch.completed).append((key, packet_id))
            record.incoming = None
        if record.subscriptions:
            for topic_filter, subscription in record.subscriptions.items():
                if subscription is None:
                    batch.unsubscribed.append((key, topic_filter))
                else:
                    batch.subscriptions.append(_subscription_row(key, subscription))
            record.subscriptions = None

    def _entries(self, session: Session, record: Record) -> None:
        sent = record.sent
        if record.new:
            out = record.out
            for number, delivery in record.new.items():
                is_held = out is None or number not in out
                self._entry(record.key, delivery, sent.pop(number, 0), self._refer(delivery[0], held=is_held))
            record.new = {}
            record.marks = {}
            record.out = None
        if sent:
            for packet_id in sent.values():
                delivery_or_number = session.inflight.get(packet_id)
                if delivery_or_number is not None and not isinstance(delivery_or_number, int):
                    stored_id = delivery_or_number[0].stored_id
                    self._entry(record.key, delivery_or_number, packet_id, stored_id)
            record.sent = {}

    def _refer(self, message: Message, *, held: bool) -> int:
        """The number of a body that one more thing on disk refers to; ``held`` says that it stays in memory as well."""
        if message in self._new:
            self._new[message] += 1
        elif message.stored_id:
            self._old[message] = self._old.get(message, 0) + 1
        else:
            self._message_id(message, self._batch)
            self._new[message] = 1
        message.references += held
        return message.stored_id

    def _entry(self, key: int, delivery: Delivery, packet_id: int, stored_id: int) -> None:
        message, qos, retain, identifiers, group, number = delivery
        self._batch.entries.append(
            EntryRow(
                key,
                number,
                stored_id,
                message.size,
                qos,
                retain,
                ",".join(map(str, identifiers)) if identifiers else "",
                "" if group is None else f"$share/{group.name}/{group.inner}",
                packet_id,
                0,
            )
        )

    def retained(self, place: tuple[str, str], message: Message | None) -> None:
        if message is None:
            self._batch.forgotten.append(place)
        else:
            self._batch.retained.append(RetainedRow(*place, self._refer(message, held=True)))

    def finish(self, released: Counter[int]) -> None:
        """Write down the bodies, once it is known how many refer to each."""
        batch = self._batch
        changed = {stored_id: -count for stored_id, count in released.items()}
        for message, count in self._new.items():
            batch.messages.append(self._message_row(message, count))
        for message, count in self._old.items():
            changed[message.stored_id] = changed.get(message.stored_id, 0) + count
        batch.references = {stored_id: by for stored_id, by in changed.items() if by}
        for message in (*self._new, *self._old):
            if message.references <= 0:
                message.stored_id = 0

    def _message_row(self, message: Message, references: int) -> MessageRow:
        envelope = message.envelope
        return MessageRow(
            message.stored_id,
            references,
            envelope.namespace,
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.property_bytes() or None,
            None if message.expires_at is None else message.expires_at + self._offset,
            envelope.stored_id,
        )

    def _session_row(self, session: Session, key: int) -> SessionRow:
        will = due = None
        armed = _armed_will(session)
        if armed is not None:
            will = will_to_json(armed, writer_of(session.facts, session.owner), session.facts)
        elif session.will is not None:
            will = will_to_json(session.will.will, session.will.envelope.writer, session.will.facts)
            due = None if session.will_deadline is None else session.will_deadline.when + self._offset
        return SessionRow(
            key,
            session.namespace,
            session.client_id,
            session.owner.authority,
            session.owner.name,
            session.expiry,
            None if session.left_at is None else session.left_at + self._offset,
            facts_to_json(session.facts),
            will,
            due,
        )


def _armed_will(session: Session) -> Will | None:
    """The will of the connection that the session has or is about to get."""
    if session.connection is not None:
        return session.connection.will
    claimant = session.claimant
    return claimant.connect.will if claimant is not None and claimant.connect is not None else None


def _subscription_row(key: int, subscription: Subscription) -> SubscriptionRow:
    return SubscriptionRow(
        key,
        subscription.topic_filter,
        subscription.qos,
        subscription.no_local,
        subscription.retain_as_published,
        subscription.retain_handling,
        subscription.identifier,
    )
