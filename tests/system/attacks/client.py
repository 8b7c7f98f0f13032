"""The lab's client that can break every rule, aimed at brokers that tests start."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from mqttsecure.lab.attacks import client
from mqttsecure.lab.attacks.client import PATIENCE, Unexpected, is_readable, reset
from mqttsecure.wire.constants import MQTT_5_0

__all__ = ["HOST", "PATIENCE", "AttackClient", "Unexpected", "is_readable", "open_socket", "reset"]

HOST: Final = "127.0.0.1"


def open_socket(port: int, source: str = HOST, receive_buffer: int = 0) -> socket.socket:
    """A TCP connection from ``source``, which may be any address of 127.0.0.0/8."""
    return client.open_socket((HOST, port), source, receive_buffer)


class AttackClient(client.AttackClient):
    """One connection to a port of this machine; ``context`` makes it TLS."""

    def __init__(
        self,
        port: int,
        *,
        version: int = MQTT_5_0,
        context: ssl.SSLContext | None = None,
        source: str = HOST,
        receive_buffer: int = 0,
    ) -> None:
        super().__init__((HOST, port), version=version, context=context, source=source, receive_buffer=receive_buffer)

    def __enter__(self) -> AttackClient:
        return self
