"""Captures that are not neat: cut, lossy, out of order, begun midway, several connections, other record boundaries."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.link import ETHERNET
from mqttsecure.lab.capture.synthesis import Conversation, End
from mqttsecure.lab.capture.tcp import ACK, PSH
from mqttsecure.lab.model import Connection, Outcome, Reading
from mqttsecure.lab.reading import read_capture_bytes
from mqttsecure.lab.summary import frames_of
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Disconnect
from tests.lab.authority import credential, root
from tests.lab.scenarios import recording_of
from tests.lab.test_mqtt import conversation
from tests.lab.traffic import MOMENT, Recording, Setup, capture, record, talk

Frames = list[tuple[int, bytes]]


def reading_of(frames: Frames, key_log: bytes = b"", link_type: int = ETHERNET) -> Reading:
    return read_capture_bytes(
        capture(frames, secrets=key_log, link_type=link_type), source="test", authorities=[root().certificate]
    )


def one(frames: Frames, key_log: bytes = b"") -> Connection:
    (connection,) = reading_of(frames, key_log).connections
    return connection


def said(connection: Connection) -> list[str]:
    return [f"{message.sender} {message.name}" for message in connection.messages if message.layer != "tcp"]


def records_of(data: bytes) -> list[bytes]:
    """The records in bytes."""
    found = []
    while data:
        size = 5 + int.from_bytes(data[3:5], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def change_flight(recording: Recording, at: int, change: Callable[[bytes], bytes]) -> Recording:
    chunks = list(recording.chunks)
    chunks[at] = (chunks[at][0], change(chunks[at][1]))
    return Recording(chunks, recording.secrets)


class TcpTests(SynchronousTestCase):
    """What TCP does to a conversation changes nothing in what was said."""

    def setUp(self) -> None:
        self.recording = recording_of("rsa")
        self.frames = record(self.recording, mss=300).frames
        self.expected = said(one(self.frames, self.recording.key_log))

    def same(self, frames: Frames) -> Connection:
        connection = one(frames, self.recording.key_log)
        self.assertEqual(said(connection), self.expected)
        self.assertNotIn(Outcome.BAD, [check.outcome for check in connection.checks])
        return connection

    def test_small_segments(self) -> None:
        """Lab row C3a: four messages in four segments of 400 bytes, each told with the frames that it lies in."""
        connection = one(record(self.recording, mss=400).frames, self.recording.key_log)
        flight = [message for message in connection.messages if message.frame in (6, 7, 8, 9)]
        self.assertEqual(
            [(message.name, message.frames) for message in flight],
            [
                ("ServerHello", (6,)),
                ("Certificate", (6, 7, 8)),
                ("ServerKeyExchange", (8, 9)),
                ("ServerHelloDone", (9,)),
            ],
        )
        self.assertEqual(connection.tcp.acks["client"][:2], [3, 10])

    def test_repetitions(self) -> None:
        """Each frame twice."""
        connection = self.same([frame for frame in self.frames for _twice in range(2)])
        self.assertGreater(connection.tcp.retransmissions["server"], 3)

    def test_disorder(self) -> None:
        """Frames of a flight in any order."""
        rng = random.Random(7)
        shuffled: Frames = []
        for _sender, flight in itertools.groupby(self.frames, key=lambda frame: frame[1][6:12]):
            piece = list(flight)
            rng.shuffle(piece)
            shuffled += piece
        connection = self.same(shuffled)
        self.assertGreater(sum(connection.tcp.out_of_order.values()), 0)

    def test_overlap(self) -> None:
        """A repetition that reaches further than the first time, and one that begins earlier."""
        conversation = Conversation(End("10.9.0.2", 4000), End("10.9.0.1", 8883, 77))
        conversation.open(MOMENT)
        (_client, hello), *rest = self.recording.chunks
        conversation.send(True, hello[:100], MOMENT)
        conversation.client.sequence -= 60
        conversation.send(True, hello[40:150], MOMENT)
        conversation.client.sequence -= 150
        conversation.send(True, hello, MOMENT)
        for from_client, data in rest:
            conversation.send(from_client, data, MOMENT)
        connection = self.same(conversation.frames)
        self.assertEqual(connection.tcp.conflicts["client"], [])

    def test_other_bytes_in_a_repetition_are_told(self) -> None:
        """Somebody injects bytes: the first ones count, and I am told."""
        conversation = Conversation(End("10.9.0.2", 4000), End("10.9.0.1", 8883, 77))
        conversation.open(MOMENT)
        (_client, hello), *rest = self.recording.chunks
        conversation.send(True, hello, MOMENT)
        conversation.client.sequence -= 20
        conversation.send(True, b"X" * 20, MOMENT)
        for from_client, data in rest:
            conversation.send(from_client, data, MOMENT)
        connection = self.same(conversation.frames)
        self.assertIn("tcp_conflict", [finding.key for finding in connection.verdict.findings])

    def test_sequence_numbers_wrap(self) -> None:
        """The numbers of TCP run over in the middle."""
        conversation = Conversation(
            End("10.9.0.2", 4000, 0xFFFFFF00), End("10.9.0.1", 8883, 0xFFFFFF80), ETHERNET, mss=200
        )
        conversation.open(MOMENT)
        for from_client, data in self.recording.chunks:
            conversation.send(from_client, data, MOMENT)
        self.same(conversation.frames)

    def test_same_ports_again(self) -> None:
        """A second connection between the same ports is another one."""
        frames = record(self.recording, client_port=4000).frames
        again = record(recording_of("tls12"), client_port=4000)
        later = Conversation(End("10.9.0.2", 4000, 900000), End("10.9.0.1", 8883, 800000))
        later.open(MOMENT)
        for from_client, data in recording_of("tls12").chunks:
            later.send(from_client, data, MOMENT)
        reading = reading_of(frames + later.frames)
        self.assertEqual(len(reading.connections), 2)
        self.assertEqual(len(again.frames), len(later.frames) + 4)

    def test_several_at_once(self) -> None:
        """Connections whose frames are mixed."""
        names = ("rsa", "tls12", "tls13", "mutual 1.3", "psk")
        all_frames = [record(recording_of(name)).frames for name in names]
        mixed = [frame for at in range(60) for frames in all_frames if at < len(frames) for frame in (frames[at],)]
        secrets = b"".join(recording_of(name).key_log for name in names)
        reading = reading_of(mixed, secrets)
        self.assertEqual([each.verdict.outcome for each in reading.connections], ["completed"] * 5)
        self.assertEqual(said(reading.connections[0]), self.expected)

    def test_fast_open(self) -> None:
        """Bytes in the SYN itself."""
        conversation = Conversation(End("10.9.0.2", 4000), End("10.9.0.1", 8883, 77))
        (_client, hello), *rest = self.recording.chunks
        conversation._send(True, 2, hello, MOMENT, 1460)
        conversation.client.sequence += 1 + len(hello)
        conversation._send(False, 18, b"", MOMENT, 1460)
        conversation.server.sequence += 1
        for from_client, data in rest:
            conversation.send(from_client, data, MOMENT)
        self.same(conversation.frames)

    def test_keep_alive(self) -> None:
        """A probe repeats one byte, whatever it says; that is no injection."""
        conversation = Conversation(End("10.9.0.2", 4000), End("10.9.0.1", 8883, 77))
        conversation.open(MOMENT)
        for from_client, data in self.recording.chunks:
            conversation.send(from_client, data, MOMENT)
            conversation.client.sequence -= 1
            conversation.send(True, b"\0", MOMENT)
        connection = self.same(conversation.frames)
        self.assertEqual(connection.tcp.conflicts["client"], [])

    def test_resumed_without_secrets_of_its_own(self) -> None:
        """A session that is resumed later in the same capture is opened by the secrets of the first."""
        for options in (0, SSL.OP_NO_TICKET):
            versions = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
            first = talk(Setup(versions=versions, options=options))
            secrets = first.key_log
            second = talk(Setup(versions=versions, options=options, resume=first))
            reading = reading_of(record(first).frames + record(second).frames, secrets)
            states = [each.tls.key_log.state for each in reading.connections if each.tls is not None]
            self.assertEqual(states, ["used", "used"])
            self.assertIn("client PUBLISH", said(reading.connections[1]))


class LossTests(SynchronousTestCase):
    """What is not in the capture is told, and the rest is still read."""

    def test_begins_midway(self) -> None:
        """The capture was started too late: nobody can know the keys, and I am told so."""
        recording = recording_of("tls12")
        for skipped in (12, 13, 14):
            connection = one(record(recording).frames[skipped:], recording.key_log)
            self.assertEqual(connection.verdict.outcome, "midstream")
            self.assertEqual(connection.tls and connection.tls.key_log.state, "absent")
            self.assertEqual({message.kind for message in connection.messages} & {"client_hello", "connect"}, set())

    def test_begins_within_a_record(self) -> None:
        """The first bytes are the middle of a record: the next record is found."""
        recording = recording_of("rsa")
        frames = record(recording, mss=200).frames
        connection = one(frames[7:], recording.key_log)
        self.assertIn("belong to a record whose beginning is missing", " ".join(connection.notes))
        self.assertIn("client ClientKeyExchange", said(connection))
        self.assertEqual(connection.verdict.outcome, "midstream")

    def test_server_hello_without_client_hello(self) -> None:
        """The first flight is missing: what the server says is still read."""
        recording = recording_of("tls12")
        connection = one(record(recording).frames[5:], recording.key_log)
        self.assertEqual(said(connection)[0], "server ServerHello")
        check = {each.key: each for each in connection.checks}["server_key_exchange_signature"]
        self.assertEqual(check.outcome, Outcome.UNKNOWN)

    def test_a_lost_segment(self) -> None:
        """One segment of application data is missing: what follows is opened all the same."""
        for name in ("tls12", "tls13"):
            recording = recording_of(name)
            frames = record(recording).frames
            plain = one(frames, recording.key_log)
            connect = next(message.frame for message in plain.messages if message.name == "CONNECT")
            connection = one(frames[: connect - 1] + frames[connect:], recording.key_log)
            self.assertNotIn("client CONNECT", said(connection))
            self.assertIn("are not in the capture", " ".join(connection.notes))
            self.assertTrue(connection.tcp.missing["client"])
            opened = [record.decrypted for record in connection.records if record.encrypted]
            self.assertTrue(all(opened), opened)

    def test_a_lost_segment_of_the_handshake(self) -> None:
        """A piece of the certificate is missing: no check pretends to know."""
        recording = recording_of("rsa")
        frames = record(recording, mss=200).frames
        connection = one(frames[:7] + frames[8:], recording.key_log)
        outcomes = {check.key: check.outcome for check in connection.checks}
        self.assertNotIn(Outcome.BAD, outcomes.values(), outcomes)

    def test_one_direction_alone(self) -> None:
        """A tap that sees one end only: what it said is read, and no refusal is made up."""
        for name in ("tls12", "tls13", "mutual 1.3"):
            recording = recording_of(name)
            frames = record(recording).frames
            for sender, mac in (("server", b"\x02\0\x0a\x4d\0\x0a"), ("client", b"\x02\0\x0a\x4d\0\x1e")):
                verdict = one([frame for frame in frames if frame[1][6:12] == mac], recording.key_log).verdict
                self.assertEqual((verdict.outcome, verdict.refused), ("incomplete", False), (name, sender))
                self.assertIn(f"only what the {sender} sent is in the capture", verdict.text)

    def test_frames_that_were_cut(self) -> None:
        """A snap length of 100 bytes: it is told, and nothing is made up."""
        recording = recording_of("tls12")
        whole = record(recording).frames
        data = capture([(time, frame) for time, frame in whole])
        cut = bytearray()
        position = 0
        while position < len(data):
            kind, size = int.from_bytes(data[position : position + 4], "little"), 0
            size = int.from_bytes(data[position + 4 : position + 8], "little")
            block = data[position : position + size]
            position += size
            kept = int.from_bytes(block[20:24], "little") if kind == 6 else 0
            if kept > 100:
                body = block[8:20] + (100).to_bytes(4, "little") + block[24:128]
                length = (len(body) + 12).to_bytes(4, "little")
                block = block[:4] + length + body + length
            cut += block
        reading = read_capture_bytes(bytes(cut), source="test")
        self.assertIn("cut by the capture's snap length", " ".join(reading.notes))
        self.assertTrue(reading.connections[0].tcp.missing["server"])


class RecordTests(SynchronousTestCase):
    """Where records end has nothing to do with where messages end."""

    def test_several_messages_in_one_record(self) -> None:
        """The server's whole flight in one record."""
        recording = recording_of("rsa")

        def join(data: bytes) -> bytes:
            body = b"".join(each[5:] for each in records_of(data))
            return data[:3] + len(body).to_bytes(2, "big") + body

        connection = one(record(change_flight(recording, 1, join)).frames, recording.key_log)
        self.assertEqual(connection.verdict.outcome, "completed")
        self.assertEqual(len({message.records for message in connection.messages if message.frame == 6}), 1)
        self.assertNotIn(Outcome.BAD, [check.outcome for check in connection.checks])

    def test_one_message_in_many_records(self) -> None:
        """Each record has three bytes."""
        recording = recording_of("rsa")

        def split(data: bytes) -> bytes:
            body = b"".join(each[5:] for each in records_of(data))
            pieces = [body[at : at + 3] for at in range(0, len(body), 3)]
            return b"".join(data[:3] + len(each).to_bytes(2, "big") + each for each in pieces)

        connection = one(record(change_flight(recording, 1, split), mss=120).frames, recording.key_log)
        self.assertEqual(connection.verdict.outcome, "completed")
        certificate = connection.of_kind("certificate")[0]
        self.assertGreater(len(certificate.records), 100)
        self.assertGreater(len(certificate.frames), 5)
        self.assertNotIn(Outcome.BAD, [check.outcome for check in connection.checks])

    def test_empty_records(self) -> None:
        """Records without content, in the clear."""
        recording = recording_of("rsa")
        changed = change_flight(recording, 1, lambda data: b"\x16\x03\x03\0\0" + data)
        connection = one(record(changed).frames, recording.key_log)
        self.assertEqual(connection.verdict.outcome, "completed")

    def test_a_changed_byte_is_noticed(self) -> None:
        """One byte of the key exchange is changed on the way: the signature is invalid, and so is Finished."""
        recording = recording_of("rsa")

        def change(data: bytes) -> bytes:
            records = records_of(data)
            exchange = bytearray(records[2])
            exchange[20] ^= 1
            return b"".join([*records[:2], bytes(exchange), *records[3:]])

        connection = one(record(change_flight(recording, 1, change)).frames, recording.key_log)
        outcomes = {check.key: check.outcome for check in connection.checks}
        self.assertEqual(outcomes["server_key_exchange_signature"], Outcome.BAD)
        self.assertEqual(outcomes["client_finished"], Outcome.BAD)
        red = [finding.key for finding in connection.verdict.findings if finding.severity == "red"]
        self.assertIn("server_key_exchange_signature", red)

    def test_a_changed_ciphertext_stays_closed(self) -> None:
        """One byte of an encrypted record is changed: it does not open, those after it do."""
        for name in ("tls12", "tls13", "cbc with sha1", "cbc, mac inside", "chacha"):
            recording = recording_of(name)
            at = next(
                number
                for number, (from_client, data) in enumerate(recording.chunks)
                if from_client and data[0] == 23 and number > 3
            )
            changed = change_flight(recording, at, lambda data: data[:-1] + bytes((data[-1] ^ 1,)))
            connection = one(record(changed).frames, recording.key_log)
            closed = [each for each in connection.records if each.encrypted and not each.decrypted]
            self.assertEqual(len(closed), 1, name)
            self.assertEqual(connection.tls and connection.tls.key_log.state, "partial")
            self.assertIn("client DISCONNECT", said(connection), name)

    def test_grease(self) -> None:
        """Made-up numbers of a browser are told as what they are."""
        hello = bytearray(recording_of("tls13").chunks[0][1])
        at = 5 + 4 + 2 + 32 + 1 + 32
        hello[at + 2 : at + 4] = b"\x2a\x2a"
        connection = one(record(Recording([(True, bytes(hello))])).frames)
        (row,) = (each for each in frames_of(connection) if isinstance(each, dict))
        found = row["client_hello"]
        self.assertEqual(found["cipher_suites"][0] if isinstance(found, dict) else None, "GREASE (0x2a2a)")

    def test_proxy_protocol(self) -> None:
        """The header that a load balancer puts before TLS is passed over, and told."""
        recording = recording_of("tls13")
        for header in (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5 8883\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
        ):
            changed = change_flight(recording, 0, lambda data, header=header: header + data)  # type: ignore[misc]
            connection = one(record(changed).frames, recording.key_log)
            self.assertEqual(connection.verdict.outcome, "completed")
            self.assertIn("PROXY protocol", " ".join(connection.notes))


class RefusalTests(SynchronousTestCase):
    """A refusal is told as one, whatever it looks like."""

    def outcome(self, name: str, *, keys: bool = True) -> tuple[str, bool]:
        recording = recording_of(name)
        connection = one(record(recording).frames, recording.key_log if keys else b"")
        return connection.verdict.outcome, connection.verdict.refused

    def test_with_keys(self) -> None:
        """Alerts of either end, before and after the handshake; a client that just leaves."""
        for name, expected in {
            "mutual, none": ("refused_by_server", True),
            "mutual 1.3, none": ("completed_refused", True),
            "untrusted": ("refused_by_client", True),
            "untrusted 1.3": ("refused_by_client", True),
            "no shared suite": ("refused_by_server", True),
            "old version": ("refused_by_server", True),
            "left without data": ("completed_left", True),
            "renegotiation refused": ("completed", False),
            "tls13": ("completed", False),
        }.items():
            self.assertEqual(self.outcome(name), expected, name)

    def test_without_keys(self) -> None:
        """TLS 1.3 hides the alert; its size gives it away, and the text says that it is no more than that."""
        self.assertEqual(self.outcome("untrusted 1.3", keys=False), ("refused_by_client", True))
        self.assertEqual(self.outcome("tls13", keys=False), ("completed", False))
        self.assertEqual(self.outcome("left without data", keys=False), ("completed_left", True))

    def test_a_certificate_and_nothing_more(self) -> None:
        """TLS 1.3 without keys: a client that shows a certificate and leaves has sent no data."""
        versions = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)
        setup = Setup(versions=versions, ask_client=True, client=credential("sensor-1", client=True))
        for says, outcome in (([], "completed_left"), (None, "completed")):
            verdict = one(record(talk(setup, says=says)).frames).verdict
            self.assertEqual(verdict.outcome, outcome, verdict.text)

    def test_what_the_broker_refuses(self) -> None:
        """Inside, each refusal of the broker is told; so is that it left without an answer."""
        says = conversation(5)
        refusal = bytes(encode_packet(Disconnect(0x8E), 5))
        recording = talk(Setup(), says=[*says[:4], (False, refusal)])
        findings = [each.key for each in one(record(recording).frames, recording.key_log).verdict.findings]
        self.assertEqual(findings, ["subscribe_refused", "broker_disconnect"])
        recording = talk(Setup(), says=says[:1])
        recording.closes = "server"
        verdict = one(record(recording).frames, recording.key_log).verdict
        self.assertEqual((verdict.outcome, verdict.refused), ("completed_refused", True))
        self.assertIn("left without an answer", verdict.text)

    def test_broken_off(self) -> None:
        """The connection ends in the middle, by FIN, by RST, or with the capture."""
        recording = recording_of("tls12")
        first = Recording(recording.chunks[:2])
        for reset in (False, True):
            conversation = record(first, end=False)
            conversation.close(True, MOMENT, reset=reset)
            verdict = one(conversation.frames).verdict
            self.assertEqual((verdict.outcome, verdict.refused), ("aborted", True))
            self.assertIn("the client broke the handshake off after ServerHelloDone", verdict.text)
        self.assertEqual(one(record(first, end=False).frames).verdict.outcome, "incomplete")

    def test_without_a_byte(self) -> None:
        """Nobody answers; a port is closed; nothing is said."""
        frames = record(Recording([]), end=False).frames
        self.assertIn("nobody answered the SYN", one(frames[:1]).verdict.text)
        self.assertIn("nobody said a byte", one(frames).verdict.text)
        conversation = Conversation(End("10.9.0.2", 4000), End("10.9.0.1", 8883))
        conversation._send(True, 2, b"", MOMENT)
        conversation._send(False, 4 | ACK, b"", MOMENT)
        self.assertIn("the server refused the TCP connection", one(conversation.frames).verdict.text)

    def test_neither_tls_nor_mqtt(self) -> None:
        """Something else on the port is not made into what it is not."""
        conversation = Conversation(End("10.9.0.2", 4000), End("10.9.0.1", 8883))
        conversation.open(MOMENT)
        conversation._send(True, PSH | ACK, b"GET / HTTP/1.1\r\n\r\n", MOMENT)
        self.assertEqual(one(conversation.frames).verdict.text, "neither TLS nor MQTT")
