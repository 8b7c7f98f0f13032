# -*- test-case-name: tests.core.test_state -*-
"""The ways out: sending, closing, reporting."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Stage
from mqttsecure.core.events import Connected, Disconnected
from mqttsecure.core.limits import Limits
from mqttsecure.core.state import BrokerState
from mqttsecure.wire.packets import Disconnect, Suback, Subscribe, SubscriptionRequest
from tests.support.core import Bench


class CloseTests(SynchronousTestCase):
    """How connections end."""

    def setUp(self) -> None:
        self.bench = Bench()

    def last(self) -> tuple[int, str, bool]:
        event = self.bench.events[-1]
        assert isinstance(event, Disconnected)
        return event.reason_code, event.text, event.by_peer

    def test_reported(self) -> None:
        """The log learns who ended it, with which Reason Code, and why."""
        self.bench.connected("c").disconnect()
        self.assertEqual(self.last(), (0, "disconnected", True))
        self.bench.connected("c").disconnect(0x04)
        self.assertEqual(self.last(), (0x04, "disconnected", True))
        self.bench.connected("c").lose()
        self.assertEqual(self.last(), (0, "connection lost", True))
        client = self.bench.connected("c")
        client.send_bytes(b"\xc1\x00")
        self.assertEqual((self.last()[0], self.last()[2]), (0x81, False))
        self.assertEqual(sum(isinstance(event, Connected) for event in self.bench.events), 4)

    def test_nothing_said_nothing_reported(self) -> None:
        """A port scan that says nothing is no event; one that is too slow is."""
        self.bench.client().lose()
        self.assertEqual(self.bench.events, [])
        self.bench.client()
        self.bench.advance(10)
        self.assertEqual(self.last()[0], 0x8D)

    def test_from_outside(self) -> None:
        """The adapter may end a connection; any code is told as one that DISCONNECT can carry; twice is once."""
        for code, told in ((0x83, 0x83), (0x86, 0x87), (0x8C, 0x82), (0x84, 0x82), (0x98, 0x98)):
            client = self.bench.connected(f"c{code}")
            for _ in range(2):
                self.bench.core.close(client.connection, code, "for a reason", self.bench.now)
                self.bench.flush()
            self.assertEqual(client.take(Disconnect), [Disconnect(told)])
            self.assertTrue(client.connection.closing)
            self.bench.core.state.cut(client.connection, 0x97, "", self.bench.now)
            self.assertEqual(client.connection.close_reason, code)

    def test_maximum_packet_size_of_answers(self) -> None:
        """An answer larger than the client takes goes without its Reason String, or not at all."""
        self.bench.chain.deny(Stage.SUBSCRIBE, decision_id="x" * 100)
        client = self.bench.connected("c", maximum_packet_size=30)
        self.assertEqual(client.subscribe("t"), [0x87])
        client.send(Subscribe(1, [SubscriptionRequest("t")] * 40))
        self.assertEqual(client.take(Suback), [])
        self.assertFalse(client.closed)

    def test_not_wired(self) -> None:
        """A state without its broker says so."""
        state = BrokerState(Limits(), self.bench.chain, lambda size: b"")
        with self.assertRaises(RuntimeError):
            state.end(self.bench.connected("c").connection, 0, "", 0.0)


class PatienceTests(SynchronousTestCase):
    """Clients that take nothing at all."""

    def test_cut_in_the_end(self) -> None:
        """A client that takes nothing for long, while messages are lost to it, is cut; one that takes some is not."""
        bench = Bench(Limits(outbox_bytes=1000, slow_reader_patience=30))
        stuck, slow = bench.connected("stuck", keep_alive=1000), bench.connected("slow", keep_alive=1000)
        for reader in (stuck, slow):
            reader.subscribe("t")
            reader.reads = False
        writer = bench.connected("writer", keep_alive=1000)
        for _ in range(10):
            for _ in range(5):
                writer.publish("t", b"x" * 500)
            bench.advance(5)
            slow.read_again()
            slow.reads = False
        self.assertEqual((stuck.closed, stuck.connection.close_reason), (True, 0x97))
        self.assertFalse(slow.closed)
