# -*- test-case-name: tests.cli.test_message_format -*-
"""Messages as ``sub`` prints them: templates with fields in braces, and JSON.

What a publisher chose may hold what steers a terminal. Topics and properties are always shown without it; the payload
is, where stdout is a terminal, and goes out byte by byte where it is not.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from mqttsecure.client.events import Message
from mqttsecure.client.failures import OptionsInvalid

__all__ = ["Template", "message_as_json", "visible"]

_PART: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|\\(.)|\\$|[^{}\\]+", re.DOTALL)
_ESCAPES: Final = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\", "e": b"\x1b"}
_PERCENT: Final = re.compile(r"%[tpqrljxI]")
_JSON_SURROGATE: Final = "\\u{:04x}"

Field = Callable[[Message, datetime, bool], bytes]


def visible(text: str, keep: str = "") -> str:
    """``text`` with everything that is no visible character written out, but for those of ``keep``."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode("ascii") for each in text
    )


def message_as_json(message: Message, now: datetime) -> bytes:
    """One line of JSON; a payload that is no UTF-8 is there in base64 alone."""
    value: dict[str, Any] = {
        "time": _iso(now),
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "dup": message.dup,
        "length": len(message.payload),
    }
    try:
        value["payload"] = message.payload.decode()
    except UnicodeDecodeError:
        value["payload"] = None
        value["payload_base64"] = base64.b64encode(message.payload).decode("ascii")
    value["properties"] = _plain_properties(message)
    return _json(value).encode() + b"\n"


def _json(value: Any) -> str:
    """JSON in which everything that is no visible character is written out."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    # Surrogate pairs for what lies beyond the first plane, as JSON wants it.
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _plain_properties(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in message.properties.items():
        if isinstance(value, bytes):
            found[name] = base64.b64encode(value).decode("ascii")
        else:
            found[name] = value
    return found


def _iso(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Template:
    """A compiled template."""

    def __init__(self, text: str) -> None:
        """
        Args:
            text: such as ``{time} {topic} {payload:hex}``; ``{{`` is a brace, ``\\n`` the end of a line.

        Raises:
            OptionsInvalid: there is no such field.
        """
        self._parts: list[bytes | Field] = []
        for match in _PART.finditer(text):
            part = match[0]
            if part in ("{{", "}}"):
                self._parts.append(part[:1].encode())
            elif match[1] is not None:
                self._parts.append(_field(match[1]))
            elif part.startswith("\\"):
                self._parts.append(_escape(part))
            elif part in "{}":
                raise OptionsInvalid(f"a brace stands alone in the format {text!r}", "write {{ or }} for a brace")
            else:
                self._parts.append(part.encode())
        if all(isinstance(part, bytes) for part in self._parts) and _PERCENT.search(text):
            raise OptionsInvalid(
                f"there is no field in the format {text!r}", "fields stand in braces here: {topic} {payload} {qos}"
            )

    def render(self, message: Message, now: datetime, to_terminal: bool) -> bytes:
        """The bytes of one message."""
        return b"".join(part if isinstance(part, bytes) else part(message, now, to_terminal) for part in self._parts)


def _escape(part: str) -> bytes:
    if part[1:] not in _ESCAPES:
        raise OptionsInvalid(f"{part!r} is no escape", f"use one of {', '.join(chr(92) + each for each in _ESCAPES)}")
    return _ESCAPES[part[1:]]


def _payload(message: Message, now: datetime, to_terminal: bool) -> bytes:
    if not to_terminal:
        return message.payload
    return visible(message.payload.decode("utf-8", "backslashreplace"), "\n\t").encode()


def _payload_json(message: Message, now: datetime, to_terminal: bool) -> bytes:
    try:
        return _json(json.loads(message.payload)).encode()
    except (ValueError, RecursionError):
        return _json(message.payload.decode("utf-8", "backslashreplace")).encode()


def _text(read: Callable[[Message, datetime], str]) -> Field:
    return lambda message, now, to_terminal: visible(read(message, now)).encode()


_FIELDS: Final[dict[str, Field]] = {
    "topic": _text(lambda message, _: message.topic),
    "payload": _payload,
    "payload:text": _payload,
    "payload:hex": _text(lambda message, _: message.payload.hex()),
    "payload:base64": _text(lambda message, _: base64.b64encode(message.payload).decode("ascii")),
    "payload:json": _payload_json,
    "length": _text(lambda message, _: str(len(message.payload))),
    "qos": _text(lambda message, _: str(message.qos)),
    "retain": _text(lambda message, _: str(int(message.retain))),
    "dup": _text(lambda message, _: str(int(message.dup))),
    "time": _text(lambda _, now: _iso(now)),
    "time:unix": _text(lambda _, now: f"{now.timestamp():.3f}"),
    "properties": _text(lambda message, _: _json(_plain_properties(message))),
    "json": lambda message, now, _: message_as_json(message, now).rstrip(b"\n"),
}


def _field(name: str) -> Field:
    if name in _FIELDS:
        return _FIELDS[name]
    kind, separator, rest = name.partition(":")
    if separator and kind == "property":
        key = rest.replace("-", "_")
        return _text(lambda message, _: _property(message, key))
    if separator and kind == "user":
        return _text(
            lambda message, _: ",".join(
                value for key, value in message.properties.get("user_property", []) if key == rest
            )
        )
    raise OptionsInvalid(
        f"there is no field {{{name}}}", f"use one of {', '.join(_FIELDS)}, property:NAME or user:NAME"
    )


def _user_values(message: Message, name: str) -> list[str]:
    return [value for key, value in message.properties.get("user_property", []) if key == name]


def _property(message: Message, name: str) -> str:
    value = _plain_properties(message).get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
