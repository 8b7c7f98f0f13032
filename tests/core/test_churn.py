"""Days of clients that come, go, break off, take over and are forgotten: nothing is left of them, and nothing grows."""

from __future__ import annotations

import gc
import random
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.limits import Limits
from mqttsecure.store.memory import MemoryStore
from mqttsecure.wire.packets import Will
from tests.support.core import Bench, Client

_DAY: Final = 24 * 3600.0
_NAMES: Final = 20
_TOPICS: Final = 50
_TOLERANCE: Final = 200
"""Objects by which two counts of the same state differ: what Python itself keeps, of some hundred thousand."""


class _Churn:
    """Does what clients do, at random, as time passes."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self._bench = bench
        self._random = random.Random(seed)
        self._here: dict[str, Client] = {}
        self.steps = 0

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self._bench.now + seconds
        while self._bench.now < end:
            self.steps += 1
            self._step(f"c{self._random.randrange(_NAMES)}")
            self._bench.advance(self._random.choice((0.0, 1.0, 60.0, 400.0)))
            self._forget()

    def _forget(self) -> None:
        """Keep nothing in the bench itself."""
        bench = self._bench
        bench.events.clear()
        bench.chain.requests.clear()
        bench.clients = [client for client in bench.clients if not client.lost]
        for name, client in list(self._here.items()):
            client.inbox.clear()
            client.raw = b""
            if client.closed:
                client.lose()
                del self._here[name]

    def _step(self, name: str) -> None:
        client = self._here.get(name)
        choice = self._random.random()
        if client is None or choice < 0.1:
            self._connect(name)
        elif choice < 0.2:
            client.disconnect()
        elif choice < 0.25:
            client.lose()
        elif choice < 0.4:
            shared = self._random.choice(("", "", "$share/g/"))
            client.subscribe(shared + self._filter(), qos=self._random.randrange(3))
        elif choice < 0.45:
            client.unsubscribe(self._filter())
        elif choice < 0.6:
            client.acknowledge()
        else:
            self._publish(client)
        if client is not None and client.lost:
            self._here.pop(name, None)

    def _connect(self, name: str) -> None:
        """Connect, or take over."""
        will = None
        if self._random.random() < 0.3:
            delay = self._random.choice((0, 30, 5000))
            will = Will(self._topic(), b"gone", 1, self._random.random() < 0.3, {"will_delay_interval": delay})
        client = self._bench.client(5)
        client.connect(
            name,
            clean=self._random.random() < 0.2,
            user=name,
            keep_alive=1800,
            will=will,
            session_expiry_interval=self._random.choice((0, 600, 3600)),
            receive_maximum=self._random.choice((1, 10)),
        )
        self._here[name] = client

    def _publish(self, client: Client) -> None:
        expiry = {"message_expiry_interval": 600} if self._random.random() < 0.5 else {}
        for _ in range(self._random.choice((1, 5))):
            if not client.closed:
                qos = self._random.randrange(3)
                retain = self._random.random() < 0.2
                packet_id = client.publish(self._topic(), b"x" * 100, qos=qos, retain=retain, **expiry)
                if qos == 2 and not client.closed:
                    client.complete(packet_id)

    def _topic(self) -> str:
        return f"t/{self._random.randrange(_TOPICS)}"

    def _filter(self) -> str:
        return self._random.choice((self._topic(), "t/+"))

    def end(self) -> None:
        """All leave and expire, and what is retained is taken back."""
        self._bench.end_all()
        cleaner = self._bench.connected("cleaner")
        for index in range(_TOPICS):
            cleaner.publish(f"t/{index}", b"", retain=True)
        cleaner.disconnect()
        self._bench.end_all()
        self._here.clear()
        self._forget()


class ChurnTests(SynchronousTestCase):
    def test_ten_days(self) -> None:
        """After a day, and after nine more, there are as many objects: those of a broker nobody is connected to."""
        store = MemoryStore()
        bench = Bench(Limits(maximum_session_expiry=3600, topic_alias_maximum=4), store=store)
        churn = _Churn(bench, 1)
        churn.run(_DAY)
        churn.end()
        before = self._count()
        churn.run(9 * _DAY)
        self.assertGreater(churn.steps, 5000)
        self.assertGreater(bench.core.counters.sessions_taken_over, 100)
        churn.end()
        self.assertLess(self._count(), before + _TOLERANCE)
        contents = store.contents
        left = (contents.sessions, contents.subscriptions, contents.messages, contents.entries, contents.incoming)
        self.assertEqual(left, ({}, {}, {}, {}, set()))
        bench.check_nothing_left(self)

    @staticmethod
    def _count() -> int:
        gc.collect()
        return len(gc.get_objects())
