# -*- test-case-name: tests.wire.test_encoder -*-
"""Packets to bytes: whole packets, and the parts from which a sender shares one PUBLISH among many receivers.

On the path of each message.

What the standard forbids is an :class:`~mqttsecure.errors.EncodeError`, a bug of the caller. In 3.x properties and
Reason Codes of acknowledgements have no place on the wire and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from mqttsecure.errors import EncodeError, MqttError
from mqttsecure.wire.connect import encode_connect
from mqttsecure.wire.constants import MAX_PACKET_IDENTIFIER, MQTT_3_1, MQTT_5_0, PacketType
from mqttsecure.wire.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
)
from mqttsecure.wire.primitives import encode_binary, encode_string, encode_variable_byte_integer
from mqttsecure.wire.properties import WILL, encode_properties, encode_property_items
from mqttsecure.wire.rules import CONNACK_RETURN_CODES, FIXED_FLAGS, REASON_CODES
from mqttsecure.wire.topics import check_topic_filter, check_topic_name, is_shared

__all__ = [
    "WILL",
    "encode_binary",
    "encode_packet",
    "encode_packet_id",
    "encode_properties",
    "encode_property_items",
    "encode_remaining_length",
    "encode_string",
    "encode_variable_byte_integer",
    "publish_first_byte",
    "publish_head",
]

_VERSIONS: Final = (3, 4, 5)
_MAY_OMIT_PROPERTIES: Final = frozenset((Puback, Pubrec, Pubrel, Pubcomp, Disconnect, Auth))


def encode_packet(packet: Packet, version: int, *, shortest: bool = False) -> bytes:
    """Encode a packet with its fixed header.

    Args:
        packet: any; a CONNECT is written in its own ``protocol_version``.
        version: 3, 4 or 5.
        shortest: leave out a Property Length of 0 where the standard allows it (v5.0 sections 3.4.2.2.1, 3.14.2.2.1).

    Raises:
        EncodeError: the standard forbids it, or a field holds another type than it is declared with.
    """
    encode = _ENCODERS.get(type(packet))
    if encode is None or version not in _VERSIONS:
        raise EncodeError(f"cannot encode {type(packet).__name__} in version {version!r}; use 3, 4 or 5")
    try:
        first_byte, parts = encode(packet, version)
        if shortest and parts and parts[-1] == b"\0" and type(packet) in _MAY_OMIT_PROPERTIES:
            del parts[-1]
        # The length is checked before the parts are joined, so that an oversized payload is not copied first.
        length = sum(map(len, parts))
        return b"".join((publish_head(first_byte, length), *parts))
    except (TypeError, AttributeError) as error:
        raise EncodeError(f"a field of {type(packet).__name__} has the wrong type: {error}") from error


def encode_remaining_length(n: int) -> bytes:
    """Write a Remaining Length."""
    return encode_variable_byte_integer(n)


def encode_packet_id(packet_id: int) -> bytes:
    """Write a Packet Identifier, which is never 0."""
    if not 0 < packet_id <= MAX_PACKET_IDENTIFIER:
        # v5.0 [MQTT-2.2.1-3]
        raise EncodeError(f"{packet_id} is no Packet Identifier; use 1 to {MAX_PACKET_IDENTIFIER}")
    return packet_id.to_bytes(2, "big")


def publish_first_byte(qos: int, retain: bool, dup: bool) -> int:
    """The first byte of a PUBLISH."""
    if qos not in (0, 1, 2) or (dup and not qos):
        # v5.0 [MQTT-3.3.1-4], [MQTT-3.3.1-2]
        raise EncodeError(f"PUBLISH with QoS {qos} and DUP {dup}; use QoS 0, 1 or 2, and DUP with the latter two")
    return 0x30 | (8 if dup else 0) | qos << 1 | (1 if retain else 0)


def publish_head(first_byte: int, remaining_length: int) -> bytes:
    """The fixed header: for senders that put a PUBLISH together from shared parts."""
    if remaining_length < 0x80:
        return bytes((first_byte, remaining_length))
    return bytes((first_byte,)) + encode_variable_byte_integer(remaining_length)


def _head(packet_type: int) -> int:
    return packet_type << 4 | FIXED_FLAGS[packet_type]


def _check_reason_codes(packet_type: PacketType, reason_codes: Iterable[int]) -> None:
    if not REASON_CODES[packet_type].issuperset(reason_codes):
        raise EncodeError(f"{packet_type.name} may not carry one of its Reason Codes; see v5.0 section 2.4")


def _encode_connect(packet: Connect, version: int) -> tuple[int, list[bytes]]:
    return _head(PacketType.CONNECT), [encode_connect(packet)]


def _encode_connack(packet: Connack, version: int) -> tuple[int, list[bytes]]:
    if packet.session_present and packet.reason_code:
        # v5.0 [MQTT-3.2.2-6], v3.1.1 [MQTT-3.2.2-4]
        raise EncodeError("CONNACK with a refusal and Session Present; clear Session Present")
    # 3.1 has no Session Present.
    flags = 1 if packet.session_present and version != MQTT_3_1 else 0
    if version == MQTT_5_0:
        _check_reason_codes(PacketType.CONNACK, (packet.reason_code,))
        properties = encode_properties(packet.properties, PacketType.CONNACK)
        return _head(PacketType.CONNACK), [bytes((flags, packet.reason_code)), properties]
    if packet.reason_code not in CONNACK_RETURN_CODES:
        raise EncodeError(f"CONNACK with return code {packet.reason_code}; use 0 to 5, see connack_return_code")
    return _head(PacketType.CONNACK), [bytes((flags, packet.reason_code))]


def _encode_publish(packet: Publish, version: int) -> tuple[int, list[bytes]]:
    first_byte = publish_first_byte(packet.qos, packet.retain, packet.dup)
    if packet.topic or version != MQTT_5_0:
        _check(check_topic_name, packet.topic)
    elif "topic_alias" not in packet.properties:
        raise EncodeError("PUBLISH with neither Topic Name nor Topic Alias; set one of them")
    parts = [encode_string(packet.topic)]
    if packet.qos:
        parts.append(encode_packet_id(packet.packet_id))
    elif packet.packet_id:
        # v5.0 [MQTT-2.2.1-2]
        raise EncodeError("PUBLISH of QoS 0 has no Packet Identifier; set it to 0")
    if version == MQTT_5_0:
        parts.append(encode_properties(packet.properties, PacketType.PUBLISH))
    parts.append(packet.payload)
    return first_byte, parts


def _check(check: Callable[[str], None], topic: str) -> None:
    try:
        check(topic)
    except MqttError as error:
        raise EncodeError(str(error)) from error


def _encode_ack(
    packet: Puback | Pubrec | Pubrel | Pubcomp, version: int, packet_type: PacketType
) -> tuple[int, list[bytes]]:
    parts = [encode_packet_id(packet.packet_id)]
    if version == MQTT_5_0 and (packet.reason_code or packet.properties):
        _check_reason_codes(packet_type, (packet.reason_code,))
        parts.append(bytes((packet.reason_code,)))
        parts.append(encode_properties(packet.properties, packet_type))
    return _head(packet_type), parts


def _encode_puback(packet: Puback, version: int) -> tuple[int, list[bytes]]:
    return _encode_ack(packet, version, PacketType.PUBACK)


def _encode_pubrec(packet: Pubrec, version: int) -> tuple[int, list[bytes]]:
    return _encode_ack(packet, version, PacketType.PUBREC)


def _encode_pubrel(packet: Pubrel, version: int) -> tuple[int, list[bytes]]:
    return _encode_ack(packet, version, PacketType.PUBREL)


def _encode_pubcomp(packet: Pubcomp, version: int) -> tuple[int, list[bytes]]:
    return _encode_ack(packet, version, PacketType.PUBCOMP)


def _identified(packet_id: int, properties: Properties, packet_type: int, version: int) -> list[bytes]:
    """The variable header of SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK."""
    parts = [encode_packet_id(packet_id)]
    if version == MQTT_5_0:
        parts.append(encode_properties(properties, packet_type))
    return parts


def _encode_subscribe(packet: Subscribe, version: int) -> tuple[int, list[bytes]]:
    if not packet.subscriptions:
        # v5.0 [MQTT-3.8.3-2]
        raise EncodeError("SUBSCRIBE without a Topic Filter; add one")
    parts = _identified(packet.packet_id, packet.properties, PacketType.SUBSCRIBE, version)
    for subscription in packet.subscriptions:
        _check(check_topic_filter, subscription.topic_filter)
        parts.append(encode_string(subscription.topic_filter))
        parts.append(bytes((_options(subscription, version),)))
    return _head(PacketType.SUBSCRIBE), parts


def _options(subscription: SubscriptionRequest, version: int) -> int:
    if subscription.qos not in (0, 1, 2) or subscription.retain_handling not in (0, 1, 2):
        raise EncodeError("a subscription's QoS and Retain Handling are 0, 1 or 2")
    if version != MQTT_5_0:
        return subscription.qos
    if subscription.no_local and is_shared(subscription.topic_filter):
        # v5.0 [MQTT-3.8.3-4]
        raise EncodeError("No Local on a shared subscription; clear it")
    options = subscription.qos | subscription.retain_handling << 4
    return options | (4 if subscription.no_local else 0) | (8 if subscription.retain_as_published else 0)


def _encode_suback(packet: Suback, version: int) -> tuple[int, list[bytes]]:
    _check_reason_codes(PacketType.SUBACK, packet.reason_codes)
    if not packet.reason_codes:
        raise EncodeError("SUBACK without a code; give one for each Topic Filter of the SUBSCRIBE")
    parts = _identified(packet.packet_id, packet.properties, PacketType.SUBACK, version)
    reason_codes = packet.reason_codes
    if version != MQTT_5_0:
        # v3.1.1 [MQTT-3.9.3-2]: the one failure code stands for all.
        reason_codes = [min(reason_code, 0x80) for reason_code in reason_codes]
    parts.append(bytes(reason_codes))
    return _head(PacketType.SUBACK), parts


def _encode_unsubscribe(packet: Unsubscribe, version: int) -> tuple[int, list[bytes]]:
    if not packet.topic_filters:
        # v5.0 [MQTT-3.10.3-2]
        raise EncodeError("UNSUBSCRIBE without a Topic Filter; add one")
    parts = _identified(packet.packet_id, packet.properties, PacketType.UNSUBSCRIBE, version)
    for topic_filter in packet.topic_filters:
        _check(check_topic_filter, topic_filter)
        parts.append(encode_string(topic_filter))
    return _head(PacketType.UNSUBSCRIBE), parts


def _encode_unsuback(packet: Unsuback, version: int) -> tuple[int, list[bytes]]:
    parts = _identified(packet.packet_id, packet.properties, PacketType.UNSUBACK, version)
    if version == MQTT_5_0:
        _check_reason_codes(PacketType.UNSUBACK, packet.reason_codes)
        if not packet.reason_codes:
            raise EncodeError("UNSUBACK without a code; give one for each Topic Filter of the UNSUBSCRIBE")
        parts.append(bytes(packet.reason_codes))
    return _head(PacketType.UNSUBACK), parts


def _encode_pingreq(packet: Pingreq, version: int) -> tuple[int, list[bytes]]:
    return _head(PacketType.PINGREQ), []


def _encode_pingresp(packet: Pingresp, version: int) -> tuple[int, list[bytes]]:
    return _head(PacketType.PINGRESP), []


def _encode_disconnect(packet: Disconnect, version: int) -> tuple[int, list[bytes]]:
    if version != MQTT_5_0:
        return _head(PacketType.DISCONNECT), []
    _check_reason_codes(PacketType.DISCONNECT, (packet.reason_code,))
    properties = encode_properties(packet.properties, PacketType.DISCONNECT)
    return _head(PacketType.DISCONNECT), [bytes((packet.reason_code,)), properties]


def _encode_auth(packet: Auth, version: int) -> tuple[int, list[bytes]]:
    if version != MQTT_5_0:
        raise EncodeError("AUTH does not exist before MQTT 5.0")
    _check_reason_codes(PacketType.AUTH, (packet.reason_code,))
    if packet.reason_code and "authentication_method" not in packet.properties:
        # v5.0 section 3.15.2.2.2
        raise EncodeError("AUTH without an Authentication Method; set the one of the CONNECT")
    properties = encode_properties(packet.properties, PacketType.AUTH)
    return _head(PacketType.AUTH), [bytes((packet.reason_code,)), properties]


_ENCODERS: Final[dict[type, Callable[[Any, int], tuple[int, list[bytes]]]]] = {
    Connect: _encode_connect,
    Connack: _encode_connack,
    Publish: _encode_publish,
    Puback: _encode_puback,
    Pubrec: _encode_pubrec,
    Pubrel: _encode_pubrel,
    Pubcomp: _encode_pubcomp,
    Subscribe: _encode_subscribe,
    Suback: _encode_suback,
    Unsubscribe: _encode_unsubscribe,
    Unsuback: _encode_unsuback,
    Pingreq: _encode_pingreq,
    Pingresp: _encode_pingresp,
    Disconnect: _encode_disconnect,
    Auth: _encode_auth,
}
