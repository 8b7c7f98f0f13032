# -*- test-case-name: tests.client.test_machine -*-
"""One client's side of MQTT 3.1.1 and 5.0, over any number of Network Connections, one after another. Sans-IO.

Whoever drives it feeds bytes and pulls events one by one, so that it can stop in between; takes bytes to send; and
calls :meth:`Machine.expire` at :meth:`Machine.next_deadline`. What the broker does wrong is an :class:`Ended` event.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, Final

from mqttsecure.client.channel import Channel
from mqttsecure.client.events import Answered, Arrived, Ended, Event
from mqttsecure.client.failures import (
    BrokerFault,
    ClientClosed,
    ClientError,
    ConnectionLost,
    Disconnected,
    TlsFailed,
)
from mqttsecure.client.handshake import Handshake
from mqttsecure.client.inbound import Inbound
from mqttsecure.client.liveness import Liveness, Silence
from mqttsecure.client.options import ClientOptions
from mqttsecure.client.outbound import Outbound
from mqttsecure.client.reasons import TRANSIENT_CODES, disconnect_words
from mqttsecure.client.session import Session, prepare
from mqttsecure.client.subscribing import Subscribing
from mqttsecure.errors import MqttError, ProtocolError
from mqttsecure.wire.constants import MQTT_5_0, PacketType, ReasonCode
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.packets import (
    Auth,
    Connack,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
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
from mqttsecure.wire.rules import REASON_CODES, REASON_CODES_OF_SERVER_ONLY

__all__ = ["Machine", "State"]

_TLS_ALERT: Final = b"\x15\x03"
"""How a TLS record with an alert begins, which a TLS port answers to a CONNECT in the clear."""

_OF_SERVER: Final = REASON_CODES_OF_SERVER_ONLY[PacketType.DISCONNECT]


class State(enum.Enum):
    """Of the current connection."""

    IDLE = "there is none"
    CONNECTING = "CONNECT is sent"
    CONNECTED = "CONNACK has come"
    ENDED = "it is of no use any more"


class Machine:
    """Keeps one client's session, and speaks for it on each connection.

    Attributes:
        state: of the connection.
        session: what outlives it.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self.state = State.IDLE
        self.session = Session(options.queue_messages, options.queue_bytes)
        self._channel = Channel(options.version)
        self._handshake = Handshake(options, self._channel)
        self._outbound = Outbound(self.session, self._channel, options.in_flight)
        self._inbound = Inbound(self.session, self._channel, options.receive_maximum, options.topic_alias_maximum)
        self._subscribing = Subscribing(self.session, self._channel)
        self._liveness = Liveness(options.ping_timeout, options.answer_timeout)
        self._decoder = Decoder(options.version, options.maximum_packet_size, from_client=False)
        self._deadline = 0.0
        self._first_bytes = b""
        self._last_token = 0
        self._is_blocked = False
        self._is_deaf = False

    # -- the connection ---------------------------------------------------------------------------------------------

    @property
    def client_id(self) -> str:
        """The Client Identifier, also where the broker has chosen it."""
        return self._handshake.client_id

    @property
    def awaits_answers(self) -> bool:
        """Whether the broker owes an answer to something that was sent on this connection."""
        return self.state is State.CONNECTED and (self._outbound.awaits_answers or bool(self.session.requests))

    def connection_made(self, now: float, deadline: float, channel_binding: bytes | None = None) -> None:
        """Bytes can be sent now; CONNACK has to come until ``deadline``. ``channel_binding`` is that of TLS 1.3."""
        self._channel.open()
        self._decoder = Decoder(self._options.version, self._options.maximum_packet_size, from_client=False)
        self._first_bytes = b""
        self._deadline = deadline
        self._is_blocked = self._is_deaf = False
        self.state = State.CONNECTING
        try:
            self._handshake.begin(channel_binding)
        except ClientError as error:
            self._end(error)

    def connection_lost(self) -> None:
        """Nothing can be sent or will come on this connection any more."""
        self.state = State.IDLE
        self._inbound.suspend()
        self._channel.take()

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes from the broker; nothing is parsed until :meth:`next_event`."""
        if len(self._first_bytes) < len(_TLS_ALERT):
            self._first_bytes += data[: len(_TLS_ALERT)]
        if self.state in (State.CONNECTING, State.CONNECTED):
            self._decoder.feed(data)

    def next_event(self, now: float, *, read: bool = True) -> Event | None:
        """The next thing that has happened, or None until there are more bytes; without ``read`` bytes are left."""
        while read and not self._channel.events and self.state in (State.CONNECTING, State.CONNECTED):
            try:
                packet = self._decoder.next_packet()
                if packet is None:
                    break
                self._liveness.received(now)
                self._handle(packet, now)
            except MqttError as error:
                self._fault(error)
            except ClientError as error:
                self._end(error, ReasonCode.SUCCESS)
        return self._channel.events.popleft() if self._channel.events else None

    def take_outbox(self, now: float) -> bytes:
        """All that may be sent now, at most some tens of KiB and a message; more may be there once that is gone."""
        if self.state is State.CONNECTED and not self._is_blocked:
            self._outbound.pump()
        data = self._channel.take()
        if data:
            self._liveness.sent(now)
        return data

    def follow(self, now: float, *, is_blocked: bool, is_deaf: bool) -> None:
        """Learn whether the network takes bytes at present, and whether we read what comes."""
        self._is_blocked = is_blocked
        self._is_deaf = is_deaf
        self._liveness.follow(now, awaits_answers=self.awaits_answers, is_blocked=is_blocked, is_deaf=is_deaf)

    # -- time -------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When :meth:`expire` has to be called; None for never."""
        if self.state is State.CONNECTING:
            return self._deadline
        return self._liveness.next_deadline() if self.state is State.CONNECTED else None

    def expire(self, now: float) -> None:
        """Do what is due."""
        if self.state is State.CONNECTING and now >= self._deadline:
            self._end(
                ConnectionLost(
                    f"no CONNACK came within {self._options.connect_timeout:g} s",
                    "is that an MQTT port? try again later, or wait longer",
                )
            )
        elif self.state is State.CONNECTED:
            silence = self._liveness.expired(now)
            if silence is Silence.PING:
                self._channel.send(Pingreq())
                self._liveness.pinged(now)
            elif silence is not None:
                self._give_up(silence)

    def _give_up(self, silence: Silence) -> None:
        patience = self._options.ping_timeout if silence is Silence.NO_PONG else self._options.answer_timeout
        cause = f"the broker is silent: {silence.value} for {patience:g} s"
        self._end(ConnectionLost(cause, "see to the network and the broker, or be more patient"), 0x80)

    # -- what is asked for ------------------------------------------------------------------------------------------

    def publish(self, publish: Publish) -> int:
        """Have a message sent; it is encoded here, and ``publish`` may be dropped.

        Returns:
            The token of the :class:`Answered` that will come.

        Raises:
            OptionsInvalid: it cannot be a message.
            QueueFull: too many wait.
        """
        token = self._next_token()
        self.session.enqueue(prepare(token, publish, self._options.version))
        return token

    def subscribe(self, subscriptions: Sequence[SubscriptionRequest], properties: Properties) -> int:
        """Subscribe; the broker's answer comes under the token, also where the connection is lost meanwhile."""
        return self._request(Subscribe(1, list(subscriptions), properties))

    def unsubscribe(self, topic_filters: Sequence[str], properties: Properties) -> int:
        """End subscriptions."""
        return self._request(Unsubscribe(1, list(topic_filters), properties))

    def _request(self, packet: Subscribe | Unsubscribe) -> int:
        token = self._next_token()
        self._subscribing.ask(token, packet, is_connected=self.state is State.CONNECTED)
        return token

    def acknowledge(self, arrived: Arrived, reason_code: int = 0) -> None:
        """The application is done with a message; a Reason Code of 0x80 or more tells a 5.0 broker that it failed."""
        if self._options.version != MQTT_5_0:
            reason_code = 0
        self._inbound.acknowledge(arrived, reason_code)

    def reauthenticate(self) -> None:
        """Prove anew who this is, on the open connection.

        Raises:
            ClientError: there is no connection, or nothing to prove it with.
        """
        if self.state is not State.CONNECTED:
            raise ConnectionLost("there is no connection", "wait until it is back")
        self._handshake.reauthenticate()

    def disconnect(self, reason_code: int = 0) -> None:
        """Say goodbye; what is not done by now will not be. The broker may have taken the CONNECT before it answers."""
        if self.state in (State.CONNECTING, State.CONNECTED):
            self._channel.send(Disconnect(reason_code))
        self.state = State.ENDED
        self._inbound.suspend()
        self.abandon(ClientClosed("the client was disconnected before this was done", "wait for it first"))

    def abandon(self, error: ClientError) -> None:
        """Give up all that is not done, with ``error``."""
        for token in self.session.abandon():
            self._channel.events.append(Answered(token, None, error))

    def _next_token(self) -> int:
        self._last_token += 1
        return self._last_token

    # -- what the broker says ---------------------------------------------------------------------------------------

    def _handle(self, packet: Packet, now: float) -> None:
        handle = _HANDLERS.get((self.state, type(packet)))
        if handle is None:
            raise ProtocolError(f"{type(packet).__name__.upper()} may not come now: {self.state.value}")
        if isinstance(packet, Puback | Pubrec | Pubcomp | Suback | Unsuback):
            self._liveness.answered(now)
        handle(self, packet)
        if isinstance(packet, Connack):
            self._liveness.begin(now, self._handshake.keep_alive)

    def _on_connack(self, packet: Connack) -> None:
        connected = self._handshake.on_connack(packet)
        self.state = State.CONNECTED
        self._channel.events.append(connected)
        self._inbound.resume()
        self._subscribing.resume(connected.session_present)
        self._outbound.resume(connected.session_present)

    def _on_suback(self, packet: Suback) -> None:
        self._subscribing.on_suback(packet)

    def _on_unsuback(self, packet: Unsuback) -> None:
        self._subscribing.on_unsuback(packet)

    def _on_pingresp(self, packet: Pingresp) -> None:
        self._liveness.ponged()

    def _on_disconnect(self, packet: Disconnect) -> None:
        code = packet.reason_code
        cause, mend = disconnect_words(code, packet.properties.get("reason_string", ""))
        reference = packet.properties.get("server_reference")
        if reference:
            mend = f"connect to {reference!r} if you trust it"
        self._end(Disconnected(cause, mend, reason_code=code, transient=code in TRANSIENT_CODES))

    def _on_auth(self, packet: Auth) -> None:
        self._handshake.on_auth(packet)

    def _on_publish(self, packet: Publish) -> None:
        self._inbound.on_publish(packet)

    def _on_pubrel(self, packet: Pubrel) -> None:
        self._inbound.on_pubrel(packet)

    def _on_puback(self, packet: Puback) -> None:
        self._outbound.on_puback(packet)

    def _on_pubrec(self, packet: Pubrec) -> None:
        self._outbound.on_pubrec(packet)

    def _on_pubcomp(self, packet: Pubcomp) -> None:
        self._outbound.on_pubcomp(packet)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _fault(self, error: MqttError) -> None:
        """The broker has broken the protocol."""
        if self._first_bytes.startswith(_TLS_ALERT):
            self._end(TlsFailed("this port speaks TLS", "write mqtts:// in place of mqtt://"))
            return
        self._end(
            BrokerFault(f"the broker broke the protocol: {error}", "is that an MQTT broker? report it to who runs it"),
            error.reason_code,
        )

    def _end(self, error: ClientError, reason_code: int | None = None) -> None:
        """This connection is over; with a Reason Code the broker is told."""
        if reason_code is not None and self.state is State.CONNECTED:
            may_be_said = reason_code in REASON_CODES[PacketType.DISCONNECT] - _OF_SERVER
            self._channel.send(Disconnect(reason_code if may_be_said else ReasonCode.PROTOCOL_ERROR))
        self.state = State.ENDED
        self._inbound.suspend()
        self._channel.events.append(Ended(error))


_HANDLERS: Final[dict[tuple[State, type], Callable[[Machine, Any], None]]] = {
    (State.CONNECTING, Connack): Machine._on_connack,
    (State.CONNECTING, Auth): Machine._on_auth,
    (State.CONNECTED, Auth): Machine._on_auth,
    (State.CONNECTED, Disconnect): Machine._on_disconnect,
    (State.CONNECTED, Pingresp): Machine._on_pingresp,
    (State.CONNECTED, Puback): Machine._on_puback,
    (State.CONNECTED, Pubcomp): Machine._on_pubcomp,
    (State.CONNECTED, Publish): Machine._on_publish,
    (State.CONNECTED, Pubrec): Machine._on_pubrec,
    (State.CONNECTED, Pubrel): Machine._on_pubrel,
    (State.CONNECTED, Suback): Machine._on_suback,
    (State.CONNECTED, Unsuback): Machine._on_unsuback,
}
"""What may come when; all else is a protocol error."""
