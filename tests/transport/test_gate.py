"""The ACCEPT stage: who gets as far as TLS, who is counted, and what observers hear."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial import unittest

from mqttsecure.core.decisions import Peer, Stage
from mqttsecure.core.events import Denied, Disconnected
from mqttsecure.core.limits import Limits
from mqttsecure.transport.gate import ListenerFactory, peer_of
from tests.support.transport import Listening, connect_bytes, tls_files


class PeerTests(unittest.SynchronousTestCase):
    """Addresses as policies see them."""

    def test_plain(self) -> None:
        """IPv4 and IPv6 as they are."""
        self.assertEqual(peer_of(IPv4Address("TCP", "192.0.2.1", 5)), Peer(ip_address("192.0.2.1"), 5))
        self.assertEqual(peer_of(IPv6Address("TCP", "2001:db8::1", 5)), Peer(ip_address("2001:db8::1"), 5))

    def test_mapped(self) -> None:
        """An IPv4 client of a socket for both is an IPv4 client: no rule about it can be gone around."""
        self.assertEqual(peer_of(IPv6Address("TCP", "::ffff:192.0.2.1", 5)), Peer(ip_address("192.0.2.1"), 5))

    def test_scope(self) -> None:
        """The interface a link-local address is reached by is no part of it."""
        self.assertEqual(peer_of(IPv6Address("TCP", "fe80::1%eth0", 5)), Peer(ip_address("fe80::1"), 5))

    def test_no_address(self) -> None:
        """What is none is an error, not somebody."""
        self.assertRaises(ValueError, peer_of, None)
        self.assertRaises(ValueError, peer_of, UNIXAddress(b"/run/socket"))


class AcceptTests(unittest.SynchronousTestCase):
    """Direct verdicts."""

    def test_permit(self) -> None:
        """The connection is counted, observed, and asked about with its address; at its end no more."""
        listening = Listening(self)
        far = listening.connect()
        listening.turns()
        listening.check_counts(1)
        self.assertEqual(str(listening.chain.asked(Stage.ACCEPT)[0].connection.peer.address), "127.0.0.1")
        self.assertEqual((listening.chain.opened, listening.chain.closed), ([1], []))
        far.close()
        listening.turns()
        listening.check_counts()
        self.assertEqual(listening.chain.closed, [1])

    def test_deny(self) -> None:
        """The socket is reset without a byte, nobody observes it, and the denial is reported once."""
        for context in (None, tls_files().server()):
            with self.subTest(tls=context is not None):
                listening = Listening(self, context)
                listening.chain.deny(Stage.ACCEPT)
                far = listening.connect(None if context is None else tls_files().client())
                listening.until(lambda far=far: far.ended)
                self.assertEqual((far.ended, far.received), ("reset", b""))
                listening.turns()
                listening.check_counts()
                self.assertEqual(listening.chain.opened, [])
                self.assertEqual(len(listening.texts(Denied)), 1)
                self.assertEqual(len(listening.events), 1)

    def test_not_open_yet(self) -> None:
        """Between the bind and the start of the policies nobody is let in."""
        listening = Listening(self)
        listening.factory._driver = None
        far = listening.connect()
        listening.until(lambda: far.ended)
        self.assertEqual(listening.chain.requests, [])

    def test_no_address(self) -> None:
        """A peer without an address is not let in."""
        listening = Listening(self)
        self.assertIsNone(listening.factory._answer(UNIXAddress(b"")))
        self.assertIsNone(ListenerFactory("lab", 1)._answer(None))


class PendingTests(unittest.SynchronousTestCase):
    """Verdicts that take their time."""

    def listening(self, tls: bool = False, **more: object) -> Listening:
        listening = Listening(self, tls_files().server() if tls else None, **more)  # type: ignore[arg-type]
        listening.chain.delay(Stage.ACCEPT)
        return listening

    def test_nothing_is_read_before(self) -> None:
        """Not a byte of TLS is answered until the verdict; then all goes its way."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                listening = self.listening(tls)
                far = listening.connect(tls_files().client() if tls else None)
                far.send(connect_bytes())
                listening.turns()
                self.assertFalse(far.is_up and tls)
                self.assertEqual(far.received, b"")
                listening.check_counts(1)
                self.assertEqual(listening.chain.opened, [])
                listening.chain.answer()
                listening.until(lambda far=far: far.received)
                self.assertEqual(far.received[:1], b"\x20")
                listening.check_counts(1)
                self.assertEqual(len(listening.chain.opened), 1)

    def test_deny(self) -> None:
        """The socket is reset; it was never observed."""
        listening = self.listening()
        far = listening.connect()
        listening.turns()
        listening.chain.answer(permit=False)
        listening.until(lambda: far.ended)
        listening.turns()
        self.assertEqual(far.ended, "reset")
        self.assertEqual(listening.chain.opened, [])
        listening.check_counts()
        self.assertEqual(len(listening.texts(Denied)), 1)

    def test_gone_before(self) -> None:
        """A peer that resets while the chain thinks is noticed when it is let in; every count is right."""
        listening = self.listening()
        far = listening.connect()
        listening.turns()
        far.reset()
        listening.turns()
        listening.check_counts(1)
        listening.chain.answer()
        listening.turns()
        listening.check_counts()

    def test_cancelled(self) -> None:
        """The question is cancelled with its connection."""
        listening = self.listening()
        listening.connect()
        listening.turns()
        (gate,) = listening.driver.gates
        gate.abort()
        listening.turns()
        self.assertTrue(listening.chain.waiting[0].cancelled)
        listening.check_counts()

    def test_policies_change_meanwhile(self) -> None:
        """A verdict of the old ones is not used: the new ones are asked, be they quick or slow."""
        for slow in (False, True):
            with self.subTest(slow=slow):
                listening = self.listening()
                far = listening.connect()
                listening.turns()
                listening.chain.version += 1
                listening.driver.core.state.policy_version += 1
                if not slow:
                    listening.chain.deny(Stage.ACCEPT)
                listening.chain.answer(policy_version=1)
                if slow:
                    listening.turns()
                    self.assertIsNone(far.ended)
                    listening.chain.answer(permit=False)
                listening.until(lambda far=far: far.ended)
                self.assertEqual(len(listening.chain.asked(Stage.ACCEPT)), 2)
                listening.turns()
                listening.check_counts()

    def test_stop_while_pending(self) -> None:
        """A broker that stops waits for no verdict, and lets nobody in by a late one."""
        listening = self.listening()
        far = listening.connect()
        listening.turns()
        done = listening.driver.close_all(1.0)
        listening.turns()
        self.successResultOf(done)
        self.assertEqual(far.ended, "reset")
        self.assertIsNone(
            listening.factory.admit(
                listening.chain.waiting[0].request, listening.chain.permit(listening.chain.waiting[0].request)
            )
        )

    def test_two_waits_in_a_row(self) -> None:
        """ACCEPT and then HANDSHAKE pending: reading stays paused between them."""
        listening = self.listening()
        listening.chain.delay(Stage.HANDSHAKE)
        far = listening.connect()
        far.send(connect_bytes())
        listening.turns()
        listening.chain.answer()
        far.send(b"x" * 300_000)
        listening.turns(20)
        listening.check_counts(1)
        self.assertIsNone(far.ended)
        self.assertEqual(len(listening.reactor.getReaders()), 1)  # the port alone

    def test_counts_towards_the_maximum(self) -> None:
        """Connections that wait for a verdict take a place."""
        listening = self.listening(maximum_connections=2)
        listening.connect(), listening.connect()
        listening.turns()
        third = listening.connect()
        listening.until(lambda: third.ended)
        listening.check_counts(2)


class MaximumTests(unittest.SynchronousTestCase):
    """How many are let in."""

    def test_of_the_listener(self) -> None:
        """One more is reset unasked; a place that becomes free is taken again."""
        listening = Listening(self, maximum_connections=2)
        first = listening.connect()
        listening.connect()
        listening.turns()
        third = listening.connect()
        listening.until(lambda: third.ended)
        self.assertEqual(len(listening.chain.asked(Stage.ACCEPT)), 2)
        first.close()
        listening.turns()
        fourth = listening.connect()
        listening.turns()
        self.assertIsNone(fourth.ended)
        listening.check_counts(2)

    def test_of_the_broker(self) -> None:
        """Over all listeners; connections that are being closed count until they are gone."""
        listening = Listening(self, limits=Limits(maximum_connections=2))
        first = listening.connect()
        listening.connect()
        listening.turns()
        third = listening.connect()
        listening.until(lambda: third.ended)
        first.send(b"\x00\x00")  # an error: the broker closes, and this peer does not
        listening.until(lambda: first.ended == "eof")
        fourth = listening.connect()
        listening.until(lambda: fourth.ended)
        listening.advance(2.0)
        fifth = listening.connect()
        listening.turns()
        self.assertIsNone(fifth.ended)
        listening.check_counts(2)

    def test_failed_handshakes_leave_nothing(self) -> None:
        """Connections whose TLS fails free their places, each heard of once."""
        listening = Listening(self, tls_files().server(), maximum_connections=3)
        for _ in range(6):
            far = listening.connect()
            far.send_raw(b"GET / HTTP/1.1\r\n\r\n")
            listening.until(lambda far=far: far.ended)
            listening.turns()
        listening.check_counts()
        self.assertEqual(len(listening.chain.closed), 6)
        self.assertEqual(
            [event.text for event in listening.texts(Disconnected)], ["the TLS handshake failed: http request"] * 6
        )

    def test_alert_is_not_taken_away(self) -> None:
        """A client whose handshake fails can read why: the connection ends in good order, not by a reset."""
        anchors = [tls_files().anchor]
        listening = Listening(self, tls_files().server(client_certificate="required", anchors=anchors))
        far = listening.connect(tls_files().client())
        listening.until(lambda: far.ended)
        self.assertEqual(far.ended, "eof")
        self.assertRegex(str(far.error), "(?i)certificate required")
        listening.turns()
        listening.check_counts()
        (event,) = listening.events
        self.assertEqual(event.text, "the TLS handshake failed: peer did not return a certificate")

    def test_resets_at_each_step(self) -> None:
        """A peer that resets right away, in the handshake, before, within and after CONNECT."""
        listening = Listening(self, tls_files().server())
        client = tls_files().client()
        hello = listening.connect(client)
        hello.reset()
        half = listening.connect(client)
        half.pump()
        half.reset()
        for data in (b"", connect_bytes()[:5], connect_bytes()):
            far = listening.connect(client)
            listening.until(lambda far=far: far.is_up)
            far.send(data)
            listening.turns(3)
            far.reset()
            listening.turns(3)
        listening.turns()
        listening.check_counts()
        self.assertEqual(len(listening.chain.opened), 5)
        self.assertEqual(listening.driver.core.counters.internal_errors, 0)
