"""What does it cost to keep messages on disk, and how soon is it all back?

    python bench/store.py [--busy] [--start]

Writes 100,000 messages with an entry each, in batches of 5,000, and removes them again; then a thousand of one message
each, every one when the one before is on disk. With --busy another thread computes all the time, as a busy reactor
does. --start makes a file of 100,000 sessions and 1,000,000 queued messages and reads it as a start does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from twisted.internet import reactor  # the checkout comes first
from twisted.internet.defer import gatherResults, inlineCallbacks

from mqttsecure.core.records import Batch, WriterRow
from mqttsecure.store.contract import entry, message, session, subscription
from mqttsecure.store.database import Database
from mqttsecure.store.reading import read_highest, read_sessions
from mqttsecure.store.sqlite import SqliteStore

BATCHES = 20
OF_A_BATCH = 5_000
SINGLE = 1_000
SESSIONS = 100_000
QUEUED = 10
PAYLOAD = b"x" * 100


def put(number: int, first: int, count: int) -> Batch:
    """A batch of new messages, for a hundred sessions in turn."""
    keys = range(first, first + count)
    return Batch(
        number,
        messages=[message(key, payload=PAYLOAD) for key in keys],
        entries=[entry(key % 100 + 1, key, key) for key in keys],
    )


def removed(number: int, first: int, count: int) -> Batch:
    """A batch that lets go of them."""
    keys = range(first, first + count)
    return Batch(number, removed=[(key % 100 + 1, key) for key in keys], references=dict.fromkeys(keys, -1))


@inlineCallbacks
def write(store: SqliteStore) -> Iterator[object]:
    """Write, remove, and write one at a time."""
    yield store.commit(Batch(1, writers=[WriterRow(1, b"{}")], sessions=[session(key) for key in range(1, 101)]))
    for what, make in (("written", put), ("removed", removed)):
        batches = [make(number, number * OF_A_BATCH + 1, OF_A_BATCH) for number in range(BATCHES)]
        started = time.perf_counter()
        yield gatherResults([store.commit(batch) for batch in batches])
        rate = 2 * BATCHES * OF_A_BATCH / (time.perf_counter() - started)
        print(f"entries and messages {what}: {rate:,.0f} a second")
    times = []
    for number in range(SINGLE):
        started = time.perf_counter()
        yield store.commit(put(number, 10**6 + number, 1))
        times.append(time.perf_counter() - started)
    times.sort()
    print(f"a single one on disk: {times[SINGLE // 2] * 1e3:.2f} ms, p99 {times[SINGLE * 99 // 100] * 1e3:.2f} ms")
    yield store.close()
    reactor.stop()


def compute() -> None:
    """What never lets go of Python's global lock by itself."""
    number = 0
    while True:
        number += 1


def start(path: Path) -> None:
    """Fill a file, and read it as a broker's start does."""
    database = Database(path)
    database.open()
    for first in range(1, SESSIONS, 1000):
        keys = range(first, first + 1000)
        ids = [(key, key * QUEUED + at) for key in keys for at in range(QUEUED)]
        database.write(
            [
                Batch(
                    first,
                    writers=[WriterRow(1, b"{}")],
                    sessions=[session(key) for key in keys],
                    subscriptions=[subscription(key, f"plant/{key}/{at}") for key in keys for at in range(2)],
                    messages=[message(each, payload=PAYLOAD) for _, each in ids],
                    entries=[entry(key, each, each) for key, each in ids],
                )
            ]
        )
        database.checkpoint(idle=False)
    database.close()
    started = time.perf_counter()
    database.open()
    opened = time.perf_counter()
    database.read(read_highest)
    after = entries = 0
    while page := database.read(lambda connection: read_sessions(connection, after, 5000)):  # noqa: B023
        after = page[-1].row.key
        entries += sum(stored.entries for stored in page)
    print(f"{after:,} sessions with {entries:,} entries, {path.stat().st_size / 1e6:.0f} MB:")
    print(f"opened and checked in {opened - started:.1f} s, read in {time.perf_counter() - opened:.1f} s")
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--start", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.start:
            start(Path(folder) / "store")
            return
        store = SqliteStore(Path(folder) / "store", reactor)
        store.open()
        if options.busy:
            threading.Thread(target=compute, daemon=True).start()
        reactor.callWhenRunning(write, store)
        reactor.run()


if __name__ == "__main__":
    main()
