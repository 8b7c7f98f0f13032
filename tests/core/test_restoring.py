"""What is there after a crash."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Purpose, Stage
from mqttsecure.store.memory import MemoryStore
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Publish, Will
from tests.support.core import Bench

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 1000}


class RestoringTests(SynchronousTestCase):
    """A process that dies, and the next one."""

    def setUp(self) -> None:
        self.bench = Bench(store=MemoryStore())

    def test_subscriptions(self) -> None:
        """With all their options."""
        reader = self.bench.connected("reader", **_KEPT)
        reader.subscribe("a/+", qos=1, no_local=True, retain_as_published=True, subscription_identifier=[7])
        reader.subscribe("$share/g/b", qos=2)
        bench = self.bench.crashed()
        writer = bench.connected("writer")
        writer.publish("a/x", b"1", qos=2, retain=True)
        writer.publish("b", b"2", qos=2)
        reader = bench.connected("reader", **_KEPT)
        first, second = reader.messages()
        self.assertEqual((first.qos, first.retain, first.properties), (1, True, {"subscription_identifier": [7]}))
        self.assertEqual((second.qos, second.payload), (2, b"2"))
        reader.publish("a/x", b"own", qos=1)
        self.assertEqual(reader.messages(), [])

    def test_message_properties(self) -> None:
        """What is forwarded comes back unaltered, and the expiry counts on."""
        self.bench.connected("reader", **_KEPT).subscribe("t", qos=1)
        self.bench.connected("writer").publish(
            "t", b"x", qos=1, message_expiry_interval=100, content_type="c", user_property=[("a", "b")]
        )
        bench = self.bench.crashed(seconds=30)
        (message,) = bench.connected("reader", **_KEPT).messages()
        self.assertEqual(
            message.properties, {"message_expiry_interval": 70, "content_type": "c", "user_property": [("a", "b")]}
        )

    def test_retained(self) -> None:
        """The last of each topic; one that has expired meanwhile is gone; one that was deleted does not come back."""
        writer = self.bench.connected("writer")
        for topic, payload in (("a", b"1"), ("a", b"2"), ("gone", b"3"), ("gone", b"")):
            writer.publish(topic, payload, qos=1, retain=True)
        writer.publish("old", b"4", retain=True, message_expiry_interval=10)
        bench = self.bench.crashed(seconds=11)
        bench.advance(1)
        reader = bench.connected("reader")
        reader.subscribe("#")
        self.assertEqual([(each.topic, each.payload) for each in reader.messages()], [("a", b"2")])
        bench.connected("writer").publish("a", b"", qos=1, retain=True)
        self.assertEqual(bench.store and bench.store.contents.messages, {})

    def test_writers_are_judged_again(self) -> None:
        """Who may write may have changed since; a writer that may no more is heard of no more."""
        self.bench.connected("reader", **_KEPT).subscribe("t", qos=1)
        self.bench.connected("writer", user="w").publish("t", b"x", qos=1)
        for permitted in (True, False):
            bench = self.bench.crashed()
            if not permitted:
                bench.chain.deny(Stage.PUBLISH)
            reader = bench.connected("reader", **_KEPT)
            self.assertEqual(reader.payloads(), [b"x"] if permitted else [])
            (question,) = bench.chain.asked(Stage.PUBLISH)
            self.assertEqual((str(question.connection.principal), question.purpose), ("users:w", Purpose.RECHECK))

    def test_owner(self) -> None:
        """Nobody else gets a session of before."""
        self.bench.connected("reader", **_KEPT)
        bench = self.bench.crashed()
        answer = bench.client().connect("reader", user="other", clean=True)
        self.assertEqual(answer and answer.reason_code, ReasonCode.CLIENT_IDENTIFIER_NOT_VALID)

    def test_expiry(self) -> None:
        """A session of a client that had left ends at its time; one that was connected has its time from now on."""
        self.bench.connected("left", **_KEPT).lose()
        self.bench.connected("here", **_KEPT)
        bench = self.bench.crashed(seconds=900)
        self.assertEqual(sorted(bench.core.state.sessions), ["here", "left"])
        bench.advance(101)
        self.assertEqual(list(bench.core.state.sessions), ["here"])
        bench.advance(900)
        self.assertEqual(list(bench.core.state.sessions), [])
        bench = self.bench.crashed(seconds=1001)
        bench.flush()
        self.assertEqual(list(bench.core.state.sessions), ["here"])
        self.assertEqual(bench.store and [row.client_id for row in bench.store.contents.sessions.values()], ["here"])

    def test_session_that_ended_with_its_connection(self) -> None:
        """One whose client resumed it for this connection alone is over."""
        self.bench.connected("c", **_KEPT).lose()
        self.bench.connected("c", user="u", clean=False)
        bench = self.bench.crashed()
        self.assertEqual(list(bench.core.state.sessions), [])

    def test_will_of_a_client_that_was_connected(self) -> None:
        """The crash has ended its connection without a word: the will is sent, after its delay."""
        self.bench.connected("reader", **_KEPT).subscribe("w/#", qos=1)
        self.bench.connected("now", will=Will("w/now", b"1", 1, False, {}), **_KEPT)
        late = Will("w/late", b"2", 1, False, {"will_delay_interval": 50})
        self.bench.connected("late", will=late, **_KEPT)
        self.bench.connected("back", will=Will("w/back", b"3", 1, False, {"will_delay_interval": 50}), **_KEPT)
        bench = self.bench.crashed()
        bench.advance(1)
        bench.connected("back", **_KEPT)
        reader = bench.connected("reader", **_KEPT)
        self.assertEqual(reader.payloads(), [b"1"])
        bench.advance(51)
        self.assertEqual(reader.payloads(), [b"2"])

    def test_waiting_will(self) -> None:
        """One that waited for its delay goes on waiting, and is sent once."""
        self.bench.connected("reader", **_KEPT).subscribe("w", qos=1)
        will = Will("w", b"x", 1, False, {"will_delay_interval": 50})
        self.bench.connected("c", will=will, **_KEPT).lose()
        bench = self.bench.crashed(seconds=20)
        bench.advance(29)
        self.assertEqual(bench.store and bench.store.contents.entries, {})
        bench.advance(2)
        self.assertEqual(bench.connected("reader", **_KEPT).acknowledge(), [b"x"])
        again = bench.crashed()
        again.advance(100)
        self.assertEqual(again.connected("reader", **_KEPT).messages(), [])

    def test_numbers_are_not_given_out_twice(self) -> None:
        """What comes after a restart is kept beside what was there."""
        reader = self.bench.connected("reader", **_KEPT)
        reader.subscribe("t", qos=1)
        reader.lose()
        bench = self.bench
        for round_ in range(3):
            bench.connected("writer", user="w").publish("t", b"%d" % round_, qos=1)
            bench = bench.crashed()
        self.assertEqual(bench.store and len(bench.store.contents.messages), 3)
        self.assertEqual(bench.connected("reader", **_KEPT).acknowledge(), [b"0", b"1", b"2"])
        self.assertEqual(bench.store and bench.store.contents.messages, {})

    def test_what_the_disk_never_got(self) -> None:
        """Was never acknowledged either; sent again it is taken once."""
        store = MemoryStore(at_once=False)
        bench = Bench(store=store)
        reader = bench.client()
        reader.connect("reader", **_KEPT)
        bench.disk()
        reader.subscribe("t", qos=2)
        bench.disk()
        writer = bench.client()
        writer.connect("writer", user="w", clean=False, session_expiry_interval=1000)
        bench.disk()
        writer.received()
        for written in (0, 1):
            writer.received()
            writer.send(Publish("t", b"%d" % written, 2, False, False, 5 + written))
            self.assertEqual(writer.inbox, [])
            after = bench.crashed(written)
            writer = after.client()
            writer.connect("writer", user="w", clean=False, session_expiry_interval=1000)
            after.disk()
            writer.send(Publish("t", b"%d" % written, 2, False, True, 5 + written))
            after.disk()
            writer.complete(5 + written)
            after.disk()
            bench = after
        reader = bench.client()
        reader.connect("reader", **_KEPT)
        bench.disk()
        self.assertEqual(reader.payloads(), [b"0", b"1"])


class DamageTests(SynchronousTestCase):
    """Rows that hold what was never written, where no database notices."""

    def damaged(self, **replaced: bytes) -> Bench:
        """What comes back of a session with a message and a will, and of a retained message."""
        bench = Bench(store=MemoryStore())
        reader = bench.connected("reader", will=Will("w", b"x", 0, False, {}), **_KEPT)
        reader.subscribe("t", qos=1)
        reader.lose()
        writer = bench.connected("writer", user="w")
        writer.publish("t", b"x", qos=1)
        writer.publish("r", b"x", qos=1, retain=True)
        store = bench.store
        if store is None:
            raise AssertionError("there is a store")
        contents = store.contents
        for key, row in contents.sessions.items():
            contents.sessions[key] = row._replace(
                facts=replaced.get("facts", row.facts), will=replaced.get("will", row.will)
            )
        for number, writing in contents.writers.items():
            contents.writers[number] = writing._replace(content=replaced.get("writer", writing.content))
        for number, message in contents.messages.items():
            contents.messages[number] = message._replace(properties=replaced.get("properties", message.properties))
        after = bench.crashed()
        after.flush()
        return after

    def test_nonsense(self) -> None:
        """Each kind of it costs what it is about, is told, and leaves nothing behind."""
        for nonsense in (b"", b"[]", b"{}", b"17", b'{"principal":7}', b"\xff\xfe"):
            for what, got, retained in (("facts", [b"x"], 1), ("will", [b"x"], 1), ("writer", [], 0)):
                bench = self.damaged(**{what: nonsense})
                self.assertEqual(bench.core.state.retained.count, retained, (what, nonsense))
                bench.connected("other", user="o").publish("t", b"y", qos=1)
                reader = bench.connected("reader", **_KEPT)
                self.assertEqual(reader.acknowledge(), [*got, b"y"], (what, nonsense))
                bench.check_nothing_left(self)

    def test_properties(self) -> None:
        """Properties that are none."""
        bench = self.damaged(properties=b"\xff\xff")
        self.assertEqual(bench.connected("reader", **_KEPT).messages(), [])
        self.assertEqual(bench.store and bench.store.contents.messages, {})
        self.assertEqual(bench.core.counters.messages_dropped, 2)
