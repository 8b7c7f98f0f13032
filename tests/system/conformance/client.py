"""A blocking client that sends any bytes and judges what comes back: a conversation as a test writes it down."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet, encode_variable_byte_integer
from mqttsecure.wire.packets import (
    Connack,
    Connect,
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
    Will,
)

__all__ = ["Client", "Closed", "binary", "frame", "text", "two", "unique"]

PATIENCE: Final = 8.0
"""Seconds after which an answer will not come any more."""

_Expected = TypeVar("_Expected", bound=Packet)
_numbers = itertools.count(1)


class Closed(Exception):
    """The broker has closed the connection."""


def unique(word: str) -> str:
    """A name that no other test uses."""
    return f"{word}{next(_numbers)}"


def two(number: int) -> bytes:
    """A Two Byte Integer."""
    return number.to_bytes(2, "big")


def binary(data: bytes) -> bytes:
    """Binary Data, or a string of bytes that need not be UTF-8."""
    return two(len(data)) + data


def text(words: str) -> bytes:
    """A UTF-8 Encoded String."""
    return binary(words.encode())


def frame(first_byte: int, *parts: bytes) -> bytes:
    """A packet with the right Remaining Length, whatever else is wrong with it."""
    body = b"".join(parts)
    return bytes((first_byte,)) + encode_variable_byte_integer(len(body)) + body


class Client:
    """One Network Connection. Packets are read one after another; ``expect`` fails on any that was not expected."""

    def __init__(self, port: int, version: int = MQTT_5_0, context: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.version = version
        self.client_id = ""
        self._socket = context.wrap_socket(plain, server_hostname="localhost") if context is not None else plain
        self._decoder = Decoder(version, 1 << 28, from_client=False)
        self._packet_ids = itertools.count(1)

    # -- what is sent --------------------------------------------------------------------------------------------

    def send(self, *packets: Packet | bytes) -> None:
        """Send packets in one write."""
        self._socket.sendall(
            b"".join(each if isinstance(each, bytes) else encode_packet(each, self.version) for each in packets)
        )

    def connect(
        self,
        client_id: str | None = None,
        *,
        clean: bool = True,
        keep_alive: int = 60,
        will: Will | None = None,
        code: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        **properties: Any,
    ) -> Connack:
        """Send CONNECT and give its CONNACK, which must carry ``code``."""
        self.client_id = unique("client") if client_id is None else client_id
        self.send(
            Connect(
                self.version,
                self.client_id,
                clean,
                keep_alive,
                username,
                password,
                will,
                Properties(**properties),  # type: ignore[typeddict-item]  # named by the caller
            )
        )
        connack = self.expect(Connack)
        assert connack.reason_code == code, connack
        return connack

    def subscribe(
        self, *filters: str | SubscriptionRequest, qos: int = 0, packet_id: int = 0, identifier: int = 0
    ) -> list[int]:
        """Subscribe and give the codes of the SUBACK; nothing else may come before it."""
        packet_id = packet_id or next(self._packet_ids)
        asked = [each if isinstance(each, SubscriptionRequest) else SubscriptionRequest(each, qos) for each in filters]
        properties: Properties = {"subscription_identifier": [identifier]} if identifier else {}
        self.send(Subscribe(packet_id, asked, properties))
        suback = self.expect(Suback)
        assert suback.packet_id == packet_id, suback
        return suback.reason_codes

    def unsubscribe(self, *filters: str) -> list[int]:
        """Unsubscribe and give the codes of the UNSUBACK, none in 3.x."""
        packet_id = next(self._packet_ids)
        self.send(Unsubscribe(packet_id, list(filters)))
        unsuback = self.expect(Unsuback)
        assert unsuback.packet_id == packet_id, unsuback
        return unsuback.reason_codes

    def publish(
        self, topic: str, payload: bytes = b"x", qos: int = 0, *, retain: bool = False, **properties: Any
    ) -> int:
        """Publish with the whole exchange that belongs to its QoS, and give the code of the first answer.

        With QoS 0 a ping follows, so that the broker has dealt with the message when this returns.
        """
        packet_id = next(self._packet_ids) if qos else 0
        self.send(Publish(topic, payload, qos, retain, False, packet_id, Properties(**properties)))  # type: ignore[typeddict-item]  # named by the caller
        if qos == 0:
            self.ping()
            return 0
        if qos == 1:
            puback = self.expect(Puback, packet_id=packet_id)
            return puback.reason_code
        pubrec = self.expect(Pubrec, packet_id=packet_id)
        if pubrec.reason_code < 0x80:
            self.send(Pubrel(packet_id))
            self.expect(Pubcomp, packet_id=packet_id, reason_code=0)
        return pubrec.reason_code

    # -- what comes ----------------------------------------------------------------------------------------------

    def receive(self, seconds: float = PATIENCE) -> Packet:
        """The next packet.

        Raises:
            Closed: the connection is closed.
            TimeoutError: nothing came.
        """
        self._socket.settimeout(seconds)
        while (packet := self._decoder.next_packet()) is None:
            try:
                data = self._socket.recv(65536)
            except (ConnectionError, ssl.SSLError) as error:
                raise Closed(str(error)) from error
            if not data:
                raise Closed("end of stream")
            self._decoder.feed(data)
        return packet

    def expect(self, kind: type[_Expected], seconds: float = PATIENCE, **fields: Any) -> _Expected:
        """The next packet, which must be of ``kind`` with these fields."""
        packet = self.receive(seconds)
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet}"
        for name, value in fields.items():
            assert getattr(packet, name) == value, f"{name} should be {value!r}: {packet}"
        return packet

    def expect_messages(self, *payloads: bytes) -> list[Publish]:
        """The next packets, which must be PUBLISH packets with these payloads; those with QoS get their answers."""
        return [self.take(payload=payload) for payload in payloads]

    def take(self, **fields: Any) -> Publish:
        """The next packet, which must be a PUBLISH, acknowledged to the end."""
        publish = self.expect(Publish, **fields)
        if publish.qos == 1:
            self.send(Puback(publish.packet_id))
        elif publish.qos == 2:
            self.send(Pubrec(publish.packet_id))
            self.expect(Pubrel, packet_id=publish.packet_id)
            self.send(Pubcomp(publish.packet_id))
        return publish

    def ping(self) -> None:
        """PINGREQ, and nothing before its PINGRESP: all that the broker had for this client is read."""
        self.send(Pingreq())
        self.expect(Pingresp)

    nothing = ping

    def expect_closed(self, codes: Sequence[int] = (), seconds: float = PATIENCE) -> int | None:
        """Wait for the end of the connection.

        Returns:
            The Reason Code of the DISCONNECT before it, or None for a silent end. Anything else may not come. With
            ``codes`` it must be one of them.
        """
        code = None
        try:
            packet = self.receive(seconds)
            assert isinstance(packet, Disconnect), f"expected the end, got {packet}"
            code = packet.reason_code
            self.expect_end(seconds)
        except Closed:
            pass
        assert not codes or code in codes, f"expected DISCONNECT with one of {codes}, got {code}"
        return code

    def expect_end(self, seconds: float = PATIENCE) -> None:
        """Wait for the end of the stream without another packet."""
        try:
            packet = self.receive(seconds)
        except Closed:
            return
        raise AssertionError(f"expected the end, got {packet}")

    # -- the end -------------------------------------------------------------------------------------------------

    def disconnect(self, reason_code: int = 0, **properties: Any) -> None:
        """Say goodbye and wait until the broker has closed, so that it has dealt with all of it."""
        self.send(Disconnect(reason_code, Properties(**properties)))  # type: ignore[typeddict-item]  # named by the caller
        self.expect_end()
        self.drop()

    def drop(self) -> None:
        """Vanish without a word."""
        self._socket.close()
