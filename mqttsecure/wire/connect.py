# -*- test-case-name: tests.wire.test_connect -*-
"""CONNECT, decoded and encoded: the one packet that says which version it is written in."""

from __future__ import annotations

from typing import Final

from mqttsecure.errors import EncodeError, MalformedPacket, ProtocolError, TopicNameInvalid, UnsupportedProtocolVersion
from mqttsecure.wire.constants import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, PacketType
from mqttsecure.wire.packets import Connect, Properties, Will
from mqttsecure.wire.primitives import (
    encode_binary,
    encode_string,
    encode_two_byte_integer,
    read_binary,
    read_byte,
    read_string,
    read_two_byte_integer,
)
from mqttsecure.wire.properties import WILL, decode_properties, encode_properties
from mqttsecure.wire.topics import check_topic_name

__all__ = ["decode_connect", "encode_connect", "protocol_level"]

_CONNECT: Final = int(PacketType.CONNECT)
_PROTOCOL_NAMES: Final = {MQTT_3_1: "MQIsdp", MQTT_3_1_1: "MQTT", MQTT_5_0: "MQTT"}
_BRIDGE: Final = 0x80

_RESERVED: Final = 0x01
_CLEAN_START: Final = 0x02
_WILL_FLAG: Final = 0x04
_WILL_QOS: Final = 0x18
_WILL_RETAIN: Final = 0x20
_PASSWORD: Final = 0x40
_USER_NAME: Final = 0x80


def decode_connect(body: bytes) -> Connect:
    """Decode a CONNECT of any version.

    Raises:
        UnsupportedProtocolVersion: the name is MQTT's, the level is none of 3.1, 3.1.1 and 5.0. Nothing behind the
            level was read.
        MqttError: as for every packet.
    """
    version, bridge, position = _decode_protocol(body)
    flags, position = read_byte(body, position)
    _check_flags(flags, version)
    keep_alive, position = read_two_byte_integer(body, position)
    properties = Properties()
    if version == MQTT_5_0:
        properties, position = decode_properties(body, position, _CONNECT)
        if "authentication_data" in properties and "authentication_method" not in properties:
            # v5.0 section 3.1.2.11.10
            raise ProtocolError("CONNECT with Authentication Data and no Authentication Method; send both")
    client_id, position = read_string(body, position)
    will = None
    if flags & _WILL_FLAG:
        will, position = _decode_will(body, position, flags, version)
    username = None
    password = None
    if flags & _USER_NAME:
        username, position = read_string(body, position)
    if flags & _PASSWORD:
        password, position = read_binary(body, position)
    if position != len(body):
        raise MalformedPacket(f"{len(body) - position} bytes too many behind the CONNECT; correct its Remaining Length")
    clean_start = flags & _CLEAN_START != 0
    return Connect(version, client_id, clean_start, keep_alive, username, password, will, properties, bridge)


def protocol_level(body: bytes) -> int | None:
    """The protocol level that a CONNECT names, whatever else is wrong with it; None where it does not name MQTT."""
    try:
        name, position = read_string(body, 0)
        level, _ = read_byte(body, position)
    except MalformedPacket:
        return None
    return level if name in _PROTOCOL_NAMES.values() else None


def _decode_protocol(body: bytes) -> tuple[int, bool, int]:
    name, position = read_string(body, 0)
    if name not in ("MQTT", "MQIsdp"):
        # v5.0 [MQTT-3.1.2-1], v3.1.1 [MQTT-3.1.2-1]: whoever says another name need not learn what this is.
        raise ProtocolError("the protocol name is not that of MQTT; send MQTT")
    level, position = read_byte(body, position)
    version = level
    bridge = False
    # Bridges of 3.x set bit 7 to have no message sent back to them; 5.0 has No Local for it.
    if level & 0x7F in (MQTT_3_1, MQTT_3_1_1):
        version = level & 0x7F
        bridge = level >= _BRIDGE
    if _PROTOCOL_NAMES.get(version) != name:
        # v5.0 [MQTT-3.1.2-2], v3.1.1 [MQTT-3.1.2-2]
        raise UnsupportedProtocolVersion(f"{name} has no protocol level {level} here; use MQTT 5.0, 3.1.1 or 3.1")
    return version, bridge, position


def _check_flags(flags: int, version: int) -> None:
    if flags & _RESERVED and version != MQTT_3_1:
        # v5.0 [MQTT-3.1.2-3], v3.1.1 [MQTT-3.1.2-3]; 3.1 says only that the bit is not used.
        raise MalformedPacket("CONNECT with its reserved flag set; clear it")
    if flags & _WILL_FLAG:
        if flags & _WILL_QOS == _WILL_QOS:
            # v5.0 [MQTT-3.1.2-12], v3.1.1 [MQTT-3.1.2-14]
            raise MalformedPacket("CONNECT with a Will QoS of 3; use 0, 1 or 2")
    elif flags & (_WILL_QOS | _WILL_RETAIN):
        # v5.0 [MQTT-3.1.2-11], [MQTT-3.1.2-13]; v3.1.1 [MQTT-3.1.2-13], [MQTT-3.1.2-15]
        raise MalformedPacket("CONNECT with Will QoS or Will Retain and no Will Flag; clear them")
    if flags & _PASSWORD and not flags & _USER_NAME and version != MQTT_5_0:
        # v3.1.1 [MQTT-3.1.2-22]; 5.0 allows it
        raise MalformedPacket("CONNECT with a password and no user name; send both")


def _decode_will(body: bytes, position: int, flags: int, version: int) -> tuple[Will, int]:
    properties = Properties()
    if version == MQTT_5_0:
        properties, position = decode_properties(body, position, WILL)
    topic, position = read_string(body, position)
    check_topic_name(topic)
    payload, position = read_binary(body, position)
    return Will(topic, payload, (flags & _WILL_QOS) >> 3, flags & _WILL_RETAIN != 0, properties), position


def encode_connect(packet: Connect) -> bytes:
    """Encode a CONNECT in the version that it names, without its fixed header.

    Raises:
        EncodeError: something that the standard forbids.
    """
    version = packet.protocol_version
    if version not in _PROTOCOL_NAMES:
        raise EncodeError(f"there is no protocol level {version}; use 3, 4 or 5")
    _check_connect(packet, version)
    level = version | _BRIDGE if packet.bridge else version
    parts = [
        encode_string(_PROTOCOL_NAMES[version]),
        bytes((level, _flags(packet))),
        encode_two_byte_integer(packet.keep_alive),
    ]
    if version == MQTT_5_0:
        parts.append(encode_properties(packet.properties, _CONNECT))
    parts.append(encode_string(packet.client_id))
    if packet.will is not None:
        if version == MQTT_5_0:
            parts.append(encode_properties(packet.will.properties, WILL))
        parts.append(encode_string(packet.will.topic))
        parts.append(encode_binary(packet.will.payload))
    if packet.username is not None:
        parts.append(encode_string(packet.username))
    if packet.password is not None:
        parts.append(encode_binary(packet.password))
    return b"".join(parts)


def _check_connect(packet: Connect, version: int) -> None:
    if version == MQTT_5_0:
        if packet.bridge:
            raise EncodeError("the bridge bit does not exist in MQTT 5.0; use No Local")
        if "authentication_data" in packet.properties and "authentication_method" not in packet.properties:
            raise EncodeError("Authentication Data needs an Authentication Method; set both")
    elif packet.password is not None and packet.username is None:
        # v3.1.1 [MQTT-3.1.2-22]
        raise EncodeError("a password needs a user name before MQTT 5.0; set both")
    if not packet.client_id and (version == MQTT_3_1 or (version == MQTT_3_1_1 and not packet.clean_start)):
        # v3.1.1 [MQTT-3.1.3-7]
        raise EncodeError("an empty Client Identifier needs MQTT 5.0, or 3.1.1 with Clean Session; set one")
    if packet.will is not None:
        if packet.will.qos not in (0, 1, 2):
            raise EncodeError(f"a Will QoS of {packet.will.qos} does not exist; use 0, 1 or 2")
        try:
            check_topic_name(packet.will.topic)
        except TopicNameInvalid as error:
            raise EncodeError(str(error)) from error


def _flags(packet: Connect) -> int:
    flags = 0
    if packet.clean_start:
        flags |= _CLEAN_START
    if packet.will is not None:
        flags |= _WILL_FLAG | packet.will.qos << 3
        if packet.will.retain:
            flags |= _WILL_RETAIN
    if packet.username is not None:
        flags |= _USER_NAME
    if packet.password is not None:
        flags |= _PASSWORD
    return flags
