"""Ten thousand live sessions judged again by a real chain: nobody waits long for it, and all of them are judged."""

from __future__ import annotations

import gc
import heapq
import itertools
import os
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Peer
from mqttsecure.policy.workers import WorkerPool
from mqttsecure.service.assembly import Assembly, build
from mqttsecure.service.config import load_config
from mqttsecure.transport.driver import CoreDriver
from tests.support.policies import make_facts
from tests.support.transport import connect_bytes, subscribe_bytes

CLIENTS = 10_000
LONGEST_SLICE = 0.05
"""Seconds of this process's own work; what else the machine does does not count."""

CONFIG = """
[[listener]]
name = "test"
bind = "127.0.0.1:0"
plaintext = true

[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8"]

[[policy]]
id = "connections"
use = "connection-limit"
per_address = 100000
per_prefix = 100000
unauthenticated = 100000
rate = "1000000/second"

[[policy]]
id = "handshake"
use = "tls-requirements"
plaintext = "loopback"

[[policy]]
id = "guests"
use = "anonymous"
as_user = "guest"

[[policy]]
id = "names"
use = "client-id"
patterns = ["c*"]

[[policy]]
id = "topics"
use = "topic-acl"
rules = ["permit user:anonymous:guest publish,read {tree}/#"]
"""


class WorkClock:
    """Time is what this thread has worked; calls are made by the test, the next one first."""

    def __init__(self) -> None:
        self._calls: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._numbers = itertools.count()

    def seconds(self) -> float:
        return time.thread_time()

    def callLater(self, delay: float, function: Callable[..., Any], *arguments: Any) -> Any:
        heapq.heappush(self._calls, (self.seconds() + delay, next(self._numbers), function, arguments))
        return Clock().callLater(0, lambda: None)

    def turn(self) -> float:
        """Make the next call; how long it took."""
        _, _, function, arguments = heapq.heappop(self._calls)
        started = self.seconds()
        function(*arguments)
        return self.seconds() - started


class Adapter:
    """A transport that takes everything."""

    def __init__(self, driver: CoreDriver, number: int) -> None:
        peer = Peer(ip_address("127.0.0.1"), 40_000)
        now = driver.clock.seconds()
        self.facts = make_facts(connection_id=number, listener="test", peer=peer, accepted_at=now)
        self.connection: Connection = driver.core.connection_made(self.facts)
        self.connection.adapter = self
        driver.arrived(self)

    def flush(self) -> None:
        self.connection.outbox = []
        self.connection.outbox_bytes = 0

    def abort(self) -> None:
        raise AssertionError("nothing is aborted here")


class RejudgingLoadTests(SynchronousTestCase):
    """A reload of a broker with a full house."""

    def assembly(self, tree: str, version: int) -> Assembly:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "broker.toml").write_text(CONFIG.replace("{tree}", tree))
        clock: Any = self.clock
        return build(load_config(folder / "broker.toml"), clock=clock, workers=WorkerPool(clock), version=version)

    def test_ten_thousand(self) -> None:
        """Every session is judged, those that are concerned end, and no slice holds up the reactor for long."""
        self.clock: Any = WorkClock()
        before = self.assembly("lab", 1)
        driver = CoreDriver(before.limits, before.chain, self.clock, os.urandom)
        adapters = [Adapter(driver, number) for number in range(CLIENTS)]
        for number, adapter in enumerate(adapters):
            before.chain.connection_opened(adapter.facts)
            driver.core.receive_bytes(adapter.connection, connect_bytes(f"c{number}"), self.clock.seconds())
            topic = "lab/a" if number % 100 else "lab/secret"
            driver.core.receive_bytes(adapter.connection, subscribe_bytes(topic), self.clock.seconds())
        driver.flush()
        after = self.assembly("lab/a", 2)
        # A full collection of what other tests have left would count as work of the slice that it falls into.
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        started = self.clock.seconds()
        judged = driver.change_policy(after.chain, 2, after.limits)
        slices = [self.clock.seconds() - started]
        while not judged.called:
            slices.append(self.clock.turn())
        print(
            f"\n{CLIENTS} sessions judged again in {sum(slices) * 1000:.0f} ms of work, {len(slices)} slices, "
            f"the longest {max(slices) * 1000:.1f} ms"
        )
        open_now = sum(adapter.connection.is_open for adapter in adapters)
        self.assertEqual(open_now, CLIENTS - CLIENTS // 100)
        self.assertLess(max(slices), LONGEST_SLICE)
