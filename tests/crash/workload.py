"""A process that writes to a store, and says what was acknowledged.

``python -m tests.crash.workload FOLDER SEED COUNT [fails]``

It appends the number of each batch that is on disk to ``FOLDER/acks``, and what the store says to ``FOLDER/said``. When
the store has a problem, it takes away the file that makes the disk fail (``DISK_SWITCH``); with ``fails`` it makes that
file once the store is open.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.python.failure import Failure

from mqttsecure.store.sqlite import SqliteStore
from tests.store.model import Model


def main(folder: Path, seed: int, count: int, fails: bool) -> None:
    said = (folder / "said").open("ab", buffering=0)
    acks = (folder / "acks").open("ab", buffering=0)
    store = SqliteStore(folder / "s", reactor)

    def problem(text: str) -> None:
        Path(os.environ["DISK_SWITCH"]).unlink(missing_ok=True)
        said.write(f"problem: {text}\n".encode())

    store.on_problem = problem
    store.on_recovered = lambda: said.write(b"recovered\n")

    @inlineCallbacks
    def run():
        model, sizes = Model(seed), Random(seed)
        store.open()
        if fails:
            Path(os.environ["DISK_SWITCH"]).touch()
        left = count
        while left:
            batches = [model.batch() for _ in range(min(left, sizes.choice((1, 1, 2, 5))))]
            left -= len(batches)
            last = [store.commit(batch) for batch in batches][-1]
            yield last
            acks.write(f"{batches[-1].number}\n".encode())
        yield store.close()
        reactor.stop()

    failures: list[Failure] = []

    def failed(failure: Failure) -> None:
        failures.append(failure)
        reactor.stop()

    reactor.callWhenRunning(lambda: run().addErrback(failed))
    reactor.run()
    for failure in failures:
        failure.printTraceback(file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["fails"])
