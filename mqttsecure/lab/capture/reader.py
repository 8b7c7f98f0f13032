# -*- test-case-name: tests.lab.capture.test_reader -*-
"""A capture file to its TCP connections, with a note for all that was left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.frames import CaptureFile
from mqttsecure.lab.capture.ip import TCP, UDP, Defragmenter
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.link import ip_packet, link_name
from mqttsecure.lab.capture.streams import Connections, TcpConnection
from mqttsecure.lab.capture.tcp import parse_segment
from mqttsecure.lab.capture.wireguard import Tunnel, count_wireguard

__all__ = ["Traffic", "read_traffic"]


@dataclass(slots=True)
class Traffic:
    """What a capture holds above IP."""

    connections: list[TcpConnection]
    tunnels: list[Tunnel]
    notes: list[str]


def read_traffic(capture: CaptureFile, budget: Budget) -> Traffic:
    """Put the connections of a capture together.

    Raises:
        CaptureError: none of its frames is of a link type that can be read, or a limit is reached.
    """
    collector = _Collector(budget)
    for frame in capture.frames:
        budget.check_time()
        collector.skipped["cut"] += frame.length > len(frame.data)
        try:
            packet = ip_packet(frame.link_type, frame.data)
        except KeyError:
            collector.foreign[frame.link_type] += 1
            continue
        if packet is None:
            collector.skipped["other"] += 1
        else:
            collector.take(packet, frame.number, frame.time)
    if collector.foreign and sum(collector.foreign.values()) == len(capture.frames):
        names = ", ".join(sorted(link_name(each) for each in collector.foreign))
        raise CaptureError(
            f"it was captured on {names}, which is not read here; capture on Ethernet, loopback or `any`, or a tunnel"
        )
    return collector.finish(capture.notes)


class _Collector:
    def __init__(self, budget: Budget) -> None:
        self.ip = Defragmenter(budget)
        self.tcp = Connections(budget)
        self.tunnels: dict[tuple[str, str], Tunnel] = {}
        self.foreign: Counter[int] = Counter()
        self.skipped: Counter[str] = Counter()

    def take(self, packet: bytes, frame: int, time: float) -> None:
        datagram = self.ip.feed(packet)
        if datagram is None:
            return
        if datagram.protocol == UDP:
            ends = (datagram.source, datagram.destination)
            if not count_wireguard(self.tunnels, ends, datagram.payload, frame):
                self.skipped["udp"] += 1
        elif datagram.protocol != TCP:
            self.skipped["protocol"] += 1
        else:
            segment = parse_segment(datagram.payload, frame, time, datagram.missing)
            if segment is None:
                self.skipped["malformed"] += 1
            else:
                self.tcp.feed(datagram.source, datagram.destination, segment)

    def finish(self, notes: list[str]) -> Traffic:
        notes = list(notes)
        counts = (
            (self.skipped["other"], "frames carry no IP (ARP and the like) and were passed over"),
            (self.skipped["udp"], "UDP datagrams were passed over"),
            (self.skipped["protocol"], "IP packets are neither TCP nor UDP and were passed over"),
            (self.skipped["malformed"], "TCP segments are malformed and were passed over"),
            (self.ip.malformed, "IP packets are malformed and were passed over"),
            (self.ip.unfinished, "IP packets lack fragments and were passed over"),
            (self.skipped["cut"], "frames were cut by the capture's snap length; capture whole frames: tcpdump -s 0"),
            (self.tcp.ignored, "segments belong to connections beyond the limit and were passed over"),
            *((count, f"frames are of {link_name(kind)} and were passed over") for kind, count in self.foreign.items()),
        )
        notes += [f"{count} {text}" for count, text in counts if count]
        return Traffic(self.tcp.finish(), list(self.tunnels.values()), notes)
