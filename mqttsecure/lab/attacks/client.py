# -*- test-case-name: tests.lab.attacks.test_table -*-
"""A blocking client that can break every rule: what it sends is whatever the attack says, what it reads is decoded."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from types import TracebackType
from typing import Any, Final, TypeVar

from mqttsecure.errors import LabError
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import (
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
)

__all__ = ["PATIENCE", "AttackClient", "Unexpected", "is_open", "is_readable", "open_socket", "reset"]

PATIENCE: Final = 8.0
"""Seconds to wait for what must come: two busy cores may take a while."""

_LARGEST: Final = 300_000_000
_Kind = TypeVar("_Kind")


class Unexpected(LabError):
    """The broker did something else than a broker would."""


def open_socket(address: tuple[str, int], source: str | None = None, receive_buffer: int = 0) -> socket.socket:
    """A TCP connection, from ``source`` where that is given."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    try:
        if source is not None:
            sock.bind((source, 0))
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


def reset(sock: socket.socket) -> None:
    """Close with RST, so that no port is left waiting."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


def is_readable(sock: socket.socket, seconds: float) -> bool:
    """Whether there is something to read, or the end, within a time; for sockets of any number."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def is_open(sock: socket.socket) -> bool:
    """Whether the broker has not ended this connection yet; what it has said is thrown away."""
    sock.settimeout(PATIENCE)
    while is_readable(sock, 0):
        try:
            if not sock.recv(65536):
                return False
        except OSError:
            return False
    return True


class AttackClient:
    """One connection; ``context`` makes it TLS."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        version: int = MQTT_5_0,
        context: ssl.SSLContext | None = None,
        server_name: str = "localhost",
        source: str | None = None,
        receive_buffer: int = 0,
    ) -> None:
        self.version = version
        self.socket = open_socket(address, source, receive_buffer)
        if context is not None:
            try:
                self.socket = context.wrap_socket(self.socket, server_hostname=server_name)
            except OSError:
                self.socket.close()
                raise
        self._decoder = Decoder(version, _LARGEST, from_client=False)
        self._packet_id = 0
        self.closed = False
        """Whether the broker was seen to close the connection."""
        self.connack: Connack | None = None

    def __enter__(self) -> AttackClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        reset(self.socket)

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, *packets: Packet | bytes) -> None:
        """Send packets, or bytes as they are, in one write. A peer that has closed already is no error."""
        parts = [each if isinstance(each, bytes) else encode_packet(each, self.version) for each in packets]
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.sendall(b"".join(parts))
        except (ConnectionError, ssl.SSLError):
            pass  # what the broker said before it closed is still to be read

    def next_id(self) -> int:
        self._packet_id += 1
        return self._packet_id

    # -- receiving -----------------------------------------------------------------------------------------------

    def receive(self, seconds: float = PATIENCE) -> Packet | None:
        """The next packet; None where the broker has closed the connection.

        Raises:
            TimeoutError: neither came in time.
        """
        deadline = time.monotonic() + seconds
        while (packet := self._decoder.next_packet()) is None:
            data = self._read(deadline)
            if not data:
                return None
            self._decoder.feed(data)
        return packet

    def _read(self, deadline: float) -> bytes:
        if self.closed:
            return b""
        pending = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
        if not pending and not is_readable(self.socket, deadline - time.monotonic()):
            raise TimeoutError("nothing came in time")
        # TLS may have to read on for itself, so that there is nothing for us yet.
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        self.closed = not data
        return data

    def expect(self, kind: type[_Kind], seconds: float = PATIENCE) -> _Kind:
        """The next packet, which must be of ``kind``."""
        packet = self.receive(seconds)
        if not isinstance(packet, kind):
            raise Unexpected(f"waited for {kind.__name__} and got {packet}")
        return packet

    def remaining(self, seconds: float = PATIENCE) -> list[Packet]:
        """All packets until the broker closes.

        Raises:
            Unexpected: it did not close in time.
        """
        deadline = time.monotonic() + seconds
        found: list[Packet] = []
        try:
            while (packet := self.receive(deadline - time.monotonic())) is not None:
                found.append(packet)
        except TimeoutError:
            raise Unexpected(f"still open after {seconds} s, having sent {found}") from None
        return found

    def collect(self, seconds: float) -> list[Packet]:
        """All packets that come within a time, or until the broker closes."""
        deadline = time.monotonic() + seconds
        found: list[Packet] = []
        try:
            while (packet := self.receive(deadline - time.monotonic())) is not None:
                found.append(packet)
        except TimeoutError:
            pass
        return found

    # -- whole exchanges -----------------------------------------------------------------------------------------

    def connect(
        self, client_id: str = "", username: str | None = None, password: str | None = None, **more: Any
    ) -> int:
        """Send a CONNECT; the Reason Code, or return code of 3.x, of the CONNACK, which is kept in ``connack``."""
        more.setdefault("keep_alive", 60)
        more.setdefault("properties", Properties())
        secret = None if password is None else password.encode()
        self.send(Connect(self.version, client_id, username=username, password=secret, **more))
        self.connack = self.expect(Connack)
        return self.connack.reason_code

    def subscribe(self, *topic_filters: str, qos: int = 0) -> list[int]:
        """Subscribe and give the codes of the SUBACK; messages that come before it are lost."""
        requests = [SubscriptionRequest(each, qos) for each in topic_filters]
        self.send(Subscribe(self.next_id(), requests))
        return self._await(Suback).reason_codes

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False, **properties: Any) -> int:
        """Publish with QoS 1 and give the code of the PUBACK."""
        packet_id = self.next_id()
        more: Properties = properties  # type: ignore[assignment]  # names are the caller's
        self.send(Publish(topic, payload, 1, retain, packet_id=packet_id, properties=more))
        return self._await(Puback).reason_code

    def ping(self, seconds: float = PATIENCE) -> list[Packet]:
        """Have all that was sent before worked off; the packets that came meanwhile."""
        self.send(Pingreq())
        found: list[Packet] = []
        while not isinstance(packet := self.receive(seconds), Pingresp):
            if packet is None:
                raise Unexpected(f"closed in place of PINGRESP, having sent {found}")
            found.append(packet)
        return found

    def _await(self, kind: type[_Kind]) -> _Kind:
        while not isinstance(packet := self.receive(), kind):
            if packet is None:
                raise Unexpected(f"closed in place of {kind.__name__}")
        return packet

    def messages(self) -> list[tuple[str, bytes]]:
        """Topic Name and payload of all messages that the broker had for this client by now."""
        return [(each.topic, each.payload) for each in self.ping() if isinstance(each, Publish)]
