# -*- test-case-name: tests.core.test_connection -*-
"""The state table: which packet is legal when."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.broker import BrokerCore
from mqttsecure.core.connection import HANDLERS, State
from mqttsecure.core.decisions import Decision, Effect, Stage, Verdict
from mqttsecure.wire.constants import PacketType
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from tests.support.core import Bench, Client

_METHOD = "TEST"
_AUTH = Auth(0x18, {"authentication_method": _METHOD, "authentication_data": b"x"})

_PACKETS: dict[PacketType, Packet] = {
    PacketType.CONNECT: Connect(5, "c", properties={"authentication_method": _METHOD}),
    PacketType.CONNACK: Connack(),
    PacketType.PUBLISH: Publish("t"),
    PacketType.PUBACK: Puback(1),
    PacketType.PUBREC: Pubrec(1, 0x80),
    PacketType.PUBREL: Pubrel(1, 0x92),
    PacketType.PUBCOMP: Pubcomp(1, 0x92),
    PacketType.SUBSCRIBE: Subscribe(1, [SubscriptionRequest("t")]),
    PacketType.SUBACK: Suback(1, [0]),
    PacketType.UNSUBSCRIBE: Unsubscribe(1, ["t"]),
    PacketType.UNSUBACK: Unsuback(1, [0]),
    PacketType.PINGREQ: Pingreq(),
    PacketType.PINGRESP: Pingresp(),
    PacketType.DISCONNECT: Disconnect(),
    PacketType.AUTH: _AUTH,
}

_CLIENT_PACKETS = frozenset(
    (
        PacketType.PUBLISH,
        PacketType.PUBACK,
        PacketType.PUBREC,
        PacketType.PUBREL,
        PacketType.PUBCOMP,
        PacketType.SUBSCRIBE,
        PacketType.UNSUBSCRIBE,
        PacketType.PINGREQ,
        PacketType.DISCONNECT,
        PacketType.AUTH,
    )
)
_LEGAL = {
    State.AWAITING_CONNECT: frozenset((PacketType.CONNECT,)),
    State.AUTHENTICATING: frozenset((PacketType.AUTH, PacketType.DISCONNECT)),
    State.CONNECTED: _CLIENT_PACKETS,
    State.REAUTHENTICATING: _CLIENT_PACKETS,
    State.CLOSED: frozenset(),
}


class StateTableTests(SynchronousTestCase):
    """Every packet in every state does what the standard says, or ends the connection."""

    def client_in(self, state: State) -> tuple[Bench, Client]:
        """A client of MQTT 5.0 whose connection is in ``state``."""
        bench = Bench()
        client = bench.client()
        challenge = bench.chain.on(
            Stage.AUTHENTICATE,
            lambda request: Verdict(Effect.CHALLENGE, request.stage, policy_version=1, authentication_data=b"?"),
        )
        if state is State.AWAITING_CONNECT:
            return bench, client
        if state is not State.AUTHENTICATING:
            bench.chain.forget(challenge)
        client.connect("c", user="u", authentication_method=_METHOD)
        if state is State.REAUTHENTICATING:
            bench.chain.rules.append(challenge)
            client.send(Auth(0x19, {"authentication_method": _METHOD}))
        elif state is State.CLOSED:
            client.disconnect()
        self.assertIs(client.connection.state, state)
        client.received()
        return bench, client

    def test_every_pair(self) -> None:
        """Only the packets that a state allows are taken; any other closes the connection with a reason."""
        for state in State:
            for packet_type, packet in _PACKETS.items():
                with self.subTest(state=state, packet=packet_type):
                    self._try(state, packet_type, packet)

    def _try(self, state: State, packet_type: PacketType, packet: Packet) -> None:
        legal = packet_type in _LEGAL[state]
        self.assertEqual((state, packet_type) in HANDLERS, legal)
        bench, client = self.client_in(state)
        before = len(client.raw)
        client.send_bytes(encode_packet(packet, 5))
        if state is State.CLOSED:
            self.assertEqual(len(client.raw), before)
        elif not legal:
            self.assertTrue(client.closed, "an illegal packet must end the connection")
            self.assertIn(client.connection.close_reason, (0x81, 0x82))
            if client.version == 5 and state in (State.CONNECTED, State.REAUTHENTICATING):
                self.assertEqual(client.goodbye, client.connection.close_reason)
        elif packet_type is PacketType.AUTH and state is State.CONNECTED:
            self.assertEqual(client.goodbye, 0x82)  # no exchange is under way that this could go on
        else:
            self.assertEqual(client.closed, packet_type is PacketType.DISCONNECT)
        bench.check_nothing_left(self)

    def test_reserved_types(self) -> None:
        """Packet type 0, and AUTH before MQTT 5.0, are refused by their first byte."""
        for version, data in ((5, b"\x00\x00"), (4, b"\x00\x00"), (4, b"\xf0\x00"), (3, b"\xf0\x00")):
            client = Bench().connected("c", version)
            client.send_bytes(data)
            self.assertTrue(client.closed)
            self.assertEqual(client.connection.close_reason, 0x81)

    def test_handlers_exist(self) -> None:
        """The table names methods that the broker has."""
        for name in HANDLERS.values():
            self.assertTrue(callable(getattr(Bench().core, name)))
        self.assertIsInstance(Bench().core, BrokerCore)

    def test_decision_is_no_verdict(self) -> None:
        """A challenge is a word of AUTHENTICATE alone; elsewhere it refuses."""
        bench = Bench()
        bench.chain.on(Stage.CONNECT, lambda request: Verdict(Effect.CHALLENGE, request.stage, policy_version=1))
        client = bench.client()
        connack = client.connect("c", authentication_method=_METHOD)
        self.assertEqual(connack and connack.reason_code, 0x87)
        self.assertIs(Decision.challenge(b"").effect, Effect.CHALLENGE)
