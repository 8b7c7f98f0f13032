# -*- test-case-name: tests.lab.network.test_space -*-
"""Namespaces that live as long as one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.network import space as space_module
from mqttsecure.lab.network.processes import Known, environment
from mqttsecure.lab.network.space import Space
from tests.lab.network.case import links, open_space


def processes_of(space: Space) -> list[str]:
    """Numbers of the processes in a space, as they are outside."""
    wanted = os.readlink(f"/proc/{space.keeper.pid}/ns/pid_for_children")
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdigit() and os.readlink(each / "ns" / "pid") == wanted:
                found.append(each.name)
        except OSError:
            continue
    return found


class SpaceTests(SynchronousTestCase):
    """A space is made, used, and gone."""

    def test_programs_run_in_it_and_see_nothing_of_the_machine(self) -> None:
        """Only their own loopback."""
        space = open_space()
        self.addCleanup(space.close)
        self.assertEqual(space.run(None, "ls", "/sys/class/net") != "", True)
        self.assertEqual([line.split()[0] for line in space.run(None, "ip", "-brief", "link").splitlines()], ["lo"])
        self.assertEqual(space.run(None, "cat", text="hello"), "hello")
        with self.assertRaisesRegex(LabError, "on the switch, sh -c exit 3"):
            space.run(None, "sh", "-c", "exit 3")

    def test_closing_ends_everything_in_it(self) -> None:
        """Also what went to the background, and what does not listen to signals."""
        before = links()
        space = open_space()
        space.run(None, "sh", "-c", "trap '' TERM HUP; sleep 600 >/dev/null 2>&1 & setsid sleep 600 >/dev/null 2>&1 &")
        inside = processes_of(space)
        self.assertGreaterEqual(len(inside), 3)
        space.close()
        self.assert_gone(inside)
        self.assertEqual(links(), before)

    def assert_gone(self, pids: list[str]) -> None:
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}/ns/pid").exists() for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual([pid for pid in pids if Path(f"/proc/{pid}/ns/pid").exists()], [])

    def test_a_death_of_the_starter_before_it_is_written_down_leaves_nothing(self) -> None:
        """The keeper waits for a word that never comes, and ends."""
        open_space().close()  # or skip
        program = (
            "import os\nfrom mqttsecure.lab.network.space import Space\n"
            "def born(keeper):\n    print(keeper.pid, flush=True)\n    os.kill(os.getpid(), 9)\n"
            f"Space.open(rootless={os.geteuid() != 0}, born=born)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), timeout=60
        )
        self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
        self.assert_gone([done.stdout.strip()])

    def test_one_that_is_not_written_down_ends_with_its_starter(self) -> None:
        """Such as that of the doctor, when it is killed."""
        open_space().close()  # or skip
        program = (
            "import os\nfrom mqttsecure.lab.network.space import Space\n"
            f"space = Space.open(rootless={os.geteuid() != 0})\nspace.run(None, 'true')\n"
            "print(space.keeper.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), timeout=60
        )
        self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
        self.assert_gone([done.stdout.strip()])

    def test_an_error_while_it_is_written_down_leaves_nothing(self) -> None:
        """A full disk, for instance."""
        open_space().close()  # or skip
        seen: list[Known] = []

        def born(keeper: Known) -> None:
            seen.append(keeper)
            raise OSError(28, "no space left")

        with self.assertRaises(OSError):
            Space.open(rootless=os.geteuid() != 0, born=born)
        self.assertFalse(seen[0].is_alive())

    def test_a_kernel_that_does_not_let_it(self) -> None:
        """What unshare says is told."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "unshare").write_text(
            "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n"
        )
        (folder / "unshare").chmod(0o755)
        self.patch(space_module, "environment", lambda: {"PATH": f"{folder.absolute()}:{os.environ['PATH']}"})
        self.patch(os, "environ", {**os.environ, "PATH": f"{folder.absolute()}:{os.environ['PATH']}"})
        with self.assertRaisesRegex(LabError, "namespaces cannot be made here .*Operation not permitted"):
            Space.open(rootless=True)

    def test_missing_program(self) -> None:
        """With the package that has it."""
        self.patch(os, "environ", {"PATH": "/nowhere"})
        self.patch(space_module, "environment", lambda: {"PATH": "/nowhere"})
        with self.assertRaisesRegex(LabError, "install the package util-linux"):
            Space.open(rootless=True)
