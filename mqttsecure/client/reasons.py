# -*- test-case-name: tests.client.test_reasons -*-
"""Reason Codes and return codes in words: what the broker means, and what helps."""

from __future__ import annotations

from typing import Final

from mqttsecure.wire.constants import MQTT_5_0, ReasonCode

__all__ = [
    "TRANSIENT_CODES",
    "connack_words",
    "disconnect_words",
    "is_refusal",
    "name_of",
    "publish_words",
    "refusal_words",
    "words",
]

TRANSIENT_CODES: Final = frozenset(
    (
        ReasonCode.UNSPECIFIED_ERROR,
        ReasonCode.SERVER_UNAVAILABLE,
        ReasonCode.SERVER_BUSY,
        ReasonCode.SERVER_SHUTTING_DOWN,
        ReasonCode.KEEP_ALIVE_TIMEOUT,
        ReasonCode.MESSAGE_RATE_TOO_HIGH,
        ReasonCode.CONNECTION_RATE_EXCEEDED,
        ReasonCode.MAXIMUM_CONNECT_TIME,
    )
)
"""Those after which another attempt may succeed by itself. The rest needs somebody who changes something: to come back
after 0x8E (Session taken over) would only throw out the other client, which would come back in turn."""

_RETURN_CODES: Final = {
    1: ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    2: ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    3: ReasonCode.SERVER_UNAVAILABLE,
    4: ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    5: ReasonCode.NOT_AUTHORIZED,
}
"""The CONNACK return codes of 3.x (v3.1.1 section 3.2.2.3) as the Reason Codes that mean the same."""

_GENERAL: Final[dict[int, tuple[str, str]]] = {
    ReasonCode.NO_MATCHING_SUBSCRIBERS: ("nobody subscribes to it now", "start the subscriber first, or retain it"),
    ReasonCode.NO_SUBSCRIPTION_EXISTED: ("there was no such subscription", "compare the Topic Filter"),
    ReasonCode.UNSPECIFIED_ERROR: ("it gives no reason", "look at the broker's log"),
    ReasonCode.MALFORMED_PACKET: ("it could not read what was sent", "try --protocol 3.1.1, and report it"),
    ReasonCode.PROTOCOL_ERROR: ("it takes what was sent for a fault", "try --protocol 3.1.1, and report it"),
    ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR: ("it has a fault of its own", "look at the broker's log"),
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: (
        "it does not speak this version of MQTT",
        "choose the other one of 5 and 3.1.1",
    ),
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: (
        "it does not take this Client Identifier",
        "use the one that belongs to the user: often the user's name, or that name, - and anything",
    ),
    ReasonCode.BAD_USER_NAME_OR_PASSWORD: ("the user name or the password is wrong", "mend them"),
    ReasonCode.NOT_AUTHORIZED: (
        "it is not permitted",
        "show a password or a certificate, or ask who keeps the broker's rules",
    ),
    ReasonCode.SERVER_UNAVAILABLE: ("the broker does not serve now", "try again later"),
    ReasonCode.SERVER_BUSY: ("the broker is busy", "try again later"),
    ReasonCode.BANNED: ("this client is banned", "ask who runs the broker"),
    ReasonCode.SERVER_SHUTTING_DOWN: ("the broker is shutting down", "try again once it is back"),
    ReasonCode.BAD_AUTHENTICATION_METHOD: (
        "it does not know this Authentication Method",
        "use another one, or a password",
    ),
    ReasonCode.KEEP_ALIVE_TIMEOUT: ("it heard nothing for too long", "see to the network, or a longer keep alive"),
    ReasonCode.SESSION_TAKEN_OVER: (
        "another client uses the same Client Identifier",
        "give each client a Client Identifier of its own",
    ),
    ReasonCode.TOPIC_FILTER_INVALID: ("it does not take this Topic Filter", "make it shorter or less deep"),
    ReasonCode.TOPIC_NAME_INVALID: ("it does not take this topic", "make it shorter or less deep"),
    ReasonCode.PACKET_IDENTIFIER_IN_USE: ("it takes a number for used that is free here", "connect with a new session"),
    ReasonCode.PACKET_IDENTIFIER_NOT_FOUND: ("it knows of no such message", "nothing need be done"),
    ReasonCode.RECEIVE_MAXIMUM_EXCEEDED: ("too many messages were under way at once", "report it"),
    ReasonCode.TOPIC_ALIAS_INVALID: ("it does not know a Topic Alias", "report it"),
    ReasonCode.PACKET_TOO_LARGE: ("that is larger than it takes", "send less at once"),
    ReasonCode.MESSAGE_RATE_TOO_HIGH: ("messages come faster than it permits", "publish more slowly"),
    ReasonCode.QUOTA_EXCEEDED: ("a quota of this client is used up", "send or subscribe to less, or try again later"),
    ReasonCode.ADMINISTRATIVE_ACTION: ("an administrator has ended the connection", "ask who runs the broker"),
    ReasonCode.PAYLOAD_FORMAT_INVALID: ("the payload is not what was announced", "leave out the payload format"),
    ReasonCode.RETAIN_NOT_SUPPORTED: ("it keeps no retained messages", "leave out --retain"),
    ReasonCode.QOS_NOT_SUPPORTED: ("it does not take this QoS", "use a lower QoS"),
    ReasonCode.USE_ANOTHER_SERVER: ("another broker is to be used for now", "connect to that one"),
    ReasonCode.SERVER_MOVED: ("the broker has moved", "connect to the new address"),
    ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: ("it has no shared subscriptions", "leave out $share/group/"),
    ReasonCode.CONNECTION_RATE_EXCEEDED: ("there were too many attempts in a short time", "wait, then try again"),
    ReasonCode.MAXIMUM_CONNECT_TIME: ("the time that a connection may last is over", "connect again"),
    ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: ("it has no Subscription Identifiers", "leave them out"),
    ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: ("it takes no wildcards", "subscribe to whole topics"),
}

_CODES: Final = {int(code) for code in ReasonCode}


def is_refusal(code: int) -> bool:
    """Whether a Reason Code says no (v5.0 section 2.4)."""
    return code >= ReasonCode.UNSPECIFIED_ERROR


def name_of(code: int) -> str:
    """``not authorized (0x87)``."""
    if code not in _CODES:
        return f"0x{code:02X}"
    return f"{ReasonCode(code).name.lower().replace('_', ' ')} (0x{code:02X})"


def words(code: int, reason_string: str = "") -> tuple[str, str]:
    """What a Reason Code means and what helps, with the words that came along."""
    cause, mend = _GENERAL.get(code, ("it gives a reason unknown here", "look at the broker's log"))
    said = f', it says "{_printable(reason_string)}"' if reason_string else ""
    return f"{cause} [{name_of(code)}]{said}", mend


def publish_words(code: int, topic: str, reason_string: str = "") -> tuple[str, str]:
    """Why a message was refused."""
    return refusal_words(code, f"the message on {topic!r}", reason_string)


def refusal_words(code: int, what: str, reason_string: str = "") -> tuple[str, str]:
    """Why something of a client that is known to the broker was refused."""
    cause, mend = words(code, reason_string)
    if code == ReasonCode.NOT_AUTHORIZED:
        mend = "have the broker's rules permit it, or use another topic or user"
    return f"the broker refused {what}: {cause}", mend


def connack_words(code: int, version: int, reason_string: str = "") -> tuple[int, str, str]:
    """Why CONNECT was refused: the Reason Code of 5.0 that it amounts to, cause and mend."""
    meant = int(_RETURN_CODES.get(code, code)) if version != MQTT_5_0 or code < 0x80 else code
    cause, mend = words(meant, reason_string)
    return meant, f"the broker refused the connection: {cause}", mend


def disconnect_words(code: int, reason_string: str = "") -> tuple[str, str]:
    """Why the broker has ended the connection."""
    cause, mend = words(code, reason_string)
    return f"the broker ended the connection: {cause}", mend


def _printable(text: str) -> str:
    """What the broker says, without what could steer a terminal, and not longer than a line."""
    shown = "".join(each if each.isprintable() else "?" for each in text[:_SHOWN])
    return shown + ("..." if len(text) > _SHOWN else "")


_SHOWN: Final = 200
"""Characters of a Reason String that are worth a line; it may have 65,535."""
