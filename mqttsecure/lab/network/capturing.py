# -*- test-case-name: tests.lab.network.test_capturing -*-
"""Captures the frames of one interface into pcapng: ``python -m mqttsecure.lab.network.capturing INTERFACE FILE``.

It says "ready" once the socket is bound; whoever starts the traffic before that has himself to blame. It ends when its
standard input does, and after what was on its way then.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import BinaryIO, Final

from mqttsecure.lab.capture.writer import PcapngWriter

__all__ = ["capture", "main"]

_ALL: Final = 0x0003
"""ETH_P_ALL: frames of every protocol, those that this host sends, too."""
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_PROMISCUOUS: Final = 1
_TIMESTAMP_NS: Final = 35
_SNAP: Final = 262144
_LOOPBACK: Final = 772
"""ARPHRD_LOOPBACK: each frame is seen when it leaves and again when it arrives."""
_OUTGOING: Final = 4

_BUFFER: Final = 8 * 1024 * 1024
"""What the kernel keeps for us while we write: more than a lab sends in a second."""
_MAXIMUM_BYTES: Final = 256 * 1024 * 1024
"""Of a capture: a flood in the lab must not fill the disk."""
_QUIET: Final = 0.05
"""Seconds without a frame after which nothing is on its way any more: on one machine they take microseconds."""


def _open(interface: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    made.setsockopt(socket.SOL_SOCKET, _TIMESTAMP_NS, 1)
    made.bind((interface, 0))
    membership = struct.pack("iHH8s", socket.if_nametoindex(interface), _PROMISCUOUS, 0, b"")
    made.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
    made.setblocking(False)
    return made


def _receive(frames: socket.socket) -> tuple[bytes, int, int, int] | None:
    """A frame, its time, its kind of interface and its direction."""
    try:
        data, ancillary, _, address = frames.recvmsg(_SNAP, socket.CMSG_SPACE(16))
    except BlockingIOError:
        return None
    moment = time.time_ns()
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _TIMESTAMP_NS:
            seconds, nanoseconds = struct.unpack("qq", value[:16])
            moment = seconds * 1_000_000_000 + nanoseconds
    return data, moment, address[3], address[2]


def capture(interface: str, file: BinaryIO, stop: int) -> int:
    """Capture until the descriptor ``stop`` is readable or at its end; the number of frames."""
    with _open(interface) as frames, PcapngWriter(file, comment="captured by mqttsecure lab") as writer:
        writer.add_interface(name=interface)
        print("ready", flush=True)  # noqa: T201  # whoever started it waits for that line
        number = frames.fileno()
        written = count = latest = 0
        stopping = False
        while written < _MAXIMUM_BYTES:
            ready, _, _ = select.select([number] if stopping else [number, stop], [], [], _QUIET if stopping else None)
            if stopping and not ready:
                break
            stopping = stopping or stop in ready
            while (found := _receive(frames)) is not None:
                data, moment, kind, direction = found
                if kind == _LOOPBACK and direction == _OUTGOING:
                    continue
                # Each processor has its own idea of microseconds; a frame is no older than the one before it.
                latest = max(latest, moment)
                writer.write_frame(data, latest)
                written, count = written + len(data), count + 1
            writer.flush()
        return count


def main() -> None:
    interface, path = sys.argv[1:3]
    with Path(path).open("wb") as file:
        capture(interface, file, sys.stdin.fileno())


if __name__ == "__main__":
    main()
