# -*- test-case-name: tests.wire.test_primitives -*-
"""The data representations of MQTT (v5.0 section 1.5), read from bytes and written to bytes.

On the path of each message: plain functions on ``bytes`` and ``int``, no objects of their own.

Each ``read_*`` takes the bytes and a position and returns the value and the position behind it. What does not fit, or
breaks a rule of its representation, is a :class:`~mqttsecure.errors.MalformedPacket`.
"""

from __future__ import annotations

from mqttsecure.errors import EncodeError, MalformedPacket
from mqttsecure.wire.constants import MAX_VARIABLE_BYTE_INTEGER

__all__ = [
    "encode_binary",
    "encode_four_byte_integer",
    "encode_string",
    "encode_two_byte_integer",
    "encode_variable_byte_integer",
    "read_binary",
    "read_byte",
    "read_four_byte_integer",
    "read_string",
    "read_two_byte_integer",
    "read_variable_byte_integer",
]


def _truncated(what: str) -> MalformedPacket:
    return MalformedPacket(f"the packet ends within {what}; send all of it, and a Remaining Length that says so")


def read_byte(data: bytes, position: int) -> tuple[int, int]:
    """Read one byte."""
    if position >= len(data):
        raise _truncated("a byte")
    return data[position], position + 1


def read_two_byte_integer(data: bytes, position: int) -> tuple[int, int]:
    """Read a big-endian Two Byte Integer (v5.0 section 1.5.2)."""
    end = position + 2
    if end > len(data):
        raise _truncated("a Two Byte Integer")
    return data[position] << 8 | data[position + 1], end


def read_four_byte_integer(data: bytes, position: int) -> tuple[int, int]:
    """Read a big-endian Four Byte Integer (v5.0 section 1.5.3)."""
    end = position + 4
    if end > len(data):
        raise _truncated("a Four Byte Integer")
    return int.from_bytes(data[position:end], "big"), end


def read_variable_byte_integer(data: bytes, position: int) -> tuple[int, int]:
    """Read a Variable Byte Integer: at most four bytes, and no more of them than the value needs."""
    value = 0
    shift = 0
    length = len(data)
    while position < length:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # v5.0 [MQTT-1.5.5-1]: the encoded value uses the minimum number of bytes.
            if byte == 0 and shift:
                raise MalformedPacket("a Variable Byte Integer is padded with zeros; use the fewest bytes")
            return value, position
        shift += 7
        if shift == 28:
            raise MalformedPacket("a Variable Byte Integer has more than four bytes; send a smaller value")
    raise _truncated("a Variable Byte Integer")


def read_string(data: bytes, position: int) -> tuple[str, int]:
    """Read a UTF-8 Encoded String.

    Control characters and non-characters other than U+0000 pass: v5.0 section 1.5.4 leaves it to the receiver to
    refuse them, and a U+FEFF stays where it is (v5.0 [MQTT-1.5.4-3]).
    """
    start = position + 2
    if start > len(data):
        raise _truncated("a string's length")
    end = start + (data[position] << 8 | data[position + 1])
    if end > len(data):
        raise _truncated("a string")
    try:
        text = data[start:end].decode("utf-8")
    except UnicodeDecodeError as error:
        # v5.0 [MQTT-1.5.4-1]; the strict codec refuses surrogates and overlong forms too.
        raise MalformedPacket("a string is not well-formed UTF-8; encode it as UTF-8 without surrogates") from error
    if "\0" in text:
        # v5.0 [MQTT-1.5.4-2]
        raise MalformedPacket("a string contains U+0000; remove it")
    return text, end


def read_binary(data: bytes, position: int) -> tuple[bytes, int]:
    """Read Binary Data (v5.0 section 1.5.6)."""
    start = position + 2
    if start > len(data):
        raise _truncated("the length of binary data")
    end = start + (data[position] << 8 | data[position + 1])
    if end > len(data):
        raise _truncated("binary data")
    return data[start:end], end


def encode_two_byte_integer(value: int) -> bytes:
    """Write a Two Byte Integer."""
    if not 0 <= value <= 0xFFFF:
        raise EncodeError(f"{value} does not fit in a Two Byte Integer; use 0 to 65535")
    return value.to_bytes(2, "big")


def encode_four_byte_integer(value: int) -> bytes:
    """Write a Four Byte Integer."""
    if not 0 <= value <= 0xFFFF_FFFF:
        raise EncodeError(f"{value} does not fit in a Four Byte Integer; use 0 to 4294967295")
    return value.to_bytes(4, "big")


def encode_variable_byte_integer(value: int) -> bytes:
    """Write a Variable Byte Integer in the fewest bytes (v5.0 [MQTT-1.5.5-1])."""
    if not 0 <= value <= MAX_VARIABLE_BYTE_INTEGER:
        raise EncodeError(f"{value} does not fit in a Variable Byte Integer; use 0 to {MAX_VARIABLE_BYTE_INTEGER}")
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x20_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21))


def encode_string(text: str) -> bytes:
    """Write a UTF-8 Encoded String: two bytes of length, then UTF-8 without U+0000 or surrogates."""
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EncodeError("a string contains a surrogate; v5.0 [MQTT-1.5.4-1] has no place for it") from error
    if b"\0" in encoded:
        raise EncodeError("a string contains U+0000; v5.0 [MQTT-1.5.4-2] has no place for it")
    if len(encoded) > 0xFFFF:
        raise EncodeError(f"a string of {len(encoded)} bytes is too long; use at most 65535")
    return len(encoded).to_bytes(2, "big") + encoded


def encode_binary(data: bytes) -> bytes:
    """Write Binary Data: two bytes of length, then the data."""
    if len(data) > 0xFFFF:
        raise EncodeError(f"binary data of {len(data)} bytes is too long; use at most 65535")
    return len(data).to_bytes(2, "big") + data
