"""The same over TLS: what is said there does not depend on what carries it."""

from __future__ import annotations

from mqttsecure.wire.packets import Will
from tests.system.conformance.case import ConformanceCase
from tests.system.conformance.client import frame, unique


class TlsTests(ConformanceCase):
    """A few conversations over TLS."""

    def test_messages(self) -> None:
        """[MQTT-4.2-1] Messages of each QoS pass between TLS and plain TCP, in order and whole."""
        topic = unique("t")
        secure, plain = self.tls_socket(), self.client()
        secure.connect()
        secure.subscribe(topic, qos=2)
        for qos in range(3):
            payload = b"%d" % qos * 100_000
            plain.publish(topic, payload, qos)
            secure.take(payload=payload, qos=qos)
            plain.publish(topic, b"short", qos)
            secure.take(payload=b"short", qos=qos)

    def test_from_tls(self) -> None:
        """[MQTT-4.2-1] And the other way."""
        topic = unique("t")
        secure, plain = self.tls_socket(), self.client()
        secure.connect()
        plain.subscribe(topic, qos=2)
        for qos in range(3):
            secure.publish(topic, b"%d" % qos, qos)
            plain.take(payload=b"%d" % qos, qos=qos)

    def test_malformed(self) -> None:
        """[MQTT-4.13.1-1] What breaks a rule is told and cut off there too."""
        secure = self.tls_socket()
        secure.connect()
        secure.send(frame(0x36, b"\0\1t\0\1\0"))
        self.assertEqual(secure.expect_closed(), 0x81)

    def test_will(self) -> None:
        """[MQTT-3.1.2-8] Who vanishes without closing TLS has its will published."""
        topic = unique("t")
        reader, secure = self.client(), self.tls_socket()
        reader.subscribe(topic)
        secure.connect(will=Will(topic, b"gone"))
        secure.drop()
        reader.take(payload=b"gone")

    def test_takeover_across(self) -> None:
        """[MQTT-3.1.4-3] A Client Identifier is one, whichever listener it comes to."""
        name = unique("c")
        plain, secure = self.client(name), self.tls_socket()
        secure.connect(name)
        self.assertEqual(plain.expect_closed(), 0x8E)
        secure.ping()
