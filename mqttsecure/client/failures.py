# -*- test-case-name: tests.client -*-
"""Every error of the client: one line with its cause and what helps."""

from __future__ import annotations

from mqttsecure.errors import MqttsecureError

__all__ = [
    "AddressInvalid",
    "AuthenticationFailed",
    "BrokerFault",
    "CertificateRefused",
    "ClientClosed",
    "ClientError",
    "ConnectRefused",
    "ConnectionLost",
    "Disconnected",
    "NotSupported",
    "OptionsInvalid",
    "PublishRefused",
    "QueueFull",
    "SessionLost",
    "SubscribeRefused",
    "TlsFailed",
    "Unreachable",
]


class ClientError(MqttsecureError):
    """The root.

    Attributes:
        cause: what happened.
        mend: what helps.
        reason_code: what the broker said: a Reason Code of 5.0, or a return code of 3.x; None where it said none.
        transient: whether the same attempt may succeed a while later, without anybody changing anything.
    """

    transient: bool = False

    def __init__(self, cause: str, mend: str, *, reason_code: int | None = None, transient: bool | None = None) -> None:
        super().__init__(f"{cause}; {mend}")
        self.cause = cause
        self.mend = mend
        self.reason_code = reason_code
        if transient is not None:
            self.transient = transient


class AddressInvalid(ClientError):
    """What should say where the broker is cannot be used."""


class OptionsInvalid(ClientError):
    """Options that make no sense, alone or together."""


class Unreachable(ClientError):
    """No TCP connection: the name is not found, the port is closed, or nobody answers."""

    transient = True


class CertificateRefused(ClientError):
    """This end refused the broker's certificate, before anything was sent."""


class TlsFailed(ClientError):
    """The TLS handshake failed for another reason, or the broker ended it by an alert."""


class ConnectRefused(ClientError):
    """The broker's CONNACK says no."""


class AuthenticationFailed(ClientError):
    """An authentication exchange that this end broke off."""


class ConnectionLost(ClientError):
    """The connection ended without a word, or one of the two ends fell silent."""

    transient = True


class Disconnected(ClientError):
    """The broker ended the connection by DISCONNECT."""


class BrokerFault(ClientError):
    """The broker sent what the standard forbids, and the connection was closed."""


class PublishRefused(ClientError):
    """The broker refused a message."""


class SubscribeRefused(ClientError):
    """The broker refused a subscription, or to end one.

    Attributes:
        reason_codes: by Topic Filter, also of those that were granted.
    """

    def __init__(self, cause: str, mend: str, *, reason_code: int, reason_codes: dict[str, int]) -> None:
        super().__init__(cause, mend, reason_code=reason_code)
        self.reason_codes = reason_codes


class NotSupported(ClientError):
    """The broker has announced that it does not take this; it was not sent."""


class QueueFull(ClientError):
    """There are as many messages waiting as were allowed."""

    transient = True


class SessionLost(ClientError):
    """The broker no longer knows the session in which a QoS 2 message was under way."""


class ClientClosed(ClientError):
    """The client was disconnected before this was done."""
