# -*- test-case-name: tests.core.test_session -*-
"""Session State: Packet Identifiers and the queue."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import BROKER_PRINCIPAL, ConnectionFacts, Peer, Principal, Writer
from mqttsecure.core.model import Envelope, Message
from mqttsecure.core.session import Delivery, Session


class SessionTests(SynchronousTestCase):
    """One session."""

    def setUp(self) -> None:
        self.session = Session("c", Principal("users", "u"), ConnectionFacts(1, "lab", Peer(None)))

    def delivery(self, payload: bytes) -> Delivery:
        return (Message("t", payload, 1, False, Envelope(Writer(BROKER_PRINCIPAL), 1)), 1, False, (), None)

    def test_packet_identifiers(self) -> None:
        """They are counted up from 1, skip those in use, and wrap from 65,535 to 1."""
        self.assertEqual([self.session.take_packet_id() for _ in range(3)], [1, 2, 3])
        self.session.inflight = {4: None, 6: None}
        self.assertEqual([self.session.take_packet_id() for _ in range(2)], [5, 7])
        self.session.next_packet_id = 65_534
        self.session.inflight = {65_535: None, 1: None}
        self.assertEqual([self.session.take_packet_id() for _ in range(2)], [65_534, 2])

    def test_queue(self) -> None:
        """First in, first out; what is put back is first again; the count of bytes is exact."""
        self.assertIsNone(self.session.dequeue())
        first, second = self.delivery(b"1"), self.delivery(b"22")
        self.session.enqueue(first)
        self.session.enqueue(second)
        self.assertEqual(self.session.queue_octets, first[0].size + second[0].size)
        taken = self.session.dequeue()
        self.assertIs(taken, first)
        self.session.put_back(first)
        self.assertIs(self.session.dequeue(), first)
        self.assertIs(self.session.dequeue(), second)
        self.assertEqual((self.session.queue, self.session.queue_octets), (None, 0))
        self.session.put_back(first)
        self.assertIs(self.session.dequeue(), first)
