"""The tests that every store passes. Use them for yours::

    class MyStoreTests(StoreContract, twisted.trial.unittest.TestCase):
        def make_store(self):
            return MyStore(self.folder_of_this_test)

``make_store`` is called again after the store has been closed, and then has to find what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from mqttsecure.core.records import (
    Batch,
    EntryRow,
    Highest,
    MessageRow,
    RetainedRow,
    SessionRow,
    StoredEntry,
    StoredRetained,
    StoredSession,
    SubscriptionRow,
    WriterRow,
)
from mqttsecure.interfaces import IRetainedStore, ISessionStore

__all__ = ["StoreContract", "entry", "message", "session", "subscription"]

ALL = 1_000_000


def session(key: int, client_id: str | None = None, **changes: Any) -> SessionRow:
    """A session of a user of the same name."""
    name = f"client-{key}" if client_id is None else client_id
    row = SessionRow(key, "", name, "lab", name, 4294967295.0, None, b'{"v":1}', None, None)
    return row._replace(**changes)


def subscription(key: int, topic_filter: str, **changes: Any) -> SubscriptionRow:
    """A subscription of that session."""
    return SubscriptionRow(key, topic_filter, 1, False, False, 0, 0)._replace(**changes)


def message(key: int, references: int = 1, **changes: Any) -> MessageRow:
    """A message of the writer 1."""
    return MessageRow(key, references, "", f"plant/{key}", b"payload", 1, False, None, None, 1)._replace(**changes)


def entry(key: int, number: int, of: int, **changes: Any) -> EntryRow:
    """An entry of that session with the message ``of``."""
    return EntryRow(key, number, of, 100, 1, False, "", "", 0, 0)._replace(**changes)


def _then(call: Callable[[int], object], argument: int) -> Callable[[None], None]:
    def callback(result: None) -> None:
        call(argument)

    return callback


class StoreContract:
    """Mix it into a ``TestCase`` of trial, and give it :meth:`make_store`."""

    def make_store(self) -> Any:
        """A store that is not open yet, of the same place each time in one test."""
        raise NotImplementedError

    # What the mixed-in TestCase has.
    assertEqual: Any
    assertTrue: Any
    addCleanup: Any

    store: Any = None
    _number = 0

    def open_store(self) -> Any:
        """A store that is open, and closed at the end of the test."""
        self.store = self.make_store()
        self.store.open()
        self.addCleanup(self._close)
        return self.store

    def _close(self) -> Any:
        store, self.store = self.store, None
        return None if store is None else store.close()

    async def reopen(self) -> Any:
        """What the next process finds."""
        await self._close()
        return self.open_store()

    def commit(self, **fields: Any) -> Deferred[None]:
        """Commit a batch of these fields."""
        self._number += 1
        done: Deferred[None] = self.store.commit(Batch(self._number, **fields))
        return done

    def sessions(self) -> Sequence[StoredSession]:
        found: Sequence[StoredSession] = self.store.load_sessions(0, ALL)
        return found

    def retained(self) -> Sequence[StoredRetained]:
        found: Sequence[StoredRetained] = self.store.load_retained(("", ""), ALL)
        return found

    async def entries(self, key: int, after: int = 0, limit: int = ALL, octets: int = ALL) -> Sequence[StoredEntry]:
        found: Sequence[StoredEntry] = await self.store.load_entries(key, after, limit, octets)
        return found

    async def numbers(self, key: int, **how: int) -> list[int]:
        return [each.row.number for each in await self.entries(key, **how)]

    def put_entries(self, key: int, numbers: Iterable[int], **changes: Any) -> Deferred[None]:
        """A session with entries, each with a message of its own whose key is the number."""
        numbers = list(numbers)
        return self.commit(
            writers=[WriterRow(1, b"{}")],
            messages=[message(number) for number in numbers],
            sessions=[session(key)],
            entries=[entry(key, number, number, **changes) for number in numbers],
        )

    # The tests.

    def test_provides_the_interfaces(self) -> None:
        """A store has all that the broker calls."""
        store = self.make_store()
        self.assertTrue(verifyObject(ISessionStore, store))
        self.assertTrue(verifyObject(IRetainedStore, store))

    async def test_empty(self) -> None:
        """A new store holds nothing and has lost nothing."""
        store = self.open_store()
        self.assertEqual(list(self.sessions()), [])
        self.assertEqual(list(self.retained()), [])
        self.assertEqual(list(await self.entries(1)), [])
        self.assertEqual(list(await store.load_incoming(1)), [])
        self.assertEqual(list(store.losses()), [])
        self.assertEqual(store.highest(), (0, 0, 0, 0))

    async def test_every_field_comes_back(self) -> None:
        """Whatever the broker hands over is the same after a restart."""
        self.open_store()
        facts, at = b'{"n":"\\u0000"}', 1e9 + 0.25
        full = session(7, "schön/☃", namespace="n", expiry=0.5, left_at=at, facts=facts, will=b"{}", will_due=2.5)
        filters = [
            subscription(7, "a/+/#", qos=2, no_local=True, retain_as_published=True, retain_handling=2, identifier=9),
            subscription(7, "$share/g/ü"),
        ]
        body = message(
            2**40, payload=bytes(range(256)), properties=b"\x01\x00", expires_at=5.5, namespace="n", retain=True
        )
        bare = message(5, payload=b"", properties=b"", qos=2)
        rows = [
            entry(7, 2**41, 2**40, qos=2, retain=True, identifiers="1,268435455", share="$share/g/ü", packet_id=65535),
            entry(7, 2**41 + 1, 0, packet_id=3, released=12),
            entry(7, 2**41 + 2, 5),
        ]
        await self.commit(
            writers=[WriterRow(1, b'{"name":"x"}')],
            messages=[body, bare],
            sessions=[full],
            subscriptions=filters,
            entries=rows,
            incoming=[(7, 65535), (7, 1)],
        )
        store = await self.reopen()
        (found,) = self.sessions()
        filters.sort(key=lambda row: row.topic_filter)
        self.assertEqual(found, StoredSession(full, filters, 3, 300, 2**41 + 2))
        self.assertEqual([type(value) for value in found.row], [type(value) for value in full])
        self.assertEqual(
            list(await self.entries(7)),
            [
                StoredEntry(rows[0], body, b'{"name":"x"}'),
                StoredEntry(rows[1], None, b""),
                StoredEntry(rows[2], bare, b'{"name":"x"}'),
            ],
        )
        self.assertTrue((await self.entries(7))[0].row.retain is True)
        self.assertEqual(list(await store.load_incoming(7)), [1, 65535])

    async def test_reads_what_was_given_before(self) -> None:
        """What is read right after a commit that nobody waited for is in it."""
        store = self.open_store()
        self.put_entries(1, [1, 2])
        self.assertEqual(self.sessions()[0].entries, 2)
        self.commit(removed=[(1, 1)], references={1: -1}, incoming=[(1, 4)])
        self.assertEqual(await self.numbers(1), [2])
        self.assertEqual(list(await store.load_incoming(1)), [4])

    async def test_commits_are_done_in_their_order(self) -> None:
        """A commit is never done before one that was given earlier."""
        self.open_store()
        done: list[int] = []
        for number in range(50):
            last = self.put_entries(1, [number + 1])
            last.addCallback(_then(done.append, number))
        await last
        self.assertEqual(done, list(range(50)))
        await self.reopen()
        self.assertEqual(await self.numbers(1), list(range(1, 51)))

    async def test_rows_are_put_in_place(self) -> None:
        """A row of the same key replaces the old one whole."""
        self.open_store()
        await self.put_entries(1, [1, 2])
        await self.commit(subscriptions=[subscription(1, "a"), subscription(1, "b")])
        await self.commit(
            sessions=[session(1, left_at=5.0)],
            subscriptions=[subscription(1, "a", qos=2)],
            entries=[entry(1, 1, 1, packet_id=9)],
        )
        (found,) = self.sessions()
        self.assertEqual(found.row.left_at, 5.0)
        self.assertEqual([row.qos for row in found.subscriptions], [2, 1])
        self.assertEqual([each.row.packet_id for each in await self.entries(1)], [9, 0])

    async def test_deletions(self) -> None:
        """What is deleted is gone, and what is not there may be deleted as well."""
        store = self.open_store()
        await self.put_entries(1, range(1, 6))
        await self.commit(
            subscriptions=[subscription(1, "a"), subscription(1, "b")],
            incoming=[(1, 1), (1, 2)],
            messages=[message(9)],
            retained=[RetainedRow("", "t", 9)],
        )
        await self.commit(
            unsubscribed=[(1, "a"), (1, "x"), (2, "b")],
            removed=[(1, 2), (1, 4), (1, 99), (2, 1)],
            references={2: -1, 4: -1, 9: -1},
            completed=[(1, 2), (1, 7)],
            forgotten=[("", "t"), ("n", "t")],
        )
        await self.reopen()
        store = self.store
        self.assertEqual([row.topic_filter for row in self.sessions()[0].subscriptions], ["b"])
        self.assertEqual(await self.numbers(1), [1, 3, 5])
        self.assertEqual(list(await store.load_incoming(1)), [1])
        self.assertEqual(list(self.retained()), [])

    async def test_later_batches_win(self) -> None:
        """Batches that are given in one go have the same effect as one after the other."""
        store = self.open_store()
        self.put_entries(1, [1])
        self.commit(unsubscribed=[(1, "a")], subscriptions=[subscription(1, "b")], forgotten=[("", "t")])
        self.commit(subscriptions=[subscription(1, "a")], messages=[message(8)], retained=[RetainedRow("", "t", 8)])
        self.commit(unsubscribed=[(1, "b")], incoming=[(1, 1)], removed=[(1, 1)], references={1: -1})
        self.commit(completed=[(1, 1)], messages=[message(9, 3)], entries=[entry(1, 2, 9)])
        self.commit(incoming=[(1, 1)], references={9: -1})
        await self.commit(sessions=[session(1, name="z")])
        (found,) = self.sessions()
        self.assertEqual([row.topic_filter for row in found.subscriptions], ["a"])
        self.assertEqual((found.entries, found.row.name), (1, "z"))
        self.assertEqual(list(await store.load_incoming(1)), [1])
        self.assertEqual([each.message.id for each in self.retained()], [8])
        self.assertEqual([each.message.references for each in await self.entries(1) if each.message], [2])

    async def test_a_body_is_there_while_it_is_referred_to(self) -> None:
        """One message in three queues is there until the last has let go of it."""
        self.open_store()
        keys = [1, 2, 3]
        await self.commit(
            writers=[WriterRow(1, b"{}")],
            messages=[message(4, 3)],
            sessions=[session(key) for key in keys],
            entries=[entry(key, 1, 4) for key in keys],
        )
        for left in (2, 1):
            await self.commit(removed=[(left + 1, 1)], references={4: -1})
            (found,) = await self.entries(1)
            self.assertEqual(found.message, message(4, left))
        await self.commit(references={4: 5})
        (found,) = await self.entries(1)
        self.assertEqual(found.message, message(4, 6))

    async def test_released_entries_have_no_message(self) -> None:
        """Once PUBREC has come, the entry waits for PUBCOMP alone, in the order of the PUBRECs."""
        self.open_store()
        await self.put_entries(1, [1, 2], qos=2, packet_id=5)
        await self.commit(entries=[entry(1, 1, 0, qos=2, packet_id=5, released=1, octets=0)], references={1: -1})
        await self.reopen()
        found = await self.entries(1)
        self.assertEqual([(each.row.released, each.message is None) for each in found], [(1, True), (0, False)])
        self.assertEqual(self.sessions()[0].octets, 100)

    async def test_ended_sessions_take_all_with_them(self) -> None:
        """When a session ends, its queue goes too; a message that another still has, stays."""
        store = self.open_store()
        await self.put_entries(1, range(1, 2000))
        await self.commit(
            sessions=[session(2)],
            entries=[entry(2, 1, 7)],
            references={7: 1},
            subscriptions=[subscription(1, "a")],
            incoming=[(1, 1)],
        )
        await self.commit(ended=[1], sessions=[session(3)])
        self.assertEqual([each.row.key for each in self.sessions()], [2, 3])
        self.assertEqual(list(await self.entries(1)), [])
        self.assertEqual(list(await store.load_incoming(1)), [])
        await self.reopen()
        self.assertEqual([each.row.key for each in self.sessions()], [2, 3])
        self.assertEqual([each.message.id for each in await self.entries(2) if each.message], [7])
        await self.commit(sessions=[session(1)])
        self.assertEqual(self.sessions()[0], StoredSession(session(1), [], 0, 0, 0))

    async def test_ended_sessions_leave_to_others_what_is_theirs(self) -> None:
        """A message of a session that ends goes to another one in the same batch, as with shared subscriptions."""
        self.open_store()
        await self.put_entries(1, [1])
        await self.commit(ended=[1], sessions=[session(2)], entries=[entry(2, 1, 1)], references={1: 1})
        self.assertEqual([each.message.id for each in await self.entries(2) if each.message], [1])
        await self.reopen()
        self.assertEqual([each.message.id for each in await self.entries(2) if each.message], [1])

    async def test_highest(self) -> None:
        """After a restart the broker gives out keys and numbers that nothing has."""
        self.open_store()
        await self.commit(
            writers=[WriterRow(6, b"{}")],
            messages=[message(70, 2, writer=6)],
            sessions=[session(3), session(4)],
            entries=[entry(3, 1, 70), entry(3, 2, 70), entry(4, 1, 0, released=8)],
        )
        self.assertEqual((await self.reopen()).highest(), Highest(4, 70, 6, 8))

    async def test_pages_of_sessions(self) -> None:
        """A start reads sessions in pages, each one once, with the counts of its own entries."""
        store = self.open_store()
        for key in (3, 1, 7, 5):
            await self.put_entries(key, range(key * 100, key * 101))
            await self.commit(subscriptions=[subscription(key, f"f/{key}")])
        found: list[StoredSession] = []
        while page := store.load_sessions(found[-1].row.key if found else 0, 2):
            self.assertTrue(len(page) <= 2)
            found += page
        self.assertEqual([(each.row.key, each.entries, each.octets) for each in found], [
            (1, 1, 100), (3, 3, 300), (5, 5, 500), (7, 7, 700),
        ])  # fmt: skip
        self.assertEqual([each.subscriptions[0].session for each in found], [1, 3, 5, 7])

    async def test_pages_of_entries(self) -> None:
        """A queue is read in pages of so many entries or so many bytes, and of one entry at least."""
        self.open_store()
        await self.put_entries(1, range(1, 11))
        await self.put_entries(2, [11])
        self.assertEqual(await self.numbers(1, limit=3), [1, 2, 3])
        self.assertEqual(await self.numbers(1, after=8), [9, 10])
        self.assertEqual(await self.numbers(1, octets=250), [1, 2, 3])
        self.assertEqual(await self.numbers(1, octets=200), [1, 2])
        self.assertEqual(await self.numbers(1, after=3, octets=1), [4])
        self.assertEqual(await self.numbers(1, after=10), [])

    async def test_retained_messages(self) -> None:
        """Retained messages come back in the order of their topics, in pages; a new one takes the old one's place."""
        store = self.open_store()
        topics = [("", "a"), ("", "a/b"), ("", "ü"), ("n", "a")]
        await self.commit(
            writers=[WriterRow(1, b'{"name":"me"}')],
            messages=[message(number, topic=topic) for number, (_, topic) in enumerate(topics, 1)],
            retained=[RetainedRow(*topic, number) for number, topic in enumerate(topics, 1)],
        )
        await self.commit(messages=[message(9, topic="a/b")], retained=[RetainedRow("", "a/b", 9)], references={2: -1})
        await self.reopen()
        store = self.store
        self.assertEqual([each.message.id for each in self.retained()], [1, 9, 3, 4])
        self.assertEqual({each.writer for each in self.retained()}, {b'{"name":"me"}'})
        self.assertEqual([each.message.id for each in store.load_retained(("", "a"), 2)], [9, 3])
        self.assertEqual([each.message.id for each in store.load_retained(("", "ü"), 2)], [4])
        self.assertEqual(list(store.load_retained(("n", "a"), 2)), [])

    async def test_many_rows(self) -> None:
        """A large batch is written whole, whatever the number of its rows."""
        self.open_store()
        for count in (1, 3, 63, 257, 5000):
            await self.put_entries(count, range(count * 10_000, count * 10_000 + count))
            self.assertEqual(len(await self.entries(count)), count)
            gone = range(count * 10_000, count * 10_000 + count - 1)
            await self.commit(removed=[(count, each) for each in gone], references=dict.fromkeys(gone, -1))
            self.assertEqual(await self.numbers(count), [count * 10_000 + count - 1])

    async def test_large_messages(self) -> None:
        """A batch with messages of any size is written whole."""
        self.open_store()
        sizes = [0, 3_000_000, 10, 600_000, 600_000, 1, 2_000_000, 1_048_576, 5]
        await self.commit(
            writers=[WriterRow(1, b"{}")],
            messages=[message(key, payload=bytes([key]) * size) for key, size in enumerate(sizes, 1)],
            sessions=[session(1)],
            entries=[entry(1, key, key) for key in range(1, len(sizes) + 1)],
        )
        found = [each.message.payload for each in await self.entries(1) if each.message]
        self.assertEqual(found, [bytes([key]) * size for key, size in enumerate(sizes, 1)])

    async def test_close_writes_what_was_given(self) -> None:
        """An orderly stop loses nothing, also of what nobody waited for."""
        self.open_store()
        for number in range(20):
            self.put_entries(1, [number + 1])
        await self.reopen()
        self.assertEqual(await self.numbers(1), list(range(1, 21)))
