# -*- test-case-name: tests.interop -*-
"""What the clients of both libraries are put to. Not a test module: ``test_paho`` and ``test_mqttjs`` are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mqttsecure.wire.constants import ReasonCode
from tests.interop.case import CREDENTIALS, HOST, BrokerCase
from tests.interop.driver import Driver, ForeignClient, Json
from tests.support.config import USERS

__all__ = ["LibraryCase", "Scenarios", "Version3Scenarios", "Version5Scenarios"]


class LibraryCase(BrokerCase):
    """A broker, and a driver for the clients of one library at one protocol version."""

    version: ClassVar[int]

    def driver_command(self) -> Sequence[str]:
        """The command of the driver; a skip where the library is not installed."""
        raise NotImplementedError

    def setUp(self) -> None:
        command = self.driver_command()
        super().setUp()
        self.driver = Driver(command, self.directory)
        self.addCleanup(self.driver.stop)

    def options(self, user: str, credential: str, client_id: str) -> Json:
        """How to connect as a user, by password or by certificate."""
        options: Json = {"host": HOST, "port": self.port, "ca": str(self.files.ca), "version": self.version}
        options |= {"client_id": client_id, "clean": True, "keep_alive": 30}
        if credential == "certificate":
            certificate, key = self.certificates[user]
            return options | {"certificate": str(certificate), "key": str(key)}
        return options | {"username": user, "password": USERS[user]}

    def client(self, client_id: str, credential: str = "password", **options: Any) -> tuple[ForeignClient, Json]:
        """A connected client of the user that its Client Identifier begins with, and what the CONNACK said."""
        user = client_id.partition("-")[0]
        client = self.driver.client(client_id)
        answer = client.connect(**(self.options(user, credential, client_id) | options))
        self.assertNotIn("error", answer, self.broker.log)
        return client, answer

    def durable(self, seconds: int = 300) -> Json:
        """Options for a session that outlives its connection."""
        return {"clean": False, "properties": {"session_expiry_interval": seconds}}

    def assert_session_present(self, present: bool, connack: Json) -> None:
        """The CONNACK says that the broker knows the client, or not; in 3.1 it cannot, the flag is reserved there."""
        self.assertEqual(present and self.version > 3, connack["session_present"])


class Scenarios(LibraryCase):
    """What every version of the protocol has."""

    refused_password: ClassVar[int]
    refused_client_id: ClassVar[int]
    refused_filter: ClassVar[int]
    taken_over: ClassVar[int | None]

    def publish_and_receive(self, credential: str) -> None:
        """alice writes at each QoS, bob reads at each, and each message comes at the lower of both, once."""
        reader, _ = self.client("bob-reader", credential)
        writer, _ = self.client("alice-writer", credential)
        for granted in (0, 1, 2):
            self.assertEqual([granted], reader.subscribe("lab/qos/+", granted))
            for qos in (0, 1, 2):
                payload = f"{qos} for {granted}"
                self.assertNotIn("error", writer.publish(f"lab/qos/{qos}", payload, qos))
                message = reader.receive()
                self.assertEqual(f"lab/qos/{qos}", message["topic"])
                self.assertEqual(payload, message["payload"])
                self.assertEqual(min(qos, granted), message["qos"])
                self.assertFalse(message["retain"])
        self.assertEqual([], reader.messages(0.2))
        for client in (reader, writer):
            client.disconnect()

    def test_publish_and_receive_with_password(self) -> None:
        """With a user name and a password, messages of each QoS get through once."""
        self.publish_and_receive("password")

    def test_publish_and_receive_with_certificate(self) -> None:
        """With a client certificate and nothing else, messages of each QoS get through once."""
        self.publish_and_receive("certificate")

    def test_password_and_certificate_are_the_same_user(self) -> None:
        """Who connects by certificate finds the session that was begun with a password."""
        by_password, _ = self.client("alice-laptop", "password", **self.durable())
        by_password.subscribe("lab/kept", 1)
        by_password.disconnect()
        by_certificate, answer = self.client("alice-laptop", "certificate", **self.durable())
        self.assert_session_present(True, answer)
        by_certificate.publish("lab/kept", "mine", 1)
        self.assertEqual("mine", by_certificate.receive()["payload"])

    def test_retained(self) -> None:
        """A retained message waits for those who subscribe later, is marked so, and goes when it is cleared."""
        for credential in CREDENTIALS:
            writer, _ = self.client("alice-writer", credential)
            for qos in (0, 1, 2):
                writer.publish(f"lab/state/{qos}", f"on {qos}", qos, retain=True)
            reader, _ = self.client("bob-reader", credential)
            reader.subscribe("lab/state/#", 2)
            found = {message["topic"]: message for message in (reader.receive(), reader.receive(), reader.receive())}
            for qos in (0, 1, 2):
                message = found[f"lab/state/{qos}"]
                self.assertEqual((f"on {qos}", qos, True), (message["payload"], message["qos"], message["retain"]))
                writer.publish(f"lab/state/{qos}", "", qos, retain=True)
                self.assertEqual("", reader.receive()["payload"])
            reader.disconnect()
            late, _ = self.client("bob-late", credential)
            late.subscribe("lab/state/#", 2)
            self.assertEqual([], late.messages(0.2))
            late.disconnect()
            writer.disconnect()

    def test_will(self) -> None:
        """A client that vanishes leaves its will, at its QoS; one that says goodbye leaves nothing."""
        reader, _ = self.client("bob-reader")
        reader.subscribe("lab/bob/status", 2)
        for credential in CREDENTIALS:
            for qos in (0, 1, 2):
                will = {"topic": "lab/bob/status", "payload": f"lost {qos}", "qos": qos}
                polite, _ = self.client("bob-device", credential, will=will)
                polite.disconnect()
                vanishing, _ = self.client("bob-device", credential, will=will)
                vanishing.drop()
                message = reader.receive()
                self.assertEqual((f"lost {qos}", qos), (message["payload"], message["qos"]))
        self.assertEqual([], reader.messages(0.2))

    def test_retained_will(self) -> None:
        """A retained will is there for who subscribes after the client is gone."""
        will = {"topic": "lab/bob/status", "payload": "lost", "qos": 1, "retain": True}
        watcher, _ = self.client("bob-watcher")
        watcher.subscribe("lab/bob/status", 1)
        device, _ = self.client("bob-device", will=will)
        device.drop()
        self.assertFalse(watcher.receive()["retain"])
        late, _ = self.client("alice-late")
        late.subscribe("lab/bob/status", 1)
        message = late.receive()
        self.assertEqual(("lost", True), (message["payload"], message["retain"]))

    def test_durable_session_keeps_what_came_meanwhile(self) -> None:
        """A client that was away gets what it missed, in order and once, without subscribing again."""
        away, answer = self.client("bob-device", **self.durable())
        self.assert_session_present(False, answer)
        away.subscribe("lab/queue/#", 2)
        away.drop()
        writer, _ = self.client("alice-writer")
        for number in range(20):
            self.assertNotIn("error", writer.publish("lab/queue/a", str(number), 1 + number % 2))
        back, answer = self.client("bob-device", **self.durable())
        self.assert_session_present(True, answer)
        found = [back.receive() for _ in range(20)]
        for qos in (1, 2):
            # In order at each QoS: a client hands out a message of QoS 2 only when its exchange is over.
            payloads = [message["payload"] for message in found if message["qos"] == qos]
            self.assertEqual([str(number) for number in range(qos - 1, 20, 2)], payloads)
        self.assertEqual([], back.messages(0.2))

    def test_clean_start_forgets(self) -> None:
        """A client that asks for a clean start has no session from before."""
        first, _ = self.client("bob-device", **self.durable())
        first.subscribe("lab/queue/#", 1)
        first.disconnect()
        clean, answer = self.client("bob-device")
        self.assert_session_present(False, answer)
        writer, _ = self.client("alice-writer")
        writer.publish("lab/queue/a", "lost", 1)
        self.assertEqual([], clean.messages(0.2))

    def test_shared_subscription(self) -> None:
        """Messages for a group go each to one member; who leaves gets none, the rest go on."""
        workers = [self.client(f"bob-worker{number}")[0] for number in range(2)]
        for worker in workers:
            self.assertEqual([1], worker.subscribe("$share/workers/lab/jobs/#", 1))
        writer, _ = self.client("alice-writer")
        for number in range(20):
            writer.publish(f"lab/jobs/{number % 3}", str(number), 1)
        found = [[message["payload"] for message in worker.messages(0.4)] for worker in workers]
        self.assertTrue(all(found), "one of them had nothing to do")
        self.assertEqual(sorted(map(str, range(20))), sorted(found[0] + found[1]))
        workers[0].disconnect()
        for number in range(5):
            writer.publish("lab/jobs/0", str(number), 1)
        self.assertEqual([str(number) for number in range(5)], [workers[1].receive()["payload"] for _ in range(5)])

    def test_unsubscribe(self) -> None:
        """After an unsubscribe no more messages come."""
        reader, _ = self.client("bob-reader")
        reader.subscribe("lab/a", 1)
        self.assertNotIn("error", reader.unsubscribe("lab/a"))
        writer, _ = self.client("alice-writer")
        writer.publish("lab/a", "unheard", 1)
        self.assertEqual([], reader.messages(0.2))

    def test_large_message(self) -> None:
        """A message of 200 KiB gets through whole."""
        reader, _ = self.client("bob-reader")
        reader.subscribe("lab/large", 1)
        writer, _ = self.client("alice-writer")
        payload = "0123456789abcdef" * 12_800
        writer.publish("lab/large", payload, 1)
        self.assertEqual(payload, reader.receive()["payload"])

    def test_wrong_password_is_refused(self) -> None:
        """A wrong password is told as such, and so is a user that does not exist: in the same words."""
        answers = []
        for user in ("alice", "mallory"):
            client = self.driver.client(f"{user}-x")
            options = self.options("alice", "password", f"{user}-x") | {"username": user, "password": "wrong"}
            answers.append(client.connect(**options))
        self.assertEqual(self.refused_password, answers[0].get("code"), answers)
        self.assertEqual(answers[0], answers[1])

    def test_foreign_client_id_is_refused(self) -> None:
        """bob cannot take the name of alice's client, and so not her session; she stays connected."""
        alice, _ = self.client("alice-reader")
        alice.subscribe("lab/a", 1)
        thief = self.driver.client("thief")
        for credential in CREDENTIALS:
            answer = thief.connect(**self.options("bob", credential, "alice-reader"))
            self.assertEqual(self.refused_client_id, answer.get("code"), answer)
        alice.publish("lab/a", "still here", 1)
        self.assertEqual("still here", alice.receive()["payload"])

    def test_takeover(self) -> None:
        """A second connection of the same client ends the first."""
        first, _ = self.client("alice-device")
        second, _ = self.client("alice-device2")
        again = self.driver.client("again")
        self.assertNotIn("error", again.connect(**self.options("alice", "certificate", "alice-device")))
        self.assertEqual(self.taken_over, first.disconnected())
        self.assertEqual([], second.messages(0.1))

    def test_forbidden_filter_is_refused(self) -> None:
        """A SUBACK says that a filter is not permitted, also where a part of it would be."""
        reader, _ = self.client("bob-reader")
        for topic_filter in ("plant/#", "#", "+/bob", "$SYS/#"):
            self.assertEqual([self.refused_filter], reader.subscribe(topic_filter))
        self.assertEqual([0], reader.subscribe("lab/#"))


class Version3Scenarios(Scenarios):
    """What a client of 3.1 and 3.1.1 sees of a refusal: it has few codes, and none for a PUBLISH."""

    refused_password = 4
    refused_client_id = 2
    refused_filter = 0x80
    taken_over = None

    def durable(self, seconds: int = 300) -> Json:
        return {"clean": False}

    def test_forbidden_topic_ends_the_connection(self) -> None:
        """Whoever publishes what it may not is cut off, and nobody gets the message."""
        reader, _ = self.client("alice-reader")
        reader.subscribe("lab/#", 1)
        for topic in ("plant/x", "lab/locked/door", "lab/alice"):
            writer, _ = self.client("bob-writer")
            writer.publish(topic, "forbidden")
            self.assertIsNone(writer.disconnected())
        self.assertEqual([], reader.messages(0.2))


class Version5Scenarios(Scenarios):
    """What 5.0 adds."""

    version = 5
    refused_password = ReasonCode.BAD_USER_NAME_OR_PASSWORD
    refused_client_id = ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    refused_filter = ReasonCode.NOT_AUTHORIZED
    taken_over = ReasonCode.SESSION_TAKEN_OVER

    def test_forbidden_topic_is_refused_and_the_connection_stays(self) -> None:
        """The acknowledgement says that a topic is not permitted; the client may go on."""
        reader, _ = self.client("alice-reader")
        reader.subscribe("lab/#", 1)
        writer, _ = self.client("bob-writer")
        for topic in ("plant/x", "lab/locked/door", "lab/alice"):
            self.assertEqual(ReasonCode.NOT_AUTHORIZED, writer.publish(topic, "forbidden", 1).get("code"))
        self.assertNotIn("error", writer.publish("lab/bob/x", "permitted", 1))
        self.assertEqual("permitted", reader.receive()["payload"])
        self.assertEqual([], reader.messages(0.1))

    def test_forbidden_will_is_refused(self) -> None:
        """A will that its client could not publish is refused at the CONNECT."""
        client = self.driver.client("bob-device")
        options = self.options("bob", "password", "bob-device")
        answer = client.connect(**options, will={"topic": "plant/x", "payload": "lost"})
        self.assertEqual(ReasonCode.NOT_AUTHORIZED, answer.get("code"), answer)

    def test_request_and_response(self) -> None:
        """A request carries where and under which mark its answer is awaited, and the answer finds its way back."""
        asker, _ = self.client("alice-asker")
        asker.subscribe("lab/answers/alice", 1)
        server, _ = self.client("bob-server")
        server.subscribe("lab/requests", 1)
        mark = {"response_topic": "lab/bob/answers", "correlation_data": "mark 17"}
        asker.subscribe("lab/bob/answers", 1)
        asker.publish("lab/requests", "how much?", 1, **mark, user_property=[["unit", "C"]], content_type="text/plain")
        request = server.receive()
        properties = request["properties"]
        self.assertEqual(mark, {name: properties[name] for name in mark})
        self.assertEqual([["unit", "C"]], [list(pair) for pair in properties["user_property"]])
        self.assertEqual("text/plain", properties["content_type"])
        server.publish(properties["response_topic"], "21", 1, correlation_data=properties["correlation_data"])
        answer = asker.receive()
        self.assertEqual(("21", "mark 17"), (answer["payload"], answer["properties"]["correlation_data"]))

    def test_message_expiry(self) -> None:
        """A queued message is told with the time it has left, and is gone once that is over."""
        away, _ = self.client("bob-device", **self.durable())
        away.subscribe("lab/#", 1)
        away.disconnect()
        writer, _ = self.client("alice-writer")
        writer.publish("lab/long", "kept", 1, message_expiry_interval=100)
        writer.publish("lab/short", "gone", 1, message_expiry_interval=1)
        self.assertEqual([], writer.messages(1.3))
        back, _ = self.client("bob-device", **self.durable())
        message = back.receive()
        self.assertEqual("kept", message["payload"])
        self.assertIn(message["properties"]["message_expiry_interval"], range(95, 100))
        self.assertEqual([], back.messages(0.2))

    def test_session_expiry(self) -> None:
        """A session is there until its time is over, counted from when its client left."""
        for wait, present in ((0.2, True), (2.2, False)):
            client, _ = self.client("bob-device", clean=False, properties={"session_expiry_interval": 1})
            client.disconnect()
            self.assertEqual([], client.messages(wait))
            client, answer = self.client("bob-device", clean=False, properties={"session_expiry_interval": 1})
            self.assert_session_present(present, answer)
            client.disconnect()

    def test_will_delay(self) -> None:
        """A will with a delay is not sent when its client is back in time, and is when it is not."""
        reader, _ = self.client("alice-reader")
        reader.subscribe("lab/bob/status", 1)
        will = {"topic": "lab/bob/status", "payload": "lost", "qos": 1, "properties": {"will_delay_interval": 1}}
        first, _ = self.client("bob-device", will=will, **self.durable())
        first.drop()
        second, _ = self.client("bob-device", will=will, **self.durable())
        self.assertEqual([], reader.messages(1.5))
        second.drop()
        self.assertEqual([], reader.messages(0.5))
        self.assertEqual("lost", reader.receive()["payload"])

    def test_server_limits_are_announced(self) -> None:
        """The CONNACK says what the broker takes, and the Client Identifier that it has chosen."""
        client = self.driver.client("alice")
        answer = client.connect(**self.options("alice", "password", ""))
        properties = answer["properties"]
        self.assertEqual(256 * 1024, properties["maximum_packet_size"])
        self.assertEqual(1000, properties["receive_maximum"])
        self.assertTrue(properties["assigned_client_identifier"])
        self.assertGreater(properties["topic_alias_maximum"], 0)
