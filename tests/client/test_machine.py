"""One client's side of the protocol, played packet by packet."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.events import Answered, Arrived, Connected, Ended, Granted, Published
from mqttsecure.client.failures import (
    BrokerFault,
    ClientClosed,
    ConnectionLost,
    Disconnected,
    OptionsInvalid,
    QueueFull,
    SubscribeRefused,
    TlsFailed,
)
from mqttsecure.client.machine import Machine, State
from mqttsecure.client.options import ClientOptions
from mqttsecure.client.session import MAXIMUM_REQUESTS
from mqttsecure.wire.encoder import encode_packet
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
from tests.client.conversation import Conversation
from tests.client.test_handshake import Echo

_TALK = (
    Connack(),
    Publish("t", b"0"),
    Publish("t", b"1", 1, packet_id=7),
    Publish("t", b"2", 2, packet_id=8),
    Puback(5),
    Pubrec(6),
    Pubcomp(6),
    Suback(3, [1]),
    Unsuback(4, [0]),
    Pubrel(8),
    Pingresp(),
)
"""What a broker may say, in an order in which it may say it."""


def _talk(at_a_time: int, version: int) -> tuple[list[object], list[Packet]]:
    each = Conversation(at_a_time=at_a_time, version=version)
    each.publish(1, b"one")
    each.publish(2, b"two")
    each.machine.subscribe([SubscriptionRequest("t", 1)], {})
    each.machine.unsubscribe(["u"], {})
    each.open()
    events: list[object] = []
    sent: list[Packet] = []
    for packet in _TALK:
        if isinstance(packet, Unsuback) and version == 4:
            packet = Unsuback(4)
        found = each.say(packet)
        for event in found:
            if isinstance(event, Arrived):
                each.machine.acknowledge(event)
        events += found
        sent += each.sent()
    return events, sent


class ConversationTests(SynchronousTestCase):
    """A whole conversation."""

    def test_in_pieces_of_any_size(self) -> None:
        """However the network cuts it, the same happens and the same is said."""
        for version in (4, 5):
            whole = _talk(1 << 20, version)
            for size in (1, 2, 3, 7):
                self.assertEqual(_talk(size, version), whole)
            events, sent = whole
            self.assertEqual(sum(isinstance(event, Arrived) for event in events), 3)
            answers = [event for event in events if isinstance(event, Answered)]
            self.assertEqual([answer.token for answer in answers], [1, 2, 3, 4])
            self.assertTrue(all(answer.error is None for answer in answers))
            kinds = [type(packet) for packet in sent]
            self.assertEqual(kinds.count(Puback), 1)
            self.assertEqual(kinds.count(Pubrec), 1)
            self.assertEqual(kinds.count(Pubrel), 1)
            self.assertEqual(kinds.count(Pubcomp), 1)

    def test_every_packet_in_every_state(self) -> None:
        """What may not come ends the connection with one error; nothing raises, and nothing is answered to it."""
        packets: tuple[Packet, ...] = (
            *_TALK,
            Connect(5, "c"),
            Subscribe(1, [SubscriptionRequest("t")]),
            Unsubscribe(1, ["t"]),
            Pingreq(),
            Disconnect(0x8B),
            Auth(0x18, {"authentication_method": "m"}),
        )
        for connected in (False, True):
            for packet in packets:
                each = Conversation()
                if connected:
                    each.connect()
                else:
                    each.open()
                events = each.say(packet)
                expected = (Publish, Pubrel, Pingresp, Pubrec) if connected else (Connack,)
                if isinstance(packet, expected):
                    self.assertNotIn(Ended, map(type, events), packet)
                    continue
                error = each.error(events)
                self.assertIsInstance(
                    error, Disconnected if isinstance(packet, Disconnect) and connected else BrokerFault
                )
                self.assertIs(each.machine.state, State.ENDED)
                self.assertEqual(each.say(Publish("t")), [])

    @settings(max_examples=200)
    @given(st.lists(st.binary(max_size=40), max_size=8), st.booleans())
    def test_any_bytes(self, pieces: list[bytes], connected: bool) -> None:
        """Whatever comes, the machine ends the connection or goes on; it never raises."""
        each = Conversation()
        if connected:
            each.connect()
        else:
            each.open()
        for piece in pieces:
            each.say(piece)
            each.sent()

    @settings(max_examples=200)
    @given(st.data())
    def test_mutated_conversation(self, data: st.DataObject) -> None:
        """A conversation with some of its bytes changed ends in an error or goes on."""
        each = Conversation()
        each.publish(1)
        each.publish(2)
        each.machine.subscribe([SubscriptionRequest("t", 1)], {})
        each.open()
        stream = bytearray(b"".join(encode_packet(packet, 5) for packet in _TALK))
        for _ in range(data.draw(st.integers(1, 3))):
            stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
        each.say(bytes(stream))
        each.sent()


class EndTests(SynchronousTestCase):
    """How connections end."""

    def test_malformed(self) -> None:
        """A broker that breaks the protocol is told by which Reason Code, and I am told that it did."""
        each = Conversation()
        each.connect()
        error = each.error(each.say(b"\xf3\x00"))
        self.assertIsInstance(error, BrokerFault)
        self.assertFalse(error.transient)
        self.assertEqual(each.sent(), [Disconnect(0x81)])

    def test_too_large(self) -> None:
        """A packet over what we announced is refused by its header, before any of it is kept."""
        each = Conversation(maximum_packet_size=1000)
        each.connect()
        self.assertIn("1000", str(each.error(each.say(b"\x30\xff\xff\xff\x7f"))))
        self.assertEqual(each.sent(), [Disconnect(0x95)])

    def test_code_that_disconnect_cannot_carry(self) -> None:
        """A fault whose code only a server may send is told as a protocol error."""
        each = Conversation(authenticator=Echo())
        each.open()
        word = {"authentication_method": "ECHO", "authentication_data": b"done"}
        each.say(Connack(False, 0, word))  # type: ignore[arg-type]  # a TypedDict, as it were
        each.machine.reauthenticate()
        each.sent()
        each.say(Auth(0x18, {"authentication_method": "OTHER"}))
        self.assertEqual(each.sent(), [Disconnect(0x82)])

    def test_disconnect_codes(self) -> None:
        """A broker that restarts wants me back; one that hands my name to another does not."""
        for code, transient in {0x8B: True, 0x89: True, 0x8E: False, 0x87: False, 0x98: False}.items():
            each = Conversation()
            each.connect()
            error = each.error(each.say(Disconnect(code)))
            self.assertEqual((error.reason_code, error.transient), (code, transient))

    def test_server_reference(self) -> None:
        """Where to go instead is told, and nobody goes there by himself."""
        each = Conversation()
        each.connect()
        error = each.error(each.say(Disconnect(0x9C, {"server_reference": "other.example"})))
        self.assertIn("other.example", str(error))
        self.assertFalse(error.transient)

    def test_tls_port(self) -> None:
        """I forgot the s of mqtts: the answer of a TLS port is recognised."""
        each = Conversation()
        each.open()
        self.assertIsInstance(each.error(each.say(b"\x15\x03\x03\x00\x02\x02\x46")), TlsFailed)

    def test_disconnect(self) -> None:
        """I leave: DISCONNECT is sent, and what was not done fails."""
        each = Conversation()
        each.connect()
        each.publish(1)
        each.sent()
        each.machine.disconnect()
        (event,) = each.events()
        self.assertIsInstance(event, Answered)
        assert isinstance(event, Answered)
        self.assertIsInstance(event.error, ClientClosed)
        self.assertEqual(each.sent(), [Disconnect()])
        self.assertEqual(each.say(Publish("t")), [])

    def test_disconnect_before_connack(self) -> None:
        """The broker may have let me in already: it hears that I leave, and keeps my will to itself."""
        each = Conversation()
        each.open()
        each.machine.disconnect()
        self.assertEqual(each.sent(), [Disconnect()])


class TimeTests(SynchronousTestCase):
    """What takes too long."""

    def test_no_connack(self) -> None:
        """A broker that takes the connection and never answers is given up in time."""
        each = Conversation()
        each.open()
        self.assertEqual(each.wait(29), [])
        error = each.error(each.wait(2))
        self.assertIsInstance(error, ConnectionLost)
        self.assertIn("CONNACK", str(error))
        self.assertTrue(error.transient)

    def test_ping(self) -> None:
        """Silence is pinged, and a broker that does not answer is given up."""
        each = Conversation(keep_alive=40, ping_timeout=5)
        each.connect()
        self.assertEqual(each.machine.next_deadline(), 130)
        each.wait(30)
        self.assertEqual(each.sent(), [Pingreq()])
        each.say(Pingresp())
        each.wait(30)
        self.assertEqual(each.sent(), [Pingreq()])
        self.assertIn("ping", str(each.error(each.wait(6))))

    def test_server_keep_alive(self) -> None:
        """The broker's Keep Alive counts in place of mine."""
        each = Conversation(keep_alive=600)
        each.connect(server_keep_alive=4)
        self.assertEqual(each.machine.next_deadline(), 103)

    def test_no_puback(self) -> None:
        """A broker that pongs and never acknowledges is given up, too."""
        each = Conversation(keep_alive=0, answer_timeout=60)
        each.connect()
        each.publish(1)
        each.sent()
        self.assertEqual(each.wait(59), [])
        self.assertIn("answered", str(each.error(each.wait(2))))

    def test_nothing_owed(self) -> None:
        """An idle connection without Keep Alive lasts."""
        each = Conversation(keep_alive=0)
        each.connect()
        self.assertIsNone(each.machine.next_deadline())

    def test_stuck(self) -> None:
        """A broker that reads nothing is given up."""
        each = Conversation(answer_timeout=60)
        each.connect()
        each.follow(is_blocked=True)
        self.assertIn("takes nothing", str(each.error(each.wait(61))))


class SubscribingTests(SynchronousTestCase):
    """SUBSCRIBE and UNSUBSCRIBE."""

    def subscribe(self, each: Conversation, *filters: str, identifier: int = 0) -> int:
        asked = [SubscriptionRequest(topic_filter, 1) for topic_filter in filters]
        return each.machine.subscribe(asked, {"subscription_identifier": [identifier]} if identifier else {})

    def test_granted_and_refused(self) -> None:
        """Each filter has its answer; one refusal makes an error that names it and still tells what was granted."""
        each = Conversation()
        each.connect()
        self.subscribe(each, "a", "b")
        self.assertEqual(each.say(Suback(1, [1, 0])), [Answered(1, Granted({"a": 1, "b": 0}))])
        self.subscribe(each, "c", "d")
        error = each.error(each.say(Suback(2, [1, 0x87], {"reason_string": "decision 7"})))
        self.assertIsInstance(error, SubscribeRefused)
        self.assertEqual(error.reason_codes, {"c": 1, "d": 0x87})
        self.assertIn("'d'", str(error))
        self.assertIn("decision 7", str(error))

    def test_wrong_answers(self) -> None:
        """An answer that nobody asked for, of another kind, or with too few codes ends the connection."""
        for packet in (Suback(2, [0]), Suback(1, [0]), Unsuback(1, [0]), Suback(1, [0, 0, 0])):
            each = Conversation()
            each.connect()
            self.subscribe(each, "a", "b")
            self.assertIsInstance(each.error(each.say(packet)), BrokerFault, packet)

    def test_subscribed_again(self) -> None:
        """The broker has forgotten me: what was granted is asked for anew, with its identifiers."""
        each = Conversation()
        each.connect()
        self.subscribe(each, "a", "b", identifier=7)
        self.subscribe(each, "c")
        each.say(Suback(1, [1, 1]), Suback(2, [1]))
        each.machine.unsubscribe(["b"], {})
        each.say(Unsuback(3, [0]))
        each.sent()
        each.lose()
        each.connect(session_present=False)
        first, second = each.sent()
        assert isinstance(first, Subscribe)
        self.assertEqual(first.subscriptions, [SubscriptionRequest("a", 1)])
        self.assertEqual(first.properties, {"subscription_identifier": [7]})
        assert isinstance(second, Subscribe)
        self.assertEqual(second.subscriptions, [SubscriptionRequest("c", 1)])
        self.assertEqual(each.say(Suback(first.packet_id, [1]), Suback(second.packet_id, [1])), [])

    def test_session_present(self) -> None:
        """The broker remembers: nothing is asked for again."""
        each = Conversation(session_expiry=60, clean_start=False)
        each.connect()
        self.subscribe(each, "a")
        each.say(Suback(1, [1]))
        each.sent()
        each.lose()
        each.connect(session_present=True)
        self.assertEqual(each.sent(), [])

    def test_lost_rights(self) -> None:
        """A subscription that is refused after a reconnect ends the client: nobody would notice that it is gone."""
        each = Conversation()
        each.connect()
        self.subscribe(each, "a")
        each.say(Suback(1, [1]))
        each.sent()
        each.lose()
        each.connect()
        (again,) = each.sent()
        assert isinstance(again, Subscribe)
        self.assertIsInstance(each.error(each.say(Suback(again.packet_id, [0x87]))), SubscribeRefused)

    def test_unanswered_is_asked_again(self) -> None:
        """The connection is lost before the SUBACK: the answer of the next connection counts."""
        each = Conversation()
        each.connect()
        token = self.subscribe(each, "a")
        each.sent()
        each.lose()
        each.connect()
        (again,) = each.sent()
        assert isinstance(again, Subscribe)
        self.assertEqual(each.say(Suback(again.packet_id, [1])), [Answered(token, Granted({"a": 1}))])

    def test_before_the_connection(self) -> None:
        """I subscribe while there is no connection."""
        each = Conversation(version=4)
        token = self.subscribe(each, "a")
        each.connect()
        self.assertEqual(len(each.sent()), 1)
        (answer,) = each.say(Suback(2, [2]))
        self.assertEqual(answer, Answered(token, Granted({"a": 2})))
        each.machine.unsubscribe(["a"], {})
        (answer,) = each.say(Unsuback(3))
        self.assertEqual(answer, Answered(2, Granted({"a": 0})))

    def test_refused_here(self) -> None:
        """What cannot be asked is told at once."""
        machine = Machine(ClientOptions(client_id="c"))
        self.assertRaises(OptionsInvalid, machine.subscribe, [SubscriptionRequest("a/#/b")], {})
        self.assertRaises(OptionsInvalid, machine.subscribe, [], {})
        self.assertRaises(OptionsInvalid, machine.unsubscribe, ["\0"], {})

    def test_bounded(self) -> None:
        """A broker that answers no SUBSCRIBE does not make us keep them without end."""
        machine = Machine(ClientOptions(client_id="c"))
        for _ in range(MAXIMUM_REQUESTS):
            machine.subscribe([SubscriptionRequest("a")], {})
        self.assertRaises(QueueFull, machine.subscribe, [SubscriptionRequest("a")], {})


class EventTests(SynchronousTestCase):
    """Events one by one."""

    def test_nothing_is_read_while_the_application_is_behind(self) -> None:
        """Without reading, what is done is still told."""
        each = Conversation()
        each.connect()
        each.publish(0)
        each.machine.feed(b"\x30\x04\x00\x01tx" + b"\x30\x04\x00\x01tx", 0)
        each.sent()
        self.assertEqual(each.machine.next_event(0, read=False), Answered(1, Published()))
        self.assertIsNone(each.machine.next_event(0, read=False))

    def test_connected(self) -> None:
        """I see what the broker says in CONNACK."""
        event = Conversation().connect(assigned_client_identifier="x", receive_maximum=3)
        self.assertEqual(event, Connected(False, Connack(False, 0, event.connack.properties)))
