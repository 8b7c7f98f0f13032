"""Messages to the broker."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.events import Answered, Published
from mqttsecure.client.failures import BrokerFault, NotSupported, PublishRefused, SessionLost
from mqttsecure.client.outbound import ATTEMPTS
from mqttsecure.wire.packets import Connack, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.client.conversation import Conversation


class FlowTests(SynchronousTestCase):
    """QoS 0, 1 and 2 on one connection."""

    def setUp(self) -> None:
        self.each = Conversation()

    def test_qos_0(self) -> None:
        """It is done when it has left."""
        self.each.connect()
        token = self.each.publish(0)
        self.assertEqual(self.each.events(), [])
        self.assertEqual(self.each.sent(), [Publish("t", b"x")])
        self.assertEqual(self.each.events(), [Answered(token, Published())])

    def test_qos_1(self) -> None:
        """It is done with the PUBACK; that nobody listens is told and is no error."""
        self.each.connect()
        token = self.each.publish(1, topic="a" * 200, payload=b"p" * 300)
        self.assertEqual(self.each.sent(), [Publish("a" * 200, b"p" * 300, 1, packet_id=1)])
        self.assertEqual(self.each.say(Puback(1, 0x10)), [Answered(token, Published(0x10))])

    def test_qos_2(self) -> None:
        """It is done with the PUBCOMP, and carries the code of the PUBREC."""
        self.each.connect()
        token = self.each.publish(2)
        self.each.sent()
        self.assertEqual(self.each.say(Pubrec(1, 0x10)), [])
        self.assertEqual(self.each.sent(), [Pubrel(1)])
        self.assertEqual(self.each.say(Pubcomp(1)), [Answered(token, Published(0x10))])

    def test_refused(self) -> None:
        """The broker's no has the topic and the reason; of QoS 2 nothing more is sent for it."""
        self.each.connect()
        self.each.publish(1)
        self.each.publish(2, topic="u")
        self.each.sent()
        error = self.each.error(self.each.say(Puback(1, 0x87)))
        self.assertIsInstance(error, PublishRefused)
        self.assertEqual(error.reason_code, 0x87)
        self.assertIn("'u'", str(self.each.error(self.each.say(Pubrec(2, 0x97)))))
        self.assertEqual(self.each.sent(), [])

    def test_wrong_acknowledgements(self) -> None:
        """An acknowledgement for nothing, of the wrong kind or too early ends the connection."""
        for packets in (
            [Puback(9)],
            [Puback(2)],
            [Pubrec(1)],
            [Pubcomp(1)],
            [Pubcomp(2)],
            [Pubcomp(9)],
            [Puback(1)] * 2,
        ):
            each = Conversation()
            each.connect()
            each.publish(1)
            each.publish(2)
            each.sent()
            error = each.error(each.say(*packets)[-1:])
            self.assertIsInstance(error, BrokerFault, packets)

    def test_pubrec_of_an_unknown_session(self) -> None:
        """MQTT 5: the broker is told that we know nothing of it, and goes on."""
        self.each.connect()
        self.assertEqual(self.each.say(Pubrec(9)), [])
        self.assertEqual(self.each.sent(), [Pubrel(9, 0x92)])


class WindowTests(SynchronousTestCase):
    """Not more at once than the broker takes."""

    def test_receive_maximum(self) -> None:
        """With a Receive Maximum of 2 the third waits for an acknowledgement, and QoS 0 behind it keeps its place."""
        each = Conversation()
        each.connect(receive_maximum=2)
        for number in range(4):
            each.publish(1, b"%d" % number)
        each.publish(0, b"last")
        self.assertEqual([p.payload for p in each.sent() if isinstance(p, Publish)], [b"0", b"1"])
        each.say(Puback(1))
        self.assertEqual([p.payload for p in each.sent() if isinstance(p, Publish)], [b"2"])
        each.say(Puback(3), Puback(2))
        self.assertEqual([p.payload for p in each.sent() if isinstance(p, Publish)], [b"3", b"last"])

    def test_qos_2_counts_until_pubcomp(self) -> None:
        """PUBREC makes no room, unless it refuses."""
        each = Conversation()
        each.connect(receive_maximum=1)
        each.publish(2, b"0")
        each.publish(2, b"1")
        each.publish(2, b"2")
        each.sent()
        each.say(Pubrec(1))
        self.assertEqual(each.sent(), [Pubrel(1)])
        each.say(Pubcomp(1))
        self.assertEqual(each.sent(), [Publish("t", b"1", 2, packet_id=2)])
        each.say(Pubrec(2, 0x97))
        self.assertEqual(each.sent(), [Publish("t", b"2", 2, packet_id=3)])

    def test_own_limit(self) -> None:
        """MQTT 3.1.1 knows no Receive Maximum; our own limit holds."""
        each = Conversation(version=4, in_flight=3)
        each.connect()
        for _ in range(5):
            each.publish(1)
        self.assertEqual(len(each.sent()), 3)

    def test_blocked(self) -> None:
        """While the network takes nothing, messages stay in the bounded queue."""
        each = Conversation()
        each.connect()
        each.follow(is_blocked=True)
        each.publish(0)
        self.assertEqual(each.machine.take_outbox(0), b"")
        each.follow(is_blocked=False)
        self.assertEqual(len(each.sent()), 1)

    def test_written_in_portions(self) -> None:
        """A thousand large messages are not put into one write."""
        each = Conversation(queue_bytes=1 << 30)
        each.connect()
        for _ in range(20):
            each.publish(0, b"x" * 30000)
        self.assertLess(len(each.machine.take_outbox(0)), 100_000)
        self.assertLess(len(each.machine.take_outbox(0)), 100_000)


class AnnouncedTests(SynchronousTestCase):
    """What the broker says it does not take is not sent."""

    def test_limits(self) -> None:
        """QoS, retain and size are told as an error of that message; the connection lives, and the next goes out."""
        each = Conversation()
        each.connect(maximum_qos=1, retain_available=0, maximum_packet_size=100)
        each.publish(2)
        each.publish(1, retain=True)
        each.publish(0, b"x" * 200)
        each.publish(1, b"good")
        self.assertEqual([p.payload for p in each.sent() if isinstance(p, Publish)], [b"good"])
        errors = [event.error for event in each.events() if isinstance(event, Answered)]
        self.assertEqual([type(error) for error in errors], [NotSupported] * 3)
        for error, words in zip(errors, ("QoS 2", "retain", "100"), strict=True):
            self.assertIn(words, str(error))


class ResumeTests(SynchronousTestCase):
    """The connection is lost in the middle."""

    def begun(self) -> Conversation:
        """A QoS 1 message without PUBACK, a QoS 2 one without PUBREC, one with PUBREL sent, and one that waits."""
        each = Conversation(session_expiry=600, clean_start=False)
        each.connect(receive_maximum=3)
        each.publish(1, b"one")
        each.publish(2, b"two")
        each.publish(2, b"three")
        each.publish(1, b"four")
        each.sent()
        each.say(Pubrec(3))
        each.sent()
        each.lose()
        return each

    def test_session_present(self) -> None:
        """What is under way goes on under its identifiers: DUP for what has no answer, PUBREL for what is released."""
        each = self.begun()
        each.connect(session_present=True)
        self.assertEqual(
            each.sent(),
            [
                Pubrel(3),
                Publish("t", b"one", 1, False, True, 1),
                Publish("t", b"two", 2, False, True, 2),
                Publish("t", b"four", 1, False, False, 4),
            ],
        )
        events = each.say(Pubcomp(3), Puback(1), Pubrec(2), Pubcomp(2), Puback(4))
        self.assertEqual([event.token for event in events if isinstance(event, Answered)], [3, 1, 2, 4])

    def test_smaller_window(self) -> None:
        """The new connection allows fewer at once: what is sent again waits, too."""
        each = self.begun()
        each.connect(session_present=True, receive_maximum=1)
        self.assertEqual(each.sent(), [Pubrel(3)])
        each.say(Pubcomp(3, 0x92))
        self.assertEqual(each.sent(), [Publish("t", b"one", 1, False, True, 1)])

    def test_session_lost(self) -> None:
        """The broker knows nothing any more: QoS 1 goes again as new, QoS 2 is told as unknown, never sent twice."""
        each = self.begun()
        each.open()
        events = each.say(Connack(False))
        errors = [event.error for event in events if isinstance(event, Answered)]
        self.assertEqual([type(error) for error in errors], [SessionLost] * 2)
        sent = each.sent()
        self.assertEqual(
            [(p.payload, p.dup) for p in sent if isinstance(p, Publish)], [(b"one", False), (b"four", False)]
        )

    def test_poison(self) -> None:
        """A broker of 3.1.1 closes the connection over a message: it is given up after a few times."""
        each = Conversation(version=4, session_expiry=600)
        each.publish(1, b"poison")
        each.publish(2, b"good")
        for _ in range(ATTEMPTS):
            each.connect(session_present=True)
            each.sent()
            each.lose()
        each.open()
        events = each.say(Connack(True))
        self.assertIsInstance(events[1].error, PublishRefused)  # type: ignore[union-attr]
        self.assertEqual([p.payload for p in each.sent() if isinstance(p, Publish)], [b"good"])
