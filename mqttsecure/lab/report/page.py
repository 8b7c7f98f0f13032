# -*- test-case-name: tests.lab.report.test_page -*-
"""The page: one HTML file that asks nobody for anything, in two languages, with a switch that needs no script.

page = reading_page(read_capture(Path("lab.pcapng")))
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from mqttsecure.lab.history import VERSIONS
from mqttsecure.lab.model import Connection, Corrected, Reading
from mqttsecure.lab.report.chinese import corrected_in_chinese, history_in_chinese
from mqttsecure.lab.report.chinese_values import in_both
from mqttsecure.lab.report.comparison import comparison, this_row
from mqttsecure.lab.report.connection import connection_section
from mqttsecure.lab.report.html import Markup, both, escaped, join, phrase, table, tag
from mqttsecure.lab.report.style import STYLE

__all__ = ["MOST_CONNECTIONS", "best_corrections", "corrections", "history", "page", "reading_page"]

MOST_CONNECTIONS: Final = 20
"""That are told in full: a capture may have 100,000; ``--connection`` picks another one."""

_SOURCE: Final = b64encode(sha256(STYLE.encode()).digest()).decode("ascii")
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_SOURCE}'; base-uri 'none'; form-action 'none'"
"""Nothing is loaded and no script runs, whatever a capture has brought along; the style is known by its hash."""

_HEAD: Final = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="referrer" content="no-referrer">\n'
)
_SWITCH: Final = (
    '<input class="language" type="radio" name="language" id="language-en" checked>\n'
    '<input class="language" type="radio" name="language" id="language-zh">\n'
    '<nav class="switch" aria-label="Language / 语言"><label for="language-en" lang="en">English</label>'
    '<label for="language-zh" lang="zh">中文</label></nav>\n'
)


_CONTENTS: Final = (
    ("comparison", ("Handshakes side by side", "各种握手并排比较")),
    ("attacks", ("Attacks", "攻击")),
    ("denials", ("Denials", "策略的拒绝")),
    ("corrections", ("The old lab text", "旧实验文本")),
    ("history", ("TLS and what came before it", "TLS 及其前身")),
)


def page(title: tuple[str, str], sections: Iterable[Markup | None]) -> str:
    """A whole page of its sections; what they all have is linked to from the top."""
    main = join(sections)
    links = [tag("a", phrase(words), href=f"#{name}") for name, words in _CONTENTS if f' id="{name}"' in main]
    footer = both(
        "Made by mqttsecure. What fields mean is told in English in both languages.",
        "由 mqttsecure 生成。各字段的含义在两种语言中均以英文给出。",
    )
    return "".join(
        (
            _HEAD,
            f"<title>{escaped(title[0])}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
            _SWITCH,
            tag("header", tag("h1", phrase(title)), tag("p", *links, class_="contents")),
            "\n",
            tag("main", main),
            "\n",
            tag("footer", footer),
            "\n</body>\n</html>\n",
        )
    )


def reading_page(reading: Reading, *, number: int | None = None) -> str:
    """The report of a capture or of a live connection.

    Args:
        reading: what to tell.
        number: only this connection.
    """
    connections = [each for each in reading.connections if number is None or each.number == number]
    name = reading.source.rpartition("/")[2]  # a page is passed on, and the folders of its maker are nobody's business
    title = (f"Handshake report: {name}", f"握手报告：{name}")
    return page(
        title,
        (
            _source(reading),
            *connection_sections(connections),
            comparison([row for row in map(this_row, connections[:MOST_CONNECTIONS]) if row is not None]),
            corrections(best_corrections(connections)),
            history(),
        ),
    )


def connection_sections(connections: list[Connection]) -> list[Markup]:
    """The first ones in full, and how many are left."""
    sections = [connection_section(each) for each in connections[:MOST_CONNECTIONS]]
    rest = len(connections) - len(sections)
    if rest > 0:
        sections.append(tag("p", both(f"{rest} more connections are not told here.", f"另有 {rest} 个连接未列出。")))
    return sections


def _source(reading: Reading) -> Markup:
    when = ""
    if reading.start is not None:
        when = f", {datetime.fromtimestamp(reading.start, UTC).isoformat(sep=' ', timespec='seconds')}"
    counted = len(reading.connections)
    return join(
        (
            tag(
                "p",
                both(
                    f"{reading.format}, {reading.frames} frames, {counted} TCP connections{when}",
                    f"{reading.format}，{reading.frames} 帧，{counted} 个 TCP 连接{when}",
                ),
                class_="soft",
            ),
            *(tag("p", each, class_="warn") for each in reading.notes),
            *(tag("p", each.text) for each in reading.tunnels),
        )
    )


def best_corrections(connections: Iterable[Connection]) -> list[Corrected]:
    """Each correction once, by the first connection that shows something of it."""
    found: dict[str, Corrected] = {}
    for connection in connections:
        for each in connection.corrections:
            if each.row not in found or (each.here and not found[each.row].here):
                found[each.row] = each
    return list(found.values())


def corrections(found: list[Corrected]) -> Markup | None:
    """What the old lab text says, and what the wire says; None where there is no TLS to show it by."""
    if not found:
        return None
    cards = []
    for each in found:
        said, wire = corrected_in_chinese(each)
        rows = [
            (both("The old text", "旧实验文本"), both(each.said, said)),
            (both("The wire", "网络上的事实"), both(each.wire, wire)),
        ]
        if each.here:
            rows.append((both("In this capture", "在本抓包中"), in_both(each.here)))
        listed = tag("dl", *(join((tag("dt", name), tag("dd", text))) for name, text in rows))
        cards.append(tag("section", tag("h3", each.row), listed, class_="correction"))
    heading = both("What the old lab text says, and what the wire says", "旧实验文本怎么说，网络上实际如何")
    return tag("section", tag("h2", heading), *cards, id="corrections")


def history() -> Markup:
    """From SSL to TLS (lab row E1)."""
    rows = [
        (
            each.name,
            each.year,
            each.specification,
            tag("b", both("in use", "使用中"), class_="ok")
            if each.usable
            else tag("b", both("refused", "拒绝"), class_="bad"),
            both(each.why, history_in_chinese(each)),
        )
        for each in VERSIONS
    ]
    heads = (
        ("version", "版本"),
        ("year", "年份"),
        ("specification", "规范"),
        ("state", "状态"),
        ("why", "原因"),
    )
    return tag(
        "section", tag("h2", both("TLS and what came before it", "TLS 及其前身")), table(heads, rows), id="history"
    )
