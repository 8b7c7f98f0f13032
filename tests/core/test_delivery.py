# -*- test-case-name: tests.core.test_delivery -*-
"""The one delivery path: who gets what, in which form, by whose leave."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import CapQos, Disconnect, Purpose, Stage
from mqttsecure.core.events import Dropped
from mqttsecure.core.limits import Limits
from mqttsecure.wire.packets import Puback, Publish, Pubrec, Will
from tests.support.core import Bench, CountingMeter

_KEPT = {"user": "u", "clean": False, "session_expiry_interval": 1000}


class FormTests(SynchronousTestCase):
    """What a subscriber gets to see."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.writer = self.bench.connected("writer")

    def test_lowest_qos(self) -> None:
        """A message goes out with the lower of its QoS and that of the subscription."""
        readers = {}
        for qos in (0, 1, 2):
            readers[qos] = self.bench.connected(f"r{qos}")
            readers[qos].subscribe("t", qos=qos)
        for sent in (0, 1, 2):
            for _ in range(3):
                self.writer.publish("t", qos=sent)
            for granted, reader in readers.items():
                self.assertEqual([each.qos for each in reader.messages()], [min(sent, granted)] * 3)

    def test_versions_mix(self) -> None:
        """Clients of all versions read each other; properties reach those who know them."""
        readers = {version: self.bench.connected(f"r{version}", version) for version in (3, 4, 5)}
        writers = {version: self.bench.connected(f"w{version}", version) for version in (3, 4, 5)}
        for reader in readers.values():
            reader.subscribe("t", qos=1)
        for version, writer in writers.items():
            for qos in (0, 1):
                for _ in range(4):
                    writer.publish("t", b"x" * 10, qos=qos)
                    writer.publish("t", b"", qos=qos)
                    writer.publish("t", b"y" * 200, qos=qos)
                if version == 5:
                    writer.publish("t", b"z", qos=qos, content_type="text/plain")
        expected = ([b"x" * 10, b"", b"y" * 200] * 8) * 2 + (([b"x" * 10, b"", b"y" * 200] * 4 + [b"z"]) * 2)
        for version, reader in readers.items():
            messages = reader.messages()
            self.assertEqual([each.payload for each in messages], expected)
            given = [each.properties for each in messages if each.properties]
            self.assertEqual(given, [{"content_type": "text/plain"}] * 2 if version == 5 else [])

    def test_batches_of_each_version(self) -> None:
        """Many messages in one segment reach readers of both formats whole and in order."""
        readers = {version: self.bench.connected(f"r{version}", version) for version in (4, 5)}
        for reader in readers.values():
            reader.subscribe("t")
        for version in (4, 5):
            writer = self.bench.connected(f"w{version}", version)
            packets = [Publish("t", b"%03d" % number) for number in range(100)]
            packets += [Publish("t", b"x" * 125), Publish("t", b"y" * 126), Publish("t", b"z" * 300)]
            for _ in range(3):
                writer.publish("t", b"warm up")
            for reader in readers.values():
                reader.received()
            writer.send(*packets)
            for reader in readers.values():
                self.assertEqual(reader.messages(), packets)

    def test_all_properties_pass_in_order(self) -> None:
        """Request and response, content and user properties go on unaltered, user properties in their order."""
        reader = self.bench.connected("reader")
        reader.subscribe("t", qos=2)
        properties = {
            "payload_format_indicator": 1,
            "content_type": "text/plain",
            "response_topic": "answers/1",
            "correlation_data": b"\x00\x01",
            "user_property": [("b", "1"), ("a", "2"), ("b", "1")],
        }
        for qos in (0, 1, 2):
            self.writer.publish("t", b"question", qos=qos, **properties)
        self.assertEqual([each.properties for each in reader.messages()], [properties] * 3)

    def test_retain_as_published(self) -> None:
        """RETAIN is passed on to those who asked for it, and 0 for all others."""
        plain, keeping = self.bench.connected("plain"), self.bench.connected("keeping")
        plain.subscribe("t")
        keeping.subscribe("t", retain_as_published=True)
        for retain in (True, False, True, False):
            self.writer.publish("t", b"x", retain=retain)
        self.assertEqual([each.retain for each in plain.messages()], [False] * 4)
        self.assertEqual([each.retain for each in keeping.messages()], [True, False, True, False])

    def test_no_local(self) -> None:
        """No Local: own messages do not come back, not from the store of retained ones either."""
        client = self.bench.connected("c")
        client.subscribe("t", no_local=True)
        for _ in range(3):
            client.publish("t", b"own", retain=True)
            self.writer.publish("t", b"other")
        self.assertEqual(client.payloads(), [b"other"] * 3)
        client.subscribe("t", no_local=True)
        self.assertEqual(client.payloads(), [])
        self.writer.publish("t", b"other", retain=True)
        client.received()
        client.subscribe("t", no_local=True)
        self.assertEqual(client.payloads(), [b"other"])

    def test_bridges(self) -> None:
        """A bridge of 3.x gets nothing back that it brought, and RETAIN as it was published."""
        bridge = self.bench.connected("bridge", 4, bridge=True)
        bridge.subscribe("t")
        bridge.publish("t", b"own")
        self.writer.publish("t", b"other", retain=True)
        self.assertEqual([(each.payload, each.retain) for each in bridge.messages()], [(b"other", True)])

    def test_overlapping(self) -> None:
        """Overlapping filters give one message, at their highest QoS, with all their identifiers."""
        reader = self.bench.connected("reader")
        reader.subscribe("t/#", qos=0, subscription_identifier=[3])
        reader.subscribe("t/+", qos=2, subscription_identifier=[5])
        reader.subscribe("#", qos=1)
        for _ in range(2):
            self.writer.publish("t/1", qos=2)
        for message in reader.messages():
            self.assertEqual(message.qos, 2)
            self.assertCountEqual(message.properties["subscription_identifier"], [3, 5])

    def test_expiry(self) -> None:
        """The remaining time goes on; a message whose time is over does not."""
        reader = self.bench.connected("reader", **_KEPT)
        reader.subscribe("t", qos=1)
        reader.lose()
        self.writer.publish("t", b"short", qos=1, message_expiry_interval=5)
        self.writer.publish("t", b"long", qos=1, message_expiry_interval=50)
        self.bench.advance(10)
        reader = self.bench.connected("reader", **_KEPT)
        (message,) = reader.messages()
        self.assertEqual((message.payload, message.properties), (b"long", {"message_expiry_interval": 40}))
        self.assertEqual(self.bench.core.counters.messages_expired, 1)
        self.assertEqual(self.bench.core.state.queued_octets, 0)

    def test_topic_aliases_to_clients(self) -> None:
        """A client that takes aliases is told each topic once, as far as its maximum goes."""
        reader = self.bench.connected("reader", topic_alias_maximum=2)
        reader.subscribe("#")
        for topic in ("a", "b", "c", "a", "b", "c"):
            self.writer.publish(topic)
        told = [(each.topic, each.properties.get("topic_alias")) for each in reader.messages()]
        self.assertEqual(told, [("a", 1), ("b", 2), ("c", None), ("", 1), ("", 2), ("c", None)])

    def test_maximum_packet_size(self) -> None:
        """What is larger than a client takes is not sent to it, and its QoS 1 message counts as done."""
        for qos in (0, 1):
            bench = Bench()
            small = bench.connected("small", maximum_packet_size=100, receive_maximum=1)
            small.subscribe("t", qos=1)
            large = bench.connected("large")
            large.subscribe("t")
            writer = bench.connected("writer")
            size = 100 - (6 if qos == 0 else 8)
            for payload in (b"x" * (size + 1), b"y" * size) * 3:
                writer.publish("t", payload, qos=qos)
                self.assertEqual(small.acknowledge(), [payload] if len(payload) == size else [])
            self.assertEqual(len(large.messages()), 6)
            self.assertEqual(bench.core.counters.messages_dropped, 3)

    def test_maximum_packet_size_and_alias(self) -> None:
        """A message that fits without a new Topic Alias, and not with it, is sent without."""
        reader = self.bench.connected("reader", maximum_packet_size=40, topic_alias_maximum=5)
        reader.subscribe("t")
        for payload in (b"x" * 34, b"x" * 35, b"x" * 31, b"x" * 32):
            self.writer.publish("t", payload)
        told = [(len(each.payload), each.topic, each.properties) for each in reader.messages()]
        self.assertEqual(told, [(34, "t", {}), (31, "t", {"topic_alias": 1}), (32, "", {"topic_alias": 1})])


class RightsTests(SynchronousTestCase):
    """Every path that reaches a client asks the DELIVER stage."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.writer = self.bench.connected("writer", user="w")

    def test_live(self) -> None:
        """A reader that may not have a message does not get it, the others do, on every way through the broker."""
        self.bench.chain.deny(Stage.DELIVER, topic="t", client="denied")
        for version in (4, 5):
            for qos in (0, 1, 2):
                denied = self.bench.connected("denied", version)
                denied.subscribe("t", qos=qos)
                reader = self.bench.connected("reader", version)
                reader.subscribe("t", qos=qos)
                for _ in range(4):
                    self.writer.publish("t", b"x", qos=qos)
                    self.writer.publish("t", b"x", qos=qos, content_type="c")
                self.assertEqual(denied.messages(), [])
                self.assertEqual(len(reader.acknowledge()), 8)
                denied.lose()
                reader.lose()
        self.assertIn((Stage.DELIVER, "t"), self.bench.denied)

    def test_the_question(self) -> None:
        """The chain is told reader, writer, topic, QoS and RETAIN as they are sent, once for all like messages."""
        reader = self.bench.connected("reader")
        reader.subscribe("t", qos=1)
        for _ in range(5):
            self.writer.publish("t", b"x", qos=2)
        (request,) = self.bench.chain.asked(Stage.DELIVER)
        self.assertIs(request.connection, reader.connection.facts)
        self.assertEqual((request.topic, request.qos, request.retain, request.payload), ("t", 1, False, b"x"))
        assert request.writer is not None
        self.assertEqual((str(request.writer.principal), request.writer.client_id), ("users:w", "writer"))

    def test_retained(self) -> None:
        """Retained messages are asked about when they are sent to a new subscriber."""
        self.writer.publish("t", b"x", retain=True)
        self.writer.publish("u", b"y", retain=True)
        self.bench.chain.deny(Stage.DELIVER, topic="t", client="reader")
        reader = self.bench.connected("reader")
        reader.subscribe("#")
        self.assertEqual(reader.payloads(), [b"y"])

    def test_queued(self) -> None:
        """Messages that waited for a client are asked about when it is back: rights may be lost meanwhile."""
        reader = self.bench.connected("reader", **_KEPT)
        reader.subscribe("#", qos=1)
        reader.lose()
        self.writer.publish("t", b"x", qos=1)
        self.writer.publish("u", b"y", qos=1)
        self.bench.chain.deny(Stage.DELIVER, topic="t")
        reader = self.bench.connected("reader", **_KEPT)
        self.assertEqual(reader.payloads(), [b"y"])
        self.assertEqual(self.bench.core.state.queued_octets, 0)

    def test_sent_again(self) -> None:
        """An unacknowledged message is not sent again to who may not have it any more."""
        reader = self.bench.connected("reader", **_KEPT)
        reader.subscribe("#", qos=2)
        for topic in ("t", "u"):
            self.writer.publish(topic, topic.encode(), qos=2)
        reader.lose()
        self.bench.chain.deny(Stage.DELIVER, topic="t")
        reader = self.bench.connected("reader", **_KEPT)
        (message,) = reader.messages()
        self.assertEqual((message.payload, message.dup, message.packet_id), (b"u", True, 2))

    def test_will(self) -> None:
        """A will reaches only those who may read it."""
        self.bench.chain.deny(Stage.DELIVER, topic="w", client="denied")
        clients = [self.bench.connected(name) for name in ("denied", "reader")]
        for client in clients:
            client.subscribe("w")
        self.bench.connected("dying", will=Will("w", b"gone")).lose()
        self.assertEqual([client.payloads() for client in clients], [[], [b"gone"]])

    def test_new_policies(self) -> None:
        """When the policies change, each reader is asked about anew, and the writer of older messages too."""
        reader = self.bench.connected("reader")
        for qos in (0, 1):
            reader.subscribe("t", qos=qos)
            for _ in range(4):
                self.writer.publish("t", b"x", qos=qos)
        reader.received()
        self.writer.publish("kept", b"x", retain=True)
        self.bench.chain.deny(Stage.DELIVER, topic="t")
        self.bench.change_policy()
        for qos in (0, 1):
            self.writer.publish("t", b"x", qos=qos)
        self.assertEqual(reader.messages(), [])
        reader.subscribe("kept")
        self.assertEqual(reader.payloads(), [b"x"])
        recheck = [each for each in self.bench.chain.asked(Stage.PUBLISH) if each.purpose is Purpose.RECHECK]
        self.assertEqual([each.topic for each in recheck], ["kept"])
        self.assertEqual(str(recheck[0].connection.principal), "users:w")

    def test_writer_lost_its_right(self) -> None:
        """Messages that wait or are kept are not delivered once their writer may not write them any more."""
        reader = self.bench.connected("reader", **_KEPT)
        reader.subscribe("t", qos=1)
        reader.lose()
        self.writer.publish("t", b"queued", qos=1, retain=True)
        self.bench.chain.deny(Stage.PUBLISH)
        self.bench.change_policy()
        reader = self.bench.connected("reader", **_KEPT)
        reader.subscribe("t")
        self.assertEqual(reader.messages(), [])
        self.assertEqual(self.bench.denied, [(Stage.PUBLISH, "t")] * 2)

    def test_valid_until(self) -> None:
        """A permission, and a denial, hold until their time, on the short ways too."""
        reader = self.bench.connected("reader")
        reader.subscribe("t", qos=1)
        for qos in (0, 1):
            permit = self.bench.chain.oblige(Stage.DELIVER, valid_until=self.bench.now + 10)
            for _ in range(4):
                self.writer.publish("t", b"in time", qos=qos)
            self.assertEqual(len(reader.acknowledge()), 4)
            self.bench.chain.forget(permit)
            deny = self.bench.chain.deny(Stage.DELIVER, valid_until=self.bench.now + 20)
            self.bench.advance(10)
            for _ in range(4):
                self.writer.publish("t", b"too late", qos=qos)
            self.assertEqual(reader.messages(), [])
            self.bench.chain.forget(deny)
            self.bench.advance(10)
            self.writer.publish("t", b"again", qos=qos)
            self.assertEqual(reader.acknowledge(), [b"again"])
            self.bench.change_policy()

    def test_residual_and_meters(self) -> None:
        """What must be asked or counted for each message is, for each reader."""

        def residual(request):
            if request.payload == b"bad":
                return self.bench.chain.refuse(request)
            return self.bench.chain.permit(request, residual=residual)

        self.bench.chain.oblige(Stage.DELIVER, client="picky", residual=residual)
        self.bench.chain.oblige(Stage.DELIVER, client="limited", meters=(CountingMeter(2),))
        clients = [self.bench.connected(name) for name in ("picky", "limited", "free")]
        for client in clients:
            client.subscribe("t")
        for payload in (b"1", b"2", b"bad", b"4"):
            self.writer.publish("t", payload)
        self.assertEqual(
            [client.payloads() for client in clients], [[b"1", b"2", b"4"], [b"1", b"2"], [b"1", b"2", b"bad", b"4"]]
        )
        self.assertEqual(self.bench.core.counters.deliveries_denied, 3)

    def test_cap_qos(self) -> None:
        """A policy may lower the QoS of what is delivered, live and from the queue."""
        self.bench.chain.oblige(Stage.DELIVER, CapQos(1), topic="t")
        self.bench.chain.oblige(Stage.DELIVER, CapQos(0), topic="u")
        reader = self.bench.connected("reader", **_KEPT)
        reader.subscribe("#", qos=2)
        for topic in ("t", "u"):
            self.writer.publish(topic, qos=2)
        self.assertEqual([each.qos for each in reader.messages()], [1, 0])
        reader.lose()
        for topic in ("t", "v"):
            self.writer.publish(topic, qos=2)
        self.bench.chain.oblige(Stage.DELIVER, CapQos(0), topic="v")
        reader = self.bench.connected("reader", **_KEPT)
        self.assertEqual(
            [(each.topic, each.qos, each.dup) for each in reader.messages()],
            [("t", 1, True), ("t", 1, False), ("v", 0, False)],
        )

    def test_denied_with_disconnect(self) -> None:
        """A policy may end the reader's connection with its denial."""
        self.bench.chain.deny(Stage.DELIVER, Disconnect(), client="reader", reason_code=0x98)
        reader = self.bench.connected("reader")
        reader.subscribe("t")
        self.writer.publish("t")
        self.assertEqual((reader.closed, reader.goodbye), (True, 0x98))


class FlowTests(SynchronousTestCase):
    """How much is under way to a client at once."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(maximum_inflight=5))
        self.writer = self.bench.connected("writer")

    def test_receive_maximum(self) -> None:
        """No more unacknowledged messages go out than the client takes; each acknowledgement lets the next go."""
        for version, properties, expected in ((5, {"receive_maximum": 2}, 2), (5, {}, 5), (4, {}, 5)):
            reader = self.bench.connected("reader", version, **properties)
            reader.subscribe("t", qos=2)
            for number in range(8):
                self.writer.publish("t", b"%d" % number, qos=1 + number % 2)
            got = reader.messages()
            self.assertEqual(len(got), expected)
            while got:
                message = got.pop(0)
                if message.qos == 1:
                    reader.send(Puback(message.packet_id))
                else:
                    reader.send(Pubrec(message.packet_id))
                    self.assertEqual(reader.messages(), [])  # not settled yet
                    reader.send_bytes(b"\x70\x02" + message.packet_id.to_bytes(2, "big"))
                got += reader.messages()
            self.assertEqual(self.bench.core.state.queued_octets, 0)
            reader.disconnect()

    def test_qos_0_passes(self) -> None:
        """QoS 0 needs no acknowledgement and does not wait for others'."""
        reader = self.bench.connected("reader", receive_maximum=1)
        reader.subscribe("t", qos=1)
        for qos in (1, 1, 0):
            self.writer.publish("t", b"%d" % qos, qos=qos)
        self.assertEqual([each.qos for each in reader.messages()], [1, 0])

    def test_packet_identifiers(self) -> None:
        """They count up from 1 in each session, and are free again once acknowledged."""
        reader = self.bench.connected("reader")
        reader.subscribe("t", qos=2)
        session = self.bench.core.state.sessions["reader"]
        self.writer.publish("t", qos=1)
        self.assertEqual([each.packet_id for each in reader.messages()], [1])
        session.next_packet_id = 65_535
        for _ in range(3):
            self.writer.publish("t", qos=1)
        self.assertEqual([each.packet_id for each in reader.messages()], [65_535, 2, 3])


class SlowReaderTests(SynchronousTestCase):
    """A client that does not read costs itself alone."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(outbox_bytes=10_000, maximum_queued_bytes=50_000))
        self.slow = self.bench.connected("slow")
        self.slow.subscribe("t", qos=1)
        self.slow.reads = False
        self.fast = self.bench.connected("fast")
        self.fast.subscribe("t", qos=1)
        self.writer = self.bench.connected("writer")

    def test_qos_0_is_dropped(self) -> None:
        """Its outbox stays within its bound and QoS 0 beyond is lost to it; the others get all."""
        for _ in range(200):
            self.writer.publish("t", b"x" * 1000)
        self.assertLess(self.slow.connection.outbox_bytes, 12_000)
        self.assertEqual(len(self.fast.messages()), 200)
        self.assertFalse(self.slow.closed)
        self.assertGreater(self.bench.core.counters.messages_dropped, 180)
        self.assertTrue(any(isinstance(event, Dropped) for event in self.bench.events))
        self.slow.read_again()
        self.slow.received()
        self.writer.publish("t", b"again")
        self.assertEqual(self.slow.payloads(), [b"again"])

    def test_in_one_segment(self) -> None:
        """The same for messages that come many at a time."""
        for _ in range(3):
            self.writer.publish("t", b"x" * 100)
        for _ in range(10):
            self.writer.send(*[Publish("t", b"x" * 100)] * 100)
        self.assertLess(self.slow.connection.outbox_bytes, 40_000)
        self.assertEqual(len(self.fast.messages()), 1003)

    def test_queue_overflow(self) -> None:
        """QoS 1 waits in its queue; when that is full the client is cut with 0x97, and no publisher noticed."""
        acknowledged = 0
        for _ in range(100):
            self.writer.publish("t", b"x" * 1000, qos=1)
            acknowledged += len(self.writer.take(Puback))
            self.fast.acknowledge()
        self.assertEqual(acknowledged, 100)
        self.assertTrue(self.slow.closed)
        self.slow.read_again()
        self.assertEqual(self.slow.goodbye, 0x97)
        self.assertEqual(self.slow.connection.close_reason, 0x97)
        self.bench.check_nothing_left(self)

    def test_pings_and_acks_unread(self) -> None:
        """Who asks without end and reads no answer is cut."""
        for data in (b"\xc0\x00" * 1000, b"\x62\x02\x00\x01" * 1000):
            client = self.bench.connected("asking")
            client.reads = False
            for _ in range(30):
                client.send_bytes(data)
                self.assertLess(client.connection.outbox_bytes, 25_000)
            self.assertEqual((client.closed, client.connection.close_reason), (True, 0x97))
            self.assertEqual(client.connection.outbox, [b"\xe0\x01\x97"])

    def test_total_budget(self) -> None:
        """When all queues together are full, new messages are not kept, and nobody is cut who is not slow."""
        bench = Bench(Limits(maximum_queued_bytes_total=5000, maximum_inflight=1))
        away = bench.connected("away", **_KEPT)
        away.subscribe("t", qos=1)
        away.lose()
        reader = bench.connected("reader")
        reader.subscribe("u", qos=1)
        writer = bench.connected("writer")
        for _ in range(10):
            writer.publish("t", b"x" * 1000, qos=1)
        for _ in range(3):
            writer.publish("u", b"x" * 2000, qos=1)
        self.assertLessEqual(bench.core.state.queued_octets, 5000)
        self.assertFalse(reader.closed)
        self.assertEqual(len(reader.messages()), 1)
        bench.check_nothing_left(self)

    def test_large_payloads_are_shared(self) -> None:
        """One large message to many readers is kept once."""
        bench = Bench()
        readers = [bench.connected(f"r{number}") for number in range(10)]
        for reader in readers:
            reader.subscribe("t", qos=1)
            reader.reads = False
        writer = bench.connected("writer")
        for qos in (0, 1, 1, 0):
            writer.publish("t", b"x" * 5000, qos=qos)
        for position in range(1, 8, 2):
            self.assertEqual(len({id(reader.connection.outbox[position]) for reader in readers}), 1)


class SharedTests(SynchronousTestCase):
    """Shared subscriptions."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.writer = self.bench.connected("writer")

    def members(self, *names: str, qos: int = 1, **connect: object):
        found = []
        for name in names:
            member = self.bench.connected(name, user=name, clean=False, session_expiry_interval=1000, **connect)
            member.subscribe("$share/g/t", qos=qos)
            found.append(member)
        return found

    def test_balance(self) -> None:
        """Each message goes to one member, in turn; other groups and plain subscribers get it as well."""
        members = self.members("a", "b", "c")
        plain = self.bench.connected("plain")
        plain.subscribe("t")
        other = self.bench.connected("other")
        other.subscribe("$share/h/#")
        for qos in (0, 1, 2):
            for _ in range(6):
                self.writer.publish("t", qos=qos)
            self.assertEqual([len(each.acknowledge()) for each in members], [2, 2, 2])
        self.assertEqual((len(plain.messages()), len(other.messages())), (18, 18))

    def test_busy_members_are_spared(self) -> None:
        """A member that can take nothing now is passed over while another can."""
        a, b = self.members("a", "b", receive_maximum=1)
        c = self.bench.connected("c")
        c.subscribe("$share/g/t", qos=1)
        for _ in range(10):
            self.writer.publish("t", qos=1)
        self.assertEqual([len(each.messages()) for each in (a, b, c)], [1, 1, 8])
        a.reads = False
        a.connection.writable = False
        for _ in range(4):
            self.writer.publish("t", qos=0)
        self.assertEqual(a.connection.outbox, [])

    def test_offline_members_come_last(self) -> None:
        """A member that is away gets messages only while nobody else is there, and never QoS 0."""
        a, b = self.members("a", "b")
        a.lose()
        for _ in range(4):
            self.writer.publish("t", qos=1)
        self.assertEqual(len(b.acknowledge()), 4)
        b.lose()
        for qos in (0, 1):
            for _ in range(4):
                self.writer.publish("t", b"%d" % qos, qos=qos)
        back = [self.bench.connected(name, user=name, clean=False) for name in ("a", "b")]
        self.assertEqual([each.acknowledge() for each in back], [[b"1"] * 2] * 2)

    def test_unsent_messages_are_handed_over(self) -> None:
        """What waited for a member that goes away goes to those who are there, in order."""
        (a,) = self.members("a", receive_maximum=1)
        for number in range(5):
            self.writer.publish("t", b"%d" % number, qos=1)
        self.assertEqual(a.payloads(), [b"0"])
        (b,) = self.members("b")
        a.lose()
        self.assertEqual(b.acknowledge(), [b"1", b"2", b"3", b"4"])
        self.assertEqual(self.bench.core.state.queued_octets, 0)
        a = self.bench.connected("a", user="a", clean=False)
        self.assertEqual([(each.payload, each.dup) for each in a.messages()], [(b"0", True)])

    def test_nobody_to_hand_over_to(self) -> None:
        """Without another member, or one that may have them, they wait; messages of one's own do too."""
        (a,) = self.members("a", receive_maximum=1)
        a.subscribe("own", qos=1)
        self.bench.chain.deny(Stage.DELIVER, client="b")
        for number in range(3):
            self.writer.publish("t", b"%d" % number, qos=1)
            self.writer.publish("own", b"own", qos=1)
        (b,) = self.members("b")
        a.lose()
        self.assertEqual(b.messages(), [])
        a = self.bench.connected("a", user="a", clean=False)
        payloads = []
        while got := a.acknowledge():
            payloads += got
        self.assertCountEqual(payloads, [b"0", b"1", b"2", b"own", b"own", b"own"])
        self.bench.check_nothing_left(self)

    def test_back_before_anything_was_handed_over(self) -> None:
        """A member that takes itself over keeps what waited."""
        (a,) = self.members("a", receive_maximum=1)
        for number in range(3):
            self.writer.publish("t", b"%d" % number, qos=1)
        (b,) = self.members("b")
        a = self.bench.connected("a", user="a", clean=False)
        self.assertEqual(b.messages(), [])
        payloads = []
        while got := a.acknowledge():
            payloads += got
        self.assertEqual(payloads, [b"0", b"1", b"2"])

    def test_member_gone_for_good(self) -> None:
        """When a member's session ends, others get its unacknowledged QoS 1; QoS 2 that was sent goes to nobody."""
        (a,) = self.members("a", qos=2, receive_maximum=2)
        for number, qos in enumerate((1, 2, 1, 2)):
            self.writer.publish("t", b"%d" % number, qos=qos)
        (b,) = self.members("b", qos=2)
        a.disconnect(session_expiry_interval=0)
        self.assertEqual(sorted(b.acknowledge()), [b"0", b"2", b"3"])

    def test_denied_member(self) -> None:
        """A member that may not have a message is passed over; when none may, it counts as denied once."""
        self.bench.chain.deny(Stage.DELIVER, client="a")
        a, b = self.members("a", "b")
        for _ in range(4):
            self.writer.publish("t", qos=1)
        self.assertEqual([len(each.messages()) for each in (a, b)], [0, 4])
        self.assertEqual(self.bench.core.counters.deliveries_denied, 0)
        self.bench.chain.deny(Stage.DELIVER, client="b")
        self.bench.change_policy()
        self.writer.publish("t", qos=1)
        self.assertEqual([len(each.messages()) for each in (a, b)], [0, 0])
        self.assertEqual(self.bench.core.counters.deliveries_denied, 1)

    def test_denied_late(self) -> None:
        """Members that are asked about for long are passed over in turn, and the asking ends."""
        members = self.members("a", "b", "c")
        self.bench.chain.delay(Stage.DELIVER)
        for number in range(4):
            self.writer.publish("t", b"%d" % number, qos=1)
        for _ in range(40):
            if self.bench.chain.waiting:
                self.bench.chain.answer(self.bench.chain.waiting[0].request.connection.client_id == "c")
        self.assertEqual(self.bench.chain.waiting, [])
        self.assertEqual([sorted(each.payloads()) for each in members], [[], [], [b"0", b"1", b"2", b"3"]])
        self.bench.check_nothing_left(self)

    def test_denied_to_all_late(self) -> None:
        """When all say no, however late, nobody gets it and nothing is left."""
        members = self.members("a", "b", "c")
        rule = self.bench.chain.delay(Stage.DELIVER)
        for number in range(6):
            self.writer.publish("t", b"%d" % number, qos=1)
        for _ in range(100):
            if self.bench.chain.waiting:
                self.bench.chain.answer(False)
        self.assertEqual(self.bench.chain.waiting, [])
        self.assertEqual([each.payloads() for each in members], [[], [], []])
        self.assertEqual(self.bench.core.counters.deliveries_denied, 6)
        self.bench.chain.forget(rule)
        self.bench.check_nothing_left(self)

    def test_denied_when_sent_from_the_queue(self) -> None:
        """A member whose right is gone when its queue is sent leaves the message to another."""
        (a,) = self.members("a")
        a.lose()
        self.writer.publish("t", b"x", qos=1)
        (b,) = self.members("b")
        self.bench.chain.deny(Stage.DELIVER, client="a")
        a = self.bench.connected("a", user="a", clean=False)
        self.assertEqual((a.payloads(), b.payloads()), ([], [b"x"]))

    def test_denied_when_sent_again(self) -> None:
        """The same for a QoS 1 message that was under way; QoS 2 goes to nobody else."""
        (a,) = self.members("a", qos=2)
        for qos in (1, 2):
            self.writer.publish("t", b"%d" % qos, qos=qos)
        a.lose()
        (b,) = self.members("b", qos=2)
        self.bench.chain.deny(Stage.DELIVER, client="a")
        a = self.bench.connected("a", user="a", clean=False)
        self.assertEqual((a.payloads(), b.payloads()), ([], [b"1"]))

    def test_member_that_is_cut(self) -> None:
        """A member whose queue overflows with this very message is cut, and the broker goes on."""
        bench = Bench(Limits(maximum_queued_messages=1, maximum_inflight=1))
        member = bench.connected("member")
        member.subscribe("$share/g/t", qos=1)
        writer = bench.connected("writer")
        for _ in range(4):
            writer.publish("t", b"x", qos=1)
        self.assertEqual((member.closed, member.goodbye), (True, 0x97))
        self.assertEqual(len(writer.take(Puback)), 4)
        bench.check_nothing_left(self)

    def test_subscription_options(self) -> None:
        """A shared subscription has its QoS, identifier and Retain As Published, and gets no retained messages."""
        self.writer.publish("t", b"kept", retain=True)
        member = self.bench.connected("member")
        member.subscribe("$share/g/t", qos=1, retain_as_published=True, subscription_identifier=[9])
        self.assertEqual(member.messages(), [])
        self.writer.publish("t", b"x", qos=2, retain=True)
        (message,) = member.messages()
        self.assertEqual((message.qos, message.retain), (1, True))
        self.assertEqual(message.properties, {"subscription_identifier": [9]})
