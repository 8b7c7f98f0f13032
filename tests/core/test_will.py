# -*- test-case-name: tests.core.test_will -*-
"""Wills: when they are sent, when not, and that they pass the same checks as all else."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Stage
from mqttsecure.core.limits import Limits
from mqttsecure.wire.packets import Disconnect, Publish, Will
from tests.support.core import Bench, Client, CountingMeter

_LONG = {"session_expiry_interval": 1000}


class WillTests(SynchronousTestCase):
    """The last words of a client."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.reader = self.bench.connected("reader")
        self.reader.subscribe("#", qos=2)

    def client(
        self,
        version: int = 5,
        *,
        delay: int = 0,
        topic: str = "w",
        retain: bool = False,
        qos: int = 1,
        payload: bytes = b"gone",
        **connect: object,
    ) -> Client:
        properties = {"will_delay_interval": delay} if delay else {}
        will = Will(topic, payload, qos, retain, properties)
        connect.setdefault("user", "u")
        return self.bench.connected("c", version, will=will, **connect)

    def sent(self) -> list[bytes]:
        return self.reader.acknowledge()

    def test_sent_when_the_connection_breaks(self) -> None:
        """A connection that breaks, falls silent, or errs has its will sent."""
        for version in (3, 4, 5):
            self.client(version).lose()
            self.assertEqual(self.sent(), [b"gone"])
            client = self.client(version)
            self.bench.advance(100)
            self.assertTrue(client.closed)
            self.reader.lose()
            self.reader = self.bench.connected("reader")
            self.reader.subscribe("#", qos=2)
            self.client(version).send_bytes(b"\x00\x00")
            self.assertEqual(self.sent(), [b"gone"])

    def test_silence(self) -> None:
        """A client that falls silent has its will sent."""
        self.client(keep_alive=10)
        reader = self.bench.connected("patient", keep_alive=1000)
        reader.subscribe("w")
        self.bench.advance(15)
        self.assertEqual(reader.payloads(), [b"gone"])

    def test_not_sent_after_disconnect(self) -> None:
        """Who says goodbye has no will; with 0x04 he has."""
        for version in (3, 4, 5):
            self.client(version).disconnect()
            self.assertEqual(self.sent(), [])
        self.client().disconnect(0x04)
        self.assertEqual(self.sent(), [b"gone"])

    def test_form(self) -> None:
        """It is sent with its QoS, RETAIN and properties, and its expiry counts from then."""
        will = Will("w", b"gone", 1, True, {"message_expiry_interval": 9, "user_property": [("a", "b")]})
        client = self.bench.connected("c", will=will)
        self.bench.advance(20)
        client.lose()
        (message,) = self.reader.messages()
        self.assertEqual(
            message,
            Publish(
                "w", b"gone", 1, packet_id=1, properties={"user_property": [("a", "b")], "message_expiry_interval": 9}
            ),
        )
        self.assertEqual(self.bench.core.state.retained.count, 1)

    def test_delay(self) -> None:
        """A delayed will waits; a client that returns in time has none."""
        self.client(delay=10, clean=False, **_LONG).lose()
        self.bench.advance(9)
        self.assertEqual(self.sent(), [])
        self.bench.advance(1)
        self.assertEqual(self.sent(), [b"gone"])
        self.client(delay=10, clean=False, **_LONG).lose()
        self.bench.connected("c", user="u", clean=False, **_LONG)
        self.bench.advance(20)
        self.assertEqual(self.sent(), [])

    def test_delay_ends_with_the_session(self) -> None:
        """A will waits no longer than its session lives, be that because it expires or because it begins anew."""
        self.client(delay=100, clean=False, session_expiry_interval=5).lose()
        self.bench.advance(5)
        self.assertEqual(self.sent(), [b"gone"])
        self.client(delay=100).lose()
        self.assertEqual(self.sent(), [b"gone"])
        self.client(delay=100, clean=False, **_LONG).lose()
        self.bench.connected("c", user="u", clean=True)
        self.assertEqual(self.sent(), [b"gone"])

    def test_takeover(self) -> None:
        """A connection that is taken over has its will sent, unless it is delayed and the session goes on."""
        self.client(**_LONG)
        again = self.client(clean=False, **_LONG)
        self.assertEqual(self.sent(), [b"gone"])
        again.disconnect()
        again = self.client(delay=10, clean=False, **_LONG)
        again = self.client(delay=10, clean=False, **_LONG)
        self.bench.advance(20)
        self.assertEqual(self.sent(), [])
        again = self.client(delay=10, clean=True, **_LONG)
        self.assertEqual(self.sent(), [b"gone"])
        again.disconnect()

    def test_denied_when_it_is_sent(self) -> None:
        """A right that was lost meanwhile is lost for the will too: nothing is delivered, nothing is kept."""
        client = self.client(retain=True)
        self.bench.chain.deny(Stage.PUBLISH, topic="w")
        client.lose()
        self.assertEqual(self.sent(), [])
        self.assertEqual(self.bench.core.state.retained.count, 0)
        self.assertEqual(self.bench.denied, [(Stage.PUBLISH, "w")])
        self.assertEqual(self.bench.core.counters.publishes_denied, 1)

    def test_counted(self) -> None:
        """A will counts on the meters of its writer like any message, and may be one too many."""
        meter = CountingMeter(1)
        self.bench.chain.oblige(Stage.PUBLISH, topic="w", meters=(meter,))
        self.client().lose()
        self.client().lose()
        self.assertEqual(self.sent(), [b"gone"])
        self.assertEqual(meter.messages, 2)

    def test_late_verdict(self) -> None:
        """A verdict that comes late, even twice asked for, still sends the will; a reader is asked as always."""
        client = self.client()
        self.bench.chain.delay(Stage.PUBLISH, topic="w")
        client.lose()
        old = self.bench.chain.waiting.pop()
        verdict = self.bench.chain.permit(old.request)
        self.bench.change_policy()
        old.pending.resolve(verdict)
        self.assertEqual(self.sent(), [])
        self.bench.chain.answer()
        self.assertEqual(self.sent(), [b"gone"])

    def test_delivery_is_decided(self) -> None:
        """A will reaches nobody who may not read it."""
        self.bench.chain.deny(Stage.DELIVER, topic="w", client="reader")
        self.client().lose()
        self.assertEqual(self.sent(), [])

    def test_no_room_to_retain(self) -> None:
        """A retained will beyond the budget is not sent, like any other message there."""
        bench = Bench(Limits(maximum_retained_messages=1))
        reader = bench.connected("reader")
        reader.subscribe("w")
        bench.publish("x", b"1", retain=True)
        bench.connected("c", will=Will("w", b"gone", retain=True)).lose()
        self.assertEqual(reader.payloads(), [])

    def test_chain_of_wills(self) -> None:
        """Wills that cut the next slow reader, whose will cuts the next, end in order, however many there are."""
        bench = Bench(Limits(maximum_queued_messages=1, maximum_inflight=1))
        count = 400
        clients = []
        for number in range(count):
            client = bench.connected(f"c{number}", will=Will(f"w{number + 1}", b"gone", 1))
            client.subscribe(f"w{number}", qos=1)
            client.reads = False
            clients.append(client)
        for number in range(1, count):
            for _ in range(2):
                bench.core.publish(f"w{number}", b"x", bench.now)
        writer = bench.connected("writer")
        for number in range(1, count):
            writer.publish(f"w{number}", b"x", qos=1)
            writer.publish(f"w{number}", b"x", qos=1)
        clients[0].lose()
        self.assertEqual([client.connection.close_reason for client in clients[1:]], [0x97] * (count - 1))
        bench.check_nothing_left(self)

    def test_no_will_from_a_refused_connect(self) -> None:
        """A CONNECT that was refused leaves no will, whatever happens to its connection."""
        for stage in (Stage.CONNECT, Stage.AUTHENTICATE):
            rule = self.bench.chain.deny(stage, client="c")
            client = self.bench.client()
            client.connect("c", user="u", will=Will("w", b"gone"))
            client.lose()
            self.bench.chain.forget(rule)
        self.assertEqual(self.sent(), [])

    def test_disconnect_with_an_error(self) -> None:
        """A client that leaves with an error has its will sent."""
        self.client().send(Disconnect(0x81))
        self.assertEqual(self.sent(), [b"gone"])
