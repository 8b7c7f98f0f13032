"""Stores with something in them, for tests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mqttsecure.core.records import Batch, RetainedRow, WriterRow
from mqttsecure.store.contract import entry, message, session, subscription
from mqttsecure.store.database import Database
from mqttsecure.store.memory import Contents
from mqttsecure.store.reading import read_entries, read_retained, read_sessions
from mqttsecure.store.tables import ALL

__all__ = ["batches", "dump", "expected", "flip", "opened", "read_all", "tidied", "write"]


def batches(sessions: int, entries: int, payload: int = 100) -> Iterator[Batch]:
    """A batch for each session with its queue, and one with retained messages; every message has a writer."""
    writers = [WriterRow(number, b'{"principal":{"authority":"lab","name":"w%d"}}' % number) for number in (1, 2, 3)]
    yield Batch(1, writers=writers)
    key = 0
    for number in range(1, sessions + 1):
        ids = range(key + 1, key + entries + 1)
        key += entries
        yield Batch(
            number + 1,
            sessions=[session(number)],
            subscriptions=[subscription(number, f"plant/{number}/{each}") for each in range(3)],
            messages=[message(each, payload=b"%d" % each * payload, writer=each % 3 + 1) for each in ids],
            entries=[entry(number, at, each) for at, each in enumerate(ids, 1)],
            incoming=[(number, 1), (number, 2)],
        )
    ids = range(key + 1, key + sessions + 1)
    yield Batch(
        sessions + 2,
        messages=[message(each, topic=f"r/{each}") for each in ids],
        retained=[RetainedRow("", f"r/{each}", each) for each in ids],
    )


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """The file, opened and closed in this thread."""
    database = Database(path)
    database.open()
    with closing(database):
        yield database


def write(path: Path, sessions: int, entries: int, payload: int = 100) -> Contents:
    """Make the file ``path``; what is in it."""
    contents = Contents()
    with opened(path) as database:
        for batch in batches(sessions, entries, payload):
            database.write([batch])
            contents.apply(batch)
    return contents


def dump(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    return {
        table.name: database.read(
            lambda connection, name=table.name: connection.execute(f"SELECT * FROM {name}").fetchall()
        )
        for table in ALL
    }


def expected(contents: Contents) -> dict[str, list[tuple[object, ...]]]:
    """What is in the tables when all is tidy."""
    return {
        "sessions": sorted(contents.sessions.values()),
        "subscriptions": sorted(contents.subscriptions.values()),
        "messages": sorted(contents.messages.values()),
        "entries": sorted(contents.entries.values()),
        "incoming": sorted(contents.incoming),
        "retained": sorted(contents.retained.values()),
        "ended": [],
    }


def tidied(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """The rows once nothing is left to tidy up, without writers."""
    while database.is_untidy:
        database.tidy()
    rows = dump(database)
    del rows["writers"]
    return rows


def read_all(database: Database) -> int:
    """Read everything as a broker does; how many rows it was."""
    count = 0
    for stored in database.read(lambda connection: read_sessions(connection, 0, 1_000_000)):
        entries = database.read(lambda connection, key=stored.row.key: read_entries(connection, key, 0, 10**6, 10**9))
        count += 1 + len(stored.subscriptions) + len(entries)
    return count + len(database.read(lambda connection: read_retained(connection, ("", ""), 1_000_000)))


def flip(path: Path, random: random.Random, count: int) -> None:
    """Damage single bytes."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        for _ in range(count):
            at = random.randrange(size)
            file.seek(at)
            file.write(bytes([random.randrange(256)]))
