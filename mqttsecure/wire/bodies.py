# -*- test-case-name: tests.wire.test_bodies -*-
"""What stands behind the fixed header, packet type by packet type, from bytes to packets.

On the path of each message.

The fixed header was judged before (:func:`mqttsecure.wire.rules.check_first_byte`). What is wrong is told by the
exception's class, which carries the Reason Code (v5.0 section 4.13): bytes that cannot be parsed are malformed, what
parses and is not allowed is a protocol error, and where the standard has a code of its own for a fault, it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mqttsecure.errors import MalformedPacket, ProtocolError
from mqttsecure.wire.connect import decode_connect
from mqttsecure.wire.constants import MQTT_5_0, PacketType
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
from mqttsecure.wire.primitives import read_string, read_two_byte_integer
from mqttsecure.wire.properties import decode_properties
from mqttsecure.wire.rules import (
    CONNACK_RETURN_CODES,
    REASON_CODES,
    SUBACK_RETURN_CODES,
    check_reason_code,
)
from mqttsecure.wire.topics import check_topic_filter, check_topic_name, is_shared

__all__ = ["DECODERS", "decode_publish"]

_PUBLISH: Final = int(PacketType.PUBLISH)
_SUBSCRIBE: Final = int(PacketType.SUBSCRIBE)
_UNSUBSCRIBE: Final = int(PacketType.UNSUBSCRIBE)
_DISCONNECT: Final = int(PacketType.DISCONNECT)
_AUTH: Final = int(PacketType.AUTH)


def _end(body: bytes, position: int) -> None:
    if position != len(body):
        raise MalformedPacket(
            f"{len(body) - position} bytes too many at the packet's end; correct its Remaining Length"
        )


def _packet_id(body: bytes, position: int) -> tuple[int, int]:
    packet_id, position = read_two_byte_integer(body, position)
    if not packet_id:
        # v5.0 [MQTT-2.2.1-3], [MQTT-2.2.1-4]; v3.1.1 [MQTT-2.3.1-1]
        raise ProtocolError("the Packet Identifier is 0; use 1 to 65535")
    return packet_id, position


def decode_publish(first_byte: int, body: bytes, version: int, from_client: bool) -> Publish:
    topic, position = read_string(body, 0)
    qos = first_byte >> 1 & 3
    packet_id = 0
    if qos:
        packet_id, position = _packet_id(body, position)
    if version == MQTT_5_0:
        properties, position = decode_properties(body, position, _PUBLISH, from_client)
    else:
        properties = Properties()
    if "+" in topic or "#" in topic or not topic:
        _check_publish_topic(topic, version, properties)
    return Publish(
        topic,
        body[position:],
        qos,
        first_byte & 1 == 1,
        # In 3.1 the flag says nothing about QoS 0.
        qos > 0 and first_byte & 8 == 8,
        packet_id,
        properties,
    )


def _check_publish_topic(topic: str, version: int, properties: Properties) -> None:
    if topic or version != MQTT_5_0:
        check_topic_name(topic)
    elif "topic_alias" not in properties:
        # v5.0 section 3.3.2.1
        raise ProtocolError("PUBLISH with neither Topic Name nor Topic Alias; send one of them")


def _decode_connect(body: bytes, version: int, from_client: bool) -> Connect:
    return decode_connect(body)


def _decode_connack(body: bytes, version: int, from_client: bool) -> Connack:
    if len(body) < 2:
        raise MalformedPacket("CONNACK without Connect Acknowledge Flags and code; send both")
    if body[0] > 1:
        # v5.0 [MQTT-3.2.2-1]
        raise MalformedPacket("CONNACK with reserved flags set; clear them")
    session_present = body[0] == 1
    reason_code = body[1]
    properties = Properties()
    # A server of 3.1.1 answers a CONNECT of 5.0 in its own form, without properties, mostly with return code 1.
    if version != MQTT_5_0 or len(body) == 2:
        if reason_code not in CONNACK_RETURN_CODES:
            raise ProtocolError(f"CONNACK with the return code {reason_code}; use 0 to 5")
        _end(body, 2)
    else:
        check_reason_code(PacketType.CONNACK, reason_code, from_client)
        properties, position = decode_properties(body, 2, PacketType.CONNACK, from_client)
        _end(body, position)
    if session_present and reason_code:
        # v5.0 [MQTT-3.2.2-6], v3.1.1 [MQTT-3.2.2-4]
        raise ProtocolError("CONNACK with a refusal and Session Present; clear Session Present")
    return Connack(session_present, reason_code, properties)


def _reason_and_properties(body: bytes, position: int, packet_type: int, from_client: bool) -> tuple[int, Properties]:
    """Read the Reason Code and the properties of a packet that may leave out both, or the properties."""
    length = len(body)
    reason_code = 0
    properties = Properties()
    if position < length:
        reason_code = body[position]
        position += 1
        if position < length:
            properties, position = decode_properties(body, position, packet_type, from_client)
            _end(body, position)
    check_reason_code(packet_type, reason_code, from_client)
    return reason_code, properties


def _decode_ack(body: bytes, version: int, from_client: bool, packet_type: int) -> tuple[int, int, Properties]:
    packet_id, position = _packet_id(body, 0)
    if len(body) == 2:
        return packet_id, 0, Properties()
    if version != MQTT_5_0:
        _end(body, position)
    reason_code, properties = _reason_and_properties(body, position, packet_type, from_client)
    return packet_id, reason_code, properties


def _decode_puback(body: bytes, version: int, from_client: bool) -> Puback:
    packet_id, reason_code, properties = _decode_ack(body, version, from_client, PacketType.PUBACK)
    return Puback(packet_id, reason_code, properties)


def _decode_pubrec(body: bytes, version: int, from_client: bool) -> Pubrec:
    packet_id, reason_code, properties = _decode_ack(body, version, from_client, PacketType.PUBREC)
    return Pubrec(packet_id, reason_code, properties)


def _decode_pubrel(body: bytes, version: int, from_client: bool) -> Pubrel:
    packet_id, reason_code, properties = _decode_ack(body, version, from_client, PacketType.PUBREL)
    return Pubrel(packet_id, reason_code, properties)


def _decode_pubcomp(body: bytes, version: int, from_client: bool) -> Pubcomp:
    packet_id, reason_code, properties = _decode_ack(body, version, from_client, PacketType.PUBCOMP)
    return Pubcomp(packet_id, reason_code, properties)


def _identified(body: bytes, version: int, packet_type: int, from_client: bool) -> tuple[int, Properties, int]:
    """Read the variable header of SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK."""
    packet_id, position = _packet_id(body, 0)
    if version != MQTT_5_0:
        return packet_id, Properties(), position
    properties, position = decode_properties(body, position, packet_type, from_client)
    return packet_id, properties, position


def _decode_subscribe(body: bytes, version: int, from_client: bool) -> Subscribe:
    packet_id, properties, position = _identified(body, version, _SUBSCRIBE, from_client)
    length = len(body)
    if position == length:
        # v5.0 [MQTT-3.8.3-2], v3.1.1 [MQTT-3.8.3-3]
        raise ProtocolError("SUBSCRIBE without a Topic Filter; send at least one")
    subscriptions: list[SubscriptionRequest] = []
    while position < length:
        topic_filter, position = read_string(body, position)
        if position == length:
            raise MalformedPacket("SUBSCRIBE ends before the options of its last Topic Filter; send them")
        subscriptions.append(_subscription(topic_filter, body[position], version))
        position += 1
    return Subscribe(packet_id, subscriptions, properties)


def _subscription(topic_filter: str, options: int, version: int) -> SubscriptionRequest:
    check_topic_filter(topic_filter)
    if options < 3:
        return SubscriptionRequest(topic_filter, options)
    if options & (0xC0 if version == MQTT_5_0 else 0xFC):
        # v5.0 [MQTT-3.8.3-5], v3.1.1 [MQTT-3.8.3-4]
        raise MalformedPacket("SUBSCRIBE with reserved bits set in its options; clear them")
    qos = options & 3
    if qos == 3:
        if version != MQTT_5_0:
            # v3.1.1 [MQTT-3.8.3-4]
            raise MalformedPacket("SUBSCRIBE with QoS 3; use 0, 1 or 2")
        # v5.0 section 3.8.3.1 calls it a protocol error, unlike the QoS 3 of a PUBLISH.
        raise ProtocolError("SUBSCRIBE with a Maximum QoS of 3; use 0, 1 or 2")
    retain_handling = options >> 4
    if retain_handling == 3:
        # v5.0 section 3.8.3.1
        raise ProtocolError("SUBSCRIBE with a Retain Handling of 3; use 0, 1 or 2")
    no_local = options & 4 == 4
    if no_local and is_shared(topic_filter):
        # v5.0 [MQTT-3.8.3-4]
        raise ProtocolError("SUBSCRIBE with No Local on a shared subscription; clear it")
    return SubscriptionRequest(topic_filter, qos, no_local, options & 8 == 8, retain_handling)


def _decode_unsubscribe(body: bytes, version: int, from_client: bool) -> Unsubscribe:
    packet_id, properties, position = _identified(body, version, _UNSUBSCRIBE, from_client)
    length = len(body)
    if position == length:
        # v5.0 [MQTT-3.10.3-2], v3.1.1 [MQTT-3.10.3-2]
        raise ProtocolError("UNSUBSCRIBE without a Topic Filter; send at least one")
    topic_filters: list[str] = []
    while position < length:
        topic_filter, position = read_string(body, position)
        check_topic_filter(topic_filter)
        topic_filters.append(topic_filter)
    return Unsubscribe(packet_id, topic_filters, properties)


def _decode_suback(body: bytes, version: int, from_client: bool) -> Suback:
    packet_id, properties, position = _identified(body, version, PacketType.SUBACK, from_client)
    reason_codes = list(body[position:])
    allowed = REASON_CODES[PacketType.SUBACK] if version == MQTT_5_0 else SUBACK_RETURN_CODES
    if not reason_codes or not allowed.issuperset(reason_codes):
        # v5.0 [MQTT-3.9.3-2], v3.1.1 [MQTT-3.9.3-2]
        raise ProtocolError("SUBACK without a code, or with one that it may not carry; see v5.0 section 3.9.3")
    return Suback(packet_id, reason_codes, properties)


def _decode_unsuback(body: bytes, version: int, from_client: bool) -> Unsuback:
    packet_id, properties, position = _identified(body, version, PacketType.UNSUBACK, from_client)
    if version != MQTT_5_0:
        _end(body, position)
        return Unsuback(packet_id)
    reason_codes = list(body[position:])
    if not reason_codes or not REASON_CODES[PacketType.UNSUBACK].issuperset(reason_codes):
        # v5.0 [MQTT-3.11.3-2]
        raise ProtocolError("UNSUBACK without a code, or with one that it may not carry; see v5.0 section 3.11.3")
    return Unsuback(packet_id, reason_codes, properties)


def _decode_pingreq(body: bytes, version: int, from_client: bool) -> Pingreq:
    _end(body, 0)
    return Pingreq()


def _decode_pingresp(body: bytes, version: int, from_client: bool) -> Pingresp:
    _end(body, 0)
    return Pingresp()


def _decode_disconnect(body: bytes, version: int, from_client: bool) -> Disconnect:
    if version != MQTT_5_0:
        _end(body, 0)
        return Disconnect()
    reason_code, properties = _reason_and_properties(body, 0, _DISCONNECT, from_client)
    return Disconnect(reason_code, properties)


def _decode_auth(body: bytes, version: int, from_client: bool) -> Auth:
    reason_code, properties = _reason_and_properties(body, 0, _AUTH, from_client)
    if reason_code and "authentication_method" not in properties:
        # v5.0 section 3.15.2.2.2; section 3.15.2.1 lets a server's Success go without.
        raise ProtocolError("AUTH without an Authentication Method; send the one of the CONNECT")
    return Auth(reason_code, properties)


DECODERS: Final[dict[int, Callable[[bytes, int, bool], Packet]]] = {
    # PUBLISH needs its flags too, see decode_publish.
    PacketType.CONNECT: _decode_connect,
    PacketType.CONNACK: _decode_connack,
    PacketType.PUBACK: _decode_puback,
    PacketType.PUBREC: _decode_pubrec,
    PacketType.PUBREL: _decode_pubrel,
    PacketType.PUBCOMP: _decode_pubcomp,
    PacketType.SUBSCRIBE: _decode_subscribe,
    PacketType.SUBACK: _decode_suback,
    PacketType.UNSUBSCRIBE: _decode_unsubscribe,
    PacketType.UNSUBACK: _decode_unsuback,
    PacketType.PINGREQ: _decode_pingreq,
    PacketType.PINGRESP: _decode_pingresp,
    PacketType.DISCONNECT: _decode_disconnect,
    PacketType.AUTH: _decode_auth,
}
