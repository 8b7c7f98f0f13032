"""How long a broker takes to serve after a restart with many sessions on disk, and what memory they cost.

    python bench/start_up.py --sessions 100000 --messages 1000000

Fills a store as a broker would have, each session with one subscription and its share of the messages, starts a broker
on it, and waits until a client with one of these sessions has got its first message.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

from brokers import PASSWORD, USER, mqttsecure  # noqa: E402  # beside this file
from twisted.internet.defer import inlineCallbacks  # noqa: E402
from twisted.internet.task import react  # noqa: E402

from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal, Writer  # noqa: E402
from mqttsecure.core.records import (  # noqa: E402
    Batch,
    EntryRow,
    MessageRow,
    SessionRow,
    SubscriptionRow,
    WriterRow,
)
from mqttsecure.core.stored_json import facts_to_json, writer_to_json  # noqa: E402
from mqttsecure.store.sqlite import SqliteStore  # noqa: E402
from mqttsecure.wire.encoder import encode_packet  # noqa: E402
from mqttsecure.wire.packets import Connect  # noqa: E402

_PAGE = 2000


def batches(sessions: int, messages: int) -> Iterator[Batch]:
    """All rows, some thousand sessions a batch."""
    each = messages // sessions
    principal = Principal("password", USER)
    writer = writer_to_json(Writer(principal, "writer", frozenset(), {}, "tls"))
    now = time.time()
    for first in range(1, sessions + 1, _PAGE):
        batch = Batch(first)
        if first == 1:
            batch.writers.append(WriterRow(1, writer))
        for key in range(first, min(first + _PAGE, sessions + 1)):
            client_id = f"{USER}-{key}"
            facts = ConnectionFacts(0, "tls", Peer(None), client_id=client_id, principal=principal, protocol_version=5)
            facts.username = USER
            batch.sessions.append(
                SessionRow(key, "", client_id, "password", USER, 1e6, now, facts_to_json(facts), None, None)
            )
            batch.subscriptions.append(SubscriptionRow(key, f"bench/{key}/#", 1, False, False, 0, 0))
            for number in range(1, each + 1):
                message = key * 1000 + number
                batch.messages.append(MessageRow(message, 1, "", f"bench/{key}/x", b"x" * 64, 1, False, None, None, 1))
                batch.entries.append(EntryRow(key, number, message, 280, 1, False, "", "", 0, 0))
        yield batch


def fill(file: Path, sessions: int, messages: int) -> None:
    @inlineCallbacks
    def run(reactor):
        store = SqliteStore(file, reactor)
        store.open()
        for done, batch in enumerate(batches(sessions, messages)):
            yield store.commit(batch)
            print(f"\rfilling: {done * _PAGE * 100 // sessions} %", end="", file=sys.stderr, flush=True)
        yield store.close()

    try:
        react(run)
    except SystemExit as end:
        if end.code:
            raise


def first_message(port: int) -> float:
    """Seconds until a client of an old session has its first message."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a certificate made for this run
    started = time.monotonic()
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 30)) as link:
        properties = {"session_expiry_interval": 1000}
        connect = Connect(5, f"{USER}-77", False, 60, USER, PASSWORD.encode(), None, properties)
        link.sendall(encode_packet(connect, 5))
        data = b""
        while b"bench/77/x" not in data:
            data += link.recv(65_536) or sys.exit("the broker closed the connection")
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "state").mkdir(mode=0o700)
        file = folder / "state" / "mqttsecure.db"
        fill(file, options.sessions, options.messages)
        print(f"\n{file.stat().st_size >> 20} MiB on disk", file=sys.stderr)
        started = time.monotonic()
        with mqttsecure(folder, None) as running:
            up = time.monotonic() - started
            took = first_message(running.port)
            status = Path(f"/proc/{running.pid}/status").read_text()
            resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024
        print(f"listening after {up:.1f} s, the first message {took:.2f} s later, {resident} MiB resident")


if __name__ == "__main__":
    if os.geteuid() == 0:
        os.umask(0o077)
    main()
