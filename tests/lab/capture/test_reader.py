"""Tests for mqttsecure.lab.capture.reader and wireguard: what is left out is told."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.synthesis import End, ip_header, link_header
from mqttsecure.lab.reading import read_capture_bytes
from tests.lab.samples import read_sample
from tests.lab.traffic import capture

_CLIENT, _SERVER = End("10.0.0.1", 1), End("10.0.0.2", 2)


def frame(payload: bytes, protocol: int) -> tuple[int, bytes]:
    return 0, link_header(1, ip_header(_CLIENT, _SERVER, payload, protocol), True)


class ReaderTests(SynchronousTestCase):
    """A capture of a busy network."""

    def test_what_is_passed_over_is_told(self) -> None:
        """ARP, other protocols, UDP, malformed packets, fragments without the rest."""
        lonely = bytearray(frame(b"12345678", 6)[1])
        lonely[20:22] = b"\x20\x00"
        frames = [
            (0, bytes(12) + b"\x08\x06" + bytes(28)),
            frame(b"ping", 1),
            frame(bytes(20), 17),
            frame(b"short", 6),
            (0, bytes(12) + b"\x08\0\x41" + bytes(30)),
            (0, bytes(lonely)),
        ]
        notes = " ".join(read_capture_bytes(capture(frames), source="test").notes)
        for text in (
            "no IP",
            "neither TCP nor UDP",
            "UDP datagrams",
            "TCP segments are",
            "IP packets are",
            "lack frag",
        ):
            self.assertIn(text, notes)

    def test_wireguard_is_recognized(self) -> None:
        """A tunnel is told as one, with what can be counted of it and nothing more."""
        reading = read_sample("wireguard-mqtts.pcap", keys=False)
        (tunnel,) = reading.tunnels
        self.assertEqual((tunnel.initiations, tunnel.responses, tunnel.data), (1, 1, 20))
        self.assertIn("1 Handshake Initiation, 1 Response, 20 Transport Data", tunnel.text)
        self.assertEqual(reading.connections, [])

    def test_other_udp_is_no_tunnel(self) -> None:
        """Messages that look a little like WireGuard's."""
        for message in (
            struct.pack("<I", 1) + bytes(100),
            struct.pack("<I", 5) + bytes(144),
            b"\x04\0\0\1" + bytes(60),
        ):
            reading = read_capture_bytes(capture([frame(bytes(8) + message, 17)]), source="test")
            self.assertEqual(reading.tunnels, [])
