# -*- test-case-name: tests.lab.experiment.test_traffic -*-
"""The programs on the hosts: ``python -m mqttsecure.lab.experiment.roles publisher|subscriber|resumer``, orders on
stdin.

They are clients like any other, on ``mqttsecure.client``; but they write the secrets of their TLS connections to a
file, which only a lab may do. What happens is told on stdout, a JSON object a line. A password is read from its file.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater, react

from mqttsecure.client.address import parse_address
from mqttsecure.client.client import Client, connect
from mqttsecure.client.events import Message
from mqttsecure.client.failures import ClientError
from mqttsecure.client.options import ClientOptions, TlsOptions
from mqttsecure.lab.network.processes import end_with_input
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect, Disconnect

__all__ = ["Orders", "main"]

PAYLOADS: Final = (b"21.5 C", b"21.6 C", b"21.7 C")
TOPIC: Final = "lab/temperature"
_KEEP_ALIVE: Final = 1
_SILENCE: Final = 1.3
"""Seconds in which the publisher says nothing, so that it has to ping."""

_SSL_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_PATIENCE: Final = 20.0
_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


@dataclass(slots=True, frozen=True)
class Orders:
    """What a program is to do.

    Attributes:
        endpoint: of the broker, or of a relay before it.
        server_name: whose certificate the broker has.
        user: its name, and its Client Identifier.
        password_file: None with a client certificate alone.
        ca_file: who may vouch for the broker.
        certificate: PEM of the client, for ``mutual``.
        key: its key.
        key_log: where secrets go.
        tls: "1.2" or "1.3" alone, or None.
        suites: in OpenSSL's names, or None.
        count: messages that a subscriber waits for.
    """

    endpoint: str
    server_name: str
    user: str
    password_file: str | None
    ca_file: str
    certificate: str | None
    key: str | None
    key_log: str
    tls: str | None
    suites: str | None
    count: int = len(PAYLOADS) + 1

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def _say(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, **more}), flush=True)  # noqa: T201  # the starter reads it


def _adjusting(orders: Orders) -> Callable[[SSL.Context], None]:
    def keep(connection: SSL.Connection, line: bytes) -> None:
        with Path(orders.key_log).open("ab") as log:
            log.write(line + b"\n")

    def adjust(context: SSL.Context) -> None:
        context.set_keylog_callback(keep)
        if orders.tls is not None:
            context.set_min_proto_version(_VERSIONS[orders.tls])
            context.set_max_proto_version(_VERSIONS[orders.tls])
        if orders.suites is not None:
            if orders.suites.startswith("TLS_"):
                context.set_tls13_ciphersuites(orders.suites.encode())
            else:
                context.set_cipher_list(orders.suites.encode())

    return adjust


def _options(orders: Orders, keep_alive: int) -> ClientOptions:
    password = None
    if orders.password_file is not None:
        password = Path(orders.password_file).read_text().strip().encode()
    return ClientOptions(
        client_id=orders.user,
        username=orders.user if password is not None else None,
        password=password,
        keep_alive=keep_alive,
        tls=TlsOptions(
            ca_file=Path(orders.ca_file),
            certificate_file=None if orders.certificate is None else Path(orders.certificate),
            key_file=None if orders.key is None else Path(orders.key),
            server_name=orders.server_name,
            adjust=_adjusting(orders),
        ),
        allow_plaintext=orders.endpoint.startswith("mqtt://"),
        connect_timeout=20.0,
        backoff=None,
    )


async def _publish(reactor: Any, orders: Orders) -> None:
    client = await connect(orders.endpoint, reactor, _options(orders, _KEEP_ALIVE))
    _say("connected")
    for qos, payload in enumerate(PAYLOADS):
        await client.publish(TOPIC, payload, qos)
        _say("published", topic=TOPIC, payload=payload.decode(), qos=qos)
    await deferLater(reactor, _SILENCE)
    await client.publish(TOPIC, b"the end", 1)
    _say("published", topic=TOPIC, payload="the end", qos=1)
    await client.disconnect()


async def _subscribe(reactor: Any, orders: Orders) -> None:
    done: Deferred[None] = Deferred()
    received = 0

    def take(message: Message) -> None:
        nonlocal received
        received += 1
        _say("received", topic=message.topic, payload=message.payload.decode("utf-8", "replace"), qos=message.qos)
        if received == orders.count:
            done.callback(None)

    client: Client = await connect(orders.endpoint, reactor, _options(orders, 60), on_message=take)
    granted = await client.subscribe("lab/#", qos=2)
    _say("subscribed", granted=granted.reason_codes)
    await done
    await client.disconnect()


_ROLES: Final = {"publisher": _publish, "subscriber": _subscribe}


async def _work(reactor: Any, role: str, orders: Orders) -> None:
    try:
        await _ROLES[role](reactor, orders)
    except (ClientError, SSL.Error, OSError) as error:
        _say("failed", text=str(error) or type(error).__name__)
    else:
        _say("done")


def _resume(orders: Orders) -> None:
    """Connect twice, and offer the second time the session of the first."""
    context = ssl.create_default_context(cafile=orders.ca_file)
    context.keylog_filename = orders.key_log
    if orders.tls is not None:
        context.minimum_version = context.maximum_version = _SSL_VERSIONS[orders.tls]
    address = parse_address(orders.endpoint)
    password = Path(orders.password_file or "").read_text().strip().encode()
    session: ssl.SSLSession | None = None
    try:
        for turn in range(2):
            with (
                socket.create_connection((address.host, address.port), _PATIENCE) as raw,
                context.wrap_socket(raw, server_hostname=orders.server_name, session=session) as secured,
            ):
                name = f"{orders.user}-{turn}"
                secured.sendall(bytes(encode_packet(Connect(4, name, username=orders.user, password=password), 4)))
                secured.recv(4096)
                session = secured.session
                if turn:
                    _say("resumed", taken=bool(secured.session_reused))
                secured.sendall(bytes(encode_packet(Disconnect(), 4)))
        _say("done")
    except OSError as error:
        _say("failed", text=str(error))


def main() -> None:
    role = sys.argv[1]
    orders = Orders(**json.loads(sys.stdin.readline()))
    end_with_input()
    if role == "resumer":
        _resume(orders)
        return
    react(lambda reactor: ensureDeferred(_work(reactor, role, orders)))


if __name__ == "__main__":
    main()
