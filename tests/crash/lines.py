"""Clients on sockets, all of them in one thread: what :mod:`tests.support.peers` speaks through to a real broker."""

from __future__ import annotations

import select
import socket
from typing import Any

from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect, Packet

__all__ = ["SocketLine", "wait_for"]


class SocketLine:
    """One network connection that never blocks; ``closed`` once its other end is gone and all it sent was read."""

    def __init__(self, port: int, version: int) -> None:
        self.version = version
        self.closed = False
        self.lost = False
        self._inbox: list[Packet] = []
        self._unsent = b""
        self._decoder = Decoder(version, 1 << 24, from_client=False)
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect_ex(("127.0.0.1", port))

    def connect_packet(
        self, client_id: str, clean: bool, keep_alive: int, user: str | None, **properties: Any
    ) -> Connect:
        return Connect(self.version, client_id, clean, keep_alive, user, None, None, dict(properties))

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, *packets: Packet) -> None:
        self._unsent += b"".join(encode_packet(packet, self.version) for packet in packets)
        self._write()

    def _write(self) -> None:
        while self._unsent and not self.closed:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # Perhaps not connected yet; where it never will be, reading says so.
                return

    def received(self) -> list[Packet]:
        """What has come since the last call."""
        self._write()
        while not self.closed and not self.lost:
            try:
                data = self._socket.recv(1 << 18)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            self._decoder.feed(data)
            while (packet := self._decoder.next_packet()) is not None:
                self._inbox.append(packet)
        packets, self._inbox = self._inbox, []
        return packets

    def lose(self) -> None:
        """Close it."""
        if not self.lost:
            self.lost = True
            self._socket.close()


def wait_for(lines: list[SocketLine], seconds: float) -> None:
    """Until something comes on one of them, or the time is over."""
    select.select([line for line in lines if not (line.lost or line.closed)], [], [], seconds)
