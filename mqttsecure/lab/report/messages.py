# -*- test-case-name: tests.lab.report.test_messages -*-
"""Each message explained: what it is, what it says here, why it matters, where it is specified, who sees what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mqttsecure.lab.explain import explanation_key
from mqttsecure.lab.model import Check, Connection, Field, Message
from mqttsecure.lab.report.chinese import in_chinese
from mqttsecure.lab.report.chinese_values import in_both
from mqttsecure.lab.report.html import Markup, both, join, phrase, tag
from mqttsecure.lab.report.words import SENDERS, STATES, check_name

__all__ = ["anchor", "checks_list", "messages_list", "place"]

_MOST: Final = 400
"""Messages of a connection that are told: a page of more is not read, and a capture may have 100,000."""
_MOST_BYTES: Final = 2048
"""Of one message that are shown: a certificate has 1,000."""
_MOST_FIELDS: Final = 200
"""Of one message: a ClientHello has 60; a hostile one has what fits in 16 MiB."""
_DEEPEST: Final = 4
_SHORT: Final = 60
"""Characters of a text that may stand before its own parts."""

_LABELS: Final = {
    "what": ("What it is", "是什么"),
    "value": ("Here", "在本抓包中"),
    "why": ("Why it matters", "为何重要"),
    "where": ("Specification", "规范出处"),
    "attacker": ("What an attacker sees", "攻击者看到什么"),
}


def messages_list(connection: Connection, run: str = "") -> Markup:
    """All messages, each to be opened; of a run of a lab, by its number."""
    told: dict[str, int] = {}
    parts: list[Markup] = []
    for message in connection.messages[:_MOST]:
        parts.append(_message(connection, message, told, run))
    rest = len(connection.messages) - len(parts)
    if rest > 0:
        parts.append(
            tag("p", both(f"{rest} more messages are not told here.", f"另有 {rest} 条消息未列出。"), class_="soft")
        )
    return join(parts)


def place(connection: Connection, run: str = "") -> str:
    """The id of a connection on the page, where each run of a lab has a connection 1."""
    return f"{f'r{run}-' if run else ''}c{connection.number}"


def anchor(connection: Connection, index: int, run: str = "") -> str:
    """The id of one of its messages."""
    return f"{place(connection, run)}-m{index}"


def _message(connection: Connection, message: Message, told: dict[str, int], run: str) -> Markup:
    sender = phrase(SENDERS[message.sender])
    frames = ", ".join(f"#{each}" for each in message.frames[:8]) + (" …" if len(message.frames) > 8 else "")
    size = f"{message.length} B" if message.length else None
    lock = both("encrypted", "已加密") if message.encrypted else None
    facts = [each for each in (sender, frames, size, lock) if each]
    summary = tag(
        "summary",
        tag("b", f"{message.index}. {message.name}"),
        tag("span", *_dotted(facts), class_="soft"),
        tag("span", in_both(message.value), class_="value") if message.value else None,
    )
    body = [
        _explained(connection, message, told, run),
        checks_list(message.checks),
        _fields(message) if message.fields else None,
        _bytes(message.raw) if message.raw else None,
    ]
    return tag("details", summary, tag("div", *body), id=anchor(connection, message.index, run))


def _dotted(parts: Iterable[object]) -> Iterator[object]:
    for number, each in enumerate(parts):
        if number:
            yield " · "
        yield each


def _explained(connection: Connection, message: Message, told: dict[str, int], run: str) -> Markup:
    explanation = message.explanation
    rows: list[tuple[str, object]] = []
    key = explanation_key(message, connection.tls)
    if explanation is not None and key in told:
        first = tag("a", f"{told[key]}", href=f"#{anchor(connection, told[key], run)}")
        rows.append(("what", join((both("as message ", "见消息 "), first))))
    elif explanation is not None:
        told[key] = message.index
        chinese = in_chinese(key, explanation)
        rows.append(("what", both(explanation.what, chinese.what)))
        rows.append(("why", both(explanation.why, chinese.why)))
        rows.append(("where", explanation.specification))
        rows.append(("attacker", both(explanation.attacker, chinese.attacker)))
    if message.value:
        rows.insert(1, ("value", in_both(message.value)))
    return _definitions((phrase(_LABELS[name]), value) for name, value in rows)


def _definitions(rows: Iterable[tuple[object, object]]) -> Markup:
    return tag("dl", *(join((tag("dt", name), tag("dd", value))) for name, value in rows))


def checks_list(checks: Iterable[Check]) -> Markup | None:
    """What was computed anew, and how it came out; None where there is nothing."""
    rows = [
        tag(
            "li",
            tag("b", phrase(STATES[each.outcome]), class_=each.outcome.value),
            " · ",
            phrase(check_name(each.key)),
            ": ",
            in_both(each.text),
        )
        for each in checks
    ]
    return tag("ul", *rows, class_="checks") if rows else None


class _Room:
    """How many fields may still be shown."""

    def __init__(self) -> None:
        self.left = _MOST_FIELDS

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def _fields(message: Message) -> Markup:
    return join((tag("h4", both("Fields", "字段")), _field_list(message.fields, message.raw, _Room(), 0)))


def _field_list(fields: Iterable[Field], raw: bytes, room: _Room, depth: int) -> Markup:
    items = []
    for each in fields:
        if not room.take():
            items.append(tag("li", "…"))
            break
        inner = None
        if each.fields and depth < _DEEPEST:
            inner = _field_list(each.fields, raw, room, depth + 1)
        # A list is not told twice: as a text, and item by item.
        text = each.text if len(each.fields) < 2 or len(each.text) < _SHORT else None
        items.append(
            tag(
                "li",
                tag("code", each.name),
                f" {text}" if text else None,
                tag("span", f" ({each.meaning})", class_="soft") if each.meaning else None,
                _place(each, raw),
                inner,
            )
        )
    return tag("ul", *items, class_="fields")


def _place(field: Field, raw: bytes) -> Markup | None:
    """Where in the bytes it stands, and the first of them."""
    if field.start is None or not field.length:
        return None
    some = raw[field.start : field.start + min(field.length, 8)].hex(" ")
    more = " …" if field.length > 8 else ""
    return tag("span", f" [{field.start}+{field.length}: {some}{more}]", class_="soft place")


def _bytes(raw: bytes) -> Markup:
    lines = []
    for start in range(0, min(len(raw), _MOST_BYTES), 16):
        row = raw[start : start + 16]
        text = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        lines.append(f"{start:04x}  {row.hex(' '):<47}  {text}")
    if len(raw) > _MOST_BYTES:
        lines.append(f"… {len(raw)}")
    return join((tag("h4", both("Bytes", "字节")), tag("div", "\n".join(lines), class_="bytes", tabindex=0)))
