"""Does a message cost more the more subscriptions there are that it does not match?

    python bench/subscriptions.py

Publishes to the same 100 topics with 100 and with 100,000 wildcard subscriptions in the tree (`s/<n>/+`, over 100
clients), on a core in memory with the project's own policy chain: once with everything remembered, and once with every
route thrown away before each round, so that receivers are searched for anew.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from twisted.internet.task import Clock  # noqa: E402  # the checkout comes first

from mqttsecure.core.broker import BrokerCore  # noqa: E402
from mqttsecure.core.connection import Connection  # noqa: E402
from mqttsecure.core.decisions import ConnectionFacts, Peer  # noqa: E402
from mqttsecure.core.limits import Limits  # noqa: E402
from mqttsecure.policy.workers import WorkerPool  # noqa: E402
from mqttsecure.service.assembly import build  # noqa: E402
from mqttsecure.service.config import load_config  # noqa: E402
from mqttsecure.wire.encoder import encode_packet  # noqa: E402
from mqttsecure.wire.packets import Connect, Publish, Subscribe, SubscriptionRequest  # noqa: E402

CLIENTS = 100
TOPICS = 100
ROUNDS = 200
CONFIG = """
[[listener]]
name = "bench"
bind = "127.0.0.1:0"
plaintext = true
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.1"]
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
rules = ["permit user:anonymous:guest publish,read s/#"]
"""


class Bench:
    """A core with its chain and clients whose outboxes are emptied unread."""

    def __init__(self, subscriptions: int) -> None:
        clock: Any = Clock()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "broker.toml").write_text(CONFIG)
            chain = build(load_config(Path(folder) / "broker.toml"), clock=clock, workers=WorkerPool(clock)).chain
        self.core = BrokerCore(Limits(maximum_subscriptions=10_000_000), chain.decide, os.urandom)
        self.connections: list[Connection] = []
        clients = [self.client(number) for number in range(CLIENTS)]
        for start in range(0, subscriptions, CLIENTS * 50):
            for number, client in enumerate(clients):
                wanted = [start + number + CLIENTS * step for step in range(50)]
                requests = [SubscriptionRequest(f"s/{each}/+") for each in wanted if each < subscriptions]
                if requests:
                    self.core.receive_bytes(client, encode_packet(Subscribe(1, requests), 4), 0.0)
        self.publisher = self.client(CLIENTS)
        packets = [encode_packet(Publish(f"s/{number}/v", b"x" * 64), 4) for number in range(TOPICS)]
        self.round = b"".join(packets)
        self.run(3, forget=False)

    def client(self, number: int) -> Connection:
        facts = ConnectionFacts(number + 1, "bench", Peer(ip_address("127.0.0.1"), 1))
        connection = self.core.connection_made(facts)
        self.core.receive_bytes(connection, encode_packet(Connect(4, f"c{number}", keep_alive=60), 4), 0.0)
        self.connections.append(connection)
        return connection

    def run(self, rounds: int, *, forget: bool) -> float:
        """Microseconds a message."""
        started = time.perf_counter()
        for _ in range(rounds):
            if forget:
                self.core.state.tree.stamp += 1
            self.core.receive_bytes(self.publisher, self.round, 0.0)
            for connection in self.core.take_touched():
                connection.outbox.clear()
                connection.outbox_bytes = 0
        return (time.perf_counter() - started) / rounds / TOPICS * 1e6


def main() -> None:
    print(f"{'subscriptions':>14}{'remembered':>14}{'searched anew':>16}   (microseconds a message, best of 5)")
    figures: dict[int, list[float]] = {}
    for subscriptions in (100, 100_000):
        bench = Bench(subscriptions)
        assert bench.core.state.tree.count == subscriptions, bench.core.state.tree.count
        figures[subscriptions] = [min(bench.run(ROUNDS, forget=forget) for _ in range(5)) for forget in (False, True)]
        remembered, searched = figures[subscriptions]
        print(f"{subscriptions:>14,}{remembered:>14.2f}{searched:>16.2f}")
    ratios = [few / many for few, many in zip(figures[100], figures[100_000], strict=True)]
    print(f"rate with 100,000 in relation to that with 100: {ratios[0]:.2f} remembered, {ratios[1]:.2f} searched anew")


if __name__ == "__main__":
    main()
