# -*- test-case-name: tests.test_errors -*-
"""Every error this package raises on purpose, in one tree.

An :class:`MqttError` is a peer's fault: it closes that connection with its Reason Code (MQTT 5.0, section 2.4).
:class:`EncodeError` is our fault: a packet that may not exist was about to be sent.
:class:`ConfigError` and :class:`PolicyLoadError` refuse a start or a reload.
:class:`CaptureError` refuses a capture of network traffic, or a live look at a handshake.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BadAuthenticationMethod",
    "BadUserNameOrPassword",
    "CaptureError",
    "ClientIdentifierNotValid",
    "ConfigError",
    "EncodeError",
    "KeepAliveTimeout",
    "LabError",
    "MalformedPacket",
    "MqttError",
    "MqttsecureError",
    "NotAuthorized",
    "PacketTooLarge",
    "PolicyLoadError",
    "ProtocolError",
    "QosNotSupported",
    "QuotaExceeded",
    "ReceiveMaximumExceeded",
    "RetainNotSupported",
    "TopicAliasInvalid",
    "TopicFilterInvalid",
    "TopicNameInvalid",
    "UnsupportedProtocolVersion",
]


class MqttsecureError(Exception):
    """The root of all errors raised on purpose."""


class MqttError(MqttsecureError):
    """The peer broke the protocol; the connection ends with ``reason_code``."""

    reason_code: ClassVar[int] = 0x80


class MalformedPacket(MqttError):
    """Bytes that cannot be parsed as the packet they claim to be."""

    reason_code = 0x81


class ProtocolError(MqttError):
    """A well-formed packet that is not allowed here or now."""

    reason_code = 0x82


class UnsupportedProtocolVersion(MqttError):
    """A protocol name or level other than MQTT 3.1, 3.1.1 or 5.0."""

    reason_code = 0x84


class ClientIdentifierNotValid(MqttError):
    """A Client Identifier that may not be used."""

    reason_code = 0x85


class BadUserNameOrPassword(MqttError):
    """Wrong credentials."""

    reason_code = 0x86


class NotAuthorized(MqttError):
    """The policy chain said no."""

    reason_code = 0x87


class BadAuthenticationMethod(MqttError):
    """An Authentication Method that nobody here speaks, or one that changed in mid-connection."""

    reason_code = 0x8C


class KeepAliveTimeout(MqttError):
    """No packet within one and a half times the Keep Alive."""

    reason_code = 0x8D


class TopicFilterInvalid(MqttError):
    """A well-formed Topic Filter that is not accepted."""

    reason_code = 0x8F


class TopicNameInvalid(MqttError):
    """A well-formed Topic Name that is not accepted."""

    reason_code = 0x90


class ReceiveMaximumExceeded(MqttError):
    """More unacknowledged PUBLISH packets than were announced as allowed."""

    reason_code = 0x93


class TopicAliasInvalid(MqttError):
    """A Topic Alias of 0, above the announced maximum, or never set."""

    reason_code = 0x94


class PacketTooLarge(MqttError):
    """A packet above the announced Maximum Packet Size."""

    reason_code = 0x95


class QuotaExceeded(MqttError):
    """A budget is spent."""

    reason_code = 0x97


class RetainNotSupported(MqttError):
    """A retained message where the server announced that it takes none."""

    reason_code = 0x9A


class QosNotSupported(MqttError):
    """A QoS above the announced Maximum QoS."""

    reason_code = 0x9B


class EncodeError(MqttsecureError, ValueError):
    """A packet that the standard forbids was about to be encoded: a bug of the caller."""


class ConfigError(MqttsecureError):
    """The configuration cannot be used; the text names file, line, key and the mend.

    ``problems`` holds one line for each fault, all of them at once.
    """

    def __init__(self, problems: list[str] | str) -> None:
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class PolicyLoadError(ConfigError):
    """A policy named in the configuration could not be found, imported or built."""


class CaptureError(MqttsecureError):
    """A capture, a key log or a certificate cannot be read, or a server cannot be reached; the text has the mend."""


class LabError(MqttsecureError):
    """The lab cannot do it here or now; the text has the mend."""
