# -*- test-case-name: tests.wire.test_rules -*-
"""What the standard allows in each packet type: fixed header flags, who may send it, and its Reason Codes."""

from __future__ import annotations

from typing import Final

from mqttsecure.errors import MalformedPacket, ProtocolError
from mqttsecure.wire.constants import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, PacketType

__all__ = [
    "CONNACK_RETURN_CODES",
    "FIXED_FLAGS",
    "FROM_CLIENT_ONLY",
    "FROM_SERVER_ONLY",
    "REASON_CODES",
    "REASON_CODES_OF_CLIENT_ONLY",
    "REASON_CODES_OF_SERVER_ONLY",
    "SUBACK_RETURN_CODES",
    "check_first_byte",
    "check_reason_code",
]

_CONNECT: Final = int(PacketType.CONNECT)
_PUBLISH: Final = int(PacketType.PUBLISH)
_AUTH: Final = int(PacketType.AUTH)
_DISCONNECT: Final = int(PacketType.DISCONNECT)
_FLAGGED: Final = frozenset((int(PacketType.PUBREL), int(PacketType.SUBSCRIBE), int(PacketType.UNSUBSCRIBE)))

FIXED_FLAGS: Final = tuple(2 if packet_type in _FLAGGED else 0 for packet_type in range(16))
"""The lower four bits of the first byte by packet type (v5.0 section 2.1.3); those of PUBLISH mean something."""

FROM_CLIENT_ONLY: Final = frozenset(
    map(int, (PacketType.CONNECT, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.PINGREQ))
)
FROM_SERVER_ONLY: Final = frozenset(
    map(int, (PacketType.CONNACK, PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP))
)

_PUBACK_CODES: Final = frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
_PUBREL_CODES: Final = frozenset((0x00, 0x92))

REASON_CODES: Final[dict[int, frozenset[int]]] = {
    PacketType.CONNACK: frozenset(
        (0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F)
    ),
    PacketType.PUBACK: _PUBACK_CODES,
    PacketType.PUBREC: _PUBACK_CODES,
    PacketType.PUBREL: _PUBREL_CODES,
    PacketType.PUBCOMP: _PUBREL_CODES,
    PacketType.SUBACK: frozenset((0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2)),
    PacketType.UNSUBACK: frozenset((0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91)),
    PacketType.DISCONNECT: frozenset(
        (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, *range(0x93, 0xA3))
    ),
    PacketType.AUTH: frozenset((0x00, 0x18, 0x19)),
}
"""The Reason Codes of MQTT 5.0 by packet type (v5.0 section 2.4)."""

REASON_CODES_OF_SERVER_ONLY: Final[dict[int, frozenset[int]]] = {
    # v5.0 tables 3-4 and 3-5: "sent only by the Server".
    PacketType.PUBACK: frozenset((0x10,)),
    PacketType.PUBREC: frozenset((0x10,)),
    # v5.0 table 3-10, column "Sent by".
    PacketType.DISCONNECT: frozenset((0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, *range(0x9A, 0xA3))),
    # v5.0 table 3-11.
    PacketType.AUTH: frozenset((0x00,)),
}

REASON_CODES_OF_CLIENT_ONLY: Final[dict[int, frozenset[int]]] = {
    PacketType.DISCONNECT: frozenset((0x00, 0x04)),
    PacketType.AUTH: frozenset((0x19,)),
}

CONNACK_RETURN_CODES: Final = frozenset(range(6))
"""v3.1.1 section 3.2.2.3."""

SUBACK_RETURN_CODES: Final = frozenset((0x00, 0x01, 0x02, 0x80))
"""v3.1.1 [MQTT-3.9.3-2]. MQTT 3.1 has no 0x80, but also no other way to tell a refusal, so it is used there too."""


def check_first_byte(first_byte: int, version: int, *, from_client: bool = True) -> None:
    """Judge a packet by its first byte alone, before anything of it is kept.

    Args:
        first_byte: packet type and flags.
        version: 3, 4 or 5, or 0 while no CONNECT has told it.
        from_client: which end sent it.

    Raises:
        MalformedPacket: a reserved packet type or wrong flags.
        ProtocolError: a type that this end may not send, or anything but CONNECT first.
    """
    packet_type = first_byte >> 4
    flags = first_byte & 0x0F
    if packet_type == _PUBLISH:
        _check_publish_flags(flags, version)
    elif packet_type == 0 or (packet_type == _AUTH and MQTT_3_1 <= version <= MQTT_3_1_1):
        raise MalformedPacket(f"packet type {packet_type} is reserved in this version of MQTT")
    elif flags != FIXED_FLAGS[packet_type] and not (
        # v3.1 section 2.1: a resent PUBREL, SUBSCRIBE or UNSUBSCRIBE carries the DUP flag.
        version == MQTT_3_1 and packet_type in _FLAGGED and flags == 0x0A
    ):
        # v5.0 [MQTT-2.1.3-1], v3.1.1 [MQTT-2.2.2-2]
        raise MalformedPacket(
            f"{PacketType(packet_type).name} has the fixed header flags {flags}; send {FIXED_FLAGS[packet_type]}"
        )
    _check_sender(packet_type, version, from_client)


def _check_publish_flags(flags: int, version: int) -> None:
    if flags & 0x06 == 0x06:
        # v5.0 [MQTT-3.3.1-4]
        raise MalformedPacket("PUBLISH with QoS 3; use 0, 1 or 2")
    if flags & 0x0E == 0x08 and version != MQTT_3_1:
        # v5.0 and v3.1.1 [MQTT-3.3.1-2]; 3.1 says only that the flag concerns QoS 1 and 2.
        raise MalformedPacket("PUBLISH of QoS 0 with the DUP flag; clear it")


def _check_sender(packet_type: int, version: int, from_client: bool) -> None:
    if packet_type in (FROM_SERVER_ONLY if from_client else FROM_CLIENT_ONLY):
        raise ProtocolError(f"only the other side may send {PacketType(packet_type).name}")
    if version == 0 and packet_type != _CONNECT:
        # v5.0 [MQTT-3.1.0-1]
        raise ProtocolError(f"{PacketType(packet_type).name} came before CONNECT; send CONNECT first")
    if packet_type == _DISCONNECT and not from_client and version != MQTT_5_0:
        raise ProtocolError("a server of MQTT 3.x may not send DISCONNECT; close the connection")


def check_reason_code(packet_type: int, reason_code: int, from_client: bool) -> None:
    """Accept a Reason Code of MQTT 5.0 in a packet type from one end.

    Raises:
        ProtocolError: it does not belong there.
    """
    others = REASON_CODES_OF_SERVER_ONLY if from_client else REASON_CODES_OF_CLIENT_ONLY
    if reason_code not in REASON_CODES[packet_type] or reason_code in others.get(packet_type, ()):
        raise ProtocolError(
            f"{PacketType(packet_type).name} may not carry Reason Code 0x{reason_code:02X} here; see v5.0 section 2.4"
        )
