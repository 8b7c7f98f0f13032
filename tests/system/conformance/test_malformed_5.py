"""MQTT 5.0: packets that break a rule end the connection, with the Reason Code that the standard gives to the fault."""

from __future__ import annotations

from typing import Final

from tests.system.conformance.case import Broken, ConformanceCase, after_connack
from tests.system.conformance.client import binary, frame, text

MALFORMED: Final = 0x81
PROTOCOL_ERROR: Final = 0x82
TOPIC_FILTER_INVALID: Final = 0x8F
TOPIC_NAME_INVALID: Final = 0x90
TOPIC_ALIAS_INVALID: Final = 0x94


def _flags(first_byte: int, body: bytes, name: str, statement: str) -> Broken:
    return Broken(name, statement, frame(first_byte, body), MALFORMED)


_HEADERS: Final = (
    _flags(0x41, b"\0\1", "puback_with_flags", "MQTT-2.1.3-1"),
    _flags(0x52, b"\0\1", "pubrec_with_flags", "MQTT-2.1.3-1"),
    _flags(0x60, b"\0\1", "pubrel_without_its_flag", "MQTT-3.6.1-1"),
    _flags(0x6A, b"\0\1", "pubrel_with_the_dup_flag", "MQTT-3.6.1-1"),
    _flags(0x78, b"\0\1", "pubcomp_with_flags", "MQTT-2.1.3-1"),
    _flags(0x80, b"\0\1\0\0\1t\0", "subscribe_without_its_flag", "MQTT-3.8.1-1"),
    _flags(0x83, b"\0\1\0\0\1t\0", "subscribe_with_another_flag", "MQTT-3.8.1-1"),
    _flags(0xA0, b"\0\1\0\0\1t", "unsubscribe_without_its_flag", "MQTT-3.10.1-1"),
    _flags(0xC1, b"", "pingreq_with_flags", "MQTT-2.1.3-1"),
    _flags(0xE1, b"", "disconnect_with_flags", "MQTT-3.14.1-1"),
    _flags(0xF1, b"", "auth_with_flags", "MQTT-3.15.1-1"),
    _flags(0x00, b"", "packet_type_0", "MQTT-2.1.2"),
    _flags(0x36, b"\0\1t\0\1\0", "publish_of_qos_3", "MQTT-3.3.1-4"),
    _flags(0x38, b"\0\1t\0", "publish_of_qos_0_with_dup", "MQTT-3.3.1-2"),
    Broken("a_second_connect", "MQTT-3.1.0-2", frame(0x10, text("MQTT"), b"\5\2\0\0\0", text("c")), PROTOCOL_ERROR),
    Broken("connack_from_a_client", "MQTT-4.13.1-1", frame(0x20, b"\0\0\0"), PROTOCOL_ERROR),
    Broken("suback_from_a_client", "MQTT-4.13.1-1", frame(0x90, b"\0\1\0\0"), PROTOCOL_ERROR),
    Broken("unsuback_from_a_client", "MQTT-4.13.1-1", frame(0xB0, b"\0\1\0\0"), PROTOCOL_ERROR),
    Broken("pingresp_from_a_client", "MQTT-4.13.1-1", frame(0xD0), PROTOCOL_ERROR),
    Broken("pingreq_with_a_body", "MQTT-4.13.1-1", frame(0xC0, b"\0"), MALFORMED),
    Broken("five_length_bytes", "MQTT-1.5.5-1", b"\x30\xff\xff\xff\xff\1", MALFORMED),
    Broken("padded_length", "MQTT-1.5.5-1", b"\xc0\x80\0", MALFORMED),
)

_PUBLISHES: Final = (
    Broken("a_plus_in_the_topic_name", "MQTT-3.3.2-2", frame(0x30, text("a/+"), b"\0"), TOPIC_NAME_INVALID),
    Broken("a_hash_in_the_topic_name", "MQTT-3.3.2-2", frame(0x30, text("a/#"), b"\0"), TOPIC_NAME_INVALID),
    Broken("a_topic_name_that_is_not_utf_8", "MQTT-3.3.2-1", frame(0x30, binary(b"a\xff"), b"\0"), MALFORMED),
    Broken("a_topic_name_with_nul", "MQTT-4.7.3-2", frame(0x30, binary(b"a\0b"), b"\0"), MALFORMED),
    Broken("a_topic_name_with_a_surrogate", "MQTT-1.5.4-1", frame(0x30, binary(b"\xed\xbf\xbf"), b"\0"), MALFORMED),
    Broken("an_overlong_encoding", "MQTT-1.5.4-1", frame(0x30, binary(b"\xc0\xaf"), b"\0"), MALFORMED),
    Broken("no_topic_name_and_no_alias", "MQTT-4.7.3-1", frame(0x30, text(""), b"\0"), PROTOCOL_ERROR),
    Broken("a_topic_name_cut_short", "MQTT-3.3.2-1", frame(0x30, b"\0\x09t"), MALFORMED),
    Broken("no_properties_at_all", "MQTT-2.2.2-1", frame(0x30, text("t")), MALFORMED),
    Broken("qos_1_with_packet_identifier_0", "MQTT-2.2.1-3", frame(0x32, text("t"), b"\0\0\0"), PROTOCOL_ERROR),
    Broken("qos_2_with_packet_identifier_0", "MQTT-2.2.1-3", frame(0x34, text("t"), b"\0\0\0"), PROTOCOL_ERROR),
    Broken("qos_1_without_packet_identifier", "MQTT-2.2.1-3", frame(0x32, text("t")), MALFORMED),
    Broken("topic_alias_0", "MQTT-3.3.2-8", frame(0x30, text("t"), b"\3\x23\0\0"), TOPIC_ALIAS_INVALID),
    Broken("topic_alias_never_set", "MQTT-3.3.2-7", frame(0x30, text(""), b"\3\x23\0\7"), PROTOCOL_ERROR),
    Broken("two_topic_aliases", "MQTT-3.3.2.3.4", frame(0x30, text("t"), b"\6\x23\0\1\x23\0\1"), PROTOCOL_ERROR),
    Broken("a_subscription_identifier", "MQTT-3.3.4-6", frame(0x30, text("t"), b"\2\x0b\1"), PROTOCOL_ERROR),
    Broken(
        "a_response_topic_with_a_wildcard", "MQTT-3.3.2-14", frame(0x30, text("t"), b"\4\x08\0\1#"), (0x81, 0x82, 0x90)
    ),
    Broken("a_response_topic_that_is_not_utf_8", "MQTT-3.3.2-13", frame(0x30, text("t"), b"\4\x08\0\1\xff"), MALFORMED),
    Broken("two_response_topics", "MQTT-3.3.2.3.5", frame(0x30, text("t"), b"\x08\x08\0\1a\x08\0\1a"), PROTOCOL_ERROR),
    Broken("two_correlation_data", "MQTT-3.3.2.3.6", frame(0x30, text("t"), b"\x08\x09\0\1a\x09\0\1a"), PROTOCOL_ERROR),
    Broken("two_content_types", "MQTT-3.3.2.3.9", frame(0x30, text("t"), b"\x08\3\0\1a\3\0\1a"), PROTOCOL_ERROR),
    Broken("a_content_type_that_is_not_utf_8", "MQTT-3.3.2-19", frame(0x30, text("t"), b"\4\3\0\1\xff"), MALFORMED),
    Broken(
        "two_message_expiry_intervals",
        "MQTT-3.3.2.3.3",
        frame(0x30, text("t"), b"\x0a", b"\2\0\0\0\1" * 2),
        PROTOCOL_ERROR,
    ),
    Broken("payload_format_indicator_2", "MQTT-3.3.2.3.2", frame(0x30, text("t"), b"\2\1\2"), (0x81, 0x82)),
    Broken("two_payload_format_indicators", "MQTT-3.3.2.3.2", frame(0x30, text("t"), b"\4\1\1\1\1"), PROTOCOL_ERROR),
    Broken("a_publish_property_of_another_packet", "MQTT-2.2.2.2", frame(0x30, text("t"), b"\3\x21\0\1"), MALFORMED),
    Broken("an_unknown_publish_property", "MQTT-2.2.2.2", frame(0x30, text("t"), b"\2\x7f\0"), MALFORMED),
    Broken("a_padded_property_length", "MQTT-1.5.5-1", frame(0x30, text("t"), b"\x80\0"), MALFORMED),
    Broken("a_broken_user_property", "MQTT-1.5.7-1", frame(0x30, text("t"), b"\7\x26\0\1k\0\1\xff"), MALFORMED),
)


def _subscribe(topic_filter: bytes, options: int = 0, properties: bytes = b"") -> bytes:
    return frame(0x82, b"\0\1", bytes((len(properties),)), properties, topic_filter, bytes((options,)))


_SUBSCRIPTIONS: Final = (
    Broken("subscribe_without_a_filter", "MQTT-3.8.3-2", frame(0x82, b"\0\1\0"), PROTOCOL_ERROR),
    Broken("subscribe_without_options", "MQTT-3.8.3-2", frame(0x82, b"\0\1\0", text("t")), MALFORMED),
    Broken(
        "subscribe_with_packet_identifier_0", "MQTT-2.2.1-3", frame(0x82, b"\0\0\0", text("t"), b"\0"), PROTOCOL_ERROR
    ),
    Broken("an_empty_filter", "MQTT-4.7.3-1", _subscribe(text("")), TOPIC_FILTER_INVALID),
    Broken("a_filter_that_is_not_utf_8", "MQTT-3.8.3-1", _subscribe(binary(b"\xff")), MALFORMED),
    Broken("a_filter_with_nul", "MQTT-4.7.3-2", _subscribe(binary(b"a\0")), MALFORMED),
    Broken("a_hash_that_is_not_last", "MQTT-4.7.1-1", _subscribe(text("a/#/b")), TOPIC_FILTER_INVALID),
    Broken("a_hash_behind_other_characters", "MQTT-4.7.1-1", _subscribe(text("a/b#")), TOPIC_FILTER_INVALID),
    Broken("a_plus_behind_other_characters", "MQTT-4.7.1-2", _subscribe(text("a/b+")), TOPIC_FILTER_INVALID),
    Broken("a_plus_before_other_characters", "MQTT-4.7.1-2", _subscribe(text("+a/b")), TOPIC_FILTER_INVALID),
    Broken("subscription_qos_3", "MQTT-3.8.3.1", _subscribe(text("t"), 3), (0x81, 0x82)),
    Broken("retain_handling_3", "MQTT-3.8.3.1", _subscribe(text("t"), 0x30), (0x81, 0x82)),
    Broken("the_sixth_option_bit", "MQTT-3.8.3-5", _subscribe(text("t"), 0x40), MALFORMED),
    Broken("the_seventh_option_bit", "MQTT-3.8.3-5", _subscribe(text("t"), 0x80), MALFORMED),
    Broken("no_local_on_a_shared_subscription", "MQTT-3.8.3-4", _subscribe(text("$share/g/t"), 4), PROTOCOL_ERROR),
    Broken("a_share_without_a_name", "MQTT-4.8.2-1", _subscribe(text("$share//t")), (0x81, 0x82, 0x8F)),
    Broken("a_share_without_a_filter", "MQTT-4.8.2-2", _subscribe(text("$share/g")), (0x81, 0x82, 0x8F)),
    Broken("a_share_with_an_empty_filter", "MQTT-4.8.2-2", _subscribe(text("$share/g/")), (0x81, 0x82, 0x8F)),
    Broken("a_share_name_with_a_wildcard", "MQTT-4.8.2-2", _subscribe(text("$share/g+/t")), (0x81, 0x82, 0x8F)),
    Broken("subscription_identifier_0", "MQTT-3.8.2.1.2", _subscribe(text("t"), 0, b"\x0b\0"), PROTOCOL_ERROR),
    Broken("two_subscription_identifiers", "MQTT-3.8.2.1.2", _subscribe(text("t"), 0, b"\x0b\1\x0b\2"), PROTOCOL_ERROR),
    Broken("a_subscribe_property_of_another_packet", "MQTT-2.2.2.2", _subscribe(text("t"), 0, b"\x21\0\1"), MALFORMED),
    Broken("unsubscribe_without_a_filter", "MQTT-3.10.3-2", frame(0xA2, b"\0\1\0"), PROTOCOL_ERROR),
    Broken("unsubscribe_with_packet_identifier_0", "MQTT-2.2.1-3", frame(0xA2, b"\0\0\0", text("t")), PROTOCOL_ERROR),
    Broken("unsubscribe_that_is_not_utf_8", "MQTT-3.10.3-1", frame(0xA2, b"\0\1\0", binary(b"\xff")), MALFORMED),
    Broken("unsubscribe_from_nothing", "MQTT-4.7.3-1", frame(0xA2, b"\0\1\0", text("")), TOPIC_FILTER_INVALID),
    Broken(
        "unsubscribe_with_a_subscription_identifier", "MQTT-2.2.2.2", frame(0xA2, b"\0\1\2\x0b\1", text("t")), MALFORMED
    ),
)

_OTHERS: Final = (
    Broken("puback_with_packet_identifier_0", "MQTT-2.2.1-3", frame(0x40, b"\0\0"), PROTOCOL_ERROR),
    Broken("puback_cut_short", "MQTT-4.13.1-1", frame(0x40, b"\0"), MALFORMED),
    Broken("puback_with_an_unknown_code", "MQTT-3.4.2-1", frame(0x40, b"\0\1\3"), PROTOCOL_ERROR),
    Broken("pubrec_with_an_unknown_code", "MQTT-3.5.2-1", frame(0x50, b"\0\1\3"), PROTOCOL_ERROR),
    Broken("pubrel_with_an_unknown_code", "MQTT-3.6.2-1", frame(0x62, b"\0\1\3"), PROTOCOL_ERROR),
    Broken("pubcomp_with_an_unknown_code", "MQTT-3.7.2-1", frame(0x70, b"\0\1\3"), PROTOCOL_ERROR),
    Broken(
        "puback_with_two_reason_strings", "MQTT-3.4.2.2.2", frame(0x40, b"\0\1\0\x08\x1f\0\1a\x1f\0\1a"), PROTOCOL_ERROR
    ),
    Broken("puback_with_a_property_of_another_packet", "MQTT-2.2.2.2", frame(0x40, b"\0\1\0\3\x21\0\1"), MALFORMED),
    Broken("disconnect_with_an_unknown_code", "MQTT-3.14.2-1", frame(0xE0, b"\3"), PROTOCOL_ERROR),
    Broken("disconnect_with_a_code_of_servers", "MQTT-3.14.2-1", frame(0xE0, b"\x8b"), PROTOCOL_ERROR),
    Broken(
        "disconnect_with_two_session_expiries",
        "MQTT-3.14.2.2.2",
        frame(0xE0, b"\0\x0a", b"\x11\0\0\0\0" * 2),
        PROTOCOL_ERROR,
    ),
    Broken("disconnect_with_a_property_of_another_packet", "MQTT-2.2.2.2", frame(0xE0, b"\0\3\x21\0\1"), MALFORMED),
    Broken("session_expiry_after_one_of_0", "MQTT-3.14.2.2.2", frame(0xE0, b"\0\5\x11\0\0\0\1"), PROTOCOL_ERROR),
    Broken("auth_without_a_method_in_connect", "MQTT-4.12.0-7", frame(0xF0, b"\x19\6\x15\0\3abc"), PROTOCOL_ERROR),
    Broken("auth_of_nothing", "MQTT-4.12.0-7", frame(0xF0), PROTOCOL_ERROR),
    Broken("auth_with_an_unknown_code", "MQTT-3.15.2-1", frame(0xF0, b"\3\0"), PROTOCOL_ERROR),
)


@after_connack(_HEADERS)
class FixedHeaderTests(ConformanceCase):
    """Flags and types that do not exist, or not from a client."""


@after_connack(_PUBLISHES)
class PublishTests(ConformanceCase):
    """PUBLISH packets that break a rule."""


@after_connack(_SUBSCRIPTIONS)
class SubscribeTests(ConformanceCase):
    """SUBSCRIBE and UNSUBSCRIBE packets that break a rule."""


@after_connack(_OTHERS)
class OtherTests(ConformanceCase):
    """Acknowledgements, DISCONNECT and AUTH that break a rule."""
