# -*- test-case-name: tests.core.test_inbound -*-
"""From bytes to packets: sizes, splits, broken frames."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.limits import Limits
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Pingreq, Pingresp, Puback, Publish, Pubrec, Subscribe, SubscriptionRequest
from tests.support.core import Bench


class FrameTests(SynchronousTestCase):
    """Frames whole, split, broken, too large."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(maximum_packet_size=100_000, connect_packet_size=200))

    def test_large_packet_byte_by_byte(self) -> None:
        """A packet of 64 KiB that comes a byte at a time arrives whole, in linear time and little memory."""
        reader = self.bench.connected("reader")
        reader.subscribe("t")
        writer = self.bench.connected("writer")
        payload = bytes(range(256)) * 256
        data = encode_packet(Publish("t", payload), 5)
        for index in range(len(data)):
            self.bench.core.receive_bytes(writer.connection, data[index : index + 1], self.bench.now)
            self.assertLessEqual(len(writer.connection.partial or ()), 65)
        self.bench.flush()
        self.assertEqual(reader.payloads(), [payload])
        self.assertIsNone(writer.connection.partial)

    def test_too_large(self) -> None:
        """A packet above the maximum is refused at its fixed header, before its body is there."""
        for version in (4, 5):
            client = self.bench.connected(f"c{version}", version)
            client.send_bytes(b"\x30\xff\xff\x7f")
            self.assertEqual((client.closed, client.connection.close_reason), (True, 0x95))
            self.assertEqual(client.goodbye, 0x95 if version == 5 else None)
        exact = self.bench.connected("exact")
        exact.publish("t", b"x" * (100_000 - 8))
        self.assertFalse(exact.closed)
        exact.publish("t", b"x" * (100_000 - 7))
        self.assertTrue(exact.closed)

    def test_too_large_before_authentication(self) -> None:
        """A CONNECT above its own, lower maximum is refused at its fixed header."""
        client = self.bench.client()
        client.send_bytes(b"\x10\xc7\x01")
        self.assertEqual((client.closed, client.connection.close_reason), (True, 0x95))

    def test_first_bytes(self) -> None:
        """Wrong first packets and flags are refused by their first byte alone."""
        for data, code in (
            (b"\x30", 0x82),
            (b"\xc0", 0x82),
            (b"\x00", 0x81),
            (b"\x11", 0x81),
            (b"G", 0x81),
            (b"@", 0x82),
        ):
            client = self.bench.client()
            client.send_bytes(data)
            self.assertEqual((client.closed, client.connection.close_reason, client.raw), (True, code, b""))
        for data in (b"\x36", b"\x38", b"\x60", b"\x80", b"\xa0", b"\xc1", b"\x41"):
            client = self.bench.connected(f"c{data.hex()}")
            client.send_bytes(data)
            self.assertEqual(client.goodbye, 0x81)

    def test_dup_of_3_1(self) -> None:
        """3.1 sets DUP on packets it sends again; later versions may not."""
        for version, taken in ((3, True), (4, False), (5, False)):
            bench = Bench()
            client = bench.connected("c", version)
            packet_id = client.publish("t", qos=2)
            client.send_bytes(b"\x6a\x02" + packet_id.to_bytes(2, "big"))
            self.assertEqual(client.closed, not taken)

    def test_remaining_length(self) -> None:
        """A Remaining Length of five bytes is refused, one padded with zeros in 5.0 alone."""
        for version in (3, 4, 5):
            client = self.bench.connected(f"c{version}", version)
            client.send_bytes(b"\xc0\x80\x00")
            self.assertEqual(client.closed, version == 5)
            client = self.bench.connected(f"d{version}", version)
            client.drip(b"\x30\xff\xff\xff\xff")
            self.assertEqual((client.closed, client.connection.close_reason), (True, 0x81))

    def test_nothing_after_the_end(self) -> None:
        """What follows a broken packet, or DISCONNECT, in the same segment is not looked at."""
        client = self.bench.connected("c")
        client.subscribe("t")
        client.send_bytes(b"\x00\x00" + encode_packet(Publish("t"), 5))
        self.assertEqual((client.messages(), client.goodbye), ([], 0x81))
        client = self.bench.connected("d")
        client.send_bytes(b"\xe0\x00" + b"\xc0\x00")
        self.assertEqual(client.received(), [])
        client.send_bytes(b"\xc0\x00")
        self.assertEqual(client.received(), [])

    def test_missing_property_length(self) -> None:
        """A PUBLISH of 5.0 without its property length never reaches a reader, on the short way either."""
        for qos, first, rest in ((0, b"\x30\x03", b""), (1, b"\x32\x05", b"\x00\x09")):
            bench = Bench()
            reader = bench.connected("reader")
            reader.subscribe("t", qos=1)
            writer = bench.connected("writer")
            for _ in range(4):
                writer.publish("t", b"x", qos=qos)
            self.assertEqual(len(reader.messages()), 4)
            writer.send_bytes(first + b"\x00\x01t" + rest + b"\x00\x00")
            self.assertTrue(writer.closed)
            self.assertEqual(reader.messages(), [])

    def test_broken_on_the_short_way(self) -> None:
        """Topics that reach beyond their packet, identifiers of 0: refused on the short way as on the long one."""
        for data in (
            b"\x30\x02\x00\x01t\x00",
            b"\x32\x03\x00\x01t\x00\x01\x00",
            b"\x32\x06\x00\x01t\x00\x00\x00",
            b"\x32\x04\x00\x01t\x00\x01",
        ):
            writer = self.bench.connected("writer" + data.hex())
            for qos in (0, 1):
                for _ in range(4):
                    writer.publish("t", b"x", qos=qos)
            writer.received()
            writer.send_bytes(data)
            self.assertTrue(writer.closed, data)

    def test_properties_take_the_long_way(self) -> None:
        """A message with properties among many without them keeps its own, and its place."""
        reader = self.bench.connected("reader")
        reader.subscribe("t", qos=1)
        writer = self.bench.connected("writer")
        for qos in (0, 1):
            for _ in range(4):
                writer.publish("t", b"xxx", qos=qos)
            reader.acknowledge()
            packets = [Publish("t", b"xxx", qos, packet_id=n + 1 if qos else 0) for n in range(9)]
            packets[4].properties = {"content_type": ""}
            packets[4].payload = b""
            writer.send(*packets)
            messages = reader.messages()
            self.assertEqual([each.payload for each in messages], [each.payload for each in packets])
            self.assertEqual([each.properties for each in messages], [each.properties for each in packets])

    def test_dup_goes_the_long_way(self) -> None:
        """DUP and RETAIN of a known topic are not mistaken for plain messages."""
        reader = self.bench.connected("reader")
        reader.subscribe("t", qos=1)
        writer = self.bench.connected("writer")
        for _ in range(4):
            writer.publish("t", b"x", qos=1)
        writer.publish("t", b"x", qos=1, dup=True)
        writer.publish("t", b"x", qos=1, retain=True)
        self.assertEqual([(each.dup, each.retain) for each in reader.messages()], [(False, False)] * 6)
        self.assertEqual(self.bench.core.state.retained.count, 1)

    def test_closed_by_its_own_message(self) -> None:
        """A client that is cut because of what it publishes to itself gets nothing after DISCONNECT."""
        bench = Bench(Limits(maximum_queued_messages=1, maximum_inflight=1))
        client = bench.connected("c")
        client.subscribe("t", qos=1)
        client.send(*(Publish("t", b"x", 1, packet_id=number + 1) for number in range(9)))
        self.assertTrue(client.closed)
        self.assertTrue(client.raw.endswith(b"\xe0\x01\x97"))
        bench.check_nothing_left(self)


class SplitTests(SynchronousTestCase):
    """However the network cuts a stream, it means the same."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.builds(
                    Publish,
                    st.sampled_from(["t", "u", "t/1"]),
                    st.binary(max_size=200),
                    st.sampled_from([0, 1, 2]),
                    packet_id=st.integers(1, 5),
                ),
                st.just(Pingreq()),
                st.builds(
                    Subscribe, st.integers(1, 9), st.just([SubscriptionRequest("t/#", 1), SubscriptionRequest("u", 0)])
                ),
            ),
            max_size=12,
        ),
        st.lists(st.integers(1, 300), max_size=8),
        st.sampled_from([3, 4, 5]),
    )
    def test_any_split(self, packets: list[Publish | Pingreq | Subscribe], cuts: list[int], version: int) -> None:
        """A stream in one piece and the same stream cut anywhere get the same answers."""
        for packet in packets:
            if isinstance(packet, Publish) and not packet.qos:
                packet.packet_id = 0
        data = b"".join(encode_packet(packet, version) for packet in packets)
        whole = Bench().connected("c", version)
        whole.send_bytes(data)
        cut = Bench().connected("c", version)
        for size in cuts:
            cut.send_bytes(data[:size])
            data = data[size:]
        cut.send_bytes(data)
        self.assertEqual(cut.inbox, whole.inbox)
        kinds = (Pingresp, Puback, Pubrec)
        answers = sum(isinstance(each, kinds) for each in whole.inbox)
        expected = sum(isinstance(each, Pingreq) or (isinstance(each, Publish) and each.qos > 0) for each in packets)
        self.assertEqual(answers, expected)
