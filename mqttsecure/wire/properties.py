# -*- test-case-name: tests.wire.test_properties -*-
"""The MQTT 5.0 properties (v5.0 section 2.2.2), decoded and encoded by one table.

On the path of each MQTT 5.0 message.
"""

from __future__ import annotations

from typing import Any, Final, cast

from mqttsecure.errors import EncodeError, MalformedPacket, MqttError, PacketTooLarge, ProtocolError, TopicAliasInvalid
from mqttsecure.wire.constants import PacketType
from mqttsecure.wire.packets import Properties
from mqttsecure.wire.primitives import (
    encode_binary,
    encode_four_byte_integer,
    encode_string,
    encode_two_byte_integer,
    encode_variable_byte_integer,
    read_binary,
    read_byte,
    read_four_byte_integer,
    read_string,
    read_two_byte_integer,
    read_variable_byte_integer,
)
from mqttsecure.wire.topics import check_topic_name

__all__ = [
    "MAX_USER_PROPERTIES",
    "WILL",
    "decode_properties",
    "encode_properties",
    "encode_property_items",
    "property_type",
]

WILL: Final = 0
"""Stands for the Will Properties of a CONNECT where a packet type is asked for; no packet has type 0."""

MAX_USER_PROPERTIES: Final = 512
"""User Properties in one packet: far more than any use known, and 256 KiB of empty ones would be 50,000 pairs."""

_BYTE: Final = 0
_TWO: Final = 1
_FOUR: Final = 2
_VARIABLE: Final = 3
_STRING: Final = 4
_BINARY: Final = 5
_PAIR: Final = 6

_CONNECT: Final = PacketType.CONNECT
_CONNACK: Final = PacketType.CONNACK
_PUBLISH: Final = PacketType.PUBLISH
_SUBSCRIBE: Final = PacketType.SUBSCRIBE
_DISCONNECT: Final = PacketType.DISCONNECT
_AUTH: Final = PacketType.AUTH
_ACKS: Final = (
    PacketType.PUBACK,
    PacketType.PUBREC,
    PacketType.PUBREL,
    PacketType.PUBCOMP,
    PacketType.SUBACK,
    PacketType.UNSUBACK,
)

# Identifier, name, type, and the packets it may stand in (v5.0 table 2-4).
_TABLE: Final[tuple[tuple[int, str, int, tuple[int, ...]], ...]] = (
    (0x01, "payload_format_indicator", _BYTE, (_PUBLISH, WILL)),
    (0x02, "message_expiry_interval", _FOUR, (_PUBLISH, WILL)),
    (0x03, "content_type", _STRING, (_PUBLISH, WILL)),
    (0x08, "response_topic", _STRING, (_PUBLISH, WILL)),
    (0x09, "correlation_data", _BINARY, (_PUBLISH, WILL)),
    (0x0B, "subscription_identifier", _VARIABLE, (_PUBLISH, _SUBSCRIBE)),
    (0x11, "session_expiry_interval", _FOUR, (_CONNECT, _CONNACK, _DISCONNECT)),
    (0x12, "assigned_client_identifier", _STRING, (_CONNACK,)),
    (0x13, "server_keep_alive", _TWO, (_CONNACK,)),
    (0x15, "authentication_method", _STRING, (_CONNECT, _CONNACK, _AUTH)),
    (0x16, "authentication_data", _BINARY, (_CONNECT, _CONNACK, _AUTH)),
    (0x17, "request_problem_information", _BYTE, (_CONNECT,)),
    (0x18, "will_delay_interval", _FOUR, (WILL,)),
    (0x19, "request_response_information", _BYTE, (_CONNECT,)),
    (0x1A, "response_information", _STRING, (_CONNACK,)),
    (0x1C, "server_reference", _STRING, (_CONNACK, _DISCONNECT)),
    (0x1F, "reason_string", _STRING, (_CONNACK, *_ACKS, _DISCONNECT, _AUTH)),
    (0x21, "receive_maximum", _TWO, (_CONNECT, _CONNACK)),
    (0x22, "topic_alias_maximum", _TWO, (_CONNECT, _CONNACK)),
    (0x23, "topic_alias", _TWO, (_PUBLISH,)),
    (0x24, "maximum_qos", _BYTE, (_CONNACK,)),
    (0x25, "retain_available", _BYTE, (_CONNACK,)),
    (
        0x26,
        "user_property",
        _PAIR,
        (_CONNECT, _CONNACK, _PUBLISH, WILL, _SUBSCRIBE, PacketType.UNSUBSCRIBE, *_ACKS, _DISCONNECT, _AUTH),
    ),
    (0x27, "maximum_packet_size", _FOUR, (_CONNECT, _CONNACK)),
    (0x28, "wildcard_subscription_available", _BYTE, (_CONNACK,)),
    (0x29, "subscription_identifier_available", _BYTE, (_CONNACK,)),
    (0x2A, "shared_subscription_available", _BYTE, (_CONNACK,)),
)

_NAMES: Final[list[str]] = [""] * 0x2B
_TYPES: Final[list[int]] = [_BYTE] * 0x2B
_PACKETS: Final[list[int]] = [0] * 0x2B
_IDENTIFIERS: Final[dict[str, int]] = {}
for _identifier, _name, _type, _packets in _TABLE:
    _NAMES[_identifier] = _name
    _TYPES[_identifier] = _type
    _PACKETS[_identifier] = sum(1 << packet_type for packet_type in _packets)
    _IDENTIFIERS[_name] = _identifier

_NOT_ZERO: Final = frozenset((0x0B, 0x21, 0x27))  # v5.0 sections 3.8.2.1.2, 3.1.2.11.3, 3.1.2.11.4
_RESPONSE_TOPIC: Final = 0x08
_SUBSCRIPTION_IDENTIFIER: Final = 0x0B
_SESSION_EXPIRY_INTERVAL: Final = 0x11
_TOPIC_ALIAS: Final = 0x23
_USER_PROPERTY: Final = 0x26
_REPEATABLE: Final = (_USER_PROPERTY, _SUBSCRIPTION_IDENTIFIER)


def property_type(name: str) -> str:
    """The representation of a property by its name in :class:`Properties`, for listings and tests."""
    words = ("byte", "two byte integer", "four byte integer", "variable byte integer", "string", "binary", "pair")
    return words[_TYPES[_IDENTIFIERS[name]]]


def _packet_name(packet_type: int) -> str:
    return "Will Properties" if packet_type == WILL else PacketType(packet_type).name


def decode_properties(data: bytes, position: int, packet_type: int, from_client: bool = True) -> tuple[Properties, int]:
    """Read a Property Length and the properties behind it.

    Args:
        data: the packet without its fixed header.
        position: where the Property Length begins.
        packet_type: the packet they stand in, or :data:`WILL`.
        from_client: which end sent them.

    Returns:
        The properties and the position behind them.

    Raises:
        MalformedPacket: truncated, of unknown identifier, or misplaced.
        ProtocolError: twice where once is allowed, a forbidden value, or not for this sender.
        TopicAliasInvalid: a Topic Alias of 0.
        TopicNameInvalid: a Response Topic that is no Topic Name.
        PacketTooLarge: more than :data:`MAX_USER_PROPERTIES` User Properties.
    """
    length, position = read_variable_byte_integer(data, position)
    end = position + length
    if end > len(data):
        raise MalformedPacket("the Property Length reaches behind the end of the packet; correct it")
    values: dict[str, Any] = {}
    if not length:
        return cast(Properties, values), position
    # What follows the properties must not be read as one of them.
    section = data[:end]
    while position < end:
        identifier, position = read_variable_byte_integer(section, position)
        if identifier > 0x2A or not _PACKETS[identifier] >> packet_type & 1:
            # v5.0 section 2.2.2.2
            raise MalformedPacket(
                f"property 0x{identifier:02X} may not stand in {_packet_name(packet_type)}; remove it"
            )
        value, position = _read_value(section, position, _TYPES[identifier])
        _check_value(identifier, value)
        _store(values, identifier, value, packet_type, from_client)
    return cast(Properties, values), end


def _read_value(data: bytes, position: int, kind: int) -> tuple[Any, int]:
    if kind == _STRING:
        return read_string(data, position)
    if kind == _PAIR:
        name, position = read_string(data, position)
        value, position = read_string(data, position)
        return (name, value), position
    if kind == _BYTE:
        return read_byte(data, position)
    if kind == _TWO:
        return read_two_byte_integer(data, position)
    if kind == _FOUR:
        return read_four_byte_integer(data, position)
    if kind == _VARIABLE:
        return read_variable_byte_integer(data, position)
    return read_binary(data, position)


def _check_value(identifier: int, value: Any) -> None:
    """Refuse the values that the standard rules out. Every property of one byte is 0 or 1 (v5.0 section 2.2.2.2)."""
    if _TYPES[identifier] == _BYTE:
        if value not in (0, 1):
            raise ProtocolError(f"{_NAMES[identifier]} is {value}; send 0 or 1")
    elif identifier == _RESPONSE_TOPIC:
        check_topic_name(value)  # v5.0 [MQTT-3.3.2-14]
    elif value == 0:
        if identifier == _TOPIC_ALIAS:
            # v5.0 [MQTT-3.3.2-8]
            raise TopicAliasInvalid("a Topic Alias of 0; send 1 or more")
        if identifier in _NOT_ZERO:
            raise ProtocolError(f"{_NAMES[identifier]} is 0; send 1 or more, or leave it out")


def _store(values: dict[str, Any], identifier: int, value: Any, packet_type: int, from_client: bool) -> None:
    name = _NAMES[identifier]
    if identifier == _USER_PROPERTY:
        pairs = values.setdefault(name, [])
        if len(pairs) >= MAX_USER_PROPERTIES:
            raise PacketTooLarge(f"more than {MAX_USER_PROPERTIES} User Properties in one packet; send fewer")
        pairs.append(value)
    elif identifier == _SUBSCRIPTION_IDENTIFIER:
        if packet_type == _PUBLISH and from_client:
            # v5.0 [MQTT-3.3.4-6]
            raise ProtocolError("a client's PUBLISH may not carry a Subscription Identifier; remove it")
        if packet_type != _PUBLISH and name in values:
            raise ProtocolError(f"{name} stands twice in one packet; send it once")
        values.setdefault(name, []).append(value)
    elif name in values:
        # v5.0 section 2.2.2.2, and "more than once" under each property
        raise ProtocolError(f"{name} stands twice in one packet; send it once")
    elif identifier == _SESSION_EXPIRY_INTERVAL and packet_type == _DISCONNECT and not from_client:
        # v5.0 [MQTT-3.14.2-2]
        raise ProtocolError("a server's DISCONNECT may not carry a Session Expiry Interval")
    else:
        values[name] = value


def encode_properties(properties: Properties, packet_type: int) -> bytes:
    """Write a Property Length and the properties, in the order in which they stand in the dictionary.

    Args:
        properties: by name.
        packet_type: the packet they shall stand in, or :data:`WILL`.

    Raises:
        EncodeError: a property that is unknown, not for this packet, or of a forbidden value.
    """
    if not properties:
        return b"\0"
    items = encode_property_items(properties, packet_type)
    return encode_variable_byte_integer(len(items)) + items


def encode_property_items(properties: Properties, packet_type: int) -> bytes:
    """The same without the Property Length, for a sender that adds properties of its own."""
    parts: list[bytes] = []
    for name, value in properties.items():
        identifier = _IDENTIFIERS.get(name, 0)
        if not _PACKETS[identifier] >> packet_type & 1:
            raise EncodeError(f"property {name!r} may not stand in {_packet_name(packet_type)}; remove it")
        if identifier in _REPEATABLE:
            several = cast(list[Any], value)
            if identifier == _SUBSCRIPTION_IDENTIFIER and packet_type != _PUBLISH and len(several) > 1:
                raise EncodeError("a SUBSCRIBE carries one Subscription Identifier; remove the others")
            parts += [_encode_value(identifier, one) for one in several]
        else:
            parts.append(_encode_value(identifier, value))
    return b"".join(parts)


def _encode_value(identifier: int, value: Any) -> bytes:
    try:
        _check_value(identifier, value)
    except MqttError as error:
        raise EncodeError(str(error)) from error
    head = bytes((identifier,))
    kind = _TYPES[identifier]
    if kind == _STRING:
        return head + encode_string(value)
    if kind == _PAIR:
        return head + encode_string(value[0]) + encode_string(value[1])
    if kind == _BYTE:
        return head + bytes((value,))
    if kind == _TWO:
        return head + encode_two_byte_integer(value)
    if kind == _FOUR:
        return head + encode_four_byte_integer(value)
    if kind == _VARIABLE:
        return head + encode_variable_byte_integer(value)
    return head + encode_binary(value)
