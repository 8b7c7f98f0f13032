# -*- test-case-name: tests.lab.report.test_html -*-
"""What strangers wrote stays text."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.report.html import Markup, both, escaped, join, table, tag


class _Reader(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markup: str) -> _Reader:
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return reader


class HtmlTests(SynchronousTestCase):
    """Text becomes HTML."""

    @given(st.text(max_size=200), st.text(max_size=200))
    def test_whatever_the_text(self, text: str, attribute: str) -> None:
        """It makes no tag, and what can be printed can be read again."""
        found = read(tag("p", text, title=attribute))
        self.assertEqual(found.tags, ["p"])
        if text.isprintable():
            self.assertEqual(found.text, text)

    def test_what_a_terminal_or_a_page_would_act_on(self) -> None:
        """Escapes, directions and line ends of others are shown as numbers; long texts are cut."""
        self.assertEqual(escaped("a\x1b[31m\u202eb<i>"), "a\\x1b[31m\\x202eb&lt;i&gt;")
        self.assertLess(len(escaped("x" * 1_000_000)), 5000)

    def test_attributes(self) -> None:
        """None leaves one out; names that Python keeps for itself take an underscore."""
        self.assertEqual(tag("a", class_="x", href=None, stroke_width=2), '<a class="x" stroke-width="2"></a>')

    def test_markup_is_left_alone(self) -> None:
        """Once, and only what says that it is markup."""
        inner = tag("b", "<")
        self.assertEqual(tag("p", inner), "<p><b>&lt;</b></p>")
        self.assertEqual(join([Markup("<br>"), None, "<br>"]), "<br>&lt;br&gt;")

    def test_two_languages(self) -> None:
        """Both are there; what is the same is there once."""
        self.assertEqual(both("a", "b"), '<span lang="en">a</span><span lang="zh">b</span>')
        self.assertEqual(both("a", "a"), "a")

    def test_table(self) -> None:
        """A row has as many cells as there are heads."""
        self.assertIn('<span class="cell">2</span>', table([("a", "b"), ("c", "d")], [[1, 2]]))
        self.assertRaises(ValueError, table, [("a", "b"), ("c", "d")], [[1]])
