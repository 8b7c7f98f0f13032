# -*- test-case-name: tests.core.test_reasons -*-
"""Reason Codes that fit the packet they go into.

A policy may give any code of the standard with its denial; each packet type carries only some of them
(:data:`mqttsecure.wire.rules.REASON_CODES`). Here the nearest permitted one is found, so that no answer fails to be
encoded, and no refusal ever turns into a success.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.wire.constants import PacketType, ReasonCode
from mqttsecure.wire.rules import REASON_CODES

__all__ = ["refusal_code"]

_NEAREST: Final[dict[int, tuple[int, ...]]] = {
    ReasonCode.MALFORMED_PACKET: (ReasonCode.UNSPECIFIED_ERROR,),
    ReasonCode.PROTOCOL_ERROR: (ReasonCode.UNSPECIFIED_ERROR,),
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: (ReasonCode.PROTOCOL_ERROR,),
    ReasonCode.SERVER_UNAVAILABLE: (ReasonCode.SERVER_BUSY, ReasonCode.QUOTA_EXCEEDED),
    ReasonCode.SERVER_BUSY: (ReasonCode.QUOTA_EXCEEDED,),
    ReasonCode.SERVER_SHUTTING_DOWN: (ReasonCode.SERVER_UNAVAILABLE,),
    # v5.0 table 3-13 has no 0x8C; section 4.12.1 calls a changed method a Protocol Error.
    ReasonCode.BAD_AUTHENTICATION_METHOD: (ReasonCode.PROTOCOL_ERROR,),
    ReasonCode.TOPIC_FILTER_INVALID: (ReasonCode.TOPIC_NAME_INVALID,),
    ReasonCode.TOPIC_NAME_INVALID: (ReasonCode.TOPIC_FILTER_INVALID,),
    ReasonCode.RECEIVE_MAXIMUM_EXCEEDED: (ReasonCode.QUOTA_EXCEEDED,),
    ReasonCode.PACKET_TOO_LARGE: (ReasonCode.QUOTA_EXCEEDED,),
    ReasonCode.MESSAGE_RATE_TOO_HIGH: (ReasonCode.QUOTA_EXCEEDED,),
    ReasonCode.QUOTA_EXCEEDED: (ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,),
    ReasonCode.CONNECTION_RATE_EXCEEDED: (ReasonCode.QUOTA_EXCEEDED,),
    ReasonCode.MAXIMUM_CONNECT_TIME: (ReasonCode.QUOTA_EXCEEDED,),
}
"""Codes to try, in order, where one does not belong in a packet type; what is not listed is 0x87."""


def refusal_code(packet_type: PacketType, code: int | None) -> int:
    """The code for a refusal in ``packet_type`` that is ``code`` or comes nearest; "not authorized" for none."""
    permitted = REASON_CODES[packet_type]
    if code is not None and code >= ReasonCode.UNSPECIFIED_ERROR:
        if code in permitted:
            return int(code)
        for nearest in _NEAREST.get(code, ()):
            if nearest in permitted:
                return int(nearest)
    return int(ReasonCode.NOT_AUTHORIZED)
