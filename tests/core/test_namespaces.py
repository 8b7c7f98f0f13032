"""Namespaces: clients of two of them never meet, whatever names they choose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import NAMESPACE, Pending, Principal, Request, Stage, Verdict, namespace_fault
from mqttsecure.core.session import session_key
from mqttsecure.wire.packets import Auth, Publish, Will
from tests.support.core import Bench, Client

_LONG = {"session_expiry_interval": 1000}


class TenantBench(Bench):
    """Puts each client into the namespace that its user name begins with, up to a dot."""

    def __init__(self) -> None:
        super().__init__()
        self.chain.on(Stage.AUTHENTICATE, self._choose)

    def _choose(self, request: Request) -> Verdict | Pending | None:
        tenant, dot, name = (request.connection.username or "").partition(".")
        if not dot:
            return None
        # As the chain does: what a policy decides is written into the facts.
        request.connection.attributes[NAMESPACE] = tenant
        return self.chain.permit(request, principal=Principal("users", name), attributes={NAMESPACE: tenant})


class NamespaceTests(SynchronousTestCase):
    """Everything that has a name in MQTT, in two namespaces with the same names."""

    def setUp(self) -> None:
        self.bench = TenantBench()

    def pair(self, client_id: str, version: int = 5, **connect: object) -> tuple[Client, Client, Client]:
        """Clients of the same identifier and user: in two namespaces, and in the default one."""
        users = ("acme.alice", "globex.alice", "alice")
        acme, globex, nobody = (self.bench.connected(client_id, version, user=user, **connect) for user in users)
        return acme, globex, nobody

    def received(self, *clients: Client) -> list[list[bytes]]:
        return [[each.payload for each in client.take(Publish)] for client in clients]

    def test_equal_client_identifiers(self) -> None:
        """A Client Identifier that another tenant has as well is no takeover and no refusal."""
        clients = self.pair("c")
        self.assertEqual([client.closed for client in clients], [False] * 3)
        self.assertEqual(len(self.bench.core.state.sessions), 3)
        self.assertEqual(self.bench.core.counters.sessions_taken_over, 0)
        again = self.bench.connected("c", user="acme.alice")
        self.assertEqual([client.closed for client in clients], [True, False, False])
        self.assertFalse(again.closed)

    def test_equal_topics(self) -> None:
        """A message reaches the subscribers of its own namespace alone, by every way and at every QoS."""
        readers = self.pair("reader")
        for client in readers:
            client.subscribe("#", "plant/+", "$share/g/plant/1", qos=2)
        writers = self.pair("writer")
        for qos in (0, 1, 2):
            for number, writer in enumerate(writers):
                for repeat in (b"first", b"again"):  # the second goes by the route that the first one made
                    writer.publish("plant/1", b"%d %d %s" % (number, qos, repeat), qos=qos)
                received = self.received(*readers)
                self.assertEqual({payload[:1] for payload in received[number]}, {b"%d" % number})
                self.assertEqual(len(received[number]), 4)  # once for the filters that overlap, once shared
                self.assertEqual([each for index, each in enumerate(received) if index != number], [[], []])

    def test_retained_messages(self) -> None:
        """Each namespace keeps its own retained message of a topic, and clears its own."""
        writers = self.pair("writer")
        for number, writer in enumerate(writers):
            writer.publish("plant/1", b"%d" % number, retain=True)
        self.assertEqual(self.bench.core.state.retained.count, 3)
        writers[0].publish("plant/1", b"", retain=True)
        readers = self.pair("reader")
        for reader in readers:
            reader.subscribe("#")
        self.assertEqual(self.received(*readers), [[], [b"1"], [b"2"]])

    def test_retained_messages_expire_in_their_namespace(self) -> None:
        """The end of one tenant's retained message is not the end of another's."""
        acme, globex, _ = self.pair("writer")
        acme.publish("t", b"acme", retain=True, message_expiry_interval=10)
        globex.publish("t", b"globex", retain=True)
        self.bench.advance(11)
        readers = self.pair("reader")
        for reader in readers:
            reader.subscribe("t")
        self.assertEqual(self.received(*readers), [[], [b"globex"], []])

    def test_wills(self) -> None:
        """A will is sent in the namespace of its client, also after its delay."""
        readers = self.pair("reader")
        for reader in readers:
            reader.subscribe("#")
        for delay in (0, 5):
            leaver = self.bench.connected(
                "leaver", user="globex.bob", will=Will("t", b"gone", properties={"will_delay_interval": delay}), **_LONG
            )
            leaver.lose()
            self.bench.advance(10)
            self.assertEqual(self.received(*readers), [[], [b"gone"], []])

    def test_sessions_wait_and_are_resumed(self) -> None:
        """What waits for a client that is away is for the one of its namespace."""
        for client in self.pair("reader", **_LONG):
            client.subscribe("t", qos=1)
            client.lose()
        self.bench.connected("writer", user="acme.bob").publish("t", b"x", qos=1)
        self.assertEqual(self.received(*self.pair("reader", clean=False, **_LONG)), [[b"x"], [], []])
        self.bench.check_nothing_left(self)

    def test_system_topics(self) -> None:
        """What the broker tells of itself is for the default namespace: tenants learn nothing of each other by it."""
        readers = self.pair("reader")
        for reader in readers:
            reader.subscribe("$SYS/#")
        self.bench.publish("$SYS/broker/clients", b"3")
        self.assertEqual(self.received(*readers), [[], [], [b"3"]])

    def test_rejudged_into_another_namespace(self) -> None:
        """A client that the policies now put elsewhere is disconnected; it does not move with what it has."""
        client = self.bench.connected("c", user="acme.alice")
        stays = self.bench.connected("d", user="globex.alice")
        self.bench.chain.on(
            Stage.AUTHENTICATE, lambda request: self.bench.chain.permit(request, attributes={NAMESPACE: "globex"})
        )
        self.bench.core.rejudge()
        while self.bench.core.rejudge_step(self.bench.now):
            pass
        self.bench.flush()
        self.assertEqual((client.goodbye, stays.closed), (0x87, False))

    def test_reauthenticated_into_another_namespace(self) -> None:
        """Re-authentication does not carry a client over either."""
        client = self.bench.connected("c", user="alice", authentication_method="m")

        def elsewhere(request: Request) -> Verdict:
            request.connection.attributes[NAMESPACE] = "acme"
            return self.bench.chain.permit(request)

        self.bench.chain.on(Stage.AUTHENTICATE, elsewhere)
        client.send(Auth(0x19, {"authentication_method": "m"}))
        self.assertEqual(client.goodbye, 0x87)


class NamespaceNameTests(SynchronousTestCase):
    """What may be a namespace, and that no two keys are the same."""

    def test_names(self) -> None:
        """Short names of plain letters are; what could be taken for something else in a key is not."""
        for good in ("acme", "a", "A-1_b.c", "x" * 64):
            self.assertIsNone(namespace_fault(good))
        for bad in ("", "x" * 65, "a/b", "a\0b", "ä", "a b", "+", None, 7):
            self.assertIn("namespace", namespace_fault(bad) or "")

    @given(*[st.text("abc/.", max_size=3)] * 4)
    def test_keys(self, one: str, first: str, two: str, second: str) -> None:
        """Two sessions share a key only if they are the same session."""
        self.assertEqual(session_key(one, first) == session_key(two, second), (one, first) == (two, second))
