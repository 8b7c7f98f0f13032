"""OpenSSL's own client and server, with a relay between them that records: for what the Python bindings cannot do."""

from __future__ import annotations

import re
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.lab.authority import Credential, credential, root
from tests.lab.traffic import Recording
from tests.support.foreign import require

__all__ = ["Step", "converse"]

_PATIENCE: Final = 60.0
_ACCEPT: Final = re.compile(rb"ACCEPT .*:(\d+)\s")

Step = tuple[str, bytes] | tuple[str, bytes, int]
"""Which of the two programs, and what is typed there; the next step waits until that program has sent something.

Nothing typed waits until that program, too, has sent something since the last time that something was typed. A number
waits for a record with that many bytes, where the program may still be sending something else.
"""


def converse(
    folder: Path,
    *,
    server: Sequence[str] = (),
    client: Sequence[str] = (),
    first: Sequence[str] = (),
    steps: Sequence[Step] = (),
    found: Credential | None = None,
) -> Recording:
    """Let s_client talk to s_server, with a step typed after another.

    Args:
        folder: for their files.
        server: more arguments of s_server.
        client: more arguments of s_client.
        first: arguments of another s_client that goes before it and is not recorded, to make a session.
        steps: what is typed where.
        found: the server's certificate.
    """
    openssl = require("openssl")
    folder.mkdir(exist_ok=True)
    found = found or credential()
    (folder / "server.pem").write_bytes(found.pem + found.key_pem)
    (folder / "ca.pem").write_bytes(root().pem)
    keys = folder / "keys"
    keys.unlink(missing_ok=True)
    serving = subprocess.Popen(
        [
            openssl,
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-cert",
            "server.pem",
            "-naccept",
            "2" if first else "1",
            *server,
        ],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        port = _port(serving)
        if first:
            _ask(folder, port, first, (), serving, made=folder / "session")
        chunks = _ask(folder, port, ("-keylogfile", "keys", *client), steps, serving)
    finally:
        _end(serving)
    recording = Recording(chunks)
    recording.secrets = keys.read_bytes().splitlines() if keys.exists() else []
    return recording


def _ask(
    folder: Path,
    port: int,
    arguments: Sequence[str],
    steps: Sequence[Step],
    serving: subprocess.Popen[bytes],
    made: Path | None = None,
) -> list[tuple[bool, bytes]]:
    """One s_client: who sent what. It goes on until it has written the file ``made``."""
    relay = _Relay(port)
    asking = subprocess.Popen(
        [
            *(require("openssl"), "s_client", "-connect", f"127.0.0.1:{relay.port}"),
            *("-servername", "broker.lab.test", "-CAfile", "ca.pem", *arguments),
        ],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        relay.accept(asking)
        relay.wait_for_handshake()
        if made is not None:
            relay.wait_for(lambda: made.exists() and made.stat().st_size > 0)
        for who, text, *size in steps:
            process = asking if who == "client" else serving
            if text:
                relay.mark()
                if not _type(process, text):
                    break
            if size:
                relay.wait_for_record(who, size[0])
            else:
                relay.wait_for_more(who)
        if asking.stdin is not None:
            asking.stdin.close()
        relay.finish()
    finally:
        _end(asking)
        relay.close()
    return relay.chunks


def _type(process: subprocess.Popen[bytes], text: bytes) -> bool:
    """Type something; False where the program has ended."""
    try:
        if process.stdin is not None:
            process.stdin.write(text)
            process.stdin.flush()
    except BrokenPipeError:
        return False
    return True


def _port(serving: subprocess.Popen[bytes]) -> int:
    """What s_server says it listens on; afterwards its output is read and thrown away."""
    output = serving.stdout
    if output is None:
        raise AssertionError("s_server has no output")
    said = b""
    while not (match := _ACCEPT.search(said)):
        piece = output.readline()
        if not piece:
            raise AssertionError(f"s_server did not start: {said!r}")
        said += piece
    threading.Thread(target=output.read, daemon=True).start()
    return int(match[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
    except OSError:
        pass
    if process.poll() is None:
        process.terminate()
    process.wait(_PATIENCE)
    if process.stdout is not None:
        process.stdout.close()


class _Relay:
    """Carries bytes between one client and the server, and notes them."""

    def __init__(self, server_port: int) -> None:
        self.chunks: list[tuple[bool, bytes]] = []
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE)
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._marked = 0

    def accept(self, asking: subprocess.Popen[bytes]) -> None:
        while not select.select([self._listener], [], [], 0.05)[0]:
            if asking.poll() is not None:
                raise AssertionError(f"s_client ended with {asking.returncode} before it connected")
        client, _address = self._listener.accept()
        self._ends = [client, socket.create_connection(("127.0.0.1", self._server_port), timeout=_PATIENCE)]

    def mark(self) -> None:
        """Remember how much was said."""
        self._marked = len(self.chunks)

    def wait_for_more(self, who: str) -> None:
        """Carry until that end has said something since the mark."""
        self.wait_for(lambda: any(each is (who == "client") for each, _data in self.chunks[self._marked :]))

    def wait_for_record(self, who: str, size: int) -> None:
        """Carry until that end has sent a record with a body of that size."""
        self.wait_for(lambda: size in self._sizes(who))

    def _sizes(self, who: str) -> list[int]:
        data = b"".join(data for from_client, data in self.chunks if from_client is (who == "client"))
        sizes = []
        while len(data) >= 5:
            sizes.append(int.from_bytes(data[3:5], "big"))
            data = data[5 + sizes[-1] :]
        return sizes

    def wait_for_handshake(self) -> None:
        """Carry until the server has answered the client's second flight, or the connection is over."""
        self.wait_for(lambda: self._changes() >= 4)

    def _changes(self) -> int:
        who = [from_client for from_client, _data in self.chunks]
        return sum(1 for at, each in enumerate(who) if not at or who[at - 1] is not each)

    def wait_for(self, reached: Callable[[], bool]) -> None:
        """Carry until that is so, or the connection is over."""
        limit = time.monotonic() + _PATIENCE
        while self._ends and not reached() and time.monotonic() < limit:
            self._carry(0.05)

    def finish(self) -> None:
        """Carry until one of them has closed."""
        self.wait_for(lambda: False)

    def _carry(self, patience: float) -> None:
        ready, _write, _error = select.select(self._ends, [], [], patience)
        for end in ready:
            if not self._pass_on(end):
                self.close_ends()
                return

    def _pass_on(self, end: socket.socket) -> bool:
        """Carry what one end has sent; False when the connection is over."""
        other = self._ends[1] if end is self._ends[0] else self._ends[0]
        try:
            data = end.recv(1 << 20)
            if data:
                self.chunks.append((end is self._ends[0], data))
                other.sendall(data)
        except ConnectionError:
            return False
        return bool(data)

    def close_ends(self) -> None:
        for end in self._ends:
            end.close()
        self._ends = []

    def close(self) -> None:
        self.close_ends()
        self._listener.close()
