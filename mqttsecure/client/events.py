# -*- test-case-name: tests.client.test_machine -*-
"""What the machine tells whoever drives it, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from mqttsecure.client.failures import ClientError
from mqttsecure.wire.packets import Connack, Properties, Publish

__all__ = ["Answered", "Arrived", "Connected", "Ended", "Event", "Granted", "Message", "Published"]


@dataclass(frozen=True, slots=True)
class Published:
    """A message is where its QoS promises: handed to the network (0), or to the broker (1 and 2).

    Attributes:
        reason_code: 0, or 0x10 where the broker says that nobody subscribes to it.
        properties: of the acknowledgement.
    """

    reason_code: int = 0
    properties: Properties = field(default_factory=Properties)


@dataclass(frozen=True, slots=True)
class Granted:
    """What the broker has answered to SUBSCRIBE or UNSUBSCRIBE.

    Attributes:
        reason_codes: by Topic Filter: the QoS granted; for UNSUBSCRIBE 0 or 0x11.
        properties: of the acknowledgement.
    """

    reason_codes: dict[str, int]
    properties: Properties = field(default_factory=Properties)


@dataclass(frozen=True, slots=True)
class Message:
    """A message from the broker.

    Attributes:
        topic: where it was published, also where an alias stood for it.
        payload: its bytes.
        qos: of the delivery.
        retain: whether it was retained before this subscription was made.
        dup: whether the broker has sent it before.
        properties: of MQTT 5.0.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    properties: Properties = field(default_factory=Properties)


@dataclass(frozen=True, slots=True)
class Connected:
    """CONNACK with success.

    Attributes:
        session_present: whether the broker still knows the session.
        connack: all that it said.
    """

    session_present: bool
    connack: Connack


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message, with what :meth:`~mqttsecure.client.machine.Machine.acknowledge` needs."""

    publish: Publish
    connection: int

    @property
    def message(self) -> Message:
        """The message alone."""
        each = self.publish
        return Message(each.topic, each.payload, each.qos, each.retain, each.dup, each.properties)


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked for under ``token`` is done, or will never be."""

    token: int
    value: Published | Granted | None
    error: ClientError | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """This Network Connection is of no use any more: send what is left, and close it."""

    error: ClientError


Event: TypeAlias = Connected | Arrived | Answered | Ended
