# -*- test-case-name: tests.core.test_journal -*-
"""What has changed of all that is kept on disk, until a store takes it over as one transaction.

On the path of each message to a durable session. Parts of the core tell the journal what they do to such sessions; at
the end of a turn the adapter takes all of it as one :class:`~mqttsecure.core.records.Batch`, and acknowledgements wait
until that is on disk (``BrokerState.acknowledge``). What comes and goes again before a batch is taken, such as a
message that its reader has acknowledged meanwhile, leaves no trace in it: then there is nothing to keep, and nothing to
wait for.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mqttsecure.core.batch_writer import BatchWriter
from mqttsecure.core.model import Envelope, Message
from mqttsecure.core.records import (
    Batch,
    StoredEntry,
    WriterRow,
)
from mqttsecure.core.stored_json import writer_to_json

if TYPE_CHECKING:
    from mqttsecure.core.session import Delivery, Session
    from mqttsecure.core.state import Load
    from mqttsecure.core.subscriptions import Subscription
    from mqttsecure.core.timers import Deadline

__all__ = ["Journal", "Record"]

_MANY_WRITERS: Final = 10_000
"""Writers whose number is remembered, so that each is kept once; beyond that some are kept twice."""


class Record:
    """What of one session is on disk, and what of that is to change.

    ``new`` are entries that no batch had yet, by number, ``marks`` which change each was; ``sent`` the Packet
    Identifiers of entries that were given one; ``released`` those (Packet Identifier, order) whose PUBREC came;
    ``removed`` the numbers of entries that were in a batch and are gone. ``incoming`` says of Packet Identifiers of
    QoS 2 messages taken in whether they are open. ``out`` are those of ``new`` that are not in memory otherwise.
    ``subscriptions`` has None for one that is gone. ``is_row_changed`` is about all else.

    ``is_out`` says that no entry is in memory; ``behind`` counts those that are on disk alone, or on their way there,
    with ``behind_octets``; ``loaded_to`` is the highest number that is or was in memory. ``loading`` is what is being
    read back from there, ``trimming`` what is read to be dropped, ``pruning`` when it is looked through for what has
    expired.
    """

    __slots__ = (
        "behind",
        "behind_octets",
        "incoming",
        "is_out",
        "is_row_changed",
        "key",
        "loaded_to",
        "loading",
        "marks",
        "new",
        "next_number",
        "out",
        "pruning",
        "released",
        "removed",
        "sent",
        "subscriptions",
        "trimming",
    )

    def __init__(self, key: int) -> None:
        self.key = key
        self.next_number = 1
        self.new: dict[int, Delivery] = {}
        self.marks: dict[int, int] = {}
        self.out: set[int] | None = None
        self.sent: dict[int, int] = {}
        self.released: dict[int, tuple[int, int]] | None = None
        self.removed: list[int] | None = None
        self.incoming: dict[int, bool] | None = None
        self.subscriptions: dict[str, Subscription | None] | None = None
        self.is_row_changed = True
        self.is_out = False
        self.loading: Load | None = None
        self.trimming: Load | None = None
        self.pruning: Deadline | None = None
        self.behind = 0
        self.behind_octets = 0
        self.loaded_to = 0

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self.new
            or self.sent
            or self.is_row_changed
            or self.released
            or self.removed
            or self.incoming
            or self.subscriptions
        )


class Journal:
    """Collects changes. While it is not ``is_on`` no session has a record, and nothing is collected.

    ``changes`` counts them all and never goes back: who remembers it can tell whether what it does touched anything
    durable, and whether that is on disk: :meth:`settled_to` and ``committed`` are counted likewise.
    ``hopeful`` counts new entries that were sent to their reader, whose acknowledgement would take them out again.
    ``octets`` is roughly what is in no batch yet. ``page_out`` is called with sessions of clients that are away once
    all of theirs is in a batch: memory is for those that are here.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.changes = 0
        self.committed = 0
        self.batches = 0
        self.hopeful = 0
        self.octets = 0
        self._next_key = 1
        self._next_message = 1
        self._next_writer = 1
        self._next_release = 1
        self._dirty: dict[Session, Record] = {}
        self._unsettled: deque[int] = deque()
        self._undone: set[int] = set()
        self._ended: list[int] = []
        self._released_references: Counter[int] = Counter()
        self._retained: dict[tuple[str, str], Message | None] = {}
        self._writers: dict[bytes, int] = {}
        self.page_out: Callable[[Session, Record], None] = lambda session, record: None

    # -- on the path of each message -------------------------------------------------------------------------------

    def enter(self, session: Session, record: Record, delivery: Delivery) -> Delivery:
        """Keep a delivery of QoS 1 or 2; the same with its number."""
        number = record.next_number
        record.next_number = number + 1
        message = delivery[0]
        entered = (message, delivery[1], delivery[2], delivery[3], delivery[4], number)
        record.new[number] = entered
        self._dirty[session] = record
        record.marks[number] = self._note()
        self.octets += len(message.payload)
        return entered

    def sent(self, session: Session, record: Record, delivery: Delivery, packet_id: int) -> None:
        """An entry was given a Packet Identifier."""
        number = delivery[5]
        record.sent[number] = packet_id
        if number in record.new:
            self.hopeful += delivery[1] == 1
            return
        self._dirty[session] = record
        if delivery[1] == 2:
            self._note()
        else:
            self.changes += 1  # nobody waits for that one

    def settle(self, session: Session, record: Record, delivery: Delivery) -> None:
        """An entry is over: acknowledged, denied, expired."""
        number = delivery[5]
        was_sent = record.sent.pop(number, 0)
        new = record.new.pop(number, None)
        if new is not None:
            self.hopeful -= bool(was_sent) and new[1] == 1
            self.octets -= len(new[0].payload)
            self._undone.add(record.marks.pop(number))
            return
        if record.removed is None:
            record.removed = []
        record.removed.append(number)
        self._dirty[session] = record
        self.changes += 1
        self._drop_reference(delivery[0])

    def drop(self, session: Session, record: Record, entry: StoredEntry) -> None:
        """An entry that is on disk alone is not to be sent any more."""
        if record.removed is None:
            record.removed = []
        record.removed.append(entry.row.number)
        self._released_references[entry.row.message] += 1
        self._dirty[session] = record
        self.changes += 1

    # -- QoS 2 -----------------------------------------------------------------------------------------------------

    def release(self, session: Session, record: Record, delivery: Delivery, packet_id: int) -> None:
        """PUBREC has come for an entry: it waits for PUBCOMP alone."""
        number = delivery[5]
        record.sent.pop(number, None)
        if record.new.pop(number, None) is None:
            self._drop_reference(delivery[0])
        else:
            self._undone.add(record.marks.pop(number))
        if record.released is None:
            record.released = {}
        record.released[number] = (packet_id, self._next_release)
        self._next_release += 1
        self._dirty[session] = record
        self._note()

    def complete(self, session: Session, record: Record, number: int) -> None:
        """PUBCOMP has come for an entry."""
        if record.released is not None:
            record.released.pop(number, None)
        if record.removed is None:
            record.removed = []
        record.removed.append(number)
        self._dirty[session] = record
        self.changes += 1

    def incoming(self, session: Session, record: Record, packet_id: int, is_open: bool) -> None:
        """A QoS 2 message was taken in under this Packet Identifier, or that was let go."""
        if record.incoming is None:
            record.incoming = {}
        record.incoming[packet_id] = is_open
        self._dirty[session] = record
        self._note()

    # -- sessions, subscriptions, retained messages --------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """``session`` is durable from now on."""
        session.record = Record(self._next_key)
        self._next_key += 1
        self.change_row(session)

    def change_row(self, session: Session) -> None:
        """Something of the session itself has changed: its expiry, its facts, its will, whether it is connected."""
        record = session.record
        if record is not None:
            record.is_row_changed = True
            self._dirty[session] = record
            self._note()

    def forget(self, session: Session) -> Record | None:
        """The session is gone; what is on disk of it stays until :meth:`end_key`."""
        record, session.record = session.record, None
        self._dirty.pop(session, None)
        if record is not None:
            if record.pruning is not None:
                record.pruning.cancel()
            self._undone.update(record.marks.values())
            self.hopeful -= sum(record.new[each][1] == 1 for each in record.sent if each in record.new)
        return record

    def end_key(self, key: int) -> None:
        """What is on disk under this key is to go."""
        self._ended.append(key)
        self._note()

    def subscribe(self, session: Session, subscription: Subscription) -> None:
        """A subscription is new, or has other options."""
        self._note_subscription(session, subscription.topic_filter, subscription)

    def unsubscribe(self, session: Session, topic_filter: str) -> None:
        """A subscription is gone."""
        self._note_subscription(session, topic_filter, None)

    def _note_subscription(self, session: Session, topic_filter: str, subscription: Subscription | None) -> None:
        record = session.record
        if record is not None:
            if record.subscriptions is None:
                record.subscriptions = {}
            record.subscriptions[topic_filter] = subscription
            self._dirty[session] = record
            self._note()

    def retain(self, place: tuple[str, str], message: Message | None, old: Message | None) -> None:
        """The retained message of (namespace, Topic Name) is another one than ``old``, or none."""
        if not self.is_on:
            return
        if place not in self._retained and old is not None:
            self._drop_reference(old)
        self._retained[place] = message
        self._note()

    def forget_retained(self, place: tuple[str, str], stored_id: int) -> None:
        """A retained message that is on disk is not to be kept, and never was in memory."""
        self._released_references[stored_id] += 1
        self._retained[place] = None
        self._note()

    def put_out(self, record: Record, delivery: Delivery) -> None:
        """An entry is kept in memory no longer, or is not to be once it is on disk."""
        number = delivery[5]
        if number in record.new:
            if record.out is None:
                record.out = set()
            record.out.add(number)
        else:
            self._let_go(delivery[0])

    def _drop_reference(self, message: Message) -> None:
        """Something on disk refers to ``message`` no more."""
        if message.stored_id:
            self._released_references[message.stored_id] += 1
            self._let_go(message)

    @staticmethod
    def _let_go(message: Message) -> None:
        """With the last reference that goes with this object, it no longer knows whether its body is still on disk."""
        message.references -= 1
        if message.references <= 0:
            message.stored_id = 0

    # -- what is settled -------------------------------------------------------------------------------------------

    def _note(self) -> int:
        """Count a change that acknowledgements wait for."""
        self.changes += 1
        self._unsettled.append(self.changes)
        return self.changes

    @property
    def unsettled(self) -> int:
        """How many changes are neither in a batch nor undone."""
        return len(self._unsettled) - len(self._undone)

    @property
    def has_undone(self) -> bool:
        """Whether a change was undone that :meth:`settled_to` has not looked at."""
        return bool(self._undone)

    def settled_to(self) -> int:
        """Up to which change all were undone again, or are in a batch."""
        unsettled, undone = self._unsettled, self._undone
        while unsettled and unsettled[0] in undone:
            undone.discard(unsettled.popleft())
        return unsettled[0] - 1 if unsettled else self.changes

    # -- taking it -------------------------------------------------------------------------------------------------

    def is_empty(self) -> bool:
        """Whether nothing is left to write; what was noted and undone since is forgotten."""
        if self._ended or self._retained or self._released_references:
            return False
        for record in self._dirty.values():
            if not record.is_clean:
                return False
        self._dirty.clear()
        return True

    def take(self, now: float, wall: float) -> Batch:
        """All of it, as one batch. ``wall`` is the time of day at ``now``."""
        self.batches += 1
        batch = Batch(self.batches, ended=self._ended)
        writing = BatchWriter(batch, wall - now, self._message_id)
        for session, record in self._dirty.items():
            writing.session(session, record)
        for place, message in self._retained.items():
            writing.retained(place, message)
        writing.finish(self._released_references)
        for session, record in self._dirty.items():
            if session.connection is None and session.claimant is None and session.waiting is None:
                self.page_out(session, record)
        self._unsettled.clear()
        self._undone.clear()
        self._dirty = {}
        self._ended = []
        self._retained = {}
        self._released_references = Counter()
        self.hopeful = 0
        self.octets = 0
        return batch

    def _message_id(self, message: Message, batch: Batch) -> int:
        """A number for a body that is not on disk, and one for its writer."""
        message.stored_id = self._next_message
        self._next_message += 1
        self._writer_id(message.envelope, batch)
        return message.stored_id

    def _writer_id(self, envelope: Envelope, batch: Batch) -> None:
        if envelope.stored_id:
            return
        content = writer_to_json(envelope.writer)
        known = self._writers.get(content)
        if known is None:
            if len(self._writers) >= _MANY_WRITERS:
                self._writers.clear()
            known = self._writers[content] = self._next_writer
            self._next_writer += 1
            batch.writers.append(WriterRow(known, content))
        envelope.stored_id = known

    def start_after(self, key: int, message: int, writer: int, release: int) -> None:
        """Give out numbers above those that are in use already."""
        self._next_key = max(self._next_key, key + 1)
        self._next_message = max(self._next_message, message + 1)
        self._next_writer = max(self._next_writer, writer + 1)
        self._next_release = max(self._next_release, release + 1)
