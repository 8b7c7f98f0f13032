"""One connection from its first byte to its last, over real sockets: HANDSHAKE, reading, writing, closing."""

from __future__ import annotations

import subprocess
import time

from twisted.trial import unittest

from mqttsecure.core.decisions import Disconnect as DisconnectObligation
from mqttsecure.core.decisions import Stage, Throttle
from mqttsecure.core.events import Connected, Denied, Disconnected
from mqttsecure.core.limits import Limits
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Disconnect, Pingreq, Pingresp, Publish, Suback
from tests.support.foreign import require
from tests.support.transport import Far, Listening, connect_bytes, subscribe_bytes, tls_files

PINGREQ = encode_packet(Pingreq(), MQTT_5_0)
DISCONNECT = encode_packet(Disconnect(0, {}), MQTT_5_0)


def publish_bytes(topic: str, payload: bytes, **more: object) -> bytes:
    """A PUBLISH with QoS 0, unless told."""
    qos, retain = int(str(more.get("qos", 0))), bool(more.get("retain", False))
    return encode_packet(Publish(topic, payload, qos, retain, False, 1 if qos else 0, {}), MQTT_5_0)


class HandshakeTests(unittest.SynchronousTestCase):
    """The stage between TLS and the first packet."""

    def test_is_asked_everywhere(self) -> None:
        """With TLS its facts are there; without, there are none."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                listening = Listening(self, tls_files().server() if tls else None)
                listening.connected("c", tls_files().client() if tls else None)
                (request,) = listening.chain.asked(Stage.HANDSHAKE)
                self.assertEqual(request.connection.tls is not None, tls)
                self.assertEqual(len(listening.chain.authenticated), 1)

    def test_deny(self) -> None:
        """The connection ends without an answer, and both the denial and the end are reported."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                listening = Listening(self, tls_files().server() if tls else None)
                listening.chain.deny(Stage.HANDSHAKE)
                far = listening.connect(tls_files().client() if tls else None)
                far.send(connect_bytes())
                listening.until(lambda far=far: far.ended)
                self.assertEqual(far.received, b"")
                self.assertEqual(len(listening.texts(Denied)), 1)
                self.assertEqual([each.text for each in listening.texts(Disconnected)], ["denied at HANDSHAKE"])

    def test_pending(self) -> None:
        """Nothing is read on while the chain thinks; what had been read is not lost."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                listening = Listening(self, tls_files().server() if tls else None)
                listening.chain.delay(Stage.HANDSHAKE)
                far = listening.connect(tls_files().client() if tls else None)
                far.send(connect_bytes()[:7])
                listening.turns()
                far.send(connect_bytes()[7:] + PINGREQ)
                listening.turns()
                self.assertEqual(far.received, b"")
                self.assertEqual(listening.chain.asked(Stage.CONNECT), [])
                listening.chain.answer()
                listening.until(lambda far=far: far.received.endswith(b"\xd0\x00"))

    def test_pending_then_deny(self) -> None:
        """A late no is a no."""
        listening = Listening(self, tls_files().server())
        listening.chain.delay(Stage.HANDSHAKE)
        far = listening.connect(tls_files().client())
        far.send(connect_bytes())
        listening.turns()
        listening.chain.answer(permit=False)
        listening.until(lambda: far.ended)
        self.assertEqual(far.received, b"")
        self.assertEqual(listening.chain.asked(Stage.CONNECT), [])

    def test_policies_change_meanwhile(self) -> None:
        """A verdict of the old ones is not used: the new ones are asked, be they quick or slow."""
        for slow in (False, True):
            with self.subTest(slow=slow):
                listening = Listening(self)
                listening.chain.delay(Stage.HANDSHAKE)
                far = listening.connect()
                far.send(connect_bytes())
                listening.turns()
                listening.chain.version += 1
                listening.driver.core.state.policy_version += 1
                if not slow:
                    listening.chain.on(Stage.HANDSHAKE, listening.chain.permit)
                listening.chain.answer(policy_version=1)
                if slow:
                    listening.turns()
                    self.assertEqual(far.received, b"")
                    listening.chain.answer()
                listening.until(lambda far=far: far.received)
                self.assertEqual(len(listening.chain.asked(Stage.HANDSHAKE)), 2)

    def test_too_much_while_pending(self) -> None:
        """What TLS had read already is kept within a bound, beyond which the connection ends."""
        listening = Listening(self, tls_files().server(), limits=Limits(pending_bytes=1000))
        listening.chain.delay(Stage.HANDSHAKE)
        far = listening.connect(tls_files().client())
        far.send(b"x" * 60_000)
        listening.until(lambda: listening.texts(Disconnected))
        self.assertIn("too much", listening.texts(Disconnected)[0].text)
        listening.advance(2.0)
        self.assertTrue(listening.chain.waiting[0].cancelled)
        listening.check_counts()

    def test_gone_while_pending(self) -> None:
        """The question is cancelled with its connection, and a verdict after that does nothing."""
        listening = Listening(self)
        listening.chain.delay(Stage.HANDSHAKE)
        far = listening.connect()
        listening.turns()
        far.reset()
        listening.advance(10.0)
        listening.advance(2.0)
        self.assertTrue(listening.chain.waiting[0].cancelled)
        listening.chain.answer()
        listening.check_counts()

    def test_time_is_up_while_pending(self) -> None:
        """Ten seconds from accept are all there is, the chain's thinking included."""
        listening = Listening(self, tls_files().server())
        listening.chain.delay(Stage.HANDSHAKE)
        far = listening.connect(tls_files().client())
        far.send(connect_bytes())
        listening.turns()
        listening.advance(10.1)
        listening.until(lambda: far.ended)
        self.assertTrue(listening.chain.waiting[0].cancelled)
        listening.turns()
        listening.check_counts()


class DeadlineTests(unittest.SynchronousTestCase):
    """Ten seconds from accept to a whole CONNECT."""

    def test_silence(self) -> None:
        """On a plain socket, before TLS, within its handshake and after it."""
        listening = Listening(self, tls_files().server())
        client = tls_files().client()
        silent = listening.connect()
        half = listening.connect()
        half.send_raw(b"\x16\x03\x01\x02\x00\x01\x00")
        done = listening.connect(client)
        listening.until(lambda: done.is_up)
        listening.advance(9.8)
        self.assertEqual([silent.ended, half.ended, done.ended], [None] * 3)
        listening.advance(0.3)
        listening.until(lambda: silent.ended and half.ended and done.ended)
        listening.turns()
        listening.check_counts()

    def test_dripped_bytes(self) -> None:
        """Bytes that come win no time."""
        listening = Listening(self)
        far = listening.connect()
        listening.turns()
        packet = connect_bytes("a-client-identifier")
        for index in range(12):
            far.send(packet[index : index + 1])
            listening.advance(0.9)
        self.assertEqual(far.ended, "eof")

    def test_broker_s_timer_moves(self) -> None:
        """An earlier deadline than the one waited for is met: a short Keep Alive beside long ones."""
        listening = Listening(self)
        listening.connected("long", keep_alive=1000)
        far = listening.connected("short", keep_alive=4)
        listening.advance(5.9)
        self.assertIsNone(far.ended)
        listening.advance(0.2)
        self.assertEqual([type(each) for each in far.packets()], [Disconnect])


class ReadingTests(unittest.SynchronousTestCase):
    """When bytes are taken and when not."""

    def test_throttle(self) -> None:
        """A client that is throttled is not read from, then it is again; nothing is lost."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                listening = Listening(self, tls_files().server() if tls else None)
                listening.chain.oblige(Stage.PUBLISH, Throttle(3.0))
                far = listening.connected("c", tls_files().client() if tls else None)
                far.send(publish_bytes("a", b"x"))
                listening.turns()
                self.assertEqual(len(listening.reactor.getReaders()), 1)  # the port
                far.send(PINGREQ)
                listening.turns()
                self.assertEqual(far.received, b"")
                listening.advance(3.1)
                listening.until(lambda far=far: far.received)
                self.assertIsInstance(far.packets()[0], Pingresp)

    def test_pending_verdict(self) -> None:
        """The same while the chain thinks about a packet."""
        listening = Listening(self)
        listening.chain.delay(Stage.SUBSCRIBE)
        far = listening.connected("c")
        far.send(subscribe_bytes("a/#") + PINGREQ)
        listening.turns()
        self.assertEqual(len(listening.reactor.getReaders()), 1)
        listening.chain.answer()
        listening.until(lambda: far.received.endswith(b"\xd0\x00"))
        self.assertEqual([type(each) for each in far.packets()], [Suback, Pingresp])

    def test_ends_while_paused(self) -> None:
        """A client that leaves while it is not read from is gone once it is."""
        listening = Listening(self)
        listening.chain.oblige(Stage.PUBLISH, Throttle(3.0))
        far = listening.connected("c")
        far.send(publish_bytes("a", b"x"))
        listening.turns()
        far.close()
        listening.turns()
        listening.check_counts(1)
        listening.advance(3.1)
        listening.check_counts()


class SlowReaderTests(unittest.SynchronousTestCase):
    """A client that does not take what it is sent costs itself alone."""

    LIMITS = Limits(outbox_bytes=200_000, maximum_packet_size=1_000_000)

    def test_outbox_is_bounded(self) -> None:
        """The transport holds one write at most; the rest is in the outbox, whose bound holds."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                context = tls_files().client() if tls else None
                listening = Listening(self, tls_files().server() if tls else None, limits=self.LIMITS)
                slow = listening.connected("slow", context, receive_buffer=4096)
                slow.send(subscribe_bytes("a/#"))
                listening.until(lambda slow=slow: slow.received)
                slow.packets()
                slow.reads = False
                writer = listening.connected("writer", context)
                for number in range(600):
                    writer.send(publish_bytes("a/b", number.to_bytes(4, "big") * 2500))
                    listening.turn()
                listening.turns()
                (connection,) = [
                    each for each in listening.driver.core.state.connections if each.facts.client_id == "slow"
                ]
                self.assertFalse(connection.writable)
                # Messages that came in one read go in together.
                self.assertLessEqual(connection.outbox_bytes, self.LIMITS.outbox_bytes + 64 * 1024)
                held = connection.adapter._sender._transport
                self.assertLessEqual(len(held.dataBuffer) + held._tempDataLen, 64 * 1024 + 1000)
                self.assertGreater(listening.driver.core.counters.messages_dropped, 100)
                self.assertIsNone(writer.ended)
                slow.reads = True
                listening.until(lambda connection=connection: not connection.outbox and connection.writable)
                listening.turns(30)
                numbers = [int.from_bytes(each.payload[:4], "big") for each in slow.packets()]  # type: ignore[attr-defined]
                self.assertEqual(numbers, sorted(numbers))
                self.assertGreater(len(numbers), 20)
                listening.events.clear()

    def test_queue_goes_on(self) -> None:
        """Messages of QoS 1 that had to be queued follow as the client reads, in order and complete."""
        listening = Listening(self, limits=self.LIMITS)
        slow = listening.connected("slow", receive_buffer=4096)
        slow.send(subscribe_bytes("a/#", 1))
        listening.until(lambda: slow.received)
        slow.packets()
        slow.reads = False
        writer = listening.connected("writer")
        for number in range(700):
            writer.send(publish_bytes("a/b", number.to_bytes(4, "big") * 2500, qos=1))
            listening.turn()
        self.assertGreater(len(listening.driver.core.state.sessions["slow"].queue or ()), 50)
        slow.reads = True
        got: list[Publish] = []
        deadline = time.monotonic() + 8
        while len(got) < 700 and time.monotonic() < deadline:
            listening.turn()
            for packet in slow.packets():
                if isinstance(packet, Publish):
                    got.append(packet)
                    slow.send(b"\x40\x02" + packet.packet_id.to_bytes(2, "big"))
        self.assertEqual([int.from_bytes(each.payload[:4], "big") for each in got], list(range(700)))

    def test_retained_messages_go_on(self) -> None:
        """More retained messages than the outbox holds reach a slow client, each once, while others are served."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                context = tls_files().client() if tls else None
                listening = Listening(self, tls_files().server() if tls else None, limits=self.LIMITS)
                for number in range(300):
                    listening.driver.publish(f"r/{number}", b"x" * 5000, retain=True)
                slow = listening.connected("slow", context, receive_buffer=4096)
                slow.reads = False
                slow.send(subscribe_bytes("r/#"))
                listening.turns(20)
                other = listening.connected("other", context)
                other.send(PINGREQ)
                listening.until(lambda other=other: other.received)
                slow.reads = True
                topics: list[str] = []

                def read(slow: Far = slow, topics: list[str] = topics) -> bool:
                    topics += [each.topic for each in slow.packets() if isinstance(each, Publish)]
                    return len(topics) >= 300

                listening.until(read)
                self.assertEqual(sorted(topics), sorted(f"r/{number}" for number in range(300)))

    def test_fast_reader_takes_turns(self) -> None:
        """One that takes everything does not keep the broker from others: each gets one write a turn."""
        listening = Listening(self, limits=self.LIMITS)
        for number in range(300):
            listening.driver.publish(f"r/{number}", b"x" * 5000, retain=True)
        far = listening.connected("c")
        (connection,) = listening.driver.core.state.connections
        sizes: list[int] = []
        adapter = connection.adapter
        send = adapter._send
        self.patch(adapter, "_send", lambda data: (sizes.append(len(data)), send(data)))
        far.socket.sendall(subscribe_bytes("r/#"))
        listening.reactor.turn(0.1)
        self.assertLess(sum(sizes), 400_000)
        listening.until(lambda: len(far.received) > 1_500_000)


class ClosingTests(unittest.SynchronousTestCase):
    """However a connection ends, it does, and those who must hear of it do."""

    def each(self) -> list[tuple[Listening, Far]]:
        """A connected client, plain and over TLS."""
        found = []
        for tls in (False, True):
            listening = Listening(self, tls_files().server() if tls else None)
            found.append((listening, listening.connected("c", tls_files().client() if tls else None)))
        return found

    def test_client_says_goodbye(self) -> None:
        """After DISCONNECT the broker ends the connection at once."""
        for listening, far in self.each():
            far.send(DISCONNECT)
            listening.until(lambda far=far: far.ended)
            listening.turns()
            listening.check_counts()
            self.assertEqual([each.text for each in listening.texts(Disconnected)], ["disconnected"])

    def test_client_closes(self) -> None:
        """By FIN, by RST, and by TLS's close_notify: the end is reported once, and is the client's doing."""
        for how in ("close", "reset", "close_notify"):
            for listening, far in self.each():
                if how == "close_notify" and far.tls is None:
                    continue
                getattr(far, how)()
                listening.turns()
                listening.check_counts()
                (event,) = listening.texts(Disconnected)
                self.assertEqual((event.text, event.by_peer), ("connection lost", True))

    def test_half_closed_client(self) -> None:
        """A client that ends its side has ended: MQTT knows no half of a connection."""
        import socket

        listening = Listening(self)
        far = listening.connected("c")
        far.socket.shutdown(socket.SHUT_WR)
        listening.turns()
        self.assertEqual(far.ended, "eof")
        listening.check_counts()

    def test_broker_closes(self) -> None:
        """A protocol error is answered by DISCONNECT, then the end; the socket is gone when the client's is."""
        for listening, far in self.each():
            far.send(b"\x00\x00")
            listening.until(lambda far=far: far.ended)
            (packet,) = far.packets()
            self.assertIsInstance(packet, Disconnect)
            self.assertEqual(far.ended, "eof" if far.tls is None else "close_notify")
            far.close()
            listening.turns()
            listening.check_counts()

    def test_last_word_arrives_in_spite_of_a_flood(self) -> None:
        """A client that is sending more when it is refused can still read why: no reset takes it away."""
        for listening, far in self.each():
            far.send(publish_bytes("a", b"x" * 300_000) * 10)
            listening.until(lambda far=far: far.ended)
            (packet,) = far.packets()
            self.assertEqual((type(packet), packet.reason_code), (Disconnect, 0x95))  # type: ignore[attr-defined]
            self.assertNotEqual(far.ended, "reset")

    def test_refused_connect_with_more_behind_it(self) -> None:
        """The same for CONNACK."""
        listening = Listening(self)
        listening.chain.deny(Stage.AUTHENTICATE)
        far = listening.connect()
        far.send(connect_bytes() + publish_bytes("a", b"x" * 100_000) * 20)
        listening.until(lambda: far.ended)
        self.assertEqual((far.received[0], far.received[3], far.ended), (0x20, 0x87, "eof"))

    def test_client_that_never_closes(self) -> None:
        """After two seconds it is aborted."""
        for listening, far in self.each():
            far.answers_close = False
            far.send(b"\x00\x00")
            listening.until(lambda far=far: far.ended)
            listening.turns()
            listening.check_counts(1)
            listening.advance(1.9)
            listening.check_counts(1)
            listening.advance(0.2)
            listening.check_counts()

    def test_client_that_never_reads(self) -> None:
        """Neither what waits for it nor its silence keeps the connection: two seconds, then the end."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                context = tls_files().client() if tls else None
                listening = Listening(self, tls_files().server() if tls else None)
                far = listening.connected("c", context, receive_buffer=4096)
                far.send(subscribe_bytes("a"))
                listening.until(lambda far=far: far.received)
                far.reads = False
                for _ in range(60):
                    listening.driver.publish("a", b"x" * 100_000)
                    listening.turn()
                (connection,) = listening.driver.core.state.connections
                self.assertFalse(connection.writable)
                far.send(b"\x00\x00")
                listening.turns()
                self.assertTrue(connection.closing)
                listening.check_counts(1)
                listening.advance(2.1)
                listening.check_counts()

    def test_acknowledgements_that_nobody_reads(self) -> None:
        """A flood of pings whose answers are not read is kept as few pieces, not as an object for each answer."""
        listening = Listening(self, limits=SlowReaderTests.LIMITS)
        far = listening.connected("c", receive_buffer=4096)
        far.reads = False
        far.send(subscribe_bytes("a"))
        for _ in range(100):
            listening.driver.publish("a", b"x" * 100_000)
            listening.turn()
        (connection,) = listening.driver.core.state.connections
        self.assertFalse(connection.writable)
        for _ in range(20):
            far.send(b"\xc0\x00" * 1000)
            listening.turns(3)
        self.assertLess(len(connection.outbox), 3000)
        self.assertEqual(sum(map(len, connection.outbox)) + connection.adapter._sender.held, connection.outbox_bytes)

    def test_goodbye_of_a_client_that_does_not_read(self) -> None:
        """TLS may be over with bytes still to send: the session is over at once, the socket two seconds later."""
        listening = Listening(self, tls_files().server())
        far = listening.connected("c", tls_files().client(), receive_buffer=4096)
        far.send(subscribe_bytes("a"))
        listening.until(lambda: far.received)
        far.reads = False
        for _ in range(60):
            listening.driver.publish("a", b"x" * 100_000)
            listening.turn()
        far.close_notify()
        listening.turns()
        self.assertEqual(len(listening.texts(Disconnected)), 1)
        self.assertEqual(listening.driver.core.state.connections, set())
        listening.check_counts(1)
        listening.advance(2.1)
        listening.check_counts()

    def test_tampered_record(self) -> None:
        """An error of TLS ends the session at once."""
        listening = Listening(self, tls_files().server())
        far = listening.connected("c", tls_files().client())
        far.send_raw(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        listening.turns()
        listening.check_counts()
        self.assertEqual(len(listening.texts(Disconnected)), 1)

    def test_policy_ends_the_connection(self) -> None:
        """An obligation to disconnect is carried out after the answer."""
        listening = Listening(self)
        listening.chain.deny(Stage.PUBLISH, DisconnectObligation())
        far = listening.connected("c")
        far.send(publish_bytes("a", b"x"))
        listening.until(lambda: far.ended)
        self.assertEqual([type(each) for each in far.packets()], [Disconnect])

    def test_taken_over(self) -> None:
        """The older connection hears 0x8E and ends; the newer one lives."""
        listening = Listening(self)
        older = listening.connected("c", username="alice")
        newer = listening.connected("c", username="alice")
        listening.until(lambda: older.ended)
        self.assertEqual([each.reason_code for each in older.packets()], [0x8E])  # type: ignore[attr-defined]
        newer.send(PINGREQ)
        listening.until(lambda: newer.received)
        self.assertEqual(len(listening.texts(Connected)), 2)


class ForeignTlsTests(unittest.SynchronousTestCase):
    """OpenSSL's own client, which can do what Python's cannot."""

    def test_key_update(self) -> None:
        """New keys are taken and given in mid-connection (TLS 1.3), and messages flow on."""
        program = require("openssl")
        listening = Listening(self, tls_files().server())
        port = listening.port.getHost().port
        client = subprocess.Popen(
            [program, "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-msg"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        assert client.stdin is not None and client.stdout is not None

        def say(data: bytes) -> None:
            client.stdin.write(data)  # type: ignore[union-attr]
            client.stdin.flush()  # type: ignore[union-attr]

        say(connect_bytes())
        listening.until(lambda: listening.texts(Connected))
        counters = listening.driver.core.counters
        for _ in range(3):
            sent = counters.bytes_sent
            say(b"K\n")  # s_client: update my keys, and ask for yours
            for _ in range(20):
                listening.reactor.turn(0.005)
            say(PINGREQ)
            listening.until(lambda sent=sent: counters.bytes_sent == sent + 2)
        self.assertEqual(listening.texts(Disconnected), [])
        client.kill()
        output = client.stdout.read()
        client.stdin.close()
        client.stdout.close()
        self.assertGreaterEqual(output.count(b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate"), 2)
