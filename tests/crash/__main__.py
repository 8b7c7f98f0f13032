"""Kill a broker many times and look what it has lost: ``python -m tests.crash --kills 1000``.

Prints a line now and then, and a summary. The exit code is 0 where every promise was kept, else 1. Examples::

    python -m tests.crash --kills 1000 --seed 7
    python -m tests.crash --kills 200 --power-loss      # what was not synced is lost, or written in another order
    python -m tests.crash --kills 20 --faults           # a full disk, one that cannot be written or synced, for a while
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.crash.killing import FAULTS, Killing, Outcome

__all__ = ["main", "run"]

_FAILING = 1.0
"""Seconds for which the disk fails in each way: several attempts of the store, and traffic meanwhile."""

_REST_AFTER = 5
"""Kills from one time that everything comes to rest to the next."""


def run(
    kills: int, seed: int, folder: Path, *, power_loss: bool = False, faults: bool = False, every: int = 0
) -> Outcome:
    """Kill a broker so many times; with ``faults`` let its disk fail in each way before. Stops at the first problem."""
    started = time.monotonic()
    killing = Killing(folder, seed, power_loss=power_loss)
    try:
        killing.begin()
        for kind in FAULTS if faults else ():
            killing.fail(kind, _FAILING)
        for number in range(1, kills + 1):
            killing.kill()
            if number % _REST_AFTER == 0 or number == kills:
                killing.rest()
            if every and number % every == 0:
                print(f"{number} kills, {time.monotonic() - started:.0f} s", flush=True)
    except AssertionError as error:
        killing.outcome.problems.append(str(error))
        killing.outcome.problems.append(killing.last_words())
    finally:
        killing.close()
    outcome = killing.summary()
    outcome.seconds = time.monotonic() - started
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000, help="how often (default: 1000)")
    parser.add_argument("--seed", type=int, help="of what is done; random unless given")
    parser.add_argument("--power-loss", action="store_true", help="lose what was not synced with each kill")
    parser.add_argument("--faults", action="store_true", help="let the disk fail for a while in each way first")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mqttsecure-crash-") as folder:
        outcome = run(asked.kills, seed, Path(folder), power_loss=asked.power_loss, faults=asked.faults, every=10)
    for problem in outcome.problems:
        print(problem)
    print(outcome)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
