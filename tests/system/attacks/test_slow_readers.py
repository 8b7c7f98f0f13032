# -*- test-case-name: tests.system.attacks.test_slow_readers -*-
"""Readers that do not read: they cost themselves, and nobody else."""

from __future__ import annotations

import time
from pathlib import Path

from mqttsecure.wire.packets import Disconnect, Pingreq, Publish, Subscribe, SubscriptionRequest
from tests.support.config import BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections, resident_bytes, wait_until
from tests.system.attacks.client import AttackClient

_MEBIBYTE = 2**20


class SlowReaderTests(AttackCase):
    """A reader whose receive window is shut, with the limits as they come."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return allow_many_connections(write_config(directory, plaintext=True))

    def _memory(self) -> int:
        """The broker's memory, once both users' passwords are known to it: a hash takes 19 MiB."""
        for user in ("alice", "bob"):
            self.login(user).close()
        return resident_bytes(self.broker.pid)

    def _push(self, writer: AttackClient, topic: str, size: int, count: int, qos: int = 0) -> float:
        """Publish ``count`` messages of ``size`` bytes; the longest time that a round of ten took."""
        slowest = 0.0
        for _ in range(count // 10):
            started = time.monotonic()
            if qos:
                for _ in range(10):
                    writer.publish(topic, bytes(size))
            else:
                writer.send(*(Publish(topic, bytes(size)) for _ in range(10)))
                writer.ping()
            slowest = max(slowest, time.monotonic() - started)
        return slowest

    def test_reader_that_never_reads_loses_qos_0(self) -> None:
        """40 MB of QoS 0 for a reader with a shut window: a bounded outbox, publisher and others undisturbed."""
        for tls in (False, True):
            before = self._memory()
            lazy = self.login("bob", tls=tls, buffer=4096)
            lazy.send(Subscribe(1, [SubscriptionRequest("lab/flood")]))
            lazy.receive()
            writer, other = self.login("alice"), self.login("bob")
            other.subscribe("lab/other")
            slowest = self._push(writer, "lab/flood", 50_000, 800)
            self.assertLess(slowest, 1.0)
            writer.publish("lab/other", b"still here")
            self.assertEqual([("lab/other", b"still here")], other.messages())
            # One outbox (1 MiB), what is on its way through the transport, and what the allocator keeps.
            self.assertLess(resident_bytes(self.broker.pid) - before, 4 * _MEBIBYTE)
            lazy.close()

    def test_reader_that_never_reads_qos_1_is_cut(self) -> None:
        """With QoS 1 its queue fills instead; then it is cut with 0x97 and the log says so."""
        before = self._memory()
        lazy = self.login("bob", "lazy-1", buffer=4096)
        lazy.subscribe("lab/acked", qos=1)
        writer = self.login("alice")
        self.assertLess(self._push(writer, "lab/acked", 100_000, 200, qos=1), 1.0)
        line = self.assert_logged("'lazy-1'", "closed", "0x97")
        self.assertIn("slow", line)
        # The queue of one session (8 MiB) and one outbox at most.
        self.assertLess(resident_bytes(self.broker.pid) - before, 20 * _MEBIBYTE)
        packets = lazy.collect(1.0)
        self.assertLessEqual(len([each for each in packets if isinstance(each, Disconnect)]), 1)

    def test_reader_that_reads_again_goes_on(self) -> None:
        """A reader that was slow for a moment gets what was queued for it, in order."""
        slow = self.login("bob", "slow-1", buffer=4096)
        slow.subscribe("lab/slow", qos=1)
        writer = self.login("alice")
        for number in range(60):
            writer.publish("lab/slow", number.to_bytes(2, "big") + bytes(50_000))
        numbers = []
        wait_until(lambda: not numbers.extend(self._take(slow)) and len(numbers) >= 60, "60 messages", 10)
        self.assertEqual(list(range(60)), numbers)

    @staticmethod
    def _take(client: AttackClient) -> list[int]:
        return [int.from_bytes(each.payload[:2], "big") for each in client.collect(0.3) if isinstance(each, Publish)]


class StalledReaderTests(AttackCase):
    """With smaller limits: a reader that takes nothing at all is cut after a while, also if it loses only QoS 0."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return allow_many_connections(write_config(directory, plaintext=True, limits="slow_reader_patience = 1.0"))

    def test_stalled_reader_is_cut(self) -> None:
        """Nothing was read for the time-out while messages were lost: closed with 0x97, and the publisher goes on."""
        lazy = self.login("bob", "stalled", buffer=4096)
        lazy.subscribe("lab/flood")
        writer = self.login("alice")
        started = time.monotonic()
        while "0x97" not in self.new_log and time.monotonic() - started < 8:
            writer.send(*(Publish("lab/flood", bytes(50_000)) for _ in range(20)), Pingreq())
            time.sleep(0.05)
        self.assert_logged("'stalled'", "closed", "0x97")

    def test_pings_that_are_never_read(self) -> None:
        """PINGREQ without end by one who reads no answer: cut, once its answers fill its budget."""
        lazy = self.login("alice", "ping-flood", buffer=4096)
        lazy.socket.settimeout(30)  # a million pings take a busy machine some seconds
        pings = b"\xc0\x00" * 32_768
        started = time.monotonic()
        try:
            while time.monotonic() - started < 60:
                lazy.socket.sendall(pings)
        except OSError:
            pass
        self.assertLess(resident_bytes(self.broker.pid), 200 * _MEBIBYTE)
        self.assert_logged("'ping-flood'", "closed", "0x97")
