# -*- test-case-name: tests.lab.report.test_page -*-
"""The page of a reading: all of it is there, in two languages, and whatever a capture holds is text."""

from __future__ import annotations

import re
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.explain import explain
from mqttsecure.lab.model import Field
from mqttsecure.lab.report.agreed import agreed
from mqttsecure.lab.report.page import MOST_CONNECTIONS, best_corrections, reading_page
from tests.lab.report.test_html import read
from tests.lab.samples import all_samples, one_connection, read_sample

_HOSTILE: Final = "</title></style><script>alert(1)</script><img src=http://x.example onerror=alert(2)>'\"&\x1b[2J"
_ELEMENTS: Final = {
    *("html", "head", "meta", "title", "style", "body", "input", "nav", "label", "header", "main", "footer", "section"),
    *("figure", "figcaption", "div", "span", "p", "h1", "h2", "h3", "h4", "b", "a", "ul", "li", "dl", "dt", "dd"),
    *("code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    *("svg", "text", "tspan", "rect", "line", "path", "g"),
}


def sections(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


class PageTests(SynchronousTestCase):
    """Someone opens the file."""

    def test_it_asks_nobody_for_anything(self) -> None:
        """No script, no link but within the page, no picture, and a policy that forbids them."""
        for name in all_samples():
            page = reading_page(read_sample(name))
            found = read(page)
            self.assertEqual(set(found.tags) - _ELEMENTS, set(), name)
            self.assertIn("default-src 'none'; style-src 'sha256-", page)
            self.assertEqual(re.findall(r' (?:src|href|action|style|on\w+)="(?!#)[^"]*"', page), [], name)
            self.assertNotIn("url(", page)

    def test_all_sections(self) -> None:
        """Verdict, ladder, layers, messages, certificates, comparison, corrections, history; in both languages."""
        page = reading_page(read_sample("tls12-mtls.pcap"))
        for expected in (
            "certificate of broker.lab.test from MQTT Lab CA",
            "证书 broker.lab.test，由 MQTT Lab CA 颁发",
            "SYN in frame 1, SYN-ACK in frame 2, ACK in frame 3",
            "What lies in what",
            "Certificates of the client",
            "客户端的证书",
            "RFC 5246, section 7.4.9",
            "PUBLISH → PUBACK",
            "Keep Alive: 60 s",
            '<a href="#corrections">',
            "Handshakes side by side",
            "旧实验文本怎么说",
            "POODLE",
        ):
            self.assertIn(expected, page)
        self.assertEqual(page.count('lang="zh"'), page.count('lang="en"') - 1, "each text is there in both; html is en")

    def test_what_was_agreed(self) -> None:
        """The suite spelled out and graded, both randoms, and where the keys come from, by the kind of handshake."""
        for name, expected in (
            (
                "tls12-rsa-aes128-sha256.pcap",
                "encrypted it for the certificate&#39;s key; the master secret is made of it",
            ),
            ("tls12-ecdhe-rsa.pcap", "key exchange ECDHE, authentication RSA, cipher AES-128-GCM, hash SHA-256"),
            ("made-tls12-ticket-resumed.pcapng", "The master secret is that of the earlier session"),
            ("tls13.pcap", "HKDF makes a key for each direction"),
            ("tls13-psk-resumed.pcap", "stands in for the certificate; beside it: Each end"),
        ):
            connection = one_connection(name)
            page = reading_page(read_sample(name))
            self.assertIn(expected, page)
            self.assertIn(str(connection.tls.server_random if connection.tls is not None else None), page)
        self.assertIn('<b class="warn"><span lang="en">weak', reading_page(read_sample("tls12-rsa-aes128-sha256.pcap")))
        self.assertIsNone(agreed(one_connection("fail-tls10-refused.pcap")))

    def test_each_message_is_told(self) -> None:
        """With what it is, why, where, who sees it, its fields and bytes; the second of a kind points to the first."""
        connection = one_connection("tls12-ecdhe-rsa.pcap")
        page = reading_page(read_sample("tls12-ecdhe-rsa.pcap"))
        self.assertEqual(page.count("<details"), len(connection.messages))
        for message in connection.messages:
            self.assertIn(f'id="c1-m{message.index}"', page)
            explanation = explain(message, connection.tls)
            self.assertIn(explanation.specification if explanation is not None else "?", page)
        self.assertIn("0000  ", page)
        self.assertIn("cipher_suite", page)
        self.assertIn('<b class="ok"><span lang="en">right</span>', page)
        self.assertIn('as message </span><span lang="zh">见消息 </span><a href="#c1-m10">10</a>', page)

    def test_a_rogue(self) -> None:
        """Names match, the signature does not: red, in the chain and in the verdict."""
        page = reading_page(read_sample("fail-rogue.pcap"))
        self.assertIn("verdict bad", page)
        self.assertIn("certificate wrong", page)
        self.assertIn("THE SIGNATURE DOES NOT", page)
        self.assertIn("bar outside", reading_page(read_sample("fail-expired.pcap")))

    def test_without_tls_or_connections(self) -> None:
        """A password that can be read, a tunnel of which no more is seen: no corrections, and no certificates."""
        page = reading_page(read_sample("plain-v311.pcap"))
        self.assertIn("NO TLS", page)
        self.assertNotIn('id="corrections"', page)
        self.assertIn("WireGuard between", reading_page(read_sample("wireguard-mqtts.pcap")))

    def test_one_of_several(self) -> None:
        """Only the connection that was asked for; of very many the first ones."""
        reading = read_sample("tls13.pcap")
        reading.connections *= MOST_CONNECTIONS + 3
        self.assertIn("3 more connections are not told here", reading_page(reading))
        self.assertEqual(sections(reading_page(reading, number=2))[0].count("Connection"), 0)

    def test_corrections_by_the_connection_that_shows_them(self) -> None:
        """A refused handshake shows the alert, a finished one Finished."""
        refused, finished = one_connection("fail-tls10-refused.pcap"), one_connection("tls12-ecdhe-rsa.pcap")
        found = {each.row: each.here for each in best_corrections([refused, finished])}
        self.assertIn("protocol_version", found["C2a"])
        self.assertIn("equal", found["C4d"])


class HostileTests(SynchronousTestCase):
    """A capture was made by strangers."""

    def test_whatever_it_says(self) -> None:
        """Names, topics, payloads, notes, file names: no tag of theirs, and no escape of a terminal."""
        reading = read_sample("tls12-mtls.pcap")
        reading.source = _HOSTILE
        reading.notes.append(_HOSTILE)
        (connection,) = reading.connections
        connection.notes.append(_HOSTILE)
        connection.verdict.text = _HOSTILE
        for message in connection.messages:
            message.name = message.value = _HOSTILE
            message.raw = _HOSTILE.encode()
            message.fields = (Field(_HOSTILE, _HOSTILE, _HOSTILE, _HOSTILE, message.fields),)
        tls = connection.tls
        for certificate in tls.server_certificates if tls is not None else ():
            certificate.subject = certificate.issuer = certificate.key_text = f"CN={_HOSTILE}"
            certificate.san = [_HOSTILE]
            certificate.not_before = _HOSTILE
        page = reading_page(reading)
        self.assertEqual(set(read(page).tags) - _ELEMENTS, set())
        self.assertNotIn("<img", page)
        self.assertNotIn("\x1b", page)
        self.assertEqual(page.count("</style>"), 1)

    def test_very_many_and_very_long(self) -> None:
        """A page of a hostile capture stays a page: fields, bytes, texts and messages are bounded."""
        reading = read_sample("tls12-ecdhe-rsa.pcap")
        (connection,) = reading.connections
        field = Field("x", None, "y" * 100_000)
        for _ in range(50):
            field = Field("deep", None, "z", fields=(field,) * 2)
        connection.messages[3].fields = (field,) * 500
        connection.messages[3].raw = b"r" * 10_000_000
        connection.messages *= 100
        page = reading_page(reading)
        self.assertIn("1900 more messages are not told here", page)
        self.assertLess(len(page), 16_000_000)
