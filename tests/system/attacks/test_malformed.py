# -*- test-case-name: tests.system.attacks.test_malformed -*-
"""What is no MQTT, or at the wrong time, or beyond all measure: rows A22 and A23, and the classes about packets."""

from __future__ import annotations

import time
from pathlib import Path

from mqttsecure.wire.constants import MQTT_3_1, MQTT_3_1_1, MQTT_5_0
from mqttsecure.wire.encoder import encode_packet, encode_remaining_length, encode_string
from mqttsecure.wire.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from tests.support.config import USERS, BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections, resident_bytes
from tests.system.attacks.client import AttackClient

_MEBIBYTE = 2**20
_VERSIONS = (MQTT_3_1, MQTT_3_1_1, MQTT_5_0)

_BROKEN_FRAMES: dict[str, tuple[bytes, int]] = {
    "five bytes of Remaining Length": (b"\x30\xff\xff\xff\xff\x01", 0x81),
    "type 0": (b"\x00\x00", 0x81),
    "QoS 3": (b"\x36\x0a\x00\x05lab/x\x00\x01\x00", 0x81),
    "PINGREQ with flags": (b"\xc1\x00", 0x81),
    "SUBSCRIBE without its flag": (b"\x80\x09\x00\x01\x00\x00\x03a/b\x00", 0x81),
    "a Packet Identifier of 0": (b"\x32\x0a\x00\x05lab/x\x00\x00\x00", 0),
    "CONNACK from a client": (b"\x20\x02\x00\x00", 0x82),
    "SUBACK from a client": (b"\x90\x04\x00\x01\x00\x00", 0x82),
    "PINGRESP from a client": (b"\xd0\x00", 0x82),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0),
    "SUBSCRIBE without a filter": (b"\x82\x03\x00\x01\x00", 0),
    "a PUBLISH shorter than its topic": (b"\x30\x03\x00\x09x", 0x81),
}
"""Bytes to send once connected, and the Reason Code of 5.0 where there is but one (0: 0x81 or 0x82)."""


class _Case(AttackCase):
    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return allow_many_connections(write_config(directory, plaintext=True))

    def closes(self, client: AttackClient) -> list[Packet]:
        """What the broker still says; it must close at once."""
        started = time.monotonic()
        packets = client.remaining(3)
        self.assertLess(time.monotonic() - started, 1.5)
        return packets

    def codes(self, client: AttackClient) -> list[int]:
        return [each.reason_code for each in self.closes(client) if isinstance(each, Disconnect)]


class FrameTests(_Case):
    """A22: broken frames, and packets at the wrong time."""

    def test_broken_frames(self) -> None:
        """After a proper CONNECT I send what no packet looks like: closed at once, in 5.0 with the reason."""
        for name, (data, code) in _BROKEN_FRAMES.items():
            for version in (MQTT_3_1_1, MQTT_5_0):
                client = self.login("alice", version=version)
                client.send(data)
                codes = self.codes(client)
                if version != MQTT_5_0:
                    self.assertEqual([], codes, name)
                elif code:
                    self.assertEqual([code], codes, name)
                else:
                    self.assertIn(codes, ([0x81], [0x82]), name)

    def test_type_15_before_5_0(self) -> None:
        """Packet type 15 does not exist in 3.x."""
        for version in (MQTT_3_1, MQTT_3_1_1):
            client = self.login("alice", version=version)
            client.send(b"\xf0\x00")
            self.assertEqual([], self.closes(client))

    def test_second_connect(self) -> None:
        """A second CONNECT ends the connection, and does not make me somebody else."""
        for version in _VERSIONS:
            client = self.login("alice", version=version)
            client.send(Connect(version, "bob", username="bob", password=USERS["bob"].encode()))
            self.assertEqual([0x82] if version == MQTT_5_0 else [], self.codes(client))

    def test_wrong_protocol_names(self) -> None:
        """Other names and levels than those of the standard get no connection."""
        for name, level in (
            (b"MQTX", 4),
            (b"mqtt", 4),
            (b"MQIsdp", 4),
            (b"MQTT", 3),
            (b"", 4),
            (b"MQTT", 6),
            (b"AMQP", 0),
        ):
            client = self.client(tls=False)
            body = len(name).to_bytes(2, "big") + name + bytes((level, 2, 0, 60)) + b"\x00\x00\x01x"
            client.send(b"\x10" + bytes((len(body),)) + body)
            for packet in self.closes(client):
                assert isinstance(packet, Connack)
                self.assertNotEqual(0, packet.reason_code)

    def test_reserved_connect_flag(self) -> None:
        """The reserved bit of the CONNECT flags, a will QoS of 3, and a password of nobody in 3.1.1, are refused."""
        for flags, tail in ((0x03, b""), (0x1E, b"\x00\x01w\x00\x00"), (0x42, b"\x00\x01p"), (0x22, b"")):
            client = self.client(tls=False, version=MQTT_3_1_1)
            body = b"\x00\x04MQTT\x04" + bytes((flags, 0, 60)) + b"\x00\x01x" + tail
            client.send(b"\x10" + bytes((len(body),)) + body)
            self.assertEqual([], self.closes(client), flags)

    def test_everything_before_connect(self) -> None:
        """Every packet type as the first one: closed without a word, and without any effect."""
        for version in _VERSIONS:
            for packet in _every_packet(version):
                if isinstance(packet, Connect):
                    continue
                client = self.client(tls=False, version=version)
                client.send(encode_packet(packet, version))
                self.assertEqual([], self.closes(client), packet)

    def test_everything_while_connected(self) -> None:
        """Every packet type while connected is either answered or ends the connection; nothing hangs or crashes."""
        for version in _VERSIONS:
            for packet in _every_packet(version):
                client = self.login("alice", version=version)
                client.send(encode_packet(packet, version), encode_packet(Pingreq(), version))
                while isinstance(answer := client.receive(), Packet) and not isinstance(answer, Pingresp):
                    pass
                answered = answer is not None
                legal = isinstance(packet, (Publish, Puback, Pubrec, Pubrel, Pubcomp, Subscribe, Unsubscribe, Pingreq))
                if not legal:
                    self.assertFalse(answered, (version, packet))
                client.close()

    def test_everything_while_the_verdict_is_pending(self) -> None:
        """Packets behind a CONNECT whose password is still being hashed wait, and count for nothing if it is wrong."""
        watcher = self.login("bob")
        watcher.subscribe("lab/early")
        for password, expected in ((b"wrong", []), (USERS["alice"].encode(), [("lab/early", b"x")])):
            client = self.client(tls=False)
            client.send(
                Connect(MQTT_5_0, "early", username="alice", password=password),
                Publish("lab/early", b"x"),
                Disconnect(),
            )
            client.remaining(5)
            self.assertEqual(expected, watcher.messages())


def _every_packet(version: int) -> list[Packet]:
    packets: list[Packet] = [
        Connect(version, "again"),
        Connack(False, 0),
        Publish("lab/x", b"x"),
        Publish("lab/x", b"x", 1, packet_id=1),
        Publish("lab/x", b"x", 2, packet_id=2),
        Puback(9),
        Pubrec(9),
        Pubrel(9),
        Pubcomp(9),
        Subscribe(3, [SubscriptionRequest("lab/x")]),
        Suback(3, [0]),
        Unsubscribe(4, ["lab/x"]),
        Unsuback(4, [0] if version == MQTT_5_0 else []),
        Pingreq(),
        Pingresp(),
        Disconnect(),
    ]
    if version == MQTT_5_0:
        packets += [Auth(0x18, {"authentication_method": "X"}), Auth(0x19, {"authentication_method": "X"}), Auth()]
    return packets


class TextTests(_Case):
    """A23: text that no topic may hold."""

    bad = (
        b"lab/+",
        b"lab/#",
        b"#",
        b"lab/\x00x",
        b"lab/\xff",
        b"lab/\xc0\xaf",
        b"lab/\xed\xa0\x80",
        b"lab/\xf5\x80\x80\x80",
        b"lab/\xe2\x82",
    )

    def test_topics_that_are_none(self) -> None:
        """Wildcards, NUL and broken UTF-8 in a Topic Name end the connection, and nobody gets the message."""
        watcher = self.login("alice")
        self.assertEqual([0], watcher.subscribe("lab/x"))
        watcher.close()
        for topic in self.bad:
            for version in (MQTT_3_1_1, MQTT_5_0):
                for qos in (0, 1):
                    client = self.login("alice", version=version)
                    body = len(topic).to_bytes(2, "big") + topic + (b"\x00\x01" if qos else b"")
                    body += (b"\x00" if version == MQTT_5_0 else b"") + b"payload"
                    client.send(bytes((0x30 | qos << 1, len(body))) + body)
                    packets = self.closes(client)
                    self.assertFalse([each for each in packets if isinstance(each, Puback)], topic)
                    codes = [each.reason_code for each in packets if isinstance(each, Disconnect)]
                    if version == MQTT_5_0:
                        self.assertIn(codes, ([0x81], [0x82], [0x90]), topic)

    def test_filters_that_are_none(self) -> None:
        """A misplaced wildcard, NUL or broken UTF-8 in a Topic Filter ends the connection too."""
        for topic_filter in (
            b"lab/#/x",
            b"lab/x#",
            b"lab+",
            b"",
            b"a\x00",
            b"\xff",
            b"$share//x",
            b"$share/g",
            b"$share/+/x",
        ):
            client = self.login("alice")
            body = b"\x00\x01\x00" + len(topic_filter).to_bytes(2, "big") + topic_filter + b"\x00"
            client.send(bytes((0x82, len(body))) + body)
            packets = self.closes(client)
            self.assertFalse([each for each in packets if isinstance(each, Suback)], topic_filter)

    def test_bad_text_in_connect(self) -> None:
        """The same in Client Identifier, user name and will topic: no connection."""
        for text in (b"a\x00b", b"\xff\xfe", b"\xed\xa0\x80"):
            identifier = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(text).to_bytes(2, "big") + text
            user = b"\x00\x04MQTT\x04\x82\x00\x3c\x00\x01c" + len(text).to_bytes(2, "big") + text
            will = b"\x00\x04MQTT\x04\x06\x00\x3c\x00\x01c" + len(text).to_bytes(2, "big") + text + b"\x00\x01w"
            for body in (identifier, user, will):
                client = self.client(tls=False, version=MQTT_3_1_1)
                client.send(b"\x10" + bytes((len(body),)) + body)
                self.assertEqual([], self.closes(client))


class MeasureTests(_Case):
    """Sizes that are legal, or nearly, and meant to hurt."""

    def _took(self, seconds: float, started: float) -> None:
        self.assertLess(time.monotonic() - started, seconds)
        self.assertLess(self.assert_serves(), 1.0)

    def test_longest_topics(self) -> None:
        """Topics of 65,535 bytes and of 30,000 levels are refused, not walked."""
        started = time.monotonic()
        for topic in ("lab/" + "x" * 65_531, "lab/" + "/" * 30_000, "lab/" + "a/" * 30_000, "é" * 32_000):
            client = self.login("alice")
            client.send(Publish(topic, b"x", 1, packet_id=1))
            self.assertIn(self.codes(client), ([0x90], [0x95]))
            reader = self.login("alice")
            self.assertEqual([0x8F], reader.subscribe(topic))
            old = self.login("alice", version=MQTT_3_1_1)
            self.assertEqual([0x80], old.subscribe(topic))
        self._took(10, started)

    def test_long_client_identifier_and_user(self) -> None:
        """A Client Identifier or user name of 60 KB gets no connection, and no line of that length in the log."""
        for client_id, user in (("c" * 60_000, "alice"), ("c", "u" * 60_000)):
            client = self.client(tls=False)
            self.assertGreaterEqual(client.connect(client_id, user, "x"), 0x80)
        self.assertLess(max(map(len, self.new_log.splitlines())), 10_000)

    def test_wildcard_subscriptions_do_not_slow_down_publishing(self) -> None:
        """Ten clients have 1,000 subscriptions with + each, in every shape: a publish is still answered at once."""
        before = resident_bytes(self.broker.pid)
        for number in range(10):
            client = self.login("alice", f"plus-{number}")
            for start in range(0, 1000, 250):
                filters = [f"lab/w/{'+/' * (i % 7)}n{number}/{i}/+" for i in range(start, start + 250)]
                self.assertEqual({0}, set(client.subscribe(*filters)))
        writer = self.login("alice")
        started = time.monotonic()
        for number in range(50):
            writer.publish("lab/w/" + "/".join(["a"] * 7) + f"/n1/{number}/x")
        self.assertLess(time.monotonic() - started, 2.0)
        self.assertLess(resident_bytes(self.broker.pid) - before, 60 * _MEBIBYTE)

    def test_wildcards_at_every_level(self) -> None:
        """Filters that branch at each of twenty levels do not make one publish walk a million ways."""
        client = self.login("alice")
        filters = []
        for number in range(400):
            bits = format(number * 2621 % 2**20, "020b")
            filters.append("lab/w/" + "/".join("+" if bit == "1" else "a" for bit in bits))
        self.assertEqual({0}, set(client.subscribe(*filters)))
        writer = self.login("alice")
        started = time.monotonic()
        for _ in range(5):
            writer.publish("lab/w/" + "/".join(["a"] * 20))
        self._took(2.0, started)

    def test_ten_thousand_user_properties(self) -> None:
        """10,000 User Properties in one PUBLISH or CONNECT are passed on or refused, but bounded in time and memory."""
        before = resident_bytes(self.broker.pid)
        properties = b"".join(b"\x26" + encode_string("k") + encode_string("v") for _ in range(10_000))
        body = encode_string("lab/x") + b"\x00\x01" + encode_remaining_length(len(properties)) + properties + b"payload"
        started = time.monotonic()
        for _ in range(5):
            client = self.login("alice")
            client.send(b"\x32" + encode_remaining_length(len(body)) + body)
            packet = client.receive()
            self.assertIsInstance(packet, (Puback, Disconnect))
            stranger = self.client(tls=False)
            connect = (
                b"\x00\x04MQTT\x05\x02\x00\x3c" + encode_remaining_length(len(properties)) + properties + b"\x00\x01c"
            )
            stranger.send(b"\x10" + encode_remaining_length(len(connect)) + connect)
            for answer in self.closes(stranger):
                self.assertGreaterEqual(getattr(answer, "reason_code", 0), 0x80)
        self._took(5, started)
        self.assertLess(resident_bytes(self.broker.pid) - before, 10 * _MEBIBYTE)

    def test_properties_twice_or_in_the_wrong_packet(self) -> None:
        """A property that may occur once, twice; one of another packet; one that does not exist."""
        for properties, code in (
            (b"\x02\x00\x00\x00\x01\x02\x00\x00\x00\x01", 0x82),
            (b"\x11\x00\x00\x00\x01", 0x82),
            (b"\x7f\x00", 0x81),
            (b"\x23\x00\x00", 0x94),
            (b"\x01\x02", 0x82),
        ):
            client = self.login("alice")
            body = encode_string("lab/x") + bytes((len(properties),)) + properties
            client.send(b"\x30" + bytes((len(body),)) + body)
            self.assertIn(self.codes(client), ([code], [0x81], [0x82]))

    def test_packet_identifiers_used_again(self) -> None:
        """QoS 2 with the same Packet Identifier over and over is one message."""
        reader, writer = self.login("bob"), self.login("alice")
        reader.subscribe("lab/once")
        for _ in range(50):
            writer.send(Publish("lab/once", b"x", 2, dup=False, packet_id=7))
        writer.send(Pubrel(7), Pubrel(7), Pubrel(8))
        packets = writer.ping()
        self.assertEqual(50, sum(isinstance(each, Pubrec) for each in packets))
        self.assertEqual([0, 0x92, 0x92], [each.reason_code for each in packets if isinstance(each, Pubcomp)])
        self.assertEqual(1, len(reader.messages()))

    def test_publisher_that_never_releases(self) -> None:
        """QoS 2 messages without PUBREL: no more than the Receive Maximum may be open, then 0x93."""
        writer = self.login("alice")
        assert writer.connack is not None
        maximum = writer.connack.properties["receive_maximum"]
        for start in range(1, maximum + 101, 100):
            writer.send(*(Publish("lab/x", b"x", 2, packet_id=number) for number in range(start, start + 100)))
        self.assertEqual([0x93], self.codes(writer))

    def test_reader_that_never_completes(self) -> None:
        """A reader that answers no QoS 2 message gets as many as may be open, and no more."""
        reader = self.login("bob", "never-completes", properties={"receive_maximum": 10})
        reader.subscribe("lab/q2", qos=2)
        writer = self.login("alice")
        for number in range(1, 200):
            writer.send(Publish("lab/q2", b"x", 2, packet_id=number), Pubrel(number))
        writer.ping()
        self.assertEqual(10, len(reader.messages()))

    def test_acknowledgements_of_nothing(self) -> None:
        """PUBACK, PUBREC and PUBCOMP for what was never sent change nothing, and do not open the send quota."""
        reader = self.login("bob", properties={"receive_maximum": 2})
        reader.subscribe("lab/quota", qos=1)
        reader.send(*(Puback(number) for number in range(1, 500)))
        if any(isinstance(each, Disconnect) for each in reader.collect(0.3)) or reader.closed:
            return
        writer = self.login("alice")
        for _ in range(10):
            writer.publish("lab/quota")
        self.assertEqual(2, len(reader.messages()))
