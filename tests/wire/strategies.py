"""Hypothesis strategies for every packet type, valid in a given version and from a given end."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mqttsecure.wire import packets
from mqttsecure.wire.constants import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, PacketType
from mqttsecure.wire.packets import Packet
from mqttsecure.wire.properties import WILL
from mqttsecure.wire.rules import (
    CONNACK_RETURN_CODES,
    REASON_CODES,
    REASON_CODES_OF_CLIENT_ONLY,
    REASON_CODES_OF_SERVER_ONLY,
    SUBACK_RETURN_CODES,
)

VERSIONS = (MQTT_3_1, MQTT_3_1_1, MQTT_5_0)

text = st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
octets = st.binary(max_size=12)
packet_id = st.integers(1, 65535)
topic_name = st.text(
    alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0+#"), min_size=1, max_size=12
)
_inner_filter = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(st.sampled_from(["a", "é", "$x", "", "+"]), max_size=4),
    st.sampled_from([["a"], ["#"], ["+"]]),
)
topic_filter = _inner_filter | st.builds(lambda inner: "$share/group/" + inner, _inner_filter)

_BIT = st.integers(0, 1)
_TWO = st.integers(0, 0xFFFF)
_TWO_NOT_ZERO = st.integers(1, 0xFFFF)
_FOUR = st.integers(0, 0xFFFF_FFFF)
_USER = st.lists(st.tuples(text, text), min_size=1, max_size=3)
_REASON: dict[str, Any] = {"reason_string": text, "user_property": _USER}
_AUTHENTICATION: dict[str, Any] = {"authentication_data": octets}
_MESSAGE: dict[str, Any] = {
    "payload_format_indicator": _BIT,
    "message_expiry_interval": _FOUR,
    "content_type": text,
    "response_topic": topic_name,
    "correlation_data": octets,
    "user_property": _USER,
}
_IDENTIFIERS = st.lists(st.integers(1, 268_435_455), min_size=1, max_size=3)

PROPERTIES: dict[int, dict[str, Any]] = {
    WILL: {**_MESSAGE, "will_delay_interval": _FOUR},
    PacketType.CONNECT: {
        "session_expiry_interval": _FOUR,
        "receive_maximum": _TWO_NOT_ZERO,
        "maximum_packet_size": st.integers(1, 0xFFFF_FFFF),
        "topic_alias_maximum": _TWO,
        "request_response_information": _BIT,
        "request_problem_information": _BIT,
        "user_property": _USER,
        "authentication_method": text,
    },
    PacketType.CONNACK: {
        **_REASON,
        **_AUTHENTICATION,
        "session_expiry_interval": _FOUR,
        "receive_maximum": _TWO_NOT_ZERO,
        "maximum_qos": _BIT,
        "retain_available": _BIT,
        "maximum_packet_size": st.integers(1, 0xFFFF_FFFF),
        "assigned_client_identifier": text,
        "topic_alias_maximum": _TWO,
        "wildcard_subscription_available": _BIT,
        "subscription_identifier_available": _BIT,
        "shared_subscription_available": _BIT,
        "server_keep_alive": _TWO,
        "response_information": text,
        "server_reference": text,
        "authentication_method": text,
    },
    PacketType.PUBLISH: {**_MESSAGE, "topic_alias": _TWO_NOT_ZERO},
    PacketType.SUBSCRIBE: {
        "subscription_identifier": st.lists(st.integers(1, 268_435_455), min_size=1, max_size=1),
        "user_property": _USER,
    },
    PacketType.UNSUBSCRIBE: {"user_property": _USER},
    PacketType.DISCONNECT: {**_REASON, "server_reference": text},
    PacketType.AUTH: {**_REASON, **_AUTHENTICATION},
}


def properties(packet_type: int, version: int, **more: Any) -> st.SearchStrategy[Any]:
    """Any legal selection of the properties of a packet; none before 5.0. ``more`` are in each selection."""
    if version != MQTT_5_0:
        return st.just({})
    return st.fixed_dictionaries(more, optional=PROPERTIES.get(packet_type, _REASON))


def reason_code(packet_type: int, from_client: bool) -> st.SearchStrategy[int]:
    """A Reason Code that this end may send in this packet."""
    others = REASON_CODES_OF_SERVER_ONLY if from_client else REASON_CODES_OF_CLIENT_ONLY
    return st.sampled_from(sorted(REASON_CODES[packet_type] - others.get(packet_type, frozenset())))


def _will(version: int) -> st.SearchStrategy[packets.Will]:
    qos = st.integers(0, 2)
    return st.builds(packets.Will, topic_name, octets, qos, st.booleans(), properties(WILL, version))


@st.composite
def connects(draw: st.DrawFn, version: int) -> packets.Connect:
    """Any legal CONNECT."""
    clean_start = draw(st.booleans())
    client_id = draw(text)
    if not client_id and (version == MQTT_3_1 or (version == MQTT_3_1_1 and not clean_start)):
        client_id = "c"
    username = draw(st.none() | text)
    password = draw(st.none() | octets) if username is not None or version == MQTT_5_0 else None
    return packets.Connect(
        version,
        client_id,
        clean_start,
        draw(_TWO),
        username,
        password,
        draw(st.none() | _will(version)),
        draw(properties(PacketType.CONNECT, version)),
        draw(st.booleans()) if version != MQTT_5_0 else False,
    )


@st.composite
def connacks(draw: st.DrawFn, version: int) -> packets.Connack:
    """Any legal CONNACK."""
    if version == MQTT_5_0:
        code = draw(reason_code(PacketType.CONNACK, False))
    else:
        code = draw(st.sampled_from(sorted(CONNACK_RETURN_CODES)))
    session_present = draw(st.booleans()) if not code and version != MQTT_3_1 else False
    return packets.Connack(session_present, code, draw(properties(PacketType.CONNACK, version)))


@st.composite
def publishes(draw: st.DrawFn, version: int, from_client: bool) -> packets.Publish:
    """Any legal PUBLISH."""
    qos = draw(st.integers(0, 2))
    carried = draw(properties(PacketType.PUBLISH, version))
    if version == MQTT_5_0 and not from_client and draw(st.booleans()):
        carried["subscription_identifier"] = draw(_IDENTIFIERS)
    return packets.Publish(
        "" if "topic_alias" in carried and draw(st.booleans()) else draw(topic_name),
        draw(st.binary(max_size=300)),
        qos,
        draw(st.booleans()),
        draw(st.booleans()) if qos else False,
        draw(packet_id) if qos else 0,
        carried,
    )


def _acks(kind: Any, packet_type: int, version: int, from_client: bool) -> st.SearchStrategy[Any]:
    code = reason_code(packet_type, from_client) if version == MQTT_5_0 else st.just(0)
    return st.builds(kind, packet_id, code, properties(packet_type, version))


def _subscription(version: int) -> st.SearchStrategy[packets.SubscriptionRequest]:
    if version != MQTT_5_0:
        return st.builds(packets.SubscriptionRequest, topic_filter, st.integers(0, 2))
    return st.builds(
        lambda name, qos, no_local, retained, handling: packets.SubscriptionRequest(
            name, qos, no_local and not name.startswith("$share/"), retained, handling
        ),
        topic_filter,
        st.integers(0, 2),
        st.booleans(),
        st.booleans(),
        st.integers(0, 2),
    )


def _from_one_end(version: int, from_client: bool) -> list[st.SearchStrategy[Any]]:
    filters = st.lists(topic_filter, min_size=1, max_size=4)
    if from_client:
        return [
            connects(version),
            st.builds(
                packets.Subscribe,
                packet_id,
                st.lists(_subscription(version), min_size=1, max_size=4),
                properties(PacketType.SUBSCRIBE, version),
            ),
            st.builds(packets.Unsubscribe, packet_id, filters, properties(PacketType.UNSUBSCRIBE, version)),
            st.builds(packets.Pingreq),
        ]
    subacks = sorted(REASON_CODES[PacketType.SUBACK] if version == MQTT_5_0 else SUBACK_RETURN_CODES)
    codes = st.lists(st.sampled_from(subacks), min_size=1, max_size=4)
    unsubacks = st.lists(st.sampled_from(sorted(REASON_CODES[PacketType.UNSUBACK])), min_size=1, max_size=4)
    return [
        connacks(version),
        st.builds(packets.Suback, packet_id, codes, properties(PacketType.SUBACK, version)),
        st.builds(
            packets.Unsuback,
            packet_id,
            unsubacks if version == MQTT_5_0 else st.just([]),
            properties(PacketType.UNSUBACK, version),
        ),
        st.builds(packets.Pingresp),
    ]


def any_packet(version: int, from_client: bool) -> st.SearchStrategy[Packet]:
    """Any packet that this end may send in this version."""
    found = [publishes(version, from_client), *_from_one_end(version, from_client)]
    found += [
        _acks(kind, packet_type, version, from_client)
        for kind, packet_type in (
            (packets.Puback, PacketType.PUBACK),
            (packets.Pubrec, PacketType.PUBREC),
            (packets.Pubrel, PacketType.PUBREL),
            (packets.Pubcomp, PacketType.PUBCOMP),
        )
    ]
    if version == MQTT_5_0:
        disconnect = reason_code(PacketType.DISCONNECT, from_client)
        found.append(st.builds(packets.Disconnect, disconnect, properties(PacketType.DISCONNECT, version)))
        auth = reason_code(PacketType.AUTH, from_client)
        method = properties(PacketType.AUTH, version, authentication_method=text)
        found.append(st.builds(packets.Auth, auth, method))
    elif from_client:
        found.append(st.builds(packets.Disconnect))
    return st.one_of(found)
