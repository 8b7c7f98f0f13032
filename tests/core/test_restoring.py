"""What a broker that was killed has of sessions when it is back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.core import Bench, Client
from tests.support.late_store import LateStore

_DURABLE = {"clean": False, "user": "u", "session_expiry_interval": 1000}


class RestoringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(store=LateStore())

    def _connected(self, bench: Bench, name: str, **connect: object) -> Client:
        """A client that is connected once the disk has done all."""
        client = bench.client()
        client.connect(name, **{**_DURABLE, **connect})
        for _ in range(3):
            bench.disk()
        return client

    def _subscriber(self) -> Client:
        client = self._connected(self.bench, "d")
        client.subscribe("t", qos=2)
        self.bench.disk()
        return client

    def test_what_comes_after_a_crash_replaces_nothing_that_was_queued_before(self) -> None:
        """Entries of one session have different numbers, in whichever life of the broker they came."""
        self._subscriber().disconnect()
        self._write(self.bench, b"before")
        bench = self.bench.crashed()
        self._write(bench, b"after")
        self.assertEqual(self._connected(bench, "d").payloads(), [b"before", b"after"])

    def _write(self, bench: Bench, payload: bytes) -> None:
        writer = self._connected(bench, "w")
        writer.publish("t", payload, qos=1)
        writer.disconnect()
        bench.disk()
