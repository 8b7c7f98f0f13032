# -*- test-case-name: tests.lab.experiment.test_setting -*-
"""``lab up`` and ``lab down``."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

from mqttsecure.errors import LabError
from mqttsecure.lab.experiment import setting
from mqttsecure.lab.experiment.setting import running, set_up, take_down
from mqttsecure.lab.experiment.state import State
from mqttsecure.lab.network.machine import Ability, Machine, choose_mode
from mqttsecure.lab.network.plan import Mode
from mqttsecure.lab.network.processes import environment
from tests.lab.experiment.case import SettingCase
from tests.lab.network.case import cannot_run, links, open_space


class LanTests(SettingCase):
    """In namespaces."""

    def test_up_and_down_leave_nothing(self) -> None:
        """All of it is there, then nothing of it; both may be done again."""
        open_space().close()  # or skip
        before = links()
        state = self.up()
        self.assertTrue(running(self.folder).is_alive)
        self.assertIn("listening on lab", self.folder.log.read_text())
        with self.assertRaisesRegex(LabError, "is up already"):
            self.up()
        self.assertEqual(len(take_down(self.folder)), 2)
        self.assertFalse(state.is_alive)
        self.assertEqual(take_down(self.folder), [])
        self.assertEqual(links(), before)
        for each in (self.folder.state, self.folder.config, self.folder.control):
            self.assertFalse(each.exists(), each)

    def test_whoever_brings_it_up_dies_at_any_step(self) -> None:
        """By kill -9: the next `up` tells what was left and takes it away, and then it is up."""
        open_space().close()  # or skip
        program = (
            "import os, signal\nfrom pathlib import Path\nfrom mqttsecure.lab.experiment import setting\n"
            "from mqttsecure.lab.experiment.folder import LabFolder\n"
            "def die(*arguments):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
            "setting.{step} = die\n"
            "setting.set_up(LabFolder.at(Path({folder!r})), tell=lambda text: None)\n"
        )
        for step in ("build_lan", "load_firewall", "_await_broker"):
            text = program.format(step=step, folder=str(self.folder.path))
            done = subprocess.run(
                [sys.executable, "-c", text], capture_output=True, text=True, env=environment(), timeout=90
            )
            self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
            state = State.read(self.folder.state)
            assert state is not None and state.keeper is not None
            self.assertFalse(state.complete)
            with self.assertRaisesRegex(LabError, "only half there"):
                running(self.folder)
            self.assertTrue(take_down(self.folder), step)
            self.assertFalse(state.keeper.is_alive())

    def test_an_error_on_the_way_leaves_nothing(self) -> None:
        """Nor does Ctrl-C."""
        open_space().close()  # or skip
        for error in (LabError("no"), KeyboardInterrupt()):

            def fail(*arguments: object, error: BaseException = error) -> None:
                raise error

            patched = self.patch(setting, "_start_broker", fail)
            with self.assertRaises(type(error)):
                self.up()
            patched.restore()
            self.assertIsNone(State.read(self.folder.state))
            self.assertEqual(take_down(self.folder), [])

    def test_without_root(self) -> None:
        """In a user namespace, as an ordinary user has it: all of it comes up, with the firewall."""
        if choose_mode()[0] is Mode.LOOPBACK:
            raise cannot_run("this machine has no namespaces")
        self.up(Mode.ROOTLESS)
        self.assertTrue(running(self.folder).is_alive)
        self.assertIn("firewall: loaded on the broker's host, compiled from the policy", self.told)
        self.assertEqual(len(take_down(self.folder)), 2)

    def test_a_part_that_has_died_is_told(self) -> None:
        """The broker was killed by somebody."""
        open_space().close()  # or skip
        state = self.up()
        state.processes[0].kill()
        with self.assertRaisesRegex(LabError, "only half there.*lab down .* && mqttsecure lab up"):
            running(self.folder)


class LoopbackTests(SettingCase):
    """Without a LAN."""

    def test_a_port_in_use(self) -> None:
        """Is told, and nothing is left."""
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                other.bind(("127.77.0.10", 8883))
            except OSError:
                pass  # another test's lab has it: in use all the same
            else:
                other.listen()
            with self.assertRaisesRegex(LabError, r"127.77.0.10:8883 cannot be used: .*ss -ltnp"):
                self.up(Mode.LOOPBACK)
        self.assertIsNone(State.read(self.folder.state))

    def test_a_policy_with_a_mistake(self) -> None:
        """The broker's own words, the line with them, and nothing is left."""
        self.folder.policy.write_text(self.folder.policy.read_text().replace("publish,read", "publsh,read"))
        self.patch(setting, "_check_port", lambda address, port: None)
        with self.assertRaisesRegex(LabError, r"the broker does not start: .*broker.log"):
            self.up(Mode.LOOPBACK)
        self.assertIn("publsh", self.folder.log.read_text())
        self.assertIsNone(State.read(self.folder.state))

    def test_no_tunnel_here(self) -> None:
        """It is told before anything is built, with what helps."""
        why = Ability("tunnel (--vpn)", False, "wg is missing; install the package wireguard-tools")
        self.patch(setting, "examine", lambda: Machine(Mode.ROOT, [why], None))
        with self.assertRaisesRegex(LabError, "--vpn does not work here: wg is missing; install"):
            set_up(self.folder, vpn=True, tell=self.told.append)
        self.assertIsNone(State.read(self.folder.state))

    def test_two_at_once(self) -> None:
        """The second is told to wait, and does not take over what the first has begun."""
        with self.folder.locked():
            for act in (lambda: self.up(Mode.LOOPBACK), lambda: take_down(self.folder)):
                with self.assertRaisesRegex(LabError, "another command brings the lab in .* up or down; wait"):
                    act()

    def test_not_up(self) -> None:
        """With the command that brings it up."""
        with self.assertRaisesRegex(LabError, "is not up; run: mqttsecure lab up"):
            running(self.folder)

    def test_a_damaged_state(self) -> None:
        """Is not taken for "nothing was started"."""
        self.folder.state.write_text("{")
        with self.assertRaisesRegex(LabError, "state.json cannot be read .*end them, and remove the file"):
            take_down(self.folder)
        self.folder.state.unlink()
