"""Lab rows E1 and E2: old versions are refused, and privacy, integrity and authentication, each shown once."""

from __future__ import annotations

import socket
from pathlib import Path

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.files import parse_capture
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.reader import read_traffic
from mqttsecure.lab.model import Connection
from mqttsecure.lab.reading import read_capture_bytes
from tests.lab.authority import root
from tests.lab.samples import CAPTURES
from tests.lab.scenarios import recording_of
from tests.lab.traffic import Pair, Recording, Setup, capture, drain, mqtt, record
from tests.support.config import write_config
from tests.support.process import BrokerProcess


def read(recording: Recording) -> Connection:
    data = capture(record(recording).frames, secrets=recording.key_log)
    (connection,) = read_capture_bytes(data, source="test", authorities=[root().certificate]).connections
    return connection


class OldVersionTests(SynchronousTestCase):
    """TLS is the successor of SSL; what came before 1.2 is refused, and the wire says so."""

    def test_our_broker_refuses_tls_1_0(self) -> None:
        """A client that offers TLS 1.0 gets the alert protocol_version and nothing else."""
        sample = CAPTURES / "fail-tls10-refused.pcap"
        traffic = read_traffic(parse_capture(sample.read_bytes(), Budget()), Budget())
        hello = b"".join(chunk.data for chunk in traffic.connections[0].client.chunks)
        folder = Path(self.mktemp())
        folder.mkdir()
        broker = BrokerProcess(write_config(folder).config, folder)
        self.addCleanup(broker.kill)
        broker.start()
        with socket.create_connection(("127.0.0.1", broker.ports["tls"]), timeout=30) as connection:
            connection.sendall(hello)
            answer = b""
            while piece := connection.recv(1000):
                answer += piece
        verdict = read(Recording([(True, hello), (False, answer)])).verdict
        self.assertEqual((verdict.outcome, verdict.refused), ("refused_by_server", True))
        self.assertIn("alert protocol_version", verdict.text)


class ThreePromisesTests(SynchronousTestCase):
    """What TLS promises."""

    def test_privacy(self) -> None:
        """The password is in no frame; in the clear it is."""
        for name, visible in (("tls12-ecdhe-rsa.pcap", False), ("tls13.pcap", False), ("plain-v311.pcap", True)):
            frames = parse_capture((CAPTURES / name).read_bytes(), Budget()).frames
            self.assertEqual(any(b"s3cret" in frame.data for frame in frames), visible, name)

    def test_integrity(self) -> None:
        """One byte of ciphertext is flipped on the way: bad_record_mac, the end, and nothing was delivered."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            recording = Recording()
            pair = Pair(Setup(versions=(version, version)), recording)
            pair.settle()
            pair.client.sendall(mqtt()[0][1])
            pair.move()
            self.assertEqual(pair.read(), mqtt()[0][1])
            pair.client.sendall(mqtt()[2][1])
            data = bytearray(drain(pair.client))
            data[-20] ^= 1
            recording.chunks.append((True, bytes(data)))
            pair.server.bio_write(bytes(data))
            self.assertEqual(pair.read(), b"")
            pair.move()
            connection = read(recording)
            self.assertEqual([message.name for message in connection.messages if message.layer == "mqtt"], ["CONNECT"])
            self.assertIn("fatal bad_record_mac", connection.of_kind("alert")[0].value)
            self.assertTrue(connection.verdict.refused)

    def test_authentication(self) -> None:
        """Without a client certificate nobody gets as far as CONNECT."""
        for name in ("mutual, none", "mutual 1.3, none"):
            connection = read(recording_of(name))
            self.assertTrue(connection.verdict.refused)
            self.assertEqual(connection.of_kind("connect"), [])
