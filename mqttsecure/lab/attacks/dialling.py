# -*- test-case-name: tests.lab.attacks.test_table -*-
"""Connections to a target, and who is who on them."""

from __future__ import annotations

import socket
import uuid
from typing import Any

from mqttsecure.lab.attacks.client import AttackClient, Unexpected, open_socket
from mqttsecure.lab.attacks.target import Account, Target
from mqttsecure.wire.constants import MQTT_5_0

__all__ = ["dial", "dial_tcp", "login", "marker", "refused_words"]


def dial(target: Target, version: int | None = None, receive_buffer: int = 0) -> AttackClient:
    """A connection, with TLS where the target has it."""
    return AttackClient(
        target.address,
        version=target.version if version is None else version,
        context=target.context(),
        server_name=target.server_name,
        source=target.source,
        receive_buffer=receive_buffer,
    )


def dial_tcp(target: Target) -> socket.socket:
    """The TCP connection alone."""
    return open_socket(target.address, target.source)


def login(target: Target, account: Account, client_id: str | None = None, **more: Any) -> AttackClient:
    """A connection of that user, logged in.

    Raises:
        Unexpected: the broker did not let it in.
    """
    client = dial(target, more.pop("version", None), more.pop("receive_buffer", 0))
    try:
        code = client.connect(client_id or account.name, account.name, account.password, **more)
    except BaseException:
        client.close()
        raise
    if code != 0:
        client.close()
        raise Unexpected(
            f"{account.name} was not let in: code {code:#x}; is the password right, and the Client Identifier?"
        )
    return client


def refused_words(code: int, version: int) -> str:
    """A code as people write it: 0x87, or 5 in MQTT 3.1.1."""
    return f"{code:#04x}" if version == MQTT_5_0 else str(code)


def marker() -> bytes:
    """A payload that nobody else sends."""
    return uuid.uuid4().hex.encode()
