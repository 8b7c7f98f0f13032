# -*- test-case-name: tests.lab.report.test_html -*-
"""Text to HTML. What is in a capture was made by strangers: nothing reaches the page but through :func:`escaped`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["Markup", "both", "escaped", "in_picture", "join", "phrase", "table", "tag"]

_REPLACED: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&#39;"}

_LONGEST: Final = 4000
"""Characters of one text: a topic has 4 KiB at most by our limits, and a page is for reading."""


class Markup(str):
    """HTML that is right as it is."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """A text, with nothing in it that HTML or a terminal would act on; markup stays as it is."""
    if isinstance(value, Markup):
        return value
    text = str(value)
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + " …"
    shown = "".join(each if each.isprintable() or each == "\n" else f"\\x{ord(each):02x}" for each in text)
    return Markup(shown.translate(_REPLACED))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. A trailing underscore of an attribute's name is dropped, others become hyphens; None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    """Several after one another; None is nothing."""
    return Markup("".join(escaped(each) for each in children if each is not None))


def both(english: object, chinese: object) -> Markup:
    """A text in both languages, of which the page shows one."""
    if english == chinese:
        return escaped(english)
    return join((tag("span", english, lang="en"), tag("span", chinese, lang="zh")))


def phrase(words: tuple[str, str]) -> Markup:
    """An entry of a table of texts, English and Chinese."""
    return both(*words)


def in_picture(words: tuple[str, str]) -> Markup:
    """The same within a text of SVG, which knows no span."""
    english, chinese = words
    if english == chinese:
        return escaped(english)
    return join((tag("tspan", english, lang="en"), tag("tspan", chinese, lang="zh")))


def table(heads: Iterable[tuple[str, str]], rows: Iterable[Iterable[object]], class_: str | None = None) -> Markup:
    """A table. Each cell has its column's name with it, for a page so narrow that a row becomes a card."""
    names = [phrase(each) for each in heads]
    head = tag("tr", *(tag("th", each, scope="col") for each in names))
    body = [tag("tr", *(_cell(name, each) for name, each in zip(names, row, strict=True))) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body), class_=class_), class_="wide")


def _cell(name: object, value: object) -> Markup:
    return tag("td", tag("span", name, class_="label"), tag("span", value, class_="cell"))
