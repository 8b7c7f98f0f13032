"""CONNECT to CONNACK, with AUTH between them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.events import Connected
from mqttsecure.client.failures import AuthenticationFailed, BrokerFault, ConnectRefused
from mqttsecure.client.handshake import MAXIMUM_ROUNDS
from mqttsecure.wire.packets import Auth, Connack, Will
from tests.client.conversation import Conversation


class Echo:
    """An Authentication Method in which each side sends what the other expects; its last word must be ``done``."""

    method = "ECHO"

    def __init__(self) -> None:
        self.finished: list[bytes | None] = []

    def start(self) -> bytes | None:
        return b"first"

    def respond(self, data: bytes | None) -> bytes | None:
        return b"re:" + (data or b"")

    def finish(self, data: bytes | None) -> None:
        if data != b"done":
            raise ValueError("the broker does not know the secret")
        self.finished.append(data)


class ConnectTests(SynchronousTestCase):
    """What the broker is told."""

    def test_everything(self) -> None:
        """Options become the CONNECT of 5.0."""
        will = Will("w", b"gone", 1, True, {"will_delay_interval": 3})
        each = Conversation(
            client_id="id",
            username="u",
            password=b"p",
            keep_alive=7,
            session_expiry=60,
            will=will,
            properties={"user_property": [("a", "b")]},
        )
        connect = each.open()
        self.assertEqual((connect.client_id, connect.username, connect.password), ("id", "u", b"p"))
        self.assertEqual((connect.keep_alive, connect.clean_start, connect.will), (7, True, will))
        self.assertEqual(connect.properties["session_expiry_interval"], 60)
        self.assertEqual(connect.properties["user_property"], [("a", "b")])

    def test_clean_start_only_once(self) -> None:
        """A new session is asked for once; when I come back it is mine."""
        each = Conversation(session_expiry=60)
        self.assertTrue(each.open().clean_start)
        each.say(Connack())
        each.lose()
        self.assertFalse(each.open().clean_start)
        short = Conversation()
        short.connect()
        short.lose()
        self.assertTrue(short.open().clean_start)

    def test_3_1_1(self) -> None:
        """The one flag of 3.1.1 says both."""
        self.assertTrue(Conversation(version=4).open().clean_start)
        self.assertFalse(Conversation(version=4, session_expiry=60).open().clean_start)

    def test_assigned_identifier(self) -> None:
        """The broker chooses my name; I come back with it."""
        each = Conversation(client_id="", session_expiry=60)
        each.connect(assigned_client_identifier="auto-7")
        self.assertEqual(each.machine.client_id, "auto-7")
        each.lose()
        self.assertEqual(each.open().client_id, "auto-7")


class ConnackTests(SynchronousTestCase):
    """What the broker answers."""

    def test_refused(self) -> None:
        """Each version's no is told by the Reason Code that it means, and whether to come again."""
        for version, code, meant, transient in (
            (5, 0x87, 0x87, False),
            (5, 0x89, 0x89, True),
            (4, 5, 0x87, False),
            (4, 3, 0x88, True),
        ):
            each = Conversation(version=version)
            each.open()
            error = each.error(each.say(Connack(False, code)))
            self.assertIsInstance(error, ConnectRefused)
            self.assertEqual((error.reason_code, error.transient), (meant, transient))

    def test_old_broker(self) -> None:
        """A broker of 3.1.1 answers a CONNECT of 5.0 in its own form."""
        each = Conversation()
        each.open()
        error = each.error(each.say(b"\x20\x02\x00\x01"))
        self.assertEqual(error.reason_code, 0x84)
        self.assertIn("3.1.1", str(error))

    def test_moved(self) -> None:
        """Where to go instead is told."""
        each = Conversation()
        each.open()
        error = each.error(each.say(Connack(False, 0x9D, {"server_reference": "new.example"})))
        self.assertIn("new.example", str(error))

    def test_session_out_of_nowhere(self) -> None:
        """A session after Clean Start is none of mine."""
        each = Conversation()
        each.open()
        self.assertIsInstance(each.error(each.say(Connack(True))), BrokerFault)

    def test_twice(self) -> None:
        """A second CONNACK ends the connection."""
        each = Conversation()
        each.connect()
        self.assertIsInstance(each.error(each.say(Connack())), BrokerFault)


class AuthTests(SynchronousTestCase):
    """Enhanced authentication."""

    def setUp(self) -> None:
        self.echo = Echo()
        self.each = Conversation(authenticator=self.echo)

    def auth(self, code: int = 0x18, method: str = "ECHO", data: bytes = b"x") -> Auth:
        return Auth(code, {"authentication_method": method, "authentication_data": data})

    def connack(self, data: bytes = b"done", method: str = "ECHO") -> Connack:
        return Connack(False, 0, {"authentication_method": method, "authentication_data": data})

    def test_exchange(self) -> None:
        """CONNECT begins it, AUTH packets go to and fro, the broker's last word is judged before I am connected."""
        connect = self.each.open()
        self.assertEqual(connect.properties["authentication_method"], "ECHO")
        self.assertEqual(connect.properties["authentication_data"], b"first")
        self.assertEqual(self.each.say(self.auth(data=b"one")), [])
        self.assertEqual(self.each.sent(), [self.auth(data=b"re:one")])
        (event,) = self.each.say(self.connack())
        self.assertIsInstance(event, Connected)
        self.assertEqual(self.echo.finished, [b"done"])

    def test_broker_without_the_secret(self) -> None:
        """Who cannot prove that it knows my secret is not my broker, whatever it says."""
        self.each.open()
        error = self.each.error(self.each.say(self.connack(b"trust me")))
        self.assertIsInstance(error, AuthenticationFailed)
        self.assertIn("does not know the secret", str(error))

    def test_faults(self) -> None:
        """Another method, or success without a word of it, ends the connection."""
        for packet in (self.auth(method="OTHER"), self.connack(method="OTHER"), Connack(), Auth(0, {})):
            each = Conversation(authenticator=Echo())
            each.open()
            self.assertIsInstance(each.error(each.say(packet)), BrokerFault, packet)

    def test_without_end(self) -> None:
        """A broker that asks for ever is left."""
        self.each.open()
        for _ in range(MAXIMUM_ROUNDS):
            self.assertEqual(self.each.say(self.auth()), [])
        self.assertIsInstance(self.each.error(self.each.say(self.auth())), AuthenticationFailed)

    def test_again(self) -> None:
        """I prove anew who I am on the open connection."""
        self.each.open()
        self.each.say(self.connack())
        self.each.machine.reauthenticate()
        self.assertEqual(self.each.sent(), [self.auth(0x19, data=b"first")])
        self.each.say(self.auth(data=b"two"))
        self.assertEqual(self.each.sent(), [self.auth(data=b"re:two")])
        self.assertEqual(self.each.say(self.auth(0, data=b"done")), [])
        self.assertEqual(self.echo.finished, [b"done", b"done"])
        self.assertIsInstance(self.each.error(self.each.say(self.auth())), BrokerFault)

    def test_authenticator_that_fails(self) -> None:
        """What it raises, or an answer of another type, is told; nothing more is sent."""

        class Broken(Echo):
            def start(self) -> bytes | None:
                raise RuntimeError("no key")

        each = Conversation(authenticator=Broken())
        each.machine.connection_made(0, 30)
        self.assertIn("no key", str(each.error(each.events())))
        self.assertEqual(each.machine.take_outbox(0), b"")

        class Words(Echo):
            def respond(self, data: bytes | None) -> bytes | None:
                return "text"  # type: ignore[return-value]  # that is the point

        each = Conversation(authenticator=Words())
        each.open()
        self.assertIn("str", str(each.error(each.say(self.auth()))))
