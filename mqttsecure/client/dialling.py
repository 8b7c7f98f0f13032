# -*- test-case-name: tests.client.test_client -*-
"""How a client gets at its broker: name, TCP and TLS of one attempt, and why there is no connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import error as network
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from mqttsecure.client.address import Address
from mqttsecure.client.failures import AddressInvalid, ClientClosed, ClientError, Unreachable
from mqttsecure.client.options import ClientOptions
from mqttsecure.client.trust import Judge, Trust

__all__ = ["Dial", "dialling", "unreachable"]

Dial = Callable[[], tuple[IStreamClientEndpoint, Judge | None]]
"""Makes the endpoint of one attempt, and with TLS what judges the broker there."""


def dialling(address: Address, reactor: Any, options: ClientOptions) -> Dial:
    if not address.is_tls and not address.is_loopback and not options.allow_plaintext:
        raise AddressInvalid(
            f"{address} is plaintext: everybody on the way could read the password and all messages",
            "use mqtts://, or allow plaintext if the network is safe",
        )

    def dial() -> tuple[IStreamClientEndpoint, Judge | None]:
        plain = HostnameEndpoint(reactor, address.host, address.port, timeout=options.connect_timeout)
        if not address.is_tls:
            return plain, None
        # The files are read for each attempt, as they may have been renewed.
        trust = Trust(address, options.tls)
        return wrapClientTLS(trust, plain, reactor), trust.judge

    return dial


def unreachable(failure: Failure, address: Address, patience: float) -> ClientError:
    """Why there is no TCP connection."""
    error = failure.value
    if isinstance(error, ClientError):
        return error
    if isinstance(error, CancelledError):
        return ClientClosed("the client was disconnected before it was connected", "connect anew")
    if isinstance(error, network.DNSLookupError):
        return Unreachable(
            f"there is no host {address.host!r}", "mend the name, or see to the network's name service", transient=True
        )
    if isinstance(error, network.ConnectionRefusedError):
        return Unreachable(
            f"nothing listens on {address.host} port {address.port}: connection refused",
            "is the broker running, and is that its port?",
        )
    if isinstance(error, DeferredTimeoutError | network.TimeoutError):
        return Unreachable(
            f"no answer from {address.host} port {address.port} within {patience:g} s",
            "is that its address, and does a firewall keep it away?",
        )
    return Unreachable(
        f"{address.host} port {address.port} cannot be reached: {failure.getErrorMessage()}", "see to the network"
    )
