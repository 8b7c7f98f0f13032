"""What comes while a session is read back from disk."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Stage
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Pubrec
from tests.support.core import Bench, Client
from tests.support.late_store import LateStore

_DURABLE = {"clean": False, "user": "u", "session_expiry_interval": 1000}


class RaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(store=LateStore())

    def _connected(self, bench: Bench, name: str, **connect: object) -> Client:
        """A client that is connected once the disk has done all."""
        client = bench.client()
        client.connect(name, **{**_DURABLE, **connect})
        for _ in range(3):
            bench.disk()
        return client

    def _subscriber(self) -> Client:
        client = self._connected(self.bench, "d")
        client.subscribe("t", qos=2)
        self.bench.disk()
        return client

    def test_what_comes_after_a_crash_replaces_nothing_that_was_queued_before(self) -> None:
        """Entries of one session have different numbers, in whichever life of the broker they came."""
        self._subscriber().disconnect()
        self._write(self.bench, b"before")
        bench = self.bench.crashed()
        self._write(bench, b"after")
        self.assertEqual(self._connected(bench, "d").payloads(), [b"before", b"after"])

    def test_what_comes_while_the_disk_is_read_is_not_forgotten(self) -> None:
        """A client returns, nothing was queued for it, and a message comes before the disk has said so."""
        self._subscriber()
        bench = self.bench.crashed()
        writer = self._connected(bench, "w")
        reader = bench.client()
        reader.connect("d", **_DURABLE)
        writer.publish("t", b"meanwhile", qos=1)
        for _ in range(3):
            bench.disk()
        self.assertEqual(reader.payloads(), [b"meanwhile"])

    def test_what_was_being_read_for_a_connection_that_ended_comes_once(self) -> None:
        """The next connection has it read anew."""
        self._subscriber().disconnect()
        for index in range(5):
            self._write(self.bench, b"%d" % index)
        reader = self._connected(self.bench, "d", receive_maximum=3)
        self.assertEqual(reader.acknowledge(), [b"0", b"1", b"2"])
        reader.lose()
        for _ in range(3):
            self.bench.disk()
        self.assertEqual(self._connected(self.bench, "d").payloads(), [b"3", b"4"])

    def test_what_waits_for_a_verdict_is_not_read_from_disk_as_well(self) -> None:
        """A message that comes in the turn in which a client is back, and is asked about, is delivered once."""
        self._subscriber()
        bench = self.bench.crashed()
        writer = self._connected(bench, "w")
        bench.chain.delay(Stage.DELIVER, client="d")
        reader = bench.client()
        connect = encode_packet(reader.connect_packet("d", **_DURABLE), 5)
        bench.core.receive_bytes(reader.connection, connect, bench.now)
        writer.publish("t", b"asked about", qos=2)
        for _ in range(3):
            bench.disk()
        bench.chain.answer()
        bench.disk()
        self.assertEqual(reader.payloads(), [b"asked about"])

    def test_a_session_that_had_ended_stays_so(self) -> None:
        """The process dies while a session's shared messages are handed on, and its client has a new session."""
        reader = self._subscriber()
        reader.subscribe("$share/g/s", qos=1)
        self.bench.disk()
        reader.disconnect()
        self.bench.disk()
        self._write(self.bench, b"queued")
        self._connected(self.bench, "w").publish("s", b"shared", qos=1)
        self.bench.disk()
        anew = self.bench.client()
        anew.connect("d", **{**_DURABLE, "clean": True})
        bench = self.bench.crashed(written=1)
        self.assertEqual(len(bench.store.contents.sessions), 3)  # type: ignore[union-attr]
        for _ in range(5):
            bench.disk()
        self.assertEqual(bench.core.state.tree.count, 0)
        self.assertEqual(len(bench.store.contents.sessions), 2)  # type: ignore[union-attr]
        self.assertEqual(self._connected(bench, "d").payloads(), [])

    def test_a_message_of_qos_2_is_on_disk_before_a_client_without_a_session_is_told(self) -> None:
        """PUBREC is a promise to whoever sent the message, not only to those who come back."""
        self._subscriber()
        writer = self._connected(self.bench, "w", clean=True, session_expiry_interval=0)
        for payload in (b"1", b"2", b"3"):  # by the long way, and by the short ones
            writer.publish("t", payload, qos=2)
            self.assertEqual(writer.take(Pubrec), [])
            self.bench.disk()
            self.assertEqual(len(writer.take(Pubrec)), 1)

    def _write(self, bench: Bench, payload: bytes) -> None:
        writer = self._connected(bench, "w")
        writer.publish("t", payload, qos=1)
        writer.disconnect()
        bench.disk()
