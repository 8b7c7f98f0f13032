"""Messages from the broker."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.failures import BrokerFault
from mqttsecure.client.inbound import TOLERANCE
from mqttsecure.wire.packets import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.client.conversation import Conversation


def _publish(qos: int, packet_id: int = 0, dup: bool = False, payload: bytes = b"x") -> Publish:
    return Publish("t", payload, qos, False, dup, packet_id)


class AcknowledgeTests(SynchronousTestCase):
    """The application is done with a message, and only then the broker is told."""

    def setUp(self) -> None:
        self.each = Conversation(session_expiry=60, clean_start=False)
        self.each.connect()

    def test_qos_1(self) -> None:
        """No PUBACK before the application is done."""
        arrived = self.each.message(self.each.say(_publish(1, 7)))
        self.assertEqual(arrived.message.payload, b"x")
        self.assertEqual(self.each.sent(), [])
        self.each.machine.acknowledge(arrived)
        self.assertEqual(self.each.sent(), [Puback(7)])
        self.each.machine.acknowledge(arrived)
        self.assertEqual(self.each.sent(), [])

    def test_qos_2(self) -> None:
        """PUBREC, PUBREL, PUBCOMP; then the identifier is free."""
        arrived = self.each.message(self.each.say(_publish(2, 7)))
        self.each.machine.acknowledge(arrived)
        self.assertEqual(self.each.sent(), [Pubrec(7)])
        self.each.say(Pubrel(7))
        self.assertEqual(self.each.sent(), [Pubcomp(7)])
        self.each.message(self.each.say(_publish(2, 7)))

    def test_failed(self) -> None:
        """An application that fails has the broker told, in 5.0; in 3.1.1 there is no word for it."""
        arrived = self.each.message(self.each.say(_publish(1, 7)))
        self.each.machine.acknowledge(arrived, 0x83)
        arrived = self.each.message(self.each.say(_publish(2, 8)))
        self.each.machine.acknowledge(arrived, 0x83)
        self.assertEqual(self.each.sent(), [Puback(7, 0x83), Pubrec(8, 0x83)])
        self.each.message(self.each.say(_publish(2, 8)))
        old = Conversation(version=4)
        old.connect()
        old.machine.acknowledge(old.message(old.say(_publish(1, 7))), 0x83)
        self.assertEqual(old.sent(), [Puback(7)])

    def test_unknown_pubrel(self) -> None:
        """Of a session that only the broker remembers."""
        self.each.say(Pubrel(9))
        self.assertEqual(self.each.sent(), [Pubcomp(9, 0x92)])


class TwiceTests(SynchronousTestCase):
    """The connection is lost in the middle."""

    def setUp(self) -> None:
        self.each = Conversation(session_expiry=60, clean_start=False)
        self.each.connect()

    def test_qos_1_comes_again(self) -> None:
        """At least once: the acknowledgement of the old connection is not sent on the new one."""
        arrived = self.each.message(self.each.say(_publish(1, 7)))
        self.each.lose()
        self.each.connect(session_present=True)
        self.each.machine.acknowledge(arrived)
        self.assertEqual(self.each.sent(), [])
        again = self.each.message(self.each.say(_publish(1, 7, True)))
        self.assertTrue(again.message.dup)

    def test_qos_2_does_not(self) -> None:
        """Exactly once: what comes again is acknowledged and not told; also while the application still works on it."""
        arrived = self.each.message(self.each.say(_publish(2, 7)))
        self.each.lose()
        self.each.connect(session_present=True)
        self.assertEqual(self.each.say(_publish(2, 7, True)), [])
        self.assertEqual(self.each.sent(), [])
        self.each.machine.acknowledge(arrived)
        self.assertEqual(self.each.sent(), [Pubrec(7)])
        self.each.lose()
        self.each.connect(session_present=True)
        self.assertEqual(self.each.say(_publish(2, 7, True)), [])
        self.assertEqual(self.each.sent(), [Pubrec(7)])

    def test_session_lost(self) -> None:
        """A broker that forgot the session may use the identifier for another message."""
        self.each.message(self.each.say(_publish(2, 7)))
        self.each.lose()
        self.each.connect(session_present=False)
        self.each.message(self.each.say(_publish(2, 7, payload=b"other")))


class FaultTests(SynchronousTestCase):
    """A broker that sends more, or other, than it may."""

    def test_receive_maximum(self) -> None:
        """Many more at once than was announced end the connection with 0x93; a few do not, as Mosquitto sends them."""
        each = Conversation(receive_maximum=2)
        each.connect()
        for number in range(1, 2 * TOLERANCE + 1):
            each.say(_publish(1 + number % 2, number), _publish(0))
        self.assertIsInstance(each.error(each.say(_publish(1, 99))), BrokerFault)
        self.assertEqual(each.sent(), [Disconnect(0x93)])

    def test_identifier_in_use(self) -> None:
        """The same identifier for two messages is no second message."""
        each = Conversation()
        each.connect()
        each.say(_publish(1, 1))
        self.assertIsInstance(each.error(each.say(_publish(1, 1))), BrokerFault)

    def test_aliases(self) -> None:
        """An alias stands for its topic on its connection; what is too large or stands for nothing ends it."""
        each = Conversation(topic_alias_maximum=2)
        each.connect()
        each.say(Publish("long/topic", b"1", properties={"topic_alias": 2}))
        arrived = each.message(each.say(Publish("", b"2", properties={"topic_alias": 2})))
        self.assertEqual(arrived.message.topic, "long/topic")
        self.assertEqual(arrived.message.properties, {})
        each.lose()
        each.connect()
        self.assertIsInstance(each.error(each.say(Publish("", properties={"topic_alias": 2}))), BrokerFault)
        each.lose()
        each.connect()
        each.sent()
        self.assertIsInstance(each.error(each.say(Publish("t", properties={"topic_alias": 3}))), BrokerFault)
        self.assertEqual(each.sent(), [Disconnect(0x94)])
