"""MQTT 5.0: a CONNECT that breaks a rule lets nobody in, and its sender learns why where it can."""

from __future__ import annotations

from typing import Final

from tests.system.conformance.case import Broken, ConformanceCase, instead_of_connect
from tests.system.conformance.client import binary, frame, text, two

MALFORMED: Final = 0x81
PROTOCOL_ERROR: Final = 0x82
TOPIC_NAME_INVALID: Final = 0x90

_ID: Final = text("c")


def _connect(
    flags: int = 2, properties: bytes = b"", payload: bytes = _ID, name: bytes = b"MQTT", level: int = 5
) -> bytes:
    return frame(0x10, binary(name), bytes((level, flags)), two(60), bytes((len(properties),)), properties, payload)


def _will(topic: bytes = b"\0\1w", properties: bytes = b"") -> bytes:
    return _ID + bytes((len(properties),)) + properties + topic + binary(b"x")


_CONNECTS: Final = (
    Broken("nothing_but_a_connect_first", "MQTT-3.1.0-1", frame(0xC0), None),
    Broken("a_publish_first", "MQTT-3.1.0-1", frame(0x30, text("t"), b"\0"), None),
    Broken("auth_first", "MQTT-3.1.0-1", frame(0xF0), None),
    Broken("disconnect_first", "MQTT-3.1.0-1", frame(0xE0), None),
    Broken("connect_with_fixed_header_flags", "MQTT-2.1.3-1", b"\x11" + _connect()[1:], MALFORMED),
    Broken("another_protocol_name", "MQTT-3.1.2-1", _connect(name=b"MQXX"), None),
    Broken("an_unknown_protocol_version", "MQTT-3.1.2-2", _connect(level=6), 0x84),
    Broken("a_far_protocol_version", "MQTT-3.1.2-2", _connect(level=99), 0x84),
    Broken("the_reserved_flag", "MQTT-3.1.2-3", _connect(flags=3), MALFORMED),
    Broken("will_qos_without_will_flag", "MQTT-3.1.2-11", _connect(flags=0x0A), MALFORMED),
    Broken("will_retain_without_will_flag", "MQTT-3.1.2-13", _connect(flags=0x22), MALFORMED),
    Broken("will_qos_3", "MQTT-3.1.2-12", _connect(flags=0x1E, payload=_will()), MALFORMED),
    Broken("will_flag_without_a_will", "MQTT-3.1.2-9", _connect(flags=6), MALFORMED),
    Broken("user_name_flag_without_a_user_name", "MQTT-3.1.2-17", _connect(flags=0x82), MALFORMED),
    Broken("password_flag_without_a_password", "MQTT-3.1.2-19", _connect(flags=0x42), MALFORMED),
    Broken("a_user_name_that_no_flag_announces", "MQTT-3.1.2-16", _connect(payload=_ID + text("u")), MALFORMED),
    Broken("no_client_identifier", "MQTT-3.1.3-3", _connect(payload=b""), MALFORMED),
    Broken("a_client_identifier_cut_short", "MQTT-3.1.3-4", _connect(payload=b"\0\5abc"), MALFORMED),
    Broken("a_client_identifier_that_is_not_utf_8", "MQTT-3.1.3-4", _connect(payload=binary(b"\xff\xfe")), MALFORMED),
    Broken("a_client_identifier_with_nul", "MQTT-1.5.4-2", _connect(payload=binary(b"a\0b")), MALFORMED),
    Broken(
        "a_client_identifier_with_a_surrogate", "MQTT-1.5.4-1", _connect(payload=binary(b"\xed\xa0\x80")), MALFORMED
    ),
    Broken("a_user_name_that_is_not_utf_8", "MQTT-3.1.3-12", _connect(0x82, payload=_ID + binary(b"\xc0")), MALFORMED),
    Broken("a_will_topic_that_is_not_utf_8", "MQTT-3.1.3-11", _connect(6, payload=_will(binary(b"\xc0"))), MALFORMED),
    Broken("a_will_topic_with_a_wildcard", "MQTT-4.7.0-1", _connect(6, payload=_will(text("a/#"))), TOPIC_NAME_INVALID),
    Broken("an_empty_will_topic", "MQTT-4.7.3-1", _connect(6, payload=_will(text(""))), TOPIC_NAME_INVALID),
    Broken("a_receive_maximum_of_0", "MQTT-3.1.2.11.3", _connect(properties=b"\x21\0\0"), PROTOCOL_ERROR),
    Broken("a_maximum_packet_size_of_0", "MQTT-3.1.2.11.4", _connect(properties=b"\x27\0\0\0\0"), PROTOCOL_ERROR),
    Broken("request_problem_information_2", "MQTT-3.1.2.11.7", _connect(properties=b"\x17\2"), PROTOCOL_ERROR),
    Broken("request_response_information_2", "MQTT-3.1.2.11.6", _connect(properties=b"\x19\2"), PROTOCOL_ERROR),
    Broken("two_session_expiry_intervals", "MQTT-3.1.2.11.2", _connect(properties=b"\x11\0\0\0\1" * 2), PROTOCOL_ERROR),
    Broken("two_receive_maximums", "MQTT-3.1.2.11.3", _connect(properties=b"\x21\0\1" * 2), PROTOCOL_ERROR),
    Broken("two_maximum_packet_sizes", "MQTT-3.1.2.11.4", _connect(properties=b"\x27\0\0\1\0" * 2), PROTOCOL_ERROR),
    Broken("two_topic_alias_maximums", "MQTT-3.1.2.11.5", _connect(properties=b"\x22\0\1" * 2), PROTOCOL_ERROR),
    Broken(
        "authentication_data_without_a_method", "MQTT-3.1.2.11.10", _connect(properties=b"\x16\0\1x"), PROTOCOL_ERROR
    ),
    Broken("a_property_that_does_not_exist", "MQTT-2.2.2.2", _connect(properties=b"\x04\0"), MALFORMED),
    Broken("a_property_of_another_packet", "MQTT-2.2.2.2", _connect(properties=b"\x23\0\1"), MALFORMED),
    Broken("a_property_cut_short", "MQTT-2.2.2.2", _connect(properties=b"\x21\0"), MALFORMED),
    Broken("a_user_property_that_is_not_utf_8", "MQTT-1.5.7-1", _connect(properties=b"\x26\0\1k\0\1\xff"), MALFORMED),
    Broken(
        "two_will_delays", "MQTT-3.1.3.2.2", _connect(6, payload=_will(properties=b"\x18\0\0\0\1" * 2)), PROTOCOL_ERROR
    ),
    Broken(
        "a_will_property_of_another_packet",
        "MQTT-3.1.3.2",
        _connect(6, payload=_will(properties=b"\x21\0\1")),
        MALFORMED,
    ),
    Broken("a_property_length_that_lies", "MQTT-2.2.2-1", frame(0x10, text("MQTT"), b"\5\2\0\x3c\x7f", _ID), MALFORMED),
    Broken(
        "a_property_length_of_five_bytes",
        "MQTT-1.5.5-1",
        frame(0x10, text("MQTT"), b"\5\2\0\x3c\x80\x80\x80\x80\1", _ID),
        MALFORMED,
    ),
    Broken("bytes_behind_the_connect", "MQTT-3.1.4-1", _connect(payload=_ID + b"\0"), MALFORMED),
    Broken("a_connect_of_nothing", "MQTT-3.1.4-1", frame(0x10), None),
    Broken("a_connect_that_ends_in_its_name", "MQTT-3.1.4-1", frame(0x10, b"\0\4MQ"), None),
    Broken("a_padded_remaining_length", "MQTT-1.5.5-1", b"\x10\x8e\0" + _connect()[2:], MALFORMED),
    Broken("a_remaining_length_of_five_bytes", "MQTT-1.5.5-1", b"\x10\xff\xff\xff\xff\1", None),
)


@instead_of_connect(_CONNECTS)
class ConnectTests(ConformanceCase):
    """A CONNECT that breaks a rule is answered by CONNACK where it can be, and never let in."""
