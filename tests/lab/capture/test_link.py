"""Tests for mqttsecure.lab.capture.link: from frames to IP."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.link import (
    ETHERNET,
    LINUX_SLL,
    LINUX_SLL2,
    LOOP,
    NULL,
    RAW,
    RAW_IPV4,
    RAW_IPV6,
    ip_packet,
    link_name,
)
from mqttsecure.lab.capture.synthesis import End, ip_header, link_header

_IPV4 = ip_header(End("10.0.0.1", 1), End("10.0.0.2", 2), b"payload")
_IPV6 = ip_header(End("fd00::1", 1), End("fd00::2", 2), b"payload")


class LinkTests(SynchronousTestCase):
    """Wherever the capture was taken."""

    def test_each_link(self) -> None:
        """IPv4 and IPv6 on each of them."""
        for packet in (_IPV4, _IPV6):
            for link in (ETHERNET, LINUX_SLL, LINUX_SLL2, LOOP, NULL, RAW, RAW_IPV4, RAW_IPV6, 12, 14):
                self.assertEqual(ip_packet(link, link_header(link, packet, True)), packet, link)

    def test_vlan_tags(self) -> None:
        """Up to four, one in another; the fifth is an attack."""
        for count in range(6):
            frame = link_header(ETHERNET, _IPV4, False, tuple(range(count)))
            self.assertEqual(ip_packet(ETHERNET, frame), _IPV4 if count < 5 else None)
        tagged = b"\x81\x00" + bytes(18) + b"\x00\x05\x08\x00" + _IPV4
        self.assertEqual(ip_packet(LINUX_SLL2, tagged), _IPV4)

    def test_pppoe(self) -> None:
        """A DSL line."""
        head = bytes(12) + b"\x88\x64\x11\0\0\1" + (len(_IPV4) + 2).to_bytes(2, "big")
        self.assertEqual(ip_packet(ETHERNET, head + b"\0\x21" + _IPV4), _IPV4)
        self.assertIsNone(ip_packet(ETHERNET, head + b"\xc0\x21" + _IPV4))

    def test_no_ip(self) -> None:
        """ARP, nothing at all, frames cut within their headers."""
        arp = bytes(12) + b"\x08\x06" + bytes(28)
        for link in (ETHERNET, LINUX_SLL, LINUX_SLL2, LOOP, NULL, RAW):
            for data in (arp, b"", b"\x01", bytes(15)):
                self.assertIsNone(ip_packet(link, data), link)

    def test_foreign_links_have_names(self) -> None:
        """What cannot be read is named."""
        self.assertRaises(KeyError, ip_packet, 105, b"")
        self.assertIn("Wi-Fi", link_name(105))
        self.assertEqual(link_name(9999), "link type 9999")
