# -*- test-case-name: tests.client.test_options -*-
"""What a client is told: who it is, whom it trusts, how patient it is. Checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.client.pins import check_pin
from mqttsecure.errors import EncodeError
from mqttsecure.wire.constants import MQTT_3_1_1, MQTT_5_0
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect, Properties, Will

__all__ = ["NEVER", "Authenticator", "Backoff", "BindingAuthenticator", "ClientOptions", "TlsOptions"]

NEVER: Final = 0xFFFFFFFF
"""A Session Expiry Interval that never ends (v5.0 section 3.1.2.11.2)."""


class Authenticator(Protocol):
    """One side of an Authentication Method of MQTT 5.0 (section 4.12), such as SCRAM.

    The same object serves every connection of a client, one after another; ``start`` begins anew. What any method
    raises ends the attempt with :class:`~mqttsecure.client.failures.AuthenticationFailed`.
    """

    @property
    def method(self) -> str:
        """The Authentication Method, such as ``SCRAM-SHA-256``."""

    def start(self) -> bytes | None:
        """The Authentication Data of CONNECT, or of the AUTH that begins a re-authentication."""

    def respond(self, data: bytes | None) -> bytes | None:
        """The Authentication Data that answers those of an AUTH from the broker."""

    def finish(self, data: bytes | None) -> None:
        """Judge what came with the broker's success; here a client finds out that the broker is none."""


@runtime_checkable
class BindingAuthenticator(Authenticator, Protocol):
    """One that can bind an exchange to the TLS connection under it."""

    def bind(self, channel_binding: bytes | None) -> None:
        """Called before ``start`` on each connection with its tls-exporter binding (RFC 9266), None without TLS 1.3."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How the broker is known.

    Attributes:
        ca_file: PEM, the only CAs trusted; without it those that the system trusts.
        certificate_file: PEM, the client's certificate and its chain.
        key_file: PEM, its key; without it the key is looked for in ``certificate_file``.
        server_name: the name that the certificate must have, where it is not the host connected to.
        pin: ``sha256:`` and the fingerprint of the broker's certificate, which is demanded on top of the rest.
        verify: False leaves the pin as the only thing that is checked, so that there must be one.
        adjust: changes the context once all else is set: a key log or another version, for lessons and tests.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    pin: str | None = None
    verify: bool = True
    adjust: Callable[[Any], object] | None = None  # of an OpenSSL.SSL.Context, which has no place in the protocol

    def __post_init__(self) -> None:
        if self.pin is not None:
            check_pin(self.pin)
        elif not self.verify:
            raise OptionsInvalid(
                "without verification anybody could be the broker",
                "give the fingerprint of its certificate as pin, sha256:..., or leave verification on",
            )
        if self.key_file is not None and self.certificate_file is None:
            raise OptionsInvalid("there is a key and no certificate", "name the certificate, too")


@dataclass(frozen=True, slots=True)
class Backoff:
    """When to try again after a lost connection.

    Attributes:
        first: seconds before the first attempt, before jitter.
        factor: by which each further wait is longer.
        longest: seconds that no wait exceeds.
        attempts: how many in a row may fail before the client gives up; None for never.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 60.0
    attempts: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.longest or self.factor < 1:
            raise OptionsInvalid(
                f"a back-off of {self.first:g} s, times {self.factor:g}, up to {self.longest:g} s makes no sense",
                "begin above 0, multiply by 1 or more, and end where it begins or later",
            )


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """One client. Times are seconds; sizes are bytes.

    Attributes:
        client_id: the Client Identifier; empty has the broker choose one.
        version: 5 or 4, which is MQTT 3.1.1.
        username: without it there is none.
        password: likewise.
        authenticator: carries out an Authentication Method; MQTT 5.0 only.
        will: what the broker publishes if this client vanishes.
        keep_alive: of silence before a ping; 0 for no pings.
        clean_start: begin with a new session. Later connections of the same client resume it where it lasts.
        session_expiry: how long the broker keeps the session after a connection; 3.1.1 knows only 0 and forever.
        receive_maximum: QoS 1 and 2 messages that the broker may have under way to this client.
        maximum_packet_size: of what the broker may send.
        topic_alias_maximum: Topic Aliases that the broker may use.
        properties: further properties of CONNECT, such as User Properties.
        tls: how the broker is known.
        allow_plaintext: let ``mqtt://`` go beyond this machine.
        connect_timeout: for name, TCP, TLS and CONNACK together.
        answer_timeout: without any answer to what is under way, after which a connection is given up.
        ping_timeout: for a PINGRESP.
        in_flight: QoS 1 and 2 messages under way to the broker at once, where it allows more.
        queue_messages: messages that wait here for the broker, beyond those under way.
        queue_bytes: of them.
        backoff: when to connect again; None has a lost connection end the client.
        insist: go on trying also where the first attempt finds no broker.
    """

    client_id: str = ""
    version: int = MQTT_5_0
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    authenticator: Authenticator | None = None
    will: Will | None = None
    keep_alive: int = 60
    clean_start: bool = True
    session_expiry: int = 0
    receive_maximum: int = 32
    maximum_packet_size: int = 16 * 1024 * 1024
    topic_alias_maximum: int = 16
    properties: Properties = field(default_factory=Properties)
    tls: TlsOptions = field(default_factory=TlsOptions)
    allow_plaintext: bool = False
    connect_timeout: float = 30.0
    answer_timeout: float = 60.0
    ping_timeout: float = 20.0
    in_flight: int = 100
    queue_messages: int = 1000
    queue_bytes: int = 16 * 1024 * 1024
    backoff: Backoff | None = field(default_factory=Backoff)
    insist: bool = False

    def __post_init__(self) -> None:
        if self.version not in (MQTT_3_1_1, MQTT_5_0):
            raise OptionsInvalid(f"there is no version {self.version} here", "use 5, or 4 for MQTT 3.1.1")
        if self.authenticator is not None and self.version != MQTT_5_0:
            raise OptionsInvalid("MQTT 3.1.1 has no Authentication Methods", "use version 5, or a password")
        if min(self.connect_timeout, self.answer_timeout, self.ping_timeout) <= 0:
            raise OptionsInvalid("a time-out of 0 or less ends everything at once", "give seconds above 0")
        if min(self.queue_messages, self.queue_bytes, self.in_flight) <= 0:
            raise OptionsInvalid("a queue without room takes no message", "give it room for one or more")
        if not 0 <= self.session_expiry <= NEVER:
            raise OptionsInvalid(f"{self.session_expiry} s is no Session Expiry Interval", f"use 0 to {NEVER}")
        try:
            encode_packet(self.connect_packet(self.client_id, self.clean_start, None), self.version)
        except EncodeError as error:
            raise OptionsInvalid(f"CONNECT cannot be sent: {error}", "mend that option") from error

    @property
    def is_durable(self) -> bool:
        """Whether the session outlives a connection."""
        return self.session_expiry > 0

    def connect_packet(self, client_id: str, clean_start: bool, authentication_data: bytes | None) -> Connect:
        """CONNECT as these options want it."""
        if self.version != MQTT_5_0:
            # v3.1.1 section 3.1.2.4: the one flag says both, how to begin and whether the session lasts.
            clean_start = clean_start and not self.is_durable
        return Connect(
            self.version,
            client_id,
            clean_start,
            self.keep_alive,
            self.username,
            self.password,
            self.will,
            self._properties(authentication_data),
        )

    def _properties(self, authentication_data: bytes | None) -> Properties:
        if self.version != MQTT_5_0:
            return Properties()
        properties = self.properties.copy()
        if self.session_expiry:
            properties["session_expiry_interval"] = self.session_expiry
        properties["receive_maximum"] = self.receive_maximum
        properties["maximum_packet_size"] = self.maximum_packet_size
        properties["topic_alias_maximum"] = self.topic_alias_maximum
        if self.authenticator is not None:
            properties["authentication_method"] = self.authenticator.method
            if authentication_data is not None:
                properties["authentication_data"] = authentication_data
        return properties
