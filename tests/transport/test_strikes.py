"""Tests for mqttsecure.transport.strikes, and for requests to judge connections again."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal
from mqttsecure.core.events import Connected, Disconnected
from mqttsecure.transport.strikes import Strikes
from tests.support.transport import Listening

ALICE = Principal("users", "alice")


def facts(principal: Principal | None = ALICE, client_id: str = "a", accepted_at: float = 0.0) -> ConnectionFacts:
    peer = Peer(ip_address("192.0.2.1"), 40000)
    return ConnectionFacts(1, "lab", peer, accepted_at=accepted_at, client_id=client_id, principal=principal)


class StrikesTests(SynchronousTestCase):
    """Which ends of connections are held against a client."""

    def setUp(self) -> None:
        self.told: list[str] = []
        self.strikes = Strikes(lambda facts, weight, why: self.told.append(why))

    def take(
        self, reason_code: int, now: float = 100.0, by_peer: bool = False, again: bool = False, **more: object
    ) -> int:
        before = len(self.told)
        event = Disconnected(facts(**more), reason_code, "", by_peer, again)  # type: ignore[arg-type]
        self.strikes.take([Connected(event.facts, False), event], now)
        return len(self.told) - before

    def test_broken_packets(self) -> None:
        """Bytes that are no MQTT strike, of a stranger and of a client that is known."""
        for code in (0x81, 0x82, 0x93, 0x94):
            self.assertEqual(self.take(code), 1)
            self.assertEqual(self.take(code, principal=None), 1)

    def test_too_large(self) -> None:
        """A stranger's giant CONNECT strikes; the message of a client that was configured so does not."""
        self.assertEqual((self.take(0x95, principal=None), self.take(0x95)), (1, 0))

    def test_what_policies_and_people_end_is_no_fault(self) -> None:
        """Denied publishes, wrong passwords, a full outbox, a shutdown: no strike is made of them here."""
        for code in (0, 0x85, 0x86, 0x87, 0x8B, 0x8D, 0x97, 0x98, 0x9F):
            self.assertEqual(self.take(code, now=1.0) + self.take(code, principal=None), 0, hex(code))

    def test_what_a_client_says_of_itself_is_not_taken_for_ours(self) -> None:
        """A client may end with DISCONNECT 0x81: it is not at fault then, we would be."""
        self.assertEqual(self.take(0x81, by_peer=True), 0)

    def test_a_message_sent_again_counts_once(self) -> None:
        """A message that is refused for its form comes back at each reconnect, with DUP: one strike, not many."""
        counted = [self.take(0x94, now=float(now), again=now > 0) for now in range(50)]
        self.assertEqual(sum(counted), 1)
        self.assertEqual(self.take(0x94, now=51.0, again=True, client_id="b"), 1)
        self.assertEqual(self.take(0x81, now=51.0, again=True), 1)
        self.assertEqual(self.take(0x94, now=5000.0, again=True), 1)

    def test_a_stranger_is_not_spared_by_dup(self) -> None:
        """Who has not logged in has nothing to repeat."""
        self.assertEqual([self.take(0x82, principal=None, again=True) for _ in range(9)], [1] * 9)

    def test_coming_and_going(self) -> None:
        """Fifteen short connections a minute are a script; more of them strike. So does a fight over a name."""
        for by_peer, code, client_id in ((True, 0, "a"), (False, 0x8E, "b")):
            counts = [
                self.take(code, now=now + 0.5, by_peer=by_peer, accepted_at=float(now), client_id=client_id)
                for now in range(20)
            ]
            self.assertEqual(counts, [0] * 15 + [1] * 5)
        self.assertEqual(self.take(0, now=90.5, by_peer=True, accepted_at=90.0), 0)

    def test_long_connections_and_others_do_not_count(self) -> None:
        """Five hundred clients that reconnect once are no flapping, and neither is one that stayed for a while."""
        for number in range(500):
            self.assertEqual(self.take(0, now=1.0, by_peer=True, client_id=f"c{number}"), 0)
        for number in range(30):
            self.assertEqual(self.take(0, now=number + 10.5, by_peer=True, accepted_at=float(number)), 0)

    def test_memory_is_bounded(self) -> None:
        """However many clients come and go, few are remembered."""
        for number in range(5000):
            self.take(0, now=1.0, by_peer=True, client_id=f"c{number}")
            self.take(0x81, client_id=f"c{number}")
        self.assertEqual(len(self.strikes._short._values), 4096)
        self.assertEqual(len(self.strikes._faults._values), 4096)


class DriverTests(SynchronousTestCase):
    """The same at a driver with real sockets."""

    def test_malformed_packet(self) -> None:
        """Garbage in place of CONNECT is a strike, told to the chain in force."""
        listening = Listening(self)
        far = listening.connect()
        far.send(b"GET / HTTP/1.1\r\n\r\n")
        listening.until(lambda: listening.chain.strikes)
        self.assertEqual([why for _, why in listening.chain.strikes], ["malformed packet"])

    def test_dup_is_seen(self) -> None:
        """The fault of a PUBLISH with DUP is known as one, that of another packet is not."""
        listening = Listening(self)
        for packet, expected in ((b"\x3b\x05\x00\x01#\x00\x01", True), (b"\x33\x05\x00\x01#\x00\x01", False)):
            far = listening.connected("a")
            far.send(packet)
            listening.until(lambda: listening.texts(Disconnected))
            self.assertIs(listening.texts(Disconnected)[-1].repeated, expected)
            listening.events.clear()

    def test_requested_rejudging(self) -> None:
        """A policy names connections: those are asked about again, all requests of a moment together, and no others."""
        listening = Listening(self)
        for name in ("a", "b"):
            listening.connected(name)
        chain = listening.chain
        asked: list[object] = []
        whole = chain.decide
        self.patch(chain, "decide", lambda request: asked.append(request.connection.client_id) or whole(request))
        ids = {each.facts.client_id: each.facts.connection_id for each in listening.driver.core.state.connections}
        listening.driver.request_rejudging([ids["a"]])
        listening.driver.request_rejudging([ids["a"], 10**9])
        listening.turns()
        self.assertEqual(asked, [])
        listening.advance(0.1)
        self.assertEqual(set(asked), {"a"})
        self.assertEqual(len(asked), 4)
        listening.driver.request_rejudging()
        listening.driver.request_rejudging([1])
        listening.advance(0.1)
        self.assertEqual(set(asked), {"a", "b"})

    def test_nothing_is_left_behind_at_the_end(self) -> None:
        """A request just before the stop is dropped."""
        listening = Listening(self)
        listening.driver.request_rejudging()
        listening.driver.close_all(1.0)
        listening.driver.request_rejudging()
        listening.advance(2.0)
