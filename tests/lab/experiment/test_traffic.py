# -*- test-case-name: tests.lab.experiment.test_traffic -*-
"""``lab run``, in a LAN and without."""

from __future__ import annotations

import json

from mqttsecure.errors import LabError
from mqttsecure.lab.experiment.setting import running, set_up
from mqttsecure.lab.experiment.state import State
from mqttsecure.lab.experiment.traffic import CAPTURE, RUN, Run, RunOptions, run_traffic
from mqttsecure.lab.network.plan import Mode
from tests.lab.experiment.case import SettingCase
from tests.lab.network.case import open_space


class TrafficTests(SettingCase):
    """Messages go through, and the capture shows how."""

    def traffic(self, options: RunOptions) -> Run:
        return run_traffic(self.folder, running(self.folder), options, self.told.append)

    def test_in_a_lan(self) -> None:
        """All messages arrive, the capture opens by the keys in it, no password is readable; no session is resumed, and
        old suites are refused. Without TLS, which has to be named twice, a password stands in the capture."""
        open_space().close()  # or skip
        set_up(self.folder, plaintext=True, tell=self.told.append)
        run = self.traffic(RunOptions(tls="1.2", resume=True))
        self.assertTrue(run.complete, run)
        self.assertIs(run.resumed, False)
        assert run.reading is not None
        self.assertEqual(len(run.reading.connections), 4)
        for connection in run.reading.connections:
            self.assertIn("TLS 1.2, ECDHE", connection.verdict.text)
        kinds = {message.kind for connection in run.reading.connections for message in connection.messages}
        self.assertLessEqual({"connect", "pingreq", "pingresp", "publish", "puback", "disconnect"}, kinds)
        summary = json.loads((run.folder / RUN).read_text())
        self.assertTrue(summary["complete"])
        self.assertGreater(sum(each["packets"] for each in summary["counters"]), 0)
        refused = self.traffic(RunOptions(tls="1.2", suites="AES128-SHA256"))
        self.assertFalse(refused.complete)
        self.assertIn("subscriber", refused.failures)
        assert refused.reading is not None
        self.assertTrue(refused.reading.connections[0].verdict.refused)
        readable = self.traffic(RunOptions(plaintext=True))
        self.assertTrue(readable.password_visible)
        self.assertFalse(readable.complete)
        self.assertEqual(len(readable.received), 4)

    def test_without_tls_only_where_there_is_a_listener(self) -> None:
        """With the command that brings the lab up with one."""
        with self.assertRaisesRegex(LabError, "no listener without TLS; bring the lab up with one: .*--plaintext"):
            run_traffic(self.folder, State(self.folder.state, Mode.LOOPBACK), RunOptions(plaintext=True), print)

    def test_without_a_lan(self) -> None:
        """A relay draws the frames; with certificates in place of passwords."""
        try:
            self.up(Mode.LOOPBACK)
        except LabError as error:
            self.skipTest(f"the address of the lab is taken: {error}")
        run = self.traffic(RunOptions(tls="1.3", mutual=True))
        self.assertTrue(run.complete, run)
        assert run.reading is not None
        self.assertEqual(len(run.reading.connections), 2)
        self.assertTrue((run.folder / CAPTURE).stat().st_size)
