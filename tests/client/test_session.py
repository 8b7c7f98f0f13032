"""What outlives a connection."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.failures import OptionsInvalid, QueueFull
from mqttsecure.client.session import Outgoing, Request, Session, prepare
from mqttsecure.wire.packets import Publish, Subscribe, SubscriptionRequest


def _message(size: int = 1, qos: int = 1) -> Outgoing:
    return prepare(1, Publish("t", b"x" * size, qos), 5)


class QueueTests(SynchronousTestCase):
    """Messages that wait."""

    def test_bounded(self) -> None:
        """Neither the number nor the bytes grow without end; the error says what helps."""
        session = Session(3, 1000)
        for _ in range(3):
            session.enqueue(_message())
        self.assertFalse(session.has_room)
        self.assertIn("wait", str(self.assertRaises(QueueFull, session.enqueue, _message())))
        session.dequeue()
        self.assertTrue(session.has_room)
        session.enqueue(_message(900))
        self.assertRaises(QueueFull, session.enqueue, _message(200))

    def test_one_large_message(self) -> None:
        """One message may be larger than the budget, alone."""
        session = Session(3, 1000)
        session.enqueue(_message(5000))
        self.assertRaises(QueueFull, session.enqueue, _message())

    def test_prepare(self) -> None:
        """A message that cannot be one is refused when it is published."""
        for wrong in (Publish("a/#"), Publish(""), Publish("t", b"", 3), Publish("t", properties={"topic_alias": 0})):
            self.assertRaises(OptionsInvalid, prepare, 1, wrong, 5)

    def test_identifier_in_place(self) -> None:
        """Identifier and DUP are set in the encoded packet, whatever its length."""
        for size in (1, 200, 20000):
            message = _message(size)
            self.assertEqual(message.bytes_with(0x1234, True)[0], 0x3A)
            self.assertEqual(message.encoded[message.identifier_at : message.identifier_at + 2], b"\x12\x34")
            self.assertEqual(message.bytes_with(2, False)[0], 0x32)


class IdentifierTests(SynchronousTestCase):
    """Packet Identifiers."""

    def test_unused(self) -> None:
        """They go round, and skip what is in use by messages and requests."""
        session = Session(10, 1000)
        self.assertEqual([session.new_id() for _ in range(2)], [1, 2])
        session.in_flight[3] = _message()
        session.requests[4] = Request(1, Subscribe(4, [SubscriptionRequest("t")]))
        self.assertEqual(session.new_id(), 5)
        session._last_id = 65535
        self.assertEqual(session.new_id(), 1)

    def test_given_up(self) -> None:
        """The identifier of a QoS 2 message that was given up is not used again in that session."""
        session = Session(10, 1000)
        session.in_flight[session.new_id()] = _message(qos=2)
        session.give_up(1)
        session._last_id = 65535
        self.assertEqual(session.new_id(), 2)
        session.forget()
        session._last_id = 65535
        self.assertEqual(session.new_id(), 1)
