# -*- test-case-name: tests.system.attacks.test_floods -*-
"""Too much of everything: rows A12, A20, A21, A25 and A26, and the classes about memory before authentication."""

from __future__ import annotations

import base64
import hashlib
import socket
import time
from pathlib import Path

from mqttsecure.wire.constants import MQTT_3_1_1, MQTT_5_0
from mqttsecure.wire.encoder import encode_remaining_length
from mqttsecure.wire.packets import Disconnect, Publish, Subscribe, SubscriptionRequest
from tests.support.config import USERS, BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections, resident_bytes, wait_until
from tests.system.attacks.client import HOST, AttackClient, Unexpected, is_readable, open_socket, reset

_MEBIBYTE = 2**20
_HALF_OPEN = 2000


def _is_open(sock: socket.socket) -> bool:
    """Whether the broker has not ended this connection yet."""
    if not is_readable(sock, 0):
        return True
    try:
        return bool(sock.recv(65536))
    except OSError:
        return False


class ConnectionFloodTests(AttackCase):
    """A12, with the limits as they come."""

    source = "127.0.0.1"

    def _flood(self, count: int, source: str) -> list[socket.socket]:
        sockets = []
        for _ in range(count):
            try:
                sockets.append(open_socket(self.broker.ports["tls"], source))
            except OSError:
                continue  # reset so fast that we did not even see it open
            self.addCleanup(reset, sockets[-1])
        return sockets

    def test_idle_connections_of_one_address(self) -> None:
        """800 idle connections from one address: 20 stay, the rest is reset at accept, others are served."""
        source = "127.0.0.5"
        sockets = self._flood(800, source)
        wait_until(lambda: sum(map(_is_open, sockets)) <= 20, "the flood's end", 5)
        self.assertEqual(20, sum(map(_is_open, sockets)))
        self.assertLess(self.assert_serves(), 2)
        self.assert_logged("denied ACCEPT", "127.0.0.5", "policy connections", "rule unauthenticated")

    def test_the_rest_is_reset(self) -> None:
        """What is too much is ended by RST, so that nothing of it lingers in the kernel."""
        self._flood(20, "127.0.0.6")
        wait_until(lambda: self._ending("127.0.0.6") is ConnectionResetError, "a reset", 5)

    def _ending(self, source: str) -> type[BaseException] | None:
        try:
            sock = open_socket(self.broker.ports["tls"], source)
        except OSError as error:
            return type(error)
        self.addCleanup(reset, sock)
        try:
            sock.settimeout(1)
            sock.recv(1)
        except OSError as error:
            return type(error)
        return None

    def test_places_come_back(self) -> None:
        """When the flood goes away, its address may connect again."""
        for sock in self._flood(40, "127.0.0.9"):
            reset(sock)
        wait_until(lambda: self._can_connect("127.0.0.9"), "a place for 127.0.0.9", 5)

    def _can_connect(self, source: str) -> bool:
        try:
            with AttackClient(self.broker.ports["plain"], source=source) as client:
                return client.connect("a", "alice", USERS["alice"]) == 0
        except (OSError, Unexpected):
            return False


class AuthenticatedFloodTests(AttackCase):
    """A12 for those who know a password: 100 connections an address, with the limits as they come."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        files = write_config(directory, plaintext=True)
        with files.users.open("a") as file:
            file.write(f"mallory:{_cheap_hash()}\n")
        return files

    def test_one_hundred_of_one_address(self) -> None:
        """130 logins of one user from one address: 100 stay."""
        stay = 0
        for number in range(130):
            try:
                client = self.client(tls=False, source="127.0.0.8")
                stay += client.connect(f"m-{number}", "mallory", "pw") == 0
            except (OSError, Unexpected):
                continue
        self.assertEqual(100, stay)
        self.assert_logged("denied ACCEPT", "127.0.0.8", "rule per_address")


def _cheap_hash() -> str:
    """A hash in Mosquitto's format, which takes no time, for tests that log in often."""
    digest = hashlib.pbkdf2_hmac("sha512", b"pw", b"salt-of-12-b", 101)
    return f"$7$101${base64.b64encode(b'salt-of-12-b').decode()}${base64.b64encode(digest).decode()}"


class StrangersTests(AttackCase):
    """What those can do who never authenticate, where the limits on connections let thousands of them in."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return allow_many_connections(write_config(directory, plaintext=True, limits='connect_timeout = "20s"'))

    def setUp(self) -> None:
        super().setUp()
        self.assert_serves()  # what the first login takes is not the attack's doing
        self.before = resident_bytes(self.broker.pid)

    def _assert_memory(self, growth: int) -> None:
        self.assertLess(resident_bytes(self.broker.pid) - self.before, growth)

    def test_large_connect_is_refused_at_its_fixed_header(self) -> None:
        """A20: five clients send 50 MB each inside a CONNECT: closed at the header, memory grows by under 2 MB."""
        for version in (MQTT_3_1_1, MQTT_5_0):
            for _ in range(5):
                sock = open_socket(self.broker.ports["plain"])
                self.addCleanup(reset, sock)
                level = bytes((version,))
                sock.sendall(b"\x10" + encode_remaining_length(50_000_000) + b"\x00\x04MQTT" + level + b"\xc2\x00\x3c")
                sent = 0
                try:
                    while sent < 50_000_000:
                        sent += sock.send(b"x" * 65536)
                except OSError:
                    pass
                self.assertLess(sent, 10_000_000)
                self.assertFalse(_is_open(sock))
        self._assert_memory(2 * _MEBIBYTE)

    def test_largest_header_there_is(self) -> None:
        """A header that announces 256 MB, for each packet type, and nothing behind it: closed at once, unanswered."""
        for first in (0x10, 0x30, 0x32, 0x82, 0xF0):
            sock = open_socket(self.broker.ports["plain"])
            self.addCleanup(reset, sock)
            sock.sendall(bytes((first,)) + b"\xff\xff\xff\x7f")
            wait_until(lambda sock=sock: not _is_open(sock), "the end", 2)
        self._assert_memory(2 * _MEBIBYTE)

    def test_connect_just_over_the_limit(self) -> None:
        """64 KiB of CONNECT is the most: one byte more is refused, whole or in pieces."""
        client = self.client(tls=False)
        client.send(b"\x10" + encode_remaining_length(65536 - 3))  # with the fixed header over 64 KiB
        self.assertLessEqual(len(client.remaining(2)), 1)

    def test_dribbled_bytes_are_not_copied_over_and_over(self) -> None:
        """A CONNECT of 60 KB in pieces of a few bytes on 20 connections: neither memory nor time is lost by it."""
        clients = [self.client(tls=False) for _ in range(20)]
        body = b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + b"\xff\xff" + b"x" * 60_000
        packet = b"\x10" + encode_remaining_length(len(body)) + body
        started = time.monotonic()
        for position in range(0, 6_000, 6):
            for client in clients:
                client.send(packet[position : position + 6])
        self.assertLess(time.monotonic() - started, 10)
        self._assert_memory(4 * _MEBIBYTE)
        self.assertLess(self.assert_serves(), 2)

    def test_half_open_sockets(self) -> None:
        """Two thousand connections say half a CONNECT or half a ClientHello: others are served, memory stays small."""
        sockets = []
        for number in range(_HALF_OPEN):
            port = self.broker.ports["plain" if number % 2 else "tls"]
            sock = socket.create_connection((HOST, port), source_address=(f"127.0.{number % 50 + 1}.1", 0))
            self.addCleanup(reset, sock)
            sock.sendall(b"\x10\x80\x04\x00\x04MQTT\x05" if number % 2 else b"\x16\x03\x01\x02\x00\x01")
            sockets.append(sock)
        self.assertLess(self.assert_serves(), 2)
        # A TLS connection costs what OpenSSL keeps for it; 100 KB each is the ceiling, of the two kinds together.
        self._assert_memory(_HALF_OPEN * 60_000)
        self.assertGreater(sum(map(_is_open, sockets)), 0)

    def test_password_guesses_do_not_block_others(self) -> None:
        """A hundred logins at once, each of which costs a hash, and somebody who is connected notices nothing."""
        alice = self.login("alice")
        guessers = [self.client(tls=False) for _ in range(100)]
        for number, guesser in enumerate(guessers):
            guesser.send(
                b"\x10\x1d\x00\x04MQTT\x04\xc2\x00\x3c\x00\x03g%02d\x00\x05alice\x00\x05guess" % (number % 100)
            )
        slowest = 0.0
        for _ in range(20):
            started = time.monotonic()
            alice.ping()
            slowest = max(slowest, time.monotonic() - started)
        self.assertLess(slowest, 1.0)
        wait_until(lambda: not any(_is_open(each.socket) for each in guessers), "all guesses' answers", 20)


class UsersTests(AttackCase):
    """What a known user may not do, with the limits as they come."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        rates = '[[policy]]\nid = "rates"\nuse = "rate-limit"\nmessages = "1000/second"\nburst = 5.0\n'
        return allow_many_connections(write_config(directory, plaintext=True, extra_policies=rates))

    def test_packet_over_the_maximum(self) -> None:
        """A21: 256 KiB is announced as the Maximum Packet Size; 20 MB end the connection with 0x95, unbuffered."""
        self.assert_serves()
        before = resident_bytes(self.broker.pid)
        for version in (MQTT_5_0, MQTT_3_1_1):
            client = self.login("alice", version=version)
            assert client.connack is not None
            announced = client.connack.properties.get("maximum_packet_size")
            self.assertEqual(256 * 1024 if version == MQTT_5_0 else None, announced)
            client.send(b"\x30" + encode_remaining_length(20_000_000) + b"\x00\x05lab/x" + bytes(100_000))
            codes = [each.reason_code for each in client.remaining() if isinstance(each, Disconnect)]
            self.assertEqual([0x95] if version == MQTT_5_0 else [], codes)
        self.assertLess(resident_bytes(self.broker.pid) - before, 2 * _MEBIBYTE)

    def test_packet_at_the_maximum(self) -> None:
        """The largest packet that is announced is taken."""
        client = self.login("alice")
        self.assertIn(client.publish("lab/x", bytes(256 * 1024 - 20)), (0, 0x10))

    def test_publish_flood_is_slowed_down(self) -> None:
        """A25: 50,000 messages from one client: it is read at its rate from then on, others at once."""
        watcher = self.login("bob")
        self.assertEqual([0], watcher.subscribe("lab/flood"))
        flooder = self.login("alice")
        flooder.socket.setblocking(False)
        message = b"\x30\x0d\x00\x09lab/flood\x00x" * 100
        started, sent = time.monotonic(), 0
        while time.monotonic() - started < 1.5 and sent < 50_000 * 15:
            try:
                sent += flooder.socket.send(message)
            except BlockingIOError:
                time.sleep(0.01)
        received = sum(isinstance(each, Publish) for each in watcher.collect(1.0))
        seconds = time.monotonic() - started
        # The burst, the rate, and what one read of 64 KiB brings beyond.
        self.assertLess(received, 5000 + 1000 * seconds + 5000)
        self.assertGreater(received, 1000)
        self.assertLess(self.assert_serves(), 1.0)

    def test_subscription_flood(self) -> None:
        """A26: 5,000 subscriptions by one client: the first thousand are granted, the others get 0x97."""
        client = self.login("alice")
        codes: list[int] = []
        for start in range(0, 5000, 100):
            codes += client.subscribe(*(f"lab/{number}" for number in range(start, start + 100)))
        self.assertEqual([0] * 1000 + [0x97] * 4000, codes)
        old = self.login("alice", version=MQTT_3_1_1)
        codes = []
        for start in range(0, 1200, 100):
            codes += old.subscribe(*(f"lab/{number}" for number in range(start, start + 100)))
        self.assertEqual([0] * 1000 + [0x80] * 200, codes)

    def test_many_filters_in_one_packet(self) -> None:
        """Thousands of filters in one SUBSCRIBE are answered one by one, and again the quota holds."""
        client = self.login("alice")
        requests = [SubscriptionRequest(f"lab/{number}") for number in range(8000)]
        client.send(Subscribe(1, requests))
        answer = client.receive()
        self.assertEqual([0] * 1000 + [0x97] * 7000, list(getattr(answer, "reason_codes", [])))


class DenyingRateTests(AttackCase):
    """A25 where the rate is enforced by refusal: 0x97, and the audit says so."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        rates = (
            '[[policy]]\nid = "client"\nuse = "rate-limit"\nmessages = "20/second"\naction = "deny"\n'
            '[[policy]]\nid = "tree"\nuse = "rate-limit"\nmessages = "5/second"\naction = "deny"\n'
            'per = "topic-prefix"\nprefix_levels = 2\n'
        )
        return allow_many_connections(write_config(directory, plaintext=True, extra_policies=rates))

    def test_client_over_its_rate(self) -> None:
        """The messages above the rate of a client are refused with 0x97, and not delivered."""
        alice = self.login("alice")
        codes = [alice.publish(f"lab/{number}/x") for number in range(60)]
        self.assertGreaterEqual(codes.count(0x97), 25)
        self.assertGreaterEqual(len(codes) - codes.count(0x97), 20)

    def test_topic_tree_over_its_rate(self) -> None:
        """One part of the tree has a rate of its own, whoever writes to it."""
        codes = [self.login("alice").publish("lab/tree/x") for _ in range(12)]
        self.assertGreaterEqual(codes.count(0x97), 3)
