"""The store on a disk that fails, fills up, and loses power: what was acknowledged is there."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.store.database import Database
from tests.crash.faults import Disk, Event
from tests.store.model import Model
from tests.store.rows import expected, opened, tidied
from tests.support.foreign import require
from tests.support.process import CHECKOUT

_PATIENCE = 120
_COUNT = 60


class FaultsCase(SynchronousTestCase):
    """A process that writes to a store in ``folder``."""

    def setUp(self) -> None:
        place = Path(self.mktemp()).absolute()
        place.mkdir(parents=True, mode=0o700)
        self.place = place
        self.folder = place / "store"
        self.folder.mkdir(mode=0o700)

    def run_workload(
        self, seed: int, environment: dict[str, str], *more: str, before: tuple[str, ...] = (), out: Path | None = None
    ) -> str:
        """Run it to its end; what the store said."""
        command = (*before, sys.executable, "-m", "tests.crash.workload", str(self.folder), str(seed), str(_COUNT))
        path = {"PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(
            (*command, *more),
            env={**os.environ, **path, **environment},
            cwd=CHECKOUT,
            capture_output=True,
            timeout=_PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return ((self.folder if out is None else out) / "said").read_text()

    def check_all_is_there(self, folder: Path, seed: int) -> None:
        model = Model(seed)
        for _ in range(_COUNT):
            model.batch()
        with opened(folder / "s") as database:
            self.assertEqual(database.losses, [])
            self.assertEqual(tidied(database), expected(model.contents))


class PowerLossTests(FaultsCase):
    """The power goes at any moment, and with it some of what was not synced."""

    def test_what_was_acknowledged_is_there(self) -> None:
        """Each batch that was acknowledged is there whole, and of the one under way all or nothing."""
        disk = Disk(self.place, self.folder)
        self.run_workload(7, disk.environment())
        recording = disk.recording()
        self.assertGreater(sum(event.kind == "S" and event.path.endswith("s-wal") for event in recording.events), 20)
        states, model = [expected(Model(7).contents)], Model(7)
        for _ in range(_COUNT):
            model.batch()
            states.append(expected(model.contents))
        for seed in range(60):
            numbers = random.Random(seed)
            position = numbers.choice(recording.events).end
            target = self.place / f"loss-{seed}"
            recording.lose_power(position, numbers, target)
            self.check(target, states, *self.acknowledged(recording.events, position), seed)

    def acknowledged(self, events: list[Event], position: int) -> tuple[int, int]:
        """The last batch that was acknowledged at ``position``, and the last that may have been under way."""
        acks = [event for event in events if event.path.endswith("/acks") and event.kind == "W"]
        before = [int(event.data) for event in acks if event.end <= position]
        after = [int(event.data) for event in acks if event.end > position]
        return max(before, default=0), min(after, default=_COUNT)

    def check(self, folder: Path, states: list[object], least: int, most: int, seed: int) -> None:
        database = Database(folder / "s")
        database.open()
        try:
            rows = tidied(database)
            self.assertIn(rows, states[least : most + 1], f"seed {seed}: not the state after batch {least} to {most}")
            self.assertEqual(database.losses, [], f"seed {seed}")
        finally:
            database.close()


class FailingTests(FaultsCase):
    """The disk fails while the store writes, and works again later."""

    def test_every_kind_of_failure(self) -> None:
        """The store tells the problem once, goes on by itself when it is over, and has everything."""
        kinds = (("w", errno.ENOSPC, False, 40), ("w", errno.EIO, True, 200), ("s", errno.EIO, False, 9))
        for seed, (operations, error, torn, after) in enumerate(kinds):
            self.folder = self.place / f"store-{seed}"
            self.folder.mkdir(mode=0o700)
            place = self.place / f"disk-{seed}"
            place.mkdir()
            disk = Disk(place, self.folder / "s")
            said = self.run_workload(seed, disk.environment(operations, error, after, torn=torn), "fails")
            self.assertEqual(said.count("problem: "), 1, said)
            self.assertIn("make room", said)
            self.assertTrue(said.endswith("recovered\n"), said)
            self.check_all_is_there(self.folder, seed)

    def test_a_full_disk(self) -> None:
        """A real disk fills up; somebody makes room; nothing is lost."""
        unshare = require("unshare")
        if subprocess.run([unshare, "--mount", "true"], capture_output=True).returncode:
            raise SkipTest("no file system may be mounted here; run it as root")
        out = self.place / "out"
        script = (
            f"mount -t tmpfs -o size=3m,mode=700 none {self.folder} && head -c 2900k /dev/zero > {self.folder}/filler"
            f' && "$@"; code=$?; cp -r {self.folder} {out}; exit $code'
        )
        environment = {"DISK_SWITCH": str(self.folder / "filler")}
        command = (unshare, "--mount", "sh", "-c", script, "sh")
        said = self.run_workload(5, environment, before=command, out=out)
        self.assertIn("the disk is full; make room", said)
        self.assertTrue(said.endswith("recovered\n"), said)
        out.chmod(0o700)
        self.check_all_is_there(out, 5)
