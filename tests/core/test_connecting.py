# -*- test-case-name: tests.core.test_connecting -*-
"""From CONNECT to CONNACK: what is told, what is refused, what is kept back until the verdicts are in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import CapKeepAlive, CapSessionExpiry, Effect, Principal, Stage, Verdict
from mqttsecure.core.events import Connected, Disconnected
from mqttsecure.core.limits import Limits
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import (
    Auth,
    Connack,
    Connect,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from tests.support.core import Bench


class ConnackTests(SynchronousTestCase):
    """What a client learns from CONNACK."""

    def test_limits_are_told(self) -> None:
        """A client of 5.0 learns what the broker takes."""
        bench = Bench(Limits(receive_maximum=7, maximum_packet_size=5000, topic_alias_maximum=3))
        connack = bench.client().connect("c")
        assert connack is not None
        self.assertEqual(
            connack.properties, {"receive_maximum": 7, "maximum_packet_size": 5000, "topic_alias_maximum": 3}
        )

    def test_old_versions_have_no_properties(self) -> None:
        """A client of 3.1 or 3.1.1 gets the four bytes it knows."""
        for version in (3, 4):
            client = Bench().client(version)
            client.connect("c")
            self.assertEqual(client.raw, b"\x20\x02\x00\x00")

    def test_assigned_client_identifier(self) -> None:
        """Who leaves the Client Identifier to the broker is told a new one, which nobody else has."""
        bench = Bench()
        names = []
        for _ in range(2):
            connack = bench.client().connect("")
            assert connack is not None
            names.append(connack.properties["assigned_client_identifier"])
        self.assertEqual(len(set(names)), 2)
        self.assertEqual(set(bench.core.state.sessions), set(names))

    def test_empty_client_identifier_of_3_1_1(self) -> None:
        """3.1.1 may go nameless with Clean Session, and not without; 3.1 never may."""
        bench = Bench()
        nameless = bench.client(4)
        nameless.connect("", clean=True)
        self.assertEqual(nameless.raw, b"\x20\x02\x00\x00")
        keeping = bench.client(4)
        keeping.send_bytes(b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00")
        self.assertEqual((keeping.raw, keeping.closed), (b"\x20\x02\x00\x02", True))
        old = bench.client(3)
        old.send_bytes(b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00")
        self.assertEqual((old.raw, old.closed), (b"\x20\x02\x00\x02", True))

    def test_server_keep_alive(self) -> None:
        """A Keep Alive of 0, or one above the maximum, is lowered, and 5.0 is told so."""
        bench = Bench(Limits(maximum_keep_alive=100))
        for asked, told in ((0, 100), (1000, 100), (50, None), (100, None)):
            connack = bench.client().connect("", keep_alive=asked)
            assert connack is not None
            self.assertEqual(connack.properties.get("server_keep_alive"), told)

    def test_policy_caps(self) -> None:
        """A policy may lower Keep Alive and Session Expiry, and the client is told."""
        bench = Bench()
        bench.chain.oblige(Stage.CONNECT, CapKeepAlive(30))
        bench.chain.on(
            Stage.AUTHENTICATE, lambda request: bench.chain.permit(request, CapKeepAlive(20), CapSessionExpiry(60))
        )
        client = bench.client()
        connack = client.connect("c", user="u", keep_alive=0, session_expiry_interval=3600)
        assert connack is not None
        self.assertEqual(connack.properties.get("server_keep_alive"), 20)
        self.assertEqual(connack.properties.get("session_expiry_interval"), 60)
        client.disconnect(session_expiry_interval=3600)
        bench.advance(59)
        self.assertIn("c", bench.core.state.sessions)
        bench.advance(2)
        self.assertEqual(bench.core.state.sessions, {})

    def test_connack_too_large_for_the_client(self) -> None:
        """Who cannot even take a CONNACK is not left with a connection it knows nothing of."""
        bench = Bench()
        client = bench.client()
        client.connect("c", maximum_packet_size=5)
        self.assertTrue(client.closed)
        self.assertEqual(client.raw, b"")
        bench.check_nothing_left(self)

    def test_request_and_facts(self) -> None:
        """The chain is told what the CONNECT said; the password is in the question and never in the facts."""
        bench = Bench()
        client = bench.connected("c", 4, user="u", password=b"secret", keep_alive=33, clean=False, bridge=True)
        (request,) = bench.chain.asked(Stage.AUTHENTICATE)
        facts = client.connection.facts
        self.assertEqual(request.password, b"secret")
        self.assertEqual((facts.client_id, facts.username, facts.protocol_version), ("c", "u", 4))
        self.assertEqual((facts.clean_start, facts.bridge, facts.keep_alive), (False, True, 33))
        self.assertNotIn("secret", repr(facts))
        connect = client.connection.connect
        self.assertIsNone(connect and connect.password)
        self.assertEqual(bench.events, [Connected(facts, False)])


class RefusalTests(SynchronousTestCase):
    """A refused CONNECT is answered, changes nothing, and is closed."""

    def test_denied_at_each_stage(self) -> None:
        """A denial at CONNECT or AUTHENTICATE is told with the policy's code and a decision id, and no more."""
        for stage in (Stage.CONNECT, Stage.AUTHENTICATE):
            for version, expected in ((5, 0x8A), (4, 5), (3, 5)):
                bench = Bench()
                bench.chain.deny(stage, reason_code=0x8A, text="rule 7 of the secret file")
                client = bench.client(version)
                connack = client.connect("c", user="u", will=Will("w", b"gone"))
                assert connack is not None
                self.assertEqual(connack.reason_code, expected)
                if version == 5:
                    self.assertEqual(connack.properties, {"reason_string": "decision d1"})
                self.assertTrue(client.closed)
                self.assertEqual(bench.denied, [(stage, "")])
                self.assertNotIn(b"secret", client.raw)
                self.assertEqual(bench.core.counters.connections_refused, 1)
                bench.check_nothing_left(self)

    def test_no_problem_information_wanted(self) -> None:
        """Who asks for no problem information gets no Reason String."""
        bench = Bench()
        bench.chain.deny(Stage.CONNECT)
        connack = bench.client().connect("c", request_problem_information=0)
        self.assertEqual(connack and connack.properties, {})

    def test_code_that_connack_cannot_carry(self) -> None:
        """A code that belongs into other packets is told as the nearest one."""
        for given, told, old in ((0x96, 0x97, 3), (0x8E, 0x87, 5), (0, 0x87, 5), (0x86, 0x86, 4)):
            for version in (5, 4):
                bench = Bench()
                bench.chain.deny(Stage.AUTHENTICATE, reason_code=given)
                connack = bench.client(version).connect("c")
                self.assertEqual(connack and connack.reason_code, told if version == 5 else old)

    def test_permit_without_a_principal(self) -> None:
        """A permission that names nobody lets nobody in."""
        bench = Bench()
        bench.chain.oblige(Stage.AUTHENTICATE, principal=None)
        client = bench.client()
        connack = client.connect("c")
        self.assertEqual(connack and connack.reason_code, 0x87)
        self.assertTrue(client.closed)

    def test_will_denied(self) -> None:
        """A will on a forbidden topic is refused in CONNECT with 0x87, before any state changes."""
        bench = Bench()
        bench.chain.deny(Stage.PUBLISH, topic="secret/w")
        owner = bench.connected("c", user="u", clean=False, session_expiry_interval=100)
        thief = bench.client()
        connack = thief.connect("c", user="u", will=Will("secret/w", b"gone", retain=True))
        self.assertEqual(connack and connack.reason_code, 0x87)
        self.assertFalse(owner.closed)
        self.assertEqual(bench.core.state.retained.count, 0)
        (request,) = bench.chain.asked(Stage.PUBLISH)
        self.assertTrue(request.is_will)

    def test_will_topic_too_deep(self) -> None:
        """A will on a topic deeper than the broker takes is refused."""
        bench = Bench(Limits(maximum_topic_levels=3))
        client = bench.client()
        connack = client.connect("c", will=Will("a/b/c/d", b""))
        self.assertEqual(connack and connack.reason_code, 0x90)

    def test_too_many_sessions(self) -> None:
        """Beyond the maximum of sessions a new one is refused, an old one is not."""
        bench = Bench(Limits(maximum_sessions=1))
        bench.connected("a", user="u")
        connack = bench.client().connect("b", user="u")
        self.assertEqual(connack and connack.reason_code, 0x97)
        bench.connected("a", user="u")

    def test_nothing_changes_before_the_verdict(self) -> None:
        """While the chain thinks, the older connection lives and no session is made."""
        bench = Bench()
        older = bench.connected("c", user="u")
        bench.chain.delay(Stage.AUTHENTICATE)
        newer = bench.client()
        self.assertIsNone(newer.connect("c", user="u"))
        self.assertFalse(older.closed)
        bench.chain.answer(False, reason_code=0x86)
        self.assertFalse(older.closed)
        self.assertEqual([each.reason_code for each in newer.take(Connack)], [0x86])


class PendingTests(SynchronousTestCase):
    """Verdicts that come later, at the stages of CONNECT."""

    def test_each_stage_waits(self) -> None:
        """CONNECT, AUTHENTICATE and the will's PUBLISH may each take their time; what was pipelined waits."""
        bench = Bench()
        for stage in (Stage.CONNECT, Stage.AUTHENTICATE, Stage.PUBLISH):
            bench.chain.delay(stage)
        client = bench.client()
        connect = client.connect_packet("c", user="u", will=Will("w", b"gone"))
        client.send(connect, Subscribe(1, [SubscriptionRequest("t")]), Pingreq())
        for _ in range(3):
            self.assertEqual(client.received(), [])
            self.assertFalse(client.connection.reading)
            bench.chain.answer()
        self.assertEqual([type(each) for each in client.received()], [Connack, Suback, Pingresp])
        self.assertTrue(client.connection.reading)
        client.disconnect()
        bench.check_nothing_left(self)

    def test_cancelled_with_its_connection(self) -> None:
        """A question whose connection has gone is told to stop, and its late answer does nothing."""
        bench = Bench()
        bench.chain.delay(Stage.AUTHENTICATE)
        client = bench.client()
        client.connect("c", user="u")
        client.lose()
        (waiting,) = bench.chain.waiting
        self.assertTrue(waiting.cancelled)
        bench.chain.answer()
        self.assertEqual(bench.core.state.sessions, {})

    def test_asked_again_under_new_policies(self) -> None:
        """An answer of policies that were replaced meanwhile is thrown away."""
        bench = Bench()
        bench.chain.delay(Stage.CONNECT)
        client = bench.client()
        client.connect("c")
        old = bench.chain.waiting.pop()
        bench.change_policy()
        bench.now += 1
        old.pending.resolve(Verdict(Effect.PERMIT, Stage.CONNECT, policy_version=1))
        self.assertEqual(client.received(), [])
        self.assertEqual(bench.chain.waiting[0].request.now, bench.now)
        bench.chain.answer(False)
        self.assertEqual([each.reason_code for each in client.take(Connack)], [0x87])

    def test_time_out_counts_from_accept(self) -> None:
        """The time for CONNECT is counted from accept; while the chain thinks, it is the chain's time."""
        bench = Bench()
        silent = bench.client()
        bench.advance(9)
        self.assertFalse(silent.closed)
        bench.advance(1)
        self.assertTrue(silent.closed)
        bench.chain.delay(Stage.CONNECT)
        waiting = bench.client()
        waiting.connect("c")
        bench.advance(30)
        self.assertFalse(waiting.closed)
        bench.chain.answer()
        self.assertEqual(len(waiting.take(Connack)), 1)


class UndecodableConnectTests(SynchronousTestCase):
    """CONNECT packets that cannot be understood."""

    def test_unknown_version(self) -> None:
        """A protocol level from before 3.1.1 is answered in the old format, one from the future in that of 5.0."""
        for level, answer in ((2, b"\x20\x02\x00\x01"), (6, b"\x20\x03\x00\x84\x00"), (0x7F, b"\x20\x03\x00\x84\x00")):
            client = Bench().client()
            client.send_bytes(b"\x10\x0d\x00\x04MQTT" + bytes((level,)) + b"\x02\x00\x3c\x00\x01c")
            self.assertEqual((client.raw, client.closed), (answer, True))

    def test_other_name(self) -> None:
        """Who speaks another protocol learns nothing."""
        client = Bench().client()
        client.send_bytes(b"\x10\x0d\x00\x04HTTP\x04\x02\x00\x3c\x00\x01c")
        self.assertEqual((client.raw, client.closed), (b"", True))

    def test_malformed(self) -> None:
        """A broken CONNECT of 5.0 is told why, one of 3.1.1 is closed without a word."""
        for version, answer in ((5, b"\x20\x03\x00\x81\x00"), (4, b"")):
            client = Bench().client(version)
            data = bytearray(encode_packet(Connect(version, "c"), version))
            data[9] |= 1  # the reserved flag
            client.send_bytes(bytes(data))
            self.assertEqual((client.raw, client.closed), (answer, True))

    def test_padded_remaining_length(self) -> None:
        """A Remaining Length padded with zeros is refused in 5.0, and taken in 3.1.1."""
        for version, taken in ((5, False), (4, True)):
            bench = Bench()
            client = bench.client(version)
            data = encode_packet(Connect(version, "c"), version)
            client.send_bytes(data[:1] + bytes((data[1] | 0x80, 0)) + data[2:])
            self.assertEqual(client.closed, not taken)
            if taken:
                client.send_bytes(b"\xc0\x80\x80\x00")
                self.assertEqual(len(client.take(Pingresp)), 1)
            else:
                self.assertEqual(client.connection.close_reason, 0x81)

    def test_reported(self) -> None:
        """What was wrong is reported for the log."""
        bench = Bench()
        client = bench.client()
        client.send(Publish("t"))
        self.assertEqual(client.raw, b"")
        (event,) = bench.events
        assert isinstance(event, Disconnected)
        self.assertEqual((event.reason_code, event.by_peer), (0x82, False))
        self.assertIn("CONNECT", event.text)


class KeepAliveTests(SynchronousTestCase):
    """Peers that fall silent are noticed, those that had to wait are not blamed."""

    def test_silence(self) -> None:
        """After one and a half times the Keep Alive without a packet the client is gone, 0x8D."""
        bench = Bench()
        client = bench.connected("c", keep_alive=10)
        bench.advance(14)
        client.send(Pingreq())
        self.assertEqual(client.received(), [Pingresp()])
        bench.advance(14.9)
        self.assertFalse(client.closed)
        bench.advance(0.2)
        self.assertEqual((client.closed, client.goodbye), (True, 0x8D))

    def test_bytes_are_not_packets(self) -> None:
        """Dripping a packet does not keep a connection alive."""
        bench = Bench()
        client = bench.connected("c", keep_alive=10)
        for byte in b"\x30\x7f\x00\x01t" + b"x" * 10:
            client.send_bytes(bytes((byte,)))
            bench.advance(1.5)
        self.assertTrue(client.closed)

    def test_stands_still_while_waiting(self) -> None:
        """While a verdict is awaited the client cannot be heard, so its silence does not count."""
        bench = Bench()
        client = bench.connected("c", keep_alive=10)
        bench.chain.delay(Stage.PUBLISH)
        client.publish("t", qos=1)
        bench.advance(100)
        self.assertFalse(client.closed)
        bench.chain.answer()
        bench.advance(14)
        self.assertFalse(client.closed)
        bench.advance(20)
        self.assertTrue(client.closed)

    def test_policy_cannot_set_it_to_nothing(self) -> None:
        """A cap of 0 seconds is taken for 1, not for a connection that ends at once."""
        bench = Bench()
        bench.chain.oblige(Stage.CONNECT, CapKeepAlive(0))
        client = bench.connected("c")
        bench.advance(1)
        self.assertFalse(client.closed)


_METHOD = {"authentication_method": "TEST"}


class EnhancedAuthenticationTests(SynchronousTestCase):
    """The AUTH exchange of MQTT 5.0."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.steps = 1
        self.principal = "u"
        self.groups: frozenset[str] = frozenset()
        self.bench.chain.on(Stage.AUTHENTICATE, self._step)

    def _step(self, request):
        done = request.exchange.setdefault("steps", 0)
        request.exchange["steps"] = done + 1
        if done < self.steps:
            return Verdict(Effect.CHALLENGE, request.stage, policy_version=1, authentication_data=b"question %d" % done)
        return self.bench.chain.permit(
            request,
            principal=Principal("users", self.principal),
            authentication_data=b"proof",
            groups=self.groups,
        )

    def _auth(self, code: int = 0x18, method: str = "TEST") -> Auth:
        return Auth(code, {"authentication_method": method, "authentication_data": b"answer"})

    def test_exchange(self) -> None:
        """Question and answer go back and forth until the chain is content; CONNACK carries its proof."""
        self.steps = 2
        client = self.bench.client()
        client.connect("c", **_METHOD, authentication_data=b"first")
        (auth,) = client.take(Auth)
        self.assertEqual(auth, Auth(0x18, {**_METHOD, "authentication_data": b"question 0"}))
        client.send(self._auth())
        self.assertEqual(len(client.take(Auth)), 1)
        client.send(self._auth())
        (connack,) = client.take(Connack)
        self.assertEqual(connack.properties.get("authentication_method"), "TEST")
        self.assertEqual(connack.properties.get("authentication_data"), b"proof")
        asked = self.bench.chain.asked(Stage.AUTHENTICATE)
        self.assertEqual([each.authentication_data for each in asked], [b"first", b"answer", b"answer"])

    def test_method_must_stay(self) -> None:
        """Another method in the middle ends the connection."""
        client = self.bench.client()
        client.connect("c", **_METHOD)
        client.send(self._auth(method="OTHER"))
        self.assertTrue(client.closed)

    def test_wrong_step(self) -> None:
        """A first step where the next one is due is a Protocol Error."""
        client = self.bench.client()
        client.connect("c", **_METHOD)
        client.send(self._auth(0x19))
        self.assertTrue(client.closed)

    def test_exchange_is_bounded_by_the_time_for_connect(self) -> None:
        """Who never answers is cut when the time for CONNECT is over."""
        client = self.bench.client()
        client.connect("c", **_METHOD)
        self.bench.advance(10)
        self.assertTrue(client.closed)

    def test_disconnect_within(self) -> None:
        """A client may give up."""
        client = self.bench.client()
        client.connect("c", **_METHOD)
        client.disconnect()
        self.assertTrue(client.closed)
        self.assertEqual(self.bench.core.state.sessions, {})

    def test_challenge_without_a_method(self) -> None:
        """A client that named no method cannot be asked anything: it is refused."""
        for version, code in ((5, 0x87), (4, 5)):
            client = self.bench.client(version)
            connack = client.connect("c")
            self.assertEqual(connack and connack.reason_code, code)

    def test_auth_without_a_method(self) -> None:
        """AUTH from a client whose CONNECT named no method is a Protocol Error."""
        self.steps = 0
        client = self.bench.connected("c")
        client.send(self._auth(0x19))
        self.assertEqual(client.goodbye, 0x82)

    def test_no_policy_speaks_the_method(self) -> None:
        """A method that no policy carries out is answered with 0x8C."""
        self.bench.chain.deny(Stage.AUTHENTICATE)
        connack = self.bench.client().connect("c", **_METHOD)
        self.assertEqual(connack and connack.reason_code, 0x8C)

    def test_reauthentication(self) -> None:
        """A connected client may prove itself again; messages flow meanwhile; its new groups count at once."""
        self.steps = 0
        client = self.bench.connected("c", **_METHOD)
        client.subscribe("t")
        for _ in range(3):
            client.publish("t", b"1")
        asked = len(self.bench.chain.requests)
        self.steps, self.groups = 1, frozenset(("staff",))
        client.send(self._auth(0x19))
        self.assertEqual([each.reason_code for each in client.take(Auth)], [0x18])
        client.publish("t", b"2")
        self.assertEqual(client.payloads(), [b"1", b"1", b"1", b"2"])
        client.send(self._auth())
        (auth,) = client.take(Auth)
        self.assertEqual(auth, Auth(0, {**_METHOD, "authentication_data": b"proof"}))
        self.assertEqual(client.connection.facts.groups, frozenset(("staff",)))
        client.publish("t", b"3")
        new = self.bench.chain.requests[asked:]
        self.assertEqual(
            [each.stage for each in new], [Stage.AUTHENTICATE, Stage.AUTHENTICATE, Stage.PUBLISH, Stage.DELIVER]
        )
        self.assertEqual(new[-1].writer and new[-1].writer.groups, frozenset(("staff",)))

    def test_an_exchange_ends(self) -> None:
        """A chain that asks on and on is cut short, and so is a client that lets a re-authentication lie."""
        self.steps = 1000
        client = self.bench.client()
        client.connect("c", **_METHOD, authentication_data=b"first")
        for _ in range(8):
            self.assertFalse(client.closed)
            client.send(self._auth())
        self.assertTrue(client.closed)
        self.assertEqual(len(client.take(Auth)), 8)
        self.steps = 0
        client = self.bench.connected("d", **_METHOD)
        self.steps = 1
        client.send(self._auth(0x19))
        self.bench.advance(9.9)
        self.assertFalse(client.closed)
        self.bench.advance(0.2)
        self.assertEqual((client.closed, client.goodbye), (True, 0x87))

    def test_a_reauthentication_in_time_leaves_no_deadline(self) -> None:
        """Who has answered is not cut later."""
        self.steps = 0
        client = self.bench.connected("c", **_METHOD, keep_alive=60)
        self.steps = 1
        for _ in range(20):  # each exchange has its own count
            client.send(self._auth(0x19))
            client.send(self._auth())
        self.bench.advance(30)
        self.assertFalse(client.closed)

    def test_reauthentication_as_someone_else(self) -> None:
        """Nobody becomes another by proving himself again."""
        self.steps = 0
        client = self.bench.connected("c", **_METHOD)
        self.principal = "mallory"
        client.send(self._auth(0x19))
        self.assertEqual((client.closed, client.goodbye), (True, 0x87))

    def test_reauthentication_denied(self) -> None:
        """A failed re-authentication ends the connection with a DISCONNECT."""
        self.steps = 0
        client = self.bench.connected("c", **_METHOD)
        self.bench.chain.deny(Stage.AUTHENTICATE, policy="login", reason_code=0x86)
        client.send(self._auth(0x19))
        self.assertEqual((client.closed, client.goodbye), (True, 0x87))
