"""MQTT 3.1.1: packets that break a rule end the connection, without a word but for the few that CONNACK knows."""

from __future__ import annotations

from typing import Final

from tests.system.conformance.case import Broken, ConformanceCase, after_connack, instead_of_connect
from tests.system.conformance.client import binary, frame, text, two

_ID: Final = text("c")


def _connect(flags: int = 2, payload: bytes = _ID, name: bytes = b"MQTT", level: int = 4) -> bytes:
    return frame(0x10, binary(name), bytes((level, flags)), two(60), payload)


_CONNECTS: Final = (
    Broken("a_publish_first", "MQTT-3.1.0-1", frame(0x30, text("t")), None),
    Broken("a_ping_first", "MQTT-3.1.0-1", frame(0xC0), None),
    Broken("a_subscribe_first", "MQTT-3.1.0-1", frame(0x82, b"\0\1", text("t"), b"\0"), None),
    Broken("another_protocol_name", "MQTT-3.1.2-1", _connect(name=b"mqtt"), None),
    Broken("an_empty_protocol_name", "MQTT-3.1.2-1", _connect(name=b""), None),
    Broken("an_unknown_protocol_level", "MQTT-3.1.2-2", _connect(level=2), 1),
    Broken("protocol_level_0", "MQTT-3.1.2-2", _connect(level=0), 1),
    Broken("the_name_of_3_1_with_another_level", "MQTT-3.1.2-2", _connect(name=b"MQIsdp", level=4), 1),
    Broken("the_level_of_3_1_with_another_name", "MQTT-3.1.2-2", _connect(level=3), 1),
    Broken("the_reserved_flag", "MQTT-3.1.2-3", _connect(3), None),
    Broken("will_qos_without_will_flag", "MQTT-3.1.2-13", _connect(0x12), None),
    Broken("will_qos_3", "MQTT-3.1.2-14", _connect(0x1E, _ID + text("w") + binary(b"x")), None),
    Broken("will_retain_without_will_flag", "MQTT-3.1.2-15", _connect(0x22), None),
    Broken("will_flag_without_a_will", "MQTT-3.1.2-9", _connect(6), None),
    Broken("a_password_without_a_user_name", "MQTT-3.1.2-22", _connect(0x42, _ID + binary(b"p")), None),
    Broken("user_name_flag_without_a_user_name", "MQTT-3.1.2-19", _connect(0x82), None),
    Broken("password_flag_without_a_password", "MQTT-3.1.2-21", _connect(0xC2, _ID + text("u")), None),
    Broken("a_user_name_that_no_flag_announces", "MQTT-3.1.2-18", _connect(2, _ID + text("u")), None),
    Broken("a_client_identifier_that_is_not_utf_8", "MQTT-3.1.3-4", _connect(2, binary(b"\xff")), None),
    Broken("a_client_identifier_with_nul", "MQTT-1.5.3-2", _connect(2, binary(b"a\0")), None),
    Broken("a_client_identifier_with_a_surrogate", "MQTT-1.5.3-1", _connect(2, binary(b"\xed\xa0\x80")), None),
    Broken("a_user_name_that_is_not_utf_8", "MQTT-3.1.3-11", _connect(0x82, _ID + binary(b"\xff")), None),
    Broken("a_will_topic_that_is_not_utf_8", "MQTT-3.1.3-10", _connect(6, _ID + binary(b"\xff") + binary(b"x")), None),
    Broken("a_will_topic_with_a_wildcard", "MQTT-3.3.2-2", _connect(6, _ID + text("+") + binary(b"x")), None),
    Broken("an_empty_client_identifier_without_clean_session", "MQTT-3.1.3-8", _connect(0, text("")), 2),
    Broken("bytes_behind_the_connect", "MQTT-3.1.4-1", _connect(2, _ID + b"\0"), None),
    Broken("a_connect_cut_short", "MQTT-3.1.4-1", frame(0x10, text("MQTT"), b"\4\2\0"), None),
    Broken("connect_with_fixed_header_flags", "MQTT-2.2.2-2", b"\x12" + _connect()[1:], None),
    Broken("a_remaining_length_of_five_bytes", "MQTT-2.2.3", b"\x10\xff\xff\xff\xff\1", None),
)


@instead_of_connect(_CONNECTS)
class ConnectTests(ConformanceCase):
    """A CONNECT that breaks a rule lets nobody in."""

    version = 4


_PACKETS: Final = (
    Broken("a_second_connect", "MQTT-3.1.0-2", _connect()),
    Broken("packet_type_0", "MQTT-2.2.1", frame(0x00)),
    Broken("packet_type_15", "MQTT-2.2.1", frame(0xF0)),
    Broken("connack_from_a_client", "MQTT-2.2.1", frame(0x20, b"\0\0")),
    Broken("suback_from_a_client", "MQTT-2.2.1", frame(0x90, b"\0\1\0")),
    Broken("pingresp_from_a_client", "MQTT-2.2.1", frame(0xD0)),
    Broken("puback_with_flags", "MQTT-2.2.2-2", frame(0x42, b"\0\1")),
    Broken("pubrel_without_its_flag", "MQTT-3.6.1-1", frame(0x60, b"\0\1")),
    Broken("subscribe_without_its_flag", "MQTT-3.8.1-1", frame(0x80, b"\0\1", text("t"), b"\0")),
    Broken("unsubscribe_without_its_flag", "MQTT-3.10.1-1", frame(0xA0, b"\0\1", text("t"))),
    Broken("pingreq_with_flags", "MQTT-2.2.2-2", frame(0xC1)),
    Broken("disconnect_with_flags", "MQTT-3.14.1-1", frame(0xE1)),
    Broken("publish_of_qos_3", "MQTT-3.3.1-4", frame(0x36, text("t"), b"\0\1")),
    Broken("publish_of_qos_0_with_dup", "MQTT-3.3.1-2", frame(0x38, text("t"))),
    Broken("a_plus_in_the_topic_name", "MQTT-3.3.2-2", frame(0x30, text("a/+"))),
    Broken("a_hash_in_the_topic_name", "MQTT-3.3.2-2", frame(0x30, text("#"))),
    Broken("an_empty_topic_name", "MQTT-4.7.3-1", frame(0x30, text(""), b"x")),
    Broken("a_topic_name_with_nul", "MQTT-4.7.3-2", frame(0x30, binary(b"a\0b"))),
    Broken("a_topic_name_that_is_not_utf_8", "MQTT-3.3.2-1", frame(0x30, binary(b"\xc3\x28"))),
    Broken("qos_1_with_packet_identifier_0", "MQTT-2.3.1-1", frame(0x32, text("t"), b"\0\0")),
    Broken("qos_1_without_packet_identifier", "MQTT-2.3.1-1", frame(0x32, text("t"))),
    Broken("subscribe_with_packet_identifier_0", "MQTT-2.3.1-1", frame(0x82, b"\0\0", text("t"), b"\0")),
    Broken("unsubscribe_with_packet_identifier_0", "MQTT-2.3.1-1", frame(0xA2, b"\0\0", text("t"))),
    Broken("subscribe_without_a_filter", "MQTT-3.8.3-3", frame(0x82, b"\0\1")),
    Broken("subscribe_without_a_qos", "MQTT-3.8.3-3", frame(0x82, b"\0\1", text("t"))),
    Broken("subscription_qos_3", "MQTT-3-8.3-4", frame(0x82, b"\0\1", text("t"), b"\3")),
    Broken("options_of_5_0", "MQTT-3-8.3-4", frame(0x82, b"\0\1", text("t"), b"\4")),
    Broken("an_empty_filter", "MQTT-4.7.3-1", frame(0x82, b"\0\1", text(""), b"\0")),
    Broken("a_hash_that_is_not_last", "MQTT-4.7.1-2", frame(0x82, b"\0\1", text("a/#/b"), b"\0")),
    Broken("a_hash_behind_other_characters", "MQTT-4.7.1-2", frame(0x82, b"\0\1", text("a#"), b"\0")),
    Broken("a_plus_beside_other_characters", "MQTT-4.7.1-3", frame(0x82, b"\0\1", text("a+"), b"\0")),
    Broken("a_filter_that_is_not_utf_8", "MQTT-3.8.3-1", frame(0x82, b"\0\1", binary(b"\xff"), b"\0")),
    Broken("unsubscribe_without_a_filter", "MQTT-3.10.3-2", frame(0xA2, b"\0\1")),
    Broken("unsubscribe_that_is_not_utf_8", "MQTT-3.10.3-1", frame(0xA2, b"\0\1", binary(b"\xff"))),
    Broken("puback_of_three_bytes", "MQTT-3.4.1", frame(0x40, b"\0\1\0")),
    Broken("puback_of_one_byte", "MQTT-3.4.1", frame(0x40, b"\0")),
    Broken("pingreq_with_a_body", "MQTT-3.12.1", frame(0xC0, b"\0")),
    Broken("disconnect_with_a_body", "MQTT-3.14.1", frame(0xE0, b"\0")),
    Broken("five_length_bytes", "MQTT-2.2.3", b"\x30\xff\xff\xff\xff\1"),
)


@after_connack(_PACKETS)
class PacketTests(ConformanceCase):
    """Whatever else breaks a rule ends the connection in silence."""

    version = 4
