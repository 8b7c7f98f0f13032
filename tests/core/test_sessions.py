# -*- test-case-name: tests.core.test_sessions -*-
"""Who owns a Client Identifier: identity owns state."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.packets import Connack, Disconnect, Publish
from tests.support.core import Bench, Client

_LONG = {"session_expiry_interval": 1000}


class SessionLifeTests(SynchronousTestCase):
    """How long Session State lives, and what begins it anew."""

    def setUp(self) -> None:
        self.bench = Bench()

    def connack(self, version: int = 5, **connect: object) -> Connack:
        client = self.bench.client(version)
        answer = client.connect("c", user="u", **connect)
        assert answer is not None
        self.client = client
        return answer

    def test_clean_session(self) -> None:
        """3.1.1: without Clean Session the session stays and is said to be present; with it, it begins anew."""
        self.assertFalse(self.connack(4, clean=False).session_present)
        self.client.subscribe("t", qos=1)
        self.client.lose()
        self.assertTrue(self.connack(4, clean=False).session_present)
        self.assertEqual(self.bench.core.state.tree.count, 1)
        self.client.disconnect()
        self.assertFalse(self.connack(4, clean=True).session_present)
        self.assertEqual(self.bench.core.state.tree.count, 0)
        self.client.disconnect()
        self.assertEqual(self.bench.core.state.sessions, {})
        self.assertFalse(self.connack(4, clean=False).session_present)

    def test_3_1_has_no_session_present(self) -> None:
        """3.1 keeps sessions too, and its CONNACK has no room to say so."""
        for _ in range(2):
            self.assertFalse(self.connack(3, clean=False).session_present)
            self.client.lose()

    def test_session_expiry(self) -> None:
        """5.0: the session lives on for the Session Expiry Interval after the connection, not longer."""
        self.connack(clean=False, session_expiry_interval=10)
        self.client.lose()
        self.bench.advance(9)
        self.assertTrue(self.connack(clean=False, session_expiry_interval=10).session_present)
        self.bench.advance(20)
        self.client.lose()
        self.bench.advance(10)
        self.assertFalse(self.connack(clean=False).session_present)
        self.client.lose()
        self.assertEqual(self.bench.core.state.sessions, {})

    def test_clean_start_with_expiry(self) -> None:
        """5.0: Clean Start begins anew, and what begins there may still outlive the connection."""
        self.connack(clean=True, **_LONG)
        self.client.lose()
        self.assertTrue(self.connack(clean=False, **_LONG).session_present)
        self.client.lose()
        self.assertFalse(self.connack(clean=True, **_LONG).session_present)

    def test_never_is_until_the_maximum(self) -> None:
        """A session that should never expire lives as long as the broker keeps any, and the client is told."""
        answer = self.connack(session_expiry_interval=0xFFFFFFFF)
        self.assertEqual(answer.properties["session_expiry_interval"], 7 * 24 * 3600)

    def test_expiry_changed_by_disconnect(self) -> None:
        """DISCONNECT may lengthen or end the session, but not revive one that was to end with its connection."""
        self.connack(session_expiry_interval=10)
        self.client.disconnect(session_expiry_interval=100)
        self.bench.advance(50)
        self.assertTrue(self.connack(clean=False, **_LONG).session_present)
        self.client.disconnect(session_expiry_interval=0)
        self.assertEqual(self.bench.core.state.sessions, {})
        self.connack()
        self.client.send(Disconnect(0, {"session_expiry_interval": 10}))
        self.assertEqual(self.client.goodbye, 0x82)
        self.assertEqual(self.bench.core.state.sessions, {})

    def test_taken_over(self) -> None:
        """The same principal takes its Client Identifier over; the older connection is told 0x8E."""
        for version in (5, 4):
            for clean in (True, False):
                bench = Bench()
                older = bench.connected("c", version, user="u")
                newer = bench.connected("c", 5, user="u", clean=clean)
                self.assertTrue(older.closed)
                self.assertEqual(older.goodbye, 0x8E if version == 5 else None)
                self.assertFalse(newer.closed)
                older.lose()
                self.assertIs(bench.core.state.sessions["c"].connection, newer.connection)
                self.assertEqual(bench.core.counters.sessions_taken_over, 1)
                bench.check_nothing_left(self)

    def test_resumed_over_versions(self) -> None:
        """A session made by 3.1.1 may be resumed by 5.0, with the messages that waited."""
        self.connack(4, clean=False)
        self.client.subscribe("t", qos=1)
        self.client.lose()
        self.bench.connected("writer").publish("t", b"x", qos=1, content_type="text")
        self.assertTrue(self.connack(clean=False).session_present)
        self.assertEqual(
            self.client.messages(), [Publish("t", b"x", 1, packet_id=1, properties={"content_type": "text"})]
        )


class OwnershipTests(SynchronousTestCase):
    """Every pair of identities, with and without a clean start, with the owner there or away."""

    def test_every_pair(self) -> None:
        """Only the principal that made the session gets it; anyone else is refused and the owner stays."""
        for owner in ("alice", None):
            for taker in ("alice", "bob", None):
                for clean in (True, False):
                    for online in (True, False):
                        for version in (5, 4, 3):
                            with self.subTest(owner=owner, taker=taker, clean=clean, online=online, version=version):
                                self._try(owner, taker, clean, online, version)

    def _try(self, owner: str | None, taker: str | None, clean: bool, online: bool, version: int) -> None:
        bench = Bench()
        held = bench.connected("c", user=owner, clean=False, **_LONG)
        held.subscribe("secret", qos=1)
        if not online:
            held.lose()
            bench.connected("writer").publish("secret", b"for the owner", qos=1)
        allowed = owner == taker == "alice" or (owner is None and not online)
        client = bench.client(version)
        connack = client.connect("c", user=taker, clean=clean)
        assert connack is not None
        if not allowed:
            self.assertEqual(connack.reason_code, 0x85 if version == 5 else 2)
            self.assertTrue(client.closed)
            self.assertEqual(held.closed, not online)
            self.assertIn("c", bench.core.state.sessions)
            self.assertEqual(bench.core.state.tree.count, 1)
        else:
            self.assertEqual(connack.reason_code, 0)
            kept = owner == "alice" and not clean
            self.assertEqual(connack.session_present, kept and version != 3)
            self.assertTrue(held.closed)
        messages = client.payloads()
        self.assertEqual(messages, [b"for the owner"] if allowed and owner and not clean and not online else [])
        self.assertNotIn(b"alice", client.raw)
        bench.check_nothing_left(self)

    def test_refusal_names_the_owner_to_the_log_alone(self) -> None:
        """The log may say whose the Client Identifier is; the client may not know."""
        bench = Bench()
        bench.connected("c", user="alice")
        taker: Client = bench.client()
        taker.connect("c", user="bob")
        self.assertIn("alice", taker.connection.close_text)
        self.assertNotIn(b"alice", taker.raw)


class EndTests(SynchronousTestCase):
    """Nothing is left of what is over."""

    def test_deadlines_end_with_their_connection(self) -> None:
        """Many short connections leave nothing behind, though their Keep Alive was long."""
        bench = Bench()
        for number in range(50):
            client = bench.connected(f"c{number}", keep_alive=1800)
            client.disconnect()
        self.assertEqual(len(bench.core.state.deadlines), 0)
        bench.client().lose()
        self.assertEqual(len(bench.core.state.deadlines), 0)

    def test_expiry_releases_the_queue(self) -> None:
        """When a session expires its queue is gone, from the sums as well."""
        bench = Bench()
        reader = bench.connected("reader", user="u", clean=False, session_expiry_interval=10)
        reader.subscribe("t", qos=2)
        reader.lose()
        writer = bench.connected("writer")
        for _ in range(5):
            writer.publish("t", b"x" * 100, qos=1)
        self.assertGreater(bench.core.state.queued_octets + bench.core.state.stored_octets, 500)
        bench.advance(10)
        self.assertEqual(bench.core.state.queued_octets, 0)
        writer.publish("t", b"x", qos=1)
        self.assertEqual(bench.core.state.queued_octets, 0)

    def test_shut_down(self) -> None:
        """Everyone is told 0x8B; sessions stay, wills are not sent."""
        from mqttsecure.wire.packets import Will

        bench = Bench()
        reader = bench.connected("reader", user="u", clean=False, session_expiry_interval=10)
        reader.subscribe("w")
        leaving = bench.connected("leaving", will=Will("w", b"gone"))
        old = bench.connected("old", 4)
        bench.core.shut_down(bench.now)
        bench.flush()
        self.assertEqual([reader.goodbye, leaving.goodbye, old.goodbye], [0x8B, 0x8B, None])
        self.assertEqual([reader.closed, leaving.closed, old.closed], [True, True, True])
        self.assertEqual(reader.payloads(), [])
        self.assertEqual(list(bench.core.state.sessions), ["reader"])
