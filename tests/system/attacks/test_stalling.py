# -*- test-case-name: tests.system.attacks.test_stalling -*-
"""Connections that say nothing, or too slowly, and peers that do not close: rows A13 to A19."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mqttsecure.lab.attacks.hello import client_hello
from mqttsecure.wire.constants import MQTT_3_1_1, MQTT_5_0
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect, Disconnect
from tests.support.config import ALICE_PASSWORD, BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections
from tests.system.attacks.client import PATIENCE, AttackClient, is_readable, open_socket, reset

_CONNECT = encode_packet(Connect(MQTT_5_0, "slow", username="alice", password=ALICE_PASSWORD.encode()), MQTT_5_0)


def _seconds_until_closed(sock: socket.socket, started: float, patience: float) -> float:
    """How long after ``started`` the broker ended the connection."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not is_readable(sock, deadline - time.monotonic()):
            break
        try:
            if not sock.recv(65536):
                return time.monotonic() - started
        except BlockingIOError:
            continue
        except OSError:
            return time.monotonic() - started
    raise AssertionError(f"still open after {time.monotonic() - started:.1f} s")


class _Stalling(AttackCase):
    """The ways to hold a connection without getting anywhere; each gives how long the broker bore it."""

    @contextmanager
    def _socket(self, listener: str) -> Iterator[socket.socket]:
        sock = open_socket(self.broker.ports[listener])
        try:
            yield sock
        finally:
            reset(sock)

    def silent(self, listener: str, patience: float) -> float:
        """A13, A16: connect and say nothing."""
        started = time.monotonic()
        with self._socket(listener) as sock:
            return _seconds_until_closed(sock, started, patience)

    def half(self, listener: str, patience: float) -> float:
        """A14, A17: say half of the first message."""
        first = _CONNECT if listener == "plain" else client_hello((3, 3))
        started = time.monotonic()
        with self._socket(listener) as sock:
            sock.sendall(first[: len(first) // 2])
            return _seconds_until_closed(sock, started, patience)

    def dripped(self, listener: str, patience: float) -> float:
        """A15: say it byte by byte, so that something always has just arrived."""
        first = _CONNECT if listener == "plain" else client_hello((3, 3))
        pause = patience / len(first)
        started = time.monotonic()
        with self._socket(listener) as sock:
            for byte in first:
                try:
                    sock.sendall(bytes((byte,)))
                except OSError:
                    return time.monotonic() - started
                if is_readable(sock, pause):
                    return _seconds_until_closed(sock, started, patience)
        raise AssertionError("all of it was taken")

    def tls_silent(self, listener: str, patience: float) -> float:
        """A18: finish the TLS handshake and say nothing."""
        started = time.monotonic()
        with AttackClient(self.broker.ports["tls"], context=self.files.client_context()) as client:
            client.remaining(patience)
            return time.monotonic() - started

    def tls_dripped(self, listener: str, patience: float) -> float:
        """A15 within TLS: a record for each byte of the CONNECT."""
        started = time.monotonic()
        with AttackClient(self.broker.ports["tls"], context=self.files.client_context()) as client:
            for byte in _CONNECT:
                client.send(bytes((byte,)))
                client.collect(patience / len(_CONNECT))
                if client.closed:
                    return time.monotonic() - started
        raise AssertionError("all of it was taken")

    def all_ways(self) -> dict[str, Callable[[float], float]]:
        """Every way, by the row of the attack table."""
        return {
            "A13 silent": lambda patience: self.silent("plain", patience),
            "A14 half a CONNECT": lambda patience: self.half("plain", patience),
            "A15 dripped CONNECT": lambda patience: self.dripped("plain", patience),
            "A15 dripped CONNECT in TLS": lambda patience: self.tls_dripped("tls", patience),
            "A16 silent on TLS": lambda patience: self.silent("tls", patience),
            "A17 half a ClientHello": lambda patience: self.half("tls", patience),
            "A17 dripped ClientHello": lambda patience: self.dripped("tls", patience),
            "A18 TLS and no CONNECT": lambda patience: self.tls_silent("tls", patience),
        }

    def attack_all(self, deadline: float) -> None:
        """Attack in all ways at once; each must end at the deadline, counted from accept."""
        results: dict[str, object] = {}

        def attack(name: str, way: Callable[[float], float]) -> None:
            try:
                results[name] = way(deadline * 1.6 + 1)
            except Exception as error:
                results[name] = error

        threads = [threading.Thread(target=attack, args=item, daemon=True) for item in self.all_ways().items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(deadline * 2 + PATIENCE)
        for name in self.all_ways():
            seconds = results.get(name)
            if not isinstance(seconds, float):
                self.fail(f"{name}: {seconds!r}")
            self.assertGreater(seconds, deadline * 0.8, name)
            self.assertLess(seconds, deadline + 1.0, name)


class ShortDeadlineTests(_Stalling):
    """The same with a deadline that a test can wait for, and the way the connection ends."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        limits = 'connect_timeout = "1500ms"\nclose_linger = "1s"\nmaximum_keep_alive = 2'
        files = write_config(directory, plaintext=True, limits=limits)
        return allow_many_connections(files)

    def test_all_are_cut_at_the_deadline(self) -> None:
        """However I stall, I am cut when the deadline has passed since the accept."""
        self.attack_all(1.5)
        self.assert_logged("no whole CONNECT in time")

    def test_silent_client_is_cut_at_its_keep_alive(self) -> None:
        """A19: I announce a Keep Alive of one second and fall silent: cut after one and a half."""
        clients = [self.login("alice", version=version, keep_alive=1) for version in (MQTT_3_1_1, MQTT_5_0)]
        started = time.monotonic()
        for client, expected in zip(clients, ([], [0x8D]), strict=True):
            codes = [each.reason_code for each in client.remaining() if isinstance(each, Disconnect)]
            self.assertEqual(expected, codes)
        self.assertTrue(1.2 < time.monotonic() - started < 2.6)

    def test_keep_alive_none_and_longest_are_lowered(self) -> None:
        """A19: Keep Alive 0 and 65,535 are mapped to the server's maximum, which 5.0 clients are told and all obey."""
        clients = []
        for version in (MQTT_3_1_1, MQTT_5_0):
            for keep_alive in (0, 65_535):
                clients.append(self.login("alice", version=version, keep_alive=keep_alive))
                assert clients[-1].connack is not None
                told = clients[-1].connack.properties.get("server_keep_alive")
                self.assertEqual(2 if version == MQTT_5_0 else None, told)
        started = time.monotonic()
        for client in clients:
            client.remaining()
        self.assertTrue(2.5 < time.monotonic() - started < 4.5)

    def test_half_packets_do_not_keep_alive(self) -> None:
        """Dripping the bytes of one long PUBLISH does not count as being alive: only whole packets do."""
        client = self.login("alice", keep_alive=1)
        started = time.monotonic()
        client.send(b"\x30\xe8\x07\x00\x05lab/x")
        while not client.closed and time.monotonic() - started < 5:
            client.send(b"x")
            client.collect(0.1)
        self.assertLess(time.monotonic() - started, 3)

    def test_refused_peer_that_never_reads_is_cut(self) -> None:
        """My CONNECT is refused and I neither read nor close: gone within the linger."""
        sock = open_socket(self.broker.ports["plain"], receive_buffer=1024)
        self.addCleanup(reset, sock)
        sock.sendall(encode_packet(Connect(MQTT_5_0, "c", username="alice", password=b"wrong"), MQTT_5_0))
        inode = sock.getsockname()[1]
        started = time.monotonic()
        while self._holds(inode) and time.monotonic() - started < 5:
            time.sleep(0.05)
        self.assertLess(time.monotonic() - started, 3)

    def test_refused_tls_peer_that_never_answers_the_close_is_cut(self) -> None:
        """The same over TLS, where the broker's close_notify goes unanswered."""
        with AttackClient(self.broker.ports["tls"], context=self.files.client_context()) as client:
            client.send(Connect(MQTT_5_0, "c", username="alice", password=b"wrong"))
            own = client.socket.getsockname()[1]
            started = time.monotonic()
            while self._holds(own) and time.monotonic() - started < 5:
                time.sleep(0.05)
            self.assertLess(time.monotonic() - started, 3)

    def _holds(self, port: int) -> bool:
        """Whether the broker's process still has a socket to our ``port``, as the kernel lists them."""
        inodes = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[2].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
        for entry in Path(f"/proc/{self.broker.pid}/fd").iterdir():
            try:
                if str(entry.readlink()) in inodes:
                    return True
            except OSError:
                continue
        return False


class RealDeadlineTests(_Stalling):
    """The deadline as it comes: ten seconds, for all of it."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return write_config(directory, plaintext=True)

    def test_all_are_cut_after_ten_seconds(self) -> None:
        """Rows A13 to A18 at the real default, at once."""
        self.attack_all(10.0)
