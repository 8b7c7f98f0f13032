"""What is written for what the core does, and what is not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.records import Batch
from mqttsecure.store.memory import Contents, MemoryStore
from mqttsecure.wire.packets import Connack, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Will
from tests.support.core import WALL, Bench, Client

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 1000}


class Slow(MemoryStore):
    """A store that writes when it is told to, and remembers the batches."""

    def __init__(self) -> None:
        super().__init__(at_once=False)
        self.batches: list[Batch] = []

    def commit(self, batch: Batch):  # type: ignore[no-untyped-def]  # as the original
        self.batches.append(batch)
        return super().commit(batch)


class JournalCase(SynchronousTestCase):
    """A durable reader of ``t`` and ``q``, and a writer that keeps nothing."""

    def setUp(self) -> None:
        self.store = Slow()
        self.bench = Bench(store=self.store)
        self.reader = self.join("reader")
        self.reader.subscribe("t", qos=2)
        self.settle()
        self.writer = self.bench.connected("writer")
        self.store.batches.clear()
        self.reader.received()

    def join(self, name: str) -> Client:
        client = self.bench.client()
        client.connect(name, **_KEPT)
        self.settle()
        return client

    def settle(self) -> None:
        """The disk catches up."""
        while self.store.pending:
            self.bench.disk()

    @property
    def contents(self) -> Contents:
        return self.store.contents


class GateTests(JournalCase):
    """Nothing is promised that is not on disk."""

    def test_connack(self) -> None:
        """For a durable session; for one that ends with its connection there is nothing to wait for."""
        client = self.bench.client()
        client.connect("other", **_KEPT)
        self.assertEqual(client.inbox, [])
        self.settle()
        self.assertEqual([type(each) for each in client.received()], [Connack])
        self.bench.connected("plain")

    def test_suback_and_unsuback(self) -> None:
        """For a durable session."""
        self.reader.subscribe("u")
        self.reader.unsubscribe("t")
        self.assertEqual(self.reader.inbox, [])
        self.settle()
        self.assertEqual(len(self.reader.received()), 2)
        self.assertEqual([key[1] for key in self.contents.subscriptions], ["u"])

    def test_puback(self) -> None:
        """For a message to a durable session, and for a retained one."""
        first = self.writer.publish("t", b"x", qos=1)
        second = self.writer.publish("r", b"x", qos=1, retain=True)
        third = self.writer.publish("nobody", b"x", qos=1)
        self.assertEqual(self.writer.inbox, [])
        self.settle()
        self.assertEqual([each.packet_id for each in self.writer.take(Puback)], [first, second, third])

    def test_qos_2_from_a_durable_client(self) -> None:
        """PUBREC waits for the Packet Identifier, PUBCOMP for its end."""
        client = self.join("other")
        client.received()
        packet_id = client.publish("nobody", b"x", qos=2)
        self.assertEqual(client.inbox, [])
        self.settle()
        self.assertEqual([type(each) for each in client.received()], [Pubrec])
        self.assertEqual(len(self.contents.incoming), 1)
        client.complete(packet_id)
        self.assertEqual(client.inbox, [])
        self.settle()
        self.assertEqual([type(each) for each in client.received()], [Pubcomp])
        self.assertEqual(len(self.contents.incoming), 0)

    def test_qos_2_to_a_durable_client(self) -> None:
        """PUBLISH waits for its Packet Identifier, PUBREL for what PUBREC said."""
        self.writer.publish("t", b"x", qos=2)
        self.assertEqual(self.reader.inbox, [])
        self.settle()
        (message,) = self.reader.messages()
        ((_, row),) = self.contents.entries.items()
        self.assertEqual((row.packet_id, row.released), (message.packet_id, 0))
        self.reader.send(Pubrec(message.packet_id))
        self.assertEqual(self.reader.inbox, [])
        self.settle()
        self.assertEqual([type(each) for each in self.reader.received()], [Pubrel])
        ((_, row),) = self.contents.entries.items()
        self.assertEqual((row.released > 0, row.message), (True, 0))
        self.assertEqual(self.contents.messages, {})
        self.reader.send(Pubcomp(message.packet_id))
        self.settle()
        self.assertEqual(self.contents.entries, {})

    def test_qos_1_goes_at_once(self) -> None:
        """It may come twice anyhow."""
        self.writer.publish("t", b"x", qos=1)
        self.assertEqual(self.reader.payloads(), [b"x"])

    def test_a_client_that_does_not_wait(self) -> None:
        """It is read no more once it has sent as much as it may have open, and read on when the disk has caught up."""
        for number in range(1002):
            self.writer.publish("t", b"%d" % number, qos=1)
        self.assertFalse(self.writer.connection.reading)
        self.settle()
        self.assertTrue(self.writer.connection.reading)
        self.assertEqual(len(self.writer.take(Puback)), 1002)

    def test_the_end_of_a_connection(self) -> None:
        """What it was not told is told nobody, and nothing is left of it."""
        self.writer.publish("t", b"x", qos=1)
        self.writer.lose()
        self.settle()
        self.assertEqual(self.writer.inbox, [])
        self.assertEqual(len(self.bench.core.state.gated), 0)

    def test_order_in_a_mixture(self) -> None:
        """All that waits on one connection keeps its order."""
        self.reader.publish("t", b"1", qos=1)
        self.reader.subscribe("u")
        self.reader.publish("nobody", b"2", qos=1)
        self.settle()
        kinds = [type(each) for each in self.reader.received() if not isinstance(each, Publish)]
        self.assertEqual(kinds, [Puback, Suback, Puback])


class AnnihilationTests(JournalCase):
    """What comes and goes before it is written leaves no trace."""

    def quiet(self) -> None:
        """Have the core's changes stay in its journal for now."""
        self.patch(self.bench, "_keep", lambda: False)

    def test_acknowledged_in_time(self) -> None:
        """Nothing is written for a message that its reader has."""
        self.quiet()
        self.writer.publish("t", b"x", qos=1)
        journal = self.bench.core.state.journal
        self.assertEqual((journal.is_empty(), journal.hopeful, journal.unsettled), (False, 1, 1))
        self.reader.acknowledge()
        self.assertEqual((journal.hopeful, journal.unsettled), (0, 0))
        self.assertTrue(journal.is_empty())
        self.assertEqual(journal.settled_to(), journal.changes)

    def test_one_of_two_readers(self) -> None:
        """The body is written with the one that is left, once."""
        other = self.join("other")
        other.subscribe("t", qos=1)
        self.settle()
        self.quiet()
        self.writer.publish("t", b"x", qos=1)
        self.reader.acknowledge()
        batch = self.bench.core.take_batch(self.bench.now, WALL + self.bench.now)
        self.assertEqual(([row.references for row in batch.messages], len(batch.entries)), ([1], 1))

    def test_settled_in_order(self) -> None:
        """A later change that is undone does not count before an earlier one that is not."""
        other = self.join("other")
        other.subscribe("o", qos=1)
        self.settle()
        self.quiet()
        journal = self.bench.core.state.journal
        self.writer.publish("t", b"x", qos=1)
        first = journal.changes
        self.writer.publish("o", b"y", qos=1)
        other.acknowledge()
        self.assertEqual(journal.settled_to(), first - 1)
        self.reader.acknowledge()
        self.assertEqual(journal.settled_to(), journal.changes)


class RowTests(JournalCase):
    """What the rows say."""

    def test_one_body_for_all(self) -> None:
        """A message for three sessions and retained is one row with four references, which go one by one."""
        for name in ("b", "c"):
            client = self.join(name)
            client.subscribe("t", qos=1)
            self.settle()
            client.lose()
        self.reader.lose()
        self.writer.publish("t", b"x", qos=1, retain=True)
        self.settle()
        self.assertEqual([row.references for row in self.contents.messages.values()], [4])
        back: list[Client] = []
        for name, left in (("b", 3), ("c", 2)):
            back.append(self.join(name))
            back[-1].acknowledge()
            self.settle()
            self.assertEqual([row.references for row in self.contents.messages.values()], [left])
        self.writer.publish("t", b"", qos=1, retain=True)
        self.settle()
        for client in (*back, self.join("reader")):
            client.acknowledge()
        self.settle()
        self.assertEqual((self.contents.messages, self.contents.entries), ({}, {}))

    def test_wall_clock(self) -> None:
        """Times are those of day."""
        self.writer.publish("t", b"x", qos=1, message_expiry_interval=50)
        self.reader.lose()
        self.settle()
        (message,) = self.contents.messages.values()
        (session,) = self.contents.sessions.values()
        self.assertEqual(message.expires_at, self.bench.now + WALL + 50)
        self.assertEqual(session.left_at, self.bench.now + WALL)

    def test_will(self) -> None:
        """It is there from CONNECT on, has a time once its client is away, and is gone when it was sent."""
        will = Will("w", b"x", 1, False, {"will_delay_interval": 10})
        client = self.bench.client()
        client.connect("other", will=will, **_KEPT)
        self.settle()
        row = next(row for row in self.contents.sessions.values() if row.client_id == "other")
        self.assertTrue(row.will is not None and row.will_due is None)
        client.lose()
        self.settle()
        row = self.contents.sessions[row.key]
        self.assertEqual(row.will_due, self.bench.now + WALL + 10)
        self.bench.advance(11)
        self.settle()
        self.assertIsNone(self.contents.sessions[row.key].will)

    def test_session_ends(self) -> None:
        """With it goes all that is its own."""
        self.reader.lose()
        self.writer.publish("t", b"x", qos=1)
        self.settle()
        self.bench.advance(1001)
        self.settle()
        contents = self.contents
        self.assertEqual((contents.sessions, contents.subscriptions, contents.entries, contents.messages), ({},) * 4)

    def test_clean_start(self) -> None:
        """A new session under the same Client Identifier has a key of its own."""
        (before,) = self.contents.sessions
        client = self.bench.client()
        client.connect("reader", user="u", clean=True, session_expiry_interval=1000)
        self.settle()
        (after,) = self.contents.sessions
        self.assertGreater(after, before)
        self.assertEqual(self.contents.subscriptions, {})

    def test_the_brokers_own(self) -> None:
        """$SYS is not kept."""
        self.bench.publish("$SYS/broker/x", b"1", retain=True)
        self.settle()
        self.assertEqual(self.contents.retained, {})
