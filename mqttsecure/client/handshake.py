# -*- test-case-name: tests.client.test_handshake -*-
"""CONNECT to CONNACK, with the AUTH packets between them: the first exchange of each connection."""

from __future__ import annotations

from typing import Final

from mqttsecure.client.channel import Announced, Channel
from mqttsecure.client.events import Connected
from mqttsecure.client.failures import AuthenticationFailed, ClientError, ConnectRefused
from mqttsecure.client.options import Authenticator, BindingAuthenticator, ClientOptions
from mqttsecure.client.reasons import TRANSIENT_CODES, connack_words
from mqttsecure.errors import BadAuthenticationMethod, ProtocolError
from mqttsecure.wire.constants import MQTT_5_0, ReasonCode
from mqttsecure.wire.packets import Auth, Connack, Properties

__all__ = ["MAXIMUM_ROUNDS", "Handshake"]

MAXIMUM_ROUNDS: Final = 16
"""AUTH packets from the broker in one exchange; SCRAM has one, Kerberos a few."""


class Handshake:
    """Introduces this end, and judges what the other one says to it.

    Attributes:
        client_id: the Client Identifier, also where the broker has chosen it.
        keep_alive: in seconds, as the broker wants it.
    """

    def __init__(self, options: ClientOptions, channel: Channel) -> None:
        self._options = options
        self._channel = channel
        self._rounds = 0
        self._was_connected = False
        self.is_authenticating = False
        """Whether an exchange of AUTH packets is under way."""
        self.client_id = options.client_id
        self.keep_alive = options.keep_alive

    def begin(self, channel_binding: bytes | None = None) -> None:
        """Send CONNECT; ``channel_binding`` is that of the TLS connection, if it has one.

        Raises:
            AuthenticationFailed: the authenticator does not begin.
        """
        self._rounds = 0
        authenticator = self._options.authenticator
        self.is_authenticating = authenticator is not None
        if isinstance(authenticator, BindingAuthenticator):
            _ask(authenticator.bind, channel_binding)
        data = None if authenticator is None else _ask(authenticator.start)
        # A new session is asked for once; what it holds since then is ours.
        clean_start = self._options.clean_start and not (self._was_connected and self._options.is_durable)
        self._channel.send(self._options.connect_packet(self.client_id, clean_start, data))
        self._asked_for_clean_start = clean_start

    def on_auth(self, packet: Auth) -> None:
        """The broker asks on, or ends a re-authentication.

        Raises:
            AuthenticationFailed: this end has had enough.
            ProtocolError: no exchange is under way.
        """
        authenticator = self._authenticator(packet.properties, required=packet.reason_code != ReasonCode.SUCCESS)
        data = packet.properties.get("authentication_data")
        if packet.reason_code == ReasonCode.SUCCESS:
            if not self._was_connected:
                raise ProtocolError("AUTH with success before CONNACK")
            _finish(authenticator, data)
            self.is_authenticating = False
            return
        self._rounds += 1
        if self._rounds > MAXIMUM_ROUNDS:
            raise AuthenticationFailed(
                f"the broker has asked {MAXIMUM_ROUNDS} times and does not come to an end",
                "look at its log, or use a password",
            )
        self._channel.send(self._auth(ReasonCode.CONTINUE_AUTHENTICATION, _ask(authenticator.respond, data)))

    def reauthenticate(self) -> None:
        """Begin anew on the open connection (v5.0 section 4.12.1).

        Raises:
            AuthenticationFailed: there is no authenticator, or it does not begin.
        """
        authenticator = self._options.authenticator
        if authenticator is None:
            raise AuthenticationFailed("this client has no authenticator", "give it one when it connects")
        self._rounds = 0
        self.is_authenticating = True
        self._channel.send(self._auth(ReasonCode.REAUTHENTICATE, _ask(authenticator.start)))

    def _auth(self, reason_code: int, data: bytes | None) -> Auth:
        properties: Properties = {}
        if self._options.authenticator is not None:
            properties["authentication_method"] = self._options.authenticator.method
        if data is not None:
            properties["authentication_data"] = data
        return Auth(int(reason_code), properties)

    def _authenticator(self, properties: Properties, *, required: bool) -> Authenticator:
        authenticator = self._options.authenticator
        if authenticator is None or not self.is_authenticating:
            # v5.0 [MQTT-4.12.0-6]
            raise ProtocolError("AUTH without an exchange under way")
        method = properties.get("authentication_method")
        if method != authenticator.method and (required or method is not None):
            # v5.0 [MQTT-4.12.0-5]
            raise BadAuthenticationMethod(f"the Authentication Method of this exchange is {authenticator.method}")
        return authenticator

    def on_connack(self, packet: Connack) -> Connected:
        """The broker answers.

        Raises:
            ConnectRefused: it says no.
            AuthenticationFailed: it says yes, and cannot show that it knows our secret.
            ProtocolError: it may not say that.
        """
        properties = packet.properties
        if packet.reason_code:
            raise self._refusal(packet)
        if packet.session_present and self._asked_for_clean_start and self._options.version == MQTT_5_0:
            # v5.0 [MQTT-3.2.2-2]
            raise ProtocolError("CONNACK with Session Present after a CONNECT with Clean Start")
        if self._options.authenticator is not None:
            authenticator = self._authenticator(properties, required=True)
            _finish(authenticator, properties.get("authentication_data"))
            self.is_authenticating = False
        self._was_connected = True
        self._channel.announced = Announced.by(properties)
        self.client_id = properties.get("assigned_client_identifier", self.client_id)
        self.keep_alive = properties.get("server_keep_alive", self._options.keep_alive)
        return Connected(packet.session_present, packet)

    def _refusal(self, packet: Connack) -> ConnectRefused:
        said = packet.properties.get("reason_string", "")
        meant, cause, mend = connack_words(packet.reason_code, self._options.version, said)
        reference = packet.properties.get("server_reference")
        if reference and meant in (ReasonCode.USE_ANOTHER_SERVER, ReasonCode.SERVER_MOVED):
            mend = f"connect to {reference!r} if you trust it"
        return ConnectRefused(cause, mend, reason_code=meant, transient=meant in TRANSIENT_CODES)


def _ask(question: object, *arguments: bytes | None) -> bytes | None:
    """What an authenticator answers.

    Raises:
        AuthenticationFailed: it raised.
    """
    try:
        answer = question(*arguments)  # type: ignore[operator]  # start, respond or finish
    except Exception as error:
        if isinstance(error, ClientError):
            raise
        raise AuthenticationFailed(f"the authentication was broken off: {error}", "see what it says") from error
    if answer is not None and not isinstance(answer, bytes):
        raise AuthenticationFailed(
            f"the authenticator answers {type(answer).__name__}", "have it answer bytes, or None for no data"
        )
    return answer


def _finish(authenticator: Authenticator, data: bytes | None) -> None:
    _ask(authenticator.finish, data)
