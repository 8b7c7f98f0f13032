# -*- test-case-name: tests.system.attacks.test_memory -*-
"""Memory and disk: what clients that are away make the broker keep."""

from __future__ import annotations

import time
from pathlib import Path

from mqttsecure.wire.packets import Properties, Publish
from tests.support.config import BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections, resident_bytes
from tests.system.attacks.client import AttackClient

_MEBIBYTE = 2**20
_SESSIONS = 1000
_RULES = ("permit user:alice publish,read lab/#", "permit user:bob read lab/#")


class AwayTests(AttackCase):
    """A thousand durable sessions whose clients are away."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return allow_many_connections(write_config(directory, plaintext=True, rules=_RULES))

    def test_two_hundred_megabytes(self) -> None:
        """200 MB for them go to the disk, each message once, and not into memory; nobody else waits for it."""
        for number in range(_SESSIONS):
            away = self.away(number)
            away.subscribe(f"lab/{number % 100}/x", qos=1)
            away.close()
        writer, other = self.login("alice"), self.login("bob")
        other.subscribe("lab/live")
        before = resident_bytes(self.broker.pid)
        slowest = 0.0
        for number in range(1000):
            started = time.monotonic()
            self.assertEqual(0, writer.publish(f"lab/{number % 100}/x", bytes(200_000)))
            slowest = max(slowest, time.monotonic() - started)
        writer.publish("lab/live", b"still here")
        self.assertEqual([("lab/live", b"still here")], other.messages())
        self.assertLess(slowest, 5.0)
        # The journal and the store's own pages; all that waits would be ten times as much.
        self.assertLess(resident_bytes(self.broker.pid) - before, 64 * _MEBIBYTE)
        size = sum(file.stat().st_size for file in (self.files.config.parent / "state").iterdir())
        self.assertGreater(size, 200_000_000)
        self.assertLess(size, 500_000_000)
        back = self.away(7)
        self.assertEqual([200_000] * 10, [len(back.expect(Publish).payload) for _ in range(10)])

    def away(self, number: int) -> AttackClient:
        """The client of a durable session."""
        properties = Properties(session_expiry_interval=1000)
        return self.login("bob", f"away-{number}", clean_start=False, properties=properties)
