"""Two hosts for a test: network namespaces with a cable between them, and sockets of either in this process.

Nothing of the machine's own network is touched, and nothing is left behind.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest import SkipTest

from tests.support.foreign import require

__all__ = ["CONNECTED", "REFUSED", "SILENCE", "Attempt", "TwoHosts"]

CONNECTED: Final = "connected"
REFUSED: Final = "refused"
SILENCE: Final = "silence"

_CLONE_NEWNET: Final = 0x4000_0000
_FREEBIND: Final = {socket.AF_INET: (socket.SOL_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}
"""Lets a client bind any address that is routed to it; Python has no names for it."""

_BACKLOG: Final = 4096
_COMMAND_PATIENCE: Final = 20.0


@dataclass(slots=True, frozen=True)
class Attempt:
    """A connection that a test tries."""

    source: str
    host: str
    port: int


class TwoHosts:
    """A host for the broker and one for its clients.

    The broker's host has the addresses 10.77.0.10 and fd77::10; to the client's belong 10.77.0.20, fd77::20 and all of
    ``ranges``.

    Raises:
        SkipTest: there is no nft or ip here, or namespaces may not be made (AssertionError with CI=true).
    """

    def __init__(self, ranges: Sequence[str]) -> None:
        self.ip = _require("ip")
        self._nft = _require("nft")
        self.server = f"mqttsecure-{os.getpid()}-s"
        self.client = f"mqttsecure-{os.getpid()}-c"
        self._sockets: list[socket.socket] = []
        self._made: list[str] = []
        try:
            self._make(ranges)
        except BaseException:
            self.remove()
            raise

    def _make(self, ranges: Sequence[str]) -> None:
        for name in (self.server, self.client):
            done = subprocess.run([self.ip, "netns", "add", name], capture_output=True, text=True)
            if done.returncode:
                _give_up(f"network namespaces cannot be made here ({done.stderr.strip()}); run the tests as root")
            self._made.append(name)
        self.run(
            "ip", "link", "add", "eth0", "netns", self.server, "type", "veth", "peer", "eth0", "netns", self.client
        )
        for name, last in ((self.server, "10"), (self.client, "20")):
            in_it = ("ip", "-n", name)
            self.run(*in_it, "link", "set", "lo", "up")
            self.run(*in_it, "addr", "add", f"10.77.0.{last}/24", "dev", "eth0")
            # Else IPv6 would wait a second or two for somebody to claim its addresses, and neighbours with it.
            dad = "/proc/sys/net/ipv6/conf/eth0/accept_dad"
            self.run("ip", "netns", "exec", name, "sh", "-c", f"echo 0 > {dad}")
            self.run(*in_it, "addr", "add", f"fd77::{last}/64", "dev", "eth0")
            self.run(*in_it, "link", "set", "eth0", "up")
        for each in ranges:
            gateway = "fd77::20" if ":" in each else "10.77.0.20"
            self.run("ip", "-n", self.server, "route", "add", each, "via", gateway)
            self.run("ip", "-n", self.client, "route", "add", "local", each, "dev", "lo")
        try:
            self.on_server("nft", "list", "ruleset")
        except AssertionError as error:
            _give_up(f"this kernel has no nftables ({error})")

    def remove(self) -> None:
        """Close all sockets and take the hosts away, the cable with them."""
        self.close_sockets()
        for name in self._made:
            subprocess.run([self.ip, "netns", "del", name], check=True, capture_output=True)
        self._made = []

    def close_sockets(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets = []

    def run(self, program: str, *arguments: str, text: str | None = None) -> str:
        """Run ip or nft, and give what it prints."""
        path = self._nft if program == "nft" else self.ip
        done = subprocess.run([path, *arguments], input=text, capture_output=True, text=True, timeout=_COMMAND_PATIENCE)
        if done.returncode:
            raise AssertionError(f"{program} {' '.join(arguments)}: {done.stderr}{text or ''}")
        return done.stdout

    def on_server(self, *arguments: str, text: str | None = None) -> str:
        """Run a program on the broker's host."""
        program = self._nft if arguments[0] == "nft" else arguments[0]
        return self.run("ip", "netns", "exec", self.server, program, *arguments[1:], text=text)

    def load(self, ruleset: str) -> None:
        """Load a ruleset for nft on the broker's host."""
        self.on_server("nft", "-f", "-", text=ruleset)

    # Sockets

    @contextmanager
    def _within(self, name: str) -> Iterator[None]:
        """This thread makes its sockets in that host meanwhile; a socket stays where it was made."""
        library = ctypes.CDLL(None, use_errno=True)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(Path("/run/netns") / name, os.O_RDONLY)
            try:
                _enter(library, there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(library, home)
        finally:
            os.close(home)

    def listen(self, host: str, port: int) -> socket.socket:
        """Listen on the broker's host, ``::`` for both versions."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self._within(self.server):
            made = socket.socket(family)
        self._sockets.append(made)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
        made.setblocking(False)
        return made

    def connect(self, attempt: Attempt) -> socket.socket:
        """Begin to connect from the client's host."""
        return self._connect(self.client, attempt)

    def connect_locally(self, attempt: Attempt) -> socket.socket:
        """Begin to connect on the broker's own host."""
        return self._connect(self.server, attempt)

    def _connect(self, name: str, attempt: Attempt) -> socket.socket:
        family = socket.AF_INET6 if ":" in attempt.host else socket.AF_INET
        with self._within(name):
            made = socket.socket(family)
        self._sockets.append(made)
        made.setblocking(False)
        made.setsockopt(*_FREEBIND[family], 1)
        made.bind((attempt.source, 0))
        made.connect_ex((attempt.host, attempt.port))
        return made

    def outcomes(self, attempts: Sequence[socket.socket], patience: float = 0.4) -> list[str]:
        """What became of connections that were begun; silence is told after ``patience`` seconds without any news.

        Less than the second after which TCP asks again: each is one attempt.
        """
        found = [SILENCE] * len(attempts)
        waiting = {each.fileno(): index for index, each in enumerate(attempts)}
        poll = select.poll()
        for number in waiting:
            poll.register(number, select.POLLOUT)
        until = time.monotonic() + patience
        while waiting and (left := until - time.monotonic()) > 0:
            for number, _ in poll.poll(left * 1000):
                poll.unregister(number)
                index = waiting.pop(number)
                failed = attempts[index].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                found[index] = REFUSED if failed else CONNECTED
        return found


def _enter(library: ctypes.CDLL, namespace: int) -> None:
    if library.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _require(program: str) -> str:
    # An ordinary user's PATH often lacks the folders of the administrator's programs.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return require(program, environment={**os.environ, "PATH": path})


def _give_up(text: str) -> None:
    if os.environ.get("CI", "").lower() == "true":
        raise AssertionError(f"{text} (in CI no test may be skipped)")
    raise SkipTest(text)
