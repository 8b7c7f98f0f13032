# -*- test-case-name: tests.lab.network.test_relay -*-
"""Where frames cannot be captured: a relay before the broker that draws them, in a thread of its own.

It goes on from the address of a host of the lab, so that the broker's policy knows who comes. TLS passes it unopened.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

from mqttsecure.errors import LabError
from mqttsecure.lab.capture.synthesis import Conversation, End

__all__ = ["Relay"]

_CHUNK: Final = 65536
_MAXIMUM_BYTES: Final = 64 * 1024 * 1024
"""Of frames that are kept."""
_PATIENCE: Final = 10.0


class Relay:
    """Takes one connection after the other on ``address``, and carries it to the broker from the same address."""

    def __init__(self, address: str, broker: tuple[str, int]) -> None:
        self._address = address
        self._broker = broker
        self._lock = threading.Lock()
        self._bytes = 0
        self.frames: list[tuple[int, bytes]] = []
        """Time in nanoseconds, and bytes."""
        self._conversations: list[Conversation] = []
        self._listening = socket.socket()
        try:
            self._listening.bind((address, 0))
            self._listening.listen(8)
        except OSError as error:
            self._listening.close()
            raise LabError(f"{address} cannot be used: {error.strerror}; is 127.0.0.0/8 on this machine?") from None
        self.port: int = self._listening.getsockname()[1]
        self._stop, self._stopping = socket.socketpair()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.close()
        for thread in self._threads:
            thread.join(_PATIENCE)
        self._stop.close()
        self._listening.close()
        # By time alone: what was drawn at one moment stays in its order.
        self.frames = sorted(
            (frame for each in self._conversations for frame in each.frames), key=lambda frame: frame[0]
        )

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._stop, selectors.EVENT_READ)
            while all(key.fileobj is not self._stop for key, _ in selector.select()):
                client, _ = self._listening.accept()
                thread = threading.Thread(target=self._carry, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(self._broker, _PATIENCE, (self._address, 0))
            except OSError:
                return  # the client sees its connection closed, as it would at a firewall
            with server:
                local = server.getsockname()
                conversation = Conversation(End(local[0], local[1]), End(*self._broker))
                conversation.open(time.time_ns())
                with self._lock:
                    self._conversations.append(conversation)
                self._exchange(client, server, conversation)

    def _exchange(self, client: socket.socket, server: socket.socket, conversation: Conversation) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (client, server, self._stop):
                selector.register(each, selectors.EVENT_READ)
            open_ends = 2
            while open_ends:
                for key, _ in selector.select():
                    if key.fileobj is self._stop:
                        return
                    from_client = key.fileobj is client
                    source, target = (client, server) if from_client else (server, client)
                    if not self._pass(source, target, from_client, conversation):
                        selector.unregister(source)
                        open_ends -= 1

    def _pass(
        self, source: socket.socket, target: socket.socket, from_client: bool, conversation: Conversation
    ) -> bool:
        """Carry what is there; False at the end of that direction."""
        try:
            data = source.recv(_CHUNK)
            if data:
                with self._lock:
                    self._bytes += len(data)
                    if self._bytes < _MAXIMUM_BYTES:
                        conversation.send(from_client, data, time.time_ns())
                target.sendall(data)
                return True
            conversation.close(from_client, time.time_ns())
            target.shutdown(socket.SHUT_WR)
        except OSError:
            conversation.close(from_client, time.time_ns(), reset=True)
        return False
