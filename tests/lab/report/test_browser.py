# -*- test-case-name: tests.lab.report.test_browser -*-
"""How the page looks in Chromium: wide and on a telephone, light and dark, both languages, opened, and on paper."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.report.lab_page import lab_page
from mqttsecure.lab.report.page import reading_page
from tests.lab.report.browser import Browser
from tests.lab.report.test_lab_page import record
from tests.lab.samples import read_sample
from tests.support.foreign import require

_WIDTHS = (1280, 390)

_OVERLAPS = """
(() => {
  const found = [];
  for (const picture of document.querySelectorAll('svg')) {
    const frame = picture.getBoundingClientRect();
    if (!frame.width) continue;
    const boxes = [...picture.querySelectorAll('text')].map(each => [each.textContent, each.getBoundingClientRect()]);
    boxes.forEach(([text, box], at) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1)
        found.push('cut: ' + text);
      for (const [other, against] of boxes.slice(at + 1))
        if (box.left < against.right - 1 && against.left < box.right - 1 &&
            box.top < against.bottom - 2 && against.top < box.bottom - 2) found.push(text + ' / ' + other);
    });
  }
  return found;
})()
"""
"""Texts of pictures that lie on each other, or leave their picture. A pixel or two are line spacing, not ink."""

_CUT = """
[...document.querySelectorAll('main *, header *, footer *')].filter(each => {
  const box = each.getBoundingClientRect();
  const hidden = each.matches('.wide') && each.scrollWidth > each.clientWidth;
  return box.width && !each.closest('.bytes, svg') && (hidden || box.right > innerWidth + 1 || box.left < -1);
}).map(each => each.outerHTML.slice(0, 200))
"""
"""Elements that reach out of the page or of their own scroll bar; only the view of bytes may scroll."""

_OPEN = "document.querySelectorAll('details').forEach(each => { each.open = true; })"

_CONTRAST = """
(() => {
  const colour = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = part => (part /= 255) <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const bright = text => { const [r, g, b] = colour(text).map(light); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = bright(getComputedStyle(document.body).backgroundColor);
  const ratio = each => {
    const ink = bright(each.closest('svg') ? getComputedStyle(each).fill : getComputedStyle(each).color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  };
  return Math.min(...[...document.querySelectorAll('main p, main dd, main dt, main td, main b, svg text')].map(ratio));
})()
"""


class BrowserTests(SynchronousTestCase):
    """Someone looks at it."""

    def setUp(self) -> None:
        require("chromium")
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def pages(self) -> dict[str, Path]:
        """A page each of what there is to see: mutual, the widest names, an expired certificate, plain, a lab."""
        captures = {
            "mutual": "tls12-mtls.pcap",
            "retry": "made-tls13-retry.pcapng",
            "expired": "fail-expired.pcap",
            "six": "tls12-ecdhe-ipv6.pcap",
        }
        texts = {name: reading_page(read_sample(capture)) for name, capture in captures.items()}
        texts["lab"] = lab_page(record())
        files = {}
        for name, text in texts.items():
            files[name] = self.folder / f"{name}.html"
            files[name].write_text(text, encoding="utf-8")
        return files

    def test_nothing_overlaps_and_nothing_is_cut(self) -> None:
        """At both widths, in both languages, closed and with all messages opened."""
        with Browser() as browser:
            for name, file in self.pages().items():
                for width in _WIDTHS:
                    browser.show(file, width=width)
                    for language in ("en", "zh"):
                        where = f"{name}, {width}, {language}"
                        browser.ask(f"document.getElementById('language-{language}').checked = true")
                        self.check(browser, width, where)
                    browser.ask(_OPEN)
                    self.check(browser, width, f"{name}, {width}, opened")

    def check(self, browser: Browser, width: int, where: str) -> None:
        self.assertEqual(browser.ask("document.documentElement.scrollWidth"), width, where)
        self.assertEqual(browser.ask(_OVERLAPS), [], where)
        self.assertEqual(browser.ask(_CUT), [], where)

    def test_what_is_seen(self) -> None:
        """One language at a time, a legible ladder at each width, ink that stands out from paper, light and dark."""
        file = self.pages()["mutual"]
        with Browser() as browser:
            for dark in (False, True):
                browser.show(file, width=1280, dark=dark)
                self.assertGreater(browser.ask(_CONTRAST), 4.5, f"dark: {dark}")
            seen: dict[str, Any] = {}
            for language in ("en", "zh"):
                browser.ask(f"document.getElementById('language-{language}').click()")
                seen[language] = browser.ask("document.querySelector('main').innerText")
            self.assertIn("Every message explained", seen["en"])
            self.assertNotRegex(seen["en"], "[\u4e00-\u9fff]")
            self.assertIn("逐条消息讲解", seen["zh"])
            self.assertNotIn("Every message explained", seen["zh"])
            for width in _WIDTHS:
                browser.show(file, width=width)
                sizes = browser.ask(
                    "[...document.querySelectorAll('.picture svg text')]"
                    ".map(each => each.getBoundingClientRect().height).filter(height => height)"
                )
                self.assertGreater(min(sizes), 10, f"pixels of the smallest text at {width}")

    def test_asks_nobody(self) -> None:
        """The browser loads the file and nothing else, and nothing in it runs."""
        file = self.pages()["mutual"]
        with Browser() as browser:
            browser.show(file, width=1280)
            self.assertEqual(browser.ask("performance.getEntriesByType('resource').map(each => each.name)"), [])
            self.assertEqual(browser.ask("document.scripts.length"), 0)
            self.assertNotEqual(
                browser.ask("getComputedStyle(document.querySelector('.verdict')).borderLeftWidth"), "0px"
            )

    def test_on_paper(self) -> None:
        """Explanations are printed though nobody opened them, and no page is empty."""
        require("pdftotext")
        file = self.pages()["mutual"]
        with Browser() as browser:
            browser.show(file, width=1280)
            printed = self.folder / "page.pdf"
            printed.write_bytes(browser.printed())
        text = subprocess.run(["pdftotext", "-layout", printed, "-"], capture_output=True, check=True, text=True).stdout
        for expected in (
            "RFC 5246, section 7.4.9",
            "cipher_suites",
            "What an attacker sees",
            "Handshakes side by side",
        ):
            self.assertIn(expected, text)
        pages = text.rstrip("\f").split("\f")
        self.assertEqual([number for number, page in enumerate(pages, 1) if not re.search(r"\w", page)], [])
