"""MQTT 5.0: who gets in, what CONNACK says, and how a connection ends."""

from __future__ import annotations

from mqttsecure.wire.packets import Auth, Connack, Connect, Disconnect, Pingreq, Pingresp, Publish
from tests.system.conformance.case import ConformanceCase
from tests.system.conformance.client import frame, text, unique


class ConnackTests(ConformanceCase):
    """What the first answer says."""

    def test_success(self) -> None:
        """[MQTT-3.1.4-5] A good CONNECT is answered by CONNACK with success."""
        connack = self.socket().connect()
        self.assertEqual((connack.reason_code, connack.session_present), (0, False))

    def test_connack_comes_first(self) -> None:
        """[MQTT-3.2.0-1] Packets sent right behind CONNECT are answered behind CONNACK."""
        client = self.socket()
        client.send(Connect(5, unique("c")), Pingreq())
        client.expect(Connack, reason_code=0)
        client.expect(Pingresp)

    def test_only_one_connack(self) -> None:
        """[MQTT-3.2.0-2] There is no second CONNACK in a connection."""
        client = self.client()
        client.ping()
        client.ping()

    def test_connect_in_single_bytes(self) -> None:
        """[MQTT-3.1.4-1] How the network cuts my CONNECT makes no difference."""
        client = self.socket()
        for byte in frame(0x10, text("MQTT"), b"\5\2\0\0\0", text(unique("c"))):
            client.send(bytes((byte,)))
        client.expect(Connack, reason_code=0)

    def test_acknowledge_flags_are_zero(self) -> None:
        """[MQTT-3.2.2-1] The reserved bits of CONNACK are 0; else the decoder of this test would refuse it."""
        self.assertEqual(self.socket().connect().reason_code, 0)

    def test_announced_limits(self) -> None:
        """[MQTT-3.2.2-9], [MQTT-3.2.2-13] What I may not assume is announced, each once and in range."""
        properties = self.socket().connect().properties
        self.assertIn(properties.get("maximum_qos", 1), (0, 1))
        self.assertGreater(properties.get("receive_maximum", 65_535), 0)
        self.assertGreater(properties.get("maximum_packet_size", 1), 0)
        for name in ("wildcard_subscription", "subscription_identifier", "shared_subscription"):
            self.assertEqual(properties.get(f"{name}_available", 1), 1)
        self.assertEqual(properties.get("retain_available", 1), 1)

    def test_server_keep_alive(self) -> None:
        """[MQTT-3.2.2-21], [MQTT-3.2.2-22] If the broker keeps another Keep Alive than mine, it says so."""
        self.assertNotIn("server_keep_alive", self.socket().connect(keep_alive=65_535).properties)
        self.assertGreater(self.socket().connect(keep_alive=0).properties.get("server_keep_alive", 1), 0)

    def test_no_response_information_unasked(self) -> None:
        """[MQTT-3.1.2-28] Who asks for no Response Information gets none."""
        connack = self.socket().connect(request_response_information=0)
        self.assertNotIn("response_information", connack.properties)

    def test_assigned_client_identifier(self) -> None:
        """[MQTT-3.2.2-16], [MQTT-3.1.3-6] Without a Client Identifier I am given one, each time another."""
        first = self.socket().connect("").properties["assigned_client_identifier"]
        second = self.socket().connect("").properties["assigned_client_identifier"]
        self.assertTrue(first and second)
        self.assertNotEqual(first, second)

    def test_no_assigned_client_identifier_beside_mine(self) -> None:
        """[MQTT-3.2.2-16] Who brings a Client Identifier keeps it."""
        self.assertNotIn("assigned_client_identifier", self.socket().connect().properties)

    def test_assigned_client_identifier_comes_back(self) -> None:
        """[MQTT-3.1.3-2] I can come back to the session under the name that I was given."""
        client = self.socket()
        name = client.connect("", session_expiry_interval=60).properties["assigned_client_identifier"]
        client.disconnect()
        self.assertTrue(self.socket().connect(name, clean=False).session_present)

    def test_client_identifiers_that_must_be_taken(self) -> None:
        """[MQTT-3.1.3-5] 1 to 23 characters of 0-9, a-z, A-Z are always good."""
        for name in ("0", "abcdefghijklmnopqrstuvw", "ABCDEFGHIJKLMNOPQRSTUVW", "XYZ01234567890123456789"):
            self.client(name).disconnect()

    def test_long_client_identifier(self) -> None:
        """[MQTT-3.1.3-4] A Client Identifier may have more than 23 characters, and any in Unicode."""
        self.client("x" * 1000).disconnect()
        self.client("Grüße-气温").disconnect()

    def test_user_name_and_password(self) -> None:
        """[MQTT-3.1.2-16] to [MQTT-3.1.2-19] User name and password are read from where their flags say."""
        self.client(username="alice").disconnect()
        self.client(username="alice", password=b"\0\xff").disconnect()
        self.client(password=b"alone").disconnect()
        self.client(username="", password=b"").disconnect()

    def test_unknown_authentication_method(self) -> None:
        """[MQTT-4.12.0-1] An Authentication Method that nobody here speaks is refused as that."""
        client = self.socket()
        client.connect(code=0x8C, authentication_method="UNKNOWN")
        client.expect_end()

    def test_no_auth_unasked(self) -> None:
        """[MQTT-4.12.0-6] Who names no Authentication Method is never sent AUTH."""
        client = self.client()
        client.ping()
        client.send(Auth(0x19, {"authentication_method": "x"}))
        self.assertEqual(client.expect_closed(), 0x82)

    def test_refusal_has_no_session_present(self) -> None:
        """[MQTT-3.2.2-6], [MQTT-3.2.2-7] A refusal says no Session Present and is the end."""
        name = unique("c")
        self.client(name, session_expiry_interval=60).disconnect()
        client = self.socket()
        connack = client.connect(name, clean=False, code=0x8C, authentication_method="UNKNOWN")
        self.assertFalse(connack.session_present)
        client.expect_end()

    def test_no_disconnect_before_connack(self) -> None:
        """[MQTT-3.14.0-1] Before CONNACK the broker says no DISCONNECT."""
        client = self.socket()
        client.send(Pingreq())
        self.assertIsNone(client.expect_closed())

    def test_maximum_packet_size_of_the_connack(self) -> None:
        """[MQTT-3.1.2-24] I take no packet larger than I said, CONNACK included."""
        client = self.socket()
        client.send(Connect(5, unique("c"), properties={"maximum_packet_size": 4}))
        client.expect_end()

    def test_small_connack(self) -> None:
        """[MQTT-3.2.2-19] With little room I am still let in."""
        self.client(maximum_packet_size=40).ping()

    def test_request_problem_information(self) -> None:
        """[MQTT-3.1.2-29] With 0 there is no Reason String or User Property but on PUBLISH, CONNACK and DISCONNECT."""
        client = self.client(request_problem_information=0)
        packet_id = 7
        client.subscribe("test/nosubscribe")
        client.send(Publish("$SYS-not-permitted", b"", 1, packet_id=packet_id))
        answer = client.receive()
        self.assertNotIn("reason_string", getattr(answer, "properties", {}))
        self.assertNotIn("user_property", getattr(answer, "properties", {}))


class EndTests(ConformanceCase):
    """How connections end."""

    def test_takeover(self) -> None:
        """[MQTT-3.1.4-3] A second connection of my Client Identifier ends the first with 0x8E."""
        name = unique("c")
        first = self.client(name)
        second = self.client(name)
        self.assertEqual(first.expect_closed(), 0x8E)
        second.ping()

    def test_takeover_back_and_forth(self) -> None:
        """[MQTT-3.1.4-3] The last one wins, each time."""
        name = unique("c")
        last = self.client(name)
        for _ in range(5):
            before, last = last, self.client(name)
            self.assertEqual(before.expect_closed(), 0x8E)
        last.ping()

    def test_disconnect_closes(self) -> None:
        """[MQTT-3.14.4-2] After my DISCONNECT nothing more is sent to me and the connection is closed."""
        client = self.client()
        client.send(Disconnect(), Pingreq())
        client.expect_end()

    def test_disconnect_forms(self) -> None:
        """[MQTT-3.14.2-1] DISCONNECT with any code of clients is taken, with or without properties."""
        for code in (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99):
            self.client().disconnect(code)
        self.client().disconnect(0, reason_string="bye", user_property=[("a", "b"), ("a", "b")])

    def test_disconnect_of_one_byte(self) -> None:
        """[MQTT-3.14.2.2.1] DISCONNECT may leave out the Property Length, and the Reason Code too."""
        for data in (b"\xe0\0", b"\xe0\1\0", b"\xe0\2\0\0"):
            client = self.client()
            client.send(data)
            client.expect_end()

    def test_server_disconnect_has_no_session_expiry(self) -> None:
        """[MQTT-3.14.2-2] The broker's DISCONNECT carries no Session Expiry Interval."""
        client = self.client(session_expiry_interval=60)
        client.send(frame(0xC1))
        packet = client.expect(Disconnect)
        self.assertNotIn("session_expiry_interval", packet.properties)

    def test_keep_alive(self) -> None:
        """[MQTT-3.1.2-22] Silent for one and a half times the Keep Alive, I am cut off with 0x8D."""
        client = self.client(keep_alive=1)
        self.assertRaises(TimeoutError, client.receive, 1.2)
        self.assertEqual(client.expect_closed(seconds=1.5), 0x8D)

    def test_keep_alive_counts_any_packet(self) -> None:
        """[MQTT-3.1.2-22] Every packet that I send starts the time anew; PINGREQ is answered ([MQTT-3.12.4-1])."""
        client = self.client(keep_alive=1)
        for _ in range(3):
            self.assertRaises(TimeoutError, client.receive, 0.8)
            client.ping()

    def test_keep_alive_0(self) -> None:
        """[MQTT-3.1.2-22] With Keep Alive 0 I may be silent."""
        client = self.client(keep_alive=0)
        self.assertRaises(TimeoutError, client.receive, 2.0)
        client.ping()

    def test_half_a_packet_is_no_sign_of_life(self) -> None:
        """[MQTT-3.1.2-22] Bytes that never become a packet do not keep me alive."""
        client = self.client(keep_alive=1)
        data = frame(0x30, text("t"), b"\0", b"x" * 50)
        ended = None
        for byte in data[:20]:
            client.send(bytes((byte,)))
            try:
                ended = client.receive(0.15)
                break
            except TimeoutError:
                continue
        assert isinstance(ended, Disconnect), ended
        self.assertEqual(ended.reason_code, 0x8D)

    def test_a_packet_too_large(self) -> None:
        """[MQTT-3.2.2-15] A packet above the announced Maximum Packet Size ends the connection with 0x95."""
        client = self.socket()
        self.assertLess(client.connect().properties["maximum_packet_size"], 268_435_460)
        client.send(b"\x30\xff\xff\xff\x7f")
        self.assertEqual(client.expect_closed(), 0x95)
